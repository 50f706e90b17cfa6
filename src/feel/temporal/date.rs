//! Days of the proleptic Gregorian calendar, from year -999,999,999 to 999,999,999 as in Java.

/// A day without time and zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Date {
    year: i32,
    month: u8,
    day: u8,
}

const MAX_YEAR: i64 = 999_999_999;
const DAYS_PER_ERA: i64 = 146_097;

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_length(year: i32, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Date {
    pub(crate) fn new(year: i64, month: i64, day: i64) -> Option<Date> {
        if !(-MAX_YEAR..=MAX_YEAR).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        let (year, month) = (year as i32, month as u8);
        (1..=i64::from(month_length(year, month)))
            .contains(&day)
            .then_some(Date {
                year,
                month,
                day: day as u8,
            })
    }

    pub(crate) fn year(self) -> i32 {
        self.year
    }

    pub(crate) fn month(self) -> u8 {
        self.month
    }

    pub(crate) fn day(self) -> u8 {
        self.day
    }

    /// Days since 1970-01-01. The year is counted from March, so that the leap day is its last.
    pub(crate) fn epoch_day(self) -> i64 {
        let shifted = i64::from(self.year) - i64::from(self.month <= 2);
        let era = shifted.div_euclid(400);
        let year_of_era = shifted.rem_euclid(400);
        let month_from_march = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    pub(crate) fn from_epoch_day(epoch_day: i64) -> Option<Date> {
        // Beyond this the sums below could not overflow, but the year would be out of range anyway.
        if epoch_day.unsigned_abs() > 400_000_000_000 {
            return None;
        }
        let shifted = epoch_day + 719_468;
        let era = shifted.div_euclid(DAYS_PER_ERA);
        let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Date::new(era * 400 + year_of_era + i64::from(month <= 2), month, day)
    }

    /// A day that the target month does not have becomes its last day.
    pub(crate) fn plus_months(self, months: i64) -> Option<Date> {
        let total = (i64::from(self.year) * 12 + i64::from(self.month) - 1).checked_add(months)?;
        let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
        if !(-MAX_YEAR..=MAX_YEAR).contains(&year) {
            return None;
        }
        let last = month_length(year as i32, month as u8);
        Date::new(year, month, i64::from(self.day.min(last)))
    }

    /// Whole months from `self` to `other`, towards zero.
    pub(crate) fn months_until(self, other: Date) -> i64 {
        let total = |date: Date| i64::from(date.year) * 12 + i64::from(date.month);
        let months = total(other) - total(self);
        match (months > 0, other.day < self.day, other.day > self.day) {
            (true, true, _) => months - 1,
            (false, _, true) if months < 0 => months + 1,
            _ => months,
        }
    }

    /// 1 for Monday to 7 for Sunday.
    pub(crate) fn weekday(self) -> u8 {
        ((self.epoch_day() + 3).rem_euclid(7) + 1) as u8
    }

    pub(crate) fn day_of_year(self) -> u16 {
        (1..self.month)
            .map(|month| u16::from(month_length(self.year, month)))
            .sum::<u16>()
            + u16::from(self.day)
    }

    /// The ISO week: weeks start on Monday, the first one of a year has its first Thursday.
    pub(crate) fn week_of_year(self) -> u8 {
        let thursday = self.epoch_day() + 4 - i64::from(self.weekday());
        Date::from_epoch_day(thursday).map_or(1, |thursday| ((thursday.day_of_year() - 1) / 7 + 1) as u8)
    }

    pub(crate) fn last_day_of_month(self) -> Date {
        Date {
            day: month_length(self.year, self.month),
            ..self
        }
    }

    pub(crate) fn weekday_name(self) -> &'static str {
        [
            "Monday",
            "Tuesday",
            "Wednesday",
            "Thursday",
            "Friday",
            "Saturday",
            "Sunday",
        ][usize::from(self.weekday()) - 1]
    }

    pub(crate) fn month_name(self) -> &'static str {
        const NAMES: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        NAMES[usize::from(self.month) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_epoch_days_agree_over_four_thousand_years() {
        let mut day = Date::new(-1999, 12, 31).unwrap();
        for _ in 0..1_460_000 {
            let next = Date::from_epoch_day(day.epoch_day() + 1).unwrap();
            assert_eq!(next.epoch_day(), day.epoch_day() + 1);
            assert!(next > day);
            day = next;
        }
    }

    #[test]
    fn the_first_week_of_a_year_may_begin_in_the_year_before() {
        assert_eq!(Date::new(2019, 12, 30).unwrap().week_of_year(), 1);
        assert_eq!(Date::new(2021, 1, 3).unwrap().week_of_year(), 53);
        assert_eq!(Date::new(2019, 9, 17).unwrap().week_of_year(), 38);
    }

    #[test]
    fn months_are_counted_whole() {
        let date = |year, month, day| Date::new(year, month, day).unwrap();
        assert_eq!(date(2011, 12, 22).months_until(date(2013, 8, 24)), 20);
        assert_eq!(date(2013, 8, 24).months_until(date(2011, 12, 22)), -20);
        assert_eq!(date(2020, 1, 31).months_until(date(2020, 2, 29)), 0);
    }
}
