//! The server that the probes called: the same paths, the same answers.

use std::time::Duration;

use crate::target::{Reply, Seen, Target};

const DATE: &str = "Date: Sat, 21 Nov 2026 06:28:32 GMT";
const JSON: &str = "Content-Type: application/json";
const FAST: &str = r#"{"id":12345,"name":"ok","items":[1,2,3]}"#;

pub async fn start() -> Target {
    Target::new(answer).await
}

/// Requests to these paths were not written down when the probes were made.
pub fn is_recorded(uri: &str) -> bool {
    uri != "/fast"
}

fn answer(seen: &Seen) -> Reply {
    let (path, query) = seen.uri.split_once('?').unwrap_or((&seen.uri, ""));
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (kind, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match kind {
        "fast" => json(FAST),
        "raw" => json(match rest {
            "broken" => r#"{"id": 12345, "name": "#,
            "scalar" => r#""just a string""#,
            "number" => "42",
            "array" => r#"[{"id":7},{"id":8}]"#,
            "bignum" => r#"{"id":12345678901234567890,"f":0.1,"d":1.10}"#,
            _ => "",
        }),
        "big" => big(rest.parse().unwrap()),
        "delay" => json(FAST).after(Duration::from_millis(rest.parse().unwrap())),
        "s" => status(rest, query),
        "redirect" => {
            let probe = seen.header("x-probe")[0];
            let location = format!("Location: /echo?via={rest}&probe={probe}");
            Reply::new(&line(rest), &[DATE, &location], "")
        }
        "echo" => json(&echo(seen)),
        "token" => {
            let probe = query.strip_prefix("probe=").unwrap_or_default();
            json(&format!(r#"{{"access_token":"tok-{probe}","expires_in":3600}}"#))
        }
        "token-bad" => Reply::new(
            "401 Unauthorized",
            &[DATE, "Content-Type: text/plain; charset=utf-8"],
            r#"{"error":"invalid_client"}"#,
        ),
        other => panic!("no probe calls /{other}"),
    }
}

fn json(body: &str) -> Reply {
    Reply::new("200 OK", &[DATE, JSON], body)
}

fn line(status: &str) -> String {
    let reason = match status {
        "204" => "No Content",
        "302" => "Found",
        "304" => "Not Modified",
        "307" => "Temporary Redirect",
        "401" => "Unauthorized",
        "404" => "Not Found",
        "503" => "Service Unavailable",
        other => panic!("no probe was answered with {other}"),
    };
    format!("{status} {reason}")
}

fn status(status: &str, query: &str) -> Reply {
    if matches!(status, "204" | "304") {
        return Reply::raw(format!("HTTP/1.1 {}\r\n{DATE}\r\n\r\n", line(status)));
    }
    let retry_after = query
        .strip_prefix("retry-after=")
        .map(|seconds| format!("Retry-After: {seconds}"));
    let mut headers = vec![DATE, JSON];
    headers.extend(retry_after.as_deref());
    let body = format!(r#"{{"message":"custom message","temp":36,"status":{status}}}"#);
    Reply::new(&line(status), &headers, &body)
}

fn big(size: usize) -> Reply {
    let body = format!(r#"{{"id":1,"big":"{}"}}"#, "x".repeat(size));
    Reply::raw(format!(
        "HTTP/1.1 200 OK\r\n{DATE}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ))
}

fn echo(seen: &Seen) -> String {
    let list = |name| match seen.header(name) {
        values if values.is_empty() => serde_json::Value::Null,
        values => values.into(),
    };
    let echo = serde_json::json!({
        "authorization": list("authorization"),
        "body": seen.body,
        "contentType": list("content-type"),
        "id": 1,
        "method": seen.method,
        "uri": seen.uri,
    });
    // The probed server wrote its JSON like this, which shows in `Content-Length`.
    format!("{}\n", echo.to_string().replace('&', "\\u0026"))
}
