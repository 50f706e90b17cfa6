//! Takes known secret values out of a text that leaves the process, and finds them in what should not hold any.
//!
//! In go values (of one job, or all that [`super::known`] remembers); out come texts with `***` in their place, in every
//! shape of [`super::forms`]. Nothing is prepared until a text is looked at, since most jobs end well. The search holds
//! copies of the values in memory that is not wiped.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use aho_corasick::AhoCorasick;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::bind::Used;
use super::forms::forms;

/// What stands in a value's place.
const MASK: &str = "***";
/// Values with fewer characters are taken out only where they stand alone: `1` is no secret inside `2011`.
pub(crate) const SHORT: usize = 8;
/// Bytes of a long form that the search looks for; the rest is compared where these are found, so that keys and tokens
/// of thousands of characters do not blow up the search. The beginning of a long value is taken out by itself, too.
const SEARCHED: usize = 48;

/// A value that must not be seen, and what it is.
pub struct Secret {
    /// The value.
    pub value: SecretString,
    /// The reference's name, or what else it is.
    pub label: Label,
}

/// What a value is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// A secret of a task, by its name.
    Secret(String),
    /// An access token, by the host that gave it.
    Token(String),
    /// A credential of deskhand's own, by the setting that holds it.
    Setting(String),
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Label::Secret(name) => write!(f, "the secret '{name}'"),
            Label::Token(host) => write!(f, "an access token of {host}"),
            Label::Setting(key) => write!(f, "deskhand's own `{key}`"),
        }
    }
}

/// Knows secret values and puts `***` in their place. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    layers: Arc<[Arc<Layer>]>,
}

/// Values that are searched for together.
pub(super) struct Layer {
    pub(super) secrets: Vec<Arc<Secret>>,
    search: OnceLock<Option<Search>>,
}

struct Search {
    automaton: AhoCorasick,
    patterns: Vec<Pattern>,
}

struct Pattern {
    /// Whose form it is: the place in the layer's list.
    secret: usize,
    /// Must it stand alone?
    alone: bool,
    /// What follows the searched part.
    rest: Box<str>,
}

/// A known value in a text.
struct Place {
    range: Range<usize>,
    secret: usize,
    /// Is all of it there, or only its beginning?
    whole: bool,
    alone: bool,
}

impl Layer {
    pub(super) fn new(secrets: Vec<Arc<Secret>>) -> Arc<Self> {
        Arc::new(Self {
            secrets,
            search: OnceLock::new(),
        })
    }

    fn search(&self) -> Option<&Search> {
        self.search.get_or_init(|| Search::new(&self.secrets)).as_ref()
    }
}

impl Redactor {
    /// Knows the values that were put into a job's variables.
    pub fn new(used: &[Used]) -> Self {
        Self::of(used.iter().map(|used| &used.value))
    }

    /// Knows these values. Empty ones are ignored.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut seen = HashSet::new();
        let secrets: Vec<Arc<Secret>> = values
            .into_iter()
            .filter(|value| !value.expose_secret().is_empty() && seen.insert(value.expose_secret()))
            .map(|value| {
                Arc::new(Secret {
                    value: value.clone(),
                    label: Label::Secret(String::new()),
                })
            })
            .collect();
        if secrets.is_empty() {
            return Self::default();
        }
        Self::of_layers([Layer::new(secrets)])
    }

    pub(super) fn of_layers(layers: impl IntoIterator<Item = Arc<Layer>>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
        }
    }

    /// Knows what both know.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::of_layers(self.layers.iter().chain(&*other.layers).cloned())
    }

    /// The text without any known value.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut places = Vec::new();
        for layer in &*self.layers {
            let Some(search) = layer.search() else {
                // What cannot be searched is not shown.
                return Cow::Borrowed(MASK);
            };
            search.each(text, |place| {
                if !place.alone || stands_alone(text, &place.range) {
                    places.push(place.range);
                }
            });
        }
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        let mut copied = 0;
        for place in joined(places) {
            shown.push_str(&text[copied..place.start]);
            shown.push_str(MASK);
            copied = place.end;
        }
        shown.push_str(&text[copied..]);
        Cow::Owned(shown)
    }

    /// The value without any known value in its texts and keys. A number that is a known value as a whole, and not a
    /// short one, becomes the text `***`.
    pub fn value(&self, value: Value) -> Value {
        if self.layers.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => match self.text(&text) {
                Cow::Borrowed(_) => Value::String(text),
                Cow::Owned(shown) => Value::String(shown),
            },
            Value::Array(list) => list.into_iter().map(|element| self.value(element)).collect(),
            Value::Object(object) => Value::Object(self.object(object)),
            Value::Number(number) => {
                let text = number.to_string();
                if text.len() >= SHORT && self.text(&text) == MASK {
                    Value::from(MASK)
                } else {
                    Value::Number(number)
                }
            }
            Value::Null | Value::Bool(_) => value,
        }
    }

    fn object(&self, object: Map<String, Value>) -> Map<String, Value> {
        let shown = |(key, value): (String, Value)| (self.text(&key).into_owned(), self.value(value));
        object.into_iter().map(shown).collect()
    }

    /// Adds the known values that the text holds whole. Short ones are not looked for: they are found everywhere.
    pub fn find_in_text(&self, text: &str, found: &mut Vec<Arc<Secret>>) {
        if text.len() < SHORT {
            return;
        }
        for layer in &*self.layers {
            let Some(search) = layer.search() else { continue };
            search.each(text, |place| {
                if place.whole && !place.alone {
                    let secret = &layer.secrets[place.secret];
                    if !found.iter().any(|known| Arc::ptr_eq(known, secret)) {
                        found.push(secret.clone());
                    }
                }
            });
        }
    }

    /// Adds the known values that texts, keys and numbers of the value hold whole.
    pub fn find_in_value(&self, value: &Value, found: &mut Vec<Arc<Secret>>) {
        match value {
            Value::String(text) => self.find_in_text(text, found),
            Value::Array(list) => list.iter().for_each(|element| self.find_in_value(element, found)),
            Value::Object(object) => self.find_in_object(object, found),
            Value::Number(number) => {
                let text = number.to_string();
                if text.len() >= SHORT && self.text(&text) == MASK {
                    self.find_in_text(&text, found);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// As [`Redactor::find_in_value`].
    pub fn find_in_object(&self, object: &Map<String, Value>, found: &mut Vec<Arc<Secret>>) {
        for (key, value) in object {
            self.find_in_text(key, found);
            self.find_in_value(value, found);
        }
    }
}

impl Search {
    /// `None` if there are more patterns than a search can hold.
    fn new(secrets: &[Arc<Secret>]) -> Option<Self> {
        let mut searched = Vec::new();
        let mut patterns = Vec::new();
        for (at, secret) in secrets.iter().enumerate() {
            let value = secret.value.expose_secret();
            let short = value.chars().count() < SHORT;
            for mut form in forms(value, short) {
                let mut end = SEARCHED.min(form.len());
                while !form.is_char_boundary(end) {
                    end -= 1;
                }
                let rest = form.split_off(end).into_boxed_str();
                searched.push(form);
                patterns.push(Pattern {
                    secret: at,
                    alone: short,
                    rest,
                });
            }
        }
        let automaton = AhoCorasick::new(&searched).ok()?;
        Some(Self { automaton, patterns })
    }

    fn each(&self, text: &str, mut found: impl FnMut(Place)) {
        for one in self.automaton.find_overlapping_iter(text) {
            let pattern = &self.patterns[one.pattern()];
            let mut range = one.range();
            let mut more = common(pattern.rest.as_bytes(), &text.as_bytes()[range.end..]);
            while !text.is_char_boundary(range.end + more) {
                more -= 1;
            }
            range.end += more;
            found(Place {
                range,
                secret: pattern.secret,
                whole: more == pattern.rest.len(),
                alone: pattern.alone,
            });
        }
    }
}

/// How many bytes both begin with.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The places from left to right, those that overlap as one: the longest wins, and where one runs into another neither
/// leaves a rest.
fn joined(mut places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    places.sort_unstable_by_key(|place| (place.start, place.end));
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(places.len());
    for place in places {
        match joined.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => joined.push(place),
        }
    }
    joined
}

fn stands_alone(text: &str, place: &Range<usize>) -> bool {
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    !text[..place.start].chars().next_back().is_some_and(part_of_word)
        && !text[place.end..].chars().next().is_some_and(part_of_word)
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let values: usize = self.layers.iter().map(|layer| layer.secrets.len()).sum();
        f.debug_struct("Redactor").field("values", &values).finish()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secret").field(&self.label).finish()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use secrecy::SecretString;
    use serde_json::json;

    use super::Redactor;

    fn knows(values: &[&str]) -> Redactor {
        let values: Vec<SecretString> = values.iter().map(|value| SecretString::from(*value)).collect();
        Redactor::of(&values)
    }

    #[test]
    fn a_value_disappears_from_a_message() {
        let shown = knows(&["bar"])
            .text("Something went wrong: bar is not the correct password")
            .into_owned();
        assert_eq!(shown, "Something went wrong: *** is not the correct password");
    }

    #[test]
    fn a_value_disappears_in_every_encoding() {
        let value = "p@ss \"w\\rd\"/+ü\n?~!(x)*";
        let redactor = knows(&[value]);
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("a", value)
            .finish();
        let mut url = url::Url::parse("https://example.com/").unwrap();
        url.query_pairs_mut().append_pair("q", value);
        for text in [
            value.to_owned(),
            json!(value).to_string(),
            form.trim_start_matches("a=").to_owned(),
            url.query().unwrap().trim_start_matches("q=").to_owned(),
            STANDARD.encode(value),
            URL_SAFE_NO_PAD.encode(value),
        ] {
            let shown = redactor.text(&text).into_owned();
            assert!(shown.contains("***"), "{text}");
            // What may be left is a quote, or padding with the bits of a last byte's end.
            assert!(shown.len() <= 8, "{text} → {shown}");
        }
    }

    #[test]
    fn a_value_inside_of_base64_disappears_at_each_alignment() {
        let value = "s3cr3t-value-of-some-length";
        for user in ["", "a", "ab", "abc"] {
            for after in ["", "x", "xy"] {
                let text = STANDARD.encode(format!("{user}{value}{after}"));
                let shown = knows(&[value]).text(&text).into_owned();
                assert!(shown.contains("***") && shown.len() <= 3 + 12, "{shown}");
            }
        }
    }

    #[test]
    fn the_longest_value_wins_and_overlapping_ones_leave_no_rest() {
        assert_eq!(
            knows(&["longsecret", "longsecret-extended"]).text("a longsecret-extended b"),
            "a *** b"
        );
        assert_eq!(knows(&["abcdefgh", "efghijklmn"]).text("<abcdefghijklmn>"), "<***>");
        assert_eq!(
            knows(&["abcdefgh", "xxabcdefghyy", "yyzzzzzz"]).text("xxabcdefghyyzzzzzz"),
            "***"
        );
    }

    #[test]
    fn short_values_disappear_only_where_they_stand_alone() {
        let redactor = knows(&["401", "a b"]);
        assert_eq!(redactor.text("401 (code=401) 4010 x401"), "*** (code=***) 4010 x401");
        assert_eq!(redactor.text("a b, xa b"), "***, xa b");
    }

    #[test]
    fn empty_values_and_unknown_texts_change_nothing() {
        assert_eq!(knows(&[""]).text("anything"), "anything");
        assert!(matches!(
            knows(&["another-value"]).text("anything"),
            std::borrow::Cow::Borrowed("anything")
        ));
    }

    #[test]
    fn values_are_taken_out_of_json_at_any_depth_and_out_of_keys() {
        let value = json!({
            "status": 401, "ok": false, "none": null,
            "headers": {"Authorization": "Bearer top-secret-token", "top-secret-token": 1},
            "list": [["top-secret-token", 401], "x"],
            "pin": 1234567890
        });
        assert_eq!(
            knows(&["top-secret-token", "401", "1234567890"]).value(value),
            json!({
                "status": 401, "ok": false, "none": null,
                "headers": {"Authorization": "Bearer ***", "***": 1},
                "list": [["***", 401], "x"],
                "pin": "***"
            })
        );
    }

    #[test]
    fn a_long_value_disappears_whole_and_a_cut_one_as_far_as_it_goes() {
        let key: String = (0..5_000).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect();
        let redactor = knows(&[&key]);
        assert_eq!(redactor.text(&format!("<{key}>")), "<***>");
        assert_eq!(redactor.text(&format!("<{}", &key[..200])), "<***");
        let mut found = Vec::new();
        redactor.find_in_text(&key[..200], &mut found);
        assert!(found.is_empty(), "a beginning is no whole value");
        redactor.find_in_text(&format!("x{key}"), &mut found);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_value_disappears_in_texts_that_were_escaped_twice() {
        let value = "line\nbreak \"and quote\"";
        let redactor = knows(&[value]);
        for text in [format!("{value:?}"), json!(json!(value).to_string()).to_string()] {
            let shown = redactor.text(&text).into_owned();
            assert!(shown.contains("***") && !shown.contains("quote"), "{text} → {shown}");
        }
    }

    #[test]
    fn a_thousand_values_are_found_in_one_pass() {
        let values: Vec<SecretString> = (0..1000)
            .map(|n| SecretString::from(format!("secret-number-{n:04}!")))
            .collect();
        let redactor = Redactor::of(&values);
        let text = "nothing here, ".repeat(300) + "secret-number-0999! and secret-number-0000!";
        assert!(redactor.text(&text).ends_with("*** and ***"));
    }
}
