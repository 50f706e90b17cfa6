//! Expressions that may take long leave the reactor, so that no heartbeat waits for them.
//!
//! Almost every evaluation takes microseconds and is tried at once, with the [`Patience`] of a few milliseconds; what is
//! not done by then, and what has much to read, goes to a thread that may block.

use std::cell::Cell;
use std::time::Duration;

use super::{Mapper, Plan};
use crate::connector::Response;
use crate::feel::Settings;
use crate::job::Headers;
use crate::outcome::JobError;

/// Steps and time of the first try: less than 5 ms on any machine that a worker runs on.
const FIRST_FUEL: u64 = 20_000;
const FIRST_DEADLINE: Duration = Duration::from_millis(2);

/// Texts from this many bytes on are not read on the reactor: reading takes about 1 ms for each 100 KB.
const LARGE_RESPONSE: usize = 256 * 1024;

/// Expressions from this many bytes on are not parsed there.
const LONG_EXPRESSION: usize = 16 * 1024;

impl Mapper {
    /// As [`Mapper::plan`]; long expressions are parsed elsewhere.
    ///
    /// # Errors
    /// Those of [`Mapper::plan`].
    pub async fn plan_patiently(&self, headers: &Headers) -> Result<Plan, JobError> {
        let expressions = [&headers.result_expression, &headers.error_expression];
        let long = |text: &&String| text.len() >= LONG_EXPRESSION && self.programs.find(text).is_none();
        if !expressions.into_iter().flatten().any(|text| long(&text)) {
            return self.plan(headers);
        }
        let (mapper, headers) = (self.clone(), headers.clone());
        let parsed = tokio::task::spawn_blocking(move || mapper.plan(&headers)).await;
        parsed.unwrap_or_else(|_panic| Err(JobError::internal(DEFECT)))
    }
}

/// What a panic becomes: its payload may hold anything, so it is not shown.
const DEFECT: &str = "deskhand has a defect that broke off the expressions of this job; its log names the place.";

/// How long evaluations may take: as long as their limits allow, or no longer than a reactor can wait.
#[derive(Debug, Default)]
pub struct Patience {
    short: bool,
    ran_out: Cell<bool>,
}

impl Patience {
    /// What the limits allow.
    pub fn full() -> Patience {
        Patience::default()
    }

    /// A few milliseconds; `None` for a result that cannot be read in so little time.
    pub fn short(result: &Result<Response, JobError>) -> Option<Patience> {
        let large = result
            .as_ref()
            .is_ok_and(|response| response.unread_bytes() >= LARGE_RESPONSE);
        (!large).then(|| Patience {
            short: true,
            ran_out: Cell::new(false),
        })
    }

    /// Whether an evaluation was broken off although its own limits would have let it go on.
    pub fn has_run_out(&self) -> bool {
        self.ran_out.get()
    }

    pub(super) fn limit_reached(&self) {
        self.ran_out.set(self.short);
    }

    pub(super) fn settings(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        if self.short {
            settings.limits = settings.limits.at_most(FIRST_FUEL, FIRST_DEADLINE);
        }
        settings
    }
}
