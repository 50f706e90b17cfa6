//! Results as JSON text, without a tree in between: what [`super::to_json`] says, written while the value is walked.

use super::Val;
use super::output::number_to_json;
use crate::feel::error::Stop;
use crate::feel::limits::{LimitKind, Meter};
use crate::feel::number::Number;
use serde_json::Value as Json;

/// Counts the text while it is written: what is shared inside a value is written each time, so this must be bounded.
struct Writer<'m> {
    meter: &'m Meter,
    out: Vec<u8>,
    /// Bytes that the text may have.
    most: usize,
}

/// The text of a result, of at most `bytes` bytes.
pub(crate) fn to_json_text(meter: &Meter, value: &Val<'_>, bytes: usize) -> Result<String, Stop> {
    let mut writer = Writer {
        meter,
        out: Vec::with_capacity(128),
        most: bytes,
    };
    writer.value(value, 0)?;
    writer.room()?;
    String::from_utf8(writer.out).map_err(|_| Stop::failed("the result is no text"))
}

impl Writer<'_> {
    #[inline]
    fn room(&self) -> Result<(), Stop> {
        if self.out.len() > self.most {
            return Err(LimitKind::OutputBytes.into());
        }
        Ok(self.meter.tick()?)
    }

    fn enter(&self, depth: usize) -> Result<(), Stop> {
        if depth > super::MAX_DEPTH {
            return Err(LimitKind::ValueNesting.into());
        }
        Ok(())
    }

    fn value(&mut self, value: &Val<'_>, depth: usize) -> Result<(), Stop> {
        self.room()?;
        self.enter(depth)?;
        match value {
            Val::Number(Number::Int(whole)) => self.written(whole),
            Val::Number(number) => self.written(&number_to_json(number)),
            Val::Str(text) => self.written(text),
            Val::Text(text) => self.written(&**text),
            Val::JsonList(items) => self.borrowed_list(items, depth),
            Val::JsonContext(entries) => self.borrowed_context(entries, depth),
            Val::List(_) => {
                let list = value.as_list();
                self.out.push(b'[');
                for (index, item) in list.iter().flat_map(super::Seq::iter).enumerate() {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    self.value(&item, depth + 1)?;
                }
                self.out.push(b']');
                Ok(())
            }
            Val::Context(context) => {
                self.out.push(b'{');
                for (index, (key, value)) in context.iter().enumerate() {
                    self.key(index, key.as_str())?;
                    self.value(value, depth + 1)?;
                }
                self.out.push(b'}');
                Ok(())
            }
            other => {
                let json = super::to_json(self.meter, other, self.most)?;
                self.written(&json)
            }
        }
    }

    fn key(&mut self, index: usize, key: &str) -> Result<(), Stop> {
        if index > 0 {
            self.out.push(b',');
        }
        self.written(key)?;
        self.out.push(b':');
        Ok(())
    }

    /// Anything that `serde_json` writes by itself; a `Vec` takes all.
    #[inline]
    fn written<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| Stop::failed(error.to_string()))
    }

    fn borrowed(&mut self, json: &Json, depth: usize) -> Result<(), Stop> {
        self.room()?;
        match json {
            // A double that is whole comes out as a whole number.
            Json::Number(number) if !number.is_i64() => self.written(&number_to_json(&Number::from_json(number))),
            Json::Array(items) => self.borrowed_list(items, depth),
            Json::Object(entries) => self.borrowed_context(entries, depth),
            flat => self.written(flat),
        }
    }

    fn borrowed_list(&mut self, items: &[Json], depth: usize) -> Result<(), Stop> {
        self.enter(depth)?;
        self.out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.borrowed(item, depth + 1)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn borrowed_context(&mut self, entries: &serde_json::Map<String, Json>, depth: usize) -> Result<(), Stop> {
        self.enter(depth)?;
        self.out.push(b'{');
        for (index, (key, value)) in entries.iter().enumerate() {
            self.key(index, key)?;
            self.borrowed(value, depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}
