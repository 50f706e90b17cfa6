//! Credentials that end are announced: in the log once for each day, and as a number.

use deskhand::connector::expiry::{Announced, Ending};
use deskhand::metrics::metrics;
use jiff::{SignedDuration, Timestamp};

use super::*;

fn secret() -> SignIn {
    SignIn::Secret {
        secret: "{{secrets.APP}}".into(),
        way: ClientAuthentication::Body,
    }
}

fn named(name: &str, sign_in: SignIn, expires: Option<Timestamp>) -> Settings {
    Settings {
        name: name.into(),
        expires,
        ..settings(
            sign_in,
            "https://login.microsoftonline.com/t/oauth2/v2.0/token",
            "contoso.crm4.dynamics.com",
        )
    }
}

fn certificate(file: &str, password: Option<&str>) -> SignIn {
    SignIn::Certificate {
        certificate: Certificate::new(pem(file), None, Algorithm::Ps256, false),
        password: password.map(str::to_owned),
    }
}

#[tokio::test]
async fn each_credentials_end_is_known_from_where_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let file = RefreshTokenFile(directory.path().join("refresh"));
    file.write(&"a-refresh-token".into()).unwrap();
    let refreshing = SignIn::RefreshToken {
        token: "{{secrets.REFRESH}}".into(),
        file: Some(file),
        secret: None,
    };
    let day: Timestamp = "2027-03-01T00:00:00Z".parse().unwrap();
    let identities = identities(vec![
        named("expired", certificate("expired.pem", None), None),
        named("pfx", certificate("modern.pfx", Some("{{secrets.PFX}}")), None),
        named("locked", certificate("modern.pfx", Some("{{secrets.PASSWORD}}")), None),
        named("secret", secret(), Some(day)),
        named("unknown", secret(), None),
        named("refreshing", refreshing, None),
    ]);
    let endings = identities.endings().await;
    let of = |name: &str| endings.iter().find(|ending| ending.identity == name);
    let now = Timestamp::now();
    assert!(
        of("expired")
            .unwrap()
            .ends
            .as_ref()
            .unwrap()
            .to_string()
            .starts_with("2021-01-01")
    );
    assert_eq!(of("expired").unwrap().days(now), None);
    assert!(of("pfx").unwrap().days(now).unwrap() > 10_000);
    let locked = of("locked").unwrap().ends.as_ref().unwrap_err();
    assert!(
        locked.contains("is wrong") && !locked.contains("demo-password"),
        "{locked}"
    );
    assert_eq!(of("secret").unwrap().ends, Ok(day));
    assert!(of("unknown").is_none());
    // What the sign-in service promises of a refresh token that is not used.
    assert!((88..=90).contains(&of("refreshing").unwrap().days(now).unwrap()));
}

#[tokio::test]
async fn an_end_is_said_once_a_day_and_as_a_number() {
    let now = Timestamp::now();
    let ending = |days: i64| Ending {
        identity: "soon".into(),
        credential: "client secret",
        ends: Ok(now + SignedDuration::from_hours(24 * days + 1)),
    };
    let mut announced = Announced::default();
    assert_eq!(announced.tell(&ending(31), now), None);
    assert_eq!(
        announced.tell(&ending(29), now).as_deref(),
        Some("credential expires in 29 days")
    );
    assert_eq!(announced.tell(&ending(29), now), None);
    assert_eq!(
        announced.tell(&ending(0), now).as_deref(),
        Some("credential expires in 0 days")
    );
    assert!(
        announced
            .tell(&ending(-1), now)
            .unwrap()
            .starts_with("credential has expired at ")
    );
    assert_eq!(announced.tell(&ending(-1), now), None);

    let identities = identities(vec![named("counted", certificate("expired.pem", None), None)]);
    let watching = tokio::spawn(deskhand::connector::expiry::watch(Arc::new(identities), None));
    let line =
        "deskhand_credential_expiry_timestamp_seconds{identity=\"counted\",credential=\"certificate\"} 1609459200";
    while !metrics().text().contains(line) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    watching.abort();
}
