//! `checkConnection`: walks what must be in place before a flow can run, and tells of each step what to do about it.
//!
//! Nothing is started. What cannot be seen from outside (the password in the connection, a licence) is not claimed to be
//! right: the last run that used the connection is the best witness, and without one only a run shows it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::failures::{self, Class as RunClass};
use super::input::ConnectionCheck;
use super::{Session, refusals};
use crate::connector::Response;
use crate::microsoft::Class;
use crate::microsoft::dataverse::rows::{FoundRows, RowsQuery};
use crate::microsoft::dataverse::{End, Error, Status, quoted};
use crate::outcome::JobError;

/// A machine that has not been heard of for so long is taken for offline.
const SILENT: Duration = Duration::from_secs(3600);
/// Dataverse knows nobody with this token, or knows a user that is turned off.
const NO_USER: [&str; 2] = ["0x80072560", "0x80040225"];
/// The category of desktop flows.
const DESKTOP_FLOW: i64 = 6;

/// The steps so far.
#[derive(Default)]
struct Checks(Vec<Value>);

impl Checks {
    fn add(&mut self, check: &str, ok: impl Into<Option<bool>>, message: impl Into<String>) {
        let (ok, message): (Option<bool>, String) = (ok.into(), message.into());
        self.0.push(json!({"check": check, "ok": ok, "message": message}));
    }

    fn response(self) -> Response {
        let ok = self.0.iter().all(|check| check["ok"] != json!(false));
        json!({"ok": ok, "checks": self.0}).into()
    }
}

impl Session<'_> {
    /// Gives `{ok, checks}`; a check is `{check, ok, message}`, and `ok` is null where it cannot be told. A prerequisite
    /// that is missing is an answer here, not an error; steps that hang on it are left out.
    ///
    /// # Errors
    /// When Dataverse or the sign-in is away: then nothing can be said.
    pub(super) async fn check_connection(
        &self,
        wanted: &ConnectionCheck,
        token_host: String,
    ) -> Result<Response, JobError> {
        let mut checks = Checks::default();
        if let Err(error) = self.sign_in(token_host).await {
            if error.remedy != crate::outcome::Remedy::Incident {
                return Err(error);
            }
            checks.add("signIn", false, error.message);
            return Ok(checks.response());
        }
        checks.add("signIn", true, "A token was issued.");
        if !self.check_user(&mut checks).await? {
            return Ok(checks.response());
        }
        if wanted.flow.is_some() {
            self.check_flow(wanted, &mut checks).await?;
        }
        if let Some(name) = &wanted.connection_name {
            let connection = match wanted.is_reference {
                true => self.check_reference(name, &mut checks).await?,
                false => Some(name.clone()),
            };
            if let Some(connection) = connection {
                self.check_last_run(&connection, &mut checks).await?;
            }
        }
        self.check_machines(&mut checks).await?;
        Ok(checks.response())
    }

    /// The user and its role. False: nothing else can be asked.
    async fn check_user(&self, checks: &mut Checks) -> Result<bool, JobError> {
        const KNOWN: &str = "The organisation knows the user that signs in.";
        let probe = self.dataverse.rows(&probe("flowsessions", "statuscode", None)).await;
        let error = match answered(probe)? {
            Ok(_) => {
                checks.add("applicationUser", true, KNOWN);
                checks.add("role", true, "Its roles let it read runs.");
                return Ok(true);
            }
            Err(error) => error,
        };
        let code = match &error {
            Error::Refused(refusal) => refusal.code.to_ascii_lowercase(),
            _ => String::new(),
        };
        if error.status() != Some(403) || NO_USER.contains(&code.as_str()) {
            checks.add("applicationUser", false, refused(&error));
            return Ok(false);
        }
        checks.add("applicationUser", true, KNOWN);
        checks.add("role", false, refused(&error));
        // Who may not read runs may still see flows and machines.
        Ok(true)
    }

    async fn check_flow(&self, wanted: &ConnectionCheck, checks: &mut Checks) -> Result<(), JobError> {
        let Some(choice) = &wanted.flow else { return Ok(()) };
        let id = match self.flow(choice).await {
            Ok(id) => id,
            Err(error) if error.remedy == crate::outcome::Remedy::Incident => {
                checks.add("flow", false, error.message);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let row = match answered(self.dataverse.workflow(&id).await)? {
            Ok(row) => row,
            Err(error) => {
                let sharing = match error.is_not_found() {
                    true => " It does not exist, or is not shared with the user.",
                    false => "",
                };
                checks.add("flow", false, format!("{}{sharing}", refused(&error)));
                return Ok(());
            }
        };
        let number = |column: &str| row.get(column).and_then(Value::as_i64);
        match (number("category"), number("componentstate"), number("statecode")) {
            (Some(category), ..) if category != DESKTOP_FLOW => checks.add(
                "flow",
                false,
                "This is not a desktop flow (most likely a cloud flow): take the id from `listFlows`.",
            ),
            (_, Some(1), _) => checks.add("flow", false, "The flow is a draft: publish it in Power Automate."),
            (.., Some(0)) => checks.add(
                "flow",
                false,
                "The flow is a draft or turned off: publish it in Power Automate, and turn it on.",
            ),
            _ => checks.add("flow", true, "The flow is there, shared with the user, and turned on."),
        }
        Ok(())
    }

    /// The connection behind a reference.
    async fn check_reference(&self, name: &str, checks: &mut Checks) -> Result<Option<String>, JobError> {
        const CHECK: &str = "connectionReference";
        let filter = format!("connectionreferencelogicalname eq {}", quoted(name));
        let columns = "connectionreferencelogicalname,connectionid,statecode";
        let found = self
            .dataverse
            .rows(&probe("connectionreferences", columns, Some(filter)))
            .await;
        let found = match answered(found)? {
            Ok(found) => found,
            Err(error) => {
                checks.add(CHECK, false, refused(&error));
                return Ok(None);
            }
        };
        let Some(row) = found.rows.first() else {
            checks.add(
                CHECK,
                false,
                "No connection reference has this logical name: check `connectionName`.",
            );
            return Ok(None);
        };
        let connection = row.get("connectionid").and_then(Value::as_str).map(str::to_owned);
        match &connection {
            None => checks.add(
                CHECK,
                false,
                "The connection reference leads to no connection: choose one in its solution.",
            ),
            Some(_) if row.get("statecode").and_then(Value::as_i64) == Some(1) => {
                checks.add(CHECK, false, "The connection reference is turned off.");
            }
            Some(_) => checks.add(CHECK, true, "The reference leads to a connection."),
        }
        Ok(connection)
    }

    /// How the last run with a connection ended.
    async fn check_last_run(&self, connection: &str, checks: &mut Checks) -> Result<(), JobError> {
        const CHECK: &str = "connection";
        let ended = "statuscode ge 4 and statuscode ne 6";
        let query = RowsQuery {
            order_by: Some("createdon desc"),
            ..probe(
                "flowsessions",
                "statuscode,completedon,errorcode",
                Some(format!("connectionid eq {} and {ended}", quoted(connection))),
            )
        };
        let found = match answered(self.dataverse.rows(&query).await)? {
            Ok(found) => found,
            Err(error) => {
                checks.add(CHECK, None, format!("Its runs cannot be read: {error}"));
                return Ok(());
            }
        };
        let Some(row) = found.rows.first() else {
            checks.add(
                CHECK,
                None,
                "No run with this connection that the user may see has ended yet. Whether it works (its password, its \
                 machine) shows in Power Automate, or by a run. The user that signs in must own it.",
            );
            return Ok(());
        };
        let (ok, message) = last_run(row);
        checks.add(CHECK, ok, message);
        Ok(())
    }

    async fn check_machines(&self, checks: &mut Checks) -> Result<(), JobError> {
        const CHECK: &str = "machines";
        let query = RowsQuery {
            limit: 100,
            ..probe("flowmachines", "name,statecode,lastheartbeatdate", None)
        };
        match answered(self.dataverse.rows(&query).await)? {
            Ok(found) if found.rows.is_empty() => checks.add(
                CHECK,
                false,
                "The user sees no machine: share the machine or its group with it.",
            ),
            Ok(found) => {
                let (ok, message) = machines(&found);
                checks.add(CHECK, ok, message);
            }
            // Not every environment has the table, and not every role may read it.
            Err(error) => checks.add(CHECK, None, format!("Machines cannot be read: {error}")),
        }
        Ok(())
    }
}

/// What the last run with a connection says about it.
fn last_run(row: &Map<String, Value>) -> (Option<bool>, String) {
    let text = |column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().trim();
    let on = match text("completedon") {
        "" => String::new(),
        on => format!(" ({on})"),
    };
    let status = Status::from_code(row.get("statuscode").and_then(Value::as_i64).unwrap_or_default());
    let code = text("errorcode");
    let (class, hint) = failures::meaning(code);
    match (status.end(), class) {
        (Some(End::Succeeded), _) => (Some(true), format!("The last run with it succeeded{on}.")),
        (Some(End::Failed), RunClass::SomeoneMustFixIt) => (
            Some(false),
            format!("The last run with it failed with {code}{on}. What to do: {hint}"),
        ),
        (Some(End::Failed), RunClass::TryAgain(_) | RunClass::TryOnce(_) | RunClass::Ambiguous) => {
            (None, format!("The last run with it failed with {code}{on}. {hint}"))
        }
        _ => (
            Some(true),
            format!(
                "The last run with it reached its machine; it ended as {}{on}.",
                status.label()
            ),
        ),
    }
}

/// Whether any machine was heard of lately, by Dataverse's own clock.
fn machines(found: &FoundRows) -> (Option<bool>, String) {
    let now = found.server_time.unwrap_or_else(Timestamp::now);
    let (mut online, mut silent, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for row in &found.rows {
        let text = |column: &str| row.get(column).and_then(Value::as_str);
        let name = text("name").unwrap_or("?");
        let heard: Option<Timestamp> = text("lastheartbeatdate").and_then(|date| date.parse().ok());
        match heard.map(|heard| Duration::try_from(now.duration_since(heard)).unwrap_or_default()) {
            Some(ago) if ago > SILENT => silent.push(name),
            Some(_) => online.push(name),
            None => unknown.push(name),
        }
    }
    let list = |what: &str, names: &[&str]| match names {
        [] => String::new(),
        names => format!("{what}: {}. ", names.join(", ")),
    };
    let mut message = list("Machines that were heard of within an hour", &online);
    message.push_str(&list("Not heard of for an hour and more", &silent));
    message.push_str(&list("Of these it is not told", &unknown));
    match (online.is_empty(), unknown.is_empty()) {
        (false, _) => (Some(true), message.trim_end().to_owned()),
        (true, false) => (None, message.trim_end().to_owned()),
        (true, true) => (
            Some(false),
            format!("{message}Is the machine running, and is the Power Automate service on it running?"),
        ),
    }
}

/// What was answered; a server that is away has not answered.
fn answered<T>(result: Result<T, Error>) -> Result<Result<T, Error>, JobError> {
    match result {
        Err(error) if error.class() != Class::SomeoneMustFixIt => {
            Err(refusals::job_error("Checking the connection", &error))
        }
        result => Ok(result),
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

fn refused(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}. What to do: {hint}"),
        None => format!("{error}."),
    }
}
