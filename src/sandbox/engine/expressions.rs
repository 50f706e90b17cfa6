//! Expressions of a process: a text of the BPMN and the variables in reach enter, a value leaves. A text that begins
//! with `=` is FEEL; any other stands for itself, as a string, even where it looks like a number or JSON.

use std::collections::HashSet;

use jiff::fmt::temporal::SpanParser;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::{Map, Value};

use super::timers::Millis;
use crate::feel::{Clock, Program, Scope, Settings};

/// A static text or a FEEL program.
#[derive(Debug)]
pub enum Expression {
    /// Stands for itself.
    Text(String),
    /// Evaluated each time.
    Feel(Program),
}

/// What an expression can see: variables in reach, the outermost scope first (a name in a later layer hides the same
/// name in an earlier one), and the engine's time.
pub struct Layers<'a> {
    layers: Vec<&'a Map<String, Value>>,
    now: Millis,
}

impl<'a> Layers<'a> {
    /// The outermost scope first.
    pub fn new(layers: Vec<&'a Map<String, Value>>, now: Millis) -> Self {
        Self { layers, now }
    }

    /// The same, and what hides it.
    #[must_use]
    pub fn with(&self, layer: &'a Map<String, Value>) -> Self {
        let mut layers = self.layers.clone();
        layers.push(layer);
        Self { layers, now: self.now }
    }

    /// The variables with these names, or all when none is named; each name once, with the value that is in reach.
    pub fn iter(&self, wanted: &'a [String]) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let mut seen = HashSet::new();
        let all = if wanted.is_empty() {
            self.layers.clone()
        } else {
            Vec::new()
        };
        let many = all.len() > 1;
        let all = all.into_iter().rev().flatten();
        let named = wanted
            .iter()
            .filter_map(|name| self.get(name).map(|value| (name, value)));
        let named: Vec<_> = named.collect();
        all.chain(named)
            .filter(move |(name, _)| (!many && wanted.len() < 2) || seen.insert(*name))
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.layers.iter().rev().find_map(|layer| layer.get(name))
    }
}

impl Expression {
    /// Reads an attribute's text.
    ///
    /// # Errors
    /// What is wrong with the FEEL behind the `=`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('=') {
            return Ok(Self::text(text));
        }
        Program::parse(text)
            .map(Self::Feel)
            .map_err(|error| format!("`{text}` is not FEEL: {error}"))
    }

    /// A text that stands for itself.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The value.
    ///
    /// # Errors
    /// Why the evaluation failed, for the message of an incident.
    pub fn evaluate(&self, variables: &Layers<'_>) -> Result<Value, String> {
        let program = match self {
            Self::Text(text) => return Ok(Value::String(text.clone())),
            Self::Feel(program) => program,
        };
        let scope = variables
            .layers
            .iter()
            .fold(Scope::new(), |scope, layer| scope.layer(layer));
        let now = variables.now;
        let settings = Settings {
            now: Clock::new(move || {
                Timestamp::from_millisecond(now)
                    .unwrap_or_default()
                    .to_zoned(TimeZone::UTC)
            }),
            connector_functions: false,
            ..Settings::default()
        };
        match program.evaluate(&scope, &settings) {
            Ok(evaluation) => Ok(evaluation.value),
            Err(error) => Err(format!("Failed to evaluate expression '{}': {error}", program.text())),
        }
    }

    /// The value, which must be a string.
    ///
    /// # Errors
    /// Why the evaluation failed, or what was found instead.
    pub fn string(&self, variables: &Layers<'_>) -> Result<String, String> {
        match self.evaluate(variables)? {
            Value::String(text) => Ok(text),
            other => Err(self.unexpected("STRING", &other)),
        }
    }

    /// The value, which must be a string or a number: a number counts as its digits.
    ///
    /// # Errors
    /// Why the evaluation failed, or what was found instead.
    pub fn correlation_key(&self, variables: &Layers<'_>) -> Result<String, String> {
        match self.evaluate(variables)? {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(format!(
                "Failed to extract the correlation key for '{}': The value must be either a string or a number, but was '{}'.",
                self.shown(),
                kind(&other)
            )),
        }
    }

    /// The value, which must be true or false.
    ///
    /// # Errors
    /// Why the evaluation failed, or what was found instead.
    pub fn boolean(&self, variables: &Layers<'_>) -> Result<bool, String> {
        match self.evaluate(variables)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(self.unexpected("BOOLEAN", &other)),
        }
    }

    /// The value, which must be a whole number; a static text counts when it is its digits.
    ///
    /// # Errors
    /// Why the evaluation failed, or what was found instead.
    pub fn integer(&self, variables: &Layers<'_>) -> Result<i32, String> {
        let value = self.evaluate(variables)?;
        let number = match &value {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
            Value::String(text) if matches!(self, Self::Text(_)) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| self.unexpected("NUMBER", &value))
    }

    /// When a duration that begins now ends, in milliseconds since 1970.
    ///
    /// # Errors
    /// Why the evaluation failed, or what was found instead of an ISO 8601 duration.
    pub fn after(&self, variables: &Layers<'_>) -> Result<Millis, String> {
        let text = self.string(variables)?;
        let span = span(&text)?;
        Timestamp::from_millisecond(variables.now)
            .and_then(|start| start.to_zoned(TimeZone::UTC).checked_add(span))
            .map(|end| end.timestamp().as_millisecond())
            .map_err(|error| format!("Invalid duration '{text}': {error}"))
    }

    /// A point in time, in milliseconds since 1970.
    ///
    /// # Errors
    /// Why the evaluation failed, or what was found instead of an ISO 8601 date and time with an offset.
    pub fn point_in_time(&self, variables: &Layers<'_>) -> Result<Millis, String> {
        let text = self.string(variables)?;
        // A zone's name in brackets adds nothing: the offset before it already fixes the instant.
        let instant = text.split('[').next().unwrap_or_default();
        instant
            .parse::<Timestamp>()
            .map(Timestamp::as_millisecond)
            .map_err(|_| format!("Invalid date-time format '{text}'; write it as 2030-01-31T12:00:00Z"))
    }

    /// Whether a static text is an ISO 8601 duration; FEEL is known only when it is evaluated.
    ///
    /// # Errors
    /// What was found instead.
    pub fn check_duration(&self) -> Result<(), String> {
        match self {
            Self::Text(text) => span(text).map(|_| ()),
            Self::Feel(_) => Ok(()),
        }
    }

    fn shown(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Feel(program) => program.text(),
        }
    }

    fn unexpected(&self, wanted: &str, found: &Value) -> String {
        format!(
            "Expected result of the expression '{}' to be '{wanted}', but was '{}'.",
            self.shown(),
            kind(found)
        )
    }
}

fn span(text: &str) -> Result<Span, String> {
    SpanParser::new()
        .parse_span(text.trim())
        .map_err(|_| format!("Invalid duration format '{text}'; write it in ISO 8601, e.g. PT30S"))
}

fn whole(number: f64) -> Option<i64> {
    // Beyond 2^53 a float no longer says which whole number it is.
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Bool(_) => "BOOLEAN",
        Value::Number(_) => "NUMBER",
        Value::String(_) => "STRING",
        Value::Array(_) => "ARRAY",
        Value::Object(_) => "OBJECT",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2026-01-31T12:00:00Z
    const NOW: Millis = 1_769_860_800_000;

    fn seeing(variables: &Map<String, Value>) -> Layers<'_> {
        Layers::new(vec![variables], NOW)
    }

    fn expression(text: &str) -> Expression {
        Expression::parse(text).unwrap()
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_text_without_an_equals_sign_stands_for_itself() {
        let none = Map::new();
        for text in ["1", "true", "{\"a\": 1}", " padded ", ""] {
            assert_eq!(expression(text).evaluate(&seeing(&none)).unwrap(), json!(text));
        }
    }

    #[test]
    fn durations_may_be_texts_or_values_and_count_calendar_months() {
        let variables = object(json!({"wait": "PT2S"}));
        let after = |text: &str| expression(text).after(&seeing(&variables)).map(|end| end - NOW);
        assert_eq!(after("PT1.5S"), Ok(1_500));
        assert_eq!(after("=wait"), Ok(2_000));
        assert_eq!(after("=duration(\"PT3S\")"), Ok(3_000));
        assert_eq!(
            after("P1M"),
            Ok(28 * 86_400_000),
            "from the last of January to the last of February"
        );
        assert!(
            after("=1 + 1")
                .unwrap_err()
                .contains("to be 'STRING', but was 'NUMBER'")
        );
        assert!(after("soon").unwrap_err().contains("Invalid duration format 'soon'"));
    }

    #[test]
    fn points_in_time_need_an_offset() {
        let none = Map::new();
        let at = |text: &str| expression(text).point_in_time(&seeing(&none)).map(|at| at - NOW);
        assert_eq!(at("2026-01-31T12:00:01Z"), Ok(1_000));
        assert_eq!(at("2026-01-31T13:00:02+01:00"), Ok(2_000));
        assert_eq!(at("=date and time(\"2026-01-31T12:00:03Z\")"), Ok(3_000));
        assert_eq!(
            at("=now() + duration(\"PT4S\")"),
            Ok(4_000),
            "FEEL sees the engine's clock"
        );
        assert!(
            at("2026-01-31T12:00:00")
                .unwrap_err()
                .contains("Invalid date-time format")
        );
    }

    #[test]
    fn retries_are_whole_numbers_or_their_digits() {
        let variables = object(json!({"n": 4}));
        let number = |text: &str| expression(text).integer(&seeing(&variables));
        assert_eq!(number("3"), Ok(3));
        assert_eq!(number("=n + 1"), Ok(5));
        assert!(number("many").unwrap_err().contains("to be 'NUMBER', but was 'STRING'"));
        assert!(
            number("=\"3\"")
                .unwrap_err()
                .contains("to be 'NUMBER', but was 'STRING'")
        );
        assert!(number("=1.5").unwrap_err().contains("to be 'NUMBER'"));
    }

    #[test]
    fn an_inner_variable_hides_an_outer_one() {
        let (outer, inner) = (object(json!({"a": 1, "b": 2})), object(json!({"a": null})));
        let layers = Layers::new(vec![&outer, &inner], NOW);
        assert_eq!(expression("=[a, b]").evaluate(&layers), Ok(json!([null, 2])));
        let mut seen: Vec<_> = layers
            .iter(&[])
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        seen.sort_by_key(|(name, _)| *name);
        assert_eq!(seen, [("a", json!(null)), ("b", json!(2))]);
    }

    #[test]
    fn the_connector_functions_belong_to_the_worker_not_to_the_process() {
        let none = Map::new();
        let value = expression("=bpmnError(\"E\", \"m\")").evaluate(&seeing(&none));
        assert_ne!(value.unwrap_or_default()["errorCode"], json!("E"));
    }
}
