//! Dates, times and durations with the ranges, the arithmetic and the text forms of `java.time`.
//!
//! What enters is text or parts; what leaves are the types below. `None` stands for what Java refuses with a
//! `DateTimeException` or an `ArithmeticException`. Time zones come from the bundled IANA database.

mod date;
mod date_time;
mod duration;
pub(crate) mod literal;
mod text;
mod time;
mod zone;

pub(crate) use date::Date;
pub(crate) use date_time::{LocalDateTime, ZonedDateTime};
pub(crate) use duration::{DayTime, Months};
pub(crate) use time::{LocalTime, ZonedTime};
pub(crate) use zone::Zone;

/// A temporal value as a literal of a program.
#[derive(Debug, Clone)]
pub(crate) enum Temporal {
    Date(Date),
    LocalTime(LocalTime),
    Time(ZonedTime),
    LocalDateTime(LocalDateTime),
    DateTime(ZonedDateTime),
    Months(Months),
    DayTime(DayTime),
}

pub(crate) const NANOS_PER_SECOND: i64 = 1_000_000_000;
pub(crate) const SECONDS_PER_DAY: i64 = 86_400;
