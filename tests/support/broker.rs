//! A broker of a test's own, that it may kill: started by the script `zeebe` in the folder that `ENGINE_TOOLS` names.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use deskhand::engine::credentials::Authority;
use deskhand::engine::gateway::CreateProcessInstanceRequest;
use deskhand::engine::gateway::gateway_client::GatewayClient;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

/// A running broker; stopped, and its data removed, when dropped.
pub struct Broker {
    name: String,
    port: u16,
    tool: PathBuf,
    environment: Vec<(String, String)>,
}

impl Broker {
    /// Starts one with so many partitions and this environment; fails where there is no tool.
    pub fn start(what: &str, partitions: usize, environment: &[(&str, &str)]) -> Self {
        let folder = std::env::var_os("ENGINE_TOOLS")
            .expect("set ENGINE_TOOLS to the folder of the script `zeebe`: this test kills brokers of its own");
        let broker = Self {
            name: format!("{what}-{}", std::process::id()),
            port: five_free_ports(),
            tool: PathBuf::from(folder).join("zeebe"),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let (port, partitions) = (broker.port.to_string(), partitions.to_string());
        broker.tool("start", &["--port", &port, "--partitions", &partitions]);
        broker
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `kill -9`; the data stays.
    pub fn kill(&self) {
        self.tool("kill", &[]);
    }

    /// Starts it again with its data.
    pub fn start_again(&self) {
        self.tool("start", &[]);
    }

    /// Stands still (SIGSTOP) for so long.
    pub fn stand_still(&self, length: Duration) {
        self.tool("pause", &[]);
        std::thread::sleep(length);
        self.tool("resume", &[]);
    }

    fn tool(&self, verb: &str, arguments: &[&str]) {
        let output = self.run(verb, arguments);
        assert!(
            output.status.success(),
            "{verb}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        Command::new(&self.tool)
            .args([verb, "--name", &self.name])
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("the script `zeebe` can be run")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.run("stop", &[]);
    }
}

fn five_free_ports() -> u16 {
    for _ in 0..100 {
        let first = 28_000 + 10 * fastrand::u16(0..300);
        let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first + 5).all(free) {
            return first;
        }
    }
    panic!("no five free ports in a row");
}

/// A client that starts instances whatever happens to the engine.
#[derive(Clone)]
pub struct Starter {
    client: GatewayClient<Channel>,
    authority: Authority,
}

impl Starter {
    pub fn new(url: &str) -> Self {
        Self::signed_in(url, Authority::none())
    }

    pub fn signed_in(url: &str, authority: Authority) -> Self {
        let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
        Self {
            client: GatewayClient::new(endpoint.connect_lazy()),
            authority,
        }
    }

    /// Starts an instance; once more when nobody knows whether it was started, so there may be two.
    pub async fn create(&self, process: &str, variables: &Value) {
        let give_up = Instant::now() + Duration::from_secs(180);
        loop {
            let request = CreateProcessInstanceRequest {
                bpmn_process_id: process.to_owned(),
                version: -1,
                variables: variables.to_string(),
                ..CreateProcessInstanceRequest::default()
            };
            let call = async {
                let request = self.authority.authorize(request).await?;
                self.client.clone().create_process_instance(request).await
            };
            match tokio::time::timeout(Duration::from_secs(10), call).await {
                Ok(Ok(_)) => return,
                failed => assert!(Instant::now() < give_up, "no instance could be started: {failed:?}"),
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(50..300))).await;
        }
    }
}
