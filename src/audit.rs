//! The audit: one line of JSON for each start, adoption, cancelling and end of a desktop flow's run, and each message. Who asked for what
//! with whose connection, and never a value that a process handed over.
//!
//! Lines go to a file, which is only appended to and opened again when it was moved away (rotated); without one they are
//! tracing events of the target `audit`. A line that the file does not take becomes such an event, too.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::job::Job;
use crate::message::Message;

/// Longer texts (a name that a modeler wrote) are cut, characters.
const LONGEST: usize = 300;

/// Where lines go. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    file: Option<Arc<AuditFile>>,
}

#[derive(Debug)]
struct AuditFile {
    path: PathBuf,
    open: Mutex<Option<File>>,
}

/// What happened to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It was started.
    Start,
    /// It was found, and counts for the task from now on.
    Adoption,
    /// Dataverse was asked to cancel it.
    Cancel {
        /// `task-gone`, `queued-too-long`, `late-start` or `asked-for`.
        reason: &'static str,
    },
    /// It is over, and was waited for.
    End {
        /// Label of its status.
        status: &'a str,
    },
}

/// What a task says about its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// The flow: its id, or its name.
    pub flow: Option<String>,
    /// The connection's name.
    pub connection: Option<String>,
    /// The identity that operations describe; `None`: the task has credentials of its own.
    pub identity: Option<String>,
}

impl Task {
    /// As the task's variables say it. `is_secret` says which of them hold a secret's value.
    pub fn of(variables: &Map<String, Value>, is_secret: impl Fn(&str) -> bool) -> Self {
        let text = |name: &str| {
            let text = variables.get(name)?.as_str()?.trim();
            (!text.is_empty() && !is_secret(name)).then(|| text.to_owned())
        };
        Self {
            flow: text("workflowId").or_else(|| text("workflowName")),
            connection: text("connectionName"),
            identity: text("identity"),
        }
    }
}

impl Audit {
    /// Lines go to this file; `None`: they are tracing events.
    pub fn new(file: Option<PathBuf>) -> Self {
        let open = |path| {
            Arc::new(AuditFile {
                path,
                open: Mutex::new(None),
            })
        };
        Self { file: file.map(open) }
    }

    /// Opens the file now, so that nobody works without the audit that was asked for.
    ///
    /// # Errors
    /// When it cannot be appended to.
    pub fn open(&self) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.with_open(|_| Ok(()))
    }

    /// Writes a line.
    pub fn record(&self, event: Event<'_>, job: &Job, run: &str, task: &Task) {
        self.append(&line(event, job, run, task));
    }

    /// Writes the line about a published message. Nobody has the job any more, so process and element are told by their
    /// keys alone.
    pub fn record_message(&self, message: &Message, process_instance: i64, element_instance: i64, flow: Option<&str>) {
        self.append(&json!({
            "time": Timestamp::now().to_string(),
            "event": "message",
            "tenant": message.tenant_id,
            "processInstance": process_instance.to_string(),
            "elementInstance": element_instance.to_string(),
            "flow": flow,
            "run": message.id,
            "message": message.name.chars().take(LONGEST).collect::<String>(),
        }));
    }

    fn append(&self, line: &Value) {
        let Some(file) = &self.file else {
            return tracing::info!(target: "audit", "{line}");
        };
        let appended = file.with_open(|open| open.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = appended {
            tracing::error!(file = %file.path.display(), %error, "the audit file takes no line; it follows here");
            tracing::info!(target: "audit", "{line}");
        }
    }
}

/// Two are equal if they write to the same file.
impl PartialEq for Audit {
    fn eq(&self, other: &Self) -> bool {
        let path = |audit: &Self| audit.file.as_ref().map(|file| file.path.clone());
        path(self) == path(other)
    }
}

fn line(event: Event<'_>, job: &Job, run: &str, task: &Task) -> Value {
    let (name, detail) = match event {
        Event::Start => ("start", None),
        Event::Adoption => ("adoption", None),
        Event::Cancel { reason } => ("cancel", Some(("reason", reason))),
        Event::End { status } => ("end", Some(("status", status))),
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| text.chars().take(LONGEST).collect::<String>());
    let mut line = json!({
        "time": Timestamp::now().to_string(),
        "event": name,
        "tenant": job.tenant_id,
        "process": job.bpmn_process_id,
        "element": job.element_id,
        // Keys are larger than what many readers of JSON take as a number.
        "processInstance": job.process_instance_key.to_string(),
        "elementInstance": job.element_instance_key.to_string(),
        "flow": text(&task.flow),
        "run": run,
        "connection": text(&task.connection),
        "identity": text(&task.identity),
    });
    if let Some((name, detail)) = detail {
        line[name] = detail.into();
    }
    line
}

impl AuditFile {
    /// Does something with the file, which is opened where it is not, or is not the one at its path any more.
    fn with_open(&self, act: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match open.take().filter(|file| is_at(file, &self.path)) {
            Some(file) => file,
            None => OpenOptions::new().append(true).create(true).open(&self.path)?,
        };
        act(open.insert(file))
    }
}

/// Is the file still the one at this path? A rotated file is not.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => is_same(&ours, &theirs),
        _ => false,
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Where files have no number of their own, each line opens the file anew.
#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            key: 1,
            job_type: "t".into(),
            process_instance_key: 2_251_799_813_685_268,
            bpmn_process_id: "invoices".into(),
            process_definition_version: 1,
            process_definition_key: 3,
            element_id: "book".into(),
            element_instance_key: 2_251_799_813_685_300,
            retries: 3,
            deadline: 0,
            tenant_id: "<default>".into(),
            lease_token: None,
            custom_headers: String::new(),
            variables: String::new(),
        }
    }

    fn task() -> Task {
        let variables = json!({
            "workflowName": "Book \"invoice\"\n", "connectionName": "c1", "identity": "rpa", "inputs": {"Iban": "DE00"},
        });
        Task::of(variables.as_object().unwrap(), |name| name == "identity")
    }

    #[test]
    fn a_line_names_task_run_and_connection_and_no_value() {
        let end = line(Event::End { status: "Succeeded" }, &job(), "r1", &task());
        assert_eq!(end["event"], "end");
        assert_eq!(end["status"], "Succeeded");
        assert_eq!(end["processInstance"], "2251799813685268");
        assert_eq!(end["flow"], "Book \"invoice\"");
        assert_eq!(end["connection"], "c1");
        assert_eq!(end["identity"], Value::Null, "it was made of a secret");
        assert!(!end.to_string().contains("DE00") && !end.to_string().contains('\n'));
    }

    #[test]
    fn the_file_is_appended_to_and_opened_again_after_it_was_moved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        std::fs::write(&path, "{\"event\":\"before\"}\n").unwrap();
        let audit = Audit::new(Some(path.clone()));
        audit.open().unwrap();
        audit.record(Event::Start, &job(), "r1", &task());
        let rotated = directory.path().join("audit.1");
        std::fs::rename(&path, &rotated).unwrap();
        audit.record(Event::Cancel { reason: "task-gone" }, &job(), "r1", &task());
        let events = |path: &Path| -> Vec<String> {
            let text = std::fs::read_to_string(path).unwrap();
            let event = |line: &str| {
                serde_json::from_str::<Value>(line).unwrap()["event"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            text.lines().map(event).collect()
        };
        assert_eq!(events(&rotated), ["before", "start"]);
        assert_eq!(events(&path), ["cancel"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_at_once() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Audit::new(Some(directory.path().to_owned())).open().is_err());
        assert!(Audit::default().open().is_ok());
    }
}
