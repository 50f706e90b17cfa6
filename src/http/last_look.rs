//! The last look before a request leaves: a question that the connection asks when it is about to write the body.
//!
//! Between a check by the caller and the write lie a token, a name, a connection, a handshake: seconds in which a process
//! can be frozen. Here only the write itself lies between. A server that has the head of a request and not its body
//! cannot execute it, so a body that was never given out was surely not executed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_util::stream;

/// Of a request that is made anew (after a 401) the last try counts.
const UNASKED: u8 = 0;
const ALLOWED: u8 = 1;
const REFUSED: u8 = 2;
/// The request was given up before the body was given out: it is not given out any more.
const TOO_LATE: u8 = 3;

/// A question that is asked once for each time that the body is about to be written, and what was answered last.
#[derive(Clone)]
pub struct LastLook {
    may_leave: Arc<dyn Fn() -> bool + Send + Sync>,
    leaves: Arc<dyn Fn() + Send + Sync>,
    state: Arc<AtomicU8>,
}

impl LastLook {
    /// The body leaves only if `may_leave` says so; when that is settled, `leaves` is called.
    pub fn new(
        may_leave: impl Fn() -> bool + Send + Sync + 'static,
        leaves: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            may_leave: Arc::new(may_leave),
            leaves: Arc::new(leaves),
            state: Arc::default(),
        }
    }

    /// Was it refused?
    pub fn was_refused(&self) -> bool {
        self.state.load(Ordering::SeqCst) == REFUSED
    }

    /// Waits until the request shall be given up, and gives it up. Never ends if its body was given out before: its answer
    /// is worth waiting for.
    pub async fn withdrawn_after(&self, given_up: impl Future<Output = ()>) {
        given_up.await;
        if !self.withdraw() {
            std::future::pending().await
        }
    }

    /// Gives the request up. True if its body was not given out, and then it never will be; false if it was.
    pub fn withdraw(&self) -> bool {
        let state = &self.state;
        state.compare_exchange(UNASKED, TOO_LATE, Ordering::SeqCst, Ordering::SeqCst) != Err(ALLOWED)
    }

    /// A body that asks first.
    pub(super) fn body(&self, bytes: Vec<u8>) -> reqwest::Body {
        let look = self.clone();
        // Refused or given up, it stays so.
        let state = &look.state;
        let _ = state.compare_exchange(ALLOWED, UNASKED, Ordering::SeqCst, Ordering::SeqCst);
        let body = async move {
            let answer = if (look.may_leave)() { ALLOWED } else { REFUSED };
            // The request may have been given up while we looked.
            let state = &look.state;
            let settled = state.compare_exchange(UNASKED, answer, Ordering::SeqCst, Ordering::SeqCst);
            if answer == REFUSED || settled.is_err() {
                return Err(io::Error::other("held back"));
            }
            (look.leaves)();
            Ok(bytes)
        };
        reqwest::Body::wrap_stream(stream::once(body))
    }
}

impl std::fmt::Debug for LastLook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LastLook").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use url::Url;

    use super::super::{Client, Error, Method, Request, Sent};
    use super::*;

    const BODY: &str = "{\"start\":1}";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    /// What a server saw of all connections, and where it is.
    struct Seen {
        url: Url,
        bytes: Arc<Mutex<Vec<u8>>>,
    }

    impl Seen {
        fn text(&self) -> String {
            String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
        }

        fn bodies(&self) -> usize {
            self.text().matches(BODY).count()
        }

        fn request(&self, method: Method, look: Option<LastLook>) -> Request {
            let mut request = Request::new(method, self.url.clone());
            request.total_timeout = Some(Duration::from_secs(5));
            request.body = look.is_some().then(|| BODY.as_bytes().to_vec());
            request.last_look = look;
            request
        }
    }

    /// A server that answers so many requests of each connection and then does what `then` says.
    async fn server(answers: usize, answer: &'static [u8], then: fn(TcpStream)) -> Seen {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let seen = bytes.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    let mut whole = String::new();
                    let mut answered = 0;
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        seen.lock().unwrap().extend_from_slice(&buffer[..read]);
                        whole.push_str(&String::from_utf8_lossy(&buffer[..read]));
                        let complete = whole.ends_with(BODY) || whole.starts_with("GET") && whole.ends_with("\r\n\r\n");
                        if !complete {
                            continue;
                        }
                        whole.clear();
                        if answered == answers {
                            return then(stream);
                        }
                        answered += 1;
                        stream.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        Seen { url, bytes }
    }

    fn allowing() -> LastLook {
        LastLook::new(|| true, || {})
    }

    #[tokio::test]
    async fn a_kept_connection_that_dies_under_the_request_does_not_make_it_leave_twice() {
        for then in [
            drop as fn(TcpStream),
            // Reset instead of closed.
            |stream| {
                stream.set_zero_linger().unwrap();
                drop(stream);
            },
        ] {
            let seen = server(1, OK, then).await;
            let client = Client::new().unwrap();
            client.send(seen.request(Method::GET, None)).await.unwrap();
            let error = client
                .send(seen.request(Method::POST, Some(allowing())))
                .await
                .unwrap_err();
            assert_eq!(error.sent(), Sent::Maybe, "{error}");
            assert_eq!(seen.bodies(), 1);
        }
    }

    #[tokio::test]
    async fn a_kept_connection_that_was_closed_before_costs_nothing() {
        // Closed right after the first answer: the client may or may not have noticed.
        for _ in 0..20 {
            let seen = server(
                usize::MAX,
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
                drop,
            )
            .await;
            let client = Client::new().unwrap();
            client.send(seen.request(Method::GET, None)).await.unwrap();
            let result = client.send(seen.request(Method::POST, Some(allowing()))).await;
            assert!(seen.bodies() <= 1, "{}", seen.text());
            assert!(result.is_ok() == (seen.bodies() == 1), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
        let seen = server(usize::MAX, moved, drop).await;
        let client = Client::new().unwrap();
        let answer = client.send(seen.request(Method::POST, Some(allowing()))).await.unwrap();
        assert_eq!(answer.status, 307);
        assert_eq!(seen.bodies(), 1);
    }

    #[tokio::test]
    async fn a_body_that_is_refused_at_the_last_look_never_leaves() {
        let seen = server(usize::MAX, OK, drop).await;
        let look = LastLook::new(|| false, || {});
        let error = Client::new()
            .unwrap()
            .send(seen.request(Method::POST, Some(look.clone())))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Withheld(_)), "{error}");
        assert_eq!(error.sent(), Sent::No);
        assert!(look.was_refused());
        assert_eq!(seen.bodies(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_that_was_given_up_during_the_last_look_never_leaves() {
        let seen = server(usize::MAX, OK, drop).await;
        let (given_up, told) = std::sync::mpsc::channel();
        let told = Mutex::new(told);
        let (looked, end_of_look) = tokio::sync::oneshot::channel();
        let looked = Mutex::new(Some(looked));
        // As if the process stood still between the look at the clock and the write.
        let standing = move || {
            told.lock().unwrap().recv().unwrap();
            looked.lock().unwrap().take().unwrap().send(()).unwrap();
            true
        };
        let look = LastLook::new(standing, || {});
        let mut request = seen.request(Method::POST, Some(look));
        request.total_timeout = Some(Duration::from_millis(200));
        let error = Client::new().unwrap().send(request).await.unwrap_err();
        assert_eq!(error.sent(), Sent::No, "{error}");
        given_up.send(()).unwrap();
        end_of_look.await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(seen.bodies(), 0);
    }

    #[tokio::test]
    async fn a_request_that_is_withdrawn_is_never_written_and_one_that_was_written_cannot_be() {
        let seen = server(usize::MAX, OK, drop).await;
        let look = allowing();
        assert!(look.withdraw());
        let error = Client::new()
            .unwrap()
            .send(seen.request(Method::POST, Some(look.clone())))
            .await
            .unwrap_err();
        assert_eq!(error.sent(), Sent::No, "{error}");
        assert_eq!(seen.bodies(), 0);

        let look = allowing();
        let request = seen.request(Method::POST, Some(look.clone()));
        Client::new().unwrap().send(request).await.unwrap();
        assert!(!look.withdraw());
        let waiting = look.withdrawn_after(async {}).now_or_never();
        assert!(waiting.is_none(), "whoever gives up later waits for the answer");
    }

    #[tokio::test]
    async fn a_request_that_was_given_up_before_its_body_was_written_was_not_executed() {
        // A server that accepts nobody: the backlog takes the connection, or nothing does.
        let seen = server(usize::MAX, OK, drop).await;
        let held = || {
            std::thread::sleep(Duration::from_millis(300));
            false
        };
        let look = LastLook::new(held, || {});
        let mut request = seen.request(Method::POST, Some(look));
        request.total_timeout = Some(Duration::from_millis(100));
        let error = Client::new().unwrap().send(request).await.unwrap_err();
        assert_eq!(error.sent(), Sent::No, "{error}");
        assert_eq!(seen.bodies(), 0);
    }
}
