//! What an evaluation can see besides its expression: the variables and the clock.

use super::limits::Limits;
use serde_json::{Map, Value as Json};
use std::fmt;
use std::sync::Arc;

/// The variables of an evaluation, in layers that are searched from the last one added to the first. Borrows everything.
#[derive(Debug, Clone, Default)]
pub struct Scope<'a> {
    pub(crate) layers: Vec<Layer<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Layer<'a> {
    Map(&'a Map<String, Json>),
    One(&'a str, &'a Json),
}

impl<'a> Scope<'a> {
    /// No variables.
    pub fn new() -> Scope<'a> {
        Scope::default()
    }

    /// Every entry becomes a variable and wins over what was added before.
    #[must_use]
    pub fn layer(mut self, variables: &'a Map<String, Json>) -> Scope<'a> {
        self.layers.push(Layer::Map(variables));
        self
    }

    /// One more variable; it wins over what was added before.
    #[must_use]
    pub fn variable(mut self, name: &'a str, value: &'a Json) -> Scope<'a> {
        self.layers.push(Layer::One(name, value));
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Json> {
        self.layers.iter().rev().find_map(|layer| match layer {
            Layer::Map(variables) => variables.get(name),
            Layer::One(known, value) => (*known == name).then_some(*value),
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.layers.iter().flat_map(|layer| match layer {
            Layer::Map(variables) => variables.keys().map(String::as_str).collect::<Vec<_>>(),
            Layer::One(name, _) => vec![*name],
        })
    }
}

/// What `now()` and `today()` say.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> jiff::Zoned + Send + Sync>);

impl Clock {
    /// The clock and the time zone of this machine.
    pub fn system() -> Clock {
        Clock(Arc::new(jiff::Zoned::now))
    }

    /// A clock that asks `now` each time an evaluation first needs the time.
    pub fn new(now: impl Fn() -> jiff::Zoned + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// A clock that stands still.
    pub fn fixed(now: jiff::Zoned) -> Clock {
        Clock::new(move || now.clone())
    }

    pub(crate) fn now(&self) -> jiff::Zoned {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Clock")
    }
}

/// How to evaluate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much it may cost.
    pub limits: Limits,
    /// The clock behind `now()` and `today()`.
    pub now: Clock,
    /// Whether `bpmnError`, `jobError`, `ignoreError`, `backoff` and `createDocument` exist. On by default: result and
    /// error expressions have them, expressions of the process itself do not.
    pub connector_functions: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Limits::default(),
            now: Clock::system(),
            connector_functions: true,
        }
    }
}
