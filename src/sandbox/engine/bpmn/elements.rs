//! What a single BPMN element means to the engine: its kind, its event definitions, its Zeebe extensions.

use roxmltree::Node;
use serde_json::{Map, Value};

use super::model::{JobDefinition, Kind, Mapping, ROOT, Trigger};
use super::read::{Reader, ZEEBE, bpmn_children, extension, extensions};
use crate::sandbox::engine::expressions::Expression;

/// For the message of a refusal: everything that the engine executes.
const SUPPORTED: &str = "supported are: none start events; none, error and terminate end events; service, send, script \
    and business rule tasks with a zeebe:taskDefinition; receive, manual and undefined tasks; exclusive and parallel \
    gateways; embedded subprocesses; intermediate timer and message catch events; boundary error, timer and message events";

/// Elements of BPMN that say nothing to an engine.
const DRAWN_ONLY: [&str; 12] = [
    "documentation",
    "extensionElements",
    "textAnnotation",
    "association",
    "group",
    "laneSet",
    "dataObject",
    "dataObjectReference",
    "dataStoreReference",
    "incoming",
    "outgoing",
    "category",
];

/// Zeebe extensions that change the execution in ways that the engine does not know.
const REFUSED_EXTENSIONS: [&str; 5] = [
    "executionListeners",
    "taskListeners",
    "calledDecision",
    "script",
    "adHoc",
];

impl<'a> Reader<'a> {
    /// What the engine does with this element; none for what is only drawn, and (with a problem) for what is refused.
    pub(super) fn kind_of(&mut self, node: Node<'a, 'a>) -> Option<Kind> {
        let name = node.tag_name().name();
        if DRAWN_ONLY.contains(&name) || name.ends_with("LoopCharacteristics") {
            return None;
        }
        for child in extensions(node) {
            let extension = child.tag_name().name();
            if REFUSED_EXTENSIONS.contains(&extension) {
                self.problem(
                    child,
                    format!("zeebe:{extension} is not supported; use a zeebe:taskDefinition"),
                );
            }
        }
        if let Some(loops) = bpmn_children(node).find(|child| child.tag_name().name().ends_with("LoopCharacteristics"))
        {
            self.problem(
                loops,
                format!(
                    "`{}` is not supported; write the loop with an exclusive gateway",
                    loops.tag_name().name()
                ),
            );
        }
        match name {
            "startEvent" | "intermediateThrowEvent" => match self.event_definition(node) {
                None => Some(Kind::PassThrough),
                Some(definition) => self.refuse(definition, node),
            },
            "task" | "manualTask" => Some(Kind::PassThrough),
            "endEvent" => self.end_event(node),
            "serviceTask" | "sendTask" | "scriptTask" | "businessRuleTask" => self.job(node),
            "receiveTask" => {
                let trigger = self.message_trigger(node, node.attribute("messageRef"))?;
                Some(Kind::Catch(trigger))
            }
            "exclusiveGateway" => Some(Kind::ExclusiveGateway { default: None }),
            "parallelGateway" => Some(Kind::ParallelGateway),
            "subProcess" if node.attribute("triggeredByEvent") == Some("true") => {
                self.problem(node, format!("event subprocesses are not supported; {SUPPORTED}"));
                None
            }
            "subProcess" => Some(Kind::Scope { start: ROOT }),
            "intermediateCatchEvent" => {
                let trigger = self.trigger(node)?;
                if matches!(trigger, Trigger::Error { .. }) {
                    self.problem(
                        node,
                        "an error is caught by a boundary event, not on the way".to_owned(),
                    );
                    return None;
                }
                Some(Kind::Catch(trigger))
            }
            "boundaryEvent" => {
                let interrupting = node.attribute("cancelActivity") != Some("false");
                let trigger = self.trigger(node)?;
                if matches!(trigger, Trigger::Error { .. }) && !interrupting {
                    self.problem(
                        node,
                        "a boundary error event always interrupts; remove cancelActivity=\"false\"".to_owned(),
                    );
                }
                Some(Kind::Boundary { interrupting, trigger })
            }
            _ => self.refuse(node, node),
        }
    }

    fn refuse(&mut self, what: Node<'a, 'a>, owner: Node<'a, 'a>) -> Option<Kind> {
        self.problem(
            what,
            format!(
                "`{}` (id \"{}\") is not supported; {SUPPORTED}",
                what.tag_name().name(),
                owner.attribute("id").unwrap_or("")
            ),
        );
        None
    }

    fn event_definition(&mut self, node: Node<'a, 'a>) -> Option<Node<'a, 'a>> {
        let mut definitions = bpmn_children(node).filter(|child| child.tag_name().name().ends_with("EventDefinition"));
        let first = definitions.next();
        if definitions.next().is_some() {
            self.problem(node, "an event can have one event definition only".to_owned());
        }
        first
    }

    fn end_event(&mut self, node: Node<'a, 'a>) -> Option<Kind> {
        let Some(definition) = self.event_definition(node) else {
            return Some(Kind::End);
        };
        match definition.tag_name().name() {
            "terminateEventDefinition" => Some(Kind::TerminateEnd),
            "errorEventDefinition" => {
                let Some(code) = self.error_code(definition) else {
                    self.problem(
                        definition,
                        "an error end event needs an errorRef with an errorCode".to_owned(),
                    );
                    return None;
                };
                let code = self.expression(definition, "errorCode", code);
                Some(Kind::ErrorEnd { code })
            }
            _ => self.refuse(definition, node),
        }
    }

    fn trigger(&mut self, node: Node<'a, 'a>) -> Option<Trigger> {
        let Some(definition) = self.event_definition(node) else {
            self.problem(
                node,
                "this event waits for nothing; give it a timer, message or error".to_owned(),
            );
            return None;
        };
        match definition.tag_name().name() {
            "timerEventDefinition" => self.timer(definition),
            "messageEventDefinition" => self.message_trigger(definition, definition.attribute("messageRef")),
            "errorEventDefinition" => {
                let code = self.error_code(definition);
                Some(Trigger::Error {
                    code: code.map(str::to_owned),
                })
            }
            _ => {
                self.refuse(definition, node);
                None
            }
        }
    }

    fn timer(&mut self, definition: Node<'a, 'a>) -> Option<Trigger> {
        let time = bpmn_children(definition).find(|child| child.tag_name().name().starts_with("time"));
        let Some(time) = time else {
            self.problem(definition, "a timer needs a `timeDuration` or `timeDate`".to_owned());
            return None;
        };
        let text = time.text().unwrap_or_default().trim();
        match time.tag_name().name() {
            "timeDuration" => {
                let duration = self.expression(time, "timeDuration", text);
                if let Err(error) = duration.check_duration() {
                    self.problem(time, format!("timeDuration: {error}"));
                }
                Some(Trigger::Duration(duration))
            }
            "timeDate" => Some(Trigger::Date(self.expression(time, "timeDate", text))),
            other => {
                self.problem(
                    time,
                    format!("`{other}` is not supported; use `timeDuration` or `timeDate`"),
                );
                None
            }
        }
    }

    fn message_trigger(&mut self, node: Node<'a, 'a>, reference: Option<&str>) -> Option<Trigger> {
        let message = self.message(node, reference)?;
        let Some(correlation_key) = message.correlation_key else {
            self.problem(
                node,
                "the message needs <zeebe:subscription correlationKey=\"=...\"/> to find its instance".to_owned(),
            );
            return None;
        };
        Some(Trigger::Message {
            name: message.name,
            correlation_key,
        })
    }

    fn job(&mut self, node: Node<'a, 'a>) -> Option<Kind> {
        let Some(definition) = extension(node, "taskDefinition") else {
            self.problem(
                node,
                format!(
                    "`{}` (id \"{}\") needs <zeebe:taskDefinition type=\"...\"/>",
                    node.tag_name().name(),
                    node.attribute("id").unwrap_or("")
                ),
            );
            return None;
        };
        let job_type = definition.attribute("type").unwrap_or_default();
        if job_type.trim().is_empty() {
            self.problem(definition, "zeebe:taskDefinition needs a type".to_owned());
        }
        let retries = definition.attribute("retries").unwrap_or("3");
        let mut headers = Map::new();
        for header in extension(node, "taskHeaders")
            .into_iter()
            .flat_map(|headers| headers.children())
        {
            let key = header.attribute("key").unwrap_or_default();
            let value = header.attribute("value").unwrap_or_default();
            // Zeebe drops headers that lack a key or a value.
            if header.has_tag_name((ZEEBE, "header")) && !key.is_empty() && !value.is_empty() {
                headers.insert(key.to_owned(), Value::String(value.to_owned()));
            }
        }
        Some(Kind::Job(Box::new(JobDefinition {
            job_type: self.expression(definition, "type", job_type),
            retries: self.expression(definition, "retries", retries),
            headers: Value::Object(headers).to_string(),
        })))
    }

    /// The element's `zeebe:input`s and `zeebe:output`s.
    pub(super) fn mappings(&mut self, node: Node<'a, 'a>) -> (Vec<Mapping>, Vec<Mapping>) {
        let mut inputs = Vec::new();
        let mut outputs = Vec::new();
        for child in extension(node, "ioMapping")
            .into_iter()
            .flat_map(|mapping| mapping.children())
        {
            let list = match child.tag_name().name() {
                "input" => &mut inputs,
                "output" => &mut outputs,
                _ => continue,
            };
            let source = child.attribute("source").unwrap_or_default();
            let target = child.attribute("target").unwrap_or_default();
            let path: Vec<String> = target.split('.').map(|name| name.trim().to_owned()).collect();
            if path.iter().any(String::is_empty) {
                self.problem(child, format!("target \"{target}\" is not a variable's name or path"));
                continue;
            }
            let source = match Expression::parse(source) {
                Ok(source) => source,
                Err(error) => {
                    self.problem(child, format!("source: {error}"));
                    continue;
                }
            };
            list.push(Mapping { source, target: path });
        }
        (inputs, outputs)
    }
}
