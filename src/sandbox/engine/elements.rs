//! Tokens: how they enter an element, wait in it, complete it and leave it, and how scopes end.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::bpmn::{Element, ElementIndex, FlowIndex, Kind, ROOT};
use super::definitions::Definition;
use super::events::IncidentKind;
use super::machine::{Key, Machine};
use super::timers::TimerId;

/// One entry of a token into an element, or a running process or subprocess.
#[derive(Debug)]
pub(super) struct ElementInstance {
    pub(super) index: ElementIndex,
    pub(super) definition: Arc<Definition>,
    /// Key of the process instance.
    pub(super) instance: Key,
    /// The scope around it; none for the process instance.
    pub(super) parent: Option<Key>,
    pub(super) phase: Phase,
    /// The variables of its own scope.
    pub(super) variables: Map<String, Value>,
    /// What a job, message or timer brought, until it is merged on completion.
    pub(super) brought: Option<Map<String, Value>>,
    pub(super) job: Option<Key>,
    pub(super) timers: Vec<TimerId>,
    pub(super) subscriptions: Vec<Key>,
    pub(super) incidents: Vec<Key>,
    children: BTreeSet<Key>,
    /// Tokens on their way between elements of this scope, those that wait at a parallel gateway included.
    travelling: usize,
    /// For each parallel gateway of this scope, how many tokens wait on each of its arriving flows.
    waiting: HashMap<ElementIndex, HashMap<FlowIndex, usize>>,
}

impl ElementInstance {
    pub(super) fn element(&self) -> &Element {
        self.definition.process.element(self.index)
    }
}

/// How far a token is in its element; an incident is resolved by trying this phase again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Input mappings, subscriptions, the job: not all done yet.
    Activating,
    /// Waits.
    Active,
    /// Output mappings and leaving: not done yet.
    Completing,
}

/// What is to be done next with a token.
#[derive(Debug)]
pub(super) enum Step {
    /// A token arrives at an element of this scope, over a flow unless it starts here.
    Enter {
        scope: Key,
        element: ElementIndex,
        flow: Option<FlowIndex>,
    },
    /// An element instance is set up.
    Activate(Key),
    /// An element instance has done its work.
    Complete(Key),
    /// A buffered message reaches a subscription.
    Correlate(Key, Map<String, Value>),
}

/// Every element instance by its key.
#[derive(Debug, Default)]
pub(super) struct Elements(HashMap<Key, ElementInstance>);

impl Elements {
    pub(super) fn get(&self, key: Key) -> Option<&ElementInstance> {
        self.0.get(&key)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut ElementInstance> {
        self.0.get_mut(&key)
    }
}

impl Machine {
    pub(super) fn add_instance(&mut self, key: Key, definition: Arc<Definition>, variables: Map<String, Value>) {
        self.insert(key, ROOT, definition, key, None, variables);
    }

    fn insert(
        &mut self,
        key: Key,
        index: ElementIndex,
        definition: Arc<Definition>,
        instance: Key,
        parent: Option<Key>,
        variables: Map<String, Value>,
    ) {
        if let Some(scope) = parent.and_then(|parent| self.elements.get_mut(parent)) {
            scope.children.insert(key);
        }
        self.elements.0.insert(
            key,
            ElementInstance {
                index,
                definition,
                instance,
                parent,
                phase: Phase::Activating,
                variables,
                brought: None,
                job: None,
                timers: Vec::new(),
                subscriptions: Vec::new(),
                incidents: Vec::new(),
                children: BTreeSet::new(),
                travelling: 0,
                waiting: HashMap::new(),
            },
        );
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Enter { scope, element, flow } => self.enter(scope, element, flow),
            Step::Activate(key) => self.activate(key),
            Step::Complete(key) => self.complete(key),
            Step::Correlate(subscription, variables) => self.correlate(subscription, variables),
        }
    }

    /// A token sets out for an element of this scope.
    fn send_token(&mut self, scope: Key, element: ElementIndex, flow: Option<FlowIndex>) {
        if let Some(instance) = self.elements.get_mut(scope) {
            instance.travelling += 1;
            self.steps.push_back(Step::Enter { scope, element, flow });
        }
    }

    fn enter(&mut self, scope: Key, index: ElementIndex, flow: Option<FlowIndex>) {
        let Some(around) = self.elements.get_mut(scope) else {
            return; // the scope was cancelled while the token was on its way
        };
        let definition = Arc::clone(&around.definition);
        let element = definition.process.element(index);
        let mut arrived = 1;
        if let (Kind::ParallelGateway, Some(flow)) = (&element.kind, flow)
            && element.incoming.len() > 1
        {
            let waiting = around.waiting.entry(index).or_default();
            *waiting.entry(flow).or_default() += 1;
            if waiting.len() < element.incoming.len() {
                return;
            }
            arrived = element.incoming.len();
            waiting.retain(|_, tokens| {
                *tokens -= 1;
                *tokens > 0
            });
        }
        around.travelling -= arrived;
        let instance = around.instance;
        self.start_element(scope, index, definition, instance, Map::new(), None);
    }

    fn start_element(
        &mut self,
        scope: Key,
        index: ElementIndex,
        definition: Arc<Definition>,
        instance: Key,
        local: Map<String, Value>,
        brought: Option<Map<String, Value>>,
    ) {
        let key = self.new_key();
        self.insert(key, index, definition, instance, Some(scope), local);
        if let Some(element) = self.elements.get_mut(key) {
            element.brought = brought;
        }
        self.activate(key);
    }

    /// An event happened to an activity: its boundary event begins, in the scope around the activity. What a message
    /// brought goes on into the process. What an error brought is local to the event, and leaves it by output mappings
    /// only.
    pub(super) fn start_boundary(
        &mut self,
        host: Key,
        boundary: ElementIndex,
        local: Map<String, Value>,
        brought: Option<Map<String, Value>>,
    ) {
        let Some(activity) = self.elements.get(host) else {
            return;
        };
        let (Some(scope), instance) = (activity.parent, activity.instance) else {
            return;
        };
        let definition = Arc::clone(&activity.definition);
        if matches!(
            definition.process.element(boundary).kind,
            Kind::Boundary { interrupting: true, .. }
        ) {
            self.terminate(host);
        }
        self.start_element(scope, boundary, definition, instance, local, brought);
    }

    fn activate(&mut self, key: Key) {
        let Some(instance) = self.elements.get(key) else { return };
        let definition = Arc::clone(&instance.definition);
        let index = instance.index;
        let element = definition.process.element(index);
        if !element.inputs.is_empty() {
            match self.evaluate_mappings(&element.inputs, key, false) {
                Ok(variables) => self.set_local(key, variables),
                Err(message) => return self.raise(key, None, IncidentKind::IoMappingError, message),
            }
        }
        if let Err(message) = self.subscribe_all(key, index, element, &definition) {
            self.unsubscribe(key);
            return self.raise(key, None, IncidentKind::ExtractValueError, message);
        }
        let mut next = Phase::Active;
        match &element.kind {
            Kind::Job(job) => {
                if let Err(message) = self.create_job(key, job) {
                    self.unsubscribe(key);
                    return self.raise(key, None, IncidentKind::ExtractValueError, message);
                }
            }
            Kind::Scope { start } => self.send_token(key, *start, None),
            Kind::ErrorEnd { code } => match code.string(&self.layers(key)) {
                Ok(code) => return self.throw_from(key, &code),
                Err(message) => return self.raise(key, None, IncidentKind::ExtractValueError, message),
            },
            Kind::Catch(_) => {}
            Kind::PassThrough
            | Kind::End
            | Kind::TerminateEnd
            | Kind::ExclusiveGateway { .. }
            | Kind::ParallelGateway
            | Kind::Boundary { .. } => next = Phase::Completing,
        }
        if let Some(instance) = self.elements.get_mut(key) {
            instance.phase = next;
        }
        if next == Phase::Completing {
            self.complete(key);
        }
    }

    /// The element's work is done and brought these variables.
    pub(super) fn finish(&mut self, key: Key, brought: Map<String, Value>) {
        if let Some(instance) = self.elements.get_mut(key) {
            instance.phase = Phase::Completing;
            instance.brought = Some(brought);
            self.steps.push_back(Step::Complete(key));
        }
    }

    fn complete(&mut self, key: Key) {
        let Some(instance) = self.elements.get_mut(key) else {
            return;
        };
        instance.phase = Phase::Completing;
        let definition = Arc::clone(&instance.definition);
        let element = definition.process.element(instance.index);
        let chosen = match &element.kind {
            Kind::ExclusiveGateway { default } => match self.choose_flow(key, element, *default, &definition) {
                Ok(chosen) => chosen,
                Err((kind, message)) => return self.raise(key, None, kind, message),
            },
            _ => None,
        };
        if let Err(message) = self.apply_outputs(key, element) {
            return self.raise(key, None, IncidentKind::IoMappingError, message);
        }
        self.unsubscribe(key);
        self.leave(key, element, chosen, &definition);
    }

    /// Merges what the element brought into the process, as Zeebe does: through the output mappings if there are any.
    fn apply_outputs(&mut self, key: Key, element: &Element) -> Result<(), String> {
        let Some(instance) = self.elements.get_mut(key) else {
            return Ok(());
        };
        let parent = instance.parent;
        let brought = instance.brought.take();
        if let (false, Some(parent)) = (element.outputs.is_empty(), parent) {
            self.set_local(key, brought.unwrap_or_default());
            let results = self.evaluate_mappings(&element.outputs, key, true)?;
            self.merge(parent, results);
        } else if let Some(brought) = brought {
            self.merge(key, brought);
        }
        Ok(())
    }

    fn choose_flow(
        &self,
        key: Key,
        element: &Element,
        default: Option<FlowIndex>,
        definition: &Definition,
    ) -> Result<Option<FlowIndex>, (IncidentKind, String)> {
        let layers = self.layers(key);
        // Zeebe asks the flows from the last of the file to the first (seen on 8.6 and 8.9).
        for &flow in element.outgoing.iter().rev() {
            let Some(condition) = &definition.process.flows[flow].condition else {
                if default == Some(flow) {
                    continue;
                }
                return Ok(Some(flow)); // a single flow needs no condition
            };
            let holds = condition
                .boolean(&layers)
                .map_err(|message| (IncidentKind::ExtractValueError, message))?;
            if holds && default != Some(flow) {
                return Ok(Some(flow));
            }
        }
        if default.is_none() && !element.outgoing.is_empty() {
            return Err((
                IncidentKind::ConditionError,
                "Expected at least one condition to evaluate to true, or to have a default flow".to_owned(),
            ));
        }
        Ok(default)
    }

    /// The token goes on, over one flow or all, and the element instance ends.
    fn leave(&mut self, key: Key, element: &Element, chosen: Option<FlowIndex>, definition: &Definition) {
        let Some(instance) = self.remove(key) else { return };
        let Some(scope) = instance.parent else {
            let process_id = &definition.process.id;
            return self.instance_completed(instance.instance, process_id, instance.variables);
        };
        if matches!(element.kind, Kind::TerminateEnd) {
            self.terminate_children(scope);
        } else {
            let flows = chosen
                .as_ref()
                .map_or(element.outgoing.as_slice(), std::slice::from_ref);
            for &flow in flows {
                self.send_token(scope, definition.process.flows[flow].target, Some(flow));
            }
        }
        let empty = |scope: &&ElementInstance| scope.children.is_empty() && scope.travelling == 0;
        if self.elements.get(scope).filter(empty).is_some() {
            self.steps.push_back(Step::Complete(scope));
        }
    }

    /// Takes an instance out of its scope and out of every index.
    fn remove(&mut self, key: Key) -> Option<ElementInstance> {
        self.unsubscribe(key);
        let instance = self.elements.0.remove(&key)?;
        if let Some(job) = instance.job {
            self.forget_job(job);
        }
        for incident in &instance.incidents {
            self.incidents.remove(incident);
        }
        if let Some(scope) = instance.parent.and_then(|parent| self.elements.get_mut(parent)) {
            scope.children.remove(&key);
        }
        Some(instance)
    }

    /// Ends an instance and everything inside it; returns the variables of its own scope.
    pub(super) fn terminate(&mut self, key: Key) -> Map<String, Value> {
        let Some(top) = self.remove(key) else {
            return Map::new();
        };
        let mut inside: Vec<Key> = top.children.into_iter().collect();
        while let Some(key) = inside.pop() {
            if let Some(instance) = self.remove(key) {
                inside.extend(instance.children);
            }
        }
        top.variables
    }

    fn terminate_children(&mut self, scope: Key) {
        let Some(instance) = self.elements.get_mut(scope) else {
            return;
        };
        let children = std::mem::take(&mut instance.children);
        instance.waiting.clear();
        instance.travelling = 0;
        self.steps
            .retain(|step| !matches!(step, Step::Enter { scope: at, .. } if *at == scope));
        for child in children {
            self.terminate(child);
        }
    }
}
