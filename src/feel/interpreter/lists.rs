//! `for`, `some`, `every` and filters.

use super::{Env, Interpreter, Names, Outcome};
use crate::feel::error::Stop;
use crate::feel::limits::Meter;
use crate::feel::number::Number;
use crate::feel::syntax::{Comparison, Iteration, Node, NodeId, Quantifier};
use crate::feel::value::{List, Seq, Shared, Val};
use std::cmp::Ordering;
use std::rc::Rc;

/// What a loop goes over: a list, or numbers that are one apart and never built as a list.
enum Source<'a> {
    List(Seq<'a>),
    Whole { start: i64, step: i64, count: usize },
    Numbers { start: Number, step: Number, count: usize },
}

impl<'a> Source<'a> {
    fn len(&self) -> usize {
        match self {
            Source::List(list) => list.len(),
            Source::Whole { count, .. } | Source::Numbers { count, .. } => *count,
        }
    }

    fn get(&self, index: usize, meter: &Meter) -> Outcome<'a> {
        match self {
            Source::List(list) => Ok(list.get(index).unwrap_or(Val::Null)),
            Source::Whole { start, step, .. } => Ok(Val::int(start + step * index as i64)),
            Source::Numbers { start, step, .. } => {
                let offset = super::operators::arithmetic(step.multiply(&Number::Int(index as i64)))?;
                let number = super::operators::arithmetic(start.add(&offset)).map(Val::Number)?;
                meter.allocate(number.hanging_cells())?;
                Ok(number)
            }
        }
    }
}

impl<'a> Interpreter<'a> {
    /// The lists of all iterators; `None` when one of them is no list.
    fn sources(&self, iteration: &'a Iteration, env: &Env<'_, 'a>) -> Result<Result<Vec<Source<'a>>, Val<'a>>, Stop> {
        let mut sources = Vec::with_capacity(iteration.iterators.len());
        let mut failure = None;
        for iterator in &iteration.iterators {
            let source = match self.node(iterator.over) {
                Node::Interval(start, end) => self.interval(*start, *end, env)?,
                _ => {
                    let value = self.eval(iterator.over, env)?;
                    match value.as_list() {
                        Some(list) => Ok(Source::List(list)),
                        None => {
                            self.wrong_kind("list", &value);
                            Err(if matches!(value, Val::NoInput) {
                                value
                            } else {
                                Val::Null
                            })
                        }
                    }
                }
            };
            match source {
                Ok(source) => sources.push(source),
                Err(value) => failure = failure.or(Some(value)),
            }
        }
        Ok(failure.map_or(Ok(sources), Err))
    }

    fn interval(&self, start: NodeId, end: NodeId, env: &Env<'_, 'a>) -> Result<Result<Source<'a>, Val<'a>>, Stop> {
        let (start, end) = (self.eval(start, env)?, self.eval(end, env)?);
        let (Val::Number(start), Val::Number(end)) = (&start, &end) else {
            let wrong = if matches!(start, Val::Number(_)) { &end } else { &start };
            self.wrong_kind("number", wrong);
            return Ok(Err(if matches!(wrong, Val::NoInput) {
                Val::NoInput
            } else {
                Val::Null
            }));
        };
        let step = if start.compare(end) == Ordering::Less { 1 } else { -1 };
        let distance = super::operators::arithmetic(if step > 0 {
            end.subtract(start)
        } else {
            start.subtract(end)
        })?;
        // More than fuel could ever count is the same as endless.
        let count = if distance.compare(&Number::Int(i64::MAX / 4)) == Ordering::Less {
            distance.low_i64() as usize + 1
        } else {
            usize::MAX
        };
        Ok(Ok(match start {
            Number::Int(start) => Source::Whole {
                start: *start,
                step,
                count,
            },
            start => Source::Numbers {
                start: start.clone(),
                step: Number::Int(step),
                count,
            },
        }))
    }

    /// Calls `each` for every combination of the items, the last iterator fastest, until it says to stop.
    fn combinations(
        &self,
        sources: &[Source<'a>],
        mut each: impl FnMut(&[Val<'a>]) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        if sources.iter().any(|source| source.len() == 0) {
            return Ok(());
        }
        let mut positions = vec![0usize; sources.len()];
        let mut values = sources
            .iter()
            .map(|source| source.get(0, &self.meter))
            .collect::<Result<Vec<_>, _>>()?;
        loop {
            self.meter.tick()?;
            if !each(&values)? {
                return Ok(());
            }
            let mut index = sources.len();
            loop {
                if index == 0 {
                    return Ok(());
                }
                index -= 1;
                positions[index] += 1;
                if positions[index] < sources[index].len() {
                    values[index] = sources[index].get(positions[index], &self.meter)?;
                    break;
                }
                positions[index] = 0;
                values[index] = sources[index].get(0, &self.meter)?;
            }
        }
    }

    #[inline(never)]
    pub(super) fn for_each(&self, iteration: &'a Iteration, env: &Env<'_, 'a>) -> Outcome<'a> {
        let sources = match self.sources(iteration, env)? {
            Ok(sources) => sources,
            Err(value) => return Ok(value),
        };
        if iteration.uses_partial {
            return self.for_each_with_partial(iteration, &sources, env);
        }
        let mut results = Vec::new();
        self.combinations(&sources, |values| {
            let names = Names::Loop {
                iterators: &iteration.iterators,
                values,
                partial: None,
            };
            self.meter.allocate(1)?;
            let value = self.eval(
                iteration.body,
                &Env {
                    outer: Some(env),
                    names,
                },
            )?;
            self.meter.allocate(value.hanging_cells())?;
            results.push(value);
            Ok(true)
        })?;
        List::wrap(&self.meter, results)
    }

    #[inline(never)]
    fn for_each_with_partial(
        &self,
        iteration: &'a Iteration,
        sources: &[Source<'a>],
        env: &Env<'_, 'a>,
    ) -> Outcome<'a> {
        let results = Shared::default();
        let mut deepest = 0;
        let outcome = self.combinations(sources, |values| {
            let partial = List::beginning(&self.meter, &results, deepest)?;
            let names = Names::Loop {
                iterators: &iteration.iterators,
                values,
                partial: Some(&partial),
            };
            self.meter.allocate(1)?;
            let value = self.eval(
                iteration.body,
                &Env {
                    outer: Some(env),
                    names,
                },
            )?;
            self.meter.allocate(value.hanging_cells())?;
            deepest = deepest.max(value.depth());
            results.borrow_mut().push(value);
            Ok(true)
        });
        let items = results.borrow().clone();
        if Rc::strong_count(&results) > 1 {
            self.circles.borrow_mut().push(results);
        }
        outcome?;
        List::charged(&self.meter, items)
    }

    #[inline(never)]
    pub(super) fn quantified(
        &self,
        quantifier: Quantifier,
        iteration: &'a Iteration,
        env: &Env<'_, 'a>,
    ) -> Outcome<'a> {
        let sources = match self.sources(iteration, env)? {
            Ok(sources) => sources,
            Err(value) => return Ok(value),
        };
        let decisive = quantifier == Quantifier::Some;
        let mut result = Val::Bool(!decisive);
        self.combinations(&sources, |values| {
            let names = Names::Loop {
                iterators: &iteration.iterators,
                values,
                partial: None,
            };
            match self.eval(
                iteration.body,
                &Env {
                    outer: Some(env),
                    names,
                },
            )? {
                Val::Bool(value) if value == decisive => result = Val::Bool(decisive),
                Val::NoInput => result = Val::NoInput,
                Val::Bool(_) => return Ok(true),
                other => {
                    self.wrong_kind("boolean", &other);
                    result = Val::Null;
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
        Ok(result)
    }

    #[inline(never)]
    pub(super) fn filter(&self, value: &Val<'a>, filter: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        let Some(list) = value.as_list() else {
            self.wrong_kind("list", value);
            return Ok(if matches!(value, Val::NoInput) {
                Val::NoInput
            } else {
                Val::Null
            });
        };
        match self.node(filter) {
            Node::Number(index) => return Ok(at_index(&list, &index.number())),
            Node::Negate(inner) if let Node::Number(index) = self.node(*inner) => {
                return Ok(at_index(&list, &index.number().negate()));
            }
            Node::Compare(comparison, ..) if *comparison != Comparison::NotEqual => {}
            Node::Call(_) => {}
            // Anything else may be a position: it is evaluated once without an item to find out.
            _ => {
                if let Val::Number(index) = self.eval(filter, env)? {
                    return Ok(at_index(&list, &index));
                }
            }
        }
        self.filter_items(&list, filter, env)
    }

    fn filter_items(&self, list: &Seq<'a>, filter: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        let mut kept = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let context = item.as_context();
            let names = Names::Item(&item, context.as_ref());
            match self.eval(
                filter,
                &Env {
                    outer: Some(env),
                    names,
                },
            )? {
                Val::Number(position) if index == 0 => return Ok(at_index(list, &position)),
                Val::Bool(true) => {
                    self.meter.allocate(1)?;
                    kept.push(item);
                }
                Val::Error(_) if index == 0 => return Ok(Val::Null),
                Val::NoInput => return Ok(Val::NoInput),
                _ => {}
            }
        }
        List::wrap(&self.meter, kept)
    }
}

/// The item at a position from 1, or from the end when it is negative; fractions are cut off after the bounds are checked.
fn at_index<'a>(list: &Seq<'a>, index: &Number) -> Val<'a> {
    let Some(length) = i64::try_from(list.len()).ok() else {
        return Val::Null;
    };
    let whole = Number::Int(length);
    let position = if index.signum() > 0 {
        index.subtract(&Number::Int(1))
    } else {
        whole.add(index)
    };
    match position {
        Ok(position) if position.signum() >= 0 && position.compare(&whole) == Ordering::Less => {
            list.get(position.low_i64() as usize).unwrap_or(Val::Null)
        }
        _ => Val::Null,
    }
}
