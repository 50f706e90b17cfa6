//! What counts as a secret reference in a text: one scan from left to right, in linear time.
//!
//! In goes a text, out come the places to replace. The grammar is that of Camunda's connector runtime since September
//! 2026, an alternation that is tried at each place in this order:
//!
//! 1. `{{ secrets.NAME }}`: any characters but blanks, up to the first `}}`;
//! 2. `camunda.secrets.NAME`: the engine's own form, left as it stands;
//! 3. `secrets.NAME`: runs of letters and digits, joined by single `/`, `.`, `_` or `-`.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

const KEYWORD: &str = "secrets.";

/// Prepared once: a job has hundreds of texts, nearly all of them short and without a reference.
static FIND_KEYWORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEYWORD));

/// How a reference is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `{{secrets.NAME}}`.
    Braced,
    /// `secrets.NAME`.
    Bare,
}

/// A reference in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Name of the secret.
    pub name: &'a str,
    /// How it is written.
    pub form: Form,
    /// The bytes of the text that the value replaces.
    pub place: Range<usize>,
}

/// The references of a text, from left to right, none overlapping another.
pub fn references(text: &str) -> References<'_> {
    References {
        text,
        at: 0,
        unclosed_until: 0,
    }
}

/// Iterator of [`references`].
pub struct References<'a> {
    text: &'a str,
    /// Everything before this byte is dealt with.
    at: usize,
    /// No braced name that begins before this byte is closed: a text full of open braces is not scanned again and again.
    unclosed_until: usize,
}

impl<'a> Iterator for References<'a> {
    type Item = Reference<'a>;

    fn next(&mut self) -> Option<Reference<'a>> {
        loop {
            let keyword = self.at + FIND_KEYWORD.find(self.text.get(self.at..)?.as_bytes())?;
            let name = keyword + KEYWORD.len();
            if let Some(found) = self.braced(keyword, name) {
                self.at = found.place.end;
                return Some(found);
            }
            if self.text[self.at..keyword].ends_with("camunda.") {
                self.at = name
                    + length_of(&self.text[name..], |byte| {
                        byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
                    });
                if self.at > name {
                    continue;
                }
            }
            let length = bare_length(&self.text.as_bytes()[name..]);
            self.at = name + length;
            if length > 0 {
                return Some(Reference {
                    name: &self.text[name..self.at],
                    form: Form::Bare,
                    place: keyword..self.at,
                });
            }
        }
    }
}

impl<'a> References<'a> {
    /// The braced reference around the keyword, if there is one.
    fn braced(&mut self, keyword: usize, name: usize) -> Option<Reference<'a>> {
        let before = self.text[self.at..keyword].trim_end_matches(is_blank);
        let start = self.at + before.strip_suffix("{{")?.len();
        if name < self.unclosed_until {
            return None;
        }
        let rest = &self.text[name..];
        let first = rest.chars().next().filter(|first| !is_blank(*first))?.len_utf8();
        // The name has one character at least, so that `}` itself can be one.
        let word = first + length_of(&rest[first..], |byte| !is_blank(char::from(byte)));
        let (length, closing) = match rest[first..word].find("}}") {
            Some(closing) => (first + closing, first + closing),
            None => (word, word + length_of(&rest[word..], |byte| is_blank(char::from(byte)))),
        };
        if !rest[closing..].starts_with("}}") {
            self.unclosed_until = name + word;
            return None;
        }
        Some(Reference {
            name: &rest[..length],
            form: Form::Braced,
            place: start..name + closing + 2,
        })
    }
}

/// The blanks of the grammar: ASCII alone.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\x0B' | '\x0C' | '\r')
}

fn length_of(text: &str, wanted: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !wanted(byte)).unwrap_or(text.len())
}

/// Runs of letters and digits, joined by single separators.
fn bare_length(text: &[u8]) -> usize {
    let run = |from: usize| {
        text[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count()
    };
    let mut end = run(0);
    while end > 0 && matches!(text.get(end), Some(b'/' | b'.' | b'_' | b'-')) {
        match run(end + 1) {
            0 => break,
            more => end += 1 + more,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::{Form, references};

    fn names(text: &str) -> Vec<&str> {
        references(text).map(|one| one.name).collect()
    }

    #[test]
    fn a_name_that_does_not_begin_with_a_letter_or_digit_is_no_bare_reference() {
        for text in [
            "secrets._TEST",
            "secrets./TEST",
            "secrets.-TEST",
            "secrets..TEST",
            "secrets.",
            "secrets..",
            "secrets.?",
            "",
            "secrets",
            "secret.A",
        ] {
            assert_eq!(names(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn both_forms_are_found_in_one_text_with_the_place_they_take() {
        let text = "a {{ secrets.KEY1 }} b secrets.KEY2, {secrets.KEY3}";
        let found: Vec<_> = references(text).collect();
        assert_eq!(names(text), ["KEY1", "KEY2", "KEY3"]);
        assert_eq!(found[0].form, Form::Braced);
        assert_eq!(&text[found[0].place.clone()], "{{ secrets.KEY1 }}");
        assert_eq!(found[1].form, Form::Bare);
        assert_eq!(&text[found[1].place.clone()], "secrets.KEY2");
        assert_eq!(&text[found[2].place.clone()], "secrets.KEY3");
    }

    #[test]
    fn a_braced_name_may_hold_any_character_but_blanks() {
        for name in [
            "FOO:BAR",
            "a/b-c.d@e",
            "\"x\"",
            "schlüssel",
            "a}b",
            "}",
            "camunda.secrets.X",
            "_A",
        ] {
            assert_eq!(names(&format!("<{{{{secrets.{name}}}}}>")), [name], "{name}");
        }
    }

    #[test]
    fn a_braced_name_ends_at_the_first_closing_braces() {
        assert_eq!(names("{{secrets.A}}}"), ["A"]);
        assert_eq!(names("{{{secrets.A}}}"), ["A"]);
        assert_eq!(names("{{secrets.A}}{{secrets.B}}"), ["A", "B"]);
        assert_eq!(names("{{secrets.A}} }}"), ["A"]);
    }

    #[test]
    fn braces_that_do_not_close_leave_the_bare_form() {
        assert_eq!(names("{{secrets.A B}}"), ["A"]);
        assert_eq!(names("{{secrets.A"), ["A"]);
        assert_eq!(names("{{secrets. A}}"), Vec::<&str>::new());
        assert_eq!(names("{{secrets.A {{secrets.B}}"), ["A", "B"]);
        assert_eq!(names("{{secrets.A{{secrets.B}}"), ["A{{secrets.B"]);
    }

    #[test]
    fn the_engines_own_form_is_left_alone() {
        assert_eq!(
            names("camunda.secrets.A {{camunda.secrets.B}} xcamunda.secrets._C"),
            Vec::<&str>::new()
        );
        assert_eq!(names("camunda.secrets.A/secrets.B"), ["B"]);
        assert_eq!(names("camunda.secrets.?secrets.B"), ["B"]);
    }

    #[test]
    fn the_bare_form_takes_everything_that_single_separators_join() {
        assert_eq!(
            names("secrets.ORG/api/data/v9.2/flowsessions(1)"),
            ["ORG/api/data/v9.2/flowsessions"]
        );
        assert_eq!(names("secrets.TEST TEST"), ["TEST"]);
        assert_eq!(names("secrets.A--B"), ["A"]);
        assert_eq!(names("secrets.A."), ["A"]);
        assert_eq!(names("mysecrets.A"), ["A"]);
        assert_eq!(names("secrets.Aé"), ["A"]);
    }

    #[test]
    fn hostile_texts_are_scanned_in_linear_time() {
        // Each takes minutes where every opening is scanned to the end of the text.
        let size = 100_000;
        for text in [
            "{{secrets.a".repeat(size),
            "{{secrets.é?".repeat(size),
            format!("{{{{{}", " ".repeat(size)).repeat(20),
            "{{ secrets.".repeat(size),
            "{".repeat(10 * size),
            "camunda.secrets.".repeat(size),
        ] {
            let started = std::time::Instant::now();
            let _ = references(&text).count();
            assert!(started.elapsed() < std::time::Duration::from_secs(5));
        }
    }
}
