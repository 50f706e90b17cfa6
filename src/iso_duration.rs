//! ISO 8601 durations as `java.time.Duration` reads them, because that is what modelers' headers were written for:
//! days to fractions of a second, signs, any letter case; no weeks, months or years.

use std::time::Duration;

/// A duration that may be negative, as the text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signed {
    nanoseconds: i128,
}

impl Signed {
    /// More than zero?
    pub fn is_positive(self) -> bool {
        self.nanoseconds > 0
    }

    /// As an unsigned duration; negative ones and those beyond 64 bits of nanoseconds (584 years) are `None`.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.nanoseconds).ok().map(Duration::from_nanos)
    }
}

/// Reads a text like `PT30S`, `P1DT12H` or `-PT0.5S`; `None` when it is not a duration.
pub fn parse(text: &str) -> Option<Signed> {
    let (negative, rest) = sign(text);
    let rest = rest.strip_prefix(['P', 'p'])?;
    let (days, time) = match rest.find(['T', 't']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let mut total: i128 = 0;
    let mut components = 0;
    if !days.is_empty() {
        let (value, unit, rest) = component(days)?;
        if !rest.is_empty() || !unit.eq_ignore_ascii_case(&'D') {
            return None;
        }
        total += whole(value)?.checked_mul(86_400_000_000_000)?;
        components += 1;
    }
    if let Some(mut time) = time {
        if time.is_empty() {
            return None;
        }
        let mut earlier = 0;
        while !time.is_empty() {
            let (value, unit, rest) = component(time)?;
            let (order, nanoseconds) = match unit.to_ascii_uppercase() {
                'H' => (1, whole(value)?.checked_mul(3_600_000_000_000)?),
                'M' => (2, whole(value)?.checked_mul(60_000_000_000)?),
                'S' => (3, seconds(value)?),
                _ => return None,
            };
            if order <= earlier {
                return None;
            }
            earlier = order;
            total = total.checked_add(nanoseconds)?;
            components += 1;
            time = rest;
        }
    }
    (components > 0).then_some(Signed {
        nanoseconds: if negative { -total } else { total },
    })
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// Splits `12H30M` into `12`, `H` and `30M`.
fn component(text: &str) -> Option<(&str, char, &str)> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let unit = text[at..].chars().next()?;
    (at > 0).then(|| (&text[..at], unit, &text[at + 1..]))
}

fn whole(text: &str) -> Option<i128> {
    let (negative, digits) = sign(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: i128 = digits.parse::<i64>().ok()?.into();
    Some(if negative { -value } else { value })
}

fn seconds(text: &str) -> Option<i128> {
    let (integer, fraction) = match text.find(['.', ',']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let negative = integer.starts_with('-');
    let nanoseconds = whole(integer)?.checked_mul(1_000_000_000)?;
    let part: i128 = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<9}").parse().ok()?
    };
    Some(if negative {
        nanoseconds - part
    } else {
        nanoseconds + part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<i128> {
        parse(text).map(|duration| duration.nanoseconds / 1_000_000)
    }

    #[test]
    fn reads_what_java_reads() {
        assert_eq!(millis("PT30S"), Some(30_000));
        assert_eq!(millis("P1D"), Some(86_400_000));
        assert_eq!(millis("p1dt1h1m1.5s"), Some(90_061_500));
        assert_eq!(millis("PT0.01S"), Some(10));
        assert_eq!(millis("-PT10M"), Some(-600_000));
        assert_eq!(millis("PT-10M"), Some(-600_000));
        assert_eq!(millis("PT-0.5S"), Some(-500));
        assert_eq!(millis("PT0S"), Some(0));
        assert!(parse("PT0.000000001S").is_some_and(Signed::is_positive));
    }

    #[test]
    fn refuses_what_java_refuses() {
        for text in [
            "",
            "P",
            "PT",
            "P1DT",
            "P1D1S",
            "P1Y",
            "P1W",
            "PT1S1H",
            "PTS",
            "30",
            "PT1.5H",
            "not-a-duration",
            "PT1.0000000001S",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
