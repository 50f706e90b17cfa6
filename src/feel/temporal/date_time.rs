//! A day and a time, without and with a zone.

use super::zone::{Clocks, Zone};
use super::{Date, DayTime, LocalTime, Months, NANOS_PER_SECOND, SECONDS_PER_DAY};
use std::cmp::Ordering;

/// What a calendar and a clock on the wall show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LocalDateTime {
    pub(crate) date: Date,
    pub(crate) time: LocalTime,
}

impl LocalDateTime {
    /// Seconds since 1970 in Greenwich, if these clocks are `offset` seconds ahead of it.
    pub(crate) fn epoch_second(self, offset: i32) -> i64 {
        self.date.epoch_day() * SECONDS_PER_DAY + self.time.nanos_of_day() / NANOS_PER_SECOND - i64::from(offset)
    }

    pub(crate) fn from_epoch(seconds: i64, nanos: i64, offset: i32) -> Option<LocalDateTime> {
        let local = seconds.checked_add(i64::from(offset))?;
        let date = Date::from_epoch_day(local.div_euclid(SECONDS_PER_DAY))?;
        let time = LocalTime::from_nanos(local.rem_euclid(SECONDS_PER_DAY) * NANOS_PER_SECOND + nanos);
        Some(LocalDateTime { date, time })
    }

    fn total_nanos(self) -> i128 {
        i128::from(self.epoch_second(0)) * i128::from(NANOS_PER_SECOND) + i128::from(self.time.nano())
    }

    pub(crate) fn plus(self, duration: DayTime) -> Option<LocalDateTime> {
        let total = self.total_nanos() + duration.total_nanos();
        let per_second = i128::from(NANOS_PER_SECOND);
        let seconds = i64::try_from(total.div_euclid(per_second)).ok()?;
        LocalDateTime::from_epoch(seconds, total.rem_euclid(per_second) as i64, 0)
    }

    pub(crate) fn plus_months(self, months: Months) -> Option<LocalDateTime> {
        Some(LocalDateTime {
            date: self.date.plus_months(months.total())?,
            time: self.time,
        })
    }

    /// The time from `other` to `self`.
    pub(crate) fn since(self, other: LocalDateTime) -> Option<DayTime> {
        DayTime::from_nanos(self.total_nanos() - other.total_nanos())
    }
}

/// A day and a time in a zone. Two are equal when they show the same in the same zone; the same instant is not enough.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ZonedDateTime {
    local: LocalDateTime,
    offset: i32,
    zone: Zone,
}

impl ZonedDateTime {
    /// A time that clocks skip moves forward by the gap; of one that they show twice it is the first, unless
    /// `preferred` is the offset of the other.
    pub(crate) fn of_local(local: LocalDateTime, zone: Zone, preferred: Option<i32>) -> Option<ZonedDateTime> {
        match zone.clocks_at(local) {
            Clocks::One(offset) => Some(ZonedDateTime { local, offset, zone }),
            Clocks::Gap(before, after) => {
                let local = local.plus(DayTime::from_seconds(i64::from(after - before)))?;
                Some(ZonedDateTime {
                    local,
                    offset: after,
                    zone,
                })
            }
            Clocks::Overlap(before, after) => {
                let offset = if preferred == Some(after) { after } else { before };
                Some(ZonedDateTime { local, offset, zone })
            }
        }
    }

    pub(crate) fn of_instant(epoch_second: i64, nanos: i64, zone: Zone) -> Option<ZonedDateTime> {
        let offset = zone.offset_at(epoch_second);
        Some(ZonedDateTime {
            local: LocalDateTime::from_epoch(epoch_second, nanos, offset)?,
            offset,
            zone,
        })
    }

    pub(crate) fn local(&self) -> LocalDateTime {
        self.local
    }

    pub(crate) fn offset(&self) -> i32 {
        self.offset
    }

    pub(crate) fn zone(&self) -> &Zone {
        &self.zone
    }

    pub(crate) fn epoch_second(&self) -> i64 {
        self.local.epoch_second(self.offset)
    }

    /// The same instant in another zone.
    pub(crate) fn in_zone(&self, zone: Zone) -> Option<ZonedDateTime> {
        ZonedDateTime::of_instant(self.epoch_second(), self.local.time.nano(), zone)
    }

    fn total_nanos(&self) -> i128 {
        i128::from(self.epoch_second()) * i128::from(NANOS_PER_SECOND) + i128::from(self.local.time.nano())
    }

    /// Later by an exact time: a day is 24 hours even when clocks change.
    pub(crate) fn plus(&self, duration: DayTime) -> Option<ZonedDateTime> {
        let total = self.total_nanos() + duration.total_nanos();
        let per_second = i128::from(NANOS_PER_SECOND);
        let seconds = i64::try_from(total.div_euclid(per_second)).ok()?;
        ZonedDateTime::of_instant(seconds, total.rem_euclid(per_second) as i64, self.zone.clone())
    }

    /// The same time of day in another month.
    pub(crate) fn plus_months(&self, months: Months) -> Option<ZonedDateTime> {
        ZonedDateTime::of_local(self.local.plus_months(months)?, self.zone.clone(), Some(self.offset))
    }

    pub(crate) fn since(&self, other: &ZonedDateTime) -> Option<DayTime> {
        DayTime::from_nanos(self.total_nanos() - other.total_nanos())
    }

    /// By instant, then by what the clock shows, then by the name of the zone.
    pub(crate) fn compare(&self, other: &ZonedDateTime) -> Ordering {
        self.total_nanos()
            .cmp(&other.total_nanos())
            .then_with(|| self.local.cmp(&other.local))
            .then_with(|| self.zone.id().cmp(&other.zone.id()))
    }
}
