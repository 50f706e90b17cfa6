//! What a request costs the Power Automate simulator, a process of its own: the CPU of all its threads, over kept
//! connections.
//!
//! Prints `figure simulator_cpu_us_per_status …`, `…_per_start …`, `…_per_list …`. `DESKHAND_BENCH_REQUESTS=N` measures
//! another number of requests.

mod world;

use std::sync::Arc;
use std::time::Duration;

use deskhand::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use deskhand::http::{Client, Method, Request};
use deskhand::sandbox::power_automate::{BOOK_INVOICE, CONNECTION};
use serde_json::{Value, json};
use world::{Outcome, ROLE, World, start_processes};

const AT_ONCE: u64 = 8;
const WARM_UP: u64 = 2_000;

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match std::env::var(ROLE).as_deref() {
        Ok(_) => runtime.block_on(start_processes()),
        Err(_) => runtime.block_on(measure()),
    }
}

/// One kind of request.
#[derive(Clone)]
struct Kind {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
    expected: u16,
}

async fn measure() -> Outcome {
    let requests = std::env::var("DESKHAND_BENCH_REQUESTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_000_u64);
    let world = World::start(json!([{"waiting": "0s", "running": "1h"}]))?;
    let client = Client::direct()?;
    let start = Kind {
        method: Method::POST,
        path: format!("workflows({BOOK_INVOICE})/Microsoft.Dynamics.CRM.RunDesktopFlow"),
        body: Some(
            json!({"runMode": "unattended", "connectionName": CONNECTION, "inputs": "{\"InvoiceId\":\"42\"}"})
                .to_string()
                .into_bytes(),
        ),
        expected: 200,
    };
    let caller = Arc::new(Caller {
        client,
        token: world.token().await?,
        organization: world.organization.clone(),
    });
    let started: Value = serde_json::from_slice(&caller.send(&start).await?)?;
    let run = started["flowsessionId"].as_str().ok_or("no run")?;
    let reading = |path: String| Kind {
        method: Method::GET,
        path,
        body: None,
        expected: 200,
    };
    let status = reading(format!(
        "flowsessions({run})?$select=statuscode,createdon,startedon,completedon"
    ));
    let list = reading("workflows?$select=name,workflowid&$filter=category%20eq%206".to_owned());
    for (name, kind) in [("status", status), ("list", list), ("start", start)] {
        drive(&caller, &kind, WARM_UP).await?;
        let before = world.simulator_cpu()?;
        drive(&caller, &kind, requests).await?;
        let spent = world.simulator_cpu()? - before;
        let each = spent.as_secs_f64() * 1e6 / requests as f64;
        println!("figure simulator_cpu_us_per_{name} {each:.1} us");
    }
    println!("# aim: 40 us a request");
    Ok(())
}

struct Caller {
    client: Client,
    token: String,
    organization: String,
}

impl Caller {
    async fn send(&self, kind: &Kind) -> Outcome<Vec<u8>> {
        let url = format!("{}/api/data/v9.2/{}", self.organization, kind.path);
        let mut request = Request::new(kind.method.clone(), url.parse()?);
        request.total_timeout = Some(Duration::from_secs(30));
        let bearer = HeaderValue::try_from(format!("Bearer {}", self.token))?;
        request.headers.insert(AUTHORIZATION, bearer);
        if kind.body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers.insert(CONTENT_TYPE, json);
        }
        request.body.clone_from(&kind.body);
        let answer = self.client.send(request).await?;
        match answer.status == kind.expected {
            true => Ok(answer.body),
            false => Err(format!("HTTP {}: {}", answer.status, String::from_utf8_lossy(&answer.body)).into()),
        }
    }
}

async fn drive(caller: &Arc<Caller>, kind: &Kind, requests: u64) -> Outcome {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (caller, kind) = (caller.clone(), kind.clone());
        tasks.spawn(async move {
            for _ in 0..requests / AT_ONCE {
                caller.send(&kind).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
