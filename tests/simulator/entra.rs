//! The token endpoint, and what Dataverse makes of tokens.

use deskhand::sandbox::power_automate::{
    Application, CLIENT_ID, Credential, Directory, Effect, Fault, RefreshToken, RouteName, Span, User,
};
use reqwest::StatusCode;

use super::*;

const SECRET: &str = "demo-client-secret";

impl Client {
    async fn ask(&self, form: &[(&str, &str)]) -> Response {
        self.http
            .post(self.simulator.token_endpoint())
            .form(form)
            .send()
            .await
            .unwrap()
    }

    /// The AADSTS number and the `error` of a refusal.
    async fn denied(&self, form: &[(&str, &str)]) -> (u64, String) {
        let answer = self.ask(form).await;
        assert!(answer.status().is_client_error() || answer.status().is_server_error());
        let body: Value = answer.json().await.unwrap();
        (
            body["error_codes"][0].as_u64().unwrap(),
            body["error"].as_str().unwrap().to_owned(),
        )
    }

    async fn with_token(&self, token: &str) -> Response {
        self.http
            .get(self.url("workflows?$select=name"))
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }
}

fn directory(change: impl FnOnce(&mut Directory)) -> World {
    let mut world = World::default();
    change(&mut world.directory);
    world
}

fn public_client() -> World {
    directory(|directory| directory.applications[0].client_secret = None)
}

#[tokio::test]
async fn a_client_with_its_secret_gets_a_token_that_dataverse_takes() {
    let client = Client::new().await;
    let (id, scope) = (CLIENT_ID.to_string(), client.simulator.scope());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", SECRET),
        ("scope", &scope),
    ];
    let answer = client.ask(&form).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("date") && answer.headers().contains_key("x-ms-request-id"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("Bearer"), &json!(3599))
    );
    assert_eq!(body.get("refresh_token"), None);
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(client.with_token(token).await.status(), 200);
    assert_eq!(client.simulator.tokens_issued(), 1);
}

#[tokio::test]
async fn the_secret_may_travel_as_basic_authentication() {
    let client = Client::new().await;
    let scope = client.simulator.scope();
    let ask = |secret: &'static str| {
        client
            .http
            .post(client.simulator.token_endpoint())
            .basic_auth(CLIENT_ID, Some(secret))
            .form(&[("grant_type", "client_credentials"), ("scope", &scope)])
            .send()
    };
    assert_eq!(ask(SECRET).await.unwrap().status(), 200);
    assert_eq!(ask("wrong").await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_refusal_has_entra_s_shape() {
    let client = Client::new().await;
    let (id, scope) = (CLIENT_ID.to_string(), client.simulator.scope());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", "wrong"),
        ("scope", &scope),
    ];
    let answer = client.ask(&form).await;
    assert_eq!(answer.status(), 401);
    let text = answer.text().await.unwrap();
    assert!(!text.contains("wrong"), "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&body["error"], &body["error_codes"]),
        (&json!("invalid_client"), &json!([7_000_215]))
    );
    let description = body["error_description"].as_str().unwrap();
    assert!(
        description.starts_with("AADSTS7000215: ") && description.contains("\r\nTrace ID: "),
        "{description}"
    );
    assert_eq!(
        body["error_uri"],
        "https://login.microsoftonline.com/error?code=7000215"
    );
    for field in ["timestamp", "trace_id", "correlation_id"] {
        assert!(body[field].is_string(), "{field}");
    }
}

#[tokio::test]
async fn each_part_of_a_request_is_validated() {
    let client = Client::new().await;
    let (id, scope) = (&CLIENT_ID.to_string(), &client.simulator.scope());
    let two = &format!("{scope} https://graph.microsoft.com/.default");
    let other = "5a1b0000-0000-4000-8000-00000000dead";
    fn with<'t>(grant: &'t str, client: &'t str, secret: &'t str, scope: &'t str) -> [(&'static str, &'t str); 4] {
        [
            ("grant_type", grant),
            ("client_id", client),
            ("client_secret", secret),
            ("scope", scope),
        ]
    }
    for (form, number) in [
        (with("", id, SECRET, scope), 900_144),
        (with("implicit", id, SECRET, scope), 70_003),
        (with("client_credentials", other, SECRET, scope), 700_016),
        (with("client_credentials", id, "", scope), 7_000_218),
        (with("client_credentials", id, SECRET, ""), 900_144),
        (with("client_credentials", id, SECRET, "everything"), 70_011),
        (
            with("client_credentials", id, SECRET, "https://elsewhere.example/.default"),
            500_011,
        ),
        (with("client_credentials", id, SECRET, two), 700_022),
    ] {
        assert_eq!(client.denied(&form).await.0, number, "{form:?}");
    }
    let url = client.simulator.token_endpoint().replace("00000000e0/", "00000000ff/");
    let answer = client
        .http
        .post(url)
        .form(&with("client_credentials", id, SECRET, scope))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["error_codes"], json!([90_002]));
}

#[tokio::test]
async fn expired_secrets_and_disabled_applications_are_told_apart() {
    for (change, number) in [
        ((|app| app.secret_expired = true) as fn(&mut Application), 7_000_222),
        (|app| app.disabled = true, 7_000_112),
    ] {
        let client = Client::of(directory(|directory| change(&mut directory.applications[0]))).await;
        let (id, scope) = (CLIENT_ID.to_string(), client.simulator.scope());
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            ("client_secret", SECRET),
            ("scope", &scope),
        ];
        assert_eq!(client.denied(&form).await.0, number);
    }
}

#[tokio::test]
async fn a_password_gives_a_delegated_token_and_a_refresh_token_that_rotates() {
    let client = Client::of(public_client()).await;
    let (id, scope) = (
        CLIENT_ID.to_string(),
        format!("{} offline_access", client.simulator.scope()),
    );
    let user = User::default();
    let form = [
        ("grant_type", "password"),
        ("client_id", &id),
        ("username", &user.username),
        ("password", &user.password.0),
        ("scope", &scope),
    ];
    let body: Value = client.ask(&form).await.json().await.unwrap();
    assert_eq!(
        client.with_token(body["access_token"].as_str().unwrap()).await.status(),
        200
    );
    let first = body["refresh_token"].as_str().unwrap();
    let refresh = |token: String| {
        let form = [
            ("grant_type", "refresh_token".to_owned()),
            ("client_id", id.clone()),
            ("refresh_token", token),
            ("scope", scope.clone()),
        ];
        client.http.post(client.simulator.token_endpoint()).form(&form).send()
    };
    let renewed: Value = refresh(first.to_owned()).await.unwrap().json().await.unwrap();
    let second = renewed["refresh_token"].as_str().unwrap();
    assert_ne!(first, second);
    assert_eq!(refresh(second.to_owned()).await.unwrap().status(), 200);
    let unknown: Value = refresh("1.sim.unknown".to_owned()).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&unknown["error"], &unknown["error_codes"]),
        (&json!("invalid_grant"), &json!([70_000]))
    );
}

#[tokio::test]
async fn a_refresh_token_used_twice_revokes_its_family_where_the_world_detects_it() {
    let client = Client::of(directory(|directory| {
        directory.applications[0].client_secret = None;
        directory.detect_reuse = true;
        directory.refresh_tokens = vec![RefreshToken {
            token: Credential("given".to_owned()),
            client_id: CLIENT_ID,
            username: User::default().username,
        }];
    }))
    .await;
    let (id, scope) = (CLIENT_ID.to_string(), client.simulator.scope());
    let ask = async |token: &str| {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &id),
            ("refresh_token", token),
            ("scope", &scope),
        ];
        client.ask(&form).await
    };
    let renewed: Value = ask("given").await.json().await.unwrap();
    assert_eq!(ask("given").await.status(), 400);
    assert_eq!(ask(renewed["refresh_token"].as_str().unwrap()).await.status(), 400);
}

#[tokio::test]
async fn passwords_fail_for_the_documented_reasons() {
    let ask = async |world: World, secret: Option<&str>, password: &str| {
        let client = Client::of(world).await;
        let (id, scope, username) = (
            CLIENT_ID.to_string(),
            client.simulator.scope(),
            User::default().username,
        );
        let mut form = vec![
            ("grant_type", "password"),
            ("client_id", &id),
            ("username", &username),
            ("password", password),
            ("scope", &scope),
        ];
        form.extend(secret.map(|secret| ("client_secret", secret)));
        client.denied(&form).await
    };
    let good = "demo-password";
    assert_eq!(
        ask(public_client(), None, "wrong").await,
        (50_126, "invalid_grant".to_owned())
    );
    assert_eq!(
        ask(public_client(), Some("any"), good).await,
        (700_025, "invalid_client".to_owned())
    );
    assert_eq!(ask(World::default(), None, good).await.0, 7_000_218);
    let mut world = public_client();
    world.directory.users[0].needs_second_factor = true;
    assert_eq!(
        ask(world, None, good).await,
        (50_076, "interaction_required".to_owned())
    );
    let mut world = public_client();
    world.directory.users[0].locked = true;
    assert_eq!(ask(world, None, good).await.0, 50_053);
}

#[tokio::test]
async fn an_assertion_is_checked_for_audience_subject_time_and_reuse() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let client = Client::new().await;
    let (id, scope) = (CLIENT_ID.to_string(), client.simulator.scope());
    let now = client.simulator.now().as_second();
    let assertion = |change: Value| {
        let mut claims = json!({"aud": client.simulator.token_endpoint(), "iss": id, "sub": id, "jti": "1", "nbf": now, "exp": now + 300});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode("{}"),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        )
    };
    let ask = async |assertion: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion),
            ("scope", &scope),
        ];
        let body: Value = client.ask(&form).await.json().await.unwrap();
        body["error_codes"][0].as_u64()
    };
    assert_eq!(ask(&assertion(json!({}))).await, None);
    assert_eq!(ask(&assertion(json!({}))).await, Some(700_027), "the jti was used");
    for (change, number) in [
        (json!({"jti": "2", "exp": now - 1}), 500_133),
        (json!({"jti": "3", "aud": "https://elsewhere.example/"}), 50_013),
        (json!({"jti": "4", "sub": "somebody"}), 700_027),
        (json!({"jti": ""}), 700_027),
    ] {
        assert_eq!(ask(&assertion(change.clone())).await, Some(number), "{change}");
    }
}

#[tokio::test]
async fn faults_latency_and_lifetime_of_the_token_endpoint_are_knobs() {
    let client = Client::of(directory(|directory| {
        directory.token_lifetime = Span::seconds(60);
        directory.latency = Span::milliseconds(80);
    }))
    .await;
    client
        .simulator
        .add_fault(Fault::on(RouteName::Token, Effect::Entra(90_033)))
        .unwrap();
    let (id, scope) = (CLIENT_ID.to_string(), client.simulator.scope());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", SECRET),
        ("scope", &scope),
    ];
    let answer = client.ask(&form).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["error"],
        "temporarily_unavailable"
    );
    let before = std::time::Instant::now();
    let body: Value = client.ask(&form).await.json().await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(80));
    assert_eq!(body["expires_in"], 60);
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(client.with_token(token).await.status(), 200);
    client.advance(60);
    assert_eq!(client.with_token(token).await.status(), 401);
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_told_where_to_sign_in_and_nothing_else() {
    let client = Client::new().await;
    let bare = client.http.get(client.url("workflows")).send().await.unwrap();
    for answer in [bare, client.with_token("static-token").await] {
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.starts_with("Bearer authorization_uri=http"), "{challenge}");
        assert!(
            challenge.ends_with(&format!("resource_id={}/", client.simulator.organization())),
            "{challenge}"
        );
        assert!(answer.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_token_for_another_audience_is_issued_and_refused_by_dataverse() {
    let client = Client::new().await;
    let id = CLIENT_ID.to_string();
    let scope = "https://service.flow.microsoft.com//.default";
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", SECRET),
        ("scope", scope),
    ];
    let body: Value = client.ask(&form).await.json().await.unwrap();
    assert_eq!(
        client.with_token(body["access_token"].as_str().unwrap()).await.status(),
        401
    );
}

#[tokio::test]
async fn an_alias_of_the_organisation_is_an_audience_too() {
    let mut world = World::default();
    world.environment.aliases = vec!["https://contoso.crm4.dynamics.com".to_owned()];
    let client = Client::of(world).await;
    let id = CLIENT_ID.to_string();
    let scope = "https://contoso.crm4.dynamics.com/.default";
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", SECRET),
        ("scope", scope),
    ];
    let body: Value = client.ask(&form).await.json().await.unwrap();
    assert_eq!(
        client.with_token(body["access_token"].as_str().unwrap()).await.status(),
        200
    );
}

#[tokio::test]
async fn an_application_without_user_or_role_is_forbidden_with_the_platform_s_code() {
    for (change, code) in [
        (
            (|app| app.application_user = false) as fn(&mut Application),
            "0x80072560",
        ),
        (|app| app.security_role = false, "0x80040220"),
    ] {
        let client = Client::of(directory(|directory| change(&mut directory.applications[0]))).await;
        let (status, found, _) = refusal(client.get("workflows").await).await;
        assert_eq!((status, found.as_str()), (403, code));
    }
}
