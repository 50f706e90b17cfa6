//! BPMN texts for the contract: a chain of nodes from a start to an end event, and what hangs on it.

/// One node of a chain.
pub struct Node {
    id: String,
    xml: String,
}

impl Node {
    pub fn new(id: &str, xml: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            xml: xml.into(),
        }
    }

    pub fn xml(&self) -> &str {
        &self.xml
    }
}

/// A service task; `extensions` go beside its task definition.
pub fn task(id: &str, job_type: &str, extensions: &str) -> Node {
    let xml = format!(
        r#"<bpmn:serviceTask id="{id}"><bpmn:extensionElements><zeebe:taskDefinition type="{job_type}" retries="3"/>{extensions}</bpmn:extensionElements></bpmn:serviceTask>"#
    );
    Node::new(id, xml)
}

pub fn mapping(entries: &str) -> String {
    format!("<zeebe:ioMapping>{entries}</zeebe:ioMapping>")
}

pub fn timer(id: &str, duration: &str) -> Node {
    let xml = format!(
        r#"<bpmn:intermediateCatchEvent id="{id}"><bpmn:timerEventDefinition><bpmn:timeDuration>{duration}</bpmn:timeDuration></bpmn:timerEventDefinition></bpmn:intermediateCatchEvent>"#
    );
    Node::new(id, xml)
}

pub fn message_catch(id: &str) -> Node {
    let xml = format!(
        r#"<bpmn:intermediateCatchEvent id="{id}"><bpmn:messageEventDefinition messageRef="the-message"/></bpmn:intermediateCatchEvent>"#
    );
    Node::new(id, xml)
}

/// The `message` that every message event of the contract refers to.
pub fn message(name: &str) -> String {
    format!(
        r#"<bpmn:message id="the-message" name="{name}"><bpmn:extensionElements><zeebe:subscription correlationKey="=orderId"/></bpmn:extensionElements></bpmn:message>"#
    )
}

/// The `error` that error events of the contract refer to.
pub fn error(code: &str) -> String {
    format!(r#"<bpmn:error id="the-error" name="the error" errorCode="{code}"/>"#)
}

/// A boundary event and the task that it leads to.
pub fn boundary(host: &str, attributes: &str, definition: &str, then: &Node) -> String {
    let after = &then.id;
    format!(
        r#"<bpmn:boundaryEvent id="on-{host}" attachedToRef="{host}" {attributes}><bpmn:outgoing>to-{after}</bpmn:outgoing>{definition}</bpmn:boundaryEvent>
        <bpmn:sequenceFlow id="to-{after}" sourceRef="on-{host}" targetRef="{after}"/>{}
        <bpmn:endEvent id="end-{after}"/><bpmn:sequenceFlow id="from-{after}" sourceRef="{after}" targetRef="end-{after}"/>"#,
        then.xml
    )
}

pub const CATCHES_ERROR: &str = r#"<bpmn:errorEventDefinition errorRef="the-error"/>"#;

/// Start event, the nodes one after another, end event.
pub fn chain(prefix: &str, nodes: &[Node]) -> String {
    let mut xml = format!(r#"<bpmn:startEvent id="{prefix}start"/>"#);
    let mut previous = format!("{prefix}start");
    for node in nodes {
        xml += &flow(&previous, &node.id);
        xml += &node.xml;
        previous.clone_from(&node.id);
    }
    xml += &flow(&previous, &format!("{prefix}end"));
    xml += &format!(r#"<bpmn:endEvent id="{prefix}end"/>"#);
    xml
}

pub fn flow(from: &str, to: &str) -> String {
    format!(r#"<bpmn:sequenceFlow id="{from}-{to}" sourceRef="{from}" targetRef="{to}"/>"#)
}

/// An embedded subprocess around a chain.
pub fn subprocess(id: &str, nodes: &[Node]) -> Node {
    Node::new(
        id,
        format!(
            r#"<bpmn:subProcess id="{id}">{}</bpmn:subProcess>"#,
            chain(&format!("{id}-"), nodes)
        ),
    )
}

/// A whole file with one executable process.
pub fn file(id: &str, content: &str, definitions: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" id="definitions" targetNamespace="http://bpmn.io/schema/bpmn">
<bpmn:process id="{id}" isExecutable="true">{content}</bpmn:process>{definitions}
</bpmn:definitions>"#
    )
}
