//! Calls: finding the function, packing the arguments, running it.

use super::suggest::nearest;
use super::{Env, Interpreter, Names, Outcome};
use crate::feel::builtins::{self, Resolved};
use crate::feel::error::{Stop, WarningKind};
use crate::feel::syntax::{Arguments, Call, Definition, NodeId};
use crate::feel::value::{Function, List, Val};
use std::rc::Rc;

impl<'a> Interpreter<'a> {
    #[inline(never)]
    pub(super) fn call(&self, call: &'a Call, env: &Env<'_, 'a>) -> Outcome<'a> {
        if !call.path.is_empty() {
            return self.call_of_context(call, env);
        }
        if call.shadowed
            && let Some(function) = env.function(&call.name, |function| fits(function, &call.arguments))
        {
            let arguments = match self.arguments_of_function(&function, &call.arguments, env)? {
                Ok(arguments) => arguments,
                Err(error) => return Ok(self.failed_call(&call.name, error)),
            };
            let result = self.invoke(&function, &arguments)?;
            return Ok(match result {
                error @ Val::Error(_) => self.failed_call(&call.name, error),
                result => result,
            });
        }
        match &call.built_in {
            Some(resolved) if self.settings.connector_functions || !resolved.function.is_for_connectors() => {
                self.call_built_in(call, resolved, env)
            }
            _ => {
                self.warn(WarningKind::NoFunction, || self.no_such_function(call));
                Ok(Val::Null)
            }
        }
    }

    fn no_such_function(&self, call: &Call) -> String {
        let arguments = match &call.arguments {
            Arguments::Positional(arguments) => format!(
                "{} argument{}",
                arguments.len(),
                if arguments.len() == 1 { "" } else { "s" }
            ),
            Arguments::Named(arguments) => {
                let names: Vec<&str> = arguments.iter().map(|(name, _)| &**name).collect();
                format!("the parameters {}", names.join(", "))
            }
        };
        let overloads = builtins::find(&call.name).map(builtins::BuiltIn::signatures);
        match overloads {
            Some(signatures) => format!(
                "`{}` does not take {arguments}; there is {}",
                call.name,
                signatures.join(", ")
            ),
            None => format!(
                "there is no function `{}`{}",
                call.name,
                nearest(&call.name, &builtins::names()).replace("; there are", "")
            ),
        }
    }

    fn call_built_in(&self, call: &'a Call, resolved: &'a Resolved, env: &Env<'_, 'a>) -> Outcome<'a> {
        let arguments = match self.arguments_of_built_in(resolved, &call.arguments, env)? {
            Ok(arguments) => arguments,
            Err(error) => return Ok(self.failed_built_in(call, error)),
        };
        let result = (resolved.overload.run)(self, &arguments)?;
        Ok(self.failed_built_in(call, result))
    }

    /// An `assert` that fails, whatever the reason, fails the evaluation in the end.
    fn failed_built_in(&self, call: &Call, result: Val<'a>) -> Val<'a> {
        if let (Val::Error(message), "assert") = (&result, &*call.name) {
            let mut assertion = self.assertion.borrow_mut();
            assertion.get_or_insert_with(|| message.to_string());
            return Val::Null;
        }
        match result {
            error @ (Val::Error(_) | Val::NoInput) => self.failed_call(&call.name, error),
            result => result,
        }
    }

    /// A call that failed is null; one that lacks an input is nothing yet.
    fn failed_call(&self, name: &str, error: Val<'a>) -> Val<'a> {
        if let Val::Error(message) = &error {
            self.warn(WarningKind::FunctionFailed, || {
                format!("`{name}` gives null: {message}")
            });
            return Val::Null;
        }
        error
    }

    /// The values of the arguments; the first one that is an error instead of them.
    #[inline(never)]
    fn arguments_of_built_in(
        &self,
        resolved: &'a Resolved,
        arguments: &'a Arguments,
        env: &Env<'_, 'a>,
    ) -> Result<Result<Vec<Val<'a>>, Val<'a>>, Stop> {
        let overload = resolved.overload;
        match arguments {
            Arguments::Named(named) => self.named(overload.parameters.iter().copied(), named, env),
            Arguments::Positional(nodes) if overload.varargs => {
                let (fixed, rest) = nodes.split_at((overload.parameters.len() - 1).min(nodes.len()));
                let mut values = match self.positional(fixed, env)? {
                    Ok(values) => values,
                    Err(error) => return Ok(Err(error)),
                };
                // Errors among the rest are items like any other: only what is done with them shows.
                let mut rest = rest
                    .iter()
                    .map(|node| self.eval(*node, env))
                    .collect::<Result<Vec<_>, _>>()?;
                let gathered = match &rest[..] {
                    [single] if fixed.is_empty() && single.as_list().is_some() => rest.swap_remove(0),
                    _ => List::charged(&self.meter, rest)?,
                };
                values.push(gathered);
                Ok(Ok(values))
            }
            Arguments::Positional(nodes) => self.positional(nodes, env),
        }
    }

    fn arguments_of_function(
        &self,
        function: &Function<'a>,
        arguments: &'a Arguments,
        env: &Env<'_, 'a>,
    ) -> Result<Result<Vec<Val<'a>>, Val<'a>>, Stop> {
        match arguments {
            Arguments::Positional(nodes) => self.positional(nodes, env),
            Arguments::Named(named) => {
                self.named(function.definition.parameters.iter().map(|name| &**name), named, env)
            }
        }
    }

    fn positional(&self, nodes: &'a [NodeId], env: &Env<'_, 'a>) -> Result<Result<Vec<Val<'a>>, Val<'a>>, Stop> {
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            values.push(self.eval(*node, env)?);
        }
        Ok(first_error(values))
    }

    /// A parameter that is not named is null.
    fn named<'p>(
        &self,
        parameters: impl std::iter::Iterator<Item = &'p str>,
        named: &'a [(Box<str>, NodeId)],
        env: &Env<'_, 'a>,
    ) -> Result<Result<Vec<Val<'a>>, Val<'a>>, Stop> {
        let mut values = Vec::new();
        for parameter in parameters {
            values.push(match named.iter().find(|(name, _)| &**name == parameter) {
                Some((_, node)) => self.eval(*node, env)?,
                None => Val::Null,
            });
        }
        Ok(first_error(values))
    }

    /// Runs a function that the expression defines.
    pub(crate) fn invoke(&self, function: &Function<'a>, arguments: &[Val<'a>]) -> Outcome<'a> {
        self.meter.enter_call()?;
        let root = Env {
            outer: None,
            names: Names::Root(self.scope),
        };
        let kept = Env {
            outer: Some(&root),
            names: Names::Kept(function),
        };
        let names = Names::Parameters {
            names: &function.definition.parameters,
            values: arguments,
        };
        let outcome = self.eval(
            function.definition.body,
            &Env {
                outer: Some(&kept),
                names,
            },
        );
        self.meter.leave_call();
        outcome
    }

    fn call_of_context(&self, call: &'a Call, env: &Env<'_, 'a>) -> Outcome<'a> {
        let value = self.variable(&call.path, env)?;
        let Some(context) = value.as_context() else {
            self.wrong_kind("context", &value);
            return Ok(Val::error(format!(
                "`{}` is {} and has no function `{}`",
                call.path.join("."),
                super::describe(&value),
                call.name
            )));
        };
        let Some(function) = context
            .functions(&call.name)
            .into_iter()
            .find(|function| fits(function, &call.arguments))
        else {
            let message = format!(
                "there is no function `{}` in `{}` for these arguments",
                call.name,
                call.path.join(".")
            );
            self.warn(WarningKind::NoFunction, || message.clone());
            return Ok(Val::error(message));
        };
        match self.arguments_of_function(&function, &call.arguments, env)? {
            Ok(arguments) => self.invoke(&function, &arguments),
            Err(error) => Ok(error),
        }
    }

    /// A function keeps the values of the names that it uses, so that it does not depend on the scopes around it.
    #[inline(never)]
    pub(super) fn define(&self, definition: &'a Definition, env: &Env<'_, 'a>) -> Outcome<'a> {
        let mut variables = Vec::new();
        for name in &definition.variables {
            if let Some(value) = env.variable_above_root(name) {
                variables.push((&**name, value));
            }
        }
        let mut functions = Vec::new();
        for name in &definition.functions {
            functions.extend(env.functions(name).into_iter().map(|function| (&**name, function)));
        }
        let of_variables = variables.iter().map(|(_, value)| value.depth());
        let of_functions = functions.iter().map(|(_, function)| usize::from(function.depth));
        let depth = self
            .meter
            .nest(1 + of_variables.chain(of_functions).max().unwrap_or(0))?;
        let kept = variables.len() * VARIABLE_CELLS + functions.len() * FUNCTION_CELLS;
        self.meter.allocate(DEFINITION_CELLS + kept)?;
        Ok(Val::Function(Rc::new(Function {
            definition,
            variables,
            functions,
            depth,
        })))
    }
}

/// Room for a function, for each value and for each function that it keeps; the lists of both grow by four.
const DEFINITION_CELLS: usize = 4;
const VARIABLE_CELLS: usize = 5;
const FUNCTION_CELLS: usize = 3;

fn first_error(values: Vec<Val<'_>>) -> Result<Vec<Val<'_>>, Val<'_>> {
    let fatal = values.iter().position(|value| matches!(value, Val::NoInput));
    let error = fatal.or_else(|| values.iter().position(|value| matches!(value, Val::Error(_))));
    match error {
        Some(position) => Err(values[position].clone()),
        None => Ok(values),
    }
}

/// Whether a function takes these arguments: as many as it has parameters, or names that it has.
fn fits(function: &Function<'_>, arguments: &Arguments) -> bool {
    let parameters = &function.definition.parameters;
    match arguments {
        Arguments::Positional(arguments) => parameters.len() == arguments.len(),
        Arguments::Named(arguments) => arguments.iter().all(|(name, _)| parameters.contains(name)),
    }
}
