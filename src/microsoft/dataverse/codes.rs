//! What Dataverse's refusals mean, as data: a code or a status goes in; whose turn it is and a hint come out.
//!
//! The code speaks first, but only where the status says that nothing was executed (4xx, 503): after a 500, 502 or 504
//! no code proves anything.

use crate::microsoft::{Class, Meaning};

const fn try_again(hint: &'static str) -> Meaning {
    Meaning {
        class: Class::TryAgain,
        hint,
    }
}

const fn ambiguous(hint: &'static str) -> Meaning {
    Meaning {
        class: Class::Ambiguous,
        hint,
    }
}

const fn fix(hint: &'static str) -> Meaning {
    Meaning {
        class: Class::SomeoneMustFixIt,
        hint,
    }
}

/// Platform codes, lower case. The first three are the service-protection limits: the request was not executed.
const CODES: [(&str, Meaning); 13] = [
    (
        "0x80072322",
        try_again("Service protection: more than 6000 requests of this user in 5 minutes."),
    ),
    (
        "0x80072321",
        try_again("Service protection: this user's requests took more than 20 minutes of execution time in 5 minutes."),
    ),
    (
        "0x80072326",
        try_again("Service protection: too many requests of this user at the same time."),
    ),
    (
        "desktopflowsactionthrottled",
        try_again("A connection can start 70 runs a minute; spread the starts or use more connections."),
    ),
    (
        "0x80048d19",
        fix("A field of the request has a wrong type or an unknown name; the message names it."),
    ),
    (
        "0x80040265",
        fix(
            "Dataverse refused the action; its message says why. Most often `connectionName` is no connection of the \
             user that signs in (the caller must own it), or the flow is turned off.",
        ),
    ),
    (
        "0x80060891",
        fix("A column of `select`, `filter` or `orderBy` does not exist."),
    ),
    (
        "0x8006088a",
        fix("A part of the address does not exist in this organisation; is Power Automate's solution installed in it?"),
    ),
    (
        "0x80040220",
        fix(
            "The user that signs in lacks a privilege: give its application user the role Environment Maker, and share \
             the desktop flow (Owner is needed for status and cancel) and the machine with it.",
        ),
    ),
    (
        "0x80072560",
        fix(
            "This app has no user in the environment: create an application user for its client id (Power Platform \
             admin centre, Environments, Settings, Application users) with the role Environment Maker.",
        ),
    ),
    (
        "0x80040225",
        fix("The user that signs in is disabled in this environment: an administrator must enable it."),
    ),
    (
        "0x8004d24b",
        fix("The user that signs in has no role in this environment: give it the role Environment Maker."),
    ),
    (
        "0x80040217",
        fix("No such row, or the user that signs in may not see it: check the id, the organisation and the sharing."),
    ),
];

/// Statuses, for refusals without a known code.
const STATUSES: [(u16, Meaning); 14] = [
    (
        400,
        fix("Dataverse does not accept the request; its message says which part."),
    ),
    (
        401,
        fix(
            "The token is not accepted, and a fresh one (if one could be fetched) neither: its audience must be this \
             organisation (scope `<organizationUri>/.default`) and it must not have expired.",
        ),
    ),
    (
        403,
        fix(
            "Not allowed: check that the environment has an application user for the app, its role Environment Maker, \
             the sharing of flow and machine, and the licence.",
        ),
    ),
    (
        404,
        fix("Not found: check the id and `organizationUri`, and that the user that signs in may see it."),
    ),
    (405, fix("The operation is not allowed on this row.")),
    (408, ambiguous("Dataverse gave up on the request.")),
    (412, fix("Dataverse refused: a condition of the request does not hold.")),
    (413, fix("The request is too large: inputs may have 2 MB.")),
    (429, try_again("Dataverse asks to wait.")),
    (500, ambiguous("Dataverse failed inside.")),
    (501, fix("This organisation does not know the operation.")),
    (502, ambiguous("A gateway before Dataverse lost the answer.")),
    (503, ambiguous("Dataverse is not available at the moment.")),
    (504, ambiguous("Dataverse did not answer in time.")),
];

/// The meaning of a refusal.
pub fn meaning(status: u16, code: &str) -> Meaning {
    let proven_unexecuted = (400..500).contains(&status) && status != 408 || status == 503;
    let by_code = || {
        let code = canonical(code);
        CODES.iter().find(|(known, _)| *known == code).map(|(_, found)| *found)
    };
    let by_status = || {
        STATUSES
            .iter()
            .find(|(known, _)| *known == status)
            .map(|(_, found)| *found)
    };
    let found = if proven_unexecuted { by_code() } else { None }.or_else(by_status);
    match found {
        // A bare 503 may have been executed, and only the protection codes prove the contrary.
        Some(found) if status == 503 && found.class != Class::TryAgain => ambiguous(found.hint),
        Some(found) => found,
        None if (300..400).contains(&status) => {
            fix("Something redirects the request: is `organizationUri` the address of a Dataverse organisation?")
        }
        None if status >= 500 => ambiguous("Dataverse failed inside."),
        None => fix("Dataverse does not accept the request."),
    }
}

/// Codes come as `0x80072322`, in either case, and now and then as the signed decimal of the same 32 bits.
fn canonical(code: &str) -> String {
    let code = code.trim();
    match code.parse::<i32>() {
        Ok(number) => format!("0x{number:08x}"),
        Err(_) => code.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protection_codes_mean_not_executed_however_they_are_written() {
        for code in ["0x80072322", "0X80072321", "-2147015902", "0x80072326"] {
            assert_eq!(meaning(429, code).class, Class::TryAgain, "{code}");
            assert_eq!(meaning(503, code).class, Class::TryAgain, "{code}");
        }
    }

    #[test]
    fn after_a_server_error_no_code_proves_that_nothing_was_executed() {
        for status in [408, 500, 502, 503, 504, 599] {
            for code in ["", "0x80040265", "0x80040217"] {
                assert_eq!(meaning(status, code).class, Class::Ambiguous, "{status} {code}");
            }
        }
        for status in [500, 502, 504] {
            assert_eq!(meaning(status, "0x80072322").class, Class::Ambiguous);
        }
    }

    #[test]
    fn a_refused_request_is_somebodys_turn_and_says_whose() {
        for (status, code, word) in [
            (403, "0x80072560", "application user"),
            (403, "0x80040220", "Environment Maker"),
            (404, "0x80040217", "check the id"),
            (400, "0x80040265", "connectionName"),
            (400, "0x80048d19", "wrong type"),
            (401, "", "audience"),
            (302, "", "organizationUri"),
            (418, "", "does not accept"),
        ] {
            let found = meaning(status, code);
            assert_eq!(found.class, Class::SomeoneMustFixIt, "{status} {code}");
            assert!(found.hint.contains(word), "{status} {code}: {}", found.hint);
        }
    }

    /// Codes of the Web API's documentation and of what was seen of it, and whose turn each is: `W` wait, `C` change something.
    const DOCUMENTED: [(u16, &str, char); 14] = [
        (400, "0x80048d19", 'C'),
        (400, "0x80040265", 'C'),
        (400, "0x80060891", 'C'),
        (404, "0x8006088a", 'C'),
        (403, "0x80040220", 'C'),
        (403, "0x80072560", 'C'),
        (403, "0x80040225", 'C'),
        (403, "0x8004d24b", 'C'),
        (404, "0x80040217", 'C'),
        (429, "0x80072322", 'W'),
        (429, "0x80072321", 'W'),
        (429, "0x80072326", 'W'),
        (503, "0x80072322", 'W'),
        (429, "DesktopFlowsActionThrottled", 'W'),
    ];

    #[test]
    fn every_documented_code_is_known_with_its_class_and_a_hint_of_its_own() {
        for (status, code, turn) in DOCUMENTED {
            let found = meaning(status, code);
            let expected = if turn == 'W' {
                Class::TryAgain
            } else {
                Class::SomeoneMustFixIt
            };
            assert_eq!(found.class, expected, "{code}");
            assert_ne!(
                found.hint,
                meaning(status, "0xdeadbeef").hint,
                "{code} has no hint of its own"
            );
        }
        assert_eq!(
            CODES.len(),
            DOCUMENTED.len() - 1,
            "one stands twice in the list of this test"
        );
    }

    #[test]
    fn every_code_in_the_table_can_be_found() {
        for (code, expected) in CODES {
            assert_eq!(canonical(code), code);
            assert_eq!(meaning(400, code), expected);
        }
    }

    #[test]
    fn every_status_in_the_table_can_be_found() {
        for (status, expected) in STATUSES {
            assert_eq!(meaning(status, "0xdeadbeef"), expected);
        }
    }
}
