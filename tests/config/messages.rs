//! `[messages]`: whose ends of runs are published, and for how long.

use deskhand::microsoft::dataverse::Organization;

use super::*;

const ROBOT: &str = "[identities.rpa-prod]\ntenant = \"contoso\"\nclient_id = \"id\"\nclient_secret = \"s\"\n\
                     hosts = [\"contoso.crm4.dynamics.com\", \"127.0.0.1:8080\"]\n";

fn with(name: &str, messages: &str) -> Result<Config, Vec<Fault>> {
    let file = TestFile::new(name, &format!("{ROBOT}[messages]\n{messages}\n"));
    load(&file.flags(), &[])
}

#[test]
fn an_outbox_is_an_identity_and_an_organisation_that_it_may_be_used_for() {
    let outbox = "outbox = [\"rpa-prod@contoso.crm4.dynamics.com\", \"rpa-prod@http://127.0.0.1:8080/org\"]";
    let settings = with("outbox", outbox).unwrap().connectors.desktop_flow.outbox;
    let organization = |url: &str| Organization::parse(url, &[]).unwrap();
    assert!(settings.covers("rpa-prod", &organization("https://contoso.crm4.dynamics.com/")));
    assert!(settings.covers("rpa-prod", &organization("http://127.0.0.1:8080/org")));
    assert!(!settings.covers("rpa-prod", &organization("https://fabrikam.crm4.dynamics.com")));
    assert!(!settings.covers("rpa-test", &organization("https://contoso.crm4.dynamics.com")));
}

#[test]
fn what_could_never_be_published_is_a_fault() {
    for (number, (messages, problem)) in [
        (
            "outbox = [\"contoso.crm4.dynamics.com\"]",
            "names no organisation: write IDENTITY@HOST",
        ),
        (
            "outbox = [\"rpa-prd@contoso.crm4.dynamics.com\"]",
            "did you mean 'rpa-prod'?",
        ),
        (
            "outbox = [\"rpa-prod@fabrikam.crm4.dynamics.com\"]",
            "may not be used for",
        ),
        (
            "outbox = [\"rpa-prod@http://contoso.crm4.dynamics.com\"]",
            "must begin with `https://`",
        ),
        (
            "look_back = \"3d\"",
            "must be longer than messages.look_back by ten minutes",
        ),
        (
            "time_to_live = \"1d\"",
            "must be longer than messages.look_back by ten minutes",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let faults = with(&format!("outbox-{number}"), messages).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].message.contains(problem), "{faults:?}");
        assert!(faults[0].place.to_lowercase().contains("messages"), "{faults:?}");
    }
    assert!(with("longer", "look_back = \"3d\"\ntime_to_live = \"4d\"").is_ok());
}
