//! RunDesktopFlow and CancelDesktopFlowRun.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use serde_json::{Map, Value, json};

use super::run_request::{RunRequest, refused};
use super::{Call, Outcome, access, known_workflow};
use crate::sandbox::power_automate::answer::{Answer, empty, error, json_body, no_such_row, with_retry_after};
use crate::sandbox::power_automate::callback::{Delivery, acceptable};
use crate::sandbox::power_automate::clock::{later, whole_seconds_until};
use crate::sandbox::power_automate::core::State;
use crate::sandbox::power_automate::faults::Effect;
use crate::sandbox::power_automate::ids::Guid;
use crate::sandbox::power_automate::runs::{Run, Start};
use crate::sandbox::power_automate::status::Status;
use crate::sandbox::power_automate::world::{CallbackMode, Connection, ConnectionStatus, Script, Span, Workflow};

/// Starts a run, or says why not.
pub(super) fn run(state: &mut State, call: &Call<'_>, workflow: Guid) -> Result<Outcome, Answer> {
    let flow = known_workflow(state, workflow)?;
    let request = RunRequest::read(call.headers, call.body, state.world.limits.input_bytes)?;
    runnable(flow)?;
    if let Some((_, inputs)) = &request.inputs
        && state.world.behaviour.reject_unknown_inputs
        && let Some(unknown) = inputs.keys().find(|name| !flow.inputs.contains_key(*name))
    {
        return Err(refused(format!(
            "The desktop flow '{}' has no input named '{unknown}'.",
            flow.name
        )));
    }
    if let Some(url) = &request.callback_url {
        acceptable(url, state.world.callbacks.allow_insecure)
            .map_err(|why| refused(format!("The callback URL is not valid: {why}.")))?;
    }
    let connection = connection(state, call, &request)?;
    if state.runs.len() >= state.world.limits.runs {
        return Err(refused(
            "The environment has no storage capacity left for flow sessions.",
        ));
    }
    let (script, name): (Script, Arc<str>) = (script_of(state, flow), Arc::from(flow.name.as_str()));
    let license = match call.effect {
        Effect::LicenseCheck(code) => code.clone(),
        _ => flow.license_check.clone(),
    };
    let (callback, hidden) = match call.effect {
        Effect::Callback(mode) => (*mode, state.world.behaviour.hidden),
        Effect::Hidden(span) => (state.world.callbacks.mode, *span),
        _ => (state.world.callbacks.mode, state.world.behaviour.hidden),
    };
    let (connection, group) = (Arc::from(connection.name.as_str()), connection.machine_group.clone());
    take_start(state, call, &connection)?;

    let id = state.run_ids.guid();
    let group_id = group.as_ref().and_then(|name| {
        state
            .world
            .environment
            .machine_groups
            .iter()
            .find(|group| group.name == *name)
            .map(|group| group.id)
    });
    let run = Run {
        id,
        workflow,
        name,
        owner: call.caller.object_id,
        connection,
        mode: request.mode,
        timeout: Duration::from_secs(request.timeout),
        inputs: request.inputs.map(|(text, _)| Arc::from(text)),
        callback_url: request.callback_url.map(Arc::from),
        callback,
        status: Status::Waiting,
        created: call.now,
        started: None,
        completed: None,
        modified: call.now,
        visible: later(call.now, hidden.get()),
        error: None,
        script: state.runs.shared(workflow, script),
        group: None,
        group_id,
        place: 0,
        version: 0,
    };
    let start = Start {
        run,
        group,
        high_priority: request.high_priority,
        not_specified: state.world.behaviour.not_specified.get(),
        queue_wait: state.world.limits.queue_wait.get(),
    };
    state.runs.start(start, call.now);
    if callback == CallbackMode::Early {
        state.runs.finish_now(id, call.now);
    }
    if callback == CallbackMode::Lie {
        state
            .outbox
            .extend(state.runs.get(id).and_then(|run| Delivery::lie(run, call.now)));
    }
    let body = json!({
        "@odata.context": format!("{}/$metadata#Microsoft.Dynamics.CRM.RunDesktopFlowResponse", call.base),
        "flowsessionId": id,
        "licenseCheck": license_check(&license),
    });
    Ok(Outcome {
        answer: json_body(StatusCode::OK, &body),
        started: Some(id),
    })
}

fn runnable(flow: &Workflow) -> Result<(), Answer> {
    let name = &flow.name;
    if flow.category != 6 {
        Err(refused(format!("The workflow '{name}' is not a desktop flow.")))
    } else if !flow.published {
        Err(refused(format!(
            "The desktop flow '{name}' is a draft: publish it before it is run."
        )))
    } else if !flow.activated {
        Err(refused(format!("The desktop flow '{name}' is disabled.")))
    } else {
        Ok(())
    }
}

fn connection<'s>(state: &'s State, call: &Call<'_>, request: &RunRequest) -> Result<&'s Connection, Answer> {
    let environment = &state.world.environment;
    let wanted = &request.connection;
    let name = if request.by_reference {
        let reference = environment
            .connection_references
            .iter()
            .find(|one| one.logical_name.eq_ignore_ascii_case(wanted));
        let reference =
            reference.ok_or_else(|| refused(format!("The connection reference '{wanted}' does not exist.")))?;
        let connection = reference.connection.as_ref();
        connection.ok_or_else(|| {
            refused(format!(
                "Connection Id missing for connection reference logical name '{wanted}'."
            ))
        })?
    } else {
        wanted
    };
    let connection = environment
        .connections
        .iter()
        .find(|one| one.name.eq_ignore_ascii_case(name) && one.owner.is_none_or(|who| who == call.caller.object_id))
        .ok_or_else(|| {
            refused(format!(
                "The connection '{name}' does not exist, or the caller has no permission to use it."
            ))
        })?;
    if connection.status == ConnectionStatus::Connected {
        Ok(connection)
    } else {
        Err(refused(format!(
            "The connection '{name}' is in an error state: its credentials must be updated."
        )))
    }
}

/// 70 starts a minute with one connection. The shape of this refusal on the Dataverse action is undocumented; the code
/// is the one of the cloud-flow action.
fn take_start(state: &mut State, call: &Call<'_>, connection: &str) -> Result<(), Answer> {
    let limit = state.world.limits.starts_per_connection;
    state.runs.take_start(connection, limit, call.now).map_err(|free| {
        let message = format!("Too many desktop flows use the same connection: more than {limit} in a minute.");
        let answer = error(StatusCode::TOO_MANY_REQUESTS, "DesktopFlowsActionThrottled", message);
        with_retry_after(
            answer,
            Span::seconds(whole_seconds_until(call.now, free)),
            false,
            call.now,
        )
    })
}

/// The script of the flow's next run.
fn script_of(state: &State, flow: &Workflow) -> Script {
    let earlier = state.runs.count_of(flow.id);
    flow.scripts
        .get(earlier)
        .or(flow.scripts.last())
        .cloned()
        .unwrap_or_default()
}

fn license_check(code: &str) -> Value {
    let message = match code {
        "ValidLicenseCoverage" => "Valid License Coverage",
        "LicensingCheckFailed" => "The license check could not be completed.",
        "AttendedNoLicense" => "The owner of the connection has no license for attended runs.",
        "UnattendedNoAddon" => "No unattended license is assigned to the machine or the environment.",
        _ => "",
    };
    let mut check = Map::new();
    check.insert("@odata.context".to_owned(), "#Microsoft.Dynamics.CRM.expando".into());
    check.insert("code".to_owned(), code.into());
    check.insert("message".to_owned(), message.into());
    check.into()
}

/// Asks for the end of a run.
pub(super) fn cancel(state: &mut State, call: &Call<'_>, session: Guid) -> Result<Answer, Answer> {
    access::may_see_runs(call)?;
    let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .iter()
        .any(|name| call.headers.contains_key(name));
    if !framed {
        return Err(error(
            StatusCode::LENGTH_REQUIRED,
            "",
            "The request has no Content-Length; send 0.",
        ));
    }
    if !call.body.is_empty() && call.body != b"{}" {
        return Err(refused("CancelDesktopFlowRun takes no parameters."));
    }
    if super::visible_run(state, session, call.now).is_none() {
        return Err(no_such_row("flowsession", session));
    }
    let behaviour = &state.world.behaviour;
    let (takes, accepts_finished) = (behaviour.cancelling, behaviour.cancel_finished);
    match state.runs.cancel(session, takes, call.now) {
        None => Err(no_such_row("flowsession", session)),
        Some(false) if !accepts_finished => {
            Err(refused("The desktop flow run is not in a state that can be cancelled."))
        }
        Some(_) => Ok(empty(StatusCode::NO_CONTENT)),
    }
}
