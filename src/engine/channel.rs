//! Two channels to the gateway: job streams have one of their own with a small HTTP/2 window, so that the gateway sees
//! at once when a worker is full; commands and polls share the other.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Uri};

use super::connect::{Connector, TlsFault, TlsFiles};
use super::credentials::Authority;
use super::gateway::TopologyRequest;
use super::gateway::gateway_client::GatewayClient;
use super::upkeep::Pace;
use super::{Commands, Settings};

/// How long a ping may stay unanswered.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of activated jobs that may lie unseen in a stream's buffer (measured: 233 jobs at 16 KiB, 23,212 at the default).
const STREAM_WINDOW: u32 = 16 * 1024;
/// A job may be as large as the broker's message limit of 4 MiB, and grows when it becomes JSON.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;
/// Bound on a unary call; the gateway gives up on its brokers after 15 s itself.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the engine cannot even be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// The address is not one.
    #[error("The engine's address `{address}` is not a URL like http://localhost:26500 ({reason})")]
    Address {
        /// What was configured.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS to the engine cannot be set up: {0}")]
    Tls(#[from] TlsFault),
}

/// The way to one process engine. Connects when first used, and again whenever it must. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) unary: GatewayClient<Channel>,
    pub(super) streams: GatewayClient<Channel>,
    pub(super) authority: Authority,
    pub(super) pace: Pace,
    pub(super) connector: Connector,
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
        let (endpoint, connector) = endpoint(&settings)?;
        let unary = client(endpoint.connect_with_connector_lazy(connector.clone()));
        let streams = endpoint.initial_stream_window_size(STREAM_WINDOW);
        let streams = client(streams.connect_with_connector_lazy(connector.clone()));
        Ok(Self {
            unary,
            streams,
            authority,
            pace: Pace::default(),
            connector,
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

/// The two parts of a channel: how it speaks, and how it connects.
fn endpoint(settings: &Settings) -> Result<(Endpoint, Connector), SetUpError> {
    let fault = |reason: String| SetUpError::Address {
        address: settings.address.clone(),
        reason,
    };
    let uri: Uri = settings.address.parse().map_err(|error| fault(format!("{error}")))?;
    let host = uri.host().ok_or_else(|| fault("it names no host".into()))?;
    let encrypted = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 26500 });
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let named = settings.override_authority.as_deref();
    let files = encrypted.then(|| TlsFiles {
        authority: settings.ca_certificate.clone(),
        identity: settings.identity.clone(),
        server_name: named.map_or_else(|| bare.clone(), |name| without_port(name).to_owned()),
    });
    let connector = Connector::new(bare, port, settings.resolver.clone(), files)?;
    // The connector encrypts, so tonic is told of a plain connection, and what the requests say is set apart.
    let origin = match named {
        Some(name) => format!("{}://{name}", if encrypted { "https" } else { "http" }),
        None => settings.address.clone(),
    };
    let origin: Uri = origin.parse().map_err(|error| fault(format!("{error}")))?;
    let endpoint = Endpoint::from_shared(format!("http://{host}:{port}"))
        .map_err(|error| fault(error.to_string()))?
        .origin(origin)
        .user_agent(concat!("deskhand/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| fault(error.to_string()))?
        .http2_keep_alive_interval(settings.keep_alive)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT.min(settings.keep_alive));
    Ok((endpoint, connector))
}

fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => name,
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
