//! Microsoft Entra ID, the sign-in service: where its token endpoints are, which scope asks for which API, and what its
//! AADSTS numbers mean, as data.

use jiff::SignedDuration;
use url::Url;

use super::{Class, Meaning};
use crate::http::token::{TokenError, TokenFault};
use crate::secrets::policy::Cloud;

/// Sign-in authority of the public cloud.
pub const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";

/// How long a refresh token lives that is not used (the service's default; each use gives a new one).
pub const REFRESH_TOKENS_LIVE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Is this the sign-in service's host, in any cloud?
pub fn is_authority(host: &str) -> bool {
    Cloud::ALL.iter().any(|cloud| cloud.authorities().contains(&host))
}

/// The token endpoint of a tenant (a GUID or a domain) at an authority such as [`PUBLIC_AUTHORITY`].
///
/// `None` when the authority is no URL that can have a path, or the tenant is not one plain path segment.
pub fn token_endpoint(authority: &str, tenant: &str) -> Option<Url> {
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_');
    if tenant.is_empty() || tenant.starts_with('.') || !tenant.chars().all(plain) {
        return None;
    }
    let mut url = Url::parse(authority).ok()?;
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .extend([tenant, "oauth2", "v2.0", "token"]);
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

/// The scope that asks for everything the app may do at an API; `resource` is its address, with or without slash.
pub fn default_scope(resource: &str) -> String {
    format!("{}/.default", resource.trim_end_matches('/'))
}

/// Hosts of Microsoft's APIs whose tokens are for another address than their own, in all clouds; a name covers those below
/// it. Dataverse is not among them: its audience is the organisation.
const AUDIENCES: &[(&str, &str)] = &[
    ("api.flow.microsoft.com", "https://service.flow.microsoft.com"),
    ("gov.api.flow.microsoft.us", "https://gov.service.flow.microsoft.us"),
    ("high.api.flow.microsoft.us", "https://high.service.flow.microsoft.us"),
    ("api.flow.appsplatform.us", "https://service.flow.appsplatform.us"),
    ("api.powerautomate.cn", "https://service.powerautomate.cn"),
    ("api.powerapps.com", "https://service.powerapps.com"),
    ("api.bap.microsoft.com", "https://service.powerapps.com"),
    ("gov.api.powerapps.us", "https://gov.service.powerapps.us"),
    ("gov.api.bap.microsoft.us", "https://gov.service.powerapps.us"),
    ("high.api.powerapps.us", "https://high.service.powerapps.us"),
    ("high.api.bap.microsoft.us", "https://high.service.powerapps.us"),
    ("api.apps.appsplatform.us", "https://service.apps.appsplatform.us"),
    ("api.bap.appsplatform.us", "https://service.apps.appsplatform.us"),
    ("api.powerapps.cn", "https://service.powerapps.cn"),
    ("api.bap.partner.microsoftonline.cn", "https://service.powerapps.cn"),
    ("api.powerplatform.com", "https://api.powerplatform.com"),
    (
        "api.gov.powerplatform.microsoft.us",
        "https://api.gov.powerplatform.microsoft.us",
    ),
    (
        "api.high.powerplatform.microsoft.us",
        "https://api.high.powerplatform.microsoft.us",
    ),
    ("api.appsplatform.us", "https://api.appsplatform.us"),
    (
        "api.powerplatform.partner.microsoftonline.cn",
        "https://api.powerplatform.partner.microsoftonline.cn",
    ),
];

fn is_or_is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The audience of tokens for a host of Microsoft's; `None`: its own address.
pub fn audience_of(host: &str) -> Option<&'static str> {
    AUDIENCES
        .iter()
        .find(|(name, _)| is_or_is_below(host, name))
        .map(|(_, audience)| *audience)
}

/// Is this the flow service ("ProcessSimple"), which takes tokens of users only?
pub fn is_flow_service(host: &str) -> bool {
    audience_of(host)
        .is_some_and(|audience| audience.contains("service.flow.") || audience.contains("service.powerautomate."))
}

/// A row: numbers that mean the same, whose turn it is, a hint.
type Row = (&'static [u32], Class, &'static str);

const TABLE: [Row; 24] = [
    (
        &[
            50033, 50087, 90006, 90012, 90024, 90033, 90090, 40010, 70012, 80002, 80005, 80014, 90055,
        ],
        Class::TryAgain,
        "The sign-in service is busy or out of order for a moment.",
    ),
    (
        &[50196],
        Class::TryAgain,
        "The sign-in service saw the same request too often in a short time: something asks for tokens in a loop.",
    ),
    (
        &[700213, 70021],
        Class::SomeoneMustFixIt,
        "No federated credential of the app matches the assertion: check issuer, subject and audience (a new one needs \
         some minutes).",
    ),
    (
        &[7000215, 70002],
        Class::SomeoneMustFixIt,
        "The client secret is wrong: use the secret's value, not its id, and of this app.",
    ),
    (
        &[7000222],
        Class::SomeoneMustFixIt,
        "The client secret has expired: create a new one for the app and store it where deskhand reads secrets.",
    ),
    (
        &[700016, 700011],
        Class::SomeoneMustFixIt,
        "The app is not known in this tenant: check `clientId` and the tenant in the token endpoint.",
    ),
    (
        &[7000112, 70001],
        Class::SomeoneMustFixIt,
        "The app is disabled in this tenant: an administrator must enable it.",
    ),
    (
        &[700027, 50012, 50013, 700030],
        Class::SomeoneMustFixIt,
        "The certificate or the assertion signed with it is not accepted: is the certificate registered with the app?",
    ),
    (
        &[500133],
        Class::SomeoneMustFixIt,
        "The assertion is not valid at this time: check the clock of this machine.",
    ),
    (
        &[7000218],
        Class::SomeoneMustFixIt,
        "No client secret reached the sign-in service: fill `authentication.clientSecret`.",
    ),
    (
        &[700025],
        Class::SomeoneMustFixIt,
        "The app is a public client and must not send a secret: leave the secret out, or turn public client flows off.",
    ),
    (
        &[90002],
        Class::SomeoneMustFixIt,
        "There is no such tenant: check the token endpoint (and the cloud it belongs to).",
    ),
    (
        &[900144, 90014],
        Class::SomeoneMustFixIt,
        "A field is missing in the token request; the message names it.",
    ),
    (
        &[9002313, 90023],
        Class::SomeoneMustFixIt,
        "The token request is malformed; the message names what.",
    ),
    (
        &[70011, 28002, 28003],
        Class::SomeoneMustFixIt,
        "The scope is wrong: write `<organizationUri>/.default`.",
    ),
    (
        &[700022],
        Class::SomeoneMustFixIt,
        "The scopes belong to two different APIs: ask for one at a time.",
    ),
    (
        &[500011, 50001, 650057],
        Class::SomeoneMustFixIt,
        "The API named by the scope is not in this tenant: check `organizationUri`, the scope and the tenant.",
    ),
    (
        &[65001, 90094],
        Class::SomeoneMustFixIt,
        "Consent is missing: an administrator must grant the app its permissions.",
    ),
    (
        &[50105],
        Class::SomeoneMustFixIt,
        "The app wants its users assigned, and this one is not.",
    ),
    (
        &[50126, 50034, 50055, 50056, 50057, 50053],
        Class::SomeoneMustFixIt,
        "User name or password is not accepted, or the account is locked, disabled or expired.",
    ),
    (
        &[
            50076, 50079, 50074, 50072, 50158, 53000, 53001, 53002, 53003, 530032, 530035,
        ],
        Class::SomeoneMustFixIt,
        "A second factor or a Conditional Access rule stands in the way: use an app (client credentials) instead of a \
         user, or have it excepted.",
    ),
    (
        &[70000, 70008, 700082, 700084, 70043, 50173],
        Class::SomeoneMustFixIt,
        "The refresh token is dead: sign in again and store the new one.",
    ),
    (
        &[9001023],
        Class::SomeoneMustFixIt,
        "This token endpoint does not serve this grant: use `<authority>/<tenant>/oauth2/v2.0/token`.",
    ),
    (
        &[90038],
        Class::SomeoneMustFixIt,
        "The tenant belongs to another cloud: use that cloud's authority.",
    ),
];

/// The meaning of an AADSTS number.
pub fn meaning(number: u32) -> Option<Meaning> {
    TABLE
        .iter()
        .find(|(numbers, ..)| numbers.contains(&number))
        .map(|&(_, class, hint)| Meaning { class, hint })
}

/// Whose turn it is when there is no token.
pub fn class(error: &TokenError) -> Class {
    match known(error) {
        Some(known) => known.class,
        None if error.is_retryable() => Class::TryAgain,
        None => Class::SomeoneMustFixIt,
    }
}

/// What to do next when there is no token, where more is known than the message says.
pub fn hint(error: &TokenError) -> Option<&'static str> {
    known(error).map(|known| known.hint)
}

fn known(error: &TokenError) -> Option<Meaning> {
    match &error.fault {
        TokenFault::Refused { aadsts, .. } => meaning((*aadsts)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_and_an_authority_make_a_token_endpoint() {
        for authority in [
            "https://login.microsoftonline.com",
            "https://login.microsoftonline.com/",
        ] {
            assert_eq!(
                token_endpoint(authority, "contoso.onmicrosoft.com").unwrap().as_str(),
                "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"
            );
        }
    }

    #[test]
    fn an_authority_may_lie_below_a_path() {
        let endpoint = token_endpoint("http://127.0.0.1:8080/login/", "t").unwrap();
        assert_eq!(endpoint.as_str(), "http://127.0.0.1:8080/login/t/oauth2/v2.0/token");
    }

    #[test]
    fn a_tenant_cannot_lead_elsewhere() {
        for tenant in ["", "..", "a/b", "a?b", "a#b", "a b", "%2e%2e"] {
            assert_eq!(token_endpoint(PUBLIC_AUTHORITY, tenant), None, "{tenant}");
        }
    }

    #[test]
    fn the_scope_has_one_slash_whatever_the_resource_ends_with() {
        for resource in ["https://a.crm4.dynamics.com", "https://a.crm4.dynamics.com/"] {
            assert_eq!(default_scope(resource), "https://a.crm4.dynamics.com/.default");
        }
    }

    #[test]
    fn hosts_have_the_audience_of_their_service_in_every_cloud() {
        for (host, audience) in [
            ("api.flow.microsoft.com", Some("https://service.flow.microsoft.com")),
            (
                "emea.api.flow.microsoft.com",
                Some("https://service.flow.microsoft.com"),
            ),
            ("api.bap.microsoft.com", Some("https://service.powerapps.com")),
            (
                "abc.12.environment.api.powerplatform.com",
                Some("https://api.powerplatform.com"),
            ),
            ("api.powerautomate.cn", Some("https://service.powerautomate.cn")),
            ("x.environment.api.appsplatform.us", Some("https://api.appsplatform.us")),
            ("api.bap.appsplatform.us", Some("https://service.apps.appsplatform.us")),
            (
                "api.bap.partner.microsoftonline.cn",
                Some("https://service.powerapps.cn"),
            ),
            ("contoso.crm4.dynamics.com", None),
            ("evilapi.flow.microsoft.com", None),
            ("api.flow.microsoft.com.evil.example", None),
        ] {
            assert_eq!(audience_of(host), audience, "{host}");
        }
        assert!(is_flow_service("india.api.flow.microsoft.com") && is_flow_service("high.api.flow.microsoft.us"));
        assert!(!is_flow_service("api.powerapps.com") && !is_flow_service("contoso.crm4.dynamics.com"));
    }

    #[test]
    fn a_number_is_explained() {
        let found = meaning(7_000_222).unwrap();
        assert_eq!(found.class, Class::SomeoneMustFixIt);
        assert!(found.hint.contains("expired"));
        assert_eq!(meaning(1), None);
    }

    /// The numbers of Microsoft's documentation that a worker can meet, by what helps.
    #[test]
    fn every_number_has_a_class_and_a_hint() {
        const PASSING: &[u32] = &[
            50033, 50087, 90006, 90012, 90024, 90033, 90090, 40010, 70012, 80002, 80005, 80014, 90055, 50196,
        ];
        const LASTING: &[u32] = &[
            7_000_215, 70002, 7_000_222, 700_016, 700_011, 7_000_112, 70001, 700_027, 50012, 50013, 700_030, 500_133,
            7_000_218, 700_025, 90002, 900_144, 90014, 9_002_313, 90023, 70011, 28002, 28003, 700_022, 500_011, 50001,
            650_057, 65001, 90094, 50105, 50126, 50034, 50055, 50056, 50057, 50053, 50076, 50079, 50074, 50072, 50158,
            53000, 53001, 53002, 53003, 530_032, 530_035, 70000, 70008, 700_082, 700_084, 70043, 50173, 9_001_023,
            90038, 700_213, 70021,
        ];
        for (numbers, class) in [(PASSING, Class::TryAgain), (LASTING, Class::SomeoneMustFixIt)] {
            for number in numbers {
                let found = meaning(*number).unwrap_or_else(|| panic!("{number} is not explained"));
                assert_eq!(found.class, class, "{number}");
                assert!(
                    found.hint.len() > 20 && found.hint.ends_with(['.', '?']),
                    "{number}: {}",
                    found.hint
                );
                // The cache and the worker must not disagree about what to try again.
                let body = format!(r#"{{"error":"invalid_client","error_codes":[{number}]}}"#);
                let error = TokenError::of_refusal("login.example", 400, &body);
                assert_eq!(error.is_retryable(), class == Class::TryAgain, "{number}");
                assert_eq!(self::class(&error), class, "{number}");
                assert_eq!(hint(&error), Some(found.hint), "{number}");
            }
        }
        let all = TABLE.iter().map(|(numbers, ..)| numbers.len()).sum::<usize>();
        assert_eq!(all, PASSING.len() + LASTING.len());
    }

    #[test]
    fn no_number_has_two_meanings() {
        let mut numbers: Vec<u32> = TABLE.iter().flat_map(|(numbers, ..)| numbers.iter().copied()).collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }

    #[test]
    fn what_the_sign_in_service_can_mend_itself_is_tried_again() {
        for number in [90033, 50196, 90055] {
            assert_eq!(meaning(number).unwrap().class, Class::TryAgain, "{number}");
        }
    }
}
