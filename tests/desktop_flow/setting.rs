//! The world of these tests: a simulator, the connector, and one job's view of both.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskhand::connector::desktop_flow::{DesktopFlow, Settings, once};
use deskhand::connector::{Anywhere, Call, Connector, Journal, Place};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::job::Job;
use deskhand::outcome::JobError;
use deskhand::progress::{Progress, Step};
use deskhand::runs::{Pace, turns};
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CLIENT_ID, CONNECTION, Effect, Fault, RequestRecord, RouteName, Simulator, World,
};
use deskhand::secrets::{Bound, Policy};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// The entry into the task that all jobs of these tests belong to.
pub const INSTANCE: i64 = 2_251_799_813_685_268;

/// A simulator and a connector that knows nothing of it but what a task tells.
pub struct Setting {
    pub simulator: Simulator,
    pub connector: DesktopFlow,
}

/// A job's variables, what it leaves behind, and what may go wrong with it.
pub struct Task {
    pub variables: Map<String, Value>,
    pub headers: String,
    pub abandoned: CancellationToken,
    pub journal: Arc<Notes>,
    pub place: Arc<dyn Place>,
}

/// What became of a job.
pub struct Done {
    pub result: Result<Value, JobError>,
    pub steps: Vec<Step>,
}

/// A journal that the engine takes, or refuses.
#[derive(Default)]
pub struct Notes {
    pub written: Mutex<Vec<Map<String, Value>>>,
    /// Names of variables that the engine does not take.
    pub refuses: &'static [&'static str],
}

impl Journal for Notes {
    fn write(&self, variables: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        Box::pin(async move {
            if self.refuses.iter().any(|name| variables.contains_key(*name)) {
                return Err(JobError::internal("refused"));
            }
            self.written.lock().unwrap().push(variables);
            Ok(())
        })
    }
}

impl Notes {
    /// The last entry, if there is one.
    pub fn last(&self) -> Option<Map<String, Value>> {
        self.written.lock().unwrap().last().cloned()
    }
}

/// The default world, fifty times as fast.
pub fn world() -> World {
    let mut world = World::default();
    world.clock.speed = 50.0;
    world
}

/// The default world, in which nothing happens unless the clock is advanced.
pub fn standing_still() -> World {
    let mut world = World::default();
    world.clock.speed = 0.001;
    world
}

/// Settings that take a missing row for lost soon.
pub fn impatient() -> Settings {
    Settings {
        missing_grace: Duration::from_millis(100),
        ..settings()
    }
}

/// Settings with which no test waits long.
pub fn settings() -> Settings {
    Settings {
        pace: Pace {
            first: Duration::from_millis(5),
            factor: 1.5,
            longest: Duration::from_millis(40),
            jitter: 0.2,
        },
        once: once::Settings {
            settle_time: Some(Duration::from_millis(300)),
            visibility: Duration::from_millis(200),
            ..once::Settings::default()
        },
        turns: turns::Settings {
            starts_per_minute: 100_000,
            ..turns::Settings::default()
        },
        missing_grace: Duration::from_secs(5),
        longest_pause: Duration::from_secs(2),
        ..Settings::default()
    }
}

/// Settings with which every start carries its token.
pub fn with_token_url() -> Settings {
    let mut settings = settings();
    settings.once.token_url = Some("https://tokens.example.com/".into());
    settings
}

/// A connector that has sent nothing yet.
pub fn connector(settings: Settings) -> DesktopFlow {
    let http = Client::new().unwrap();
    let tokens = Arc::new(Tokens::new(http.clone()));
    DesktopFlow::new(http, tokens, Arc::new(Policy::default()), settings)
}

impl Task {
    /// The task's next activation: what was noted in its own scope is among its variables.
    pub fn comes_again(&mut self) {
        for noted in self.journal.written.lock().unwrap().iter() {
            self.variables.extend(noted.clone());
        }
    }

    /// The same after a failure, which notes in its own command.
    pub fn comes_again_after(&mut self, failure: &JobError) {
        self.comes_again();
        self.variables.extend(failure.noted());
    }
}

impl Setting {
    pub async fn new() -> Self {
        Self::of(world(), settings()).await
    }

    pub async fn of(world: World, settings: Settings) -> Self {
        Self {
            simulator: Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap(),
            connector: connector(settings),
        }
    }

    /// A task for an operation, with these fields beside those that all have.
    pub fn task(&self, operation: &str, fields: Value) -> Task {
        let mut variables = json!({
            "operationType": operation,
            "organizationUri": self.simulator.organization(),
            "authentication": {
                "type": "oauth-client-credentials-flow",
                "oauthTokenEndpoint": self.simulator.token_endpoint(),
                "clientId": CLIENT_ID.to_string(),
                "clientSecret": "demo-client-secret",
                "clientAuthentication": "basicAuthHeader",
            },
        });
        let all = variables.as_object_mut().unwrap();
        all.extend(fields.as_object().unwrap().clone());
        all.retain(|_, value| !value.is_null());
        Task {
            variables: all.clone(),
            headers: String::new(),
            abandoned: CancellationToken::new(),
            journal: Arc::default(),
            place: Arc::new(Anywhere),
        }
    }

    /// A task that starts the flow of the default world.
    pub fn start_task(&self, operation: &str, fields: Value) -> Task {
        let mut all = json!({
            "workflowId": BOOK_INVOICE.to_string(),
            "connectionName": CONNECTION,
            "connectionType": "1",
            "runMode": "unattended",
            "inputs": {"InvoiceId": "42", "Amount": 12.5},
        });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.task(operation, all)
    }

    /// Does a task, within bounds.
    pub async fn call(&self, task: &Task) -> Done {
        self.call_by(&self.connector, task).await
    }

    /// The same by another replica.
    pub async fn call_by(&self, connector: &dyn Connector, task: &Task) -> Done {
        let job = Job {
            key: 7,
            job_type: connector.job_type().into(),
            process_instance_key: 5,
            bpmn_process_id: "invoices".into(),
            process_definition_version: 1,
            process_definition_key: 3,
            element_id: "book".into(),
            element_instance_key: INSTANCE,
            retries: 3,
            deadline: 0,
            tenant_id: "<default>".into(),
            lease_token: None,
            custom_headers: task.headers.clone(),
            variables: Value::Object(task.variables.clone()).to_string(),
        };
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&steps);
        let progress = Progress::watched_by(move |_, step| {
            if !matches!(step, Step::Start(_)) {
                seen.lock().unwrap().push(step.clone());
            }
        });
        let input = Bound::plain(task.variables.clone());
        let call = connector.call(Call {
            job: &job,
            input: &input,
            abandoned: &task.abandoned,
            progress: &progress,
            journal: task.journal.as_ref(),
            place: task.place.as_ref(),
        });
        let result = tokio::time::timeout(Duration::from_secs(20), call)
            .await
            .expect("the operation ends in time");
        let steps = steps.lock().unwrap().clone();
        Done {
            result: result.map(|response| response.value().into_owned()),
            steps,
        }
    }

    pub fn fault(&self, fault: Fault) {
        self.simulator.add_fault(fault).unwrap();
    }

    /// Lets the next request on a route go wrong.
    pub fn goes_wrong(&self, route: RouteName, effect: Effect) {
        self.fault(Fault::on(route, effect));
    }

    /// The requests on a route, in the order of their arrival.
    pub fn requests(&self, route: RouteName) -> Vec<RequestRecord> {
        let all = self.simulator.requests();
        all.into_iter().filter(|request| request.route == route).collect()
    }

    /// Starts a run and tells its id.
    pub async fn started(&self, fields: Value) -> String {
        let mut task = self.start_task("triggerFlowRun", fields);
        task.variables.insert("checkInputs".into(), json!(false));
        let response = self.call(&task).await.response();
        response["flowSessionId"].as_str().unwrap().to_owned()
    }
}

impl Done {
    #[track_caller]
    pub fn response(self) -> Value {
        match self.result {
            Ok(response) => response,
            Err(error) => panic!("{}", error.message),
        }
    }

    #[track_caller]
    pub fn error(self) -> JobError {
        self.result.expect_err("the operation does not succeed")
    }
}
