//! Trying the way to the engine step by step, for `deskhand check`: each step says what it saw.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use tonic::{Code, Status};

use super::{Engine, Poll, Push, Subscription};

/// A job type that nobody has: trying it takes no job away.
const NOBODYS: &str = "deskhand:check";
const OPEN_FOR: Duration = Duration::from_secs(1);

impl Engine {
    /// Looks the address up and connects without speaking; gives who answered.
    ///
    /// # Errors
    /// What the resolver or the network says.
    pub async fn reach(&self) -> std::io::Result<SocketAddr> {
        let tcp = tokio::time::timeout(super::connect::CONNECT_TIMEOUT, self.connector.reach());
        tcp.await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?
            .peer_addr()
    }

    /// Makes one TLS handshake; gives the protocol's version and whom the certificate was checked against, or nothing for
    /// an address in plain text.
    ///
    /// # Errors
    /// What is wrong with a certificate, or the network.
    pub async fn shake_hands(&self) -> std::io::Result<Option<String>> {
        self.connector.shake_hands().await
    }

    /// Polls for jobs that cannot exist, with our tenants.
    ///
    /// # Errors
    /// The gRPC status: INVALID_ARGUMENT and PERMISSION_DENIED name tenants that cannot be used.
    pub async fn try_poll(&self) -> Result<(), Status> {
        let mut poll = Poll::start(self, &nobodys(), 1).await?;
        while poll.batch().await?.is_some() {}
        Ok(())
    }

    /// Opens a job stream for a second.
    ///
    /// # Errors
    /// The gRPC status with which the engine ended it.
    pub async fn try_stream(&self) -> Result<(), Status> {
        let opening = Push::open(self.clone(), nobodys());
        let stays_open = async {
            let mut jobs = opening.await?;
            match jobs.next().await {
                Some(Err(status)) => Err(status),
                Some(Ok(_)) => Ok(()),
                None => Err(Status::new(Code::Unavailable, "the stream ended at once")),
            }
        };
        tokio::time::timeout(OPEN_FOR, stays_open).await.unwrap_or(Ok(()))
    }
}

fn nobodys() -> Subscription {
    Subscription {
        job_type: NOBODYS.into(),
        lease: Duration::from_secs(1),
        fetch_variables: vec![],
        with_lease: false,
    }
}
