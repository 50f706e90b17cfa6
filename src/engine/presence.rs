//! Is an element of a process still there? The gateway protocol has no command that only reads; setting no variable at
//! all comes closest: the engine looks for the element, refuses with NOT_FOUND where it is gone, and changes nothing where
//! it is there (the contract with the engine has a test of it).

use std::time::Duration;

use tonic::{Code, Status};

use super::Engine;
use super::channel::CALL_TIMEOUT;
use super::gateway::SetVariablesRequest;

/// Tries while the engine is too busy to say.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Is this element instance (an entry into a task, or a whole process instance) there?
    ///
    /// # Errors
    /// The gRPC status when the engine cannot say, or does not let us ask.
    pub async fn has_element_instance(&self, key: i64) -> Result<bool, Status> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let status = match self.set_nothing(key).await {
                Ok(()) => return Ok(true),
                Err(status) if status.code() == Code::NotFound => return Ok(false),
                Err(status) => status,
            };
            self.authority.heard(&status);
            let may_pass = matches!(status.code(), Code::ResourceExhausted | Code::Unavailable);
            if attempt >= TRIES || !may_pass {
                return Err(status);
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause *= 2;
        }
        Err(Status::internal("tried without end"))
    }

    async fn set_nothing(&self, key: i64) -> Result<(), Status> {
        let request = SetVariablesRequest {
            element_instance_key: key,
            variables: "{}".into(),
            local: true,
            operation_reference: None,
        };
        let call = async {
            let request = self.authority.authorize(request).await?;
            self.unary.clone().set_variables(request).await.map(drop)
        };
        tokio::time::timeout(CALL_TIMEOUT, call)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer within 20 s")))
    }
}
