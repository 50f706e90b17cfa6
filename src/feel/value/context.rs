//! Contexts: objects of the document and contexts that an evaluation made. Functions are no values of a context: they
//! live beside its entries and can only be called.

use super::{Function, Val};
use crate::feel::error::Stop;
use crate::feel::limits::Meter;
use serde_json::{Map, Value as Json};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// The name of an entry.
#[derive(Debug, Clone)]
pub(crate) enum Key<'a> {
    Str(&'a str),
    Text(Rc<str>),
}

impl Key<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Key::Str(text) => text,
            Key::Text(text) => text,
        }
    }
}

impl Borrow<str> for Key<'_> {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// Cells that an entry and an empty context take.
const ENTRY_CELLS: usize = 2;
const CONTEXT_CELLS: usize = 6;

/// Up to this many entries are searched one by one.
const LINEAR: usize = 16;

/// A context under construction: entries in the order in which their names first came, functions beside them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Draft<'a> {
    entries: Vec<(Key<'a>, Val<'a>)>,
    index: HashMap<Key<'a>, usize>,
    functions: Vec<(Key<'a>, Rc<Function<'a>>)>,
}

impl<'a> Draft<'a> {
    fn position(&self, name: &str) -> Option<usize> {
        if self.entries.len() > LINEAR {
            return self.index.get(name).copied();
        }
        self.entries.iter().position(|(key, _)| key.as_str() == name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Val<'a>> {
        self.position(name).map(|position| &self.entries[position].1)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key<'a>> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Adds an entry or replaces its value, whatever the value is.
    pub(crate) fn set(&mut self, key: Key<'a>, value: Val<'a>) {
        if let Some(position) = self.position(key.as_str()) {
            self.entries[position].1 = value;
            return;
        }
        self.entries.push((key, value));
        match self.entries.len() {
            0..=LINEAR => {}
            length if length == LINEAR + 1 => {
                self.index = self
                    .entries
                    .iter()
                    .enumerate()
                    .map(|(position, (key, _))| (key.clone(), position))
                    .collect();
            }
            length => {
                let key = self.entries[length - 1].0.clone();
                self.index.insert(key, length - 1);
            }
        }
    }

    /// Adds what an entry of a context literal evaluates to: a function goes beside the entries.
    pub(crate) fn add(&mut self, key: Key<'a>, value: Val<'a>) {
        match value {
            Val::Function(function) => self.functions.push((key, function)),
            value => self.set(key, value),
        }
    }

    /// The functions of a name, first defined first.
    pub(crate) fn functions<'d>(&'d self, name: &'d str) -> impl Iterator<Item = &'d Rc<Function<'a>>> {
        self.functions
            .iter()
            .filter(move |(key, _)| key.as_str() == name)
            .map(|(_, function)| function)
    }

    pub(crate) fn finish(self, meter: &Meter, literal: bool) -> Result<Val<'a>, Stop> {
        let values = self.entries.iter().map(|(_, value)| value.depth());
        let functions = self.functions.iter().map(|(_, function)| usize::from(function.depth));
        let depth = meter.nest(1 + values.chain(functions).max().unwrap_or(0))?;
        let hanging: usize = self.entries.iter().map(|(_, value)| value.hanging_cells()).sum();
        meter.allocate(self.entries.len() * ENTRY_CELLS + CONTEXT_CELLS + hanging)?;
        Ok(Val::Context(Rc::new(Context {
            draft: self,
            literal,
            depth,
        })))
    }
}

/// A context that an evaluation made.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    draft: Draft<'a>,
    /// Written as a literal; `list contains` finds such a context only where it is the very same one.
    literal: bool,
    depth: u16,
}

impl<'a> Context<'a> {
    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &(Key<'a>, Val<'a>)> {
        self.draft.entries.iter()
    }
}

/// Any context, to be read.
#[derive(Clone, Debug)]
pub(crate) enum Ctx<'a> {
    Json(&'a Map<String, Json>),
    Context(Rc<Context<'a>>),
}

impl<'a> Ctx<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Ctx::Json(entries) => entries.get(name).map(Val::from_json),
            Ctx::Context(context) => context.draft.get(name).cloned(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Ctx::Json(entries) => entries.len(),
            Ctx::Context(context) => context.draft.entries.len(),
        }
    }

    /// The entries in order; functions are not among them.
    pub(crate) fn entries(&self) -> Vec<(Key<'a>, Val<'a>)> {
        match self {
            Ctx::Json(entries) => entries
                .iter()
                .map(|(key, value)| (Key::Str(key), Val::from_json(value)))
                .collect(),
            Ctx::Context(context) => context.draft.entries.clone(),
        }
    }

    pub(crate) fn keys(&self) -> Vec<Key<'a>> {
        match self {
            Ctx::Json(entries) => entries.keys().map(|key| Key::Str(key)).collect(),
            Ctx::Context(context) => context.draft.entries.iter().map(|(key, _)| key.clone()).collect(),
        }
    }

    /// The functions of a name, first defined first.
    pub(crate) fn functions(&self, name: &str) -> Vec<Rc<Function<'a>>> {
        match self {
            Ctx::Json(_) => Vec::new(),
            Ctx::Context(context) => context.draft.functions(name).cloned().collect(),
        }
    }

    /// A copy to be changed; functions stay behind, as in the real engine.
    pub(crate) fn to_draft(&self) -> Draft<'a> {
        let mut draft = Draft::default();
        for (key, value) in self.entries() {
            draft.set(key, value);
        }
        draft
    }

    pub(crate) fn is_literal(&self) -> bool {
        matches!(self, Ctx::Context(context) if context.literal)
    }

    pub(crate) fn is_same(&self, other: &Ctx<'a>) -> bool {
        match (self, other) {
            (Ctx::Json(left), Ctx::Json(right)) => std::ptr::eq(*left, *right),
            (Ctx::Context(left), Ctx::Context(right)) => Rc::ptr_eq(left, right),
            _ => false,
        }
    }
}
