//! Operations that look things up: `findFlow`, `getFlowSchema`, `listRuns`. Their responses are for people and for
//! processes that choose what to run.

use serde_json::{Map, Value, json};

use super::input::{FlowChoice, RunListing};
use super::{Session, refusals};
use crate::connector::Response;
use crate::microsoft::dataverse::rows::RowsQuery;
use crate::microsoft::dataverse::{Guid, Status};
use crate::outcome::JobError;

impl Session<'_> {
    /// Gives `{workflowId}` of the only published flow with this name.
    pub(super) async fn find_flow(&self, name: String) -> Result<Response, JobError> {
        let id = self.flow(&FlowChoice::Name(name)).await?;
        Ok(json!({ "workflowId": id }).into())
    }

    /// Gives `{workflowId, inputs, outputs}`: lists of `{name, type, description, default}`, empty for a flow that has none.
    pub(super) async fn get_flow_schema(&self, flow: &FlowChoice) -> Result<Response, JobError> {
        let id = self.flow(flow).await?;
        let doing = "Reading the schema of the desktop flow";
        let row = self.dataverse.workflow(&id).await;
        row.map_err(|error| refusals::job_error(doing, &error))?;
        let inputs = self.dataverse.workflow_inputs_schema(&id).await;
        let outputs = self.dataverse.workflow_outputs_schema(&id).await;
        let told = |schema: Result<Option<Value>, _>| {
            schema
                .map(|schema| parameters(schema.as_ref()))
                .map_err(|error| refusals::job_error(doing, &error))
        };
        Ok(json!({"workflowId": id, "inputs": told(inputs)?, "outputs": told(outputs)?}).into())
    }

    /// Gives `{runs, count, complete}`, newest first; a run is `{flowSessionId, workflowId, statusCode, status, createdOn,
    /// startedOn, completedOn, errorCode}`.
    pub(super) async fn list_runs(&self, listing: &RunListing) -> Result<Response, JobError> {
        let flow = match &listing.flow {
            Some(flow) => Some(self.flow(flow).await?),
            None => None,
        };
        let of_flow = flow.map(|flow| format!("_regardingobjectid_value eq {flow}"));
        let own = listing.filter.as_ref().map(|filter| format!("({filter})"));
        let conditions: Vec<String> = of_flow.into_iter().chain(own).collect();
        let query = RowsQuery {
            set: "flowsessions",
            select: "statuscode,createdon,startedon,completedon,errorcode,_regardingobjectid_value",
            filter: Some(conditions.join(" and ")).filter(|filter| !filter.is_empty()),
            order_by: Some("createdon desc"),
            limit: listing.limit,
        };
        let found = self.dataverse.rows(&query).await;
        let found = found.map_err(|error| refusals::job_error("Listing the runs", &error))?;
        let runs: Vec<Value> = found.rows.iter().map(run).collect();
        Ok(json!({"count": runs.len(), "complete": found.complete, "runs": runs}).into())
    }
}

fn run(row: &Map<String, Value>) -> Value {
    let given = |name: &str| row.get(name).cloned().unwrap_or(Value::Null);
    let status = row.get("statuscode").and_then(Value::as_i64).map(Status::from_code);
    let id = |name: &str| row.get(name).and_then(Value::as_str).and_then(Guid::parse);
    json!({
        "flowSessionId": id("flowsessionid"),
        "workflowId": id("_regardingobjectid_value"),
        "statusCode": status.map(Status::code),
        "status": status.map(Status::label),
        "createdOn": given("createdon"),
        "startedOn": given("startedon"),
        "completedOn": given("completedon"),
        "errorCode": given("errorcode"),
    })
}

/// The parameters of a schema, one after the other.
fn parameters(schema: Option<&Value>) -> Vec<Value> {
    let properties = schema
        .and_then(|schema| schema.get("properties"))
        .and_then(Value::as_object);
    let of = |(name, property): (&String, &Value)| {
        let given = |key: &str| property.get(key).filter(|value| **value != json!("")).cloned();
        json!({
            "name": name,
            "type": given("type"),
            "description": given("description"),
            "default": given("default"),
        })
    };
    properties.map(|all| all.iter().map(of).collect()).unwrap_or_default()
}
