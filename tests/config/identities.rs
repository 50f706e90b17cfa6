//! `[identities.NAME]` and the cloud that they belong to.

use deskhand::connector::identity::SignIn;
use deskhand::http::token::managed::Service;
use deskhand::secrets::policy::{Cloud, Destination, Policy};
use url::Url;

use super::*;

/// One setting makes a cloud: where tenants sign in, which organisations may have secrets, whose tokens its services take.
#[test]
fn a_cloud_is_one_setting() {
    for (cloud, authority, organization, flow, audience) in [
        (
            "public",
            "https://login.microsoftonline.com/",
            "contoso.crm4.dynamics.com",
            "emea.api.flow.microsoft.com",
            "https://service.flow.microsoft.com",
        ),
        (
            "gcc",
            "https://login.microsoftonline.com/",
            "contoso.crm9.dynamics.com",
            "gov.api.flow.microsoft.us",
            "https://gov.service.flow.microsoft.us",
        ),
        (
            "gcc-high",
            "https://login.microsoftonline.us/",
            "contoso.crm.microsoftdynamics.us",
            "high.api.flow.microsoft.us",
            "https://high.service.flow.microsoft.us",
        ),
        (
            "dod",
            "https://login.microsoftonline.us/",
            "contoso.crm.appsplatform.us",
            "api.flow.appsplatform.us",
            "https://service.flow.appsplatform.us",
        ),
        (
            "china",
            "https://login.chinacloudapi.cn/",
            "contoso.crm.dynamics.cn",
            "api.powerautomate.cn",
            "https://service.powerautomate.cn",
        ),
    ] {
        let file = TestFile::new(
            &format!("cloud-{cloud}"),
            &format!(
                "[secrets]\ncloud = \"{cloud}\"\norganizations = [\"{organization}\"]\n[identities.robot]\n\
                 tenant = \"contoso\"\nclient_id = \"id\"\nclient_secret = \"s\"\nhosts = [\"{organization}\"]\n"
            ),
        );
        let config = load(&file.flags(), &[]).unwrap();
        let endpoint = format!("{authority}contoso/oauth2/v2.0/token");
        assert_eq!(config.identities[0].endpoint.as_str(), endpoint);
        assert_eq!(format!("{}/", config.connectors.desktop_flow.authority), authority);
        let policy = Policy::new(config.policy);
        let may = |url: &str, way| policy.check(&["ANY"], &Url::parse(url).unwrap(), way).is_ok();
        assert!(may(&endpoint, Destination::TokenEndpoint), "{cloud}");
        assert!(may(&format!("https://{organization}/api"), Destination::Api), "{cloud}");
        assert_eq!(deskhand::microsoft::entra::audience_of(flow), Some(audience));
        assert!(deskhand::microsoft::entra::is_flow_service(flow));
        // Another cloud's authority gets nothing.
        for other in Cloud::ALL.iter().map(|other| other.authority()) {
            let same = format!("{other}/") == authority;
            let url = format!("{other}/contoso/oauth2/v2.0/token");
            assert_eq!(may(&url, Destination::TokenEndpoint), same, "{cloud} {other}");
        }
    }
}

#[test]
fn an_organization_of_another_cloud_is_a_fault() {
    for (cloud, organization) in [
        ("public", "contoso.crm.dynamics.cn"),
        ("public", "contoso.crm.microsoftdynamics.us"),
        ("china", "contoso.crm4.dynamics.com"),
        ("dod", "contoso.crm9.dynamics.com"),
    ] {
        let text = format!("[secrets]\ncloud = \"{cloud}\"\norganizations = [\"{organization}\"]\n");
        let file = TestFile::new(&format!("other-cloud-{cloud}-{organization}"), &text);
        let found = faults(&file.flags(), &[]);
        assert!(
            found[0].contains(organization) && found[0].contains("secrets.cloud"),
            "{found:?}"
        );
    }
    // An address of one's own (a test, a proxy) belongs to no cloud.
    let own = TestFile::new(
        "own-organization",
        "[secrets]\ncloud = \"china\"\norganizations = [\"127.0.0.1:8443\"]\n",
    );
    load(&own.flags(), &[]).unwrap();
}

fn identity(name: &str, keys: &str) -> TestFile {
    let always = "hosts = [\"contoso.crm4.dynamics.com\"]";
    TestFile::new(name, &format!("[identities.robot]\n{always}\n{keys}\n"))
}

#[test]
fn every_way_to_sign_in_is_read() {
    let app = "tenant = \"t\"\nclient_id = \"id\"\n";
    let environment = [
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"),
        ("IDENTITY_HEADER", "h"),
    ];
    for (name, keys, fits) in [
        (
            "pfx",
            format!(
                "{app}certificate = \"x.pfx\"\ncertificate_password = \"{{{{secrets.P}}}}\"\nalgorithm = \"RS256\""
            ),
            (|way| matches!(way, SignIn::Certificate { password: Some(_), .. })) as fn(&SignIn) -> bool,
        ),
        ("token-file", format!("{app}federated_token_file = \"x\""), |way| {
            matches!(way, SignIn::FederatedFile(_))
        }),
        (
            "token-url",
            format!("{app}federated_token_url = \"http://localhost:8080/t\"\nfederated_token_bearer = \"b\""),
            |way| matches!(way, SignIn::FederatedUrl { bearer: Some(_), .. }),
        ),
        (
            "secret",
            format!("{app}client_secret = \"s\"\nexpires = \"2027-03-01\""),
            |way| matches!(way, SignIn::Secret { .. }),
        ),
        (
            "machine",
            "managed = \"auto\"".into(),
            |way| matches!(way, SignIn::Managed(identity) if matches!(identity.service, Service::AppService { .. })),
        ),
        (
            "imds",
            "managed = \"imds\"".into(),
            |way| matches!(way, SignIn::Managed(identity) if matches!(identity.service, Service::Imds(_))),
        ),
    ] {
        let config = load(&identity(name, &keys).flags(), &environment).unwrap();
        assert!(fits(&config.identities[0].sign_in), "{name}");
        let expires = config.identities[0].expires.map(|moment| moment.to_string());
        assert_eq!(expires.as_deref(), (name == "secret").then_some("2027-03-01T00:00:00Z"));
        // Where tasks sign in as the machine themselves, it is this machine, too.
        assert!(matches!(config.machine, Service::AppService { .. }));
    }
}

#[test]
fn what_is_wrong_with_an_identity_is_said_without_a_value() {
    let app = "tenant = \"t\"\nclient_id = \"id\"\n";
    for (name, keys, part) in [
        (
            "two-ways",
            format!("{app}certificate = \"x\"\nfederated_token_url = \"http://x/\""),
            "choose one",
        ),
        (
            "no-url",
            format!("{app}federated_token_url = \"not a url\""),
            "`federated_token_url` is not a URL",
        ),
        (
            "no-day",
            format!("{app}client_secret = \"s3cret-value\"\nexpires = \"soon\""),
            "`expires` is a day",
        ),
        (
            "algorithm",
            format!("{app}certificate = \"x\"\nalgorithm = \"HS256\""),
            "PS256 or RS256",
        ),
        (
            "unknown",
            format!("{app}client_secret = \"s3cret-value\"\nsecrett = 1"),
            "certificate_password",
        ),
        ("no-service", "managed = \"app-service\"".into(), "IDENTITY_ENDPOINT"),
    ] {
        let found = faults(&identity(name, &keys).flags(), &[]);
        assert!(
            found[0].contains("identities.robot") && found[0].contains(part),
            "{name}: {found:?}"
        );
        assert!(!found[0].contains("s3cret"), "{found:?}");
    }
}

#[test]
fn diagrams_come_from_one_place() {
    let both = TestFile::new(
        "both-places",
        "[secrets]\ndiagrams = \"/diagrams\"\nengine_address = \"http://localhost:8080\"\n",
    );
    assert!(faults(&both.flags(), &[])[0].contains("one place"));
    let wrong = TestFile::new("no-address", "[secrets]\nengine_address = \"localhost\"\n");
    assert!(faults(&wrong.flags(), &[])[0].contains("http://localhost:8080"));
    let file = TestFile::new(
        "engine-address",
        "[secrets]\nengine_address = \"http://localhost:8080\"\n",
    );
    let config = load(&file.flags(), &[]).unwrap();
    assert_eq!(
        config.secrets.allow_list.engine.unwrap().as_str(),
        "http://localhost:8080/"
    );
}
