//! One request, one answer: the request goes out over a client's connections, the answer comes in whole and bounded.

use std::pin::pin;
use std::time::{Duration, Instant};

use hyper::ext::ReasonPhrase;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use tokio::sync::watch;

use super::connect::{Connecting, Phase};
use super::{Answer, Error, Request, trace};
use crate::metrics::metrics;
use crate::spans;

/// Sends the request, follows nothing, and reads the answer whole.
pub(super) async fn once(client: &reqwest::Client, mut request: Request) -> Result<Answer, Error> {
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let span = spans::request(&request.method, &host, request.url.port_or_known_default());
    trace::mark(&mut request.headers, &span);
    let began = Instant::now();
    let answer = send(client, request).await;
    match &answer {
        Ok(answer) => {
            metrics().http(&host, &answer.status.to_string(), began.elapsed());
            span.answered(answer.status);
        }
        Err(_) => metrics().http(&host, "error", began.elapsed()),
    }
    answer
}

async fn send(client: &reqwest::Client, request: Request) -> Result<Answer, Error> {
    let read = request.read_timeout;
    let limit = request.max_answer_bytes;
    let (connecting, phase) = Connecting::within(request.connect_timeout);
    let sending = connecting.around(client.execute(outgoing(request)));
    let mut response = head_within(read, phase, sending).await?.map_err(Error::from_exchange)?;

    let status = response.status();
    let reason = match response.extensions().get::<ReasonPhrase>() {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
        // Without the extension the phrase was the usual one.
        None => status.canonical_reason().unwrap_or_default().to_owned(),
    };
    let headers = response.headers().clone();
    let announced = response.content_length().unwrap_or(0);
    if announced > limit as u64 {
        return Err(too_large(limit));
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(chunk) = within(read, response.chunk()).await?.map_err(Error::from_exchange)? {
        if body.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: status.as_u16(),
        reason,
        headers,
        body,
    })
}

fn outgoing(request: Request) -> reqwest::Request {
    let expects_body = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    let mut outgoing = reqwest::Request::new(request.method, request.url);
    *outgoing.headers_mut() = request.headers;
    match request.body {
        Some(body) if !body.is_empty() => {
            *outgoing.body_mut() = Some(match request.last_look {
                Some(look) => {
                    // Its length is known, so it needs no chunks.
                    let length = HeaderValue::from(body.len());
                    outgoing.headers_mut().insert(CONTENT_LENGTH, length);
                    look.body(body)
                }
                None => body.into(),
            });
        }
        Some(_) => {
            outgoing
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        None if expects_body => {
            outgoing
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        None => {}
    }
    outgoing
}

/// Waits for the head of the answer. The clock stands while a connection is being made, which has a bound of its own.
async fn head_within<F: Future>(
    bound: Option<Duration>,
    mut phase: watch::Receiver<Phase>,
    sending: F,
) -> Result<F::Output, Error> {
    let Some(bound) = bound else {
        return Ok(sending.await);
    };
    let mut sending = pin!(sending);
    let mut watching = true;
    loop {
        let clock_runs = *phase.borrow_and_update() != Phase::Connecting;
        tokio::select! {
            biased;
            head = &mut sending => return Ok(head),
            changed = phase.changed(), if watching => watching = changed.is_ok(),
            () = tokio::time::sleep(bound), if clock_runs => return Err(silent(bound)),
        }
    }
}

async fn within<F: Future>(bound: Option<Duration>, reading: F) -> Result<F::Output, Error> {
    match bound {
        None => Ok(reading.await),
        Some(bound) => tokio::time::timeout(bound, reading).await.map_err(|_| silent(bound)),
    }
}

fn silent(bound: Duration) -> Error {
    Error::Timeout(format!("The server said nothing for {} s.", bound.as_secs_f64()))
}

fn too_large(limit: usize) -> Error {
    Error::TooLarge {
        limit,
        hint: "Ask the server for less (fewer fields or rows, a page at a time).",
    }
}
