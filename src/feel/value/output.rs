//! Results as JSON, by the rules of the connector runtime: whole numbers that fit 64 bits stay whole, all others become
//! doubles, temporal values become ISO text without the name of their zone.

use super::{Seq, Val};
use crate::feel::error::Stop;
use crate::feel::limits::{LimitKind, Meter};
use crate::feel::number::Number;
use serde_json::{Map, Value as Json};
use std::rc::Rc;

/// Counts a result while it is built: what is shared inside a value is copied here, so this must be bounded.
struct Room<'m> {
    meter: &'m Meter,
    /// Bytes of text that are left.
    text: usize,
    /// Bytes of memory that are left; a list of small numbers takes far more of it than of text.
    memory: usize,
}

/// Memory for each byte that the text of a result may have.
const MEMORY_PER_BYTE: usize = 2;

impl Room<'_> {
    fn take(&mut self, text: usize, memory: usize) -> Result<(), Stop> {
        self.text = self.text.checked_sub(text).ok_or(LimitKind::OutputBytes)?;
        self.memory = self.memory.checked_sub(memory).ok_or(LimitKind::OutputBytes)?;
        Ok(self.meter.tick()?)
    }

    /// One value: at least a character and a separator.
    fn value(&mut self) -> Result<(), Stop> {
        self.take(2, size_of::<Json>())
    }

    fn text(&mut self, text: &str) -> Result<(), Stop> {
        self.take(text.len() + 2, text.len())
    }

    /// Exactly the room that the items will take, which are counted when they come: a list that grows takes up to twice
    /// as much.
    fn list(&self, items: usize) -> Result<Vec<Json>, Stop> {
        if items > self.memory / size_of::<Json>() {
            return Err(LimitKind::OutputBytes.into());
        }
        Ok(Vec::with_capacity(items))
    }

    fn key(&mut self, key: &str) -> Result<(), Stop> {
        self.take(key.len() + 3, key.len() + ENTRY)
    }
}

/// Bytes of an entry besides its key and its value.
const ENTRY: usize = 48;

/// The result as a JSON value of at most `bytes` bytes of text.
pub(crate) fn to_json(meter: &Meter, value: &Val<'_>, bytes: usize) -> Result<Json, Stop> {
    let mut room = Room {
        meter,
        text: bytes,
        memory: bytes.saturating_mul(MEMORY_PER_BYTE),
    };
    convert(&mut room, value, 0)
}

fn convert(room: &mut Room<'_>, value: &Val<'_>, depth: usize) -> Result<Json, Stop> {
    if depth > super::MAX_DEPTH {
        return Err(LimitKind::ValueNesting.into());
    }
    room.value()?;
    Ok(match value {
        Val::Null => Json::Null,
        Val::Bool(value) => Json::Bool(*value),
        Val::Number(number) => number_to_json(number),
        Val::Str(text) => string(room, text)?,
        Val::Text(text) => string(room, text)?,
        Val::Date(date) => Json::String(date.text()),
        Val::LocalTime(time) => Json::String(time.text()),
        Val::Time(time) => Json::String(time.json()),
        Val::LocalDateTime(date_time) => Json::String(date_time.json()),
        Val::DateTime(date_time) => Json::String(date_time.json()),
        Val::Months(months) => Json::String(months.json()),
        Val::DayTime(duration) => Json::String(duration.json()),
        Val::JsonList(items) => borrowed_list(room, items, depth)?,
        Val::JsonContext(entries) => borrowed_context(room, entries, depth)?,
        Val::List(list) => {
            let list = Seq::List(Rc::clone(list));
            let mut items = room.list(list.len())?;
            for item in list.iter() {
                items.push(convert(room, &item, depth + 1)?);
            }
            Json::Array(items)
        }
        Val::Context(context) => {
            let mut object = Map::with_capacity(context.iter().len());
            for (key, value) in context.iter() {
                room.key(key.as_str())?;
                object.insert(key.as_str().to_owned(), convert(room, value, depth + 1)?);
            }
            Json::Object(object)
        }
        Val::Function(_) => {
            return Err(Stop::failed(
                "the result holds a function, which is no JSON value; call it, or leave it out",
            ));
        }
        Val::Range(_) => {
            return Err(Stop::failed(
                "the result holds a range, which is no JSON value; use `string(…)` or its ends",
            ));
        }
        Val::Error(message) => return Err(Stop::failed(&**message)),
        Val::NoInput => {
            return Err(Stop::failed(
                "`?` stands for the value before `in` and has no meaning elsewhere",
            ));
        }
    })
}

fn string(room: &mut Room<'_>, text: &str) -> Result<Json, Stop> {
    room.text(text)?;
    Ok(Json::String(text.to_owned()))
}

fn borrowed(room: &mut Room<'_>, json: &Json, depth: usize) -> Result<Json, Stop> {
    if depth > super::MAX_DEPTH {
        return Err(LimitKind::ValueNesting.into());
    }
    room.value()?;
    Ok(match json {
        Json::Null => Json::Null,
        Json::Bool(value) => Json::Bool(*value),
        // A double that is whole comes out as a whole number.
        Json::Number(number) if number.is_i64() => Json::Number(number.clone()),
        Json::Number(number) => number_to_json(&Number::from_json(number)),
        Json::String(text) => string(room, text)?,
        Json::Array(items) => borrowed_list(room, items, depth)?,
        Json::Object(entries) => borrowed_context(room, entries, depth)?,
    })
}

fn borrowed_list(room: &mut Room<'_>, items: &[Json], depth: usize) -> Result<Json, Stop> {
    let mut list = room.list(items.len())?;
    for item in items {
        list.push(borrowed(room, item, depth + 1)?);
    }
    Ok(Json::Array(list))
}

fn borrowed_context(room: &mut Room<'_>, entries: &Map<String, Json>, depth: usize) -> Result<Json, Stop> {
    let mut object = Map::new();
    for (key, value) in entries {
        room.key(key)?;
        object.insert(key.clone(), borrowed(room, value, depth + 1)?);
    }
    Ok(Json::Object(object))
}

pub(super) fn number_to_json(number: &Number) -> Json {
    if let Some(whole) = number.to_i64() {
        return Json::from(whole);
    }
    let double = number.to_f64();
    serde_json::Number::from_f64(double).map_or_else(
        // Beyond the range of doubles the connector runtime writes a string.
        || Json::from(if double > 0.0 { "Infinity" } else { "-Infinity" }),
        Json::Number,
    )
}
