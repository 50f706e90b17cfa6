//! Waiting for events: timers and message subscriptions are opened and closed with their element, and thrown errors
//! look for an event that catches them.

use serde_json::{Map, Value};

use super::bpmn::{Element, ElementIndex, Kind, Trigger};
use super::definitions::Definition;
use super::events::{Event, IncidentKind};
use super::machine::{Due, Key, Machine};

impl Machine {
    /// Opens what the element itself waits for, and what its boundary events wait for.
    pub(super) fn subscribe_all(
        &mut self,
        key: Key,
        index: ElementIndex,
        element: &Element,
        definition: &Definition,
    ) -> Result<(), String> {
        if let Kind::Catch(trigger) = &element.kind {
            self.subscribe(key, index, trigger, true)?;
        }
        for &boundary in &element.boundaries {
            if let Kind::Boundary { trigger, interrupting } = &definition.process.element(boundary).kind {
                self.subscribe(key, boundary, trigger, *interrupting)?;
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, key: Key, event: ElementIndex, trigger: &Trigger, once: bool) -> Result<(), String> {
        let layers = self.layers(key);
        match trigger {
            Trigger::Duration(duration) => {
                let due = duration.after(&layers)?;
                self.start_timer(key, event, due);
            }
            Trigger::Date(date) => {
                let due = date.point_in_time(&layers)?;
                self.start_timer(key, event, due);
            }
            Trigger::Message { name, correlation_key } => {
                // As in Zeebe, a boundary message is looked up from around the activity, a timer from inside.
                let waits = self.elements.get(key);
                let around = waits
                    .filter(|instance| instance.index != event)
                    .and_then(|instance| instance.parent);
                let layers = self.layers(around.unwrap_or(key));
                let name = name.string(&layers)?;
                let correlation_key = correlation_key.correlation_key(&layers)?;
                self.open_subscription(key, event, name, correlation_key, once);
            }
            Trigger::Error { .. } => {}
        }
        Ok(())
    }

    fn start_timer(&mut self, instance: Key, event: ElementIndex, due: i64) {
        let timer = self.timers.add(due, Due::Element { instance, event });
        if let Some(instance) = self.elements.get_mut(instance) {
            instance.timers.push(timer);
        }
    }

    /// Closes what an element instance waits for.
    pub(super) fn unsubscribe(&mut self, key: Key) {
        let Some(instance) = self.elements.get_mut(key) else {
            return;
        };
        let timers = std::mem::take(&mut instance.timers);
        let subscriptions = std::mem::take(&mut instance.subscriptions);
        for timer in timers {
            self.timers.cancel(timer);
        }
        for subscription in subscriptions {
            self.close_subscription(subscription);
        }
    }

    pub(super) fn timer_fired(&mut self, instance: Key, event: ElementIndex) {
        self.event_happened(instance, event, Map::new());
    }

    /// What an element instance waited for has happened: to itself or to one of its boundary events.
    pub(super) fn event_happened(&mut self, key: Key, event: ElementIndex, variables: Map<String, Value>) {
        let Some(instance) = self.elements.get(key) else { return };
        if instance.index == event {
            self.unsubscribe(key);
            self.finish(key, variables);
        } else {
            self.start_boundary(key, event, Map::new(), Some(variables));
        }
    }

    /// An error end event throws.
    pub(super) fn throw_from(&mut self, key: Key, code: &str) {
        let Some(parent) = self.elements.get(key).and_then(|instance| instance.parent) else {
            return;
        };
        match self.find_catcher(parent, code) {
            Some((host, boundary)) => self.catch_error(host, boundary, code, "", Map::new()),
            None => {
                let message = uncaught(code, None);
                self.raise(key, None, IncidentKind::UnhandledErrorEvent, message);
            }
        }
    }

    /// The boundary event that catches this code, looked for from this activity outwards: in each, the exact code
    /// comes before an event that catches all.
    pub(super) fn find_catcher(&self, from: Key, code: &str) -> Option<(Key, ElementIndex)> {
        let mut at = Some(from);
        while let Some(key) = at {
            let instance = self.elements.get(key)?;
            let mut catches_all = None;
            for &boundary in &instance.element().boundaries {
                match &instance.definition.process.element(boundary).kind {
                    Kind::Boundary {
                        trigger: Trigger::Error { code: Some(caught) },
                        ..
                    } if caught == code => {
                        return Some((key, boundary));
                    }
                    Kind::Boundary {
                        trigger: Trigger::Error { code: None },
                        ..
                    } => catches_all = Some((key, boundary)),
                    _ => {}
                }
            }
            if catches_all.is_some() {
                return catches_all;
            }
            at = instance.parent;
        }
        None
    }

    pub(super) fn catch_error(
        &mut self,
        host: Key,
        boundary: ElementIndex,
        code: &str,
        message: &str,
        variables: Map<String, Value>,
    ) {
        if let Some(instance) = self.elements.get(host) {
            self.emit(|| Event::ErrorCaught {
                instance: instance.instance,
                code: code.to_owned(),
                message: message.to_owned(),
                element_id: instance.definition.process.element(boundary).id.clone(),
            });
        }
        self.start_boundary(host, boundary, variables, None);
    }
}

/// The message of the incident that an uncaught error makes.
pub(super) fn uncaught(code: &str, message: Option<&str>) -> String {
    let message = message
        .filter(|message| !message.is_empty())
        .unwrap_or("No error message provided.");
    format!(
        "Expected to throw an error event with the code '{code}' with message '{message}', but it was not caught. No error events are available in the scope."
    )
}
