//! What a person reads when a start cannot be cleared up without one.

use std::fmt::Write as _;

use crate::job::Job;
use crate::microsoft::dataverse::search::Candidate;
use crate::outcome::{JobError, Remedy};
use crate::runs::journal::{self, Decision, Intent};

use std::time::Duration;

/// How long a job waits in vain for a deskhand that understands its journal before it is offered again.
const NEWER_JOURNAL_PAUSE: Duration = Duration::from_secs(30);
/// Look-alikes that an incident lists.
const LISTED: usize = 10;

/// A run that may be the one that is meant.
pub(super) struct LookAlike {
    pub(super) run: Candidate,
    /// Whether it was given the same inputs; `None`: that could not be read.
    pub(super) same_inputs: Option<bool>,
}

/// Nobody but a person can say whether the flow was started.
pub(super) fn unclear(job: &Job, intent: &Intent, why: &str, look_alikes: Result<Vec<LookAlike>, String>) -> JobError {
    let instance = job.element_instance_key;
    let mut message = format!(
        "It is not known whether the desktop flow was started, so deskhand does not start it again. {why}\n\
         Looked for: runs of flow {} that were created since {} (connection {}).\n",
        intent.flow, intent.since, intent.connection
    );
    match look_alikes {
        Err(problem) => {
            let _ = writeln!(message, "They could not be listed: {problem}");
        }
        Ok(runs) if runs.is_empty() => message.push_str("There is none that the signed-in user may see.\n"),
        Ok(runs) => {
            let count = runs.len();
            for LookAlike { run, same_inputs } in runs.into_iter().take(LISTED) {
                let inputs = match same_inputs {
                    Some(true) => "the same inputs",
                    Some(false) => "other inputs",
                    None => "inputs not readable",
                };
                let _ = writeln!(
                    message,
                    "- {} created {}, {}, connection {}, {inputs}",
                    run.id,
                    run.created_on,
                    run.status.label(),
                    run.connection.as_deref().unwrap_or("unknown"),
                );
            }
            if count > LISTED {
                let _ = writeln!(message, "- and {} more", count - LISTED);
            }
        }
    }
    let _ = write!(
        message,
        "What to do: set one of these on the task itself (a local variable), then resolve the incident.\n\
         If one of the runs is this task's:\n{name} = {}\n\
         If none is:\n{name} = {}",
        Decision::adopt_text(instance, "<id of that run>"),
        Decision::start_again_text(instance),
        name = journal::DECISION,
    );
    let asked = Intent {
        asked: true,
        ..intent.clone()
    };
    JobError::connector("START_UNCLEAR", message)
        .with_remedy(Remedy::Incident)
        .with_note(asked.variables())
}

pub(super) fn newer_journal(variable: &str, version: u64) -> JobError {
    JobError::connector(
        "JOURNAL_NEWER",
        format!(
            "A newer deskhand has written variable `{variable}` of this task (format {version}; this one knows {}). \
             Nothing was started. Run the newer version.",
            journal::VERSION
        ),
    )
    .with_remedy(Remedy::Postpone(NEWER_JOURNAL_PAUSE))
}

pub(super) fn damaged_journal(variable: &str, member: &str) -> JobError {
    JobError::input(format!(
        "Variable `{variable}` of this task says that a desktop flow was or may have been started, but its `{member}` cannot \
         be read. Nothing was started. Look for the run in Power Automate, then correct the variable on the task itself, or \
         set it to null to start the flow."
    ))
}

pub(super) fn damaged_decision(job: &Job, problem: &str) -> JobError {
    JobError::input(format!(
        "Variable `{name}` {problem}. Nothing was started. Set it on the task itself to one of\n{name} = {}\n{name} = {}",
        Decision::adopt_text(job.element_instance_key, "<id of the run>"),
        Decision::start_again_text(job.element_instance_key),
        name = journal::DECISION,
    ))
}
