//! A client that sends nothing: requests go in and are kept to be shown; what comes out was made up.

use std::sync::{Mutex, PoisonError};

use super::{Answer, Error, Request};

/// Makes an answer up.
type MakeUp = dyn Fn(&Request) -> Result<Answer, Error> + Send + Sync;

/// Keeps requests instead of sending them.
pub struct Rehearsal {
    requests: Mutex<Vec<Request>>,
    answer: Box<MakeUp>,
}

impl Rehearsal {
    /// Answers each request with what `answer` makes up for it.
    pub fn new(answer: impl Fn(&Request) -> Result<Answer, Error> + Send + Sync + 'static) -> Self {
        Self {
            requests: Mutex::default(),
            answer: Box::new(answer),
        }
    }

    /// The requests that would have been sent, in their order.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn take(&self, request: Request) -> Result<Answer, Error> {
        let answer = (self.answer)(&request);
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request);
        answer
    }
}
