//! A Power Automate that lives in memory: HTTP goes in, what Microsoft's services would say comes out.
//!
//! One real HTTP server speaks what Microsoft Entra's token endpoint and Dataverse's Web API for desktop flows speak:
//! lists of flows and their schemas, RunDesktopFlow, the rows of runs with `$select`, `$filter`, `$orderby`, `$top` and
//! paging, output files, cancellation, callbacks, throttling. It plays a [`World`], under a virtual clock that can be
//! pushed forward, and goes wrong on purpose where [`Fault`]s say so. A control API under `/__sim` lets tests in any
//! language drive it.
//!
//! A request goes through these modules: `connection` (a stream that can be cut), `gate` (journal, admission,
//! faults), then `entra` or `dataverse`; `runs` is the life of the runs, `callback` tells their ends.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use deskhand::sandbox::power_automate::{Scenario, Simulator, World};
//!
//! let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), World::demo(Scenario::Success)).await?;
//! println!("{}", simulator.organization());
//! simulator.stop().await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod callback;
mod clock;
mod connection;
mod control;
mod core;
mod dataverse;
mod encoding;
mod entra;
mod exchange;
mod expect;
mod faults;
mod gate;
mod ids;
mod journal;
mod odata;
mod protection;
mod runs;
mod status;
mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::core::{Core, LOGIN, ORGANIZATION};
use connection::{Cut, CuttableListener};

pub use callback::DeliveryRecord;
pub use faults::{Effect, Fault, ProtectionLimit, RouteName, Throttle};
pub use ids::{Guid, NotAGuid};
pub use journal::RequestRecord;
pub use runs::SessionRecord;
pub use status::Status;
pub use world::{
    Application, BOOK_INVOICE, Behaviour, CLIENT_ID, CONNECTION, CallbackMode, CallbackSettings, ClockSettings,
    Connection, ConnectionReference, ConnectionStatus, Credential, Directory, Environment, Limits, MONTHLY_REPORT,
    MachineGroup, Moment, NotASpan, Outputs, RefreshToken, RunError, Scenario, Script, Seed, Span, TENANT,
    UnknownScenario, User, ValueType, Workflow, World, WorldError,
};

/// How long stopping waits for open connections.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// A running simulator. Dropping it stops it too, without waiting for the connections' ends.
#[derive(Debug)]
pub struct Simulator {
    core: Arc<Core>,
    address: SocketAddr,
    server: JoinHandle<()>,
    driver: JoinHandle<()>,
}

impl Simulator {
    /// Starts a simulator that plays `world` at `listen`; port 0 takes any free port.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the world [contradicts itself](World::validate).
    pub async fn start(listen: SocketAddr, world: World) -> std::io::Result<Simulator> {
        world
            .validate()
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let core = Arc::new(Core::playing(world));
        let routes = control::routes().fallback(gate::serve).with_state(Arc::clone(&core));
        let service = routes.into_make_service_with_connect_info::<Cut>();
        let stop = Arc::clone(&core);
        let server = tokio::spawn(async move {
            let serving = axum::serve(CuttableListener(listener), service);
            if let Err(error) = serving
                .with_graceful_shutdown(async move { stop.stop_asked().await })
                .await
            {
                tracing::error!(%error, "the simulator stopped serving");
            }
        });
        let driver = tokio::spawn(callback::drive(Arc::clone(&core)));
        Ok(Simulator {
            core,
            address,
            server,
            driver,
        })
    }

    /// Ends the server: running requests are cut, open connections closed.
    pub async fn stop(mut self) {
        self.core.stopped.send_replace(true);
        if tokio::time::timeout(STOP_PATIENCE, &mut self.server).await.is_err() {
            self.server.abort();
        }
        let _ = (&mut self.driver).await;
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the token endpoint of the world's tenant.
    pub fn token_endpoint(&self) -> String {
        format!("{}/oauth2/v2.0/token", self.authority())
    }

    /// The sign-in authority with the tenant: the token endpoint without `/oauth2/v2.0/token`.
    pub fn authority(&self) -> String {
        format!(
            "http://{}{LOGIN}{}",
            self.reachable(),
            self.core.state().world.directory.tenant
        )
    }

    /// The URL of the organisation, without a final slash.
    pub fn organization(&self) -> String {
        format!("http://{}{ORGANIZATION}", self.reachable())
    }

    /// The scope of a token for the organisation.
    pub fn scope(&self) -> String {
        format!("{}/.default", self.organization())
    }

    /// The URL of the control API, without a final slash.
    pub fn control(&self) -> String {
        format!("http://{}/__sim", self.reachable())
    }

    /// An access token for the first application of the world; `None` when it has none.
    pub fn token(&self) -> Option<String> {
        self.core.minted(&self.reachable().to_string())
    }

    /// The world as it is now, seeds included.
    pub fn world(&self) -> World {
        self.core.state().world.clone()
    }

    /// What the virtual clock shows.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// Pushes the virtual clock forward.
    pub fn advance(&self, by: Duration) {
        self.core.clock.advance(by);
        self.core.wake.notify_one();
    }

    /// How many runs were started, by whatever request.
    pub fn runs_started(&self) -> usize {
        self.core.state().runs.len()
    }

    /// Every run, oldest first, with its status now.
    pub fn sessions(&self) -> Vec<SessionRecord> {
        self.core.state().runs.all().iter().map(|run| run.record()).collect()
    }

    /// The journal: the last requests, oldest first, credentials redacted.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.core.journal().after(0, usize::MAX, None)
    }

    /// How many requests arrived, forgotten ones included.
    pub fn requests_received(&self) -> u64 {
        self.core.journal().count()
    }

    /// How many access tokens the token endpoint issued.
    pub fn tokens_issued(&self) -> u64 {
        self.core.state().tokens.issued
    }

    /// The last attempts to deliver callbacks, oldest first.
    pub fn callbacks(&self) -> Vec<DeliveryRecord> {
        self.core.state().deliveries.iter().cloned().collect()
    }

    /// Lets something go wrong.
    ///
    /// # Errors
    /// When the fault's effect does not exist on its route, or too many faults are pending.
    pub fn add_fault(&self, fault: Fault) -> Result<(), String> {
        fault.validate()?;
        if self.core.state().faults.add(fault) {
            Ok(())
        } else {
            Err("too many faults are pending".to_owned())
        }
    }

    /// Forgets the faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.core.state().faults.clear();
    }

    /// Adds rows to the environment, or replaces those with the same key.
    ///
    /// # Errors
    /// When the environment would contradict itself; nothing is changed then.
    pub fn seed(&self, seed: Seed) -> Result<(), WorldError> {
        let seeded = self.core.state().seed(seed, self.core.clock.now());
        self.core.wake.notify_one();
        seeded
    }

    /// Forgets everything that happened and returns to the world it was started with.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// The address by which this machine reaches the server.
    fn reachable(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.core.stopped.send_replace(true);
    }
}
