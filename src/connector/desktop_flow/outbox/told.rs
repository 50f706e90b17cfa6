//! From a run that ended to its message: what its callback URL asks for, and what the process is told.

use serde_json::{Map, json};

use crate::message::Message;
use crate::microsoft::Class;
use crate::microsoft::dataverse::ended::EndedRun;
use crate::microsoft::dataverse::sessions::{Columns, RunError};
use crate::microsoft::dataverse::{Dataverse, End, Error};
use crate::runs::message::{Found, Mark};
use crate::runs::token::{Token, Tokens};
use crate::secrets::Redactor;

/// The one variable of a message: what a run is told of must not overwrite others of the process.
const VARIABLE: &str = "desktopFlowRun";
/// Longer texts of a failure are cut, characters: the message has to fit into the engine, and its buffer to be small.
const LONGEST: usize = 10_000;

/// A message that the start of a run asked for.
pub(super) struct Wanted {
    pub(super) token: Token,
    pub(super) mark: Mark,
}

impl Wanted {
    /// What the run's callback URL asks for, if it was written by us.
    pub(super) fn of(run: &EndedRun, tokens: &Tokens) -> Option<Self> {
        let token = Token::find(&run.callback_url)?;
        // Another key, or another namespace whose tag is the same by chance: not ours.
        if !tokens.made(&token) {
            return None;
        }
        match Mark::find(&run.callback_url, tokens, &token) {
            Found::Wanted(mark) => Some(Self { token, mark }),
            Found::None => None,
            Found::Strange => {
                tracing::warn!(
                    run = %run.id,
                    "what this run's callback URL says about a message is not of this version of deskhand, or was changed: \
                     nothing is published"
                );
                None
            }
        }
    }
}

/// The message about this run.
///
/// # Errors
/// When its reasons cannot be asked for at the moment.
pub(super) async fn message(
    dataverse: &Dataverse,
    run: &EndedRun,
    mark: &Mark,
    redactor: &Redactor,
) -> Result<Message, Error> {
    let succeeded = run.status.end() == Some(End::Succeeded);
    let error = match succeeded {
        true => RunError::default(),
        false => reasons(dataverse, run).await?,
    };
    let given = |text: &str| {
        let text: String = redactor.text(text).chars().take(LONGEST).collect();
        (!text.is_empty()).then_some(text)
    };
    let told = json!({
        "flowSessionId": run.id,
        "statusCode": run.status.code(),
        "status": run.status.label(),
        "succeeded": succeeded,
        "startedOn": run.started_on,
        "completedOn": run.completed_on,
        "errorCode": given(&error.code),
        "errorMessage": given(&error.message),
        "errorDetails": given(&error.details),
        "link": dataverse.organization().run_link(&run.id),
    });
    Ok(Message {
        name: mark.name.clone(),
        correlation_key: run.id.to_string(),
        id: run.id.to_string(),
        time_to_live: mark.time_to_live,
        variables: Map::from_iter([(VARIABLE.to_owned(), told)]),
        tenant_id: mark.tenant_id.clone(),
    })
}

/// Without reasons that cannot be read at all the end is told all the same.
async fn reasons(dataverse: &Dataverse, run: &EndedRun) -> Result<RunError, Error> {
    match dataverse.flow_session(&run.id, Columns::WithError).await {
        Ok(session) => Ok(session.error.unwrap_or_default()),
        Err(error) if error.class() == Class::SomeoneMustFixIt => Ok(RunError::default()),
        Err(error) => Err(error),
    }
}
