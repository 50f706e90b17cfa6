//! The two walks over a job's variables: what do they refer to, and the same with values in place. Both meet the texts in
//! the same order, so that the second knows by their numbers which ones to look at.
//!
//! Texts and property names are looked at, each once, as they were written: a value that looks like a reference stays
//! what it is. Numbers are not touched.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::allow_list::Place;
use super::bind::Used;
use super::reference::{Form, Reference, references};
use crate::outcome::JobError;

/// JSON from the engine is not nested deeper: the parser refuses it. Values from elsewhere are held to the same.
const DEEPEST: usize = 128;
/// Bytes after which a path is not told any further.
const LONGEST_PATH: usize = 512;
/// References in one job.
const MOST_REFERENCES: usize = 10_000;
/// So many are compared one by one, which is cheaper than hashing them; most jobs have fewer.
const FEW: usize = 16;
/// Bytes that the values put into one job may take together.
const LARGEST: usize = 16 * 1024 * 1024;

/// A name that the variables refer to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needed {
    /// The reference's name.
    pub(super) name: String,
    /// How it is written where it is met first.
    pub(super) form: Form,
    /// The field where it is met first.
    pub(super) path: String,
}

/// Which references count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar {
    /// Is `secrets.NAME` a reference, too?
    pub(super) bare: bool,
}

impl Grammar {
    fn references(self, text: &str) -> impl Iterator<Item = Reference<'_>> {
        references(text).filter(move |found| self.bare || found.form == Form::Braced)
    }
}

/// What variables refer to.
pub(super) struct Found {
    /// The names, each once, in the order of first use.
    pub(super) needed: Vec<Needed>,
    /// Each field that holds one.
    pub(super) places: Vec<Place>,
    /// Numbers of the texts that hold references, in the order of the walk.
    texts: Vec<usize>,
    /// Is a property's name among them?
    in_names: bool,
}

/// What these variables refer to.
pub(super) fn needed(variables: &Map<String, Value>, grammar: Grammar) -> Result<Found, JobError> {
    let mut search = Search {
        grammar,
        found: Vec::new(),
        names: Vec::new(),
        known: HashSet::new(),
        places: Vec::new(),
        known_places: HashSet::new(),
        count: 0,
        met: 0,
        texts: Vec::new(),
        in_names: false,
        path: Path::default(),
    };
    search.object(variables)?;
    Ok(Found {
        needed: search.found,
        places: search.places,
        texts: search.texts,
        in_names: search.in_names,
    })
}

struct Search {
    grammar: Grammar,
    found: Vec<Needed>,
    names: Vec<String>,
    /// The same, once they are many.
    known: HashSet<String>,
    places: Vec<Place>,
    /// The same, once they are many.
    known_places: HashSet<Place>,
    count: usize,
    /// Texts met so far.
    met: usize,
    texts: Vec<usize>,
    in_names: bool,
    path: Path,
}

impl Search {
    fn object(&mut self, object: &Map<String, Value>) -> Result<(), JobError> {
        for (name, value) in object {
            let before = self.path.enter(name)?;
            let texts = self.texts.len();
            self.text(name)?;
            self.in_names |= self.texts.len() > texts;
            self.value(value)?;
            self.path.leave(before);
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), JobError> {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(list) => {
                self.path.descend()?;
                list.iter().try_for_each(|element| self.value(element))?;
                self.path.ascend();
                Ok(())
            }
            Value::Object(object) => self.object(object),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), JobError> {
        self.met += 1;
        let before = self.count;
        for reference in self.grammar.references(text) {
            self.count += 1;
            if self.count > MOST_REFERENCES {
                return Err(JobError::input(format!(
                    "This job refers to secrets more than {MOST_REFERENCES} times. Give it fewer references."
                )));
            }
            let in_query = self.path.text == "url" && text[..reference.place.start].contains('?');
            let path = if in_query { "url?" } else { &self.path.text };
            self.place(&reference, path.to_owned());
            self.name(&reference);
        }
        if self.count > before {
            self.texts.push(self.met);
        }
        Ok(())
    }

    fn place(&mut self, reference: &Reference<'_>, path: String) {
        let place = Place {
            name: reference.name.to_owned(),
            form: reference.form,
            path,
        };
        if is_new(&place, &self.places, &mut self.known_places) {
            self.places.push(place);
        }
    }

    fn name(&mut self, reference: &Reference<'_>) {
        let name = reference.name.to_owned();
        if is_new(&name, &self.names, &mut self.known) {
            self.names.push(name.clone());
            self.found.push(Needed {
                name,
                form: reference.form,
                path: self.path.text.clone(),
            });
        }
    }
}

/// Is it none of those that came before? `hashed` holds them once they are many.
fn is_new<T: Clone + Eq + Hash>(one: &T, before: &[T], hashed: &mut HashSet<T>) -> bool {
    if before.len() < FEW {
        return !before.contains(one);
    }
    if hashed.is_empty() {
        hashed.extend(before.iter().cloned());
    }
    hashed.insert(one.clone())
}

/// Puts the values in place, and says which secret is where.
pub(super) fn fill(
    variables: &mut Map<String, Value>,
    values: &HashMap<String, SecretString>,
    found: &Found,
    grammar: Grammar,
) -> Result<Vec<Used>, JobError> {
    let mut filling = Filling {
        grammar,
        texts: &found.texts,
        in_names: found.in_names,
        met: 0,
        values,
        used: Vec::new(),
        seen: Vec::new(),
        known: HashSet::new(),
        bytes: 0,
        path: Path::default(),
    };
    filling.object(variables)?;
    Ok(filling.used)
}

struct Filling<'a> {
    grammar: Grammar,
    /// Numbers of the texts that are still to be filled.
    texts: &'a [usize],
    in_names: bool,
    /// Texts met so far.
    met: usize,
    values: &'a HashMap<String, SecretString>,
    used: Vec<Used>,
    /// Secret and field of everything in `used`.
    seen: Vec<(&'a str, String)>,
    /// The same, once they are many.
    known: HashSet<(&'a str, String)>,
    bytes: usize,
    path: Path,
}

impl Filling<'_> {
    fn object(&mut self, object: &mut Map<String, Value>) -> Result<(), JobError> {
        let holds_one = |name: &String| self.grammar.references(name).next().is_some();
        if self.in_names && object.keys().any(holds_one) {
            return self.renamed(object);
        }
        for (name, value) in object.iter_mut() {
            if self.texts.is_empty() {
                break;
            }
            let before = self.path.enter(name)?;
            self.met += 1;
            self.value(value)?;
            self.path.leave(before);
        }
        Ok(())
    }

    /// An object with references in property names.
    fn renamed(&mut self, object: &mut Map<String, Value>) -> Result<(), JobError> {
        for (name, mut value) in std::mem::take(object) {
            let before = self.path.enter(&name)?;
            let filled = self.text(&name)?;
            self.value(&mut value)?;
            if object.insert(filled.unwrap_or_else(|| name.clone()), value).is_some() {
                return Err(JobError::input(format!(
                    "With the secret put in, the property `{}` has the same name as another one beside it.",
                    self.path.text
                )));
            }
            self.path.leave(before);
        }
        Ok(())
    }

    fn value(&mut self, value: &mut Value) -> Result<(), JobError> {
        match value {
            Value::String(text) => {
                if let Some(filled) = self.text(text)? {
                    *text = filled;
                }
                Ok(())
            }
            Value::Array(list) => {
                self.path.descend()?;
                list.iter_mut().try_for_each(|element| self.value(element))?;
                self.path.ascend();
                Ok(())
            }
            Value::Object(object) => self.object(object),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    /// The text with values in place; `None` if it refers to none.
    fn text(&mut self, text: &str) -> Result<Option<String>, JobError> {
        self.met += 1;
        match self.texts.split_first() {
            Some((next, rest)) if *next == self.met => self.texts = rest,
            _ => return Ok(None),
        }
        let mut filled: Option<String> = None;
        let mut copied = 0;
        for reference in self.grammar.references(text) {
            // Every name of the first walk has a value, or there is no second walk.
            let Some((name, value)) = self.values.get_key_value(reference.name) else {
                continue;
            };
            let value_text = value.expose_secret();
            self.bytes += value_text.len();
            if self.bytes > LARGEST {
                return Err(JobError::input(format!(
                    "The secrets that this job refers to take more than {} MiB.",
                    LARGEST / 1024 / 1024
                )));
            }
            let target = filled.get_or_insert_default();
            target.push_str(&text[copied..reference.place.start]);
            target.push_str(value_text);
            copied = reference.place.end;
            let place = (name.as_str(), self.path.text.clone());
            if is_new(&place, &self.seen, &mut self.known) {
                self.seen.push(place);
                self.used.push(Used {
                    name: name.clone(),
                    path: self.path.text.clone(),
                    value: value.clone(),
                });
            }
        }
        if let Some(target) = &mut filled {
            target.push_str(&text[copied..]);
        }
        Ok(filled)
    }
}

/// The field that a walk is in: names as they were written, joined by dots; lists have no name of their own.
#[derive(Default)]
struct Path {
    text: String,
    depth: usize,
}

impl Path {
    fn enter(&mut self, name: &str) -> Result<usize, JobError> {
        self.descend()?;
        let before = self.text.len();
        // A path is kept for each reference: a property's name may be as long as the job, its path may not.
        if self.text.len() < LONGEST_PATH {
            if !self.text.is_empty() {
                self.text.push('.');
            }
            match name.len() <= LONGEST_PATH {
                true => self.text.push_str(name),
                false => self.text.extend(name.chars().take(LONGEST_PATH)),
            }
        }
        Ok(before)
    }

    fn leave(&mut self, before: usize) {
        self.text.truncate(before);
        self.ascend();
    }

    fn descend(&mut self) -> Result<(), JobError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(JobError::input(format!(
                "The variables of this job are nested more than {DEEPEST} levels deep."
            )));
        }
        Ok(())
    }

    fn ascend(&mut self) {
        self.depth -= 1;
    }
}
