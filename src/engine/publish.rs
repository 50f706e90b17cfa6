//! Messages out: a message for the engine goes in, and is offered until the engine has it.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};

use super::Commands;
use super::channel::CALL_TIMEOUT;
use super::commands::json;
use super::gateway::PublishMessageRequest;
use super::intake::{Reason, millis};
use crate::message::{Message, Published};
use crate::metrics::metrics;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Commands {
    /// Publishes a message, again and again until the engine answered or `until` has passed. Its id makes a repeated try
    /// harmless.
    pub async fn publish(&self, message: &Message, until: Instant) -> Published {
        let published = self.publish_until(message, until).await;
        metrics().message(published.label());
        published
    }

    async fn publish_until(&self, message: &Message, until: Instant) -> Published {
        let mut pause = FIRST_PAUSE;
        loop {
            let status = match tokio::time::timeout(CALL_TIMEOUT, self.offer(message)).await {
                Ok(Ok(())) => return Published::New,
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer to the message"),
            };
            if let Some(published) = verdict(&status) {
                return published;
            }
            self.engine.authority.heard(&status);
            let jittered = pause.mul_f64(0.5 + fastrand::f64());
            if Instant::now() + jittered >= until {
                return Published::Unheard(Reason(&status).to_string());
            }
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn offer(&self, message: &Message) -> Result<(), Status> {
        let request = PublishMessageRequest {
            name: message.name.clone(),
            correlation_key: message.correlation_key.clone(),
            time_to_live: millis(message.time_to_live),
            message_id: message.id.clone(),
            variables: json(&message.variables),
            tenant_id: message.tenant_id.clone(),
        };
        let request = self.engine.authority.authorize(request).await?;
        self.engine.unary.clone().publish_message(request).await.map(drop)
    }
}

/// `None`: it is offered again.
fn verdict(status: &Status) -> Option<Published> {
    let text = || Reason(status).to_string();
    match status.code() {
        Code::AlreadyExists => Some(Published::Already),
        // A wrong name or tenant, or too large in one of the shapes that were seen of the commands about jobs.
        Code::InvalidArgument | Code::OutOfRange => Some(Published::Refused(text())),
        Code::ResourceExhausted if status.message().contains("message exceeds maximum size") => {
            Some(Published::Refused(text()))
        }
        Code::Unknown if status.message().contains("EXCEEDED_BATCH_RECORD_SIZE") => Some(Published::Refused(text())),
        Code::PermissionDenied | Code::NotFound | Code::FailedPrecondition => Some(Published::Denied(text())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_there_is_done_and_a_busy_engine_is_asked_again() {
        let of = |code, text: &str| verdict(&Status::new(code, text));
        assert_eq!(of(Code::AlreadyExists, ""), Some(Published::Already));
        assert!(matches!(of(Code::InvalidArgument, ""), Some(Published::Refused(_))));
        assert!(matches!(of(Code::PermissionDenied, ""), Some(Published::Denied(_))));
        assert_eq!(of(Code::ResourceExhausted, "backpressure"), None);
        let large = "gRPC message exceeds maximum size 4194304: 5000000";
        assert!(matches!(
            of(Code::ResourceExhausted, large),
            Some(Published::Refused(_))
        ));
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Unauthenticated,
            Code::Internal,
        ] {
            assert_eq!(of(code, ""), None, "{code:?}");
        }
    }
}
