//! How values stand in OData addresses: ids, quoted texts, query strings. Nothing that a modeler wrote reaches a URL
//! but through here.

use std::fmt::{self, Write as _};

use jiff::Timestamp;

/// The id of a row. Shown as Dataverse prints it: lower case, hyphens, no braces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(u128);

impl Guid {
    /// Reads an id as people paste it: either case, blanks around, with or without `{}` and hyphens.
    ///
    /// Hyphens may only stand where they belong, so that a mistyped id is not silently read as another one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = match text.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}')?,
            None => text,
        };
        let hyphenated = text.len() == 36;
        if !hyphenated && text.len() != 32 {
            return None;
        }
        let mut id = 0;
        for (at, char) in text.chars().enumerate() {
            if hyphenated && matches!(at, 8 | 13 | 18 | 23) {
                (char == '-').then_some(())?;
            } else {
                id = id << 4 | u128::from(char.to_digit(16)?);
            }
        }
        Some(Self(id))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Groups of 8, 4, 4, 4 and 12 digits.
        let id = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            id >> 80 & 0xffff,
            id >> 64 & 0xffff,
            id >> 48 & 0xffff,
            id & 0xffff_ffff_ffff
        )
    }
}

impl serde::Serialize for Guid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A moment as OData writes it, in whole seconds.
pub(super) fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A text as an OData literal: in single quotes, its own quotes doubled.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Options of a request, percent-encoded as they are added.
#[derive(Clone, Debug, Default)]
pub struct Query(String);

impl Query {
    /// The query with one more option; `name` is an OData name such as `$filter`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' | b'(' | b')' => {
                    self.0.push(char::from(byte));
                }
                other => {
                    // Writing into a String cannot fail.
                    let _ = write!(self.0, "%{other:02X}");
                }
            }
        }
        self
    }

    /// The encoded query, without `?`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Is this filter one closed expression, so that it can stand in parentheses beside another condition without changing
/// it? Quotes are closed, and no parenthesis closes that was not opened here.
pub fn is_closed_filter(filter: &str) -> bool {
    let mut open = 0_usize;
    let mut inside_text = false;
    for char in filter.chars() {
        match char {
            '\'' => inside_text = !inside_text,
            '(' if !inside_text => open += 1,
            ')' if !inside_text => match open.checked_sub(1) {
                Some(left) => open = left,
                None => return false,
            },
            _ => {}
        }
    }
    open == 0 && !inside_text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_every_form_that_people_paste() {
        let id = "d9687093-d0c0-ec11-983e-0022480b428a";
        for text in [
            id,
            "D9687093-D0C0-EC11-983E-0022480B428A",
            "{d9687093-d0c0-ec11-983e-0022480b428a}",
            "d9687093d0c0ec11983e0022480b428a",
            "  d9687093-d0c0-ec11-983e-0022480b428a\n",
        ] {
            assert_eq!(Guid::parse(text).unwrap().to_string(), id, "{text}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "d9687093-d0c0-ec11-983e-0022480b428",
            "d9687093-d0c0-ec11-983e-0022480b428g",
            "d96870930d0c0-ec11-983e-0022480b428a",
            "d9687093d-0c0-ec11-983e-0022480b428a",
            "{d9687093-d0c0-ec11-983e-0022480b428a",
            "d9687093-d0c0-ec11-983e-0022480b428a)/x",
            "é9687093d0c0ec11983e0022480b428",
        ] {
            assert_eq!(Guid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn quotes_in_texts_are_doubled() {
        assert_eq!(quoted("O'Brien's flow"), "'O''Brien''s flow'");
    }

    #[test]
    fn nothing_in_a_value_can_start_another_option() {
        let query = Query::default()
            .with("$filter", "name eq 'a&b=c #d+e'")
            .with("$select", "name,workflowid");
        assert_eq!(
            query.as_str(),
            "$filter=name%20eq%20%27a%26b%3Dc%20%23d%2Be%27&$select=name,workflowid"
        );
    }

    #[test]
    fn a_filter_may_not_escape_its_parentheses() {
        for closed in ["statecode eq 1", "(a eq 1) or (b eq ')')", "name eq 'it''s ('"] {
            assert!(is_closed_filter(closed), "{closed}");
        }
        for open in ["a eq 1) or (b eq 2", "(a eq 1", "name eq 'x", ")("] {
            assert!(!is_closed_filter(open), "{open}");
        }
    }
}
