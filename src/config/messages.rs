//! Where ends of runs are published from (`waitFor: message`): what was typed goes in, organisations and identities come
//! out.

use std::time::Duration;

use super::sources::Sources;
use crate::connector::desktop_flow::outbox::{Settings, Target};
use crate::connector::identity;
use crate::microsoft::dataverse::Organization;
use crate::spelling::nearest;

const OUTBOX: &str = "messages.outbox";
/// A look takes its time, and so does a message on its way to the engine.
const SLACK: Duration = Duration::from_secs(600);

pub(super) fn settings(s: &mut Sources<'_>, identities: &[identity::Settings], plain_http: &[String]) -> Settings {
    let texts = s.list(OUTBOX);
    let targets = texts
        .iter()
        .filter_map(|text| match target(text, identities, plain_http) {
            Ok(target) => Some(target),
            Err(problem) => {
                let place = s.place(OUTBOX);
                s.fault(place, format!("`{text}` {problem}"));
                None
            }
        })
        .collect();
    let time_to_live = s.duration("messages.time_to_live");
    let look_back = s.duration("messages.look_back");
    if time_to_live < look_back + SLACK {
        let place = s.place("messages.time_to_live");
        s.fault(
            place,
            "must be longer than messages.look_back by ten minutes: what was published before a restart is published \
             again after it, and only while the first message lives does the engine know it",
        );
    }
    Settings {
        targets,
        time_to_live,
        look_back,
        ..Settings::default()
    }
}

/// `rpa-prod@contoso.crm4.dynamics.com`.
fn target(text: &str, identities: &[identity::Settings], plain_http: &[String]) -> Result<Target, String> {
    let (name, host) = text
        .split_once('@')
        .ok_or("names no organisation: write IDENTITY@HOST, e.g. rpa-prod@contoso.crm4.dynamics.com")?;
    let (name, host) = (name.trim(), host.trim());
    let address = match host.contains("://") {
        true => host.to_owned(),
        false => format!("https://{host}"),
    };
    let organization = Organization::parse(&address, plain_http).map_err(|error| error.to_string())?;
    let Some(identity) = identities.iter().find(|identity| identity.name == name) else {
        let names = identities.iter().map(|identity| identity.name.as_str());
        let near = nearest(name, names).map_or_else(
            || "describe it in [identities.NAME]".to_owned(),
            |near| format!("did you mean '{near}'?"),
        );
        return Err(format!("names an identity that there is not: {near}"));
    };
    if !identity.goes_to(organization.url()) {
        return Err(format!(
            "names an organisation that '{name}' may not be used for: add its host to [identities.{name}] hosts"
        ));
    }
    Ok(Target {
        identity: name.to_owned(),
        organization,
    })
}
