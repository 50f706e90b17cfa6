//! Text to temporal values, by the patterns of the real engine and the parsers of `java.time` behind them.

use super::zone::Zone;
use super::{Date, DayTime, LocalDateTime, LocalTime, Months, Temporal, ZonedDateTime, ZonedTime};
use regex::Regex;
use std::sync::OnceLock;

/// `date("…")`.
pub(crate) fn date(text: &str) -> Option<Temporal> {
    read_date(text).map(Temporal::Date)
}

/// `time("…")`.
pub(crate) fn time(text: &str) -> Option<Temporal> {
    if is_offset_time(text) {
        read_zoned_time(text).map(Temporal::Time)
    } else {
        read_time(text, false).map(Temporal::LocalTime)
    }
}

/// `date and time("…")`; a date alone is its midnight.
pub(crate) fn date_time(text: &str) -> Option<Temporal> {
    if let Some(date) = read_date(text) {
        return Some(Temporal::LocalDateTime(LocalDateTime {
            date,
            time: LocalTime::MIDNIGHT,
        }));
    }
    read_zoned_date_time(text)
        .map(Temporal::DateTime)
        .or_else(|| read_local_date_time(text).map(Temporal::LocalDateTime))
}

/// `date and time("…")` as a literal, where seconds may end with a point.
pub(crate) fn date_time_of_literal(text: &str) -> Option<Temporal> {
    date_time(text).or_else(|| {
        let clock = text.strip_suffix('.').filter(|clock| clock.len() >= 19)?;
        read_local_date_time(clock).map(Temporal::LocalDateTime)
    })
}

/// `duration("…")` as a literal, where days and time are read more leniently than from a value.
pub(crate) fn duration(text: &str) -> Option<Temporal> {
    if is_months(text) {
        read_months(text).map(Temporal::Months)
    } else {
        read_day_time(text).map(Temporal::DayTime)
    }
}

/// `duration(value)`.
pub(crate) fn duration_of_value(text: &str) -> Option<Temporal> {
    if is_months(text) || is_day_time(text) {
        duration(text)
    } else {
        None
    }
}

/// `@"…"`.
pub(crate) fn any(text: &str) -> Option<Temporal> {
    if is_date(text) {
        return date(text);
    }
    if is_offset_time(text) {
        return read_zoned_time(text).map(Temporal::Time);
    }
    if text.contains('T') && text.contains('-') && !text.starts_with('P') && !text.starts_with("-P") {
        return read_zoned_date_time(text)
            .map(Temporal::DateTime)
            .or_else(|| read_local_date_time(text).map(Temporal::LocalDateTime));
    }
    if is_months(text) || is_day_time(text) {
        return duration(text);
    }
    read_time(text, false).map(Temporal::LocalTime)
}

macro_rules! pattern {
    ($name:ident, $pattern:literal) => {
        fn $name(text: &str) -> bool {
            static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
            let pattern = PATTERN.get_or_init(|| Regex::new($pattern).ok());
            pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
        }
    };
}

pattern!(is_date, r"^-?([1-9][0-9]{0,4})?[0-9]{4}-[01][0-9]-[0-3][0-9]$");
pattern!(
    is_offset_time,
    r"^T?[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([+-][0-9]{2}:[0-9]{2}|Z|@.*)$"
);
pattern!(
    is_offset_date_time,
    r"^-?([1-9][0-9]{0,4})?[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?(\.[0-9]{1,9})?(((([+-][01][0-9]:[0-5][0-9])|Z)(\[.+\])?)|@.*)$"
);
pattern!(
    is_local_date_time,
    r"^-?([1-9][0-9]{0,4})?[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?(\.[0-9]{1,9})?$"
);
pattern!(is_months, r"^-?P-?([0-9]+Y)?-?([0-9]+M)?$");
pattern!(
    is_day_time,
    r"^-?P(-?([0-9]+D)?(T-?([0-9]+H)?-?([0-9]+M)?-?([0-9]+(.[0-9]*)?S)?)?)$"
);

fn read_date(text: &str) -> Option<Date> {
    if !is_date(text) {
        return None;
    }
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (year, rest) = rest.split_at(rest.len().checked_sub(6)?);
    let year: i64 = year.parse().ok()?;
    if negative && year == 0 {
        return None;
    }
    Date::new(
        if negative { -year } else { year },
        rest[1..3].parse().ok()?,
        rest[4..6].parse().ok()?,
    )
}

/// `hh:mm[:ss[.fraction]]`, with an optional `T` before. 24:00 is midnight unless `strict`.
fn read_time(text: &str, strict: bool) -> Option<LocalTime> {
    let text = if strict {
        text
    } else {
        text.strip_prefix('T').unwrap_or(text)
    };
    let bytes = text.as_bytes();
    let two = |from: usize| -> Option<i64> {
        let part = bytes.get(from..from + 2)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| i64::from(part[0] - b'0') * 10 + i64::from(part[1] - b'0'))
    };
    let (hour, minute) = (two(0)?, two(3)?);
    if bytes[2] != b':' {
        return None;
    }
    let (second, mut end) = if bytes.get(5) == Some(&b':') {
        (two(6)?, 8)
    } else {
        (0, 5)
    };
    let mut nanos = 0;
    // A fraction without seconds is read by Java but fits nothing.
    if bytes.get(end) == Some(&b'.') && end == 8 {
        let digits = bytes[end + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
            .min(9);
        if digits > 0 {
            let written: i64 = text[end + 1..end + 1 + digits].parse().ok()?;
            nanos = written * 10i64.pow(9 - digits as u32);
        }
        end += 1 + digits;
    }
    if end != bytes.len() {
        return None;
    }
    if !strict && (hour, minute, second, nanos) == (24, 0, 0, 0) {
        return Some(LocalTime::MIDNIGHT);
    }
    LocalTime::new(hour, minute, second, nanos)
}

/// Splits what shows a clock from the offset, the bracketed region and the region after `@`.
struct Zoned<'t> {
    clock: &'t str,
    offset: Option<i32>,
    zone: Option<Zone>,
}

/// `from` is where the time of day begins: before it a dash is no offset.
fn split_zone(text: &str, from: usize) -> Option<Zoned<'_>> {
    let start = from + text.get(from..)?.find(['+', '-', 'Z', '[', '@'])?;
    let (clock, mut rest) = text.split_at(start);
    let mut offset = None;
    if let Some(after) = rest.strip_prefix('Z') {
        (offset, rest) = (Some(0), after);
    } else if rest.starts_with(['+', '-']) {
        let end = rest.find(['[', '@']).unwrap_or(rest.len());
        let Zone::Offset(seconds) = Zone::parse(&rest[..end]).filter(|_| matches!(end, 6 | 9))? else {
            return None;
        };
        (offset, rest) = (Some(seconds), &rest[end..]);
    }
    let mut zone = None;
    if let Some(after) = rest.strip_prefix('[') {
        let end = after.find(']')?;
        zone = Some(zone_of_text(&after[..end])?);
        rest = &after[end + 1..];
    }
    if let Some(after) = rest.strip_prefix('@') {
        zone = Some(zone_of_text(after)?);
        rest = "";
    }
    (rest.is_empty() && (offset.is_some() || zone.is_some())).then_some(Zoned { clock, offset, zone })
}

/// As Java's formatter reads a region: offsets are written in full.
fn zone_of_text(text: &str) -> Option<Zone> {
    let offset_part = text
        .find(['+', '-'])
        .filter(|at| matches!(&text[..*at], "" | "UTC" | "GMT" | "UT"))
        .map(|at| text.len() - at);
    if offset_part.is_some_and(|length| !matches!(length, 3 | 6 | 9)) {
        return None;
    }
    Zone::parse(text)
}

fn read_zoned_time(text: &str) -> Option<ZonedTime> {
    let Zoned { clock, offset, zone } = split_zone(text, 1)?;
    let time = read_time(clock, false)?;
    match (offset, zone) {
        (Some(offset), None) => Some(ZonedTime::at_offset(time, offset)),
        (Some(offset), Some(zone)) => Some(ZonedTime {
            time,
            offset,
            region: zone.is_region().then_some(zone),
        }),
        (None, Some(zone)) => Some(ZonedTime::in_zone(time, zone)),
        (None, None) => None,
    }
}

fn read_clock(text: &str) -> Option<LocalDateTime> {
    let (date, time) = text.split_once('T')?;
    Some(LocalDateTime {
        date: read_date(date)?,
        time: read_time(time, true)?,
    })
}

fn read_local_date_time(text: &str) -> Option<LocalDateTime> {
    if is_local_date_time(text) {
        read_clock(text)
    } else {
        None
    }
}

fn read_zoned_date_time(text: &str) -> Option<ZonedDateTime> {
    if !is_offset_date_time(text) {
        return None;
    }
    let Zoned { clock, offset, zone } = split_zone(text, text.find('T')?)?;
    let local = read_clock(clock)?;
    match (offset, zone) {
        (Some(offset), None) => ZonedDateTime::of_local(local, Zone::Offset(offset), None),
        // With both, the offset says which instant it is and the region how it is shown.
        (Some(offset), Some(zone)) => ZonedDateTime::of_instant(local.epoch_second(offset), local.time.nano(), zone),
        (None, Some(zone)) => ZonedDateTime::of_local(local, zone, None),
        (None, None) => None,
    }
}

/// One signed number and its unit at the start of `text`.
fn component(text: &str, unit: char) -> (Option<&str>, &str) {
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let end = sign + digits;
    let matches_unit = text[end..]
        .chars()
        .next()
        .is_some_and(|found| found.eq_ignore_ascii_case(&unit));
    if digits > 0 && matches_unit {
        (Some(&text[..end]), &text[end + 1..])
    } else {
        (None, text)
    }
}

fn sign_and_body(text: &str) -> Option<(i64, &str)> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    Some((sign, rest.strip_prefix(['P', 'p'])?))
}

/// Java's `Period.parse` for years and months: each part in 32 bits.
fn read_months(text: &str) -> Option<Months> {
    let (sign, body) = sign_and_body(text)?;
    let (years, rest) = component(body, 'Y');
    let (months, rest) = component(rest, 'M');
    if !rest.is_empty() || (years.is_none() && months.is_none()) {
        return None;
    }
    let part = |text: Option<&str>| -> Option<i64> {
        let value: i64 = text.map_or(Some(0), |text| text.parse().ok())?;
        i32::try_from(value * sign).ok().map(i64::from)
    };
    Months::new(part(years)? * 12 + part(months)?)
}

/// Java's `Duration.parse`.
fn read_day_time(text: &str) -> Option<DayTime> {
    let (sign, body) = sign_and_body(text)?;
    let (days, rest) = component(body, 'D');
    let mut total = part_seconds(days, 86_400)?;
    let mut nanos = 0i128;
    let mut found = days.is_some();
    if let Some(time) = rest.strip_prefix(['T', 't']) {
        let (hours, rest) = component(time, 'H');
        let (minutes, rest) = component(rest, 'M');
        total += part_seconds(hours, 3_600)? + part_seconds(minutes, 60)?;
        let seconds = !rest.is_empty();
        if seconds {
            let (whole, fraction) = seconds_part(rest)?;
            total += i128::from(whole);
            nanos = i128::from(fraction);
        }
        if hours.is_none() && minutes.is_none() && !seconds {
            return None;
        }
        found = true;
    } else if !rest.is_empty() {
        return None;
    }
    if !found {
        return None;
    }
    DayTime::from_nanos((total * 1_000_000_000 + nanos) * i128::from(sign))
}

fn part_seconds(part: Option<&str>, unit: i64) -> Option<i128> {
    let value: i64 = part.map_or(Some(0), |text| text.parse().ok())?;
    value.checked_mul(unit).map(i128::from)
}

/// `[-+]digits[.digits]S` to whole seconds and signed nanoseconds.
fn seconds_part(text: &str) -> Option<(i64, i64)> {
    let body = text.strip_suffix(['S', 's'])?;
    let (whole, fraction) = match body.find(['.', ',']) {
        Some(at) => (&body[..at], &body[at + 1..]),
        None => (body, ""),
    };
    let digits = whole.trim_start_matches(['-', '+']);
    let valid = !digits.is_empty()
        && whole.len() - digits.len() <= 1
        && digits.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
        && fraction.len() <= 9;
    if !valid {
        return None;
    }
    let nanos: i64 = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<9}").parse().ok()?
    };
    Some((whole.parse().ok()?, if whole.starts_with('-') { -nanos } else { nanos }))
}
