//! What happens meanwhile, for whoever waits at the terminal: steps go in, a line each comes out on stderr, and what an
//! interrupted call leaves behind is known.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::cli::output::complain;
use crate::progress::{Progress, StartPoint, Step};

/// How far a call has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Reached {
    /// Nothing was started.
    #[default]
    Nothing,
    /// The start is being sent, or nobody knows what became of it.
    Unclear,
    /// There is a run, with this id.
    Run(String),
}

/// Follows a call.
#[derive(Clone, Default)]
pub(super) struct Follower(Arc<Mutex<Reached>>);

impl Follower {
    /// How far the call has come.
    pub(super) fn reached(&self) -> Reached {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the steps of the call, and tells them unless `quiet`.
    pub(super) fn progress(&self, quiet: bool) -> Progress {
        let (this, began) = (self.clone(), Instant::now());
        Progress::watched_by(move |_, step| {
            this.note(step);
            if let Some(text) = told(step).filter(|_| !quiet) {
                complain(format_args!("{:>4} s  {text}", began.elapsed().as_secs()));
            }
        })
    }

    fn note(&self, step: &Step) {
        let mut reached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match step {
            Step::RunStarted { run } | Step::RunAdopted { run } | Step::StartClearedUp { run: Some(run) } => {
                *reached = Reached::Run(run.clone());
            }
            Step::StartClearedUp { run: None } => *reached = Reached::Nothing,
            Step::Start(StartPoint::BytesLeave) => *reached = Reached::Unclear,
            // Dataverse said that it starts nothing now.
            Step::Throttled { .. } => *reached = Reached::Nothing,
            _ => {}
        }
    }
}

fn told(step: &Step) -> Option<String> {
    Some(match step {
        Step::TokenFetched { host, .. } if host.is_empty() => "signed in".into(),
        Step::TokenFetched { host, .. } => format!("signed in at {host}"),
        Step::Start(StartPoint::Posting) => "starting the flow".into(),
        Step::Start(StartPoint::Unclear) => {
            "it is not known whether the flow was started: looking for its run, which takes some minutes".into()
        }
        Step::StartClearedUp { run: None } => "the flow was not started".into(),
        Step::StartClearedUp { run: Some(run) } | Step::RunAdopted { run } => format!("found run {run}"),
        Step::RunStarted { run } => format!("started run {run}"),
        Step::RunStatus { status, .. } => format!("the run is {status}"),
        Step::Throttled { pause } => format!("Dataverse asks to wait {} s", pause.as_secs()),
        Step::LateStartCancelled { run, kept } => format!("cancelled run {run}, which was started beside {kept}"),
        _ => return None,
    })
}
