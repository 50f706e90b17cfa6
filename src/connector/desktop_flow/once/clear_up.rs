//! A start of which nobody knows what became: out comes its run, or the certainty that there is none.
//!
//! The request may still lie in a queue of the server although its sender is gone, and a fresh row may be unreadable for a
//! while. So: look at once (a run that is there can be adopted), go on looking until the start can no longer be executed,
//! and look once more when every row must be readable. Only then is "none" an answer. Without a token nothing is
//! concluded at all: two equal tasks at the same time must not adopt each other's run.

use std::time::Duration;

use serde_json::Map;
use tokio::time::{Instant, sleep};

use super::{Carrier, Starter, refusals, texts};
use crate::microsoft::Class;
use crate::microsoft::dataverse::Error;
use crate::microsoft::dataverse::search::Candidate;
use crate::outcome::JobError;
use crate::progress::Step;
use crate::runs::journal::Intent;
use crate::runs::token::Token;

use super::texts::LookAlike;

/// The first pause between two looks; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// How long Dataverse may be unable to say what there is before the job goes back to the engine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Look-alikes whose inputs are read.
const MOST_READ: usize = 10;
const MOST_INPUTS: usize = 4 * 1024 * 1024;

impl Starter<'_> {
    /// Finds the run of an open start. `from` is a moment at which its sender had surely given it up, or lost the job.
    ///
    /// # Errors
    /// The incident with which a person is asked; a failure where Dataverse cannot be asked; [`super::super::abandoned`].
    pub(super) async fn clear_up(&self, intent: &Intent, from: Instant) -> Result<Option<Candidate>, JobError> {
        let settled = from + self.once.settings.settles_within(intent.may_take);
        // Only waiting is left: others may use the place.
        let parked = self.call.place.park();
        let result = match &intent.carrier {
            None => self.ask(intent, settled).await.map(|never| match never {}),
            Some(carrier) => self.search_until(intent, carrier.clone(), settled).await,
        };
        if parked {
            self.call.place.resume().await;
        }
        if let Ok(found) = &result {
            self.report(Step::StartClearedUp {
                run: found.as_ref().map(|run| run.id.to_string()),
            });
        }
        result
    }

    async fn search_until(
        &self,
        intent: &Intent,
        carrier: Carrier,
        settled: Instant,
    ) -> Result<Option<Candidate>, JobError> {
        let Some(token) = Token::parse(&intent.token) else {
            return Err(texts::damaged_journal(crate::runs::journal::INTENT, "token"));
        };
        let search = self.search(token.stable().clone(), carrier, intent.flow, Some(intent.since));
        let mut pause = FIRST_PAUSE;
        let mut after_settling = false;
        let visible = settled + self.once.settings.visibility;
        loop {
            let looked_at = Instant::now();
            match self.unless_abandoned(async { Ok(self.look(&search).await) }).await? {
                Ok(seen) => {
                    if !seen.runs.is_empty() {
                        let aftercare = self.aftercare(search);
                        let counts = aftercare.cancel_late(seen).await;
                        // A second start may have been under way as well.
                        self.once.disputed.spawn(async move { aftercare.watch(true).await });
                        return Ok(counts);
                    }
                    // The first look after the settle time has to be followed by one after the visibility bound.
                    if looked_at >= visible && after_settling {
                        return Ok(None);
                    }
                    after_settling |= looked_at >= settled;
                }
                Err(error) if error.class() == Class::SomeoneMustFixIt => {
                    let why = format!("Looking for its run failed: {error}.");
                    return Err(texts::unclear(self.call.job, intent, &why, Err(error.to_string())));
                }
                Err(error) if Instant::now() > visible + PATIENCE => {
                    return Err(refusals::job_error("Looking for the run of an earlier start", &error));
                }
                Err(error) => {
                    tracing::debug!(job = self.call.job.key, %error, "cannot look for the run at the moment");
                    let asked = error.retry_after().unwrap_or(FIRST_PAUSE);
                    self.pause(Instant::now() + asked).await?;
                    continue;
                }
            }
            let next = if after_settling {
                visible
            } else {
                settled.min(Instant::now() + pause)
            };
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.pause(next).await?;
        }
    }

    /// Without a token: waits until nothing can happen any more, and asks a person.
    async fn ask(&self, intent: &Intent, settled: Instant) -> Result<std::convert::Infallible, JobError> {
        if !intent.asked {
            let visible = settled + self.once.settings.visibility;
            self.pause(visible).await?;
        }
        let look_alikes = self
            .unless_abandoned(async { Ok(self.patient_look_alikes(intent).await) })
            .await?;
        let why = "Nothing that was sent with the start tells its run from others (no callback URL, no `tokenInput`, no \
                   token_url in the settings).";
        Err(texts::unclear(self.call.job, intent, why, look_alikes))
    }

    async fn patient_look_alikes(&self, intent: &Intent) -> Result<Vec<LookAlike>, String> {
        let began = Instant::now();
        loop {
            match self.look_alikes(intent).await {
                Ok(found) => return Ok(found),
                Err(error) if error.class() == Class::SomeoneMustFixIt || began.elapsed() > PATIENCE => {
                    return Err(error.to_string());
                }
                Err(error) => sleep(error.retry_after().unwrap_or(FIRST_PAUSE)).await,
            }
        }
    }

    async fn look_alikes(&self, intent: &Intent) -> Result<Vec<LookAlike>, Error> {
        let margin = jiff::SignedDuration::from_mins(2);
        let since = intent.since.saturating_sub(margin).unwrap_or(intent.since);
        let found = self.dataverse.runs_of_flow(&intent.flow, Some(since)).await?;
        let mut look_alikes = Vec::new();
        for (index, run) in found.runs.into_iter().enumerate() {
            let same_inputs = if index < MOST_READ {
                self.same_inputs(intent, &run).await
            } else {
                None
            };
            look_alikes.push(LookAlike { run, same_inputs });
        }
        // Those that may be it come first.
        look_alikes.sort_by_key(|one| match one.same_inputs {
            Some(true) => 0,
            None => 1,
            Some(false) => 2,
        });
        Ok(look_alikes)
    }

    async fn same_inputs(&self, intent: &Intent, run: &Candidate) -> Option<bool> {
        let bytes = self.dataverse.run_inputs(&run.id, MOST_INPUTS).await.ok()?;
        let digest = match bytes {
            None => None,
            Some(bytes) => Some(self.digest(std::str::from_utf8(&bytes).ok()?)),
        };
        Some(digest == intent.inputs)
    }

    /// Digest of inputs whatever the order and the spacing in which they are written.
    pub(super) fn digest(&self, inputs: &str) -> String {
        let sorted = serde_json::from_str::<serde_json::Value>(inputs).map(|mut inputs| {
            inputs.sort_all_objects();
            inputs.to_string()
        });
        self.once.settings.tokens.digest(sorted.as_deref().unwrap_or(inputs))
    }

    /// What is noted when a start was surely not executed: nobody has to clear it up.
    pub(super) fn nothing_open() -> Map<String, serde_json::Value> {
        Map::from_iter([(crate::runs::journal::INTENT.to_owned(), serde_json::Value::Null)])
    }
}
