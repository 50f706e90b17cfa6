//! Values: the 15 kinds of FEEL, borrowing from the document and the program wherever they can.
//!
//! A value is 24 bytes and cheap to clone: numbers and short things are inside, texts, lists and contexts of the
//! document are references, and what an evaluation creates is counted by reference.

mod compare;
mod context;
mod list;
mod output;
mod show;
mod written;

pub(crate) use compare::{equal, identical, order};
pub(crate) use context::{Context, Ctx, Draft, Key};
pub(crate) use list::{List, Seq, Shared};
pub(crate) use output::to_json;
pub(crate) use show::show;
pub(crate) use written::to_json_text;

use super::limits::CELL;
use super::number::Number;
use super::syntax::Definition;
use super::temporal::{Date, DayTime, LocalDateTime, LocalTime, Months, Temporal, ZonedDateTime, ZonedTime};
use serde_json::Value as Json;
use std::rc::Rc;

/// How deeply a value may be nested where it is shown, compared or returned. Documents are at most 128 deep when they are
/// read from text, and what an evaluation builds around them is bounded by a limit of its own; but a document that was
/// made in memory has no bound, and the stack has one.
pub(crate) const MAX_DEPTH: usize = 400;

#[derive(Clone, Debug)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Number(Number),
    /// Text of the document or the program.
    Str(&'a str),
    /// Text that the evaluation made.
    Text(Rc<str>),
    Date(Date),
    LocalTime(LocalTime),
    Time(Rc<ZonedTime>),
    LocalDateTime(LocalDateTime),
    DateTime(Rc<ZonedDateTime>),
    Months(Months),
    DayTime(DayTime),
    JsonList(&'a [Json]),
    List(Rc<List<'a>>),
    JsonContext(&'a serde_json::Map<String, Json>),
    Context(Rc<Context<'a>>),
    Function(Rc<Function<'a>>),
    Range(Rc<Range<'a>>),
    /// What the real engine calls an error value: it becomes null in most places and ends the evaluation in some.
    Error(Rc<str>),
    /// `?` without an input: becomes an error wherever it is not the whole of a test.
    NoInput,
}

/// A function that the expression defines, with the values of the names that it uses.
#[derive(Debug)]
pub(crate) struct Function<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) variables: Vec<(&'a str, Val<'a>)>,
    pub(crate) functions: Vec<(&'a str, Rc<Function<'a>>)>,
    pub(crate) depth: u16,
}

#[derive(Debug, Clone)]
pub(crate) struct End<'a> {
    pub(crate) value: Val<'a>,
    pub(crate) closed: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Range<'a> {
    pub(crate) start: End<'a>,
    pub(crate) end: End<'a>,
}

impl<'a> Val<'a> {
    pub(crate) fn from_json(json: &'a Json) -> Val<'a> {
        match json {
            Json::Null => Val::Null,
            Json::Bool(value) => Val::Bool(*value),
            Json::Number(number) => Val::Number(Number::from_json(number)),
            Json::String(text) => Val::Str(text),
            Json::Array(items) => Val::JsonList(items),
            Json::Object(entries) => Val::JsonContext(entries),
        }
    }

    pub(crate) fn from_temporal(temporal: &Temporal) -> Val<'a> {
        match temporal {
            Temporal::Date(date) => Val::Date(*date),
            Temporal::LocalTime(time) => Val::LocalTime(*time),
            Temporal::Time(time) => Val::Time(Rc::new(time.clone())),
            Temporal::LocalDateTime(date_time) => Val::LocalDateTime(*date_time),
            Temporal::DateTime(date_time) => Val::DateTime(Rc::new(date_time.clone())),
            Temporal::Months(months) => Val::Months(*months),
            Temporal::DayTime(duration) => Val::DayTime(*duration),
        }
    }

    pub(crate) fn text(text: impl Into<Rc<str>>) -> Val<'a> {
        Val::Text(text.into())
    }

    pub(crate) fn int(value: i64) -> Val<'a> {
        Val::Number(Number::Int(value))
    }

    pub(crate) fn error(message: impl Into<Rc<str>>) -> Val<'a> {
        Val::Error(message.into())
    }

    /// Cells of what hangs on a fresh value besides its place in a list or context, for kinds whose making is not counted:
    /// whoever keeps a value counts it. Nothing for what others hold, too.
    pub(crate) fn hanging_cells(&self) -> usize {
        fn cells<T: ?Sized>(shared: &Rc<T>, more: usize) -> usize {
            /// The two counters of an `Rc`.
            const COUNTERS: usize = 2 * size_of::<usize>();
            if Rc::strong_count(shared) > 1 {
                return 0;
            }
            (size_of_val(&**shared) + COUNTERS + more).div_ceil(CELL)
        }
        match self {
            Val::Number(Number::Wide(decimal)) => cells(decimal, decimal.heap_bytes()),
            Val::Time(time) => cells(time, 0),
            Val::DateTime(date_time) => cells(date_time, 0),
            Val::Range(range) => {
                let ends = range.start.value.hanging_cells() + range.end.value.hanging_cells();
                cells(range, ends * CELL)
            }
            Val::Error(message) => cells(message, 0),
            _ => 0,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Val::Str(text) => Some(text),
            Val::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<&Number> {
        match self {
            Val::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<Seq<'a>> {
        match self {
            Val::JsonList(items) => Some(Seq::Json(items)),
            Val::List(list) => Some(Seq::List(Rc::clone(list))),
            _ => None,
        }
    }

    pub(crate) fn as_context(&self) -> Option<Ctx<'a>> {
        match self {
            Val::JsonContext(entries) => Some(Ctx::Json(entries)),
            Val::Context(context) => Some(Ctx::Context(Rc::clone(context))),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Val::Null)
    }

    /// How deeply values that this evaluation created are nested below; what is borrowed counts as flat.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Val::List(list) => usize::from(list.depth()),
            Val::Context(context) => usize::from(context.depth()),
            Val::Function(function) => usize::from(function.depth),
            _ => 0,
        }
    }

    /// The name of the kind, as `instance of` knows it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Val::Null => "null",
            Val::Bool(_) => "boolean",
            Val::Number(_) => "number",
            Val::Str(_) | Val::Text(_) => "string",
            Val::Date(_) => "date",
            Val::LocalTime(_) | Val::Time(_) => "time",
            Val::LocalDateTime(_) | Val::DateTime(_) => "date and time",
            Val::Months(_) => "years and months duration",
            Val::DayTime(_) => "days and time duration",
            Val::JsonList(_) | Val::List(_) => "list",
            Val::JsonContext(_) | Val::Context(_) => "context",
            Val::Function(_) => "function",
            Val::Range(_) => "range",
            Val::Error(_) | Val::NoInput => "error",
        }
    }

    /// Whether two values are of the same kind, times and dates with and without a zone told apart.
    pub(crate) fn same_kind(&self, other: &Val<'_>) -> bool {
        use Val::{Date, DateTime, DayTime, LocalDateTime, LocalTime, Months, Time};
        match (self, other) {
            (LocalTime(_), LocalTime(_)) | (Time(_), Time(_)) => true,
            (LocalDateTime(_), LocalDateTime(_)) | (DateTime(_), DateTime(_)) => true,
            (LocalTime(_) | Time(_) | LocalDateTime(_) | DateTime(_), _) => false,
            (Date(_), Date(_)) | (Months(_), Months(_)) | (DayTime(_), DayTime(_)) => true,
            _ => self.kind() == other.kind(),
        }
    }
}
