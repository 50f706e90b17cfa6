//! What is read out of BPMN, and what its faults are called.

use super::{Kind, Trigger, read};

fn file(content: &str, definitions: &str) -> String {
    format!(
        r#"<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0">
<bpmn:process id="p" isExecutable="true">
{content}
</bpmn:process>
{definitions}
</bpmn:definitions>"#
    )
}

/// The faults of a process with this content, which begins in line 3 of the file.
fn all_faults(content: &str) -> Vec<String> {
    let faults = read(&file(content, "")).expect_err("the file should have been refused");
    faults.iter().map(ToString::to_string).collect()
}

fn faults(content: &str) -> String {
    all_faults(content).join("\n")
}

#[test]
fn an_unknown_element_is_named_with_its_place_and_what_is_supported() {
    let faults = faults("<bpmn:startEvent id=\"start\"/>\n  <bpmn:userTask id=\"approve\"/>");
    assert!(
        faults.starts_with("line 4:3: `userTask` (id \"approve\") is not supported; supported are: "),
        "{faults}"
    );
    assert!(faults.contains("service, send, script"), "{faults}");
}

#[test]
fn every_fault_is_reported_at_once_in_the_order_of_the_file() {
    let lines = all_faults(
        r#"<bpmn:startEvent id="start"/>
<bpmn:serviceTask id="work"/>
<bpmn:serviceTask id="sum"><bpmn:extensionElements><zeebe:taskDefinition type="=1 +"/></bpmn:extensionElements></bpmn:serviceTask>
<bpmn:intermediateCatchEvent id="wait"><bpmn:timerEventDefinition><bpmn:timeDuration>5 minutes</bpmn:timeDuration></bpmn:timerEventDefinition></bpmn:intermediateCatchEvent>
<bpmn:boundaryEvent id="caught" attachedToRef="work"><bpmn:errorEventDefinition errorRef="nobody"/></bpmn:boundaryEvent>"#,
    );
    let faults = lines.join("\n");
    assert_eq!(lines.len(), 4, "{faults}");
    assert!(
        lines[0].starts_with("line 4:1: `serviceTask` (id \"work\") needs <zeebe:taskDefinition"),
        "{faults}"
    );
    assert!(
        lines[1].starts_with("line 5:") && lines[1].contains("`=1 +` is not FEEL"),
        "{faults}"
    );
    assert!(
        lines[2].starts_with("line 6:") && lines[2].contains("e.g. PT30S"),
        "{faults}"
    );
    assert!(
        lines[3].starts_with("line 7:") && lines[3].contains("names no `error`"),
        "{faults}"
    );
}

#[test]
fn flows_and_boundary_events_must_lead_somewhere() {
    let lost = faults(r#"<bpmn:startEvent id="start"/><bpmn:sequenceFlow id="f" sourceRef="start" targetRef="gone"/>"#);
    assert!(lost.contains("targetRef \"gone\" names no element"), "{lost}");
    let conditional = faults(
        r#"<bpmn:startEvent id="start"/><bpmn:endEvent id="end"/><bpmn:sequenceFlow id="f" sourceRef="start" targetRef="end"><bpmn:conditionExpression>=true</bpmn:conditionExpression></bpmn:sequenceFlow>"#,
    );
    assert!(
        conditional.contains("only on flows that leave an exclusive gateway"),
        "{conditional}"
    );
    let timer = "<bpmn:timerEventDefinition><bpmn:timeDuration>PT1S</bpmn:timeDuration></bpmn:timerEventDefinition>";
    let dangling = faults(&format!(
        r#"<bpmn:startEvent id="start"/><bpmn:receiveTask id="wait"/><bpmn:boundaryEvent id="late" attachedToRef="start">{timer}</bpmn:boundaryEvent>"#
    ));
    assert!(dangling.contains("messageRef \"\" names no `message`"), "{dangling}");
}

#[test]
fn loops_and_listeners_are_refused_instead_of_ignored() {
    let faults = faults(
        r#"<bpmn:startEvent id="start"/><bpmn:serviceTask id="work"><bpmn:extensionElements><zeebe:taskDefinition type="t"/><zeebe:executionListeners/></bpmn:extensionElements><bpmn:multiInstanceLoopCharacteristics/></bpmn:serviceTask>"#,
    );
    assert!(faults.contains("zeebe:executionListeners is not supported"), "{faults}");
    assert!(
        faults.contains("`multiInstanceLoopCharacteristics` is not supported"),
        "{faults}"
    );
}

#[test]
fn a_file_without_an_executable_process_says_what_to_set() {
    let text = file("<bpmn:startEvent id=\"s\"/>", "").replace(" isExecutable=\"true\"", "");
    let faults = read(&text).unwrap_err();
    assert!(faults[0].message.contains("set isExecutable=\"true\""), "{}", faults[0]);
    let faults = read("<definitions/>").unwrap_err();
    assert!(
        faults[0].message.contains("begins with `definitions` in the namespace"),
        "{}",
        faults[0]
    );
    let faults = read("<bpmn:").unwrap_err();
    assert!(faults[0].message.contains("not well-formed XML"), "{}", faults[0]);
}

#[test]
fn deeply_nested_subprocesses_are_refused() {
    let depth = 200;
    let content = format!(
        "<bpmn:startEvent id=\"start\"/>{}{}",
        (0..depth)
            .map(|n| format!("<bpmn:subProcess id=\"s{n}\"><bpmn:startEvent id=\"e{n}\"/>"))
            .collect::<String>(),
        "</bpmn:subProcess>".repeat(depth)
    );
    assert!(faults(&content).contains("nested deeper than 32"));
}

#[test]
fn what_is_only_drawn_is_skipped() {
    let content = r#"<bpmn:documentation>text</bpmn:documentation><bpmn:laneSet id="lanes"/>
<bpmn:startEvent id="start"><bpmn:outgoing>f</bpmn:outgoing></bpmn:startEvent>
<bpmn:textAnnotation id="note"/><bpmn:association id="a" sourceRef="start" targetRef="note"/>
<bpmn:endEvent id="end"/><bpmn:sequenceFlow id="f" sourceRef="start" targetRef="end"/>"#;
    let processes = read(&file(content, "")).unwrap();
    let ids: Vec<&str> = processes[0]
        .elements
        .iter()
        .map(|element| element.id.as_str())
        .collect();
    assert_eq!(ids, ["p", "start", "end"]);
}

#[test]
fn a_boundary_event_knows_its_host_its_trigger_and_whether_it_interrupts() {
    let content = r#"<bpmn:startEvent id="start"/>
<bpmn:serviceTask id="work"><bpmn:extensionElements><zeebe:taskDefinition type="t"/></bpmn:extensionElements></bpmn:serviceTask>
<bpmn:boundaryEvent id="late" attachedToRef="work" cancelActivity="false"><bpmn:timerEventDefinition><bpmn:timeDuration>=limit</bpmn:timeDuration></bpmn:timerEventDefinition></bpmn:boundaryEvent>
<bpmn:boundaryEvent id="caught" attachedToRef="work"><bpmn:errorEventDefinition errorRef="e"/></bpmn:boundaryEvent>
<bpmn:endEvent id="end"/><bpmn:sequenceFlow id="f" sourceRef="late" targetRef="end"/><bpmn:sequenceFlow id="g" sourceRef="caught" targetRef="end"/>"#;
    let processes = read(&file(content, r#"<bpmn:error id="e" errorCode="E1"/>"#)).unwrap();
    let process = &processes[0];
    let work = process.elements.iter().find(|element| element.id == "work").unwrap();
    let boundaries: Vec<&Kind> = work
        .boundaries
        .iter()
        .map(|&index| &process.element(index).kind)
        .collect();
    let [
        Kind::Boundary {
            interrupting: false,
            trigger: Trigger::Duration(_),
        },
        Kind::Boundary {
            interrupting: true,
            trigger: Trigger::Error { code: Some(code) },
        },
    ] = boundaries[..]
    else {
        panic!("{boundaries:?}");
    };
    assert_eq!(code, "E1");
}
