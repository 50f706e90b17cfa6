//! Functions that turn one kind of value into another.

use super::{BuiltIn, Run, illegal, takes};
use crate::feel::error::Stop;
use crate::feel::interpreter::{Interpreter, Outcome, digits, show};
use crate::feel::limits::{CELL, LimitKind};
use crate::feel::number::{NotANumber, Number, with_ascii_digits};
use crate::feel::temporal::{
    Date, LocalDateTime, LocalTime, Months, Temporal, Zone, ZonedDateTime, ZonedTime, literal,
};
use crate::feel::value::{Draft, Key, List, MAX_DEPTH, Val};
use serde_json::Value as Json;
use std::rc::Rc;

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "date",
        doc: "a date from text, from a date and time, or from its parts",
        example: ("date(2024, 2, 29)", "\"2024-02-29\""),
        overloads: &[
            takes(&["from"], |_, arguments| match arguments {
                [Val::Date(date)] => Ok(Val::Date(*date)),
                [Val::LocalDateTime(from)] => Ok(Val::Date(from.date)),
                [Val::DateTime(from)] => Ok(Val::Date(from.local().date)),
                _ => parsed(arguments, literal::date, "date"),
            }),
            takes(&["year", "month", "day"], |_, arguments| match arguments {
                [Val::Number(year), Val::Number(month), Val::Number(day)] => {
                    let part = |number: &Number| i64::from(number.low_i32());
                    Ok(Date::new(part(year), part(month), part(day)).map_or_else(
                        || Val::error(format!("there is no date {year}-{month}-{day}")),
                        Val::Date,
                    ))
                }
                _ => illegal(arguments),
            }),
        ],
    },
    BuiltIn {
        name: "date and time",
        doc: "a date and time from text, from a date and a time, or the same instant in another time zone",
        example: (
            "date and time(date(\"2024-01-31\"), time(\"10:00:00\"))",
            "\"2024-01-31T10:00:00\"",
        ),
        overloads: &[
            takes(&["from"], |_, arguments| {
                parsed(arguments, literal::date_time, "date and time")
            }),
            takes(&["date", "time"], |_, arguments| combine(arguments)),
        ],
    },
    BuiltIn {
        name: "time",
        doc: "a time of day from text, from a date and time, or from its parts",
        example: ("time(23, 59, 0)", "\"23:59:00\""),
        overloads: &[
            takes(&["from"], |_, arguments| match arguments {
                [Val::LocalDateTime(from)] => Ok(Val::LocalTime(from.time)),
                [Val::DateTime(from)] => Ok(Val::Time(Rc::new(ZonedTime::of(from)))),
                [Val::Date(_)] => Ok(Val::Time(Rc::new(ZonedTime::at_offset(LocalTime::MIDNIGHT, 0)))),
                _ => parsed(arguments, literal::time, "time"),
            }),
            takes(&["hour", "minute", "second"], |_, arguments| {
                time_of_parts(arguments, &Val::Null, true)
            }),
            takes(
                &["hour", "minute", "second", "offset"],
                |_, arguments| match arguments {
                    [parts @ .., offset] => time_of_parts(parts, offset, false),
                    [] => illegal(arguments),
                },
            ),
        ],
    },
    BuiltIn {
        name: "number",
        doc: "a number from text, with the separators that the text uses",
        example: ("number(\"1.500,75\", \".\", \",\")", "1500.75"),
        overloads: &[
            takes(&["from"], |_, arguments| match arguments {
                [from] => number_of(from.as_str(), arguments),
                _ => illegal(arguments),
            }),
            takes(&["from", "grouping separator"], |_, arguments| match arguments {
                [from, grouping] => grouped_number(arguments, from, grouping, None),
                _ => illegal(arguments),
            }),
            takes(
                &["from", "grouping separator", "decimal separator"],
                |_, arguments| match arguments {
                    [from, grouping, decimal] => grouped_number(arguments, from, grouping, Some(decimal)),
                    _ => illegal(arguments),
                },
            ),
        ],
    },
    BuiltIn {
        name: "string",
        doc: "any value as text; null stays null",
        example: ("string(1.10)", "\"1.10\""),
        overloads: &[takes(&["from"], |interpreter, arguments| match arguments {
            [Val::Null] => Ok(Val::Null),
            [text @ (Val::Str(_) | Val::Text(_))] => Ok(text.clone()),
            [value] => show(&interpreter.meter, value).map(Val::text),
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "duration",
        doc: "a duration from text: of days and time (`P1DT2H`), or of years and months (`P1Y6M`)",
        example: ("duration(\"P1DT2H\")", "\"PT26H\""),
        overloads: &[takes(&["from"], |_, arguments| {
            parsed(arguments, literal::duration_of_value, "duration")
        })],
    },
    BuiltIn {
        name: "years and months duration",
        doc: "the whole months from one date to another",
        example: (
            "years and months duration(date(\"2011-12-22\"), date(\"2013-08-24\"))",
            "\"P1Y8M\"",
        ),
        overloads: &[takes(&["from", "to"], |_, arguments| match arguments {
            [from, to] => match (day_of(from), day_of(to)) {
                (Some(from), Some(to)) => {
                    let months = Months::new(from.months_until(to));
                    months
                        .map(Val::Months)
                        .ok_or_else(|| Stop::failed("the dates are too far apart"))
                }
                _ => illegal(arguments),
            },
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "from json",
        doc: "the value that a JSON text holds",
        example: ("from json(\"{\\\"a\\\": [1, 2]}\")", "{\"a\":[1,2]}"),
        overloads: &[takes(&["json"], FROM_JSON)],
    },
    BuiltIn {
        name: "to json",
        doc: "a value as JSON text",
        example: ("to json({a: [1, null]})", "\"{\\\"a\\\":[1,null]}\""),
        overloads: &[takes(&["value"], |interpreter, arguments| match arguments {
            [value] => {
                let mut text = String::new();
                write_json(interpreter, &mut text, value, 0)?;
                interpreter.meter.allocate_text(text.len())?;
                Ok(Val::text(text))
            }
            _ => illegal(arguments),
        })],
    },
];

/// Reads text that an argument holds; text that is none of what is wanted is an error, which becomes null.
fn parsed<'a>(arguments: &[Val<'a>], read: fn(&str) -> Option<Temporal>, what: &str) -> Outcome<'a> {
    match arguments {
        [from] if from.as_str().is_some() => {
            let text = from.as_str().unwrap_or_default();
            let shown: String = text.chars().take(60).collect();
            Ok(read(text).map_or_else(
                || Val::error(format!("`{shown}` is no {what}")),
                |temporal| Val::from_temporal(&temporal),
            ))
        }
        _ => illegal(arguments),
    }
}

fn day_of(value: &Val<'_>) -> Option<Date> {
    match value {
        Val::Date(date) => Some(*date),
        Val::LocalDateTime(at) => Some(at.date),
        Val::DateTime(at) => Some(at.local().date),
        _ => None,
    }
}

fn combine<'a>(arguments: &[Val<'a>]) -> Outcome<'a> {
    let out_of_range = || Stop::failed("the result is outside the range of dates");
    let zoned = |value: Option<ZonedDateTime>| {
        value
            .map(|value| Val::DateTime(Rc::new(value)))
            .ok_or_else(out_of_range)
    };
    let [first, second] = arguments else {
        return illegal(arguments);
    };
    if let Some(name) = second.as_str() {
        let zone = || Zone::parse(name).ok_or_else(|| Stop::failed(format!("there is no time zone `{name}`")));
        return match first {
            Val::LocalDateTime(local) => zoned(ZonedDateTime::of_local(*local, zone()?, None)),
            Val::DateTime(at) => zoned(at.in_zone(zone()?)),
            _ => illegal(arguments),
        };
    }
    match (day_of(first), second) {
        (Some(date), Val::LocalTime(time)) => Ok(Val::LocalDateTime(LocalDateTime { date, time: *time })),
        (Some(date), Val::Time(time)) => zoned(time.with_date(date)),
        _ => illegal(arguments),
    }
}

/// The overload without an offset keeps fractions of seconds; the one with a null offset drops them, as in the real engine.
fn time_of_parts<'a>(parts: &[Val<'a>], offset: &Val<'a>, with_fraction: bool) -> Outcome<'a> {
    let [Val::Number(hour), Val::Number(minute), Val::Number(second)] = parts else {
        return illegal(parts);
    };
    let part = |number: &Number| i64::from(number.low_i32());
    let fraction = second
        .remainder(&Number::Int(1))
        .and_then(|fraction| fraction.multiply(&Number::Int(1_000_000_000)));
    let nanos = fraction.map_or(0, |nanos| part(&nanos));
    let time = |nanos| LocalTime::new(part(hour), part(minute), part(second), nanos);
    let result = match offset {
        Val::Null => time(if with_fraction { nanos } else { 0 }).map(Val::LocalTime),
        Val::DayTime(offset) => {
            let zone = Zone::offset(offset.seconds() as i32);
            zone.zip(time(nanos))
                .map(|(_, time)| Val::Time(Rc::new(ZonedTime::at_offset(time, offset.seconds() as i32))))
        }
        _ => return illegal(parts),
    };
    Ok(result.unwrap_or_else(|| Val::error(format!("there is no time {hour}:{minute}:{second}"))))
}

fn number_of<'a>(text: Option<&str>, arguments: &[Val<'a>]) -> Outcome<'a> {
    let Some(text) = text else {
        return illegal(arguments);
    };
    match Number::parse(&with_ascii_digits(text)) {
        Ok(number) => Ok(Val::Number(number)),
        Err(NotANumber::Malformed) => Ok(Val::error(format!(
            "`{}` is no number",
            text.chars().take(60).collect::<String>()
        ))),
        Err(NotANumber::TooManyDigits) => Err(digits()),
    }
}

fn grouped_number<'a>(
    arguments: &[Val<'a>],
    from: &Val<'a>,
    grouping: &Val<'a>,
    decimal: Option<&Val<'a>>,
) -> Outcome<'a> {
    let Some(text) = from.as_str() else {
        return illegal(arguments);
    };
    let separators = "separators are \" \" (between groups only), \",\" or \".\", and not the same twice";
    let is_grouping = |text: &str| matches!(text, " " | "," | ".");
    let is_decimal = |text: &str| matches!(text, "," | ".");
    match (grouping.as_str(), decimal) {
        (Some(grouping), None) if is_grouping(grouping) => number_of(Some(&text.replace(grouping, "")), arguments),
        (Some(_), None) => Ok(Val::error(separators)),
        (None, Some(decimal)) if grouping.is_null() => match decimal.as_str() {
            Some(decimal) if is_decimal(decimal) => number_of(Some(&text.replace(decimal, ".")), arguments),
            _ => illegal(arguments),
        },
        (Some(grouping), Some(Val::Null)) if is_grouping(grouping) => {
            number_of(Some(&text.replace(grouping, "")), arguments)
        }
        (Some(grouping), Some(decimal)) => match decimal.as_str() {
            Some(decimal) if is_grouping(grouping) && is_decimal(decimal) && grouping != decimal => {
                number_of(Some(&text.replace(grouping, "").replace(decimal, ".")), arguments)
            }
            Some(_) => Ok(Val::error(separators)),
            None => illegal(arguments),
        },
        _ => illegal(arguments),
    }
}

const FROM_JSON: Run = |interpreter, arguments| {
    let text = match arguments {
        [Val::Null] => return Ok(Val::Null),
        [text] => match text.as_str() {
            Some(text) => text,
            None => return illegal(arguments),
        },
        _ => return illegal(arguments),
    };
    interpreter.meter.allocate_text(text.len())?;
    // A document of many small parts takes far more room than its text.
    interpreter.meter.allocate(text.len() / 4)?;
    // What follows the first value is not looked at, as in the real engine.
    match serde_json::Deserializer::from_str(text).into_iter::<Json>().next() {
        Some(Ok(json)) => of_json(interpreter, &json),
        Some(Err(error)) => Ok(Val::error(format!("the text is no JSON: {error}"))),
        None => Ok(Val::error("the text is empty, which is no JSON")),
    }
};

fn of_json<'a>(interpreter: &Interpreter<'a>, json: &Json) -> Outcome<'a> {
    interpreter.meter.tick()?;
    Ok(match json {
        Json::Null => Val::Null,
        Json::Bool(value) => Val::Bool(*value),
        Json::Number(number) => number
            .as_f64()
            .and_then(Number::from_f64)
            .map_or(Val::Null, Val::Number),
        Json::String(text) => Val::text(text.as_str()),
        Json::Array(items) => {
            let items = items
                .iter()
                .map(|item| of_json(interpreter, item))
                .collect::<Result<Vec<_>, _>>()?;
            List::charged(&interpreter.meter, items)?
        }
        Json::Object(entries) => {
            let mut draft = Draft::default();
            for (key, value) in entries {
                draft.set(Key::Text(key.as_str().into()), of_json(interpreter, value)?);
            }
            draft.finish(&interpreter.meter, false)?
        }
    })
}

/// Numbers are written with all their digits.
fn write_json<'a>(interpreter: &Interpreter<'a>, out: &mut String, value: &Val<'a>, depth: usize) -> Result<(), Stop> {
    interpreter.meter.tick()?;
    if depth > MAX_DEPTH {
        return Err(LimitKind::ValueNesting.into());
    }
    if out.len() / CELL > interpreter.meter.cells_left() {
        return Err(LimitKind::Cells.into());
    }
    let text = match value {
        Val::Null | Val::Error(_) | Val::NoInput => {
            out.push_str("null");
            return Ok(());
        }
        Val::Bool(value) => {
            out.push_str(if *value { "true" } else { "false" });
            return Ok(());
        }
        Val::Number(number) => {
            out.push_str(&number.to_string());
            return Ok(());
        }
        Val::JsonList(_) | Val::List(_) => {
            out.push('[');
            for (index, item) in value.as_list().into_iter().flat_map(|list| list.to_vec()).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(interpreter, out, &item, depth + 1)?;
            }
            out.push(']');
            return Ok(());
        }
        Val::JsonContext(_) | Val::Context(_) => {
            out.push('{');
            for (index, (key, value)) in value
                .as_context()
                .map(|context| context.entries())
                .unwrap_or_default()
                .iter()
                .enumerate()
            {
                if index > 0 {
                    out.push(',');
                }
                push_string(out, key.as_str());
                out.push(':');
                write_json(interpreter, out, value, depth + 1)?;
            }
            out.push('}');
            return Ok(());
        }
        Val::Str(text) => (*text).to_owned(),
        Val::Text(text) => text.to_string(),
        Val::Date(date) => date.text(),
        Val::LocalTime(time) => time.text(),
        Val::Time(time) => time.iso(),
        Val::LocalDateTime(date_time) => date_time.json(),
        Val::DateTime(date_time) => date_time.iso(),
        Val::Months(months) => months.json(),
        Val::DayTime(duration) => duration.json(),
        Val::Function(_) | Val::Range(_) => show(&interpreter.meter, value)?,
    };
    push_string(out, &text);
    Ok(())
}

fn push_string(out: &mut String, text: &str) {
    out.push_str(&Json::from(text).to_string());
}
