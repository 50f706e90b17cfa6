//! The cache of tokens against an endpoint that answers byte by byte.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::{Audience, Fetched, TokenRequest, Tokens};
use crate::http::Answer;
use crate::http::tests::{Server, client};

/// The 401 of an API, with this challenge.
fn unauthorized(challenge: &str) -> Answer {
    let value = HeaderValue::from_str(challenge).unwrap();
    Answer {
        status: 401,
        reason: String::new(),
        headers: HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]),
        body: Vec::new(),
    }
}

fn token_answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn token_request(server: &Server) -> TokenRequest {
    TokenRequest::client_credentials(server.url.clone(), "id".into(), "word".into())
}

fn text(token: &Fetched) -> String {
    use secrecy::ExposeSecret;
    token.token.expose_secret().to_owned()
}

#[tokio::test]
async fn a_token_with_a_lifetime_is_fetched_once_and_by_all_together() {
    let server = Server::answering(vec![token_answer(r#"{"access_token":"one","expires_in":3600}"#)]).await;
    let tokens = Tokens::new(client());
    let request = token_request(&server);
    let all = futures_util::future::join_all((0..20).map(|_| tokens.get(&request))).await;
    assert_eq!(all.iter().filter(|got| !got.as_ref().unwrap().from_cache).count(), 1);
    let later = tokens.get(&request).await.unwrap();
    assert!(later.from_cache);
    assert_eq!(text(&later), "one");
    assert_eq!(later.lifetime, Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn a_token_without_a_lifetime_is_fetched_each_time() {
    let first = token_answer(r#"{"data":{"access_token":"one"}}"#);
    let second = token_answer(r#"{"access_token":"two","expires_in":0}"#);
    let third = token_answer(r#"{"access_token":"three","expires_in":"3600"}"#);
    let server = Server::answering(vec![first, second, third]).await;
    let tokens = Tokens::new(client());
    let request = token_request(&server);
    for expected in ["one", "two", "three", "three"] {
        assert_eq!(text(&tokens.get(&request).await.unwrap()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_lives_for_seconds_is_kept_for_three_quarters_of_them() {
    let answers = ["one", "two"].map(|name| token_answer(&format!(r#"{{"access_token":"{name}","expires_in":10}}"#)));
    let server = Server::answering(answers.to_vec()).await;
    let tokens = Tokens::new(client());
    let request = token_request(&server);
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "one");
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "one");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "two");
}

#[tokio::test]
async fn a_refused_or_forgotten_token_is_fetched_anew() {
    let answers =
        ["one", "two", "three"].map(|name| token_answer(&format!(r#"{{"access_token":"{name}","expires_in":99}}"#)));
    let server = Server::answering(answers.to_vec()).await;
    let tokens = Tokens::new(client());
    let request = token_request(&server);
    let one = tokens.get(&request).await.unwrap();
    tokens.refused(&request, &one.token, &unauthorized(""));
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "two");
    // The refusal of an older token does not drop the newer one.
    tokens.refused(&request, &one.token, &unauthorized(""));
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "two");
    tokens.forget(&request);
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "three");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_refreshed_before_it_ends_and_kept_while_the_endpoint_has_a_bad_moment() {
    let busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec();
    let answers = vec![
        token_answer(r#"{"access_token":"one","expires_in":1000}"#),
        busy.clone(),
        token_answer(r#"{"access_token":"two","expires_in":1000}"#),
        busy,
    ];
    let mut server = Server::answering(answers).await;
    let tokens = Tokens::new(client());
    let request = token_request(&server);
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "one");
    let mut asked = |times: usize| {
        for _ in 0..times {
            assert!(server.seen.try_recv().is_ok());
        }
        assert!(server.seen.try_recv().is_err());
    };
    asked(1);
    // A tenth of its life before the end: asked for, not given, the old one still lives; then a pause.
    tokio::time::advance(Duration::from_secs(905)).await;
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "one");
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "one");
    asked(1);
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "two");
    asked(1);
    // Dead and not refreshed: an error.
    tokio::time::advance(Duration::from_secs(995)).await;
    let error = tokens.get(&request).await.err().unwrap();
    assert_eq!(error.status(), Some(503));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn an_endpoint_that_answers_without_a_token_is_an_error() {
    let server = Server::answering(vec![
        token_answer("{}"),
        token_answer("<html>"),
        token_answer(r#"{"access_token":null}"#),
    ])
    .await;
    let tokens = Tokens::new(client());
    let mut request = token_request(&server);
    request.audience = Audience::Bare;
    for _ in 0..3 {
        let error = tokens.get(&request).await.err().unwrap();
        assert!(error.to_string().contains("without an `access_token`"), "{error}");
    }
}

#[tokio::test]
async fn a_claims_challenge_is_answered_once_with_its_claims_and_the_old_token_is_gone() {
    let answers =
        ["one", "two", "three"].map(|name| token_answer(&format!(r#"{{"access_token":"{name}","expires_in":99}}"#)));
    let mut server = Server::answering(answers.to_vec()).await;
    let tokens = Tokens::new(client());
    let request = token_request(&server);
    let one = tokens.get(&request).await.unwrap();
    let claims = STANDARD.encode(r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#);
    let challenge = unauthorized(&format!("Bearer error=\"insufficient_claims\", claims=\"{claims}\""));
    assert!(tokens.refused(&request, &one.token, &challenge));
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "two");
    // A late answer to the old token changes nothing; a plain refusal asks without claims.
    assert!(tokens.refused(&request, &one.token, &challenge));
    let two = tokens.get(&request).await.unwrap();
    assert!(two.from_cache);
    assert!(!tokens.refused(&request, &two.token, &unauthorized("Bearer error=\"invalid_token\"")));
    assert_eq!(text(&tokens.get(&request).await.unwrap()), "three");
    let mut asked = Vec::new();
    while let Ok(request) = server.seen.try_recv() {
        let (_, form) = request.split_once("\r\n\r\n").unwrap();
        let claims = url::form_urlencoded::parse(form.as_bytes()).find(|(name, _)| name == "claims");
        asked.push(claims.map(|(_, value)| value.into_owned()));
    }
    let wanted = r#"{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["cp1"]}}}"#;
    assert_eq!(asked, [None, Some(wanted.to_owned()), None]);
}

fn refusal(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_asks_in_a_loop_rests_and_others_do_not() {
    let looping = refusal(
        "400 Bad Request",
        "",
        r#"{"error":"invalid_grant","error_codes":[50196]}"#,
    );
    let fine = token_answer(r#"{"access_token":"one","expires_in":99}"#);
    let mut server = Server::answering(vec![looping, fine.clone(), fine]).await;
    let tokens = Tokens::new(client());
    let request = token_request(&server);
    for waited in 0..100 {
        let error = tokens.get(&request).await.err().unwrap();
        assert!(error.is_retryable());
        let left = error.retry_after().map(|left| left.as_secs());
        assert!(waited == 0 || left == Some(600 - waited), "{left:?}");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let mut asked = || std::iter::from_fn(|| server.seen.try_recv().ok()).count();
    assert_eq!(asked(), 1, "one question, however many jobs want the token");
    let other = TokenRequest {
        client_id: "another".into(),
        ..request.clone()
    };
    tokens.get(&other).await.unwrap();
    assert_eq!(asked(), 1);
    tokio::time::advance(Duration::from_secs(500)).await;
    tokens.get(&request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_for_a_pause_gets_it_within_bounds() {
    let busy = refusal("429 Too Many Requests", "Retry-After: 86400\r\n", "");
    let fine = token_answer(r#"{"access_token":"one","expires_in":99}"#);
    let server = Server::answering(vec![busy, fine]).await;
    let tokens = Tokens::new(client());
    let request = token_request(&server);
    for _ in 0..3 {
        assert_eq!(tokens.get(&request).await.err().unwrap().status(), Some(429));
        tokio::time::advance(Duration::from_secs(1000)).await;
    }
    tokio::time::advance(Duration::from_secs(700)).await;
    tokens.get(&request).await.unwrap();
}
