//! The machine's own identity: IMDS and App Service, as Microsoft documents them, and how patiently they are asked.

use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::any;
use deskhand::http::token::managed::{ManagedIdentity, Service};

use super::*;

/// A machine's identity service that fails so often before it answers.
async fn machine(failures: usize) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let journal = seen.clone();
    let answer = move |request: Request| {
        let uri: Uri = request.uri().clone();
        let metadata = request.headers().get("metadata").is_some_and(|value| value == "true");
        let header = request
            .headers()
            .get("x-identity-header")
            .is_some_and(|value| value == "the-header");
        let mut journal = journal.lock().unwrap();
        journal.push(uri.to_string());
        let answer = if journal.len() <= failures {
            (StatusCode::NOT_FOUND, Json(json!({"error": "not ready"}))).into_response()
        } else if !(metadata || header) {
            (StatusCode::BAD_REQUEST, Json(json!({"error": "bad_request_102"}))).into_response()
        } else {
            let ends = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs()
                + 3600;
            Json(json!({"access_token": "machine-token", "expires_on": ends.to_string(), "token_type": "Bearer"}))
                .into_response()
        };
        async move { answer }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let routes = Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, seen)
}

#[tokio::test]
async fn a_machine_signs_in_as_itself_and_waits_until_its_service_is_there() {
    let (address, seen) = machine(1).await;
    let way = SignIn::Managed(ManagedIdentity {
        service: Service::Imds(Url::parse(&address).unwrap()),
        client_id: Some("user assigned".into()),
    });
    let identities = identities(vec![settings(
        way,
        "https://unused.example/",
        "contoso.crm4.dynamics.com",
    )]);
    for _ in 0..3 {
        let token = token(&identities, "https://contoso.crm4.dynamics.com/api")
            .await
            .unwrap();
        assert_eq!(token.expose_secret(), "machine-token");
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2, "a failure, an answer, then the cache: {seen:?}");
    assert_eq!(
        seen[1],
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fcontoso.crm4.dynamics.com&client_id=user+assigned"
    );
}

#[tokio::test]
async fn app_service_has_an_endpoint_and_a_header_of_its_own() {
    let (address, seen) = machine(0).await;
    let way = SignIn::Managed(ManagedIdentity {
        service: Service::AppService {
            endpoint: Url::parse(&format!("{address}msi/token")).unwrap(),
            header: "the-header".into(),
        },
        client_id: None,
    });
    let identities = identities(vec![settings(way, "https://unused.example/", "api.powerplatform.com")]);
    token(&identities, "https://api.powerplatform.com/x").await.unwrap();
    assert_eq!(
        seen.lock().unwrap()[0],
        "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fapi.powerplatform.com"
    );
}

/// A service that gives these statuses one after the other, then a token; and how often it was asked.
async fn moody(statuses: &'static [u16]) -> (Url, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let answer = move || {
        let at = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match statuses.get(at) {
                Some(status) => {
                    let error = json!({"error": "unknown_source", "error_description": "Identity not found"});
                    (StatusCode::from_u16(*status).unwrap(), Json(error)).into_response()
                }
                None => Json(json!({"access_token": "machine-token", "expires_in": "3599", "refresh_token": ""}))
                    .into_response(),
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let routes = Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (Url::parse(&address).unwrap(), asked)
}

fn of(service: Url) -> Identities {
    let way = SignIn::Managed(ManagedIdentity {
        service: Service::Imds(service),
        client_id: None,
    });
    identities(vec![settings(
        way,
        "https://unused.example/",
        "contoso.crm4.dynamics.com",
    )])
}

/// Microsoft's table: 404, 410, 429 and 5xx are asked again, five times in all (410, an update, for 70 s at least); other
/// refusals are final.
#[tokio::test(start_paused = true)]
async fn the_metadata_service_is_asked_again_as_its_table_says() {
    for (statuses, asked_for, gives_a_token) in [
        (&[404][..], 2, true),
        (&[410, 429, 500, 503], 5, true),
        (&[404; 9], 5, false),
        (&[503; 9], 5, false),
        (&[410; 9], 6, false),
        (&[410, 410, 410, 410, 410], 6, true),
        (&[400], 1, false),
        (&[401], 1, false),
        (&[403], 1, false),
    ] {
        let (service, asked) = moody(statuses).await;
        let began = tokio::time::Instant::now();
        let result = token(&of(service), "https://contoso.crm4.dynamics.com/api").await;
        assert_eq!(asked.load(Ordering::SeqCst), asked_for, "{statuses:?}");
        match result {
            Ok(token) => assert!(
                gives_a_token && token.expose_secret() == "machine-token",
                "{statuses:?}"
            ),
            Err(error) => {
                assert!(!gives_a_token, "{statuses:?}: {error}");
                assert!(
                    error.to_string().contains("unknown_source: Identity not found"),
                    "{error}"
                );
            }
        }
        if statuses.len() == 9 && statuses[0] == 410 {
            assert!(began.elapsed().as_secs() >= 70);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_service_is_that_is_said_after_three_questions() {
    let began = tokio::time::Instant::now();
    let nobody = Url::parse("http://127.0.0.1:1/").unwrap();
    let error = token(&of(nobody), "https://contoso.crm4.dynamics.com/api")
        .await
        .unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("127.0.0.1"),
        "{error}"
    );
    assert_eq!(began.elapsed().as_secs(), 8);
}
