//! Messages: published ones are correlated with waiting elements by name and correlation key, and buffered for as long
//! as they live. A message reaches each process once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use super::bpmn::ElementIndex;
use super::elements::Step;
use super::machine::{Due, Key, Machine};
use super::rejection::{Rejection, RejectionKind};
use super::timers::Millis;

/// What a message and a subscription must have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Address {
    name: String,
    correlation_key: String,
}

#[derive(Debug)]
struct Message {
    address: Address,
    id: String,
    variables: Map<String, Value>,
    /// Ids of the processes that it has reached.
    reached: HashSet<String>,
}

#[derive(Debug)]
struct Subscription {
    instance: Key,
    event: ElementIndex,
    process_id: String,
    /// Whether it closes with its first message.
    once: bool,
}

/// Buffered messages and open subscriptions.
#[derive(Debug, Default)]
pub(super) struct Messages {
    by_key: HashMap<Key, Message>,
    buffered: HashMap<Address, BTreeSet<Key>>,
    ids: HashSet<(Address, String)>,
    subscriptions: HashMap<Address, BTreeMap<Key, Subscription>>,
    addresses: HashMap<Key, Address>,
}

#[cfg(test)]
impl Messages {
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            by_key,
            buffered,
            ids,
            subscriptions,
            addresses,
        } = self;
        by_key.is_empty() && buffered.is_empty() && ids.is_empty() && subscriptions.is_empty() && addresses.is_empty()
    }
}

/// A message to publish.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// Name that the subscription has.
    pub name: String,
    /// Correlation key that the subscription has.
    pub correlation_key: String,
    /// While a message with this id is buffered, no other is accepted; empty: none.
    pub id: String,
    /// Milliseconds for which it is buffered.
    pub time_to_live: Millis,
    /// Variables for the elements that it reaches.
    pub variables: Map<String, Value>,
}

impl Machine {
    /// Publishes a message: one waiting element of each process takes it at once, others while it lives.
    ///
    /// # Errors
    /// A message with the same id is alive, or the buffer is full.
    pub fn publish_message(&mut self, publication: Publication) -> Result<Key, Rejection> {
        let Publication {
            name,
            correlation_key,
            id,
            time_to_live,
            variables,
        } = publication;
        let address = Address { name, correlation_key };
        let identity = (address.clone(), id.clone());
        if !id.is_empty() && self.messages.ids.contains(&identity) {
            return Err(Rejection::new(
                "PUBLISH",
                RejectionKind::AlreadyExists,
                format!(
                    "Expected to publish a new message with id '{id}', but a message with that id was already published"
                ),
            ));
        }
        if time_to_live > 0 && self.messages.by_key.len() >= self.settings.max_messages {
            return Err(Rejection::new(
                "PUBLISH",
                RejectionKind::ResourceExhausted,
                format!("{} messages are buffered, and no more may", self.messages.by_key.len()),
            ));
        }
        let key = self.new_key();
        let mut reached = HashSet::new();
        let mut hits = Vec::new();
        for (&subscription, waiting) in self.messages.subscriptions.get(&address).into_iter().flatten() {
            if reached.insert(waiting.process_id.clone()) {
                hits.push(subscription);
            }
        }
        for subscription in hits {
            self.correlate(subscription, variables.clone());
        }
        if time_to_live > 0 {
            if !id.is_empty() {
                self.messages.ids.insert(identity);
            }
            self.messages.buffered.entry(address.clone()).or_default().insert(key);
            let message = Message {
                address,
                id,
                variables,
                reached,
            };
            self.messages.by_key.insert(key, message);
            let due = self.now.saturating_add(time_to_live);
            self.timers.add(due, Due::Message { message: key });
        }
        Ok(key)
    }

    pub(super) fn forget_message(&mut self, key: Key) {
        let Some(message) = self.messages.by_key.remove(&key) else {
            return;
        };
        if let Some(keys) = self.messages.buffered.get_mut(&message.address) {
            keys.remove(&key);
            if keys.is_empty() {
                self.messages.buffered.remove(&message.address);
            }
        }
        self.messages.ids.remove(&(message.address, message.id));
    }

    /// An element instance begins to wait; a buffered message reaches it at once.
    pub(super) fn open_subscription(
        &mut self,
        instance: Key,
        event: ElementIndex,
        name: String,
        correlation_key: String,
        once: bool,
    ) {
        let key = self.new_key();
        let Some(waiting) = self.elements.get_mut(instance) else {
            return;
        };
        waiting.subscriptions.push(key);
        let process_id = waiting.definition.process.id.clone();
        let address = Address { name, correlation_key };
        let missed = self.messages.buffered.get(&address).into_iter().flatten().copied();
        let missed: Vec<Key> = missed
            .filter(|message| {
                self.messages
                    .by_key
                    .get(message)
                    .is_some_and(|message| !message.reached.contains(&process_id))
            })
            .take(if once { 1 } else { usize::MAX })
            .collect();
        self.messages.addresses.insert(key, address.clone());
        let subscription = Subscription {
            instance,
            event,
            process_id: process_id.clone(),
            once,
        };
        self.messages
            .subscriptions
            .entry(address)
            .or_default()
            .insert(key, subscription);
        for message in missed {
            if let Some(message) = self.messages.by_key.get_mut(&message) {
                message.reached.insert(process_id.clone());
                let variables = message.variables.clone();
                self.steps.push_back(Step::Correlate(key, variables));
            }
        }
    }

    /// A message reaches the element that waits for it.
    pub(super) fn correlate(&mut self, subscription: Key, variables: Map<String, Value>) {
        let Some(address) = self.messages.addresses.get(&subscription) else {
            return;
        };
        let waiting = self
            .messages
            .subscriptions
            .get(address)
            .and_then(|open| open.get(&subscription));
        let Some(&Subscription {
            instance, event, once, ..
        }) = waiting
        else {
            return;
        };
        if once {
            self.close_subscription(subscription);
        }
        self.event_happened(instance, event, variables);
    }

    pub(super) fn close_subscription(&mut self, key: Key) {
        let Some(address) = self.messages.addresses.remove(&key) else {
            return;
        };
        if let Some(open) = self.messages.subscriptions.get_mut(&address) {
            open.remove(&key);
            if open.is_empty() {
                self.messages.subscriptions.remove(&address);
            }
        }
    }
}
