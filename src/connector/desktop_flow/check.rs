//! `checkConnection`: walks what must be in place before a flow can run, and tells of each step what to do about it.
//!
//! Nothing is started. What cannot be seen from outside (the password in the connection, a licence) is not claimed to be
//! right: only a run shows it.

use serde_json::{Value, json};

use super::Session;
use super::input::ConnectionCheck;
use crate::connector::Response;
use crate::microsoft::dataverse::Error;
use crate::microsoft::dataverse::quoted;
use crate::microsoft::dataverse::rows::RowsQuery;
use crate::outcome::JobError;

impl Session<'_> {
    /// Gives `{ok, checks}`; a check is `{check, ok, message}`, and `ok` is null where it cannot be told. A prerequisite
    /// that is missing is an answer here, not an error.
    pub(super) async fn check_connection(&self, wanted: &ConnectionCheck) -> Result<Response, JobError> {
        // Whoever gets here has signed in.
        let mut checks = vec![told("signIn", Some(true), "A token was issued.".into())];
        let readable = self.dataverse.rows(&probe("flowsessions", "statuscode", None)).await;
        checks.push(match &readable {
            Ok(_) => told(
                "applicationUser",
                Some(true),
                "The organisation knows the user that signs in, and lets it read runs.".into(),
            ),
            Err(error) => refused("applicationUser", error),
        });
        if let Some(flow) = &wanted.flow {
            checks.push(match self.flow(flow).await {
                Err(error) => told("flow", Some(false), error.message),
                Ok(id) => match self.dataverse.workflow(&id).await {
                    Ok(row) if row.get("statecode").and_then(Value::as_i64) == Some(0) => told(
                        "flow",
                        Some(false),
                        "The flow is a draft or turned off: publish it in Power Automate.".into(),
                    ),
                    Ok(_) => told(
                        "flow",
                        Some(true),
                        "The flow is there, and shared with the user.".into(),
                    ),
                    Err(error) => refused("flow", &error),
                },
            });
        }
        if let (Some(name), true) = (&wanted.connection_name, wanted.is_reference) {
            let filter = format!("connectionreferencelogicalname eq {}", quoted(name));
            let query = probe(
                "connectionreferences",
                "connectionreferencelogicalname,connectionid",
                Some(filter),
            );
            checks.push(match self.dataverse.rows(&query).await {
                Ok(found) => match found.rows.first() {
                    None => told(
                        "connectionReference",
                        Some(false),
                        "No connection reference has this logical name: check `connectionName`.".into(),
                    ),
                    Some(row) if row.get("connectionid").is_none_or(Value::is_null) => told(
                        "connectionReference",
                        Some(false),
                        "The connection reference leads to no connection: choose one in its solution.".into(),
                    ),
                    Some(_) => told(
                        "connectionReference",
                        Some(true),
                        "The reference leads to a connection.".into(),
                    ),
                },
                Err(error) => refused("connectionReference", &error),
            });
        }
        let machines = RowsQuery {
            limit: 100,
            ..probe("flowmachines", "name,statecode,lastheartbeatdate", None)
        };
        checks.push(match self.dataverse.rows(&machines).await {
            Ok(found) if found.rows.is_empty() => told(
                "machines",
                Some(false),
                "The user sees no machine: share the machine or its group with it.".into(),
            ),
            Ok(found) => {
                let names: Vec<&str> = found.rows.iter().filter_map(|row| row.get("name")?.as_str()).collect();
                told(
                    "machines",
                    Some(true),
                    format!("Machines that the user sees: {}.", names.join(", ")),
                )
            }
            // Not every environment has the table, and not every role may read it.
            Err(error) => told("machines", None, format!("Machines cannot be read: {error}")),
        });
        let ok = checks.iter().all(|check| check["ok"] != json!(false));
        Ok(json!({"ok": ok, "checks": checks}).into())
    }
}

fn probe(set: &'static str, select: &'static str, filter: Option<String>) -> RowsQuery {
    RowsQuery {
        set,
        select,
        filter,
        order_by: None,
        limit: 1,
    }
}

fn told(check: &str, ok: Option<bool>, message: String) -> Value {
    json!({"check": check, "ok": ok, "message": message})
}

fn refused(check: &str, error: &Error) -> Value {
    let hint = error
        .hint()
        .map(|hint| format!(" What to do: {hint}"))
        .unwrap_or_default();
    told(check, Some(false), format!("{error}.{hint}"))
}
