//! Tokens of another identity provider that a URL gives: each question asks anew, and what goes wrong is told apart.

use axum::routing::any;

use super::*;

type Answers = Arc<std::sync::Mutex<Vec<(u16, String)>>>;

/// A provider that gives these answers one after the other, the last for ever, and notes what it was shown.
async fn provider(answers: &[(u16, &str)]) -> (String, Answers) {
    let answers: Vec<(u16, String)> = answers
        .iter()
        .map(|(status, body)| (*status, (*body).to_owned()))
        .collect();
    let seen: Answers = Arc::default();
    let journal = seen.clone();
    let answer = move |request: Request| {
        let shown = request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        let mut journal = journal.lock().unwrap();
        let (status, body) = answers[journal.len().min(answers.len() - 1)].clone();
        journal.push((status, format!("{} {}", request.uri(), shown.unwrap_or_default())));
        async move { (StatusCode::from_u16(status).unwrap(), body) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!(
        "http://{}/token?audience=api://AzureADTokenExchange",
        listener.local_addr().unwrap()
    );
    let routes = Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, seen)
}

/// A token endpoint that notes the assertions it was shown; a token has no time to live, so that it is not kept.
async fn endpoint() -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let shown: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let journal = shown.clone();
    let answer = move |body: String| {
        let form = url::form_urlencoded::parse(body.as_bytes());
        let assertion = form
            .filter(|(name, _)| name == "client_assertion")
            .map(|(_, value)| value.into_owned());
        journal.lock().unwrap().extend(assertion);
        async move { Json(json!({"access_token": "token", "expires_in": 0})) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/token", listener.local_addr().unwrap());
    let routes = Router::new().route("/token", post(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, shown)
}

fn robot(url: &str, endpoint: &str) -> Identities {
    let way = SignIn::FederatedUrl {
        url: Url::parse(url).unwrap(),
        bearer: Some("{{secrets.APP}}".into()),
    };
    identities(vec![settings(way, endpoint, "contoso.crm4.dynamics.com")])
}

#[tokio::test]
async fn the_token_of_a_url_is_asked_for_anew_each_time_in_every_shape_that_providers_have() {
    let answers = [
        (200, r#"{"count": 1, "value": "aa.bb.cc"}"#),
        (200, "dd.ee.ff\n"),
        (200, r#""gg.hh.ii""#),
        (200, r#"{"access_token": "jj.kk.ll", "token_type": "jwt"}"#),
    ];
    let (url, asked) = provider(&answers).await;
    let (endpoint, shown) = endpoint().await;
    let identities = robot(&url, &endpoint);
    for _ in 0..4 {
        token(&identities, "https://contoso.crm4.dynamics.com/api")
            .await
            .unwrap();
    }
    assert_eq!(*shown.lock().unwrap(), ["aa.bb.cc", "dd.ee.ff", "gg.hh.ii", "jj.kk.ll"]);
    for (_, asked) in asked.lock().unwrap().iter() {
        assert_eq!(
            asked,
            "/token?audience=api://AzureADTokenExchange Bearer demo-client-secret"
        );
    }
}

#[tokio::test]
async fn an_outage_of_the_provider_may_pass_and_nonsense_does_not_and_neither_reaches_the_endpoint() {
    let (endpoint, shown) = endpoint().await;
    for (status, body, passes) in [
        (503, "busy", true),
        (429, "", true),
        (403, "no", false),
        (302, "", false),
        (200, "<html>Sign in. a.b.c</html>", false),
        (200, "{\"value\": 7}", false),
        (200, "", false),
    ] {
        let (url, _) = provider(&[(status, body)]).await;
        let error = token(&robot(&url, &endpoint), "https://contoso.crm4.dynamics.com/api")
            .await
            .unwrap_err();
        assert_eq!(error.is_retryable(), passes, "{status} {body}: {error}");
        assert!(error.to_string().contains("federated token"), "{error}");
        assert!(!error.to_string().contains("demo-client-secret"), "{error}");
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::time::pause();
    let error = token(&robot(&silent, &endpoint), "https://contoso.crm4.dynamics.com/api")
        .await
        .unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("10 s"), "{error}");
    tokio::time::resume();
    let nobody = "http://127.0.0.1:1/token";
    let error = token(&robot(nobody, &endpoint), "https://contoso.crm4.dynamics.com/api")
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(shown.lock().unwrap().is_empty());
}
