//! The functions of result and error expressions: what the engine shall be told about a job, and how long to wait.
//!
//! Arguments of the wrong kind fail the evaluation here, as in the connector runtime: an error that was meant for the
//! engine must not be lost as null.

use super::context::context_of;
use super::{BuiltIn, Overload, Run, takes};
use crate::feel::error::Stop;
use crate::feel::interpreter::{Interpreter, Outcome, describe};
use crate::feel::temporal::DayTime;
use crate::feel::value::Val;

const BPMN: [&str; 3] = ["errorCode", "errorMessage", "variables"];
const JOB: [&str; 4] = ["errorMessage", "variables", "retries", "retryBackoff"];
const BACKOFF: [&str; 5] = ["attempt", "minDelay", "factor", "maxDelay", "jitterFactor"];

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "bpmnError",
        doc: "throws a BPMN error with a code, a message and variables",
        example: (
            "bpmnError(\"NOT_FOUND\", \"no such run\")",
            "{\"errorType\":\"bpmnError\",\"errorCode\":\"NOT_FOUND\",\"errorMessage\":\"no such run\"}",
        ),
        overloads: &[
            takes(&["errorCode"], BPMN_ERROR),
            takes(&["errorCode", "errorMessage"], BPMN_ERROR),
            takes(&BPMN, BPMN_ERROR),
        ],
    },
    BuiltIn {
        name: "jobError",
        doc: "fails the job with a message, variables, the retries that are left (none unless given) and a delay",
        example: (
            "jobError(\"busy\", {}, 2, duration(\"PT5M\"))",
            "{\"errorMessage\":\"busy\",\"variables\":{},\"retries\":2,\"retryBackoff\":\"PT5M\",\"errorType\":\"jobError\"}",
        ),
        overloads: &[
            takes(&["errorMessage"], JOB_ERROR),
            takes(&["errorMessage", "variables"], JOB_ERROR),
            takes(&["errorMessage", "variables", "retries"], JOB_ERROR),
            takes(&JOB, JOB_ERROR),
        ],
    },
    BuiltIn {
        name: "ignoreError",
        doc: "completes the job in spite of an error, with variables",
        example: (
            "ignoreError({found: false})",
            "{\"errorType\":\"ignoreError\",\"variables\":{\"found\":false}}",
        ),
        overloads: &[takes(&[], IGNORE_ERROR), takes(&["variables"], IGNORE_ERROR)],
    },
    BuiltIn {
        name: "backoff",
        doc: "a delay that grows with the attempt, between a shortest and a longest one, with some jitter",
        example: ("backoff(3, duration(\"PT1S\"), 2, duration(\"PT1M\"), 0)", "\"PT4S\""),
        overloads: &[
            takes(&["attempt"], DELAY),
            takes(&["attempt", "minDelay"], DELAY),
            takes(&["attempt", "minDelay", "factor"], DELAY),
            takes(&["attempt", "minDelay", "factor", "maxDelay"], DELAY),
            takes(&BACKOFF, DELAY),
        ],
    },
    BuiltIn {
        name: "createDocument",
        doc: "would store a value as a document; deskhand has no document store yet, so it fails",
        example: ("createDocument(\"text\")", ""),
        overloads: &[CREATE_DOCUMENT],
    },
];

const CREATE_DOCUMENT: Overload = takes(&["value"], |_, _| {
    Err(Stop::failed(
        "`createDocument` needs a document store, and deskhand has none yet; return the value as a variable, or only the part of it that the process needs",
    ))
});

fn must_be(function: &str, parameter: &str, kind: &str, found: &Val<'_>) -> Stop {
    Stop::failed(format!(
        "parameter `{parameter}` of `{function}` must be a {kind}, but it is {}",
        describe(found)
    ))
}

fn check(function: &str, parameter: &str, kind: &'static str, value: &Val<'_>) -> Result<(), Stop> {
    if value.kind() == kind {
        Ok(())
    } else {
        Err(must_be(function, parameter, kind, value))
    }
}

const BPMN_ERROR: Run = |interpreter, arguments| {
    let mut entries = vec![("errorType", Val::Str("bpmnError"))];
    for (parameter, value) in BPMN.into_iter().zip(arguments) {
        check(
            "bpmnError",
            parameter,
            if parameter == "variables" { "context" } else { "string" },
            value,
        )?;
        entries.push((parameter, value.clone()));
    }
    context_of(interpreter, entries)
};

const JOB_ERROR: Run = |interpreter, arguments| {
    let kinds = ["string", "context", "number", "days and time duration"];
    let defaults = [
        Val::Null,
        context_of(interpreter, Vec::new())?,
        Val::int(0),
        Val::DayTime(DayTime::ZERO),
    ];
    let mut entries = Vec::with_capacity(5);
    for (index, (parameter, default)) in JOB.into_iter().zip(defaults).enumerate() {
        let value = arguments.get(index).cloned().unwrap_or(default);
        check("jobError", parameter, kinds[index], &value)?;
        entries.push((parameter, value));
    }
    entries.push(("errorType", Val::Str("jobError")));
    context_of(interpreter, entries)
};

const IGNORE_ERROR: Run = |interpreter, arguments| {
    let mut entries = vec![("errorType", Val::Str("ignoreError"))];
    if let [variables] = arguments {
        check("ignoreError", "variables", "context", variables)?;
        entries.push(("variables", variables.clone()));
    }
    context_of(interpreter, entries)
};

const DELAY: Run = |interpreter, arguments| delay(interpreter, arguments);

fn delay<'a>(_: &Interpreter<'a>, arguments: &[Val<'a>]) -> Outcome<'a> {
    let number = |index: usize, default: f64| match arguments.get(index) {
        None => Ok(default),
        Some(Val::Number(number)) => Ok(number.to_f64()),
        Some(other) => Err(must_be("backoff", BACKOFF[index], "number", other)),
    };
    let millis = |index: usize, default: i64| match arguments.get(index) {
        None => Ok(default),
        Some(Val::DayTime(duration)) => duration
            .millis()
            .ok_or_else(|| Stop::failed(format!("parameter `{}` of `backoff` is too long", BACKOFF[index]))),
        Some(other) => Err(must_be("backoff", BACKOFF[index], "days and time duration", other)),
    };
    let attempt = match arguments.first() {
        Some(Val::Number(attempt)) => attempt.low_i32(),
        Some(other) => return Err(must_be("backoff", "attempt", "number", other)),
        None => return Err(must_be("backoff", "attempt", "number", &Val::Null)),
    };
    let (least, factor, most, jitter) = (millis(1, 50)?, number(2, 1.6)?, millis(3, 5_000)?, number(4, 0.1)?);
    let demand = |holds: bool, otherwise: &str| {
        if holds {
            Ok(())
        } else {
            Err(Stop::failed(format!("`backoff`: {otherwise}")))
        }
    };
    demand(attempt >= 1, "`attempt` counts from 1")?;
    demand(factor > 0.0, "`factor` must be above zero")?;
    demand(least <= most, "`minDelay` is longer than `maxDelay`")?;
    demand(jitter >= 0.0, "`jitterFactor` must not be negative")?;
    let grown = least as f64 * factor.powi(attempt - 1);
    let delay = grown.min(most as f64).max(least as f64);
    let spread = if jitter > 0.0 {
        (fastrand::f64() * 2.0 - 1.0) * jitter * delay
    } else {
        0.0
    };
    Ok(Val::DayTime(DayTime::from_millis(
        (delay + spread).round().max(0.0) as i64
    )))
}
