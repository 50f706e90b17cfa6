//! Times of day, without and with a zone.

use super::zone::Zone;
use super::{DayTime, LocalDateTime, NANOS_PER_SECOND, SECONDS_PER_DAY, ZonedDateTime};
use crate::feel::temporal::Date;

const NANOS_PER_DAY: i64 = SECONDS_PER_DAY * NANOS_PER_SECOND;

/// A time of day without a zone, in nanoseconds since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LocalTime(i64);

impl LocalTime {
    pub(crate) const MIDNIGHT: LocalTime = LocalTime(0);

    pub(crate) fn new(hour: i64, minute: i64, second: i64, nano: i64) -> Option<LocalTime> {
        let valid = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..NANOS_PER_SECOND).contains(&nano);
        valid.then(|| LocalTime(((hour * 60 + minute) * 60 + second) * NANOS_PER_SECOND + nano))
    }

    pub(crate) fn from_nanos(nanos: i64) -> LocalTime {
        LocalTime(nanos.rem_euclid(NANOS_PER_DAY))
    }

    pub(crate) fn nanos_of_day(self) -> i64 {
        self.0
    }

    pub(crate) fn hour(self) -> i64 {
        self.0 / (3_600 * NANOS_PER_SECOND)
    }

    pub(crate) fn minute(self) -> i64 {
        self.0 / (60 * NANOS_PER_SECOND) % 60
    }

    pub(crate) fn second(self) -> i64 {
        self.0 / NANOS_PER_SECOND % 60
    }

    pub(crate) fn nano(self) -> i64 {
        self.0 % NANOS_PER_SECOND
    }

    /// Past midnight the clock starts again.
    pub(crate) fn plus(self, duration: DayTime) -> LocalTime {
        LocalTime((i128::from(self.0) + duration.total_nanos()).rem_euclid(i128::from(NANOS_PER_DAY)) as i64)
    }
}

/// A time of day in a zone. The offset of a region is its standard one, whatever the season.
#[derive(Debug, Clone)]
pub(crate) struct ZonedTime {
    pub(crate) time: LocalTime,
    /// Seconds east of Greenwich.
    pub(crate) offset: i32,
    /// The zone, when it is a region and not just an offset.
    pub(crate) region: Option<Zone>,
}

impl PartialEq for ZonedTime {
    fn eq(&self, other: &ZonedTime) -> bool {
        self.time == other.time && self.offset == other.offset && self.region == other.region
    }
}

impl ZonedTime {
    pub(crate) fn in_zone(time: LocalTime, zone: Zone) -> ZonedTime {
        let offset = zone.standard_offset();
        ZonedTime {
            time,
            offset,
            region: zone.is_region().then_some(zone),
        }
    }

    pub(crate) fn at_offset(time: LocalTime, offset: i32) -> ZonedTime {
        ZonedTime {
            time,
            offset,
            region: None,
        }
    }

    pub(crate) fn of(date_time: &ZonedDateTime) -> ZonedTime {
        let region = date_time.zone().is_region().then(|| date_time.zone().clone());
        ZonedTime {
            time: date_time.local().time,
            offset: date_time.offset(),
            region,
        }
    }

    pub(crate) fn plus(&self, duration: DayTime) -> ZonedTime {
        ZonedTime {
            time: self.time.plus(duration),
            ..self.clone()
        }
    }

    /// Nanoseconds since midnight in Greenwich; may be negative.
    pub(crate) fn instant(&self) -> i64 {
        self.time.nanos_of_day() - i64::from(self.offset) * NANOS_PER_SECOND
    }

    pub(crate) fn with_date(&self, date: Date) -> Option<ZonedDateTime> {
        let zone = self.region.clone().unwrap_or(Zone::Offset(self.offset));
        ZonedDateTime::of_local(LocalDateTime { date, time: self.time }, zone, None)
    }
}
