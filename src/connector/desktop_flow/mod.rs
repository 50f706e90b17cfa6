//! Job type `deskhand:desktop-flow:1`: Power Automate desktop flows through the Dataverse Web API.
//!
//! A bound job goes in; what its `operationType` gives comes out. The way of every job is on this page: read all fields
//! (`input`), ask the policy, sign in, do the operation. Nothing is sent before everything was checked.
//!
//! | operation            | file             | response                                                                     |
//! |----------------------|------------------|------------------------------------------------------------------------------|
//! | `runAndWait`         | `run_and_wait`   | `{flowSessionId, statusCode, status, outputs, startedOn, completedOn, licenseCheck?}` |
//! | `triggerFlowRun`     | `start`          | `{flowSessionId, licenseCheck}`                                              |
//! | `getStatusOfFlowRun` | `status`         | `{flowSessionId, statusCode, status, finished, succeeded, startedOn, completedOn, errorCode, errorMessage, errorDetails}` |
//! | `getFlowOutputs`     | `outputs`        | `{flowSessionId, outputs, outputsFile?}`                                     |
//! | `cancelFlowRun`      | `cancel`         | `{flowSessionId, accepted, alreadyFinished, statusCode, status}`             |
//! | `listFlows`          | here             | `{flows, count, complete}`                                                   |
//! | `findFlow`           | `look_up`        | `{workflowId}`                                                               |
//! | `getFlowSchema`      | `look_up`        | `{workflowId, inputs, outputs}`                                              |
//! | `listRuns`           | `look_up`        | `{runs, count, complete}`                                                    |
//! | `checkConnection`    | `check`          | `{ok, checks}`                                                               |
//!
//! [`failures`] says what an ended run means, `refusals` what a failed call means.
//!
//! Fields of every task: `operationType`, `organizationUri`, `authentication` (`type` = `bearer`: `token`; or
//! `oauth-client-credentials-flow`: `oauthTokenEndpoint` or `tenantId`, `clientId`, `clientSecret`,
//! `clientAuthentication`, `scopes`, `audience`); or `identity` in place of `authentication`. Beside them:
//!
//! - a start: `workflowId` or `workflowName`, `connectionName`, `connectionType`, `runMode`, `runPriority`, `runTimeout`
//!   (seconds), `inputs` or `runInputs`, `callbackUrl`; of `triggerFlowRun` also `waitFor`, `messageName`,
//!   `messageTimeToLive` ([`outbox`]);
//! - a wait: `maxQueueWait`, `maxWait`, `pollInterval` (the longest pause between two looks), all ISO 8601;
//! - a run: `flowSessionId`; outputs: `outputsMaxBytes`, `saveTo`;
//! - a list: `select`, `filter`, `orderBy`, `top`, `includeDrafts`.

mod authentication;
mod cancel;
mod check;
pub mod failures;
mod fields;
mod input;
mod look_up;
pub mod once;
pub mod outbox;
mod outputs;
mod parked;
pub(crate) mod refusals;
mod run_and_wait;
mod save;
mod schema;
mod schemas;
mod start;
mod status;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::time::Instant;

use self::input::{Input, Operation, Start, VARIABLES};
use self::once::Once;
use self::outbox::Outbox;
use self::parked::{Canceller, Woke};
use self::schemas::Schemas;
use super::http_json::Starts;
use super::identity::Identities;
use super::{Call, Connector, Response};
use crate::audit::{Audit, Event, Task};
use crate::http::Client;
use crate::http::token::Tokens;
use crate::microsoft::dataverse::workflows::Listing;
use crate::microsoft::dataverse::{Dataverse, Gates, Guid, Timeouts};
use crate::microsoft::entra;
use crate::outcome::JobError;
use crate::progress::Step;
use crate::runs::hints::Hints;
use crate::runs::turns::{self, Turns};
use crate::runs::{Pace, Watcher, journal, watcher};
use crate::secrets::Policy;

/// The job type.
pub const JOB_TYPE: &str = "deskhand:desktop-flow:1";

/// The fields that a task can have beside `operationType`.
pub fn fields() -> Vec<&'static str> {
    let ours = |name: &&str| *name != "operationType" && !journal::is_ours(name);
    VARIABLES.iter().copied().filter(ours).collect()
}

/// What operations teams may set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Bounds on single calls of Dataverse.
    pub timeouts: Timeouts,
    /// How starts are kept from happening twice.
    pub once: once::Settings,
    /// How many runs may be started and go on at once.
    pub turns: turns::Settings,
    /// Where it is noted what was started, adopted, cancelled, and has ended.
    pub audit: Audit,
    /// Where and how ends of runs are published as messages.
    pub outbox: outbox::Settings,
    /// How often a run is looked at.
    pub pace: Pace,
    /// How long a run that was just started may be unreadable before it counts as lost.
    pub missing_grace: Duration,
    /// Queries for waiting runs a second, on average, for one organisation and credential. Dataverse allows 20.
    pub queries_per_second: f64,
    /// Pauses up to this long in all, asked for by a throttled start, are waited for here; longer ones in the engine.
    pub longest_pause: Duration,
    /// Largest outputs of a run unless the task says otherwise, bytes.
    pub outputs_max_bytes: usize,
    /// Where tasks may save outputs as files; `None`: nowhere.
    pub save_dir: Option<PathBuf>,
    /// Hosts beside loopback that may be spoken to without TLS.
    pub plain_http_hosts: Vec<String>,
    /// Sign-in authority for tasks that name a tenant instead of a token endpoint.
    pub authority: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            once: once::Settings::default(),
            turns: turns::Settings::default(),
            audit: Audit::default(),
            outbox: outbox::Settings::default(),
            pace: Pace::default(),
            missing_grace: Duration::from_secs(30),
            queries_per_second: 10.0,
            longest_pause: Duration::from_secs(30),
            outputs_max_bytes: 2 * 1024 * 1024,
            save_dir: None,
            plain_http_hosts: Vec::new(),
            authority: entra::PUBLIC_AUTHORITY.into(),
        }
    }
}

/// The connector.
pub struct DesktopFlow {
    http: Client,
    tokens: Arc<Tokens>,
    policy: Arc<Policy>,
    settings: Settings,
    gates: Gates,
    watcher: Watcher,
    canceller: Canceller,
    schemas: Schemas,
    once: Arc<Once>,
    turns: Turns,
    hints: Hints,
    identities: Option<Arc<Identities>>,
}

impl DesktopFlow {
    /// A connector; nothing is sent before the first job.
    pub fn new(http: Client, tokens: Arc<Tokens>, policy: Arc<Policy>, settings: Settings) -> Self {
        let watcher = Watcher::new(watcher::Settings {
            pace: settings.pace,
            missing_grace: settings.missing_grace,
            queries_per_second: settings.queries_per_second,
            ..watcher::Settings::default()
        });
        let turns = Turns::new(settings.turns.clone());
        let once = Arc::new(Once::new(
            settings.once.clone(),
            turns.clone(),
            watcher.clone(),
            settings.audit.clone(),
        ));
        Self {
            http,
            tokens,
            policy,
            canceller: Canceller::new(settings.pace, settings.audit.clone()),
            settings,
            gates: Gates::default(),
            schemas: Schemas::default(),
            watcher,
            once,
            turns,
            hints: Hints::default(),
            identities: None,
        }
    }

    /// The same, with identities that tasks may name.
    #[must_use]
    pub fn with_identities(mut self, identities: Option<Arc<Identities>>) -> Self {
        self.identities = identities;
        self
    }

    /// What other connectors need to start runs by the same promise.
    pub fn starts(&self) -> Starts {
        Starts {
            once: self.once.clone(),
            gates: self.gates.clone(),
            timeouts: self.settings.timeouts,
            longest_pause: self.settings.longest_pause,
            plain_http_hosts: self.settings.plain_http_hosts.clone(),
        }
    }

    /// How many runs are waited for, and what that has cost.
    pub fn figures(&self) -> watcher::Figures {
        self.watcher.figures()
    }

    async fn run(&self, call: Call<'_>) -> Result<Response, JobError> {
        let began = Instant::now();
        let Input {
            organization,
            authentication,
            operation,
        } = Input::read(call.input, &self.settings)?;
        let holds_secret = |name: &str| call.input.used.iter().any(|used| used.path == name);
        let task = Task::of(&call.input.variables, holds_secret);
        let policy = self.policy.for_job(&call.job.secret_scope());
        authentication.check(call.input, &organization, &policy)?;
        let token_host = authentication.token_host();
        let credential = authentication
            .into_credential(&call, &organization, &self.tokens, self.identities.as_deref())
            .await?;
        let session = Session {
            call,
            dataverse: Dataverse::behind(
                &self.gates,
                self.http.clone(),
                organization,
                credential,
                self.settings.timeouts,
            ),
            settings: &self.settings,
            watcher: &self.watcher,
            canceller: &self.canceller,
            schemas: &self.schemas,
            once: &self.once,
            hints: &self.hints,
            audit: &self.settings.audit,
            task,
            began,
        };
        // What a check finds missing is its answer.
        if !matches!(operation, Operation::CheckConnection(_)) {
            session.unless_abandoned(session.sign_in(token_host.clone())).await?;
        }
        match operation {
            Operation::RunAndWait(start, wait) => session.run_and_wait(start, wait).await,
            Operation::TriggerFlowRun(start) => session.trigger(&start).await,
            Operation::GetStatusOfFlowRun(run) => session.unless_abandoned(session.get_status(&run)).await,
            Operation::GetFlowOutputs(run, wanted) => {
                session.unless_abandoned(session.get_flow_outputs(&run, &wanted)).await
            }
            Operation::CancelFlowRun(run) => session.unless_abandoned(session.cancel(&run)).await,
            Operation::ListFlows(listing) => session.unless_abandoned(session.list_flows(&listing)).await,
            Operation::FindFlow(name) => session.unless_abandoned(session.find_flow(name)).await,
            Operation::GetFlowSchema(flow) => session.unless_abandoned(session.get_flow_schema(&flow)).await,
            Operation::ListRuns(listing) => session.unless_abandoned(session.list_runs(&listing)).await,
            Operation::CheckConnection(wanted) => {
                session
                    .unless_abandoned(session.check_connection(&wanted, token_host))
                    .await
            }
        }
    }
}

impl Connector for DesktopFlow {
    fn job_type(&self) -> &'static str {
        JOB_TYPE
    }

    fn fetch_variables(&self) -> &'static [&'static str] {
        VARIABLES
    }

    fn watcher(&self) -> Option<Watcher> {
        Some(self.watcher.clone())
    }

    fn turns(&self) -> Option<Turns> {
        Some(self.turns.clone())
    }

    fn after_jobs(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.once.undisputed())
    }

    fn outbox(&self) -> Option<Outbox> {
        let identities = self.identities.clone()?;
        (!self.settings.outbox.targets.is_empty()).then(|| Outbox {
            settings: self.settings.outbox.clone(),
            tokens: self.settings.once.tokens.clone(),
            hints: self.hints.clone(),
            http: self.http.clone(),
            gates: self.gates.clone(),
            timeouts: self.settings.timeouts,
            identities,
            audit: self.settings.audit.clone(),
        })
    }

    fn call<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>> {
        Box::pin(self.run(call))
    }
}

/// One job on its way through an operation.
struct Session<'a> {
    call: Call<'a>,
    dataverse: Dataverse,
    settings: &'a Settings,
    watcher: &'a Watcher,
    canceller: &'a Canceller,
    schemas: &'a Schemas,
    once: &'a Once,
    /// Who hears of the ends of runs that are to be published.
    hints: &'a Hints,
    audit: &'a Audit,
    /// What the audit says about its runs.
    task: Task,
    /// Since when this process has the job.
    began: Instant,
}

impl Session<'_> {
    /// Signing in on its own tells a refused sign-in from a refused call.
    async fn sign_in(&self, host: String) -> Result<(), JobError> {
        let fetched = self.dataverse.sign_in().await;
        if let Some(fetched) = fetched.map_err(|error| refusals::job_error("Signing in", &error))? {
            self.report(Step::TokenFetched {
                host,
                lifetime: fetched.lifetime,
            });
        }
        Ok(())
    }

    /// Gives `{flowSessionId, licenseCheck}`; `licenseCheck` is null where Dataverse did not say, and for a run that an
    /// earlier activation of this job started.
    async fn trigger(&self, start: &Start) -> Result<Response, JobError> {
        let called = match self.news() {
            Woke::ToStart(ticket) => Some(ticket),
            _ => None,
        };
        let started = self.start_or_adopt(start, called).await?;
        if start.message.is_some() {
            self.has_its_end_published(&started)?;
        }
        Ok(json!({
            "flowSessionId": started.entry.run,
            "licenseCheck": started.license_check,
        })
        .into())
    }

    /// Gives `{flows, count, complete}`; `complete` is false where `top` cut the list.
    async fn list_flows(&self, listing: &Listing) -> Result<Response, JobError> {
        let listed = self.dataverse.list_workflows(listing).await;
        let listed = listed.map_err(|error| refusals::job_error("Listing the desktop flows", &error))?;
        Ok(json!({
            "count": listed.flows.len(),
            "complete": listed.complete,
            "flows": listed.flows,
        })
        .into())
    }

    fn note_in_audit(&self, event: Event<'_>, run: &Guid) {
        self.audit.record(event, self.call.job, &run.to_string(), &self.task);
    }

    fn report(&self, step: Step) {
        self.call.progress.report(self.call.job, step);
    }

    /// Does something that may be dropped at any point: not a start.
    async fn unless_abandoned<T, E: From<JobError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.call.unless_abandoned(work).await
    }
}
