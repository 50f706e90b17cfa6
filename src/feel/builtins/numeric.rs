//! Functions of single numbers.

use super::{BuiltIn, Run, illegal, takes};
use crate::feel::error::Stop;
use crate::feel::interpreter::{Outcome, arithmetic};
use crate::feel::number::{Number, Rounding};
use crate::feel::temporal::{DayTime, Months};
use crate::feel::value::Val;
use std::cmp::Ordering;

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "decimal",
        doc: "the number rounded to digits after the point, half to even, or in another way: UP, DOWN, CEILING, FLOOR, HALF_UP, HALF_DOWN, HALF_EVEN",
        example: ("decimal(2.5, 0)", "2"),
        overloads: &[
            takes(&["n", "scale"], |_, arguments| rounded(arguments, Rounding::HalfEven)),
            takes(&["n", "scale", "mode"], |_, arguments| match arguments {
                [values @ .., mode] => match mode.as_str() {
                    Some(mode) if matches!(values, [Val::Number(_), Val::Number(_)]) => match rounding(mode) {
                        Some(rounding) => rounded(values, rounding),
                        None => Ok(Val::error(format!("there is no rounding mode `{mode}`"))),
                    },
                    _ => illegal(arguments),
                },
                [] => illegal(arguments),
            }),
        ],
    },
    BuiltIn {
        name: "floor",
        doc: "the number rounded down, to whole or to digits after the point",
        example: ("floor(-1.5)", "-2"),
        overloads: &[
            takes(&["n"], |_, arguments| rounded_whole(arguments, Rounding::Floor)),
            // The real engine misspells this parameter, and calls that name it depend on that.
            takes(&["n", "scala"], |_, arguments| rounded(arguments, Rounding::Floor)),
        ],
    },
    BuiltIn {
        name: "ceiling",
        doc: "the number rounded up, to whole or to digits after the point",
        example: ("ceiling(1.2)", "2"),
        overloads: &[
            takes(&["n"], |_, arguments| rounded_whole(arguments, Rounding::Ceiling)),
            takes(&["n", "scale"], |_, arguments| rounded(arguments, Rounding::Ceiling)),
        ],
    },
    BuiltIn {
        name: "round up",
        doc: "the number rounded away from zero, to digits after the point",
        example: ("round up(-5.1, 0)", "-6"),
        overloads: &[takes(&["n", "scale"], |_, arguments| rounded(arguments, Rounding::Up))],
    },
    BuiltIn {
        name: "round down",
        doc: "the number rounded towards zero, to digits after the point",
        example: ("round down(-5.9, 0)", "-5"),
        overloads: &[takes(&["n", "scale"], |_, arguments| {
            rounded(arguments, Rounding::Down)
        })],
    },
    BuiltIn {
        name: "round half up",
        doc: "the number rounded to digits after the point, half away from zero",
        example: ("round half up(1.125, 2)", "1.13"),
        overloads: &[takes(&["n", "scale"], |_, arguments| {
            rounded(arguments, Rounding::HalfUp)
        })],
    },
    BuiltIn {
        name: "round half down",
        doc: "the number rounded to digits after the point, half towards zero",
        example: ("round half down(1.125, 2)", "1.12"),
        overloads: &[takes(&["n", "scala"], |_, arguments| {
            rounded(arguments, Rounding::HalfDown)
        })],
    },
    BuiltIn {
        name: "abs",
        doc: "the number or duration without its sign",
        example: ("abs(-10)", "10"),
        overloads: &[takes(&["number"], ABS), takes(&["n"], ABS)],
    },
    BuiltIn {
        name: "modulo",
        doc: "the remainder of a division, with the sign of the divisor",
        example: ("modulo(-12, 5)", "3"),
        overloads: &[takes(&["dividend", "divisor"], |_, arguments| match arguments {
            [Val::Number(dividend), Val::Number(divisor)] => {
                let remainder = dividend.remainder(divisor).and_then(|remainder| remainder.add(divisor));
                arithmetic(remainder.and_then(|sum| sum.remainder(divisor))).map(Val::Number)
            }
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "sqrt",
        doc: "the square root; null for a negative number",
        example: ("sqrt(16)", "4"),
        overloads: &[takes(&["number"], |_, arguments| match arguments {
            [Val::Number(number)] if number.signum() < 0 => Ok(Val::Null),
            [Val::Number(number)] => of_double(number.to_f64().sqrt()),
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "log",
        doc: "the natural logarithm",
        example: ("decimal(log(10), 8)", "2.30258509"),
        overloads: &[takes(&["number"], |_, arguments| match arguments {
            [Val::Number(number)] => of_double(number.to_f64().ln()),
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "exp",
        doc: "e to the power of the number",
        example: ("decimal(exp(5), 8)", "148.4131591"),
        overloads: &[takes(&["number"], |_, arguments| match arguments {
            [Val::Number(number)] => of_double(number.to_f64().exp()),
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "odd",
        doc: "whether the number is odd",
        example: ("odd(5)", "true"),
        overloads: &[takes(&["number"], |_, arguments| parity(arguments, 1))],
    },
    BuiltIn {
        name: "even",
        doc: "whether the number is even",
        example: ("even(5)", "false"),
        overloads: &[takes(&["number"], |_, arguments| parity(arguments, 0))],
    },
    BuiltIn {
        name: "random number",
        doc: "a random number from 0 up to but not including 1",
        example: ("random number()", ""),
        overloads: &[takes(&[], |_, _| of_double(fastrand::f64()))],
    },
];

const ABS: Run = |_, arguments| match arguments {
    [Val::Number(number)] => Ok(Val::Number(number.abs())),
    [Val::Months(months)] => Ok(Val::Months(if months.total() < 0 {
        Months::negated(*months)
    } else {
        *months
    })),
    [Val::DayTime(duration)] => DayTime::abs(*duration)
        .map(Val::DayTime)
        .ok_or_else(|| Stop::failed("the duration is too long")),
    _ => illegal(arguments),
};

fn rounding(mode: &str) -> Option<Rounding> {
    Some(match mode.to_uppercase().as_str() {
        "UP" => Rounding::Up,
        "DOWN" => Rounding::Down,
        "CEILING" => Rounding::Ceiling,
        "FLOOR" => Rounding::Floor,
        "HALF_UP" => Rounding::HalfUp,
        "HALF_DOWN" => Rounding::HalfDown,
        "HALF_EVEN" => Rounding::HalfEven,
        "UNNECESSARY" => Rounding::Unnecessary,
        _ => return None,
    })
}

fn rounded<'a>(arguments: &[Val<'a>], rounding: Rounding) -> Outcome<'a> {
    match arguments {
        [Val::Number(number), Val::Number(scale)] => round(number, scale.low_i32(), rounding),
        _ => illegal(arguments),
    }
}

fn rounded_whole<'a>(arguments: &[Val<'a>], rounding: Rounding) -> Outcome<'a> {
    match arguments {
        [Val::Number(number)] => round(number, 0, rounding),
        _ => illegal(arguments),
    }
}

fn round<'a>(number: &Number, scale: i32, rounding: Rounding) -> Outcome<'a> {
    Ok(number
        .with_scale(scale, rounding)
        .map_or_else(|error| Val::error(error.to_string()), Val::Number))
}

/// A double that is no number has no decimal: Java throws, so the evaluation fails.
fn of_double<'a>(value: f64) -> Outcome<'a> {
    Number::from_f64(value)
        .map(Val::Number)
        .ok_or_else(|| Stop::failed("the result is not a finite number"))
}

fn parity<'a>(arguments: &[Val<'a>], remainder: i64) -> Outcome<'a> {
    match arguments {
        [Val::Number(number)] => {
            let rest = arithmetic(number.abs().remainder(&Number::Int(2)))?;
            Ok(Val::Bool(rest.compare(&Number::Int(remainder)) == Ordering::Equal))
        }
        _ => illegal(arguments),
    }
}
