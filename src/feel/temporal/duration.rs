//! The two kinds of durations: years and months, days and time.

use super::NANOS_PER_SECOND;

/// A duration of years and months, kept as months: the real engine normalises, so `P14M` and `P1Y2M` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Months(i64);

impl Months {
    /// `None` when the years do not fit 32 bits.
    pub(crate) fn new(months: i64) -> Option<Months> {
        i32::try_from(months / 12).ok().map(|_| Months(months))
    }

    pub(crate) fn total(self) -> i64 {
        self.0
    }

    pub(crate) fn years(self) -> i64 {
        self.0 / 12
    }

    pub(crate) fn months(self) -> i64 {
        self.0 % 12
    }

    pub(crate) fn plus(self, other: Months) -> Option<Months> {
        Months::new(self.0 + other.0)
    }

    pub(crate) fn negated(self) -> Months {
        Months(-self.0)
    }

    /// Years and months are multiplied apart, each in 32 bits, as Java's `Period` does.
    pub(crate) fn times(self, factor: i32) -> Option<Months> {
        let years = (self.years() as i32).checked_mul(factor)?;
        let months = (self.months() as i32).checked_mul(factor)?;
        Months::new(i64::from(years) * 12 + i64::from(months))
    }
}

/// A duration of days, hours, minutes and seconds; a day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DayTime {
    seconds: i64,
    /// Always counted forward: -0.5 s is -1 s and 500,000,000 ns.
    nanos: u32,
}

impl DayTime {
    pub(crate) const ZERO: DayTime = DayTime { seconds: 0, nanos: 0 };

    pub(crate) fn new(seconds: i64, nanos: i64) -> Option<DayTime> {
        let seconds = seconds.checked_add(nanos.div_euclid(NANOS_PER_SECOND))?;
        Some(DayTime {
            seconds,
            nanos: nanos.rem_euclid(NANOS_PER_SECOND) as u32,
        })
    }

    pub(crate) fn from_seconds(seconds: i64) -> DayTime {
        DayTime { seconds, nanos: 0 }
    }

    pub(crate) fn from_millis(millis: i64) -> DayTime {
        DayTime {
            seconds: millis.div_euclid(1_000),
            nanos: (millis.rem_euclid(1_000) * 1_000_000) as u32,
        }
    }

    pub(crate) fn from_nanos(nanos: i128) -> Option<DayTime> {
        let per_second = i128::from(NANOS_PER_SECOND);
        let seconds = i64::try_from(nanos.div_euclid(per_second)).ok()?;
        Some(DayTime {
            seconds,
            nanos: nanos.rem_euclid(per_second) as u32,
        })
    }

    pub(crate) fn total_nanos(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(self.nanos)
    }

    /// Whole seconds, rounded down.
    pub(crate) fn seconds(self) -> i64 {
        self.seconds
    }

    pub(crate) fn subsecond_nanos(self) -> u32 {
        self.nanos
    }

    /// Whole milliseconds; `None` when 64 bits do not hold them.
    pub(crate) fn millis(self) -> Option<i64> {
        i64::try_from(self.total_nanos().div_euclid(1_000_000)).ok()
    }

    pub(crate) fn is_zero(self) -> bool {
        self == DayTime::ZERO
    }

    pub(crate) fn plus(self, other: DayTime) -> Option<DayTime> {
        DayTime::from_nanos(self.total_nanos() + other.total_nanos())
    }

    pub(crate) fn negated(self) -> Option<DayTime> {
        DayTime::from_nanos(-self.total_nanos())
    }

    pub(crate) fn abs(self) -> Option<DayTime> {
        if self.seconds < 0 { self.negated() } else { Some(self) }
    }

    pub(crate) fn times(self, factor: i32) -> Option<DayTime> {
        DayTime::from_nanos(self.total_nanos() * i128::from(factor))
    }

    /// Days, hours, minutes and seconds, each with the sign of whole seconds rounded down, as Java's getters give them.
    pub(crate) fn parts(self) -> (i64, i64, i64, i64) {
        (
            self.seconds / 86_400,
            (self.seconds / 3_600) % 24,
            (self.seconds / 60) % 60,
            self.seconds % 60,
        )
    }
}
