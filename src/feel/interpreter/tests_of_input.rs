//! `value in test`: comparisons, ranges and expressions about the value before `in`.

use super::env::{INPUT, INPUT_SYMBOL};
use super::{Env, Interpreter, Names, Outcome};
use crate::feel::error::WarningKind;
use crate::feel::syntax::{Comparison, NodeId, RangeNode};
use crate::feel::value::{Val, equal, identical};
use std::cmp::Ordering;

impl<'a> Interpreter<'a> {
    #[inline(never)]
    pub(super) fn contained(&self, value: NodeId, test: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        let value = self.eval(value, env)?;
        if matches!(value, Val::Error(_) | Val::NoInput) {
            return Ok(value);
        }
        self.eval(
            test,
            &Env {
                outer: Some(env),
                names: Names::One(INPUT, &value),
            },
        )
    }

    fn input(&self, env: &Env<'_, 'a>) -> Val<'a> {
        env.variable(INPUT).unwrap_or_else(|| {
            self.warn(WarningKind::NoVariable, || {
                "there is no value that this test could be about".to_owned()
            });
            Val::Null
        })
    }

    pub(super) fn compare_input(&self, comparison: Comparison, endpoint: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        let input = self.input(env);
        let endpoint = self.eval(endpoint, env)?;
        self.compare(comparison, &input, &endpoint)
    }

    pub(super) fn input_in_range(&self, range: &'a RangeNode, env: &Env<'_, 'a>) -> Outcome<'a> {
        let (start, end) = (self.eval(range.start.value, env)?, self.eval(range.end.value, env)?);
        let input = self.input(env);
        let comparable = self.is_comparable(&input)? && input.same_kind(&start) && input.same_kind(&end);
        if !comparable || !self.is_comparable(&start)? || !self.is_comparable(&end)? {
            self.not_comparable(&input, if input.same_kind(&start) { &end } else { &start });
            return Ok(Val::Null);
        }
        let within = |order: Option<Ordering>, outside: Ordering, closed: bool| {
            order.is_some_and(|order| order != outside && (closed || order != Ordering::Equal))
        };
        let after_start = within(self.ordered(&input, &start)?, Ordering::Less, range.start.closed);
        Ok(Val::Bool(
            after_start && within(self.ordered(&input, &end)?, Ordering::Greater, range.end.closed),
        ))
    }

    /// An expression as a test holds when it is true, when it equals the value, or when it is a list with the value in it.
    #[inline(never)]
    pub(super) fn test(&self, expression: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        let input = self.input(env);
        let value = self.eval(expression, env)?;
        match &value {
            Val::NoInput => {
                let names = Names::One(INPUT_SYMBOL, &input);
                return Ok(
                    match self.eval(
                        expression,
                        &Env {
                            outer: Some(env),
                            names,
                        },
                    )? {
                        Val::Bool(holds) => Val::Bool(holds),
                        _ => Val::Null,
                    },
                );
            }
            Val::Bool(true) => return Ok(Val::Bool(true)),
            Val::Error(_) => return Ok(Val::Bool(false)),
            _ => {}
        }
        let list = value.as_list();
        for item in list.iter().flat_map(|list| list.iter()) {
            if identical(&self.meter, &item, &input)? {
                return Ok(Val::Bool(true));
            }
        }
        let same = equal(&self.meter, &input, &value)?;
        if same.is_none() {
            self.not_comparable(&input, &value);
        }
        Ok(match same {
            Some(true) => Val::Bool(true),
            _ if matches!(value, Val::Bool(false)) || list.is_some() => Val::Bool(false),
            None => Val::Null,
            Some(false) => Val::Bool(false),
        })
    }
}
