//! The status of a run, as the option set `flowsession_statuscode` defines it.

use serde::{Deserialize, Serialize};

/// `flowsession.statuscode`. The numbers are the option set's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Status {
    NotSpecified = 0,
    Paused = 1,
    Running = 2,
    Waiting = 3,
    Succeeded = 4,
    Skipped = 5,
    Suspended = 6,
    Cancelled = 7,
    Failed = 8,
    Faulted = 9,
    TimedOut = 10,
    Aborted = 11,
    Ignored = 12,
    Deleted = 13,
    Terminated = 14,
}

impl Status {
    /// The number that travels as `statuscode`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The number that travels as `statecode`. It says nothing about whether the run is over: the option set puts
    /// nearly every status, finished ones included, in state 0.
    pub fn state(self) -> u8 {
        u8::from(matches!(
            self,
            Status::NotSpecified | Status::Deleted | Status::Terminated
        ))
    }

    /// The label that Dataverse gives as the formatted value.
    pub fn label(self) -> &'static str {
        match self {
            Status::NotSpecified => "NotSpecified",
            Status::Paused => "Paused",
            Status::Running => "Running",
            Status::Waiting => "Waiting",
            Status::Succeeded => "Succeeded",
            Status::Skipped => "Skipped",
            Status::Suspended => "Suspended",
            Status::Cancelled => "Cancelled",
            Status::Failed => "Failed",
            Status::Faulted => "Faulted",
            Status::TimedOut => "TimedOut",
            Status::Aborted => "Aborted",
            Status::Ignored => "Ignored",
            Status::Deleted => "Deleted",
            Status::Terminated => "Terminated",
        }
    }

    /// Whether a run with this status will never change again.
    pub fn is_final(self) -> bool {
        !matches!(
            self,
            Status::NotSpecified | Status::Paused | Status::Running | Status::Waiting | Status::Suspended
        )
    }
}
