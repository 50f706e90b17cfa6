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

/// A question that is asked once for each time that the body is about to be written, and what was answered last.
#[derive(Clone)]
pub struct LastLook {
    may_leave: Arc<dyn Fn() -> bool + Send + Sync>,
    state: Arc<AtomicU8>,
}

impl LastLook {
    /// The body leaves only if `may_leave` says so.
    pub fn new(may_leave: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            may_leave: Arc::new(may_leave),
            state: Arc::default(),
        }
    }

    /// Was the body given out?
    pub fn was_allowed(&self) -> bool {
        self.state.load(Ordering::SeqCst) == ALLOWED
    }

    /// Was it refused?
    pub fn was_refused(&self) -> bool {
        self.state.load(Ordering::SeqCst) == REFUSED
    }

    /// A body that asks first.
    pub(super) fn body(&self, bytes: Vec<u8>) -> reqwest::Body {
        let look = self.clone();
        look.state.store(UNASKED, Ordering::SeqCst);
        let body = async move {
            if (look.may_leave)() {
                look.state.store(ALLOWED, Ordering::SeqCst);
                Ok(bytes)
            } else {
                look.state.store(REFUSED, Ordering::SeqCst);
                Err(io::Error::other("held back"))
            }
        };
        reqwest::Body::wrap_stream(stream::once(body))
    }
}

impl std::fmt::Debug for LastLook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LastLook").finish_non_exhaustive()
    }
}
