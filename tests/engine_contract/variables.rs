//! Where variables go, and who sees them: the journal in the engine stands on this.

use std::time::Duration;

use serde_json::json;

use crate::activation::one_task;
use crate::process::{chain, file, mapping, subprocess, task};
use crate::subject::*;

/// A process with two tasks; returns its id and their job types.
pub async fn two_tasks(subject: &Subject, first: &str) -> (String, String, String) {
    let (process, one, two) = (unique("process"), unique("one"), unique("two"));
    let content = chain("", &[task("one", &one, first), task("two", &two, "")]);
    subject.deploy(&file(&process, &content, "")).await;
    (process, one, two)
}

pub async fn local_variables_are_seen_again_after_a_lapse_and_retries_stay(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({"a": 1})).await;
    let job = subject.job_for(&job_type, 300).await;
    subject
        .set_variables(job.element_instance_key, json!({"journal": {"run": "r-1"}}), true)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let again = subject.job(&job_type).await;
    assert_eq!((again.key, again.retries), (job.key, 3));
    assert_eq!(variables(&again), json!({"a": 1, "journal": {"run": "r-1"}}));
}

pub async fn local_variables_are_seen_again_after_a_failure(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({"a": 1})).await;
    let job = subject.job(&job_type).await;
    subject
        .set_variables(job.element_instance_key, json!({"journal": 1}), true)
        .await
        .unwrap();
    subject.fail(&job, 2, 0).await.unwrap();
    assert_eq!(variables(&subject.job(&job_type).await), json!({"a": 1, "journal": 1}));
}

pub async fn local_variables_end_with_their_task(subject: Subject) {
    let (process, one, two) = two_tasks(&subject, "").await;
    let run = subject.run(&process, json!({"a": 1}));
    let job = subject.job(&one).await;
    subject
        .set_variables(job.element_instance_key, json!({"journal": 1, "a": 2}), true)
        .await
        .unwrap();
    subject.complete(&job, json!({"done": true})).await.unwrap();
    let next = subject.job(&two).await;
    assert_eq!(variables(&next), json!({"a": 1, "done": true}));
    subject.complete(&next, json!({})).await.unwrap();
    assert_eq!(ended(run).await, json!({"a": 1, "done": true}));
}

pub async fn variables_of_a_failure_stay_local(subject: Subject) {
    let (process, one, two) = two_tasks(&subject, "").await;
    subject.start(&process, json!({"a": 1})).await;
    let job = subject.job(&one).await;
    subject
        .fail_with(&job, 2, 0, json!({"error": {"code": "500"}, "a": 9}))
        .await
        .unwrap();
    let again = subject.job(&one).await;
    assert_eq!(variables(&again), json!({"a": 9, "error": {"code": "500"}}));
    subject.complete(&again, json!({})).await.unwrap();
    assert_eq!(variables(&subject.job(&two).await), json!({"a": 1}));
}

pub async fn variables_set_from_outside_are_merged_upwards(subject: Subject) {
    let (process, one, two) = two_tasks(&subject, "").await;
    subject.start(&process, json!({"a": 1})).await;
    let job = subject.job(&one).await;
    let scope = job.element_instance_key;
    subject.set_variables(scope, json!({"own": 1}), true).await.unwrap();
    subject
        .set_variables(scope, json!({"a": 2, "own": 2, "new": 3}), false)
        .await
        .unwrap();
    subject.complete(&job, json!({})).await.unwrap();
    assert_eq!(variables(&subject.job(&two).await), json!({"a": 2, "new": 3}));
}

pub async fn a_completion_updates_a_local_variable_of_the_same_name(subject: Subject) {
    let input = mapping(r#"<zeebe:input source="=a" target="given"/>"#);
    let (process, one, two) = two_tasks(&subject, &input).await;
    subject.start(&process, json!({"a": 1})).await;
    let job = subject.job(&one).await;
    assert_eq!(variables(&job), json!({"a": 1, "given": 1}));
    subject.complete(&job, json!({"given": 2, "free": 3})).await.unwrap();
    assert_eq!(variables(&subject.job(&two).await), json!({"a": 1, "free": 3}));
}

pub async fn inputs_are_local_and_outputs_are_all_that_leaves(subject: Subject) {
    let io = mapping(
        r#"<zeebe:input source="=a.b" target="url"/><zeebe:output source="=response.status" target="status"/><zeebe:output source="=url" target="called"/>"#,
    );
    let (process, one, two) = two_tasks(&subject, &io).await;
    subject.start(&process, json!({"a": {"b": "x"}})).await;
    let job = subject.job(&one).await;
    assert_eq!(variables(&job), json!({"a": {"b": "x"}, "url": "x"}));
    subject
        .complete(&job, json!({"response": {"status": 200}, "noise": 1}))
        .await
        .unwrap();
    let next = subject.job(&two).await;
    assert_eq!(variables(&next), json!({"a": {"b": "x"}, "status": 200, "called": "x"}));
}

pub async fn inputs_are_nested_and_see_those_before_them(subject: Subject) {
    let io = mapping(
        r#"<zeebe:input source="=1" target="first"/><zeebe:input source="=first" target="deep.er.value"/><zeebe:input source="=&quot;t&quot;" target="deep.text"/>"#,
    );
    let (process, one, _) = two_tasks(&subject, &io).await;
    subject.start(&process, json!({"deep": {"kept": false}})).await;
    let seen = variables(&subject.job(&one).await);
    assert_eq!(seen, json!({"first": 1, "deep": {"er": {"value": 1}, "text": "t"}}));
}

pub async fn nested_outputs_are_added_to_what_is_there(subject: Subject) {
    let io = mapping(r#"<zeebe:output source="=n" target="order.number"/>"#);
    let (process, one, two) = two_tasks(&subject, &io).await;
    subject.start(&process, json!({"order": {"kept": true}})).await;
    subject
        .complete(&subject.job(&one).await, json!({"n": 5}))
        .await
        .unwrap();
    assert_eq!(
        variables(&subject.job(&two).await),
        json!({"order": {"kept": true, "number": 5}})
    );
}

pub async fn a_static_text_stays_a_text(subject: Subject) {
    let io = mapping(
        r#"<zeebe:input source="1" target="number"/><zeebe:input source="{&quot;a&quot;: 1}" target="json"/><zeebe:input source="true" target="flag"/>"#,
    );
    let (process, one, _) = two_tasks(&subject, &io).await;
    subject.start(&process, json!({})).await;
    let seen = variables(&subject.job(&one).await);
    assert_eq!(seen, json!({"number": "1", "json": "{\"a\": 1}", "flag": "true"}));
}

pub async fn a_missing_variable_is_null(subject: Subject) {
    let io = mapping(r#"<zeebe:input source="=nobody.set.this" target="missing"/>"#);
    let (process, one, _) = two_tasks(&subject, &io).await;
    subject.start(&process, json!({})).await;
    assert_eq!(variables(&subject.job(&one).await), json!({"missing": null}));
}

pub async fn a_subprocess_hides_its_own_variables(subject: Subject) {
    let (process, inner, outer) = (unique("process"), unique("inner"), unique("outer"));
    let content = chain(
        "",
        &[
            subprocess("sub", &[task("inner", &inner, "")]),
            task("outer", &outer, ""),
        ],
    );
    subject.deploy(&file(&process, &content, "")).await;
    subject.start(&process, json!({"a": 1})).await;
    let job = subject.job(&inner).await;
    // Nobody names the subprocess's key, so its scope is reached only through what its task does not own.
    subject.complete(&job, json!({"a": 2, "b": 3})).await.unwrap();
    assert_eq!(variables(&subject.job(&outer).await), json!({"a": 2, "b": 3}));
}
