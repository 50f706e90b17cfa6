//! Two channels to the gateway: job streams have one of their own with a small HTTP/2 window, so that the gateway sees
//! at once when a worker is full; commands and polls share the other.

use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::credentials::Authority;
use super::gateway::TopologyRequest;
use super::gateway::gateway_client::GatewayClient;
use super::upkeep::Pace;
use super::{Commands, Settings};

/// The gateway refuses pings that come more often than each 30 s; 45 s is what its other clients use.
const KEEP_ALIVE: Duration = Duration::from_secs(45);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of activated jobs that may lie unseen in a stream's buffer (measured: 233 jobs at 16 KiB, 23,212 at the default).
const STREAM_WINDOW: u32 = 16 * 1024;
/// A job may be as large as the broker's message limit of 4 MiB, and grows when it becomes JSON.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;
/// Bound on a unary call; the gateway gives up on its brokers after 15 s itself.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the engine cannot even be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// The address is not one.
    #[error("The engine's address `{address}` is not a URL like http://localhost:26500 ({source})")]
    Address {
        /// What was configured.
        address: String,
        /// What the parser says.
        source: tonic::transport::Error,
    },
    /// The certificate authority cannot be read.
    #[error("The certificate authority file {} cannot be read ({source})", path.display())]
    Certificate {
        /// What was configured.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS to the engine cannot be set up ({0})")]
    Tls(tonic::transport::Error),
}

/// The way to one process engine. Connects when first used, and again whenever it must. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) unary: GatewayClient<Channel>,
    pub(super) streams: GatewayClient<Channel>,
    pub(super) authority: Authority,
    pub(super) pace: Pace,
    settings: std::sync::Arc<Settings>,
}

/// What the engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Release of the gateway, e.g. `8.6.0`.
    pub gateway_version: String,
    /// Number of brokers.
    pub brokers: usize,
    /// Number of partitions.
    pub partitions: u32,
}

impl Engine {
    /// Prepares the channels; nothing is connected yet, so the engine may start later than we do.
    ///
    /// # Errors
    /// When the settings cannot work whatever the engine does.
    pub fn new(settings: Settings, authority: Authority) -> Result<Self, SetUpError> {
        let endpoint = endpoint(&settings)?;
        let unary = client(endpoint.connect_lazy());
        let streams = client(endpoint.initial_stream_window_size(STREAM_WINDOW).connect_lazy());
        Ok(Self {
            unary,
            streams,
            authority,
            pace: Pace::default(),
            settings: std::sync::Arc::new(settings),
        })
    }

    /// The settings it was made from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The way back: acknowledging jobs.
    pub fn commands(&self) -> Commands {
        Commands::new(self.clone())
    }

    /// Gets the credentials that calls need, without making one: a token is fetched where there is none.
    ///
    /// # Errors
    /// UNAVAILABLE or UNAUTHENTICATED, with what the identity provider said.
    pub async fn sign_in(&self) -> Result<(), tonic::Status> {
        self.authority.authorize(()).await.map(drop)
    }

    /// Asks the gateway what it knows of its cluster.
    ///
    /// # Errors
    /// The gRPC status when it cannot be reached or refuses.
    pub async fn topology(&self) -> Result<Topology, tonic::Status> {
        let call = async {
            let request = self.authority.authorize(TopologyRequest {}).await?;
            self.unary.clone().topology(request).await
        };
        let answer = tokio::time::timeout(CALL_TIMEOUT, call)
            .await
            .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer within 20 s")))
            .inspect_err(|status| self.authority.heard(status))?
            .into_inner();
        Ok(Topology {
            gateway_version: answer.gateway_version,
            brokers: answer.brokers.len(),
            partitions: answer.partitions_count.max(0).unsigned_abs(),
        })
    }
}

fn client(channel: Channel) -> GatewayClient<Channel> {
    GatewayClient::new(channel)
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE)
}

fn endpoint(settings: &Settings) -> Result<Endpoint, SetUpError> {
    let address_fault = |source| SetUpError::Address {
        address: settings.address.clone(),
        source,
    };
    let mut endpoint = Endpoint::from_shared(settings.address.clone())
        .map_err(address_fault)?
        .user_agent(concat!("deskhand/", env!("CARGO_PKG_VERSION")))
        .map_err(address_fault)?
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    if settings.address.starts_with("https://") {
        let mut tls = ClientTlsConfig::new();
        tls = match &settings.ca_certificate {
            Some(path) => {
                let pem = std::fs::read(path).map_err(|source| SetUpError::Certificate {
                    path: path.clone(),
                    source,
                })?;
                tls.ca_certificate(Certificate::from_pem(pem))
            }
            None => tls.with_native_roots(),
        };
        if let Some(name) = &settings.override_authority {
            tls = tls.domain_name(name.clone());
        }
        endpoint = endpoint.tls_config(tls).map_err(SetUpError::Tls)?;
    }
    Ok(endpoint)
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
