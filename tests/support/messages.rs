//! The messages that a fake gateway was offered.

use std::sync::Mutex;
use std::time::Duration;

use deskhand::engine::gateway::PublishMessageRequest;
use tonic::{Code, Status};

/// A message that was offered.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    pub name: String,
    pub correlation_key: String,
    pub id: String,
    pub time_to_live: Duration,
    pub variables: serde_json::Value,
    pub tenant: String,
    /// How it was answered; a message whose id is known is refused as a real engine does it.
    pub answer: Code,
}

#[derive(Default)]
pub struct Messages {
    offers: Mutex<Vec<Offer>>,
    /// What every message is answered with for now.
    refusal: Mutex<Option<Status>>,
}

impl Messages {
    /// Every message that was offered, in order, taken or not.
    pub fn offers(&self) -> Vec<Offer> {
        self.offers.lock().unwrap().clone()
    }

    /// From now on messages are answered with this; `None`: they are taken.
    pub fn refuse(&self, status: Option<Status>) {
        *self.refusal.lock().unwrap() = status;
    }

    pub fn take(&self, request: PublishMessageRequest) -> Result<(), Status> {
        let mut offers = self.offers.lock().unwrap();
        let same = |offer: &Offer| {
            offer.answer == Code::Ok
                && (&offer.name, &offer.correlation_key, &offer.id)
                    == (&request.name, &request.correlation_key, &request.message_id)
        };
        let known = offers.iter().any(same);
        let refusal = self.refusal.lock().unwrap().clone();
        let refusal = refusal.or_else(|| known.then(|| Status::already_exists("a message with that id is there")));
        offers.push(Offer {
            name: request.name,
            correlation_key: request.correlation_key,
            id: request.message_id,
            time_to_live: Duration::from_millis(request.time_to_live.unsigned_abs()),
            variables: serde_json::from_str(&request.variables).expect("variables are JSON"),
            tenant: request.tenant_id,
            answer: refusal.as_ref().map_or(Code::Ok, Status::code),
        });
        refusal.map_or(Ok(()), Err)
    }
}
