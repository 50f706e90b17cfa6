//! Who may do what: headers go in, a caller or a 401 or 403 comes out.

use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use super::Call;
use crate::sandbox::power_automate::answer::{Answer, empty, error, set};
use crate::sandbox::power_automate::core::{ORGANIZATION, State};
use crate::sandbox::power_automate::entra::token::recognised;
use crate::sandbox::power_automate::ids::Guid;

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox::power_automate) struct Caller {
    pub(in crate::sandbox::power_automate) object_id: Guid,
    /// May read and cancel runs.
    pub(in crate::sandbox::power_automate) owns_runs: bool,
}

/// Finds out who sent a request to the organisation at `host`.
///
/// # Errors
/// 401 without a body when the token is missing, foreign, expired or for another audience; 403 when its subject is not
/// a member of the organisation, or has no role.
pub(in crate::sandbox::power_automate) fn authenticated(
    state: &State,
    headers: &HeaderMap,
    host: &str,
    now: Timestamp,
) -> Result<Caller, Answer> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let claims = token
        .and_then(|(_, token)| recognised(token.trim(), state.key))
        .filter(|claims| claims.exp > now.as_second() && is_own(&state.world.environment.aliases, host, &claims.aud))
        .ok_or_else(|| challenge(state, host))?;
    let directory = &state.world.directory;
    let not_a_member = || {
        error(
            StatusCode::FORBIDDEN,
            "0x80072560",
            "The user is not a member of the organization.",
        )
    };
    if claims.idtyp == "user" {
        let user = directory
            .users
            .iter()
            .find(|user| user.object_id == claims.oid)
            .ok_or_else(not_a_member)?;
        return Ok(Caller {
            object_id: user.object_id,
            owns_runs: true,
        });
    }
    let application = directory
        .applications
        .iter()
        .find(|application| application.object_id == claims.oid && application.application_user)
        .ok_or_else(not_a_member)?;
    if !application.security_role {
        return Err(missing_privilege(application.object_id, "prvReadworkflow"));
    }
    Ok(Caller {
        object_id: application.object_id,
        owns_runs: application.owns_runs,
    })
}

/// 401 as Dataverse says it: no body, and where to get a token for what.
pub(in crate::sandbox::power_automate) fn challenge(state: &State, host: &str) -> Answer {
    let tenant = state.world.directory.tenant;
    let mut answer = empty(StatusCode::UNAUTHORIZED);
    let value = format!(
        "Bearer authorization_uri=http://{host}/login/{tenant}/oauth2/authorize, resource_id=http://{host}{ORGANIZATION}/"
    );
    set(&mut answer, "www-authenticate", &value);
    answer
}

/// Whether a resource names this organisation: the URL by which the client reaches it, with or without the path and a
/// final slash, or one of the world's aliases.
pub(in crate::sandbox::power_automate) fn is_own(aliases: &[String], host: &str, resource: &str) -> bool {
    let resource = resource.trim_end_matches('/');
    let rest = resource
        .strip_prefix("http://")
        .or_else(|| resource.strip_prefix("https://"))
        .unwrap_or(resource);
    let reached = rest
        .strip_suffix(ORGANIZATION)
        .unwrap_or(rest)
        .eq_ignore_ascii_case(host);
    let alias = |known: &String| known.trim_end_matches('/').eq_ignore_ascii_case(resource);
    reached || aliases.iter().any(alias)
}

/// Starting a run needs less than reading or cancelling it.
pub(super) fn may_see_runs(call: &Call<'_>) -> Result<(), Answer> {
    if call.caller.owns_runs {
        Ok(())
    } else {
        Err(missing_privilege(call.caller.object_id, "prvReadflowsession"))
    }
}

fn missing_privilege(principal: Guid, privilege: &str) -> Answer {
    let message = format!("Principal user (Id={principal}, type=8) is missing {privilege} privilege.");
    error(StatusCode::FORBIDDEN, "0x80040220", message)
}
