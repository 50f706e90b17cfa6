//! Variables and their scopes: documents enter, and land where Zeebe would put them; what a scope can see leaves.

use serde::Serializer as _;
use serde_json::{Map, Value};

use super::bpmn::Mapping;
use super::expressions::Layers;
use super::machine::{Key, Machine};
use super::rejection::Rejection;

impl Machine {
    /// Sets variables of an element instance or process instance from outside: exactly there when `local`, merged
    /// otherwise. Returns the key of the change.
    ///
    /// # Errors
    /// There is no such element instance, or it has ended.
    pub fn set_variables(&mut self, scope: Key, variables: Map<String, Value>, local: bool) -> Result<Key, Rejection> {
        if self.elements.get(scope).is_none() {
            return Err(Rejection::not_found(
                "UPDATE",
                format!("Expected to update variables for element with key '{scope}', but no such element was found"),
            ));
        }
        if local {
            self.set_local(scope, variables);
        } else {
            self.merge(scope, variables);
        }
        Ok(self.new_key())
    }

    /// Sets variables in exactly this scope.
    pub(super) fn set_local(&mut self, scope: Key, variables: Map<String, Value>) {
        if let Some(element) = self.elements.get_mut(scope) {
            element.variables.extend(variables);
        }
    }

    /// Each variable goes to the nearest scope, from this one outwards, that has one of its name; the process instance
    /// takes what none has.
    pub(super) fn merge(&mut self, scope: Key, mut variables: Map<String, Value>) {
        let mut at = scope;
        while let Some(element) = self.elements.get_mut(at) {
            let Some(parent) = element.parent else {
                element.variables.extend(variables);
                return;
            };
            if !variables.is_empty() && !element.variables.is_empty() {
                for (name, place) in &mut element.variables {
                    if let Some(value) = variables.swap_remove(name) {
                        *place = value;
                    }
                }
            }
            at = parent;
        }
    }

    /// What an expression in this scope can see.
    pub(super) fn layers(&self, scope: Key) -> Layers<'_> {
        let mut layers = Vec::new();
        let mut at = Some(scope);
        while let Some(element) = at.and_then(|key| self.elements.get(key)) {
            if !element.variables.is_empty() {
                layers.push(&element.variables);
            }
            at = element.parent;
        }
        layers.reverse();
        Layers::new(layers, self.now)
    }

    /// What a job in this scope is sent: JSON text of an object with the wanted names, or with all when none is named.
    pub(super) fn visible(&self, scope: Key, wanted: &[String]) -> String {
        let layers = self.layers(scope);
        let mut text = Vec::with_capacity(128);
        let written = serde_json::Serializer::new(&mut text).collect_map(layers.iter(wanted));
        // Neither a string key nor a JSON value can fail to be written to memory.
        debug_assert!(written.is_ok());
        String::from_utf8(text).unwrap_or_default()
    }

    /// Evaluates mappings one after another in this scope, each seeing what those before it gave.
    ///
    /// `over` says whether a nested target (`a.b`) adds to the object that is there (output) or begins a new one (input).
    pub(super) fn evaluate_mappings(
        &self,
        mappings: &[Mapping],
        scope: Key,
        over: bool,
    ) -> Result<Map<String, Value>, String> {
        let layers = self.layers(scope);
        let mut results = Map::new();
        for mapping in mappings {
            let value = mapping.source.evaluate(&layers.with(&results))?;
            let (name, path) = match mapping.target.split_first() {
                Some((name, path)) => (name, path),
                None => continue, // the reader lets no empty target through
            };
            if !results.contains_key(name) {
                let base = if over && !path.is_empty() {
                    layers.get(name).cloned()
                } else {
                    None
                };
                results.insert(name.clone(), base.unwrap_or(Value::Null));
            }
            let mut place = &mut results[name.as_str()];
            for entry in path {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                place = &mut place[entry.as_str()];
            }
            *place = value;
        }
        Ok(results)
    }
}
