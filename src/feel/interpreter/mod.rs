//! Program to value: walks the tree of an expression over a scope.
//!
//! What the real engine turns into null with a suppressed failure becomes null with a [`Warning`] here; what it throws
//! becomes a [`Stop`]. Every step is metered, and recursion is bounded by the nesting that the parser and the meter allow.

mod calls;
mod env;
mod lists;
mod operators;
mod paths;
mod suggest;
mod tests_of_input;
mod trace;

pub(crate) use env::{Env, Names};
pub use trace::Part;

use super::error::{EvalError, Stop, Warning, WarningKind};
use super::limits::{LimitKind, Meter};
use super::regex::Patterns;
use super::settings::{Scope, Settings};
use super::syntax::{Comparison, Node, NodeId, Tree};
use super::temporal::{Zone, ZonedDateTime};
use super::value::{self, Draft, Key, List, Shared, Val};
use std::cell::{OnceCell, RefCell};

/// The result of evaluating a part.
pub(crate) type Outcome<'a> = Result<Val<'a>, Stop>;

/// More warnings than these are counted, not kept.
const MAX_WARNINGS: usize = 50;

pub(crate) struct Interpreter<'a> {
    tree: &'a Tree,
    scope: &'a Scope<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) meter: Meter,
    pub(crate) patterns: Patterns,
    warnings: RefCell<Vec<Warning>>,
    /// How many warnings are kept: looking for the nearest name costs more than most evaluations.
    most_warnings: usize,
    /// The message of an `assert` that did not hold: it fails the evaluation whatever is made of its result.
    assertion: RefCell<Option<String>>,
    now: OnceCell<ZonedDateTime>,
    /// Results of loops that something still refers to: a result may refer to itself through `partial`, and such a
    /// circle has to be cut by hand.
    circles: RefCell<Vec<Shared<'a>>>,
    trace: Option<trace::Trace>,
}

impl<'a> Interpreter<'a> {
    pub(crate) fn new(tree: &'a Tree, scope: &'a Scope<'a>, settings: &'a Settings) -> Interpreter<'a> {
        Interpreter {
            tree,
            scope,
            settings,
            meter: Meter::new(&settings.limits),
            patterns: Patterns::new(settings.limits.regex_steps),
            warnings: RefCell::default(),
            most_warnings: MAX_WARNINGS,
            assertion: RefCell::default(),
            now: OnceCell::new(),
            circles: RefCell::default(),
            trace: None,
        }
    }

    /// Makes no warnings.
    pub(crate) fn quiet(mut self) -> Interpreter<'a> {
        self.most_warnings = 0;
        self
    }

    /// Keeps what every part gives, for [`Interpreter::into_parts`].
    pub(crate) fn traced(mut self) -> Interpreter<'a> {
        self.trace = Some(trace::Trace::default());
        self
    }

    pub(crate) fn into_parts(self, text: &str) -> Vec<Part> {
        self.trace
            .map(|trace| trace.finish(self.tree, text))
            .unwrap_or_default()
    }

    /// Evaluates the whole expression and hands the value to `finish` before anything of it is dropped.
    pub(crate) fn run<T>(&self, finish: impl FnOnce(&Meter, &Val<'a>) -> Result<T, Stop>) -> Result<T, EvalError> {
        let env = Env {
            outer: None,
            names: Names::Root(self.scope),
        };
        let result = self.eval(self.tree.root, &env).and_then(|value| {
            if let Some(message) = self.assertion.borrow_mut().take() {
                return Err(Stop::failed(format!("an assertion does not hold: {message}")));
            }
            finish(&self.meter, &value)
        });
        let circles = std::mem::take(&mut *self.circles.borrow_mut());
        // All of them are emptied before anything is dropped, so that dropping is never deeper than one value.
        let emptied: Vec<Vec<Val<'a>>> = circles
            .iter()
            .map(|items| std::mem::take(&mut *items.borrow_mut()))
            .collect();
        drop(emptied);
        result.map_err(EvalError::from)
    }

    pub(crate) fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut *self.warnings.borrow_mut())
    }

    fn node(&self, id: NodeId) -> &'a Node {
        &self.tree.nodes[id as usize]
    }

    pub(crate) fn warn(&self, kind: WarningKind, message: impl FnOnce() -> String) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < self.most_warnings {
            warnings.push(Warning {
                kind,
                message: message(),
            });
        }
    }

    /// The time of this evaluation: the clock is read once.
    pub(crate) fn now(&self) -> &ZonedDateTime {
        self.now.get_or_init(|| {
            let now = self.settings.now.now();
            let offset = now.offset().seconds();
            let timestamp = now.timestamp();
            let zone = Zone::of(now.time_zone(), offset);
            let (second, nano) = (timestamp.as_second(), i64::from(timestamp.subsec_nanosecond()));
            ZonedDateTime::of_instant(
                second + nano.div_euclid(1_000_000_000),
                nano.rem_euclid(1_000_000_000),
                zone,
            )
            .or_else(|| ZonedDateTime::of_instant(0, 0, Zone::Offset(0)))
            // 1970 in Greenwich is a time.
            .unwrap_or_else(|| unreachable!("the epoch is within every range"))
        })
    }

    #[inline]
    pub(crate) fn eval(&self, id: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        match &self.trace {
            None => self.eval_node(id, env),
            Some(trace) => self.eval_traced(trace, id, env),
        }
    }

    #[inline(never)]
    fn eval_traced(&self, trace: &trace::Trace, id: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        let place = trace.open(id, self.meter.depth());
        let value = self.eval_node(id, env)?;
        if let Some(place) = place {
            trace.close(place, &value);
        }
        Ok(value)
    }

    fn eval_node(&self, id: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        self.meter.tick()?;
        match self.node(id) {
            Node::Null => Ok(Val::Null),
            Node::Bool(value) => Ok(Val::Bool(*value)),
            Node::Number(number) => Ok(Val::Number(number.number())),
            Node::Text(text) => Ok(Val::Str(text)),
            Node::Temporal(temporal) => Ok(Val::from_temporal(temporal)),
            Node::Variable(path) => self.variable(path, env),
            node => {
                self.meter.enter()?;
                let outcome = self.eval_parts(node, env);
                self.meter.leave();
                outcome
            }
        }
    }

    fn eval_parts(&self, node: &'a Node, env: &Env<'_, 'a>) -> Outcome<'a> {
        match node {
            Node::Postfix(base, steps) => self.postfix(*base, steps, env),
            Node::Chain(first, rest) => self.chain(*first, rest, env),
            Node::Negate(inner) => self.negate(*inner, env),
            Node::Compare(comparison, left, right) => self.compare_nodes(*comparison, *left, *right, env),
            Node::And(operands) => self.all(operands, env),
            Node::Or(operands) => self.any(operands, env),
            Node::If(condition, then, otherwise) => self.choose(*condition, *then, *otherwise, env),
            Node::List(items) => self.list(items, env),
            Node::Context(entries) => self.context(entries, env),
            Node::Call(call) => self.call(call, env),
            Node::Function(definition) => self.define(definition, env),
            Node::For(iteration) => self.for_each(iteration, env),
            Node::Quantified(quantifier, iteration) => self.quantified(*quantifier, iteration, env),
            Node::Range(range) => self.range(range, env),
            Node::InstanceOf(value, name) => self.instance_of(*value, name, env),
            Node::In(value, test) => self.contained(*value, *test, env),
            Node::Input => Ok(env.variable(env::INPUT_SYMBOL).unwrap_or(Val::NoInput)),
            Node::InputCompare(comparison, endpoint) => self.compare_input(*comparison, *endpoint, env),
            Node::InputInRange(range) => self.input_in_range(range, env),
            Node::Test(expression) => self.test(*expression, env),
            Node::AnyOf(tests) => self.any(tests, env),
            Node::External => Ok(Val::error(
                "functions of the host language (`external`) are not available",
            )),
            // An interval is only ever iterated, and leaves were evaluated before.
            Node::Interval(..)
            | Node::Null
            | Node::Bool(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::Temporal(_)
            | Node::Variable(_) => Ok(Val::Null),
        }
    }

    #[inline(never)]
    fn list(&self, items: &'a [NodeId], env: &Env<'_, 'a>) -> Outcome<'a> {
        let mut values = Vec::with_capacity(items.len());
        let mut failure = None;
        for item in items {
            match self.eval(*item, env)? {
                error @ (Val::Error(_) | Val::NoInput) => {
                    failure = Some(as_error(error));
                    break;
                }
                value => values.push(value),
            }
        }
        match failure {
            Some(error) => Ok(error),
            None => List::charged(&self.meter, values),
        }
    }

    #[inline(never)]
    fn context(&self, entries: &'a [(Box<str>, NodeId)], env: &Env<'_, 'a>) -> Outcome<'a> {
        let mut draft = Draft::default();
        for (key, node) in entries {
            let value = self.eval(
                *node,
                &Env {
                    outer: Some(env),
                    names: Names::Context(&draft),
                },
            )?;
            if matches!(value, Val::Error(_) | Val::NoInput) {
                return Ok(as_error(value));
            }
            draft.add(Key::Str(key), value);
        }
        draft.finish(&self.meter, true)
    }

    #[inline(never)]
    fn choose(&self, condition: NodeId, then: NodeId, otherwise: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        let holds = match self.eval(condition, env)? {
            Val::Bool(holds) => holds,
            Val::NoInput => return Ok(Val::NoInput),
            other => {
                self.wrong_kind("boolean", &other);
                false
            }
        };
        if holds {
            match self.eval(then, env)? {
                // As in the real engine, where an error on the way to a result looks like a condition that is none.
                Val::Error(_) => {}
                value => return Ok(value),
            }
        }
        self.eval(otherwise, env)
    }

    #[inline(never)]
    fn instance_of(&self, value: NodeId, name: &str, env: &Env<'_, 'a>) -> Outcome<'a> {
        let value = self.eval(value, env)?;
        if matches!(value, Val::Error(_) | Val::NoInput) {
            return Ok(value);
        }
        let kind = value.kind();
        Ok(Val::Bool(match name {
            "Any" => !value.is_null(),
            "date time" => kind == "date and time",
            "year-month-duration" => kind == "years and months duration",
            "day-time-duration" => kind == "days and time duration",
            name => kind == name,
        }))
    }

    fn compare_nodes(&self, comparison: Comparison, left: NodeId, right: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        let left = self.eval(left, env)?;
        let right = self.eval(right, env)?;
        self.compare(comparison, &left, &right)
    }

    /// Says that a value is not of the kind that its place needs.
    pub(crate) fn wrong_kind(&self, expected: &str, found: &Val<'a>) {
        self.warn(WarningKind::WrongKind, || {
            format!("expected a {expected} but found {}", describe(found))
        });
    }
}

/// An error stays an error; `?` without an input becomes one.
fn as_error(value: Val<'_>) -> Val<'_> {
    match value {
        Val::NoInput => Val::error("`?` stands for the value before `in` and has no meaning elsewhere"),
        other => other,
    }
}

/// A value in a message: its kind, and its text when that is short.
pub(crate) fn describe(value: &Val<'_>) -> String {
    let shown = match value {
        Val::Null => return "null".to_owned(),
        Val::Str(text) => text.chars().take(40).collect::<String>(),
        Val::Text(text) => text.chars().take(40).collect::<String>(),
        Val::Number(number) => number.to_string(),
        Val::Bool(value) => value.to_string(),
        other => return format!("a {}", other.kind()),
    };
    format!("the {} `{shown}`", value.kind())
}

/// The limit that a failed conversion of a number stands for.
pub(crate) fn digits() -> Stop {
    Stop::Limit(LimitKind::NumberDigits)
}

pub(crate) use operators::arithmetic;
pub(crate) use value::show;
