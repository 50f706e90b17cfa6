//! The two walks over a job's variables: what do they refer to, and the same with values in place.
//!
//! Texts and property names are looked at, each once, as they were written: a value that looks like a reference stays
//! what it is. Numbers are not touched.

use std::collections::{HashMap, HashSet};

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

/// The names that these variables refer to, each once, in the order of first use; and each field that holds one.
pub(super) fn needed(
    variables: &Map<String, Value>,
    grammar: Grammar,
) -> Result<(Vec<Needed>, HashSet<Place>), JobError> {
    let mut search = Search {
        grammar,
        found: Vec::new(),
        known: HashSet::new(),
        places: HashSet::new(),
        count: 0,
        path: Path::default(),
    };
    search.object(variables)?;
    Ok((search.found, search.places))
}

struct Search {
    grammar: Grammar,
    found: Vec<Needed>,
    known: HashSet<String>,
    places: HashSet<Place>,
    count: usize,
    path: Path,
}

impl Search {
    fn object(&mut self, object: &Map<String, Value>) -> Result<(), JobError> {
        for (name, value) in object {
            let before = self.path.enter(name)?;
            self.text(name)?;
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
        for reference in self.grammar.references(text) {
            self.count += 1;
            if self.count > MOST_REFERENCES {
                return Err(JobError::input(format!(
                    "This job refers to secrets more than {MOST_REFERENCES} times. Give it fewer references."
                )));
            }
            let in_query = self.path.text == "url" && text[..reference.place.start].contains('?');
            self.places.insert(Place {
                name: reference.name.to_owned(),
                form: reference.form,
                path: if in_query {
                    "url?".to_owned()
                } else {
                    self.path.text.clone()
                },
            });
            if !self.known.contains(reference.name) {
                self.known.insert(reference.name.to_owned());
                self.found.push(Needed {
                    name: reference.name.to_owned(),
                    form: reference.form,
                    path: self.path.text.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Puts the values in place, and says which secret is where.
pub(super) fn fill(
    variables: &mut Map<String, Value>,
    values: &HashMap<String, SecretString>,
    grammar: Grammar,
) -> Result<Vec<Used>, JobError> {
    let mut filling = Filling {
        grammar,
        values,
        used: Vec::new(),
        seen: HashSet::new(),
        bytes: 0,
        path: Path::default(),
    };
    filling.object(variables)?;
    Ok(filling.used)
}

struct Filling<'a> {
    grammar: Grammar,
    values: &'a HashMap<String, SecretString>,
    used: Vec<Used>,
    /// Secret and field of everything in `used`.
    seen: HashSet<(&'a str, String)>,
    bytes: usize,
    path: Path,
}

impl Filling<'_> {
    fn object(&mut self, object: &mut Map<String, Value>) -> Result<(), JobError> {
        if object.keys().any(|name| self.grammar.references(name).next().is_some()) {
            return self.renamed(object);
        }
        for (name, value) in object.iter_mut() {
            let before = self.path.enter(name)?;
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
            if self.seen.insert((name.as_str(), self.path.text.clone())) {
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
            self.text.extend(name.chars().take(LONGEST_PATH));
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
