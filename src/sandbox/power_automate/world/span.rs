//! Durations and moments in a scenario file: texts go in, a [`Duration`] or a [`Timestamp`] comes out.

use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration of zero or more, written `"1.5s"`, `"2m 10s"` or `"PT2M10S"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// The text is not a duration, or it is negative or longer than a year.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a duration from zero to a year: write one like \"1.5s\", \"2m 10s\" or \"PT2M10S\"")]
pub struct NotASpan(String);

const YEAR: Duration = Duration::from_secs(366 * 86_400);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(Duration::ZERO);

    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Span(Duration::from_secs(seconds))
    }

    /// A span of milliseconds.
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Span(Duration::from_millis(milliseconds))
    }

    /// The span as the standard library's duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Span(duration)
    }
}

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let refuse = || NotASpan(text.chars().take(64).collect());
        let signed: SignedDuration = text.parse().map_err(|_| refuse())?;
        let duration = Duration::try_from(signed).map_err(|_| refuse())?;
        if duration > YEAR {
            Err(refuse())
        } else {
            Ok(Span(duration))
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let signed = SignedDuration::try_from(self.0).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&signed)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A moment, written `"2026-03-01T08:00:00Z"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Moment).map_err(|_| {
            serde::de::Error::custom(format!(
                "`{text}` is not a moment: write one like \"2026-03-01T08:00:00Z\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_duration_are_read() {
        for text in ["PT1.5S", "1.5s", "1s 500ms"] {
            assert_eq!(text.parse::<Span>().unwrap(), Span::milliseconds(1500), "{text}");
        }
    }

    #[test]
    fn negative_endless_and_unreadable_durations_are_refused() {
        for text in ["-1s", "soon", "9000h", "2"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
