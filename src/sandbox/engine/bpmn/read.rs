//! From XML to processes: finds the executable processes, walks their scopes, and ties flows, defaults and boundary
//! events together once every element is known. What a single element means is in `elements`.

use std::collections::HashMap;

use roxmltree::{Document, Node};

use super::Problem;
use super::model::{Element, ElementIndex, Flow, Kind, Process, ROOT};
use crate::sandbox::engine::expressions::Expression;

pub(super) const BPMN: &str = "http://www.omg.org/spec/BPMN/20100524/MODEL";
pub(super) const ZEEBE: &str = "http://camunda.org/schema/zeebe/1.0";

/// Subprocesses deeper than this are refused: reading is recursive.
const MAX_DEPTH: usize = 32;

/// Reads every executable process of a BPMN file.
///
/// # Errors
/// Every fault that was found, in the order of the file.
pub fn read(text: &str) -> Result<Vec<Process>, Vec<Problem>> {
    let document = Document::parse(text).map_err(|error| {
        vec![Problem {
            line: error.pos().row,
            column: error.pos().col,
            message: format!("this is not well-formed XML ({error})"),
        }]
    })?;
    let root = document.root_element();
    let mut reader = Reader::new(&document);
    if !root.has_tag_name((BPMN, "definitions")) {
        reader.problem(
            root,
            format!(
                "the outermost element is `{}`; a BPMN file begins with `definitions` in the namespace {BPMN}",
                root.tag_name().name()
            ),
        );
        return Err(reader.problems);
    }
    reader.read_definitions(root);
    let mut processes = Vec::new();
    for node in bpmn_children(root).filter(|node| node.tag_name().name() == "process") {
        if node.attribute("isExecutable") == Some("true") {
            processes.push(reader.read_process(node));
        }
    }
    if processes.is_empty() && reader.problems.is_empty() {
        reader.problem(
            root,
            "no process is executable; set isExecutable=\"true\" on a `process`".to_owned(),
        );
    }
    if reader.problems.is_empty() {
        Ok(processes)
    } else {
        reader.problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(reader.problems)
    }
}

/// What a `bpmn:message` says.
pub(super) struct MessageDefinition {
    pub(super) name: Expression,
    pub(super) correlation_key: Option<Expression>,
}

/// Reads one file; collects problems instead of stopping at the first.
pub(super) struct Reader<'a> {
    document: &'a Document<'a>,
    pub(super) problems: Vec<Problem>,
    /// `bpmn:message` by id; taken by the event that refers to it, so texts are kept, not parsed expressions.
    messages: HashMap<&'a str, Node<'a, 'a>>,
    /// `bpmn:error` by id.
    errors: HashMap<&'a str, Node<'a, 'a>>,
}

/// A process under construction.
#[derive(Default)]
pub(super) struct Draft<'a> {
    elements: Vec<Element>,
    ids: HashMap<&'a str, ElementIndex>,
    /// The scope that each element stands in.
    scopes: Vec<ElementIndex>,
    flows: Vec<Node<'a, 'a>>,
    defaults: Vec<(ElementIndex, &'a str, Node<'a, 'a>)>,
    attachments: Vec<(ElementIndex, Node<'a, 'a>)>,
}

impl<'a> Draft<'a> {
    fn add(&mut self, id: &'a str, scope: ElementIndex, kind: Kind) -> ElementIndex {
        let index = self.elements.len();
        self.elements.push(Element {
            id: id.to_owned(),
            kind,
            inputs: Vec::new(),
            outputs: Vec::new(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            boundaries: Vec::new(),
        });
        self.scopes.push(scope);
        self.ids.insert(id, index);
        index
    }

    /// Remembers a gateway's default flow until the flows are known.
    pub(super) fn default_flow(&mut self, gateway: ElementIndex, flow: &'a str, node: Node<'a, 'a>) {
        self.defaults.push((gateway, flow, node));
    }
}

impl<'a> Reader<'a> {
    fn new(document: &'a Document<'a>) -> Self {
        Self {
            document,
            problems: Vec::new(),
            messages: HashMap::new(),
            errors: HashMap::new(),
        }
    }

    pub(super) fn problem(&mut self, node: Node<'_, '_>, message: String) {
        let position = self.document.text_pos_at(node.range().start);
        self.problems.push(Problem {
            line: position.row,
            column: position.col,
            message,
        });
    }

    /// An attribute's or element's text as an expression; a text that is none is a problem.
    pub(super) fn expression(&mut self, node: Node<'a, 'a>, what: &str, text: &str) -> Expression {
        Expression::parse(text).unwrap_or_else(|error| {
            self.problem(node, format!("{what}: {error}"));
            Expression::text(text)
        })
    }

    pub(super) fn message(&mut self, node: Node<'a, 'a>, reference: Option<&str>) -> Option<MessageDefinition> {
        let Some(message) = reference.and_then(|id| self.messages.get(id).copied()) else {
            self.problem(
                node,
                format!(
                    "messageRef \"{}\" names no `message` of this file",
                    reference.unwrap_or("")
                ),
            );
            return None;
        };
        let name = message.attribute("name").unwrap_or_default();
        if name.is_empty() {
            self.problem(message, "a message needs a name".to_owned());
        }
        let correlation_key = extension(message, "subscription").and_then(|subscription| {
            subscription
                .attribute("correlationKey")
                .map(|text| (subscription, text))
        });
        Some(MessageDefinition {
            name: self.expression(message, "the message's name", name),
            correlation_key: correlation_key.map(|(node, text)| self.expression(node, "correlationKey", text)),
        })
    }

    /// The code of a `bpmn:error`; none when the event refers to none.
    pub(super) fn error_code(&mut self, definition: Node<'a, 'a>) -> Option<&'a str> {
        let reference = definition.attribute("errorRef")?;
        let Some(error) = self.errors.get(reference).copied() else {
            self.problem(
                definition,
                format!("errorRef \"{reference}\" names no `error` of this file"),
            );
            return None;
        };
        let code = error.attribute("errorCode").filter(|code| !code.is_empty());
        if code.is_none() {
            self.problem(error, "an error needs an errorCode".to_owned());
        }
        code
    }

    fn read_definitions(&mut self, root: Node<'a, 'a>) {
        for node in bpmn_children(root) {
            let Some(id) = node.attribute("id") else { continue };
            match node.tag_name().name() {
                "message" => {
                    self.messages.insert(id, node);
                }
                "error" => {
                    self.errors.insert(id, node);
                }
                _ => {}
            }
        }
    }

    fn read_process(&mut self, node: Node<'a, 'a>) -> Process {
        let mut draft = Draft::default();
        let id = self.id_of(node);
        draft.add(id, ROOT, Kind::Scope { start: ROOT });
        self.read_scope(&mut draft, node, ROOT, 0);
        let flows = self.connect(&mut draft);
        self.attach(&mut draft);
        Process {
            id: id.to_owned(),
            elements: draft.elements,
            flows,
        }
    }

    fn read_scope(&mut self, draft: &mut Draft<'a>, scope_node: Node<'a, 'a>, scope: ElementIndex, depth: usize) {
        let mut start = None;
        for node in bpmn_children(scope_node) {
            match node.tag_name().name() {
                "sequenceFlow" => draft.flows.push(node),
                "startEvent" => {
                    let index = self.read_element(draft, node, scope);
                    if let Some(index) = index
                        && start.replace(index).is_some()
                    {
                        self.problem(
                            node,
                            "a second start event; one per process and subprocess is supported".into(),
                        );
                    }
                }
                "subProcess" => {
                    if depth == MAX_DEPTH {
                        self.problem(node, format!("subprocesses are nested deeper than {MAX_DEPTH}"));
                    } else if let Some(index) = self.read_element(draft, node, scope) {
                        self.read_scope(draft, node, index, depth + 1);
                    }
                }
                _ => {
                    self.read_element(draft, node, scope);
                }
            }
        }
        match start {
            Some(start) => draft.elements[scope].kind = Kind::Scope { start },
            None => self.problem(scope_node, "there is no start event; add a none start event".to_owned()),
        }
    }

    /// Adds what the node stands for; none for what is only drawn, and for what is refused.
    fn read_element(&mut self, draft: &mut Draft<'a>, node: Node<'a, 'a>, scope: ElementIndex) -> Option<ElementIndex> {
        let kind = self.kind_of(node)?;
        let id = self.id_of(node);
        if draft.ids.contains_key(id) {
            self.problem(node, format!("the id \"{id}\" is used twice"));
            return None;
        }
        let boundary = matches!(kind, Kind::Boundary { .. });
        let index = draft.add(id, scope, kind);
        if boundary {
            draft.attachments.push((index, node));
        }
        if let Some(flow) = node.attribute("default") {
            draft.default_flow(index, flow, node);
        }
        let (inputs, outputs) = self.mappings(node);
        draft.elements[index].inputs = inputs;
        draft.elements[index].outputs = outputs;
        Some(index)
    }

    fn id_of(&mut self, node: Node<'a, 'a>) -> &'a str {
        let id = node.attribute("id").unwrap_or_default();
        if id.is_empty() {
            self.problem(node, format!("`{}` needs an id", node.tag_name().name()));
        }
        id
    }

    fn connect(&mut self, draft: &mut Draft<'a>) -> Vec<Flow> {
        let mut flows: Vec<Flow> = Vec::new();
        let mut ids = HashMap::new();
        for node in std::mem::take(&mut draft.flows) {
            let mut end = |attribute: &str| {
                let id = node.attribute(attribute).unwrap_or_default();
                let found = draft.ids.get(id).copied();
                if found.is_none() && self.problems.is_empty() {
                    // With other problems the element may only be missing because it was refused.
                    self.problem(node, format!("{attribute} \"{id}\" names no element of this process"));
                }
                found
            };
            let (Some(source), Some(target)) = (end("sourceRef"), end("targetRef")) else {
                continue;
            };
            if draft.scopes[source] != draft.scopes[target] {
                self.problem(node, "a sequence flow cannot leave or enter a subprocess".to_owned());
            }
            let condition = bpmn_children(node)
                .find(|child| child.tag_name().name() == "conditionExpression")
                .map(|child| self.expression(child, "condition", child.text().unwrap_or_default().trim()));
            if condition.is_some() && !matches!(draft.elements[source].kind, Kind::ExclusiveGateway { .. }) {
                self.problem(
                    node,
                    "a condition is read only on flows that leave an exclusive gateway; put one before it".to_owned(),
                );
            }
            let index = flows.len();
            flows.push(Flow { target, condition });
            draft.elements[source].outgoing.push(index);
            draft.elements[target].incoming.push(index);
            ids.insert(node.attribute("id").unwrap_or_default(), (index, node));
        }
        for (gateway, flow, node) in std::mem::take(&mut draft.defaults) {
            let known = ids.get(flow).map(|(index, _)| *index);
            match (&mut draft.elements[gateway].kind, known) {
                (Kind::ExclusiveGateway { default }, Some(index)) => *default = Some(index),
                (Kind::ExclusiveGateway { .. }, None) => {
                    self.problem(node, format!("default=\"{flow}\" names no sequence flow"));
                }
                _ => self.problem(node, "only an exclusive gateway can have a default flow".to_owned()),
            }
        }
        for element in &draft.elements {
            let Kind::ExclusiveGateway { default } = element.kind else {
                continue;
            };
            if element.outgoing.len() < 2 {
                continue;
            }
            for (index, node) in ids.values() {
                let unconditional = flows[*index].condition.is_none() && default != Some(*index);
                if element.outgoing.contains(index) && unconditional {
                    let message = format!(
                        "this flow leaves gateway \"{}\": give it a condition or make it the default",
                        element.id
                    );
                    self.problem(*node, message);
                }
            }
        }
        flows
    }

    fn attach(&mut self, draft: &mut Draft<'a>) {
        for (boundary, node) in std::mem::take(&mut draft.attachments) {
            let host_id = node.attribute("attachedToRef").unwrap_or_default();
            let host = draft.ids.get(host_id).copied();
            let fits = host.filter(|&host| {
                host != ROOT
                    && draft.scopes[host] == draft.scopes[boundary]
                    && matches!(
                        draft.elements[host].kind,
                        Kind::Job(_) | Kind::Scope { .. } | Kind::Catch(_)
                    )
            });
            match fits {
                Some(host) if !draft.elements[boundary].outgoing.is_empty() => {
                    draft.elements[host].boundaries.push(boundary);
                }
                Some(_) => self.problem(node, "a boundary event needs a sequence flow that leaves it".to_owned()),
                None if !self.problems.is_empty() => {} // the host may have been refused
                None => self.problem(
                    node,
                    format!("attachedToRef \"{host_id}\" names no task or subprocess of the same scope"),
                ),
            }
        }
    }
}

/// The children that BPMN defines; diagrams and vendors' elements are skipped.
pub(super) fn bpmn_children<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children()
        .filter(|child| child.is_element() && child.tag_name().namespace() == Some(BPMN))
}

/// The first `zeebe:` extension element of this name.
pub(super) fn extension<'a>(node: Node<'a, 'a>, name: &'static str) -> Option<Node<'a, 'a>> {
    extensions(node).find(|child| child.tag_name().name() == name)
}

/// Every `zeebe:` extension element.
pub(super) fn extensions<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    bpmn_children(node)
        .filter(|child| child.tag_name().name() == "extensionElements")
        .flat_map(|child| child.children())
        .filter(|child| child.is_element() && child.tag_name().namespace() == Some(ZEEBE))
}
