//! A process engine in memory behind the real gateway protocol: BPMN files and gRPC calls enter, jobs, answers and
//! events leave. It is for demos and tests, behaves to a worker as Zeebe does, and forgets everything when it stops.
//!
//! | part | what happens there |
//! |---|---|
//! | `gateway`, `requests`, `clients` | requests are checked and become commands; answers become responses and statuses |
//! | `driver` | one task owns the state machine, and sleeps until a command comes or something is due |
//! | `machine` | the state: what a command changes, what follows from it, what is due when |
//! | `bpmn`, `definitions` | files become processes, processes get versions |
//! | `elements`, `catch` | tokens enter, wait in, complete and leave elements; events are caught |
//! | `variables`, `expressions` | scopes, mappings, FEEL |
//! | `jobs`, `delivery`, `job_stream` | states of jobs; streams and polls that take them |
//! | `messages`, `timers`, `incidents` | as their names say |

mod bpmn;
mod catch;
mod clients;
mod definitions;
mod delivery;
mod driver;
mod elements;
mod events;
mod expressions;
mod gateway;
mod incidents;
mod job_stream;
mod jobs;
mod machine;
mod messages;
mod rejection;
mod requests;
mod settings;
#[cfg(test)]
mod tests;
mod timers;
mod variables;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

pub use driver::Stopped;
pub use events::{Event, Incident, IncidentKind};
pub use settings::Settings;

use crate::engine::gateway::gateway_server::GatewayServer;
use driver::{Clock, Handle};
use machine::Machine;

/// Events that a watcher may be behind before it loses the oldest.
const EVENTS: usize = 4096;

/// How long open connections may take to end when the engine stops.
const GOODBYE: Duration = Duration::from_millis(500);

/// How much larger than allowed a message may be and still be refused with a reason.
const REFUSED_POLITELY: usize = 16;

/// Why the engine does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("the sandbox engine cannot listen on {address}: {source}; choose another port, or 0 for a free one")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running engine. It stops when it is dropped, or politely with [`Engine::stop`].
#[derive(Debug)]
pub struct Engine {
    address: SocketAddr,
    machine: Handle,
    clock: Clock,
    events: broadcast::Sender<Event>,
    stop: CancellationToken,
    server: Option<JoinHandle<()>>,
}

/// Who takes jobs of a type, and what there is to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobTypeStatus {
    /// Jobs that a poll may take.
    pub activatable: usize,
    /// Jobs that workers hold.
    pub activated: usize,
    /// Clients with an open stream.
    pub streams: usize,
    /// Polls that are parked.
    pub polls: usize,
}

impl Engine {
    /// Starts an engine that listens on this address; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(listen: SocketAddr, settings: Settings) -> Result<Engine, StartError> {
        let fault = |source| StartError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        let stop = CancellationToken::new();
        let (events, _) = broadcast::channel(EVENTS);
        let clock = Clock::new(settings.clock_offset);
        let machine = Machine::new(settings.clone(), clock.now(), events.clone());
        let machine = driver::start(machine, clock.clone(), stop.clone());
        let gateway = gateway::Gateway {
            machine: machine.clone(),
            settings: Arc::new(settings.clone()),
            port: address.port(),
        };
        // tonic would refuse a message that is too large with OUT_OF_RANGE, Zeebe's gateway does with
        // RESOURCE_EXHAUSTED: so the gateway looks itself, up to a size that is no honest mistake.
        let service = GatewayServer::new(gateway)
            .max_decoding_message_size(settings.max_message_size.saturating_mul(REFUSED_POLITELY))
            .max_encoding_message_size(usize::MAX);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            let served = Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(incoming, stopped)
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the sandbox engine's gateway ended");
            }
        });
        Ok(Engine {
            address,
            machine,
            clock,
            events,
            stop,
            server: Some(server),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens from now on. A watcher that falls thousands of events behind is told that it missed some.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Every open incident, the oldest first.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn incidents(&self) -> Result<Vec<Incident>, Stopped> {
        self.machine.ask(|machine| machine.open_incidents()).await
    }

    /// Who takes jobs of this type, and what there is to take.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn jobs(&self, job_type: &str) -> Result<JobTypeStatus, Stopped> {
        let job_type = job_type.to_owned();
        self.machine
            .ask(move |machine| machine.job_type_status(&job_type))
            .await
    }

    /// Moves the engine's clock on: timers, backoffs and deadlines in between become due.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn advance_clock(&self, by: Duration) -> Result<(), Stopped> {
        self.clock.move_on(by);
        self.machine.ask(|_| ()).await
    }

    /// Ends open streams and polls with UNAVAILABLE, says goodbye to its clients, and stops.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(mut server) = self.server.take()
            && tokio::time::timeout(GOODBYE, &mut server).await.is_err()
        {
            server.abort();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
