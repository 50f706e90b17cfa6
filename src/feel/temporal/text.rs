//! Temporal values as text: the form that `string(…)` gives and the form that a result has as JSON (Java's `toString`
//! and ISO formatters, with their quirks).

use super::{Date, DayTime, LocalDateTime, LocalTime, Months, NANOS_PER_SECOND, ZonedDateTime, ZonedTime};

/// `Z`, `+hh:mm` or `+hh:mm:ss`.
pub(crate) fn offset_id(offset: i32) -> String {
    if offset == 0 {
        return "Z".to_owned();
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let seconds = offset.unsigned_abs();
    let mut text = format!("{sign}{:02}:{:02}", seconds / 3_600, seconds / 60 % 60);
    if !seconds.is_multiple_of(60) {
        text.push_str(&format!(":{:02}", seconds % 60));
    }
    text
}

/// The year with at least four digits; `plus` marks years beyond four digits.
fn year(year: i32, plus: bool) -> String {
    let sign = match year {
        ..0 => "-",
        10_000.. if plus => "+",
        _ => "",
    };
    format!("{sign}{:04}", year.unsigned_abs())
}

fn fraction(nanos: i64) -> String {
    if nanos == 0 {
        String::new()
    } else {
        format!(".{nanos:09}").trim_end_matches('0').to_owned()
    }
}

impl Date {
    /// Both forms are the same.
    pub(crate) fn text(self) -> String {
        format!("{}-{:02}-{:02}", year(self.year(), true), self.month(), self.day())
    }

    fn formatted(self) -> String {
        format!("{}-{:02}-{:02}", year(self.year(), false), self.month(), self.day())
    }
}

impl LocalTime {
    /// Both forms are the same.
    pub(crate) fn text(self) -> String {
        format!(
            "{:02}:{:02}:{:02}{}",
            self.hour(),
            self.minute(),
            self.second(),
            fraction(self.nano())
        )
    }

    /// Java's `toString`: no seconds when they are zero, fractions in groups of three digits.
    fn terse(self) -> String {
        let mut text = format!("{:02}:{:02}", self.hour(), self.minute());
        let nano = self.nano();
        if self.second() > 0 || nano > 0 {
            text.push_str(&format!(":{:02}", self.second()));
        }
        if nano > 0 {
            text.push_str(&if nano % 1_000_000 == 0 {
                format!(".{:03}", nano / 1_000_000)
            } else if nano % 1_000 == 0 {
                format!(".{:06}", nano / 1_000)
            } else {
                format!(".{nano:09}")
            });
        }
        text
    }
}

impl ZonedTime {
    pub(crate) fn text(&self) -> String {
        match &self.region {
            Some(region) => format!("{}@{}", self.time.text(), region.id()),
            None => format!("{}{}", self.time.text(), offset_id(self.offset)),
        }
    }

    /// Without the region.
    pub(crate) fn json(&self) -> String {
        format!("{}{}", self.time.terse(), offset_id(self.offset))
    }

    /// The offset instead of the region, as `to json` writes it.
    pub(crate) fn iso(&self) -> String {
        format!("{}{}", self.time.text(), offset_id(self.offset))
    }
}

impl LocalDateTime {
    pub(crate) fn text(self) -> String {
        format!("{}T{}", self.date.formatted(), self.time.text())
    }

    pub(crate) fn json(self) -> String {
        format!("{}T{}", self.date.text(), self.time.text())
    }
}

impl ZonedDateTime {
    pub(crate) fn text(&self) -> String {
        if self.zone().is_region() {
            format!("{}@{}", self.local().text(), self.zone().id())
        } else {
            format!("{}{}", self.local().text(), offset_id(self.offset()))
        }
    }

    /// Without the region.
    pub(crate) fn json(&self) -> String {
        format!("{}{}", self.local().json(), offset_id(self.offset()))
    }

    /// Offset and region, as `to json` writes it.
    pub(crate) fn iso(&self) -> String {
        let region = if self.zone().is_region() {
            format!("[{}]", self.zone().id())
        } else {
            String::new()
        };
        format!("{}{region}", self.json())
    }
}

impl Months {
    pub(crate) fn text(self) -> String {
        let (years, months) = (self.years(), self.months());
        if self.total() == 0 {
            return "P0Y".to_owned();
        }
        let sign = if self.total() < 0 { "-" } else { "" };
        let mut text = format!("{sign}P");
        push_part(&mut text, years.abs(), 'Y');
        push_part(&mut text, months.abs(), 'M');
        text
    }

    pub(crate) fn json(self) -> String {
        if self.total() == 0 {
            return "P0D".to_owned();
        }
        let mut text = "P".to_owned();
        push_part(&mut text, self.years(), 'Y');
        push_part(&mut text, self.months(), 'M');
        text
    }
}

impl DayTime {
    /// Whole seconds only, days apart.
    pub(crate) fn text(self) -> String {
        let (days, hours, minutes, seconds) = self.parts();
        if (days, hours, minutes, seconds) == (0, 0, 0, 0) {
            return "P0D".to_owned();
        }
        let negative = days <= 0 && hours <= 0 && minutes <= 0 && seconds <= 0;
        let sign = |part: i64| if negative { -part } else { part };
        let mut text = if negative { "-P" } else { "P" }.to_owned();
        push_part(&mut text, sign(days), 'D');
        if (hours, minutes, seconds) != (0, 0, 0) {
            text.push('T');
            push_part(&mut text, sign(hours), 'H');
            push_part(&mut text, sign(minutes), 'M');
            push_part(&mut text, sign(seconds), 'S');
        }
        text
    }

    /// Java's `toString`: hours, minutes and seconds, each with its sign.
    pub(crate) fn json(self) -> String {
        if self.is_zero() {
            return "PT0S".to_owned();
        }
        let nanos = self.subsecond_nanos();
        // Seconds are counted down to the next whole one; towards zero they are one more when there is a fraction.
        let whole = if self.seconds() < 0 && nanos > 0 {
            self.seconds() + 1
        } else {
            self.seconds()
        };
        let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
        let mut text = "PT".to_owned();
        push_part(&mut text, hours, 'H');
        push_part(&mut text, minutes, 'M');
        if seconds == 0 && nanos == 0 {
            return text;
        }
        if seconds == 0 && self.seconds() < 0 {
            text.push_str("-0");
        } else {
            text.push_str(&seconds.to_string());
        }
        let shown = if self.seconds() < 0 && nanos > 0 {
            NANOS_PER_SECOND - i64::from(nanos)
        } else {
            i64::from(nanos)
        };
        text.push_str(&fraction(shown));
        text.push('S');
        text
    }
}

fn push_part(text: &mut String, part: i64, unit: char) {
    if part != 0 {
        text.push_str(&format!("{part}{unit}"));
    }
}
