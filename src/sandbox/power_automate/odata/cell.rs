//! One value of a row, and how values compare.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use crate::sandbox::power_automate::clock::printed;
use crate::sandbox::power_automate::ids::Guid;

/// A column of a table.
#[derive(Debug)]
pub(in crate::sandbox::power_automate) struct Column {
    pub(in crate::sandbox::power_automate) name: &'static str,
    pub(in crate::sandbox::power_automate) kind: Kind,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox::power_automate) enum Kind {
    Text,
    Number,
    Flag,
    Guid,
    Time,
}

impl Kind {
    /// The type's name in messages.
    pub(super) fn edm(self) -> &'static str {
        match self {
            Kind::Text => "Edm.String",
            Kind::Number => "Edm.Int32",
            Kind::Flag => "Edm.Boolean",
            Kind::Guid => "Edm.Guid",
            Kind::Time => "Edm.DateTimeOffset",
        }
    }
}

/// A value: of a row's column, or written in a filter.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox::power_automate) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Number(i64),
    Flag(bool),
    Guid(Guid),
    Time(Timestamp),
}

impl<'a> Cell<'a> {
    pub(in crate::sandbox::power_automate) fn text(text: Option<&'a str>) -> Self {
        text.map_or(Cell::Null, |text| Cell::Text(Cow::Borrowed(text)))
    }

    pub(in crate::sandbox::power_automate) fn time(time: Option<Timestamp>) -> Self {
        time.map_or(Cell::Null, Cell::Time)
    }

    pub(in crate::sandbox::power_automate) fn guid(guid: Option<Guid>) -> Self {
        guid.map_or(Cell::Null, Cell::Guid)
    }

    /// The value in an answer.
    pub(in crate::sandbox::power_automate) fn json(&self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Text(text) => Value::from(text.as_ref()),
            Cell::Number(number) => Value::from(*number),
            Cell::Flag(flag) => Value::from(*flag),
            Cell::Guid(guid) => Value::from(guid.to_string()),
            Cell::Time(time) => Value::from(printed(*time)),
        }
    }

    /// Null first; text without regard to the case of ASCII letters. Cells of different types do not meet.
    pub(in crate::sandbox::power_automate) fn order(&self, other: &Cell<'_>) -> Ordering {
        match (self, other) {
            (Cell::Null, Cell::Null) => Ordering::Equal,
            (Cell::Null, _) => Ordering::Less,
            (_, Cell::Null) => Ordering::Greater,
            (Cell::Text(left), Cell::Text(right)) => {
                let lower = |text: &'_ str| text.bytes().map(|byte| byte.to_ascii_lowercase()).collect::<Vec<u8>>();
                if left.eq_ignore_ascii_case(right) {
                    Ordering::Equal
                } else {
                    lower(left).cmp(&lower(right))
                }
            }
            (Cell::Number(left), Cell::Number(right)) => left.cmp(right),
            (Cell::Flag(left), Cell::Flag(right)) => left.cmp(right),
            (Cell::Guid(left), Cell::Guid(right)) => left.cmp(right),
            (Cell::Time(left), Cell::Time(right)) => left.cmp(right),
            _ => Ordering::Equal,
        }
    }
}
