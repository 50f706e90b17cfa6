//! Messages about ended runs: what the connectors' outboxes find goes to the engine while the worker works.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::Pipeline;
use crate::connector::desktop_flow::outbox::{Outbox, Publisher};
use crate::engine::Commands;
use crate::message::{Message, Published};

/// How long one message is offered to an engine that does not take it; the next look finds it again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a defect.
const PAUSE: Duration = Duration::from_secs(1);

struct ToEngine(Commands);

impl Publisher for ToEngine {
    fn publish<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Published> {
        Box::pin(self.0.publish(message, Instant::now() + PATIENCE))
    }
}

/// Publishes until it is dropped.
pub(super) async fn publish(commands: Commands, pipeline: Arc<Pipeline>) {
    let outboxes = pipeline.connectors().filter_map(|connector| connector.outbox());
    let all = outboxes.map(|outbox| supervised(outbox, commands.clone()));
    futures_util::future::join_all(all).await;
}

/// Should it panic, it is begun again, and the defect is said.
async fn supervised(outbox: Outbox, commands: Commands) {
    loop {
        let (outbox, commands) = (outbox.clone(), commands.clone());
        // Ends with us: a set aborts what is in it when it is dropped.
        let mut one = tokio::task::JoinSet::new();
        one.spawn(async move { outbox.run(&ToEngine(commands)).await });
        let ended = one.join_next().await;
        if let Some(Err(defect)) = ended {
            tracing::error!(
                panic = defect.is_panic(),
                "publishing messages about ended runs broke; beginning again"
            );
        }
        sleep(PAUSE).await;
    }
}
