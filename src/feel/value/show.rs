//! Values as text: what `string(…)` gives for anything that is not a string.

use super::{Ctx, Val};
use crate::feel::error::Stop;
use crate::feel::limits::{CELL, LimitKind, Meter};
use std::fmt::Write as _;

/// The text of a value; strings stand in quotes.
pub(crate) fn show(meter: &Meter, value: &Val<'_>) -> Result<String, Stop> {
    let mut text = String::new();
    write(meter, &mut text, value, 0)?;
    meter.allocate_text(text.len())?;
    Ok(text)
}

fn write(meter: &Meter, out: &mut String, value: &Val<'_>, depth: usize) -> Result<(), Stop> {
    meter.tick()?;
    if depth > super::MAX_DEPTH {
        return Err(LimitKind::ValueNesting.into());
    }
    // Shared parts may print exponentially: the room that is left bounds the text while it grows.
    if out.len() / CELL > meter.cells_left() {
        return Err(LimitKind::Cells.into());
    }
    // Writing to a String cannot fail.
    let _ = match value {
        Val::Null => write!(out, "null"),
        Val::Bool(value) => write!(out, "{value}"),
        Val::Number(number) => write!(out, "{number}"),
        Val::Str(text) => write!(out, "\"{text}\""),
        Val::Text(text) => write!(out, "\"{text}\""),
        Val::Date(date) => write!(out, "{}", date.text()),
        Val::LocalTime(time) => write!(out, "{}", time.text()),
        Val::Time(time) => write!(out, "{}", time.text()),
        Val::LocalDateTime(date_time) => write!(out, "{}", date_time.text()),
        Val::DateTime(date_time) => write!(out, "{}", date_time.text()),
        Val::Months(months) => write!(out, "{}", months.text()),
        Val::DayTime(duration) => write!(out, "{}", duration.text()),
        Val::Function(function) => write!(out, "function({})", function.definition.parameters.join(", ")),
        Val::Error(message) => write!(out, "error(\"{message}\")"),
        Val::NoInput => write!(out, "error(\"no input\")"),
        Val::Range(range) => {
            out.push(if range.start.closed { '[' } else { '(' });
            write(meter, out, &range.start.value, depth + 1)?;
            out.push_str("..");
            write(meter, out, &range.end.value, depth + 1)?;
            out.push(if range.end.closed { ']' } else { ')' });
            Ok(())
        }
        Val::JsonList(_) | Val::List(_) => {
            let items = value.as_list().into_iter().flat_map(|list| list.to_vec());
            out.push('[');
            for (index, item) in items.enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(meter, out, &item, depth + 1)?;
            }
            out.push(']');
            Ok(())
        }
        Val::JsonContext(_) | Val::Context(_) => {
            out.push('{');
            let entries = value.as_context().as_ref().map(Ctx::entries).unwrap_or_default();
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                let _ = write!(out, "{}:", key.as_str());
                write(meter, out, value, depth + 1)?;
            }
            out.push('}');
            Ok(())
        }
    };
    Ok(())
}
