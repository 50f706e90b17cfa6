//! Columns that are read alone, with `$value`: a run's inputs and outputs are files, which come in pieces; a flow's schema
//! is a text, which comes whole.
//!
//! In goes the row and a bound; out come bytes, never more of them in memory than one piece of a file has. A server that
//! knows no ranges (an organisation with keys of its own) sends the whole file at once; the bound holds for it, too.

use std::borrow::Cow;

use serde_json::Value;

use super::odata::Query;
use super::{Dataverse, Error, Exchange, Guid, SMALL_ANSWER};
use crate::http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use crate::http::{self, Answer};

/// Bytes of a piece: what Dataverse's documentation asks for at a time.
const PIECE: usize = 4 * 1024 * 1024;

/// A file of a run that is being read, piece by piece.
pub struct FilePieces {
    dataverse: Dataverse,
    path: String,
    most: usize,
    /// Bytes that were read.
    read: usize,
    /// Bytes of the whole file, once that was told.
    size: Option<usize>,
    content_type: Option<String>,
}

impl Dataverse {
    /// The outputs of a run, in pieces.
    pub fn run_outputs_in_pieces(&self, id: &Guid, max_bytes: usize) -> FilePieces {
        self.in_pieces(format!("flowsessions({id})/outputs/$value"), max_bytes)
    }

    /// The outputs of a run as bytes, `None` if it has none (yet).
    ///
    /// # Errors
    /// [`Error`]; a file of more than `max_bytes` is one.
    pub async fn run_outputs(&self, id: &Guid, max_bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        self.run_outputs_in_pieces(id, max_bytes).whole().await
    }

    /// What a run was given, as bytes, `None` if it was given nothing.
    ///
    /// # Errors
    /// [`Error`]; a file of more than `max_bytes` is one.
    pub async fn run_inputs(&self, id: &Guid, max_bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        let path = format!("flowsessions({id})/inputs/$value");
        self.in_pieces(path, max_bytes).whole().await
    }

    fn in_pieces(&self, path: String, most: usize) -> FilePieces {
        FilePieces {
            dataverse: self.clone(),
            path,
            most,
            read: 0,
            size: None,
            content_type: None,
        }
    }

    /// A text column. A row that exists without a value answers 204, or 404 like a row that does not exist: callers who
    /// must tell them apart read the row.
    pub(super) async fn text_column(&self, path: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        let url = self.resource(path, &Query::default());
        match self
            .exchange(Exchange::get(url, self.inner.timeouts.call, max_bytes))
            .await
        {
            Ok(answer) if answer.status == 204 || answer.body.is_empty() => Ok(None),
            Ok(answer) => Ok(Some(answer.body)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl FilePieces {
    /// What Dataverse says that the file is; known after the first piece.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The next piece, `None` behind the last one. Nothing at all for a run without such a file: that answers 204 or 404,
    /// like a run that does not exist.
    ///
    /// # Errors
    /// [`Error`]; a file that is larger than allowed is one before anything of it is given.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.size.is_some_and(|size| self.read >= size) {
            return Ok(None);
        }
        let first = self.read == 0;
        let answer = match self.exchange().await {
            Ok(answer) if first && (answer.status == 204 || answer.body.is_empty()) => return Ok(None),
            Ok(answer) => answer,
            // 416: a file without a byte has no range.
            Err(error) if first && matches!(error.status(), Some(404 | 416)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = self.size_told(&answer)?;
        if size > self.most {
            return Err(Error::Exchange(http::Error::TooLarge {
                limit: self.most,
                hint: "The file of the run is.",
            }));
        }
        if first {
            self.size = Some(size);
            let said = |name| text(&answer.headers, name).map(str::to_owned);
            self.content_type = said("mimetype").or_else(|| said(CONTENT_TYPE.as_str()));
        }
        self.read += answer.body.len();
        Ok(Some(answer.body))
    }

    async fn exchange(&self) -> Result<Answer, Error> {
        let url = self.dataverse.resource(&self.path, &Query::default());
        let last = self.read + PIECE.min(self.most.saturating_sub(self.read)).max(1) - 1;
        let range = HeaderValue::try_from(format!("bytes={}-{last}", self.read))
            .map_err(|error| Error::Answer(error.to_string()))?;
        // A server that ignores the range sends all of it; one that refuses has something to say.
        let most = self.most.max(SMALL_ANSWER);
        let exchange = Exchange::get(url, self.dataverse.inner.timeouts.call, most)
            .with_header("range", range)
            // Compressed, neither ranges nor sizes would be those of the file.
            .with_header("accept-encoding", HeaderValue::from_static("identity"));
        self.dataverse.exchange(exchange).await
    }

    /// The size of the file that an answer is a part of. Outputs need not be JSON, so nothing but the sizes tells whether
    /// something is missing.
    fn size_told(&self, answer: &Answer) -> Result<usize, Error> {
        let got = answer.body.len();
        let told = text(&answer.headers, "x-ms-file-size").and_then(|size| size.trim().parse::<usize>().ok());
        if answer.status != 206 {
            let size = told.unwrap_or(got);
            return match got == size && self.read == 0 {
                true => Ok(size),
                false => Err(Error::Answer(format!("{got} bytes came of a file of {size}"))),
            };
        }
        let range = text(&answer.headers, CONTENT_RANGE.as_str()).and_then(content_range);
        let size = match (told, range) {
            (Some(told), None) => told,
            (told, Some((from, to, size))) => {
                if from != self.read || to - from + 1 != got || told.is_some_and(|told| told != size) {
                    return Err(Error::Answer(format!(
                        "{got} bytes came where bytes {} and following of the file were asked for",
                        self.read
                    )));
                }
                size
            }
            (None, None) => return Err(Error::Answer("it does not say how large the file is".into())),
        };
        if got == 0 || self.read + got > size || self.size.is_some_and(|before| before != size) {
            return Err(Error::Answer(format!(
                "{got} bytes came after {} of a file of {size}",
                self.read
            )));
        }
        Ok(size)
    }

    /// All that is left, in memory.
    async fn whole(mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut all) = self.next().await? else {
            return Ok(None);
        };
        all.reserve_exact(self.size.unwrap_or_default().saturating_sub(all.len()));
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(Some(all))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// First and last byte, and the size of the whole, of `bytes 0-9/20`.
fn content_range(text: &str) -> Option<(usize, usize, usize)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let (from, to, size) = (from.parse().ok()?, to.parse().ok()?, size.parse().ok()?);
    (from <= to && to < size).then_some((from, to, size))
}

/// Bytes as a text: UTF-8, or UTF-16 where a byte order mark says so.
fn text_of(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let utf16 = |bytes: &[u8], number: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = units.iter().copied().map(number).collect();
        String::from_utf16(&units)
            .ok()
            .filter(|_| rest.is_empty())
            .map(Cow::Owned)
    };
    match bytes {
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, text @ ..] | text => std::str::from_utf8(text).ok().map(Cow::Borrowed),
    }
}

/// What the bytes of a file column say: JSON as it is, other text as a string, anything else as
/// `{"base64": …}`. A byte order mark is dropped; no bytes are null.
pub fn decoded(bytes: &[u8]) -> Value {
    use base64::Engine as _;
    match text_of(bytes) {
        Some(text) if text.trim().is_empty() => Value::Null,
        Some(text) => serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned())),
        None => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            serde_json::json!({ "base64": encoded })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_content_range_is_believed_only_where_it_makes_sense() {
        assert_eq!(content_range("bytes 0-9/20"), Some((0, 9, 20)));
        assert_eq!(content_range("bytes 10-19/20"), Some((10, 19, 20)));
        for bad in [
            "bytes 0-20/20",
            "bytes 5-4/20",
            "bytes 0-9/*",
            "0-9/20",
            "bytes */20",
            "",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn outputs_are_json_or_text_or_bytes() {
        assert_eq!(decoded(br#"{"Output1":"x"}"#), json!({"Output1": "x"}));
        assert_eq!(decoded(b"\xef\xbb\xbf{\"a\":1}"), json!({"a": 1}));
        assert_eq!(decoded(b"plain words"), json!("plain words"));
        assert_eq!(decoded(b"\xff\x00"), json!({"base64": "/wA="}));
        assert_eq!(decoded(b" "), Value::Null);
        assert_eq!(decoded(b"\xff\xfe{\0\"\0a\0\"\0:\x001\0}\0"), json!({"a": 1}), "UTF-16");
        assert_eq!(decoded(b"\xfe\xff\0h\0i"), json!("hi"));
        assert_eq!(decoded(b"\xff\xfe\x01"), json!({"base64": "//4B"}), "half a character");
        assert_eq!(decoded(b"{\"a\": 1,}"), json!("{\"a\": 1,}"), "no JSON");
    }
}
