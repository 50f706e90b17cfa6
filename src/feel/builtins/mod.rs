//! The built-in functions: one table of names, parameters, a line of explanation, an example and the function itself.
//!
//! What enters a function are values, already of the right number; what leaves is a value. Arguments of the wrong kind
//! give [`illegal`], which a call turns into null with a warning, as the real engine does.

mod boolean;
mod connector;
mod context;
mod conversion;
mod list;
mod list_numbers;
mod list_parts;
mod numeric;
mod range;
mod string;
mod temporal;

use super::interpreter::{Interpreter, Outcome, describe};
use super::syntax::Arguments;
use super::value::Val;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What runs: the values are in the order of the parameters, the rest of a function with any number of them as one list.
pub(crate) type Run = for<'a> fn(&Interpreter<'a>, &[Val<'a>]) -> Outcome<'a>;

/// One way to call a function.
#[derive(Debug)]
pub struct Overload {
    /// The names of the parameters, as they can be used in a call.
    pub parameters: &'static [&'static str],
    /// Whether the last parameter takes any number of values.
    pub varargs: bool,
    pub(crate) run: Run,
}

/// A built-in function, with what its reference says about it.
#[derive(Debug)]
pub struct BuiltIn {
    /// The name, with blanks.
    pub name: &'static str,
    /// One line: what it gives.
    pub doc: &'static str,
    /// An expression and its result as JSON text; the test suite checks both. An empty result means that it differs each time.
    pub example: (&'static str, &'static str),
    /// The ways to call it; the first that takes the arguments is the one that is called.
    pub overloads: &'static [Overload],
}

impl BuiltIn {
    /// How it is called, one text for each overload: `substring(string, start position, length)`.
    pub fn signatures(&self) -> Vec<String> {
        let signature = |overload: &Overload| {
            let more = if overload.varargs { ", …" } else { "" };
            format!("{}({}{more})", self.name, overload.parameters.join(", "))
        };
        self.overloads.iter().map(signature).collect()
    }

    /// Whether it exists for result and error expressions of connectors only.
    pub fn is_for_connectors(&self) -> bool {
        connector::FUNCTIONS.iter().any(|function| function.name == self.name)
    }
}

/// The built-in functions, in groups with a title.
pub fn groups() -> [(&'static str, &'static [BuiltIn]); 10] {
    [
        ("boolean", boolean::FUNCTIONS),
        ("conversion", conversion::FUNCTIONS),
        ("string", string::FUNCTIONS),
        ("number", numeric::FUNCTIONS),
        ("list", list::FUNCTIONS),
        ("numbers of a list", list_numbers::FUNCTIONS),
        ("context", context::FUNCTIONS),
        ("date and time", temporal::FUNCTIONS),
        ("range", range::FUNCTIONS),
        ("connector", connector::FUNCTIONS),
    ]
}

/// The built-in function of this name.
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static BuiltIn>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        groups()
            .into_iter()
            .flat_map(|(_, functions)| functions)
            .map(|function| (function.name, function))
            .collect()
    });
    by_name.get(name).copied()
}

/// The names of all built-in functions.
pub fn names() -> Vec<&'static str> {
    groups()
        .into_iter()
        .flat_map(|(_, functions)| functions)
        .map(|function| function.name)
        .collect()
}

/// What a call of a built-in function means.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) function: &'static BuiltIn,
    pub(crate) overload: &'static Overload,
}

/// The first overload that takes these arguments: as many as there are parameters (or more, if it takes any number), or
/// names that are all among its parameters.
pub(crate) fn resolve(name: &str, arguments: &Arguments) -> Option<Resolved> {
    let function = find(name)?;
    let overload = function.overloads.iter().find(|overload| match arguments {
        Arguments::Positional(arguments) => {
            overload.parameters.len() == arguments.len()
                || (overload.varargs && overload.parameters.len() < arguments.len())
        }
        Arguments::Named(arguments) => arguments.iter().all(|(name, _)| overload.parameters.contains(&&**name)),
    })?;
    Some(Resolved { function, overload })
}

const fn takes(parameters: &'static [&'static str], run: Run) -> Overload {
    Overload {
        parameters,
        varargs: false,
        run,
    }
}

const fn takes_any(parameters: &'static [&'static str], run: Run) -> Overload {
    Overload {
        parameters,
        varargs: true,
        run,
    }
}

/// Arguments of the wrong kind.
fn illegal<'a>(arguments: &[Val<'a>]) -> Outcome<'a> {
    let kinds: Vec<String> = arguments.iter().map(describe).collect();
    Ok(Val::error(format!("it cannot be called with ({})", kinds.join(", "))))
}
