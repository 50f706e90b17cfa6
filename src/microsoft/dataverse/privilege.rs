//! Which privilege a refused call lacks: what Dataverse said and what was called go in, a sentence for whoever must give the
//! privilege comes out.

use url::Url;

use super::error::Refusal;

/// No privilege has a longer name.
const LONGEST: usize = 100;
/// Rights to single rows, as the service's texts name them.
const RIGHTS: [&str; 7] = [
    "ReadAccess",
    "WriteAccess",
    "AppendAccess",
    "AppendToAccess",
    "CreateAccess",
    "DeleteAccess",
    "ShareAccess",
];
/// Tables by the name that URLs have, their own name, and what their rows are.
const TABLES: [(&str, &str, &str); 6] = [
    ("workflows", "workflow", "desktop flows"),
    ("flowsessions", "flowsession", "runs"),
    ("flowsessionbinaries", "flowsessionbinary", "outputs of runs"),
    ("flowmachinegroups", "flowmachinegroup", "machine groups"),
    ("flowmachines", "flowmachine", "machines"),
    ("connectionreferences", "connectionreference", "connection references"),
];

/// The privilege that a call needs on the table it is about, and what for: `None` where the call is about no table that is
/// known here.
pub(super) fn needed(method: &str, url: &Url) -> Option<Needed> {
    let mut parts = url.path_segments()?;
    let set = parts.find_map(|part| {
        let name = part.split('(').next().unwrap_or_default();
        TABLES.iter().find(|(set, ..)| set.eq_ignore_ascii_case(name))
    });
    let (_, table, rows) = set?;
    // Starting a flow reads it; cancelling a run writes it.
    let (verb, doing) = match (method, *table) {
        ("GET", _) => ("Read", "reading"),
        ("POST", "workflow") => ("Read", "starting"),
        _ => ("Write", "changing"),
    };
    Some(Needed {
        privilege: format!("prv{verb}{table}"),
        what: format!("{doing} {rows}"),
    })
}

/// What a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    privilege: String,
    what: String,
}

/// What to do about a refusal for want of a privilege; `None`: it is another refusal.
pub(super) fn hint(refusal: &Refusal) -> Option<String> {
    if refusal.status != 403 {
        return None;
    }
    if let Some(privilege) = named(&refusal.message) {
        return Some(format!(
            "The user that signs in lacks the privilege {privilege}: give its application user a security role that has it \
             (Environment Maker has those for flows and runs of one's own), or share the row with it (status and cancel of a run need Owner)."
        ));
    }
    if let Some(right) = RIGHTS.iter().find(|right| refusal.message.contains(**right)) {
        return Some(format!(
            "The user that signs in lacks the right {right} to this row: share it with its application user (Owner is needed \
             for status and cancel of a run)."
        ));
    }
    // Another reason is known by its code.
    let unknown = !refusal.has_known_code();
    let needed = refusal.needed.as_ref().filter(|_| unknown)?;
    Some(format!(
        "{} This call ({}) needs the privilege {}.",
        refusal.meaning().hint,
        needed.what,
        needed.privilege
    ))
}

/// The privilege that a text names, e.g. `prvReadworkflow`.
fn named(text: &str) -> Option<&str> {
    let starts = text.match_indices("prv").map(|(at, _)| &text[at..]);
    starts
        .map(|rest| {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            &rest[..end.unwrap_or(rest.len())]
        })
        .find(|name| name.as_bytes().get(3).is_some_and(u8::is_ascii_uppercase) && name.len() <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Answer;
    use crate::http::header::HeaderMap;

    fn refusal(status: u16, code: &str, message: &str, call: Option<(&str, &str)>) -> Refusal {
        let body = serde_json::json!({"error": {"code": code, "message": message}}).to_string();
        let answer = Answer {
            status,
            reason: String::new(),
            headers: HeaderMap::new(),
            body: body.into_bytes(),
        };
        let refusal = Refusal::read(&answer);
        match call {
            Some((method, path)) => {
                let url = Url::parse(&format!("https://contoso.crm4.dynamics.com/api/data/v9.2/{path}")).unwrap();
                refusal.of_call(method, &url)
            }
            None => refusal,
        }
    }

    #[test]
    fn the_privilege_that_dataverse_names_is_named() {
        for (message, privilege) in [
            (
                "Principal user (Id=8a, type=8, roleCount=1) is missing prvReadworkflow privilege (Id=88) on OTC=4703",
                "prvReadworkflow",
            ),
            (
                "SecLib::CheckPrivilege failed. User: 1, PrivilegeName: prvCreateflowsession, PrivilegeId: 2",
                "prvCreateflowsession",
            ),
            ("missing prvReadcr1_thing", "prvReadcr1_thing"),
        ] {
            let hint = hint(&refusal(403, "0x80040220", message, None)).unwrap();
            assert!(hint.contains(&format!("lacks the privilege {privilege}:")), "{hint}");
        }
    }

    #[test]
    fn a_right_to_a_row_is_named_too() {
        let message = "SecLib::AccessCheckEx failed. ObjectTypeCode: 4703, AccessRights: WriteAccess";
        let hint = hint(&refusal(403, "0x80040220", message, None)).unwrap();
        assert!(
            hint.contains("the right WriteAccess") && hint.contains("share it"),
            "{hint}"
        );
    }

    #[test]
    fn where_nothing_is_named_the_call_says_what_it_needs() {
        for (method, path, expected) in [
            (
                "GET",
                "workflows?$select=name",
                "(reading desktop flows) needs the privilege prvReadworkflow",
            ),
            (
                "GET",
                "flowsessions(11)?$select=statuscode",
                "(reading runs) needs the privilege prvReadflowsession",
            ),
            (
                "POST",
                "flowsessions(11)/Microsoft.Dynamics.CRM.CancelDesktopFlowRun",
                "needs the privilege prvWriteflowsession",
            ),
            (
                "POST",
                "workflows(11)/Microsoft.Dynamics.CRM.RunDesktopFlow",
                "(starting desktop flows) needs the privilege prvReadworkflow",
            ),
        ] {
            let hint = hint(&refusal(403, "", "", Some((method, path)))).unwrap();
            assert!(hint.contains(expected) && hint.contains("Environment Maker"), "{hint}");
        }
    }

    #[test]
    fn other_refusals_keep_their_own_words() {
        let call = Some(("GET", "workflows"));
        assert_eq!(hint(&refusal(403, "0x80072560", "not a member", call)), None);
        assert_eq!(hint(&refusal(404, "0x80040217", "prvReadworkflow", call)), None);
        assert_eq!(hint(&refusal(403, "", "", Some(("GET", "accounts")))), None);
        assert_eq!(named("private prv prvread prv"), None);
        assert_eq!(named(&format!("prvR{}", "x".repeat(1000))), None);
    }
}
