//! What one job type means: a bound job goes in, a response comes out.
//!
//! One file or folder a connector. The worker knows them by their job type alone.

pub mod desktop_flow;
pub mod expiry;
pub mod http_json;
pub mod identity;

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::feel::Projection;
use crate::http::Client;
use crate::http::token::Tokens;
use crate::job::Job;
use crate::outcome::{JobError, Remedy};
use crate::progress::Progress;
use crate::runs::Watcher;
use crate::runs::turns::Turns;
use crate::secrets::redaction::Secret;
use crate::secrets::{Bound, Policy, Redactor};
use desktop_flow::DesktopFlow;
use desktop_flow::outbox::Outbox;
use http_json::HttpJson;
use identity::Identities;

/// A connector: one job type.
pub trait Connector: Send + Sync + 'static {
    /// The job type it works on, e.g. `io.camunda:http-json:1`.
    fn job_type(&self) -> &'static str;

    /// The variables the engine shall send; nothing else of the process is fetched.
    fn fetch_variables(&self) -> &'static [&'static str];

    /// Who waits for runs, if this connector does: callbacks of runs go there.
    fn watcher(&self) -> Option<Watcher> {
        None
    }

    /// Whose turn it is to start a run, if this connector starts any.
    fn turns(&self) -> Option<Turns> {
        None
    }

    /// Ends when nothing goes on any more of what outlives its jobs; a worker that stops waits for it as long as it may.
    fn after_jobs(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What publishes the ends of runs, if this connector starts any that are waited for by a message.
    fn outbox(&self) -> Option<Outbox> {
        None
    }

    /// Does what the task asks for.
    ///
    /// Runs while the worker keeps the job's lease alive. It must be cancel-safe in this sense: when
    /// [`Call::abandoned`] fires the job is not ours any more, and the connector ends soon, after whatever cleaning up
    /// it owes.
    fn call<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>>;
}

/// One call of a connector.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The job, as activated.
    pub job: &'a Job,
    /// Its variables, with secrets put in.
    pub input: &'a Bound,
    /// Fires when the job is lost (cancelled, lapsed, taken by another) or the worker must stop at once.
    pub abandoned: &'a CancellationToken,
    /// Where steps are reported.
    pub progress: &'a Progress,
    /// What must be known if this process dies.
    pub journal: &'a dyn Journal,
    /// The place that the job takes in the worker while it waits.
    pub place: &'a dyn Place,
}

impl Call<'_> {
    /// Does something that may be dropped at any point.
    ///
    /// # Errors
    /// The work's own, or that the job is to be let go of, which hands it back if it is still ours.
    pub async fn unless_abandoned<T, E: From<JobError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            () = self.abandoned.cancelled() => Err(abandoned().into()),
            result = work => result,
        }
    }
}

/// The job is not ours any more, or we are stopping, and nothing is under way that must not be done twice: whoever gets
/// the job next may have it at once.
pub(crate) fn abandoned() -> JobError {
    JobError::connector("ABANDONED", "Handed back: this worker is stopping.")
        .with_remedy(Remedy::Postpone(Duration::ZERO))
}

/// The place that a job takes in the worker: among the jobs that are worked on, or among those that only wait. Its lease
/// is kept alive either way.
pub trait Place: Send + Sync {
    /// Gives the place among the running jobs to others while this one only waits for something outside. False when all
    /// places for waiting jobs are taken: the job waits where it is.
    fn park(&self) -> bool {
        false
    }

    /// Takes a place among the running jobs again, ahead of new ones; at once for a job that is not parked. The worker
    /// does it by itself when [`Connector::call`] has returned.
    fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// How long the job is surely still ours, suspension of the machine counted; zero when it may be another's. Look right
    /// before the bytes of a request leave that must not be sent twice.
    fn lease_left(&self) -> Duration {
        self.lease()()
    }

    /// The same question for somebody who cannot borrow this: the connection that is about to write the request.
    fn lease(&self) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        Arc::new(|| Duration::MAX)
    }

    /// Was the job given to this worker more than once while it had it? Somebody else may have had it in between.
    fn was_given_again(&self) -> bool {
        false
    }

    /// Lets go of everything while parked. After [`Place::park`] said yes the connector may call this, and then returns
    /// at once; what it returns is not looked at. When the sleeper is woken, the connector is called again, from the
    /// beginning, with the variables of `sleep` (secrets put in anew), and finds the news here.
    fn sleep(&self, sleep: Sleep) {
        drop(sleep);
    }

    /// What woke the job, once; nothing when it is called for the first time.
    fn news(&self) -> Option<News> {
        None
    }

    /// After [`Call::abandoned`] has fired: has the engine said that the task is gone (cancelled, or finished by somebody)
    /// while the job was surely ours? Where it is only not ours any more, this is false.
    fn is_gone(&self) -> bool {
        false
    }
}

/// A job that lets go of everything while it waits.
pub struct Sleep {
    /// What waits for it.
    pub sleeper: Box<dyn Sleeper>,
    /// Variables for the call after it: those that other jobs of the same task have alike.
    pub shared: Map<String, Value>,
    /// Those that are this job's own.
    pub own: Map<String, Value>,
}

/// Waits for a sleeping job. Dropping it ends the wait and nothing else.
pub trait Sleeper: Send {
    /// The job is asleep: begin to wait. Must not block.
    fn fall_asleep(&mut self, wake: Wake);
    /// The task is gone (cancelled, or finished by somebody): what it left behind is cleaned up, in the background.
    fn gone(self: Box<Self>, job: &Job);
}

/// What a sleeper tells the connector when it wakes the job.
pub type News = Box<dyn Any + Send>;

/// Wakes a job, once.
pub struct Wake(Box<dyn FnOnce(News) + Send>);

impl Wake {
    /// What is done when the job is woken; it must not block.
    pub fn new(wake: impl FnOnce(News) + Send + 'static) -> Self {
        Self(Box::new(wake))
    }

    /// Wakes the job.
    pub fn up(self, news: News) {
        (self.0)(news);
    }
}

/// Where nobody counts the jobs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anywhere;

impl Place for Anywhere {}

/// Writes what must survive this process. The engine is the journal: variables local to the task's element instance
/// survive lapse, failure and crash, come back with the next activation, and never reach the next task.
pub trait Journal: Send + Sync {
    /// Writes these variables and waits until the engine acknowledged them.
    ///
    /// # Errors
    /// When the engine refused or did not acknowledge: the caller must act as if nothing had been written.
    fn write(&self, variables: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>>;
}

/// What a connector gives back: the value that `response` is in the expressions.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    value: Value,
    /// The text of the field `body`, while nobody has read it; `value` holds null in its place.
    body: Option<String>,
    /// What shall be noted at the task if the job fails although the work was done.
    note: Map<String, Value>,
}

impl Response {
    /// An object whose field `body` is what `text` says: a JSON object or list, or else the text itself.
    pub fn with_body(fields: Map<String, Value>, text: String) -> Self {
        let mut fields = fields;
        fields.insert("body".into(), Value::Null);
        Self {
            value: Value::Object(fields),
            body: Some(text),
            note: Map::new(),
        }
    }

    /// The same response, with variables for the task's own scope should the job fail in spite of it (a result
    /// expression that is wrong).
    #[must_use]
    pub fn with_note(mut self, note: Map<String, Value>) -> Self {
        self.note = note;
        self
    }

    /// What shall be noted at the task if the job fails.
    pub fn note(&self) -> &Map<String, Value> {
        &self.note
    }

    /// All of the response.
    pub fn value(&self) -> Cow<'_, Value> {
        self.read(&Projection::whole())
    }

    /// Adds the values that the redactor knows and that the response holds.
    pub fn find_secrets(&self, known: &Redactor, found: &mut Vec<Arc<Secret>>) {
        known.find_in_value(&self.value, found);
        if let Some(text) = &self.body {
            known.find_in_text(text, found);
            // JSON can spell a value in more ways than a search knows.
            if text.contains('\\') {
                known.find_in_value(&self.value(), found);
            }
        }
    }

    /// Bytes of text that nobody has read yet.
    pub fn unread_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, String::len)
    }

    /// At least what the projection sees of the response.
    pub fn read(&self, projection: &Projection) -> Cow<'_, Value> {
        let (Some(text), Some(seen)) = (&self.body, projection.field("body")) else {
            return Cow::Borrowed(&self.value);
        };
        let mut value = self.value.clone();
        value["body"] = body(text, &seen);
        Cow::Owned(value)
    }
}

/// Some servers begin their JSON with a byte order mark. What turns out to be no JSON stays a text.
fn body(text: &str, seen: &Projection) -> Value {
    let json = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let json = json.trim_matches(|c: char| c.is_ascii_whitespace());
    match json.as_bytes().first() {
        Some(b'{' | b'[') => seen.read(json).unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}

impl From<Value> for Response {
    fn from(value: Value) -> Self {
        Self {
            value,
            body: None,
            note: Map::new(),
        }
    }
}

/// Settings of all connectors.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of `io.camunda:http-json:1`.
    pub http_json: http_json::Settings,
    /// Of `deskhand:desktop-flow:1`.
    pub desktop_flow: desktop_flow::Settings,
    /// As whom tasks may call by name.
    pub identities: Option<Arc<Identities>>,
}

/// The job types of all connectors.
pub const JOB_TYPES: [&str; 2] = [http_json::JOB_TYPE, desktop_flow::JOB_TYPE];

/// Every connector that deskhand has. They share connections and tokens; each keeps to the rules that name it.
pub fn all(client: &Client, tokens: &Arc<Tokens>, policy: &Policy, settings: &Settings) -> Vec<Arc<dyn Connector>> {
    let policy_of = |job_type| Arc::new(policy.for_connector(job_type));
    let desktop_flow = DesktopFlow::new(
        client.clone(),
        tokens.clone(),
        policy_of(desktop_flow::JOB_TYPE),
        settings.desktop_flow.clone(),
    )
    .with_identities(settings.identities.clone());
    let mut http_json = HttpJson::new(
        client.clone(),
        tokens.clone(),
        policy_of(http_json::JOB_TYPE),
        settings.http_json,
    )
    .with_identities(settings.identities.clone());
    if settings.http_json.flow_starts_once {
        http_json = http_json.starting_once(desktop_flow.starts());
    }
    vec![Arc::new(http_json), Arc::new(desktop_flow)]
}
