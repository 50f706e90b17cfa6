//! What carries the token of a start: a request goes in; out comes the same request with the token in it, and where.
//!
//! A callback URL is the better carrier, since runs can be searched by it: the task's own with a parameter more, our
//! receiver's, or one that operations set for this alone. Without any, an input of the flow that the task names.

use serde_json::{Map, Value};

use super::Settings;
use crate::microsoft::dataverse::workflows::RunRequest;
use crate::runs::journal::Carrier;
use crate::runs::message;
use crate::runs::token::Token;

/// The parameter that a URL gets.
const PARAMETER: &str = "deskhandToken";
/// Longest callback URL that Dataverse stores, characters.
const LONGEST_URL: usize = 2000;

impl Settings {
    /// What will carry the token of a start; an input of the flow is not looked at.
    pub(in crate::connector::desktop_flow) fn carrier_of(&self, request: &RunRequest) -> Option<Carrier> {
        let carries = match &request.callback_url {
            Some(_) => self.append_token,
            None => self.callback_url.is_some() || self.token_url.is_some(),
        };
        carries.then_some(Carrier::CallbackUrl)
    }
}

/// Puts the token where it can travel, and the mark of a wanted message beside it in a URL.
pub(super) fn dressed(
    mut request: RunRequest,
    token_input: Option<&str>,
    (token, mark): (&Token, Option<&str>),
    settings: &Settings,
) -> (RunRequest, Option<Carrier>) {
    let mut carrier = None;
    if let Some(name) = token_input
        && let Some(inputs) = with_input(request.inputs.as_deref(), name, token)
    {
        request.inputs = Some(inputs);
        carrier = Some(Carrier::Input(name.to_owned()));
    }
    let url = match (&request.callback_url, &settings.callback_url, &settings.token_url) {
        (Some(own), _, _) if settings.append_token => Some(with_parameter(own, PARAMETER, token)),
        (Some(_), _, _) => None,
        (None, Some(receiver), _) => Some(format!("{}/{token}", receiver.trim_end_matches('/'))),
        (None, None, Some(url)) => Some(with_parameter(url, PARAMETER, token)),
        (None, None, None) => None,
    };
    let url = match (url, mark) {
        (Some(url), Some(mark)) => Some(with_parameter(&url, message::PARAMETER, &mark)),
        (url, _) => url,
    };
    if let Some(url) = url.filter(|url| url.chars().count() <= LONGEST_URL) {
        request.callback_url = Some(url);
        carrier = Some(Carrier::CallbackUrl);
    }
    (request, carrier)
}

/// As text: nothing else of the URL may change, since it may be signed.
fn with_parameter(url: &str, name: &str, value: &impl std::fmt::Display) -> String {
    let (address, fragment) = match url.split_once('#') {
        Some((address, fragment)) => (address, format!("#{fragment}")),
        None => (url, String::new()),
    };
    let joint = match address.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some((_, query)) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{address}{joint}{name}={value}{fragment}")
}

fn with_input(inputs: Option<&str>, name: &str, token: &Token) -> Option<String> {
    let mut inputs: Map<String, Value> = match inputs {
        Some(text) => serde_json::from_str(text).ok()?,
        None => Map::new(),
    };
    inputs.insert(name.to_owned(), token.to_string().into());
    serde_json::to_string(&inputs).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::token::{Subject, Tokens};

    fn token() -> Token {
        let subject = Subject {
            process_instance: 1,
            element_instance: 2,
            attempt: 1,
        };
        Tokens::new("n", None).fresh(subject).unwrap()
    }

    fn request(callback_url: Option<&str>) -> RunRequest {
        RunRequest {
            run_mode: "attended".into(),
            run_priority: None,
            connection_name: "c".into(),
            connection_type: None,
            timeout: None,
            inputs: Some(r#"{"b":1,"a":2}"#.into()),
            callback_url: callback_url.map(Into::into),
            others: Map::new(),
        }
    }

    fn set(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::default();
        change(&mut settings);
        settings
    }

    #[test]
    fn the_tasks_own_url_gets_a_parameter_and_keeps_everything_else() {
        let token = token();
        for (own, with) in [
            ("https://h/p", "https://h/p?deskhandToken=@"),
            ("https://h/p?", "https://h/p?deskhandToken=@"),
            (
                "https://h/p?sig=a%2Fb'c&sp=%zz",
                "https://h/p?sig=a%2Fb'c&sp=%zz&deskhandToken=@",
            ),
            ("https://h/p?a=1&#top", "https://h/p?a=1&deskhandToken=@#top"),
        ] {
            let (dressed, carrier) = dressed(request(Some(own)), None, (&token, None), &Settings::default());
            assert_eq!(dressed.callback_url, Some(with.replace('@', &token.to_string())));
            assert_eq!(carrier, Some(Carrier::CallbackUrl));
        }
    }

    #[test]
    fn a_url_that_may_not_be_touched_or_has_no_room_carries_nothing() {
        let long = format!("https://h/{}", "x".repeat(1950));
        for (own, settings) in [
            ("https://h/p", set(|settings| settings.append_token = false)),
            (long.as_str(), Settings::default()),
        ] {
            let (dressed, carrier) = dressed(request(Some(own)), None, (&token(), None), &settings);
            assert_eq!((dressed.callback_url.as_deref(), carrier), (Some(own), None));
        }
    }

    #[test]
    fn without_a_url_of_the_task_our_receiver_comes_before_the_configured_one() {
        let token = token();
        let both = set(|settings| {
            settings.callback_url = Some("https://me/callback/".into());
            settings.token_url = Some("https://other/x".into());
        });
        let (dressed_one, carrier) = dressed(request(None), None, (&token, None), &both);
        assert_eq!(dressed_one.callback_url, Some(format!("https://me/callback/{token}")));
        assert_eq!(carrier, Some(Carrier::CallbackUrl));
        let one = set(|settings| settings.token_url = Some("https://other/x".into()));
        let (dressed_one, _) = dressed(request(None), None, (&token, None), &one);
        assert_eq!(
            dressed_one.callback_url,
            Some(format!("https://other/x?deskhandToken={token}"))
        );
    }

    #[test]
    fn a_mark_stands_beside_the_token_wherever_that_is_in_a_url() {
        let token = token();
        let ours = set(|settings| settings.callback_url = Some("https://me/callback".into()));
        for (own, settings, with) in [
            (
                Some("https://h/p#x"),
                &Settings::default(),
                "https://h/p?deskhandToken=@&deskhandMessage=m#x",
            ),
            (None, &ours, "https://me/callback/@?deskhandMessage=m"),
        ] {
            let (dressed, carrier) = dressed(request(own), None, (&token, Some("m")), settings);
            assert_eq!(dressed.callback_url, Some(with.replace('@', &token.to_string())));
            assert_eq!(carrier, Some(Carrier::CallbackUrl));
        }
        let long = format!("https://h/{}", "x".repeat(1800));
        let mark = "m".repeat(200);
        let (_, carrier) = dressed(request(Some(&long)), None, (&token, Some(&mark)), &Settings::default());
        assert_eq!(carrier, None);
    }

    #[test]
    fn an_input_carries_the_token_and_the_others_stay_as_they_are() {
        let token = token();
        let (dressed_one, carrier) = dressed(request(None), Some("Token"), (&token, None), &Settings::default());
        assert_eq!(
            dressed_one.inputs,
            Some(format!(r#"{{"b":1,"a":2,"Token":"{token}"}}"#))
        );
        assert_eq!(carrier, Some(Carrier::Input("Token".into())));
        assert_eq!(dressed_one.callback_url, None);
    }
}
