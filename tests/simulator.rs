//! The Power Automate simulator, through real HTTP, as its clients see it.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall stop at the line that says why"
)]

#[path = "simulator/callbacks.rs"]
mod callbacks;
#[path = "simulator/control.rs"]
mod control;
#[path = "simulator/entra.rs"]
mod entra;
#[path = "simulator/faults.rs"]
mod faults;
#[path = "simulator/files.rs"]
mod files;
#[path = "simulator/lists.rs"]
mod lists;
#[path = "simulator/runs.rs"]
mod runs;

use std::time::Duration;

use deskhand::sandbox::power_automate::{BOOK_INVOICE, CONNECTION, Guid, Simulator, World};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// A simulator, and a client that is signed in.
struct Client {
    simulator: Simulator,
    http: reqwest::Client,
}

impl Client {
    async fn of(mut world: World) -> Self {
        // The clock all but stands still unless a test moves it: no test depends on how fast it is.
        if world.clock.speed == 1.0 {
            world.clock.speed = 0.001;
        }
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
        // No pool: a cut connection must not be met by a later request, nor silently replaced.
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Self { simulator, http }
    }

    /// The default world, where callbacks to loopback are allowed.
    async fn new() -> Self {
        let mut world = World::default();
        world.callbacks.allow_insecure = true;
        Self::of(world).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/data/v9.2/{path}", self.simulator.organization())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        // A new token each time: tests advance the clock beyond a token's life.
        let token = self.simulator.token().unwrap();
        self.http
            .request(method, self.url(path))
            .bearer_auth(token)
            .header("accept", "application/json")
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// A list or a row, which must be there.
    async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    fn start_request(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, &run_path(BOOK_INVOICE)).json(body)
    }

    /// Starts a run of the default flow, with changes over the smallest body.
    async fn start(&self, changes: Value) -> Guid {
        let answer = self.start_request(&run_body(changes)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        id(&answer.json::<Value>().await.unwrap()["flowsessionId"])
    }

    /// The refusal of a start: status, code, message.
    async fn refusal(&self, body: &Value) -> (u16, String, String) {
        refusal(self.start_request(body).send().await.unwrap()).await
    }

    async fn cancel(&self, session: Guid) -> Response {
        let path = format!("flowsessions({session})/Microsoft.Dynamics.CRM.CancelDesktopFlowRun");
        self.request(Method::POST, &path)
            .header("content-length", "0")
            .send()
            .await
            .unwrap()
    }

    async fn status(&self, session: Guid) -> u64 {
        let row = self.read(&format!("flowsessions({session})?$select=statuscode")).await;
        row["statuscode"].as_u64().unwrap()
    }

    fn advance(&self, seconds: u64) {
        self.simulator.advance(Duration::from_secs(seconds));
    }
}

/// Waits until something that others do has happened.
async fn until(mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("it never happened");
}

fn run_path(workflow: Guid) -> String {
    format!("workflows({workflow})/Microsoft.Dynamics.CRM.RunDesktopFlow")
}

/// The smallest body of RunDesktopFlow, with changes over it.
fn run_body(changes: Value) -> Value {
    let mut body = json!({"runMode": "unattended", "connectionName": CONNECTION});
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn id(value: &Value) -> Guid {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no id"))
        .parse()
        .unwrap()
}

async fn refusal(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (status, text("code"), text("message"))
}
