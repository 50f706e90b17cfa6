//! The status of a run: the option set `flowsession_statuscode`, and which of its values end a run.
//!
//! `statecode` says nothing about the end (a succeeded run is in state 0 *Active*): it is neither asked for nor read.

/// `statuscode` of a flow session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(i64);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// 4.
    Succeeded,
    /// 7.
    Cancelled,
    /// 10.
    TimedOut,
    /// Everything else that ends a run: failed, faulted, aborted, deleted, terminated, skipped, ignored.
    Failed,
}

/// Code, label, end. The option set of Microsoft's table reference; other tables on the web are wrong.
const TABLE: [(&str, Option<End>); 15] = [
    ("NotSpecified", None),
    ("Paused", None),
    ("Running", None),
    ("Waiting", None),
    ("Succeeded", Some(End::Succeeded)),
    ("Skipped", Some(End::Failed)),
    ("Suspended", None),
    ("Cancelled", Some(End::Cancelled)),
    ("Failed", Some(End::Failed)),
    ("Faulted", Some(End::Failed)),
    ("TimedOut", Some(End::TimedOut)),
    ("Aborted", Some(End::Failed)),
    ("Ignored", Some(End::Failed)),
    ("Deleted", Some(End::Failed)),
    ("Terminated", Some(End::Failed)),
];

impl Status {
    /// 3: queued for a machine.
    pub const WAITING: Self = Self(3);

    /// The status with this number; numbers that the table does not know are kept, and do not end a run.
    pub fn from_code(code: i64) -> Self {
        Self(code)
    }

    /// The number.
    pub fn code(self) -> i64 {
        self.0
    }

    /// The label of the option set, `Unknown` for a number that it does not have.
    pub fn label(self) -> &'static str {
        self.row().map_or("Unknown", |(label, _)| label)
    }

    /// How the run ended, `None` while it goes on.
    pub fn end(self) -> Option<End> {
        self.row().and_then(|(_, end)| end)
    }

    /// Is the run not started yet: in no status, or queued for a machine?
    pub fn is_queued(self) -> bool {
        matches!(self.0, 0 | 3)
    }

    fn row(self) -> Option<(&'static str, Option<End>)> {
        usize::try_from(self.0).ok().and_then(|at| TABLE.get(at)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_label_and_its_end() {
        let expected = [
            (0, "NotSpecified", None),
            (1, "Paused", None),
            (2, "Running", None),
            (3, "Waiting", None),
            (4, "Succeeded", Some(End::Succeeded)),
            (5, "Skipped", Some(End::Failed)),
            (6, "Suspended", None),
            (7, "Cancelled", Some(End::Cancelled)),
            (8, "Failed", Some(End::Failed)),
            (9, "Faulted", Some(End::Failed)),
            (10, "TimedOut", Some(End::TimedOut)),
            (11, "Aborted", Some(End::Failed)),
            (12, "Ignored", Some(End::Failed)),
            (13, "Deleted", Some(End::Failed)),
            (14, "Terminated", Some(End::Failed)),
            (15, "Unknown", None),
            (-1, "Unknown", None),
            (i64::MAX, "Unknown", None),
        ];
        for (code, label, end) in expected {
            let status = Status::from_code(code);
            assert_eq!((status.code(), status.label(), status.end()), (code, label, end));
        }
    }

    #[test]
    fn a_run_is_queued_until_it_runs() {
        let queued: Vec<i64> = (-1..16).filter(|code| Status::from_code(*code).is_queued()).collect();
        assert_eq!(queued, [0, 3]);
        assert!(Status::WAITING.is_queued());
    }
}
