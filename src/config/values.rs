//! From a setting's text to its value.

use std::time::Duration;

use crate::iso_duration;

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown.
    Secret,
    /// A whole number.
    Count,
    /// A time like `30s`, `500ms`, `5m`, `1h`, `PT30S`; a bare number counts milliseconds.
    Duration,
    /// `true` or `false`.
    Switch,
    /// Texts: a list in the file, separated by commas elsewhere.
    List,
    /// One of these.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The value's name in `--help`.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Text | Kind::Secret => "TEXT",
            Kind::Count => "NUMBER",
            Kind::Duration => "TIME",
            Kind::Switch => "BOOL",
            Kind::List => "LIST",
            Kind::Choice(_) => "NAME",
        }
    }
}

/// `30s`, `500ms`, `5m`, `1h`, `1d`, `PT30S`, or milliseconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(parsed) = iso_duration::parse(text) {
        return parsed.to_std();
    }
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 = number.trim().parse().ok()?;
    let milliseconds = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// `true`/`false` and what people write for them.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("PT1M", 60_000),
            ("1500", 1_500),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-5s", "5 weeks", "1.5s", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
