//! What a log says, without any known secret: bytes of one event go in, masked text goes out to the stream behind.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use super::known::Known;

/// Makes writers for a log, each of which takes one event at a time.
#[derive(Clone, Debug)]
pub struct MaskedOutput<M> {
    known: Known,
    behind: M,
}

impl<M> MaskedOutput<M> {
    /// Masks what `known` knows at the moment of each event.
    pub fn new(known: Known, behind: M) -> Self {
        Self { known, behind }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for MaskedOutput<M> {
    type Writer = Masked<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Masked {
            known: self.known.clone(),
            behind: self.behind.make_writer(),
        }
    }
}

/// Writes events, masked.
#[derive(Debug)]
pub struct Masked<W> {
    known: Known,
    behind: W,
}

impl<W: Write> Write for Masked<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        self.behind.write_all(self.known.redactor().text(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.behind.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::secrets::redaction::Label;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_that_holds_a_known_value_is_masked_in_text_and_in_json() {
        let known = Known::default();
        let value = "a \"quoted\" value";
        known.remember(&Label::Secret("A".into()), &value.into());
        let written = Written::default();
        let writer = written.clone();
        let output = MaskedOutput::new(known, move || writer.clone());
        for json in [false, true] {
            let subscriber = tracing_subscriber::fmt().with_writer(output.clone());
            let log = || tracing::warn!(field = value, debug = ?value, "it is {value}");
            match json {
                true => tracing::subscriber::with_default(subscriber.json().finish(), log),
                false => tracing::subscriber::with_default(subscriber.finish(), log),
            }
        }
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("***") && !text.contains("quoted"), "{text}");
    }
}
