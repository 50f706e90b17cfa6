//! What a path means: a path below the organisation goes in, a [`Target`] comes out.

use super::table::{CONNECTION_REFERENCES, MACHINE_GROUPS, MACHINES, SESSIONS, WORKFLOWS};
use crate::sandbox::power_automate::encoding::decoded;
use crate::sandbox::power_automate::faults::RouteName;
use crate::sandbox::power_automate::ids::Guid;
use crate::sandbox::power_automate::odata::Table;

/// The path of the Web API below the organisation, before the minor version.
pub(in crate::sandbox::power_automate) const SERVED: &str = "/api/data/v9.";

const RUN: &str = "Microsoft.Dynamics.CRM.RunDesktopFlow";
const CANCEL: &str = "Microsoft.Dynamics.CRM.CancelDesktopFlowRun";

/// What a Dataverse request is about.
#[derive(Debug, Clone)]
pub(in crate::sandbox::power_automate) enum Target {
    WhoAmI,
    List(&'static Table),
    Row(&'static Table, Guid),
    /// A memo column of a flow, as `$value`.
    WorkflowFile(Guid, &'static str),
    /// A file column of a run, as `$value`.
    SessionFile(Guid, &'static str),
    Run(Guid),
    Cancel(Guid),
    /// The segment that leads nowhere.
    Unknown(String),
}

impl Target {
    /// Reads a path below `/api/data/v9.x/`.
    pub(in crate::sandbox::power_automate) fn of(path: &str) -> Self {
        let unknown = |segment: &str| Target::Unknown(segment.to_owned());
        let Ok(path) = decoded(path, false) else {
            return unknown(path);
        };
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let (first, rest) = segments
            .split_first()
            .map_or(("", &[][..]), |(first, rest)| (*first, rest));
        if first.eq_ignore_ascii_case("WhoAmI") || first.eq_ignore_ascii_case("WhoAmI()") {
            return if rest.is_empty() {
                Target::WhoAmI
            } else {
                unknown(rest[0])
            };
        }
        let (set, key) = match first.split_once('(') {
            None => (first, None),
            Some((set, key)) => (set, Some(key)),
        };
        let Some(table) = [
            &WORKFLOWS,
            &SESSIONS,
            &CONNECTION_REFERENCES,
            &MACHINE_GROUPS,
            &MACHINES,
        ]
        .into_iter()
        .find(|table| table.set == set) else {
            return unknown(set);
        };
        let Some(key) = key else {
            return rest.first().map_or(Target::List(table), |segment| unknown(segment));
        };
        let key = key.strip_suffix(')').unwrap_or(key);
        let key = key
            .strip_prefix(table.key)
            .and_then(|rest| rest.strip_prefix('='))
            .unwrap_or(key);
        let Ok(id) = key.parse::<Guid>() else {
            return unknown(first);
        };
        match (table.entity, rest) {
            (_, []) => Target::Row(table, id),
            ("workflow", [RUN]) => Target::Run(id),
            ("workflow", ["inputs", "$value"]) => Target::WorkflowFile(id, "inputs"),
            ("workflow", ["outputs", "$value"]) => Target::WorkflowFile(id, "outputs"),
            ("workflow", ["clientdata", "$value"]) => Target::WorkflowFile(id, "clientdata"),
            ("flowsession", [CANCEL]) => Target::Cancel(id),
            ("flowsession", ["inputs", "$value"]) => Target::SessionFile(id, "inputs"),
            ("flowsession", ["outputs", "$value"]) => Target::SessionFile(id, "outputs"),
            (_, [segment, ..]) => unknown(segment),
        }
    }

    /// The route that faults and the journal know it by.
    pub(in crate::sandbox::power_automate) fn route(&self) -> RouteName {
        match self {
            Target::List(table) | Target::Row(table, _) if table.entity == "workflow" => RouteName::Workflows,
            Target::List(table) if table.entity == "flowsession" => RouteName::Sessions,
            Target::Row(table, _) if table.entity == "flowsession" => RouteName::Session,
            Target::WorkflowFile(..) => RouteName::Schema,
            Target::SessionFile(_, "inputs") => RouteName::Inputs,
            Target::SessionFile(..) => RouteName::Outputs,
            Target::Run(_) => RouteName::Run,
            Target::Cancel(_) => RouteName::Cancel,
            Target::WhoAmI | Target::List(_) | Target::Row(..) | Target::Unknown(_) => RouteName::Other,
        }
    }

    /// The flow that would be run.
    pub(in crate::sandbox::power_automate) fn workflow(&self) -> Option<Guid> {
        match self {
            Target::Run(id) => Some(*id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "d9687093-d0c0-ec11-983e-0022480b428a";

    #[test]
    fn paths_lead_to_what_they_name() {
        let run = format!("workflows({ID})/{RUN}");
        let escaped = format!("workflows%28{ID}%29/{RUN}");
        for (path, route) in [
            ("workflows", RouteName::Workflows),
            (run.as_str(), RouteName::Run),
            (escaped.as_str(), RouteName::Run),
            (&format!("workflows(workflowid={ID})/inputs/$value"), RouteName::Schema),
            (&format!("flowsessions({ID})"), RouteName::Session),
            ("flowsessions", RouteName::Sessions),
            (&format!("flowsessions({ID})/outputs/$value"), RouteName::Outputs),
            (&format!("flowsessions({ID})/{CANCEL}"), RouteName::Cancel),
            ("WhoAmI", RouteName::Other),
        ] {
            assert_eq!(Target::of(path).route(), route, "{path}");
        }
    }

    #[test]
    fn anything_else_names_the_segment_that_leads_nowhere() {
        let wrong_case = format!("workflows({ID})/RunDesktopFlow");
        for (path, segment) in [
            ("accounts", "accounts"),
            ("", ""),
            ("flowsessions(7)", "flowsessions(7)"),
            ("workflows/x", "x"),
            (wrong_case.as_str(), "RunDesktopFlow"),
        ] {
            assert!(
                matches!(Target::of(path), Target::Unknown(named) if named == segment),
                "{path}"
            );
        }
    }
}
