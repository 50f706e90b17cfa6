//! What a test expects of the requests that arrived: `POST /__sim/expect` goes in; whether the journal agrees comes out, and
//! if not, which requests do not.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::encoding::pairs;
use super::faults::RouteName;
use super::journal::RequestRecord;

/// Requests that a refusal names.
const MOST_NAMED: usize = 10;

/// An expectation. Every part that is given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Expectation {
    /// Requests of this route; absent: all requests.
    pub(super) route: Option<RouteName>,
    /// Only those after this sequence number.
    pub(super) after: u64,
    /// Exactly so many.
    count: Option<usize>,
    /// At least so many.
    at_least: Option<usize>,
    /// At most so many.
    at_most: Option<usize>,
    /// Each with this method.
    method: Option<String>,
    /// Each with these headers; `null` is any value.
    headers: BTreeMap<String, Option<String>>,
    /// Each with these parameters in its query, e.g. `$select`.
    query: Vec<String>,
    /// None of these texts stands in the path, query, headers or body of any of them.
    never: Vec<String>,
}

/// Does it hold? A journal that has forgotten requests that are meant cannot tell.
pub(super) fn judged(expected: &Expectation, requests: &[RequestRecord], forgotten: bool) -> Result<Value, Value> {
    let mut problems = Vec::new();
    if forgotten {
        problems.push("the journal has forgotten some of these requests: give the world a larger `journal`".to_owned());
    }
    let found = requests.len();
    let counts = [
        (
            expected.count.is_some_and(|wanted| found != wanted),
            "exactly",
            expected.count,
        ),
        (
            expected.at_least.is_some_and(|wanted| found < wanted),
            "at least",
            expected.at_least,
        ),
        (
            expected.at_most.is_some_and(|wanted| found > wanted),
            "at most",
            expected.at_most,
        ),
    ];
    for (broken, word, wanted) in counts {
        if let (true, Some(wanted)) = (broken, wanted) {
            problems.push(format!("{found} requests arrived, {word} {wanted} were expected"));
        }
    }
    let broken = requests.iter().filter_map(|request| {
        let problems = of_request(expected, request);
        (!problems.is_empty()).then(|| format!("request {}: {}", request.sequence, problems.join(", ")))
    });
    problems.extend(broken.take(MOST_NAMED));
    match problems.is_empty() {
        true => Ok(json!({"met": true, "count": found})),
        false => Err(json!({"met": false, "count": found, "problems": problems})),
    }
}

fn of_request(expected: &Expectation, request: &RequestRecord) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(method) = &expected.method
        && !method.eq_ignore_ascii_case(&request.method)
    {
        problems.push(format!("its method is {}", request.method));
    }
    for (name, wanted) in &expected.headers {
        let found = request.headers.get(&name.to_ascii_lowercase());
        match (found.and_then(Value::as_str), wanted) {
            (None, _) => problems.push(format!("it has no header {name}")),
            (Some(found), Some(wanted)) if found != wanted => problems.push(format!("its header {name} is another")),
            _ => {}
        }
    }
    let parameters = pairs(&request.query).unwrap_or_default();
    for name in &expected.query {
        if !parameters.iter().any(|(found, _)| found == name) {
            problems.push(format!("its query has no {name}"));
        }
    }
    let holds = |text: &String| {
        let headers = request.headers.values().filter_map(Value::as_str);
        let plain = [request.path.as_str(), request.query.as_str(), request.body.as_str()];
        plain
            .into_iter()
            .chain(headers)
            .any(|part| part.contains(text.as_str()))
    };
    if expected.never.iter().any(holds) {
        problems.push("it holds a text that must never be sent".to_owned());
    }
    problems
}
