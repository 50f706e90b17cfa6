//! JSON text and a [`Projection`] to the value that is left of it.
//!
//! What is skipped is checked as strictly as what is read, but eight bytes at a time and without building anything.
//! Whatever is not surely JSON is left to `serde_json`, which has the last word and the better message.

use super::Projection;
use serde_json::{Map, Number, Value};

/// The key with which `serde_json` marks raw values. An object that begins with it is not read as an object there.
const RAW: &str = "$serde_json::private::RawValue";

/// Levels of lists and objects that `serde_json` reads.
const MAX_DEPTH: usize = 127;

/// Whole numbers of so many digits fit 64 bits, and numbers of so many are no larger than a double can be.
const SHORT_WHOLE: usize = 18;
const SHORT_NUMBER: usize = 300;

pub(super) fn read(projection: &Projection, text: &str) -> Result<Value, serde_json::Error> {
    if projection.whole {
        return serde_json::from_str(text);
    }
    let reader = Reader { text, at: 0, depth: 0 };
    reader.document(projection).or_else(|Doubt| serde_json::from_str(text))
}

/// This is no JSON, or JSON of a rare kind.
struct Doubt;

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn document(mut self, seen: &Projection) -> Result<Value, Doubt> {
        let value = self.value(seen)?;
        match self.next() {
            None => Ok(value),
            Some(_) => Err(Doubt),
        }
    }

    /// The next byte that is no blank; it is not taken.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn value(&mut self, seen: &Projection) -> Result<Value, Doubt> {
        match self.next().ok_or(Doubt)? {
            b'"' => self.string().map(Value::String),
            b'{' => self.object(seen),
            b'[' => self.list(seen),
            b't' => self.word("true").map(|()| Value::Bool(true)),
            b'f' => self.word("false").map(|()| Value::Bool(false)),
            b'n' => self.word("null").map(|()| Value::Null),
            _ => self.number().map(Value::Number),
        }
    }

    fn skip(&mut self) -> Result<(), Doubt> {
        match self.next().ok_or(Doubt)? {
            b'"' => self.string_end().map(|_| ()),
            b'{' => self.items(b'}', |reader| {
                let key = reader.key()?;
                if key.as_str() == RAW {
                    return Err(Doubt);
                }
                reader.skip()
            }),
            b'[' => self.items(b']', Self::skip),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number_end().map(|_| ()),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Doubt> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Doubt);
        }
        self.at += word.len();
        Ok(())
    }

    /// From an opening bracket to behind the closing one, with commas between what `item` reads.
    #[inline]
    fn items(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Result<(), Doubt>) -> Result<(), Doubt> {
        if self.depth >= MAX_DEPTH {
            return Err(Doubt);
        }
        self.depth += 1;
        self.at += 1;
        if self.next() != Some(close) {
            loop {
                item(self)?;
                match self.next() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => break,
                    _ => return Err(Doubt),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    fn list(&mut self, seen: &Projection) -> Result<Value, Doubt> {
        let mut list = Vec::new();
        self.items(b']', |reader| {
            list.push(reader.value(seen)?);
            Ok(())
        })?;
        Ok(Value::Array(list))
    }

    fn object(&mut self, seen: &Projection) -> Result<Value, Doubt> {
        let mut object = Map::new();
        self.items(b'}', |reader| {
            let key = reader.key()?;
            let name = key.as_str();
            if name == RAW {
                return Err(Doubt);
            }
            if seen.whole {
                object.insert(name.to_owned(), reader.value(seen)?);
            } else if let Some(of_field) = seen.fields.get(name) {
                object.insert(name.to_owned(), reader.value(of_field)?);
            } else {
                reader.skip()?;
            }
            Ok(())
        })?;
        Ok(Value::Object(object))
    }

    /// A key and the colon behind it.
    #[inline]
    fn key(&mut self) -> Result<Key<'t>, Doubt> {
        if self.next() != Some(b'"') {
            return Err(Doubt);
        }
        let start = self.at;
        let escaped = self.string_end()?;
        let key = if escaped {
            Key::Escaped(self.unescaped(start)?)
        } else {
            Key::Plain(&self.text[start + 1..self.at - 1])
        };
        if self.next() != Some(b':') {
            return Err(Doubt);
        }
        self.at += 1;
        Ok(key)
    }

    fn string(&mut self) -> Result<String, Doubt> {
        let start = self.at;
        if self.string_end()? {
            return self.unescaped(start);
        }
        Ok(self.text[start + 1..self.at - 1].to_owned())
    }

    fn unescaped(&self, start: usize) -> Result<String, Doubt> {
        serde_json::from_str(&self.text[start..self.at]).map_err(|_| Doubt)
    }

    /// From the opening quote to behind the closing one; whether there were escapes between them.
    #[inline]
    fn string_end(&mut self) -> Result<bool, Doubt> {
        let bytes = self.text.as_bytes();
        let mut escapes = false;
        let mut at = self.at + 1;
        loop {
            at = next_special(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(escapes);
                }
                Some(b'\\') => {
                    escapes = true;
                    at = escape_end(bytes, at + 1)?;
                }
                _ => return Err(Doubt),
            }
        }
    }

    fn number(&mut self) -> Result<Number, Doubt> {
        let start = self.at;
        let whole = self.number_end()?;
        let text = &self.text[start..self.at];
        if whole && text.len() <= SHORT_WHOLE && !text.starts_with("-0") {
            return text.parse::<i64>().map(Number::from).map_err(|_| Doubt);
        }
        serde_json::from_str(text).map_err(|_| Doubt)
    }

    /// Behind the number; whether it has neither a fraction nor an exponent.
    #[inline]
    fn number_end(&mut self) -> Result<bool, Doubt> {
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        let first = self.byte();
        let whole = self.digits();
        if whole == 0 || (whole > 1 && first == Some(b'0')) {
            return Err(Doubt);
        }
        let fraction = self.byte() == Some(b'.');
        if fraction {
            self.at += 1;
            if self.digits() == 0 {
                return Err(Doubt);
            }
        }
        let exponent = matches!(self.byte(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(Doubt);
            }
        }
        let text = &self.text[start..self.at];
        if (exponent || text.len() > SHORT_NUMBER) && serde_json::from_str::<Number>(text).is_err() {
            return Err(Doubt);
        }
        Ok(!fraction && !exponent)
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }
}

/// The name of a field.
enum Key<'t> {
    Plain(&'t str),
    Escaped(String),
}

impl Key<'_> {
    fn as_str(&self) -> &str {
        match self {
            Key::Plain(name) => name,
            Key::Escaped(name) => name,
        }
    }
}

/// The first quote, backslash or control character from `at` on, or the end.
#[inline]
fn next_special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHEST: u64 = ONES << 7;
    while let Some((eight, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk::<8>) {
        let eight = u64::from_le_bytes(*eight);
        let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
        let quote = zero(eight ^ (ONES * b'"' as u64));
        let backslash = zero(eight ^ (ONES * b'\\' as u64));
        let control = eight.wrapping_sub(ONES * 0x20) & !eight;
        let found = (quote | backslash | control) & HIGHEST;
        if found != 0 {
            // What a borrow may mark wrongly stands behind what it borrowed for.
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
        .unwrap_or(rest.len())
}

/// Behind an escape whose backslash was read. Half a surrogate pair is none.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, Doubt> {
    match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
        Some(b'u') => match unit(bytes, at + 1)? {
            0xdc00..0xe000 => Err(Doubt),
            0xd800..0xdc00 => {
                let second =
                    bytes.get(at + 5..at + 7) == Some(b"\\u") && matches!(unit(bytes, at + 7)?, 0xdc00..0xe000);
                if second { Ok(at + 11) } else { Err(Doubt) }
            }
            _ => Ok(at + 5),
        },
        _ => Err(Doubt),
    }
}

/// Four hexadecimal digits.
fn unit(bytes: &[u8], at: usize) -> Result<u32, Doubt> {
    let digits = bytes.get(at..at + 4).ok_or(Doubt)?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(Doubt)?;
        Ok(unit * 16 + digit)
    })
}
