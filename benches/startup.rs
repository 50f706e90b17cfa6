//! From process start until the engine saw the stream call, and the memory of an idle worker.
//!
//! A gateway of our own (a tonic server in this process) notes when `StreamActivatedJobs` arrives; `deskhand run` is a
//! process of its own. Prints `figure startup_ms …` (median of 20 starts) and `figure rss_idle_mib …`.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deskhand::engine::gateway::gateway_server::{Gateway, GatewayServer};
use deskhand::engine::gateway::{
    ActivateJobsRequest, ActivateJobsResponse, ActivatedJob, StreamActivatedJobsRequest, TopologyRequest,
    TopologyResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

const STARTS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway that has no jobs and notes when it is asked for them.
struct Quiet {
    opened: mpsc::Sender<Instant>,
}

#[tonic::async_trait]
impl Gateway for Quiet {
    async fn stream_activated_jobs(
        &self,
        _: Request<StreamActivatedJobsRequest>,
    ) -> Result<Response<BoxStream<ActivatedJob>>, Status> {
        // Two job types open a stream each: the first one counts, and a full channel is no fault.
        let _ = self.opened.try_send(Instant::now());
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }

    async fn activate_jobs(
        &self,
        _: Request<ActivateJobsRequest>,
    ) -> Result<Response<BoxStream<ActivateJobsResponse>>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    async fn topology(&self, _: Request<TopologyRequest>) -> Result<Response<TopologyResponse>, Status> {
        Ok(Response::new(TopologyResponse::default()))
    }
}

/// A worker process that is killed with its guard.
struct Worker(Child);

impl Worker {
    fn start(gateway: SocketAddr) -> std::io::Result<Self> {
        Command::new(env!("CARGO_BIN_EXE_deskhand"))
            .arg("run")
            .env_clear()
            .env("ZEEBE_ADDRESS", format!("http://{gateway}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Worker)
    }

    fn rss_mib(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024.0)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (opened, mut seen) = mpsc::channel(16);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(GatewayServer::new(Quiet { opened }))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );

    let mut milliseconds = Vec::with_capacity(STARTS);
    let mut rss = Vec::with_capacity(3);
    for start in 0..STARTS {
        while seen.try_recv().is_ok() {}
        let began = Instant::now();
        let worker = Worker::start(address)?;
        let opened = tokio::time::timeout(PATIENCE, seen.recv())
            .await?
            .ok_or("the gateway is gone")?;
        milliseconds.push((opened - began).as_secs_f64() * 1_000.0);
        if start % (STARTS / 3) == 0 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            rss.extend(worker.rss_mib());
        }
    }
    println!("figure startup_ms {:.1} ms", median(&mut milliseconds));
    println!("figure rss_idle_mib {:.1} MiB", median(&mut rss));
    println!(
        "# aims: 50 ms, 15 MiB; Camunda's Java runtime 8.8.7 on such a machine: 4,600 to 8,900 ms, 330 to 650 MiB"
    );
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
