//! Messages about ended runs: what the connectors' outboxes find goes to the engine while the worker works.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::Pipeline;
use crate::connector::desktop_flow::outbox::{Outbox, Publisher};
use crate::engine::Commands;
use crate::message::{Message, Published};
use crate::progress::{Progress, PublishPoint};

/// How long one message is offered to an engine that does not take it; the next look finds it again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a defect.
const PAUSE: Duration = Duration::from_secs(1);

struct ToEngine {
    commands: Commands,
    progress: Progress,
}

impl Publisher for ToEngine {
    fn publish<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Published> {
        Box::pin(async move {
            self.progress.report_message(message, PublishPoint::Publishing);
            let published = self.commands.publish(message, Instant::now() + PATIENCE).await;
            self.progress.report_message(message, PublishPoint::Published);
            published
        })
    }
}

/// Publishes until it is dropped.
pub(super) async fn publish(commands: Commands, pipeline: Arc<Pipeline>, progress: Progress) {
    let outboxes = pipeline.connectors().filter_map(|connector| connector.outbox());
    let all = outboxes.map(|outbox| {
        let publisher = ToEngine {
            commands: commands.clone(),
            progress: progress.clone(),
        };
        supervised(outbox, Arc::new(publisher))
    });
    futures_util::future::join_all(all).await;
}

/// Should it panic, it is begun again, and the defect is said.
async fn supervised(outbox: Outbox, publisher: Arc<ToEngine>) {
    loop {
        let (outbox, publisher) = (outbox.clone(), publisher.clone());
        // Ends with us: a set aborts what is in it when it is dropped.
        let mut one = tokio::task::JoinSet::new();
        one.spawn(async move { outbox.run(&*publisher).await });
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
