//! The gateway protocol over the state machine: requests are checked as Zeebe's gateway checks them and become
//! commands; what the machine answers becomes responses and statuses.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};

use super::clients::{Departure, PushedJobs};
use super::delivery::{Activation, DEFAULT_TENANT};
use super::driver::{Handle, Stopped};
use super::job_stream::job_stream;
use super::jobs::{Failure, ThrownError};
use super::machine::Machine;
use super::messages::Publication;
use super::rejection::{Rejection, RejectionKind};
use super::requests::{check_tenants, parse_document, process_metadata, selector};
use super::settings::Settings;
use crate::engine::gateway as protocol;

/// The service that a gRPC server serves.
pub(super) struct Gateway {
    pub(super) machine: Handle,
    pub(super) settings: Arc<Settings>,
    /// Port that `Topology` names.
    pub(super) port: u16,
}

impl From<Stopped> for Status {
    fn from(stopped: Stopped) -> Self {
        Status::unavailable(stopped.to_string())
    }
}

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        let code = match rejection.kind {
            RejectionKind::InvalidArgument => Code::InvalidArgument,
            RejectionKind::NotFound => Code::NotFound,
            RejectionKind::AlreadyExists => Code::AlreadyExists,
            RejectionKind::InvalidState => Code::FailedPrecondition,
            RejectionKind::ResourceExhausted => Code::ResourceExhausted,
            RejectionKind::ExceededBatchRecordSize => Code::Unknown,
        };
        Status::new(code, rejection.to_string())
    }
}

impl Gateway {
    /// The request's message, unless it is larger than the gateway takes.
    fn admit<T: prost::Message>(&self, request: Request<T>) -> Result<T, Status> {
        let message = request.into_inner();
        let size = message.encoded_len();
        let limit = self.settings.max_message_size;
        if size > limit {
            return Err(Status::resource_exhausted(format!(
                "gRPC message exceeds maximum size {limit}: {size}"
            )));
        }
        Ok(message)
    }

    /// A document of a request. The engine writes it twice into one batch of its log, so half a message is the most.
    fn document(&self, intent: &'static str, text: &str) -> Result<Map<String, Value>, Status> {
        if text.len() > self.settings.max_message_size / 2 {
            let reason = format!(
                "Expected a document of at most {} bytes",
                self.settings.max_message_size / 2
            );
            return Err(Rejection::new(intent, RejectionKind::ExceededBatchRecordSize, reason).into());
        }
        parse_document(text)
    }

    async fn command<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Machine) -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Status> {
        Ok(self.machine.ask(command).await??)
    }
}

#[tonic::async_trait]
impl protocol::gateway_server::Gateway for Gateway {
    async fn stream_activated_jobs(
        &self,
        request: Request<protocol::StreamActivatedJobsRequest>,
    ) -> Result<Response<BoxStream<protocol::ActivatedJob>>, Status> {
        let request = self.admit(request)?;
        if request.r#type.trim().is_empty() {
            return Err(Status::invalid_argument(
                "Expected to stream activated jobs with type to be present, but it was blank",
            ));
        }
        if request.timeout < 1 {
            return Err(Status::invalid_argument(format!(
                "Expected to stream activated jobs with timeout to be greater than zero, but it was {}",
                request.timeout
            )));
        }
        check_tenants("StreamActivatedJobs", &request.tenant_ids)?;
        let activation = Activation {
            job_type: request.r#type,
            worker: request.worker,
            timeout: request.timeout,
            fetch_variables: request.fetch_variable,
            with_lease: request.with_lease,
        };
        let mut departure = Departure {
            machine: self.machine.clone(),
            job_type: activation.job_type.clone(),
            key: None,
            close: Machine::close_stream,
        };
        let (client, mut jobs) = job_stream(self.settings.stream_buffer);
        let key = self
            .machine
            .ask(move |machine| machine.open_stream(activation, client))
            .await?;
        departure.key = Some(key);
        // Zeebe's gateway sends response headers together with the first job, so the response is held back until then.
        let first = jobs.next().await.ok_or(Stopped)?;
        Ok(Response::new(Box::pin(PushedJobs::new(first, jobs, departure))))
    }

    async fn activate_jobs(
        &self,
        request: Request<protocol::ActivateJobsRequest>,
    ) -> Result<Response<BoxStream<protocol::ActivateJobsResponse>>, Status> {
        let request = self.admit(request)?;
        let refuse = |what: &str| {
            let reason = format!("Expected to activate job batch with {what}");
            Status::from(Rejection::invalid_argument("ACTIVATE", reason))
        };
        if request.r#type.trim().is_empty() {
            return Err(refuse("type to be present, but it was blank"));
        }
        if request.timeout < 1 {
            return Err(refuse(&format!(
                "timeout to be greater than zero, but it was '{}'",
                request.timeout
            )));
        }
        let max_jobs = usize::try_from(request.max_jobs_to_activate).unwrap_or(0);
        if max_jobs == 0 {
            return Err(refuse(&format!(
                "max jobs to activate to be greater than zero, but it was '{}'",
                request.max_jobs_to_activate
            )));
        }
        check_tenants("ActivateJobs", &request.tenant_ids)?;
        let wait = match request.request_timeout {
            0 => i64::try_from(self.settings.long_poll.as_millis()).unwrap_or(i64::MAX),
            given => given,
        };
        let activation = Activation {
            job_type: request.r#type,
            worker: request.worker,
            timeout: request.timeout,
            fetch_variables: request.fetch_variable,
            with_lease: request.with_lease,
        };
        let mut departure = Departure {
            machine: self.machine.clone(),
            job_type: activation.job_type.clone(),
            key: None,
            close: Machine::close_poll,
        };
        let (answer, answered) = oneshot::channel();
        let key = self
            .machine
            .ask(move |machine| machine.poll(activation, max_jobs, wait, answer))
            .await?;
        departure.key = key;
        let jobs = answered.await.map_err(|_| Stopped)?;
        departure.key = None;
        let batch = (!jobs.is_empty()).then_some(protocol::ActivateJobsResponse { jobs });
        Ok(Response::new(Box::pin(futures_util::stream::iter(batch.map(Ok)))))
    }

    async fn complete_job(
        &self,
        request: Request<protocol::CompleteJobRequest>,
    ) -> Result<Response<protocol::CompleteJobResponse>, Status> {
        let request = self.admit(request)?;
        let variables = self.document("COMPLETE", &request.variables)?;
        self.command(move |machine| machine.complete_job(request.job_key, variables, request.lease_token.as_deref()))
            .await?;
        Ok(Response::new(protocol::CompleteJobResponse {}))
    }

    async fn fail_job(
        &self,
        request: Request<protocol::FailJobRequest>,
    ) -> Result<Response<protocol::FailJobResponse>, Status> {
        let request = self.admit(request)?;
        let failure = Failure {
            retries: request.retries,
            message: request.error_message,
            backoff: request.retry_back_off,
            variables: self.document("FAIL", &request.variables)?,
        };
        self.command(move |machine| machine.fail_job(request.job_key, failure, request.lease_token.as_deref()))
            .await?;
        Ok(Response::new(protocol::FailJobResponse {}))
    }

    async fn throw_error(
        &self,
        request: Request<protocol::ThrowErrorRequest>,
    ) -> Result<Response<protocol::ThrowErrorResponse>, Status> {
        let request = self.admit(request)?;
        let error = ThrownError {
            code: request.error_code,
            message: request.error_message,
            variables: self.document("THROW_ERROR", &request.variables)?,
        };
        self.command(move |machine| machine.throw_error(request.job_key, error, request.lease_token.as_deref()))
            .await?;
        Ok(Response::new(protocol::ThrowErrorResponse {}))
    }

    async fn update_job_timeout(
        &self,
        request: Request<protocol::UpdateJobTimeoutRequest>,
    ) -> Result<Response<protocol::UpdateJobTimeoutResponse>, Status> {
        let request = self.admit(request)?;
        self.command(move |machine| {
            machine.update_job_timeout(request.job_key, request.timeout, request.lease_token.as_deref())
        })
        .await?;
        Ok(Response::new(protocol::UpdateJobTimeoutResponse {}))
    }

    async fn update_job_retries(
        &self,
        request: Request<protocol::UpdateJobRetriesRequest>,
    ) -> Result<Response<protocol::UpdateJobRetriesResponse>, Status> {
        let request = self.admit(request)?;
        self.command(move |machine| {
            machine.update_job_retries(request.job_key, request.retries, request.lease_token.as_deref())
        })
        .await?;
        Ok(Response::new(protocol::UpdateJobRetriesResponse {}))
    }

    async fn set_variables(
        &self,
        request: Request<protocol::SetVariablesRequest>,
    ) -> Result<Response<protocol::SetVariablesResponse>, Status> {
        let request = self.admit(request)?;
        let variables = self.document("UPDATE", &request.variables)?;
        let key = self
            .command(move |machine| machine.set_variables(request.element_instance_key, variables, request.local))
            .await?;
        Ok(Response::new(protocol::SetVariablesResponse { key }))
    }

    async fn topology(
        &self,
        _: Request<protocol::TopologyRequest>,
    ) -> Result<Response<protocol::TopologyResponse>, Status> {
        let partition = protocol::Partition {
            partition_id: 1,
            role: protocol::partition::PartitionBrokerRole::Leader.into(),
            health: protocol::partition::PartitionBrokerHealth::Healthy.into(),
        };
        let broker = protocol::BrokerInfo {
            node_id: 0,
            host: "localhost".to_owned(),
            port: i32::from(self.port),
            partitions: vec![partition],
            version: self.settings.gateway_version.clone(),
        };
        Ok(Response::new(protocol::TopologyResponse {
            brokers: vec![broker],
            cluster_size: 1,
            partitions_count: 1,
            replication_factor: 1,
            gateway_version: self.settings.gateway_version.clone(),
            cluster_id: "sandbox".to_owned(),
        }))
    }

    async fn deploy_resource(
        &self,
        request: Request<protocol::DeployResourceRequest>,
    ) -> Result<Response<protocol::DeployResourceResponse>, Status> {
        let request = self.admit(request)?;
        check_tenants("DeployResource", std::slice::from_ref(&request.tenant_id))?;
        let files = request
            .resources
            .into_iter()
            .map(|file| (file.name, file.content))
            .collect();
        let (key, deployed) = self.command(move |machine| machine.deploy(files)).await?;
        let deployments = deployed
            .iter()
            .map(|definition| protocol::Deployment {
                metadata: Some(protocol::deployment::Metadata::Process(process_metadata(definition))),
            })
            .collect();
        Ok(Response::new(protocol::DeployResourceResponse {
            key,
            deployments,
            tenant_id: DEFAULT_TENANT.to_owned(),
        }))
    }

    async fn create_process_instance(
        &self,
        request: Request<protocol::CreateProcessInstanceRequest>,
    ) -> Result<Response<protocol::CreateProcessInstanceResponse>, Status> {
        let request = self.admit(request)?;
        check_tenants("CreateProcessInstance", std::slice::from_ref(&request.tenant_id))?;
        let variables = self.document("CREATE", &request.variables)?;
        let which = selector(&request)?;
        let (instance, definition) = self
            .command(move |machine| machine.create_instance(&which, variables))
            .await?;
        Ok(Response::new(protocol::CreateProcessInstanceResponse {
            process_definition_key: definition.key,
            bpmn_process_id: definition.process.id.clone(),
            version: definition.version,
            process_instance_key: instance,
            tenant_id: DEFAULT_TENANT.to_owned(),
        }))
    }

    async fn create_process_instance_with_result(
        &self,
        request: Request<protocol::CreateProcessInstanceWithResultRequest>,
    ) -> Result<Response<protocol::CreateProcessInstanceWithResultResponse>, Status> {
        let protocol::CreateProcessInstanceWithResultRequest {
            request,
            request_timeout,
            fetch_variables,
        } = self.admit(request)?;
        let request = request.unwrap_or_default();
        check_tenants(
            "CreateProcessInstanceWithResult",
            std::slice::from_ref(&request.tenant_id),
        )?;
        let variables = self.document("CREATE", &request.variables)?;
        let which = selector(&request)?;
        let wait = if request_timeout > 0 {
            request_timeout
        } else {
            i64::try_from(self.settings.result_timeout.as_millis()).unwrap_or(i64::MAX)
        };
        let (result, outcome) = oneshot::channel();
        let (instance, definition) = self
            .command(move |machine| machine.create_instance_with_result(&which, variables, wait, result))
            .await?;
        let Some(mut variables) = outcome.await.map_err(|_| Stopped)? else {
            return Err(Status::deadline_exceeded(format!(
                "Time out between gateway and broker: process instance {instance} has no result after {wait} ms"
            )));
        };
        if !fetch_variables.is_empty() {
            variables.retain(|name, _| fetch_variables.contains(name));
        }
        Ok(Response::new(protocol::CreateProcessInstanceWithResultResponse {
            process_definition_key: definition.key,
            bpmn_process_id: definition.process.id.clone(),
            version: definition.version,
            process_instance_key: instance,
            variables: Value::Object(variables).to_string(),
            tenant_id: DEFAULT_TENANT.to_owned(),
        }))
    }

    async fn cancel_process_instance(
        &self,
        request: Request<protocol::CancelProcessInstanceRequest>,
    ) -> Result<Response<protocol::CancelProcessInstanceResponse>, Status> {
        let instance = self.admit(request)?.process_instance_key;
        self.command(move |machine| machine.cancel_instance(instance)).await?;
        Ok(Response::new(protocol::CancelProcessInstanceResponse {}))
    }

    async fn publish_message(
        &self,
        request: Request<protocol::PublishMessageRequest>,
    ) -> Result<Response<protocol::PublishMessageResponse>, Status> {
        let request = self.admit(request)?;
        check_tenants("PublishMessage", std::slice::from_ref(&request.tenant_id))?;
        let publication = Publication {
            variables: self.document("PUBLISH", &request.variables)?,
            name: request.name,
            correlation_key: request.correlation_key,
            id: request.message_id,
            time_to_live: request.time_to_live,
        };
        let key = self
            .command(move |machine| machine.publish_message(publication))
            .await?;
        Ok(Response::new(protocol::PublishMessageResponse {
            key,
            tenant_id: DEFAULT_TENANT.to_owned(),
        }))
    }

    async fn resolve_incident(
        &self,
        request: Request<protocol::ResolveIncidentRequest>,
    ) -> Result<Response<protocol::ResolveIncidentResponse>, Status> {
        let incident = self.admit(request)?.incident_key;
        self.command(move |machine| machine.resolve_incident(incident)).await?;
        Ok(Response::new(protocol::ResolveIncidentResponse {}))
    }
}
