//! `waitFor: message`: the ends of runs, published to the engine for processes that wait for them in a catch event.
//!
//! Dataverse is the outbox. Each run that shall be told of carries what to publish in its callback URL
//! ([`Mark`](crate::runs::message::Mark)), sealed by us. At start, each minute and after a hint, the runs of our namespace
//! that ended lately are asked for (`pass`), and a message for each goes to the engine. Its id is the run's, so that the
//! engine keeps one of those that several replicas, or one replica before and after a crash, publish. Nothing else is
//! remembered anywhere: whoever is killed, the next pass publishes what was missed.
//!
//! | file   | what happens there                                       |
//! |--------|----------------------------------------------------------|
//! | here   | who looks, where, as whom, and when                      |
//! | `pass` | what ended since when, and what has been published       |
//! | `told` | from a run that ended to its message                     |

mod pass;
mod told;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

use self::pass::Round;
use crate::audit::Audit;
use crate::connector::identity::{Identities, Signed};
use crate::http::Client;
use crate::message::{Message, Published};
use crate::microsoft::dataverse::{Credential, Dataverse, Gates, Organization, Timeouts};
use crate::runs::hints::Hints;
use crate::runs::token::Tokens;

/// Looks are so far apart at least, however many hints there are.
const SHORTEST: Duration = Duration::from_millis(500);

/// What ended within this time before the start is looked for first, as if we had been there. All that ended earlier is
/// caught up with beside it, once: there may be much of it, and it must hold up nothing.
const LATELY: Duration = Duration::from_secs(600);

/// What operations may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose runs are published, and as whom they are looked at.
    pub targets: Vec<Target>,
    /// How long a message lives in the engine unless the task says otherwise.
    pub time_to_live: Duration,
    /// How far back runs that ended are looked for at start.
    pub look_back: Duration,
    /// How often they are looked for.
    pub every: Duration,
}

/// An organisation and who looks there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the identity.
    pub identity: String,
    /// The organisation.
    pub organization: Organization,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            time_to_live: Duration::from_secs(48 * 3600),
            look_back: Duration::from_secs(24 * 3600),
            every: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// Is this organisation looked at as this identity?
    pub fn covers(&self, identity: &str, organization: &Organization) -> bool {
        let same = |target: &Target| target.identity == identity && target.organization == *organization;
        self.targets.iter().any(same)
    }
}

/// Takes messages to the engine.
pub trait Publisher: Send + Sync {
    /// Publishes a message; tries for a bounded time.
    fn publish<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Published>;
}

/// Everything that publishing needs.
#[derive(Clone)]
pub struct Outbox {
    pub(super) settings: Settings,
    pub(super) tokens: Tokens,
    pub(super) hints: Hints,
    pub(super) http: Client,
    pub(super) gates: Gates,
    pub(super) timeouts: Timeouts,
    pub(super) identities: Arc<Identities>,
    pub(super) audit: Audit,
}

impl Outbox {
    /// Where word that a run has ended makes it look earlier.
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Who looks where.
    pub fn targets(&self) -> &[Target] {
        &self.settings.targets
    }

    /// Looks once at what ended within the last ten minutes, as each look does, and publishes nothing. Gives the number of
    /// runs whose ends are to be told of.
    ///
    /// # Errors
    /// What does not work, for operations.
    pub async fn try_look(&self, target: &Target) -> Result<usize, String> {
        let now = self.clock(target).await?;
        let from = now.saturating_sub(signed(LATELY)).unwrap_or(now);
        let page = self.ended(&self.dataverse(target).await?, (from, None)).await?;
        Ok(page.runs.len())
    }

    /// Publishes until it is dropped.
    pub async fn run(&self, publisher: &dyn Publisher) {
        let all = self
            .settings
            .targets
            .iter()
            .map(|target| self.look_at(target, publisher));
        futures_util::future::join_all(all).await;
    }

    async fn look_at(&self, target: &Target, publisher: &dyn Publisher) {
        let now = loop {
            match self.clock(target).await {
                Ok(now) => break now,
                Err(problem) => said(target, &problem),
            }
            sleep_until(self.next(Instant::now())).await;
        };
        let ago = |back: Duration| now.saturating_sub(signed(back)).unwrap_or(Timestamp::MIN);
        let lately = ago(LATELY.min(self.settings.look_back));
        let before = Round::new(ago(self.settings.look_back), Some(lately));
        tokio::join!(
            self.follow(Round::new(lately, None), target, publisher),
            self.catch_up(before, target, publisher)
        );
    }

    /// What ended a while ago, perhaps while nobody was there.
    async fn catch_up(&self, mut round: Round, target: &Target, publisher: &dyn Publisher) {
        while let Err(problem) = self.pass(&mut round, target, publisher).await {
            said(target, &problem);
            sleep_until(self.next(Instant::now())).await;
        }
    }

    /// What ends from now on.
    async fn follow(&self, mut round: Round, target: &Target, publisher: &dyn Publisher) {
        let mut heard = self.hints.heard();
        loop {
            heard.mark_unchanged();
            let began = Instant::now();
            if let Err(problem) = self.pass(&mut round, target, publisher).await {
                said(target, &problem);
            }
            let next = self.next(began);
            sleep_until(began + SHORTEST.min(self.settings.every)).await;
            tokio::select! {
                biased;
                _ = heard.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Replicas do not look in step.
    fn next(&self, began: Instant) -> Instant {
        began + self.settings.every.mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    /// Dataverse's clock.
    async fn clock(&self, target: &Target) -> Result<Timestamp, String> {
        let now = self.dataverse(target).await?.server_clock().await;
        let now = now.map_err(|error| format!("Dataverse's clock cannot be read: {error}"))?;
        now.ok_or_else(|| "Dataverse's answer does not say what time it is".into())
    }

    /// A client for this look: secrets that operations rotated are read anew.
    async fn dataverse(&self, target: &Target) -> Result<Dataverse, String> {
        let url = target.organization.url();
        let identity = self.identities.find(&target.identity).map_err(|error| error.message)?;
        if !identity.goes_to(url) {
            return Err("the identity's hosts do not name the organisation".into());
        }
        let signed = self.identities.sign_in_for_operations(&target.identity, url);
        let credential = match signed.await? {
            Signed::Bearer(token) => Credential::Bearer(token),
            Signed::Request(request) => Credential::Fetched {
                tokens: Arc::clone(self.identities.tokens()),
                request,
            },
        };
        let (http, organization) = (self.http.clone(), target.organization.clone());
        Ok(Dataverse::behind(
            &self.gates,
            http,
            organization,
            credential,
            self.timeouts,
        ))
    }
}

fn said(target: &Target, problem: &str) {
    tracing::warn!(
        organization = target.organization.as_str(),
        identity = target.identity,
        problem,
        "not every message about ended runs was published; trying again in a while"
    );
}

fn signed(back: Duration) -> SignedDuration {
    SignedDuration::try_from(back).unwrap_or(SignedDuration::MAX)
}
