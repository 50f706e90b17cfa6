//! A command that the engine refuses: what the caller is told, in Zeebe's words.

use std::fmt;

/// Why a command is refused; each kind is one gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// The command itself cannot be right.
    InvalidArgument,
    /// What it names does not exist, or not any more.
    NotFound,
    /// What it creates exists.
    AlreadyExists,
    /// What it names is not in a state for this.
    InvalidState,
    /// The engine is full.
    ResourceExhausted,
    /// The variables do not fit the engine's log.
    ExceededBatchRecordSize,
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectionKind::InvalidArgument => "INVALID_ARGUMENT",
            RejectionKind::NotFound => "NOT_FOUND",
            RejectionKind::AlreadyExists => "ALREADY_EXISTS",
            RejectionKind::InvalidState => "INVALID_STATE",
            RejectionKind::ResourceExhausted => "RESOURCE_EXHAUSTED",
            RejectionKind::ExceededBatchRecordSize => "EXCEEDED_BATCH_RECORD_SIZE",
        })
    }
}

/// A refused command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Command '{intent}' rejected with code '{kind}': {reason}")]
pub struct Rejection {
    intent: &'static str,
    /// Which status code the caller sees.
    pub kind: RejectionKind,
    reason: String,
}

impl Rejection {
    /// `intent` is the engine's name of the command, e.g. `COMPLETE`.
    pub fn new(intent: &'static str, kind: RejectionKind, reason: impl Into<String>) -> Self {
        Self {
            intent,
            kind,
            reason: reason.into(),
        }
    }

    /// What the command names does not exist.
    pub fn not_found(intent: &'static str, reason: impl Into<String>) -> Self {
        Self::new(intent, RejectionKind::NotFound, reason)
    }

    /// What the command names is not in a state for this.
    pub fn invalid_state(intent: &'static str, reason: impl Into<String>) -> Self {
        Self::new(intent, RejectionKind::InvalidState, reason)
    }

    /// The command itself cannot be right.
    pub fn invalid_argument(intent: &'static str, reason: impl Into<String>) -> Self {
        Self::new(intent, RejectionKind::InvalidArgument, reason)
    }
}
