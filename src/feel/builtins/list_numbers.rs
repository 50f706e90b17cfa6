//! Functions that make one number, or one value, of the items of a list.

use super::list::only_list;
use super::{BuiltIn, Run, illegal, takes_any};
use crate::feel::error::Stop;
use crate::feel::interpreter::{Interpreter, Outcome, arithmetic, describe};
use crate::feel::number::{ArithmeticError, Number};
use crate::feel::value::{List, Val, order};
use std::cmp::Ordering;

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "min",
        doc: "the smallest item",
        example: ("min(2, 1, 3)", "1"),
        overloads: &[takes_any(&["list"], MIN)],
    },
    BuiltIn {
        name: "max",
        doc: "the largest item",
        example: ("max([\"a\", \"b\"])", "\"b\""),
        overloads: &[takes_any(&["list"], MAX)],
    },
    BuiltIn {
        name: "sum",
        doc: "the sum of numbers; null for none",
        example: ("sum([1, 2, 3])", "6"),
        overloads: &[takes_any(&["list"], |interpreter, arguments| {
            fold(interpreter, arguments, sum)
        })],
    },
    BuiltIn {
        name: "product",
        doc: "the product of numbers; null for none",
        example: ("product([2, 3, 4])", "24"),
        overloads: &[takes_any(&["list"], |interpreter, arguments| {
            fold(interpreter, arguments, |interpreter, numbers| {
                reduce(interpreter, numbers, Number::multiply).map(Val::Number)
            })
        })],
    },
    BuiltIn {
        name: "mean",
        doc: "the average of numbers; null for none",
        example: ("mean([1, 2, 3])", "2"),
        overloads: &[takes_any(&["list"], |interpreter, arguments| {
            fold(interpreter, arguments, |interpreter, numbers| {
                mean(interpreter, numbers).map(Val::Number)
            })
        })],
    },
    BuiltIn {
        name: "median",
        doc: "the number in the middle, or the average of the two in the middle; null for none",
        example: ("median(8, 2, 5, 3, 4)", "4"),
        overloads: &[takes_any(&["list"], |interpreter, arguments| {
            fold(interpreter, arguments, median)
        })],
    },
    BuiltIn {
        name: "stddev",
        doc: "the standard deviation of a sample; null for no numbers",
        example: ("stddev([2, 4, 7, 5])", "2.0816659994661326"),
        overloads: &[takes_any(&["list"], |interpreter, arguments| {
            fold(interpreter, arguments, deviation)
        })],
    },
    BuiltIn {
        name: "mode",
        doc: "the numbers that come most often, smallest first",
        example: ("mode([6, 1, 9, 6, 1])", "[1,6]"),
        overloads: &[takes_any(&["list"], MODE)],
    },
];

const MIN: Run = |interpreter, arguments| extreme(interpreter, arguments, Ordering::Less);
const MAX: Run = |interpreter, arguments| extreme(interpreter, arguments, Ordering::Greater);

/// The first of the items that are as small or as large as any.
fn extreme<'a>(interpreter: &Interpreter<'a>, arguments: &[Val<'a>], wanted: Ordering) -> Outcome<'a> {
    let [argument] = arguments else {
        return illegal(arguments);
    };
    let Some(list) = argument.as_list() else {
        return illegal(arguments);
    };
    let Some(mut best) = list.get(0) else {
        return Ok(Val::Null);
    };
    if !interpreter.is_comparable(argument)? {
        return Ok(Val::error("the items cannot be compared with each other"));
    }
    for item in list.iter().skip(1) {
        interpreter.meter.tick()?;
        match order(&item, &best) {
            Some(order) if order == wanted => best = item,
            Some(_) => {}
            None => {
                return Err(Stop::failed(
                    "lists have no order and cannot be compared with `<`, `>`, `min` or `max`",
                ));
            }
        }
    }
    Ok(best)
}

/// Hands the numbers of a list to `make`; null for an empty list, an error for anything that is no number.
fn fold<'a>(
    interpreter: &Interpreter<'a>,
    arguments: &[Val<'a>],
    make: impl Fn(&Interpreter<'a>, &[Number]) -> Outcome<'a>,
) -> Outcome<'a> {
    let Some(list) = only_list(arguments) else {
        return illegal(arguments);
    };
    if list.is_empty() {
        return Ok(Val::Null);
    }
    let mut numbers = Vec::with_capacity(list.len());
    interpreter.meter.burn(list.len() as u64)?;
    for item in list.iter() {
        match item {
            Val::Number(number) => numbers.push(number),
            other => {
                return Ok(Val::error(format!("it needs numbers but found {}", describe(&other))));
            }
        }
    }
    make(interpreter, &numbers)
}

/// Puts numbers together from the left; the first one says how many digits are kept.
fn reduce(
    interpreter: &Interpreter<'_>,
    numbers: &[Number],
    operation: fn(&Number, &Number) -> Result<Number, ArithmeticError>,
) -> Result<Number, Stop> {
    let (first, rest) = numbers.split_first().unwrap_or((&Number::ZERO, &[]));
    rest.iter().try_fold(first.clone(), |result, number| {
        interpreter.meter.tick()?;
        arithmetic(operation(&result, number))
    })
}

fn total(interpreter: &Interpreter<'_>, numbers: &[Number]) -> Result<Number, Stop> {
    reduce(interpreter, numbers, Number::add)
}

fn sum<'a>(interpreter: &Interpreter<'a>, numbers: &[Number]) -> Outcome<'a> {
    total(interpreter, numbers).map(Val::Number)
}

fn count(numbers: &[Number]) -> Number {
    Number::Int(numbers.len() as i64)
}

fn mean(interpreter: &Interpreter<'_>, numbers: &[Number]) -> Result<Number, Stop> {
    arithmetic(total(interpreter, numbers)?.divide(&count(numbers)))
}

fn sorted(numbers: &[Number]) -> Vec<Number> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(Number::compare);
    sorted
}

fn median<'a>(_: &Interpreter<'a>, numbers: &[Number]) -> Outcome<'a> {
    let sorted = sorted(numbers);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return Ok(Val::Number(sorted[middle].clone()));
    }
    let between = sorted[middle - 1]
        .add(&sorted[middle])
        .and_then(|sum| sum.divide(&Number::Int(2)));
    arithmetic(between).map(Val::Number)
}

fn deviation<'a>(interpreter: &Interpreter<'a>, numbers: &[Number]) -> Outcome<'a> {
    let mean = mean(interpreter, numbers)?;
    let square = |number: &Number| {
        let difference = arithmetic(number.subtract(&mean))?;
        arithmetic(difference.power(&Number::Int(2)))
    };
    let squares = numbers.iter().map(square).collect::<Result<Vec<_>, _>>()?;
    let squares = total(interpreter, &squares)?;
    let variance = arithmetic(squares.divide(&Number::Int(numbers.len() as i64 - 1)))?;
    let deviation = Number::from_f64(variance.to_f64().sqrt());
    deviation
        .map(Val::Number)
        .ok_or_else(|| Stop::failed("the result is not a finite number"))
}

const MODE: Run = |interpreter, arguments| {
    let Some(list) = only_list(arguments) else {
        return illegal(arguments);
    };
    if list.is_empty() {
        return List::charged(&interpreter.meter, Vec::new());
    }
    fold(interpreter, arguments, |interpreter, numbers| {
        let sorted = sorted(numbers);
        let mut runs: Vec<(Number, usize)> = Vec::new();
        for number in sorted {
            match runs.last_mut() {
                Some((last, count)) if last.compare(&number) == Ordering::Equal => *count += 1,
                _ => runs.push((number, 1)),
            }
        }
        let most = runs.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let modes = runs
            .into_iter()
            .filter(|(_, count)| *count == most)
            .map(|(number, _)| Val::Number(number));
        List::charged(&interpreter.meter, modes.collect())
    })
};
