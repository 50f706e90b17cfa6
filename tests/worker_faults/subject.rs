//! The two workers that each test runs: deskhand's, and the naive one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deskhand::engine::{self, Credentials, Resolver};
use deskhand::worker;
use tokio::task::JoinSet;

use super::naive::Naive;
use crate::support::worker::{JOB_TYPE, Obedient, Worker, settings, start_on};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Deskhand,
    Naive,
}

/// What a worker is told.
#[derive(Clone)]
pub struct Setup {
    pub address: SocketAddr,
    pub job_types: &'static [&'static str],
    pub max_jobs: usize,
    pub lease: Duration,
    pub poll_interval: Duration,
    pub token_url: Option<String>,
    pub tls: Option<TlsFiles>,
    /// How often deskhand asks whether its connections live; the naive worker asks each second whatever is said.
    pub keep_alive: Duration,
    /// Where deskhand finds `localhost`; the naive worker keeps the address that it was given.
    pub resolver: Option<Resolver>,
}

#[derive(Clone)]
pub struct TlsFiles {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Setup {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            job_types: &[JOB_TYPE],
            max_jobs: 8,
            lease: Duration::from_secs(60),
            poll_interval: Duration::from_millis(50),
            token_url: None,
            tls: None,
            keep_alive: engine::Settings::default().keep_alive,
            resolver: None,
        }
    }
}

pub enum Subject {
    Deskhand(Box<Worker>),
    Naive(
        Box<Naive>,
        #[allow(dead_code, reason = "its tasks end with it")] JoinSet<()>,
    ),
}

impl Subject {
    pub async fn start(kind: Kind, setup: Setup) -> Self {
        if kind == Kind::Naive {
            let (worker, tasks) = Naive::start(setup).await;
            return Self::Naive(Box::new(worker), tasks);
        }
        let scheme = if setup.tls.is_some() { "https" } else { "http" };
        let credentials = match &setup.token_url {
            None => Credentials::None,
            Some(url) => Credentials::OAuth {
                token_url: url.clone(),
                client_id: "worker".into(),
                client_secret: "secret".into(),
                audience: None,
                scope: None,
            },
        };
        let tls = setup.tls.as_ref();
        let engine = engine::Settings {
            address: format!("{scheme}://localhost:{}", setup.address.port()),
            credentials,
            ca_certificate: tls.map(|files| files.authority.clone()),
            identity: tls.map(|files| (files.certificate.clone(), files.key.clone())),
            keep_alive: setup.keep_alive,
            resolver: setup.resolver.unwrap_or_default(),
            ..engine::Settings::default()
        };
        // A job type of several has permits of its own, as the naive worker's streams do.
        let own = setup
            .job_types
            .iter()
            .skip(1)
            .map(|one| ((*one).to_owned(), setup.max_jobs));
        let settings = worker::Settings {
            max_jobs: setup.max_jobs,
            own_max_jobs: own.collect(),
            job_timeout: setup.lease,
            poll_interval: setup.poll_interval,
            ..settings()
        };
        Self::Deskhand(Box::new(start_on(engine, setup.job_types, settings)))
    }

    pub fn begun(&self) -> Begun {
        match self {
            Self::Deskhand(worker) => Begun::Deskhand(worker.connector.clone()),
            Self::Naive(worker, _) => Begun::Naive(worker.begun.clone()),
        }
    }

    /// Jobs of the first type that are being worked on.
    pub fn running(&self) -> usize {
        match self {
            Self::Deskhand(worker) => worker.connector.running.load(Ordering::SeqCst),
            Self::Naive(worker, _) => worker.running.load(Ordering::SeqCst),
        }
    }

    pub fn go_on(&self) {
        match self {
            Self::Deskhand(worker) => worker.connector.go_on.notify_waiters(),
            Self::Naive(worker, _) => worker.go_on.notify_waiters(),
        }
    }
}

/// Counts begun jobs.
#[derive(Clone)]
pub enum Begun {
    Deskhand(Arc<Obedient>),
    Naive(Arc<AtomicUsize>),
}

impl Begun {
    pub fn count(&self) -> usize {
        match self {
            Self::Deskhand(connector) => connector.begun.load(Ordering::SeqCst),
            Self::Naive(begun) => begun.load(Ordering::SeqCst),
        }
    }
}
