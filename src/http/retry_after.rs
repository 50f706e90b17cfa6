//! The header `Retry-After`: its text and the present go in, a wait comes out.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// Servers that ask for more are asked again after this.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Seconds, or an HTTP date (RFC 9110, 10.2.3); a date in the past is no wait at all.
pub(super) fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long wait.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let at: Timestamp = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    let wait = SystemTime::from(at).duration_since(now).unwrap_or(Duration::ZERO);
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_waits_and_nonsense_is_none() {
        // 1994-11-06 08:49:37 UTC
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let wait = |text| parse(text, now);
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait(" 0 "), Some(Duration::ZERO));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999999999999999999"), Some(LONGEST));
        assert_eq!(wait("Sun, 06 Nov 2094 08:00:00 GMT"), Some(LONGEST));
        for nonsense in ["", "-1", "1.5", "soon"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }
}
