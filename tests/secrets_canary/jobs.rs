//! The jobs: every way to sign in, every place for a secret, every operation, every kind of trouble.

use deskhand::engine::gateway::ActivatedJob;
use deskhand::sandbox::power_automate::{CLIENT_ID, Effect, Fault, RouteName, Simulator, Throttle};
use serde_json::{Value, json};

use super::target::Target;

pub struct Task {
    pub job: ActivatedJob,
    pub fault: Option<Fault>,
}

/// Everything that is tried, with keys of their own.
pub fn all(target: &Target, foreign: &Target, simulator: &Simulator) -> Vec<Task> {
    let mut tasks = Vec::new();
    // Each call with the secrets of two stores, and each store with calls of every sort.
    let stores = super::STORES.len();
    for (number, store) in super::STORES.iter().enumerate() {
        let calls = rest(target, foreign, store).into_iter().enumerate();
        let its_own = |at: &usize| at % stores == number || (at + 2) % stores == number;
        tasks.extend(calls.filter(|(at, _)| its_own(at)).map(|(_, task)| task));
    }
    tasks.extend(desktop_flows(simulator));
    for (number, task) in tasks.iter_mut().enumerate() {
        task.job.key = number as i64 + 1;
        task.job.element_instance_key = number as i64 + 1_000_000;
    }
    tasks
}

fn task(kind: &str, variables: Value, headers: Value) -> Task {
    let job = ActivatedJob {
        r#type: kind.into(),
        retries: 1,
        custom_headers: headers.to_string(),
        variables: variables.to_string(),
        bpmn_process_id: "canary".into(),
        element_id: "task".into(),
        tenant_id: "<default>".into(),
        ..ActivatedJob::default()
    };
    Task { job, fault: None }
}

fn rest(target: &Target, foreign: &Target, store: &str) -> Vec<Task> {
    let secret = |kind: &str| format!("{{{{secrets.{store}_{kind}}}}}");
    let header = secret("HEADER");
    let oauth = |way: &str, endpoint: String| {
        json!({
            "type": "oauth-client-credentials-flow", "oauthTokenEndpoint": endpoint, "clientId": header,
            "clientSecret": secret("TEXT"), "clientAuthentication": way, "scopes": "one",
        })
    };
    let signed = vec![
        json!({"type": "bearer", "token": header}),
        json!({"type": "basic", "username": "user", "password": secret("TEXT")}),
        json!({"type": "apiKey", "apiKeyLocation": "headers", "name": "X-Key", "value": header}),
        json!({"type": "apiKey", "apiKeyLocation": "query", "name": "key", "value": secret("TEXT")}),
        oauth("credentialsBody", target.url("/token")),
        oauth("basicAuthHeader", target.url("/token")),
        oauth("credentialsBody", target.url("/token-bad")),
        oauth("credentialsBody", foreign.url("/token")),
        oauth("credentialsBody", "http://127.0.0.1:1/token".into()),
        json!({
            "type": "oauth-refresh-token", "oauthTokenEndpoint": target.url("/token"), "clientId": "id",
            "refreshToken": secret("TEXT"),
        }),
        // Faults in the very fields that hold the secrets.
        json!({"type": "bearer", "token": secret("LINES")}),
        json!({"type": secret("TEXT")}),
        json!({"type": "oauth-client-credentials-flow", "oauthTokenEndpoint": secret("TEXT"), "clientId": "id",
               "clientSecret": header, "clientAuthentication": header}),
    ];
    let mut calls: Vec<Value> = Vec::new();
    for authentication in signed {
        for path in ["/echo", "/401", "/500"] {
            calls.push(json!({"url": target.url(path), "method": "GET", "authentication": authentication}));
        }
    }
    for kind in ["TEXT", "LINES", "LONG"] {
        for path in ["/echo", "/500", "/garbage", "/broken", "/redirect"] {
            calls.push(json!({
                "url": target.url(path), "method": "POST", "followRedirects": true, "body": {"deep": [secret(kind), {secret(kind): 1}]},
                "headers": {"Content-Type": "application/json"},
            }));
        }
    }
    calls.extend([
        json!({"url": target.url("/redirect"), "method": "GET", "followRedirects": true,
               "authentication": {"type": "bearer", "token": header}}),
        json!({"url": foreign.url("/x"), "method": "GET", "authentication": {"type": "bearer", "token": header}}),
        json!({"url": foreign.url("/x"), "method": "POST", "body": secret("TEXT")}),
        json!({"url": target.url("/echo"), "method": "GET", "queryParameters": {"q": secret("TEXT"), "long": secret("LONG")}}),
        json!({"url": target.url("/echo"), "method": "GET", "headers": {"X-A": header, "X-B": secret("LINES")}}),
        json!({"url": target.url("/echo"), "method": "POST", "headers": {"Content-Type": "application/x-www-form-urlencoded"},
               "body": {"a": secret("TEXT")}}),
        json!({"url": target.url("/echo"), "method": "POST", "headers": {"Content-Type": "multipart/form-data"},
               "body": {"a": secret("TEXT")}}),
        json!({"url": format!("http://127.0.0.1:1/{}", secret("TEXT")), "method": "GET"}),
        json!({"url": format!("http://127.0.0.1:1/ {}|^", secret("TEXT")), "method": "GET"}),
        json!({"url": format!("http://{}/", secret("HEADER")), "method": "GET", "connectionTimeoutInSeconds": 2}),
        json!({"url": secret("LONG"), "method": secret("TEXT")}),
        json!({"url": target.url("/echo"), "method": "GET", "connectionTimeoutInSeconds": secret("HEADER")}),
        json!({"url": target.url("/echo"), "method": "GET", "headers": {secret("TEXT"): "x"}}),
        json!({"url": target.url("/echo"), "method": "GET",
               "clientTls": {"clientCertificate": secret("LINES"), "clientPrivateKey": secret("LONG")}}),
        json!({"url": target.url("/echo"), "method": "GET", "documentReturnFormat": {"choice": secret("HEADER")}}),
        json!({"url": target.url("/echo"), "method": "GET", "a": "{{secrets.NOT_THERE}}", "headers": {"b": header}}),
    ]);
    let mut tasks: Vec<Task> = calls
        .into_iter()
        .map(|variables| task("io.camunda:http-json:1", variables, json!({"resultVariable": "all"})))
        .collect();
    // What a modeler can do with a response that holds a secret, and with the error of a call.
    let echo = json!({"url": target.url("/echo"), "method": "POST", "body": secret("TEXT"),
                      "authentication": {"type": "bearer", "token": header}});
    let fails = json!({"url": target.url("/500"), "method": "POST", "body": secret("TEXT"),
                       "authentication": {"type": "bearer", "token": header}});
    for (variables, headers) in [
        (&echo, json!({"resultExpression": "= {a: response.body}"})),
        (&echo, json!({"resultExpression": "= response.body.body"})),
        (&echo, json!({"resultExpression": "= {a: number(response.body.body)}"})),
        (&echo, json!({"resultExpression": "= {a: error(response.body.body)}"})),
        (
            &echo,
            json!({"errorExpression": "= bpmnError(response.body.body, response.body.body, response)"}),
        ),
        (
            &echo,
            json!({"errorExpression": "= jobError(response.body.body, response, 0)"}),
        ),
        (&echo, json!({"errorExpression": "= ignoreError(response)"})),
        (&echo, json!({"errorExpression": "= response.body.body"})),
        (
            &fails,
            json!({"errorExpression": "= bpmnError(\"X\", error.message, error)"}),
        ),
        (
            &fails,
            json!({"errorExpression": "= jobError(string(error), error, 0)"}),
        ),
        (&fails, json!({"errorExpression": "= ignoreError({e: error})"})),
        (&fails, json!({"errorExpression": "= string(error)"})),
    ] {
        tasks.push(task("io.camunda:http-json:1", variables.clone(), headers));
    }
    tasks
}

fn desktop_flows(simulator: &Simulator) -> Vec<Task> {
    let base = json!({
        "organizationUri": simulator.organization(),
        "authentication": {
            "type": "oauth-client-credentials-flow", "oauthTokenEndpoint": simulator.token_endpoint(),
            "clientId": CLIENT_ID.to_string(), "clientSecret": "{{secrets.PA_SECRET}}", "clientAuthentication": "credentialsBody",
        },
        "workflowId": "5a1b0000-0000-4000-8000-0000000000f1",
        "connectionName": "a8a85e2f1dec44ce8814a37c34234317",
        "connectionType": 1, "runMode": "unattended",
        "flowSessionId": "5a1b0000-0000-4000-8000-00000000dead",
        "inputs": {"InvoiceId": "{{secrets.ENV_TEXT}}", "Amount": 1},
    });
    let operations = [
        "runAndWait",
        "triggerFlowRun",
        "getStatusOfFlowRun",
        "getFlowOutputs",
        "cancelFlowRun",
        "listFlows",
    ];
    let effects = [
        None,
        Some((RouteName::Dataverse, Effect::Unauthorized)),
        Some((RouteName::Dataverse, Effect::MalformedJson)),
        Some((RouteName::Dataverse, Effect::TruncatedBody)),
        Some((RouteName::Dataverse, Effect::DropBeforeProcess)),
        Some((RouteName::Dataverse, Effect::Throttle(Throttle::default()))),
        Some((
            RouteName::Dataverse,
            Effect::Status {
                status: 500,
                code: "0x80040216".into(),
                message: "canary of the server".into(),
                retry_after: None,
                process: false,
            },
        )),
    ];
    let with = |changes: Value| {
        let mut variables = base.clone();
        for (name, value) in changes.as_object().unwrap() {
            variables[name] = value.clone();
        }
        variables
    };
    let headers = json!({"resultVariable": "all"});
    let mut tasks = Vec::new();
    for operation in operations {
        for effect in &effects {
            // After these it is uncertain whether a run was started, and a start waits long before it believes in none.
            let uncertain = matches!(
                effect,
                Some((
                    _,
                    Effect::MalformedJson | Effect::TruncatedBody | Effect::DropBeforeProcess | Effect::Status { .. }
                ))
            );
            let starts = matches!(operation, "runAndWait" | "triggerFlowRun");
            if starts
                && uncertain
                && !matches!(
                    (operation, effect),
                    ("triggerFlowRun", Some((_, Effect::TruncatedBody)))
                )
            {
                continue;
            }
            let mut one = task(
                "deskhand:desktop-flow:1",
                with(json!({"operationType": operation, "maxWait": "PT3S", "pollInterval": "PT1S"})),
                headers.clone(),
            );
            one.fault = effect.clone().map(|(route, effect)| Fault::on(route, effect));
            tasks.push(one);
        }
    }
    for changes in [
        json!({"operationType": "listFlows", "authentication": {"type": "bearer", "token": "{{secrets.PA_SECRET}}"}}),
        json!({"operationType": "{{secrets.PA_SECRET}}"}),
        json!({"operationType": "listFlows", "organizationUri": "{{secrets.ENV_TEXT}}"}),
        json!({"operationType": "triggerFlowRun", "workflowId": "{{secrets.ENV_HEADER}}"}),
        json!({"operationType": "listFlows", "filter": "name eq '{{secrets.ENV_HEADER}}'"}),
    ] {
        tasks.push(task("deskhand:desktop-flow:1", with(changes), headers.clone()));
    }
    for code in [7_000_222, 50_196, 90_033] {
        let mut variables = with(json!({"operationType": "listFlows"}));
        // A scope of its own: the token of the others must not be there already.
        variables["authentication"]["scopes"] = format!("{} {code}", simulator.scope()).into();
        let mut one = task("deskhand:desktop-flow:1", variables, headers.clone());
        one.fault = Some(Fault::on(RouteName::Token, Effect::Entra(code)));
        tasks.push(one);
    }
    tasks
}
