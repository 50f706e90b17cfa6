//! What the gateway checks and translates before a request becomes a command: documents, tenants, names of processes.

use serde_json::{Map, Value};
use tonic::Status;

use super::definitions::{Definition, Selector};
use super::delivery::DEFAULT_TENANT;
use super::rejection::Rejection;
use crate::engine::gateway as protocol;

pub(super) fn parse_document(text: &str) -> Result<Map<String, Value>, Status> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(variables)) => Ok(variables),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(other) => Err(Status::invalid_argument(format!(
            "Property 'variables' is invalid: Expected document to be a root level object, but was '{}'",
            match other {
                Value::Array(_) => "ARRAY",
                Value::String(_) => "STRING",
                Value::Number(_) => "INTEGER",
                _ => "BOOLEAN",
            }
        ))),
        Err(_) => {
            let shown: String = text.chars().take(100).collect();
            Err(Status::invalid_argument(format!("Invalid JSON value: {shown}")))
        }
    }
}

pub(super) fn check_tenants(call: &str, tenants: &[String]) -> Result<(), Status> {
    match tenants
        .iter()
        .find(|tenant| !tenant.is_empty() && *tenant != DEFAULT_TENANT)
    {
        None => Ok(()),
        Some(tenant) => Err(Status::invalid_argument(format!(
            "Expected to handle gRPC request {call} with tenant identifier '{tenant}', but multi-tenancy is disabled"
        ))),
    }
}

pub(super) fn selector(request: &protocol::CreateProcessInstanceRequest) -> Result<Selector, Rejection> {
    if !request.bpmn_process_id.is_empty() {
        let version = (request.version >= 0).then_some(request.version);
        return Ok(Selector::Id(request.bpmn_process_id.clone(), version));
    }
    if request.process_definition_key >= 0 {
        return Ok(Selector::Key(request.process_definition_key));
    }
    Err(Rejection::invalid_argument(
        "CREATE",
        "Expected at least a bpmnProcessId or a key greater than -1, but none given",
    ))
}

pub(super) fn process_metadata(definition: &Definition) -> protocol::ProcessMetadata {
    protocol::ProcessMetadata {
        bpmn_process_id: definition.process.id.clone(),
        version: definition.version,
        process_definition_key: definition.key,
        resource_name: definition.resource_name.clone(),
        tenant_id: DEFAULT_TENANT.to_owned(),
    }
}
