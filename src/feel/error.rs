//! What can end an evaluation, and what an evaluation wants to say without ending.

use super::limits::LimitKind;

/// An evaluation without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The expression is at fault: what the real engine, too, answers with an error (`assert`, a position outside a
    /// text, a remainder of a division by zero).
    #[error("{message}")]
    Failed {
        /// What went wrong, and where it helps what to write instead.
        message: String,
    },
    /// The evaluation was stopped because it costs too much.
    #[error("{0}")]
    Limit(LimitKind),
}

/// Why a part of an expression became null although nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningKind {
    /// A variable that does not exist.
    NoVariable,
    /// A field that a context does not have.
    NoField,
    /// A property that a value of this kind does not have.
    NoProperty,
    /// A function that does not exist, or not with these arguments.
    NoFunction,
    /// A call that gave null because of its arguments.
    FunctionFailed,
    /// An operand of a kind that the operator does not take.
    WrongKind,
    /// Two values that cannot be compared.
    NotComparable,
}

/// One such place. The real engine calls these suppressed failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What sort of place it is.
    pub kind: WarningKind,
    /// What is missing or does not fit, with the nearest name that exists.
    pub message: String,
}

/// What stops an evaluation from the inside; boxed, as every step passes it on.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Box<str>),
    Limit(LimitKind),
}

impl Stop {
    pub(crate) fn failed(message: impl Into<Box<str>>) -> Stop {
        Stop::Failed(message.into())
    }
}

impl From<LimitKind> for Stop {
    fn from(kind: LimitKind) -> Stop {
        Stop::Limit(kind)
    }
}

impl From<Stop> for EvalError {
    fn from(stop: Stop) -> EvalError {
        match stop {
            Stop::Failed(message) => EvalError::Failed {
                message: message.into(),
            },
            Stop::Limit(kind) => EvalError::Limit(kind),
        }
    }
}
