//! Time zones: fixed offsets and regions of the bundled IANA database.

use super::{LocalDateTime, LocalTime};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// A zone as Java's `ZoneId`.
#[derive(Debug, Clone)]
pub(crate) enum Zone {
    /// Seconds east of Greenwich, at most 18 hours.
    Offset(i32),
    Region(Arc<Region>),
}

#[derive(Debug)]
pub(crate) struct Region {
    name: String,
    rules: TimeZone,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        match (self, other) {
            (Zone::Offset(left), Zone::Offset(right)) => left == right,
            (Zone::Region(left), Zone::Region(right)) => left.name == right.name,
            _ => false,
        }
    }
}

/// Regions of the database that `java.time` leaves out.
const UNKNOWN_TO_JAVA: [&str; 5] = ["EST", "HST", "MST", "ROC", "Factory"];

const MAX_OFFSET: i32 = 18 * 3_600;

/// The calendar, and with it the rule of a zone, repeats after 400 years: what the database says of the year 8400 holds
/// 400 years later, and for ever.
const CYCLE_YEARS: i32 = 400;
const CYCLE_SECONDS: i64 = 146_097 * 86_400;
const LAST_YEAR: i32 = 8_800;

/// Seconds since 1970 at the end of [`LAST_YEAR`], roughly.
const LAST_SECOND: i64 = 215_500_000_000;

/// What the clocks of a zone do at a local time.
pub(crate) enum Clocks {
    One(i32),
    /// Clocks went forward and skipped this time: the offsets before and after.
    Gap(i32, i32),
    /// Clocks went back and show this time twice: the offsets before and after.
    Overlap(i32, i32),
}

impl Zone {
    pub(crate) fn offset(seconds: i32) -> Option<Zone> {
        (seconds.unsigned_abs() <= MAX_OFFSET as u32).then_some(Zone::Offset(seconds))
    }

    /// Reads what Java's `ZoneId.of` reads: `Z`, `+hh`, `+hh:mm`, `+hhmm`, `+hh:mm:ss`, `UTC+…`, `GMT+…`, `UT+…`, or a region.
    pub(crate) fn parse(text: &str) -> Option<Zone> {
        if text == "Z" {
            return Some(Zone::Offset(0));
        }
        if text.starts_with(['+', '-']) {
            return parse_offset(text).and_then(Zone::offset);
        }
        for prefix in ["UTC", "GMT", "UT"] {
            let Some(rest) = text.strip_prefix(prefix) else {
                continue;
            };
            if rest.is_empty() {
                return Some(Zone::fixed(prefix.to_owned(), 0));
            }
            if rest.starts_with(['+', '-']) {
                let offset = parse_offset(rest).filter(|offset| offset.abs() <= MAX_OFFSET)?;
                let name = if offset == 0 {
                    prefix.to_owned()
                } else {
                    format!("{prefix}{}", super::text::offset_id(offset))
                };
                return Some(Zone::fixed(name, offset));
            }
        }
        Zone::region(text)
    }

    fn fixed(name: String, offset: i32) -> Zone {
        let rules = jiff::tz::Offset::from_seconds(offset).map_or(TimeZone::UTC, TimeZone::fixed);
        Zone::Region(Arc::new(Region { name, rules }))
    }

    /// A region by its exact name; unlike in the database, letters matter.
    pub(crate) fn region(name: &str) -> Option<Zone> {
        let rules = TimeZone::get(name).ok()?;
        if rules.iana_name() != Some(name) || UNKNOWN_TO_JAVA.contains(&name) {
            return None;
        }
        Some(Zone::Region(Arc::new(Region {
            name: name.to_owned(),
            rules,
        })))
    }

    pub(crate) fn is_region(&self) -> bool {
        matches!(self, Zone::Region(_))
    }

    /// The identifier, as Java's `getId`.
    pub(crate) fn id(&self) -> String {
        match self {
            Zone::Offset(offset) => super::text::offset_id(*offset),
            Zone::Region(region) => region.name.clone(),
        }
    }

    /// Wraps a zone of the clock.
    pub(crate) fn of(rules: &TimeZone, offset: i32) -> Zone {
        match rules.iana_name() {
            Some(name) => Zone::Region(Arc::new(Region {
                name: name.to_owned(),
                rules: rules.clone(),
            })),
            None => Zone::Offset(offset),
        }
    }

    /// The offset in winter, as of now.
    pub(crate) fn standard_offset(&self) -> i32 {
        let region = match self {
            Zone::Offset(offset) => return *offset,
            Zone::Region(region) => region,
        };
        let now = jiff::Timestamp::now();
        let current = region.rules.to_offset_info(now);
        if !current.dst().is_dst() {
            return current.offset().seconds();
        }
        let next = region
            .rules
            .following(now)
            .take(4)
            .find(|transition| !transition.dst().is_dst());
        next.map_or(current.offset().seconds(), |transition| transition.offset().seconds())
    }

    /// The offset at an instant, in seconds since 1970 in Greenwich.
    pub(crate) fn offset_at(&self, epoch_second: i64) -> i32 {
        match self {
            Zone::Offset(offset) => *offset,
            Zone::Region(region) => {
                let bounded = if epoch_second > LAST_SECOND {
                    LAST_SECOND - CYCLE_SECONDS + (epoch_second - LAST_SECOND) % CYCLE_SECONDS
                } else {
                    epoch_second.max(jiff::Timestamp::MIN.as_second())
                };
                jiff::Timestamp::from_second(bounded).map_or(0, |instant| region.rules.to_offset(instant).seconds())
            }
        }
    }

    pub(crate) fn clocks_at(&self, local: LocalDateTime) -> Clocks {
        let region = match self {
            Zone::Offset(offset) => return Clocks::One(*offset),
            Zone::Region(region) => region,
        };
        let Some(civil) = civil(local) else {
            return Clocks::One(self.offset_at(local.epoch_second(0)));
        };
        match region.rules.to_ambiguous_timestamp(civil).offset() {
            jiff::tz::AmbiguousOffset::Unambiguous { offset } => Clocks::One(offset.seconds()),
            jiff::tz::AmbiguousOffset::Gap { before, after } => Clocks::Gap(before.seconds(), after.seconds()),
            jiff::tz::AmbiguousOffset::Fold { before, after } => Clocks::Overlap(before.seconds(), after.seconds()),
        }
    }
}

fn civil(local: LocalDateTime) -> Option<jiff::civil::DateTime> {
    let LocalDateTime { date, time } = local;
    let year = match date.year() {
        year if year > LAST_YEAR => LAST_YEAR - CYCLE_YEARS + (year - LAST_YEAR) % CYCLE_YEARS,
        year => year,
    };
    let seconds = LocalTime::nanos_of_day(time) / super::NANOS_PER_SECOND;
    jiff::civil::DateTime::new(
        i16::try_from(year).ok()?,
        date.month() as i8,
        date.day() as i8,
        (seconds / 3_600) as i8,
        (seconds / 60 % 60) as i8,
        (seconds % 60) as i8,
        time.nano() as i32,
    )
    .ok()
}

/// `+h`, `+hh`, `+hh:mm`, `+hhmm`, `+hh:mm:ss`, `+hhmmss`.
fn parse_offset(text: &str) -> Option<i32> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let rest = &text[1..];
    let digits: String = match rest.len() {
        1 => format!("0{rest}"),
        2 | 4 | 6 => rest.to_owned(),
        5 if rest.as_bytes()[2] == b':' => rest.replace(':', ""),
        8 if rest.as_bytes()[2] == b':' && rest.as_bytes()[5] == b':' => rest.replace(':', ""),
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits.len() % 2 == 1 {
        return None;
    }
    let part = |from: usize| {
        digits
            .get(from..from + 2)
            .and_then(|part| part.parse::<i32>().ok())
            .unwrap_or(0)
    };
    let (hours, minutes, seconds) = (part(0), part(2), part(4));
    (hours <= 18 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3_600 + minutes * 60 + seconds))
}
