//! What operations may set about starts, and the guards that the campaign switches off to prove that each is needed.

use std::time::Duration;

use crate::runs::token::Tokens;

/// How starts are kept from happening twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Makes the tokens. Every replica needs the same namespace and key.
    pub tokens: Tokens,
    /// Where our own callback receiver is reached, without a final slash; the token becomes the last part of the path.
    pub callback_url: Option<String>,
    /// A callback URL for tasks that have none, when there is no receiver: it carries the token and need not do anything.
    pub token_url: Option<String>,
    /// May the token be appended to the callback URL that a task names?
    pub append_token: bool,
    /// How long a start may still be executed after nobody waits for it any more. `None`: the start's own total timeout
    /// and two minutes, which is Dataverse's own limit for an action.
    pub settle_time: Option<Duration>,
    /// How long the row of a run may be unreadable after the run was accepted.
    pub visibility: Duration,
    /// When to look for a run before the first start of a task.
    pub look_first: LookFirst,
    /// Of the campaign alone.
    pub guards: Guards,
}

/// When to look for a run before the first start of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookFirst {
    /// When anything hints at an earlier start.
    WhenUncertain,
    /// Always: after the engine was restored from a backup, its journal may be older than the runs.
    Always,
}

/// What stands between a task and a second run. All are up, always; the campaign takes one down at a time to show that it
/// then finds runs that were started twice. No setting reaches them.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    pub intent: bool,
    pub settle: bool,
    pub look: bool,
    pub lease: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            intent: true,
            settle: true,
            look: true,
            lease: true,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tokens: Tokens::new("", None),
            callback_url: None,
            token_url: None,
            append_token: true,
            settle_time: None,
            visibility: Duration::from_secs(30),
            look_first: LookFirst::WhenUncertain,
            guards: Guards::default(),
        }
    }
}

/// Dataverse gives an action two minutes.
const SERVERS_LIMIT: Duration = Duration::from_secs(120);

impl Settings {
    /// How long a start with this total timeout may still be executed.
    pub(super) fn settles_within(&self, may_take: Duration) -> Duration {
        if self.guards.settle {
            self.settle_time.unwrap_or(may_take + SERVERS_LIMIT)
        } else {
            Duration::ZERO
        }
    }
}
