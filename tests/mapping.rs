//! From a response or an error to what the engine is told: the conformance list of Camunda's connector runtime, line by
//! line, and what deskhand does better.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::Duration;

use deskhand::connector::Response;
use deskhand::job::{Headers, Job};
use deskhand::mapping::Mapper;
use deskhand::outcome::{JobError, Outcome, Remedy};
use deskhand::secrets::Redactor;
use serde_json::{Map, Value, json};

fn job(retries: i32) -> Job {
    Job {
        key: 1,
        job_type: "test".into(),
        process_instance_key: 2,
        bpmn_process_id: "process".into(),
        process_definition_version: 1,
        process_definition_key: 3,
        element_id: "task".into(),
        element_instance_key: 4,
        retries,
        deadline: 0,
        tenant_id: "<default>".into(),
        lease_token: None,
        custom_headers: String::new(),
        variables: "{}".into(),
    }
}

/// The outcome of a call with three retries left, under these headers.
fn outcome(headers: Value, result: Result<Value, JobError>) -> Outcome {
    let job = Job {
        custom_headers: headers.to_string(),
        ..job(3)
    };
    let mapper = Mapper::default();
    let plan = match job.headers().and_then(|headers| mapper.plan(&headers)) {
        Ok(plan) => plan,
        Err(error) => return deskhand::mapping::failure(&job, &error, None),
    };
    mapper.outcome(&plan, &job, &result.map(Response::from), &Redactor::default())
}

fn completed(variables: Value) -> Outcome {
    Outcome::Complete {
        variables: object(variables),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is not an object"),
    }
}

#[track_caller]
fn assert_incident(outcome: &Outcome, texts: &[&str]) {
    match outcome {
        Outcome::Fail {
            retries: 0, message, ..
        } => {
            for text in texts {
                assert!(message.contains(text), "`{text}` is not in: {message}");
            }
        }
        other => panic!("{other:?}"),
    }
}

fn thrown() -> JobError {
    JobError::connector("1013", "exception message").with_variables(json!({ "foo": "bar" }))
}

#[test]
fn outputs_are_mapped_as_camunda_maps_them() {
    let cases = [
        (
            "C3",
            json!(null),
            json!({"resultVariable": "result"}),
            json!({"result": null}),
        ),
        (
            "C5",
            json!(1),
            json!({"resultVariable": "result"}),
            json!({"result": 1}),
        ),
        (
            "C8",
            json!({"callStatus": {"statusCode": 200, "failure": null}}),
            json!({"resultExpression": "= {\"processedOutput\": { status: callStatus.statusCode } }"}),
            json!({"processedOutput": {"status": 200}}),
        ),
        (
            "C10",
            json!({"value": "responseValue"}),
            json!({"resultExpression": "= response"}),
            json!({"value": "responseValue"}),
        ),
        (
            "C13",
            json!("FOO"),
            json!({"resultExpression": "{processedOutput: response}"}),
            json!({"processedOutput": "FOO"}),
        ),
        ("C17", json!({"value": 1}), json!({}), json!({})),
        (
            "C18",
            json!({"callStatus": {"statusCode": "200 OK"}}),
            json!({"resultVariable": "result", "resultExpression": "={\"processedOutput\": response.callStatus, \"nullVar\": null}"}),
            json!({"result": {"callStatus": {"statusCode": "200 OK"}}, "processedOutput": {"statusCode": "200 OK"}, "nullVar": null}),
        ),
        (
            "C19",
            json!(null),
            json!({"resultExpression": "={\"status\": response.status}"}),
            json!({"status": null}),
        ),
        (
            "blank headers are absent",
            json!(1),
            json!({"resultVariable": "  ", "resultExpression": "\n"}),
            json!({}),
        ),
        (
            "null contributes nothing",
            json!(1),
            json!({"resultExpression": "=null"}),
            json!({}),
        ),
        (
            "on a clash the expression wins",
            json!({"a": 1}),
            json!({"resultVariable": "x", "resultExpression": "={x: a + 1}"}),
            json!({"x": 2}),
        ),
        (
            "a field named response loses",
            json!({"response": 1, "a": 2}),
            json!({"resultExpression": "={b: response.a}"}),
            json!({"b": 2}),
        ),
    ];
    for (name, response, headers, expected) in cases {
        assert_eq!(outcome(headers, Ok(response)), completed(expected), "{name}");
    }
}

#[test]
fn a_result_that_is_not_an_object_is_an_incident_that_says_what_to_write() {
    let said = outcome(json!({"resultExpression": "= response"}), Ok(json!("FOO")));
    assert_incident(
        &said,
        &[
            "Result expression must return a JSON object",
            "string",
            "{name: response}",
        ],
    );
}

#[test]
fn outputs_that_are_too_large_or_smuggle_functions_are_incidents() {
    let large = outcome(json!({"resultVariable": "result"}), Ok(json!("x".repeat(1_572_865))));
    assert_incident(&large, &["1.5 MB", "Create document"]);
    let smuggled = r#"={"camunda.function.type": myfun, "params": ["test"]}"#;
    let said = outcome(json!({ "resultExpression": smuggled }), Ok(json!({"myfun": "test"})));
    assert_incident(&said, &["forbidden literal"]);
    let leaked = json!({"errorExpression": r#"=bpmnError("CODE", "msg", {leaked: response})"#});
    let said = outcome(leaked, Ok(json!({"camunda.function.type": "x"})));
    assert_incident(&said, &["forbidden literal"]);
}

#[test]
fn a_failure_costs_a_retry_and_waits_for_the_backoff_of_the_task() {
    match outcome(json!({"retryBackoff": "PT30S"}), Err(thrown())) {
        Outcome::Fail {
            retries,
            backoff,
            message,
            variables,
        } => {
            assert_eq!((retries, backoff), (2, Some(Duration::from_secs(30))));
            assert!(
                message.starts_with("exception message | Error variables: "),
                "{message}"
            );
            assert_eq!(
                Value::Object(variables),
                json!({"error": {
                    "type": "io.camunda.connector.api.error.ConnectorException",
                    "message": "exception message",
                    "code": "1013",
                    "variables": {"foo": "bar"}
                }})
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn remedies_say_what_becomes_of_the_retries() {
    let after = |remedy, headers| match outcome(headers, Err(thrown().with_remedy(remedy))) {
        Outcome::Fail { retries, backoff, .. } => (retries, backoff.map(|pause| pause.as_secs())),
        other => panic!("{other:?}"),
    };
    let ten = Duration::from_secs(10);
    assert_eq!(after(Remedy::Retry, json!({})), (2, None));
    assert_eq!(after(Remedy::RetryAfter(ten), json!({})), (2, Some(10)));
    assert_eq!(
        after(Remedy::RetryAfter(ten), json!({"retryBackoff": "PT1M"})),
        (2, Some(60))
    );
    assert_eq!(
        after(Remedy::Postpone(ten), json!({"retryBackoff": "PT1M"})),
        (3, Some(10))
    );
    assert_eq!(after(Remedy::Incident, json!({})), (0, None));
}

#[test]
fn messages_are_cut_at_6000_code_units() {
    let long = JobError::connector("1", "é𝄞".repeat(4_000));
    match outcome(json!({}), Err(long)) {
        Outcome::Fail { message, .. } => assert_eq!(message.encode_utf16().count(), 6_000),
        other => panic!("{other:?}"),
    }
}

#[test]
fn headers_that_do_not_parse_are_incidents_before_anything_is_sent() {
    for (headers, texts) in [
        (
            json!({"retryBackoff": "P1D1S"}),
            ["Failed to parse retry backoff header", "P1D1S"],
        ),
        (
            json!({"jobTimeout": "PT0S"}),
            ["Failed to parse job timeout header", "must be a positive duration"],
        ),
        (
            json!({"jobTimeout": "PT999999999999999H"}),
            ["Failed to parse job timeout header", "too large to represent"],
        ),
        (
            json!({"resultExpression": "={a: "}),
            ["resultExpression", "does not parse"],
        ),
        (
            json!({"errorExpression": "if x then"}),
            ["errorExpression", "does not parse"],
        ),
    ] {
        assert_incident(&outcome(headers, Ok(json!(1))), &texts);
    }
}

#[test]
fn an_error_expression_without_a_verdict_changes_nothing() {
    let uncoded = || JobError { code: None, ..thrown() };
    for expression in [
        " ",
        "=if error.code != null then bpmnError(\"123\", \"\") else {}",
        "=if error.code != null then bpmnError(\"123\", \"\") else null",
        "=if unknownFunction(error.code) then bpmnError(\"123\", \"\") else null",
        "={}",
        "=null",
        "=bpmnError(null)",
    ] {
        let expression = json!({ "errorExpression": expression });
        match outcome(expression.clone(), Err(uncoded())) {
            Outcome::Fail {
                retries: 2, message, ..
            } => assert!(message.starts_with("exception message")),
            // The real engine fails the evaluation of bpmnError(null); the next test shows what becomes of that.
            Outcome::Fail {
                retries: 0, message, ..
            } if expression.to_string().contains("(null)") => {
                assert!(message.contains("errorCode"), "{message}");
            }
            other => panic!("{expression}: {other:?}"),
        }
    }
}

#[test]
fn an_error_expression_may_throw_a_bpmn_error() {
    let cases = [
        (
            "C46",
            r#"={"errorType": "bpmnError", "errorCode": error.code, "errorMessage": "m", "variables": error.variables}"#,
            ("1013", Some("m"), json!({"foo": "bar"})),
        ),
        (
            "C47",
            r#"=if contains(error.code, "10") then bpmnError(error.code) else null"#,
            ("1013", None, json!({})),
        ),
        (
            "C48",
            r#"=if response.testProperty = "foo" then bpmnError("9999", "x") else if error.code != null then bpmnError(error.code, "Message: " + error.message) else {}"#,
            ("1013", Some("Message: exception message"), json!({})),
        ),
        (
            "variables",
            r#"=bpmnError("A", "b", {c: 1})"#,
            ("A", Some("b"), json!({"c": 1})),
        ),
    ];
    for (name, expression, (code, message, variables)) in cases {
        let expected = Outcome::BpmnError {
            code: code.into(),
            message: message.map(Into::into),
            variables: object(variables),
        };
        assert_eq!(
            outcome(json!({ "errorExpression": expression }), Err(thrown())),
            expected,
            "{name}"
        );
    }
    let on_success =
        json!({"errorExpression": r#"=if response.testProperty = "foo" then bpmnError("9999", "Message") else null"#});
    let said = outcome(on_success, Ok(json!({"testProperty": "foo"})));
    assert!(matches!(said, Outcome::BpmnError { code, .. } if code == "9999"), "C49");
}

#[test]
fn an_error_expression_sees_what_was_mapped_and_the_retries_that_are_left() {
    let headers = json!({
        "resultExpression": "={flowSessionId: response.body.flowsessionId}",
        "errorExpression": "=if response.status = 200 then bpmnError(\"X\") else null",
    });
    let response = json!({"status": 200, "body": {"flowsessionId": "42"}});
    assert_eq!(
        outcome(headers, Ok(response)),
        completed(json!({"flowSessionId": "42"})),
        "C61"
    );
    let headers = json!({"errorExpression": "=jobError(\"left: \" + string(job.retries), {}, job.retries - 1, duration(\"PT7S\"))"});
    match outcome(headers, Err(thrown())) {
        Outcome::Fail {
            retries,
            backoff,
            message,
            ..
        } => {
            assert_eq!(
                (retries, backoff, message.as_str()),
                (2, Some(Duration::from_secs(7)), "left: 3")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_expression_may_fail_the_job() {
    let failed = |expression: &str| match outcome(
        json!({ "errorExpression": expression, "retryBackoff": "PT1H" }),
        Err(thrown()),
    ) {
        Outcome::Fail {
            retries,
            backoff,
            message,
            variables,
        } => (retries, backoff, message, Value::Object(variables)),
        other => panic!("{other:?}"),
    };
    let (retries, backoff, message, variables) = failed(r#"=jobError("MyError", {"myVar": "myVal"})"#);
    assert_eq!(
        (retries, backoff),
        (0, Some(Duration::ZERO)),
        "C51: the header's backoff is not used"
    );
    assert!(message.starts_with("MyError"), "{message}");
    assert_eq!(variables, json!({"myVar": "myVal", "error": "MyError"}), "C53");
    let (.., variables) = failed(r#"=jobError("ActualError", {"error": "UserProvidedError", "otherVar": "value"})"#);
    assert_eq!(variables["error"], "ActualError", "C54");
}

#[test]
fn an_error_expression_may_ignore_the_error() {
    assert_eq!(
        outcome(json!({"errorExpression": "=ignoreError()"}), Err(thrown())),
        completed(json!({})),
        "C56"
    );
    let with = json!({"errorExpression": "=ignoreError({ignored: error.code})"});
    assert_eq!(outcome(with, Err(thrown())), completed(json!({"ignored": "1013"})));
}

#[test]
fn a_broken_error_expression_is_an_incident_that_names_the_fault() {
    for (expression, texts) in [
        (
            r#"=bpmnError(123, "")"#,
            vec!["`errorCode` of `bpmnError` must be a string"],
        ),
        (
            "= [1, 2, 3]",
            vec!["Error expression must return a JSON object", "array"],
        ),
        (r#"={"errorType": "nonsense"}"#, vec!["errorType", "nonsense"]),
        (
            r#"={"errorType": "jobError", "errorMessage": "m", "retries": "many"}"#,
            vec!["retries", "number"],
        ),
    ] {
        let headers = json!({ "errorExpression": expression, "retryBackoff": "PT1H" });
        let said = outcome(headers, Err(thrown()));
        assert_incident(&said, &texts);
        assert!(
            matches!(said, Outcome::Fail { backoff: None, .. }),
            "no backoff: nothing will heal by waiting"
        );
    }
}

#[test]
fn a_connectors_own_bpmn_error_is_thrown_unless_the_expression_decides_otherwise() {
    let error = || thrown().with_bpmn_error("DESKTOP_FLOW_FAILED");
    match outcome(json!({}), Err(error())) {
        Outcome::BpmnError {
            code,
            message,
            variables,
        } => {
            assert_eq!(
                (code.as_str(), message.as_deref()),
                ("DESKTOP_FLOW_FAILED", Some("exception message"))
            );
            assert_eq!(variables["foo"], "bar");
        }
        other => panic!("{other:?}"),
    }
    let ignored = json!({"errorExpression": "=ignoreError()"});
    assert_eq!(outcome(ignored, Err(error())), completed(json!({})));
}

#[test]
fn headers_must_be_texts() {
    let broken = Job {
        custom_headers: r#"{"resultVariable": {"a": 1}}"#.into(),
        ..job(3)
    };
    let error = broken.headers().unwrap_err();
    assert!(
        error
            .message
            .contains("`resultVariable` must be a text, but is an object"),
        "{}",
        error.message
    );
    let none = Job {
        custom_headers: String::new(),
        ..job(3)
    };
    assert_eq!(none.headers().unwrap(), Headers::default());
}

#[test]
fn a_negative_backoff_is_none_as_the_engine_reads_it() {
    match outcome(json!({"retryBackoff": "-PT5S"}), Err(thrown())) {
        Outcome::Fail {
            retries: 2, backoff, ..
        } => assert_eq!(backoff, Some(Duration::ZERO)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_secret_is_masked_before_a_message_is_cut_and_in_the_code_too() {
    let secret = secrecy::SecretString::from("a-secret-of-some-length");
    let headers = json!({"errorExpression": "=bpmnError(response.code, response.text)"});
    let job = Job {
        custom_headers: headers.to_string(),
        ..job(3)
    };
    let mapper = Mapper::default();
    let plan = mapper.plan(&job.headers().unwrap()).unwrap();
    // The cut at 6,000 would go through the middle of the secret.
    let text = format!("{}a-secret-of-some-length", "x".repeat(5_990));
    let response = json!({"code": "E-a-secret-of-some-length", "text": text});
    match mapper.outcome(&plan, &job, &Ok(Response::from(response)), &Redactor::of([&secret])) {
        Outcome::BpmnError { code, message, .. } => {
            assert_eq!(code, "E-***");
            assert!(message.unwrap().ends_with("x***"));
        }
        other => panic!("{other:?}"),
    }
}

/// What failures note in the task's own scope.
fn noted(outcome: Outcome) -> Option<Value> {
    match outcome {
        Outcome::Fail { variables, .. } => variables.get("note").cloned(),
        Outcome::Complete { variables } | Outcome::BpmnError { variables, .. } => {
            assert!(!variables.contains_key("note"), "a note reached the process");
            None
        }
        Outcome::Asleep | Outcome::Abandon { .. } => None,
    }
}

#[test]
fn a_note_travels_in_the_failure_that_it_belongs_to_and_never_into_the_process() {
    let failing = || JobError::connector("X", "it broke").with_note(object(json!({"note": 1})));
    let thrown = || failing().with_bpmn_error("BROKE");
    for (expression, error, note) in [
        ("", failing(), Some(json!(1))),
        ("=jobError(\"mine\", {}, 2)", failing(), Some(json!(1))),
        ("=jobError(\"mine\", {}, 2)", thrown(), Some(json!(1))),
        ("", thrown(), None),
        ("=bpmnError(\"B\", \"b\")", failing(), None),
        ("=ignoreError({})", failing(), None),
        // The task's error handling is broken: the next try must not believe that a retry was asked for.
        ("=1", failing(), None),
    ] {
        let outcome = outcome(json!({ "errorExpression": expression }), Err(error));
        assert_eq!(noted(outcome), note, "{expression}");
    }
}

#[test]
fn work_that_was_done_is_noted_when_the_task_fails_all_the_same() {
    let mapper = Mapper::default();
    for (headers, note) in [
        (json!({"resultExpression": "=1"}), Some(json!(1))),
        (json!({"errorExpression": "=1"}), Some(json!(1))),
        (json!({"errorExpression": "=jobError(\"no\")"}), Some(json!(1))),
        (json!({"resultExpression": "={a: 1}"}), None),
        (json!({"errorExpression": "=bpmnError(\"B\", \"b\")"}), None),
    ] {
        let job = Job {
            custom_headers: headers.to_string(),
            ..job(3)
        };
        let plan = mapper.plan(&job.headers().unwrap()).unwrap();
        let response = Response::from(json!({"x": 1})).with_note(object(json!({"note": 1})));
        let outcome = mapper.outcome(&plan, &job, &Ok(response), &Redactor::default());
        assert_eq!(noted(outcome), note, "{headers}");
    }
}
