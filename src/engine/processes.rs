//! Deploying and starting processes: what the demo and the tests need beside a worker's calls.

use std::time::Duration;

use serde_json::Value;
use tonic::Status;

use super::Engine;
use super::channel::CALL_TIMEOUT;
use super::gateway::{
    CreateProcessInstanceRequest, CreateProcessInstanceWithResultRequest, DeployResourceRequest, Resource,
};
use super::intake::millis;

/// A process instance that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Key of the instance.
    pub process_instance_key: i64,
    /// The process's variables at its end.
    pub variables: Value,
}

impl Engine {
    /// Deploys resources, each with its file name, all or none.
    ///
    /// # Errors
    /// The gRPC status; INVALID_ARGUMENT tells what is wrong with a file.
    pub async fn deploy(&self, files: &[(&str, &str)]) -> Result<(), Status> {
        let resources = files
            .iter()
            .map(|(name, content)| Resource {
                name: (*name).to_owned(),
                content: content.as_bytes().to_vec(),
            })
            .collect();
        let message = DeployResourceRequest {
            resources,
            tenant_id: self.tenant(),
        };
        let request = self.authority.authorize(message).await?;
        tokio::time::timeout(CALL_TIMEOUT, self.unary.clone().deploy_resource(request))
            .await
            .map_err(|_| Status::deadline_exceeded("the deployment was not answered within 20 s"))??;
        Ok(())
    }

    /// Starts the newest version of a process and waits until it has ended.
    ///
    /// # Errors
    /// The gRPC status; DEADLINE_EXCEEDED when it has not ended in time (it goes on).
    pub async fn run_process(
        &self,
        process_id: &str,
        variables: &Value,
        patience: Duration,
    ) -> Result<Finished, Status> {
        let message = CreateProcessInstanceWithResultRequest {
            request: Some(CreateProcessInstanceRequest {
                bpmn_process_id: process_id.to_owned(),
                version: -1,
                variables: variables.to_string(),
                tenant_id: self.tenant(),
                ..CreateProcessInstanceRequest::default()
            }),
            request_timeout: millis(patience),
            fetch_variables: Vec::new(),
        };
        let request = self.authority.authorize(message).await?;
        // The gateway keeps the time; ours is the net below it.
        let answer = tokio::time::timeout(
            patience + Duration::from_secs(5),
            self.unary.clone().create_process_instance_with_result(request),
        )
        .await
        .map_err(|_| Status::deadline_exceeded("the process has not ended in time"))??
        .into_inner();
        let variables = serde_json::from_str(&answer.variables)
            .map_err(|error| Status::internal(format!("the engine's variables are not JSON: {error}")))?;
        Ok(Finished {
            process_instance_key: answer.process_instance_key,
            variables,
        })
    }

    fn tenant(&self) -> String {
        self.settings().tenant_ids.first().cloned().unwrap_or_default()
    }
}
