//! The processes of the campaign, and how many runs an instance of each wants.
//!
//! After each task that runs a flow comes a task of the type [`AFTER`], which nobody but the clerk takes: what it is
//! handed is what the engine says about the flow.

/// The job type behind each task that runs a flow.
pub const AFTER: &str = "never-twice-after";

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub id: &'static str,
    /// Entries into tasks that run a flow, for each instance.
    pub wants: u32,
    /// The engine of the sandbox knows no multi-instance.
    pub real_engine_only: bool,
}

/// Instances can be migrated to these.
pub const MOVED: [Process; 2] = [
    Process {
        id: "never-twice-moved",
        wants: 1,
        real_engine_only: true,
    },
    Process {
        id: "never-twice-message-moved",
        wants: 1,
        real_engine_only: true,
    },
];

/// The task that runs a flow in a process that has one.
pub const FLOW: &str = "flow";
/// The identity with which messages are published, as the settings of the replicas name it.
pub const IDENTITY: &str = "robot";

pub const ALL: [Process; 6] = [
    Process {
        id: "never-twice-wait",
        wants: 1,
        real_engine_only: false,
    },
    Process {
        id: "never-twice-trigger",
        wants: 1,
        real_engine_only: false,
    },
    // It goes on when the run has ended, by a message.
    Process {
        id: "never-twice-message",
        wants: 1,
        real_engine_only: false,
    },
    // Camunda's REST template, which must get it, too.
    Process {
        id: "never-twice-template",
        wants: 1,
        real_engine_only: false,
    },
    // Two tasks at the same time with equal inputs.
    Process {
        id: "never-twice-equal",
        wants: 2,
        real_engine_only: false,
    },
    Process {
        id: "never-twice-many",
        wants: 3,
        real_engine_only: true,
    },
];

/// The processes that this engine can run.
pub fn of(real_engine: bool) -> Vec<Process> {
    ALL.into_iter()
        .filter(|process| real_engine || !process.real_engine_only)
        .collect()
}

impl Process {
    /// Does it go on by a message about its run?
    pub fn waits_for_message(&self) -> bool {
        matches!(self.id, "never-twice-message" | "never-twice-message-moved")
    }

    /// What its instances can be migrated to, and the elements that both have. Only where one thing waits, for long.
    pub fn moves_to(&self) -> Option<(Process, &'static [&'static str])> {
        match self.id {
            "never-twice-wait" => Some((MOVED[0], &[FLOW, "after"])),
            "never-twice-message" => Some((MOVED[1], &[FLOW, "ended", "after"])),
            _ => None,
        }
    }
}

/// The BPMN of a process.
pub fn bpmn(process: Process) -> String {
    let wait = flow_task("flow", "runAndWait", "");
    let message = if process.waits_for_message() { MESSAGE } else { "" };
    let body = match process.id {
        "never-twice-wait" | "never-twice-moved" => chain(&wait, "=[run_flow]"),
        "never-twice-trigger" => chain(&flow_task("flow", "triggerFlowRun", ""), "=[run_flow]"),
        "never-twice-message" | "never-twice-message-moved" => message_chain(),
        "never-twice-template" => chain(&template_task(), "=[flowSessionId]"),
        "never-twice-many" => chain(&flow_task("flow", "runAndWait", MANY), "=runs"),
        _ => {
            let after = |id, flow| after_task(id, &format!("=[run_{flow}]"));
            format!(
                r#"<bpmn:parallelGateway id="fork"/><bpmn:parallelGateway id="join"/>{}{}{}{}
                {}{}{}{}{}{}{}{}"#,
                flow_task("flow", "runAndWait", ""),
                flow_task("flow2", "runAndWait", ""),
                after("after", "flow"),
                after("after2", "flow2"),
                edge("start", "fork"),
                edge("fork", "flow"),
                edge("fork", "flow2"),
                edge("flow", "after"),
                edge("flow2", "after2"),
                edge("after", "join"),
                edge("after2", "join"),
                edge("join", "end"),
            )
        }
    };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" id="definitions" targetNamespace="https://deskhand.example/bpmn">
  <bpmn:process id="{}" isExecutable="true"><bpmn:startEvent id="start"/><bpmn:endEvent id="end"/>{body}</bpmn:process>{message}
</bpmn:definitions>"#,
        process.id
    )
}

const MANY: &str = r#"<bpmn:multiInstanceLoopCharacteristics><bpmn:extensionElements><zeebe:loopCharacteristics inputCollection="=[1,2,3]" inputElement="item" outputCollection="runs" outputElement="=flowSessionId"/></bpmn:extensionElements></bpmn:multiInstanceLoopCharacteristics>"#;

fn chain(task: &str, runs: &str) -> String {
    format!(
        "{task}{}{}{}{}",
        after_task("after", runs),
        edge("start", "flow"),
        edge("flow", "after"),
        edge("after", "end")
    )
}

const MESSAGE: &str = r#"<bpmn:message id="desktop-flow-ended" name="desktopFlowEnded"><bpmn:extensionElements><zeebe:subscription correlationKey="=run_flow"/></bpmn:extensionElements></bpmn:message>"#;

/// What is handed on behind the message: the run that was started, and what was told of it.
fn message_chain() -> String {
    format!(
        r#"{}<bpmn:receiveTask id="ended" messageRef="desktop-flow-ended"/>{}{}{}{}{}"#,
        flow_task("flow", "triggerFlowRun", "").replace(
            AUTHENTICATION,
            &format!(r#"<zeebe:input source="{IDENTITY}" target="identity"/><zeebe:input source="message" target="waitFor"/>"#),
        ),
        after_task("after", "=[run_flow]"),
        edge("start", "flow"),
        edge("flow", "ended"),
        edge("ended", "after"),
        edge("after", "end")
    )
}

fn edge(from: &str, to: &str) -> String {
    format!(r#"<bpmn:sequenceFlow id="{from}-{to}" sourceRef="{from}" targetRef="{to}"/>"#)
}

fn after_task(id: &str, runs: &str) -> String {
    format!(
        r#"<bpmn:serviceTask id="{id}"><bpmn:extensionElements><zeebe:taskDefinition type="{AFTER}" retries="1000"/><zeebe:ioMapping><zeebe:input source="{runs}" target="runs"/></zeebe:ioMapping></bpmn:extensionElements></bpmn:serviceTask>"#
    )
}

/// The run's id is handed on under a name of the task's own: tasks side by side must not write over each other's.
fn flow_task(id: &str, operation: &str, many: &str) -> String {
    let output = if many.is_empty() {
        format!(r#"<zeebe:output source="=flowSessionId" target="run_{id}"/>"#)
    } else {
        String::new()
    };
    format!(
        r#"<bpmn:serviceTask id="{id}"><bpmn:extensionElements><zeebe:taskDefinition type="deskhand:desktop-flow:1" retries="1000"/>
        <zeebe:ioMapping><zeebe:input source="{operation}" target="operationType"/><zeebe:input source="=organization" target="organizationUri"/>{AUTHENTICATION}
        <zeebe:input source="=workflow" target="workflowId"/><zeebe:input source="=connection" target="connectionName"/><zeebe:input source="unattended" target="runMode"/>
        <zeebe:input source="={{InvoiceId: invoice}}" target="inputs"/>{output}</zeebe:ioMapping>
        <zeebe:taskHeaders><zeebe:header key="resultExpression" value="={{flowSessionId: response.flowSessionId}}"/><zeebe:header key="retryBackoff" value="PT1S"/></zeebe:taskHeaders></bpmn:extensionElements>{many}</bpmn:serviceTask>"#
    )
}

const AUTHENTICATION: &str = r#"<zeebe:input source="oauth-client-credentials-flow" target="authentication.type"/><zeebe:input source="=tokenEndpoint" target="authentication.oauthTokenEndpoint"/><zeebe:input source="{{secrets.PA_CLIENT_ID}}" target="authentication.clientId"/><zeebe:input source="{{secrets.PA_CLIENT_SECRET}}" target="authentication.clientSecret"/><zeebe:input source="basicAuthHeader" target="authentication.clientAuthentication"/>"#;

fn template_task() -> String {
    format!(
        r#"<bpmn:serviceTask id="flow"><bpmn:extensionElements><zeebe:taskDefinition type="io.camunda:http-json:1" retries="1000"/>
        <zeebe:ioMapping>{AUTHENTICATION}<zeebe:input source="=organization + &#34;/.default&#34;" target="authentication.scopes"/><zeebe:input source="POST" target="method"/>
        <zeebe:input source="=organization + &#34;/api/data/v9.2/workflows(&#34; + workflow + &#34;)/Microsoft.Dynamics.CRM.RunDesktopFlow&#34;" target="url"/>
        <zeebe:input source="={{runMode: &#34;unattended&#34;, connectionName: connection, connectionType: &#34;1&#34;, runPriority: null, timeout: null, inputs: &#34;{{\&#34;InvoiceId\&#34;:\&#34;&#34; + invoice + &#34;\&#34;}}&#34;}}" target="body"/>
        <zeebe:output source="=flowSessionId" target="flowSessionId"/></zeebe:ioMapping>
        <zeebe:taskHeaders><zeebe:header key="resultExpression" value="={{flowSessionId: response.body.flowsessionId}}"/><zeebe:header key="retryBackoff" value="PT1S"/></zeebe:taskHeaders></bpmn:extensionElements></bpmn:serviceTask>"#
    )
}
