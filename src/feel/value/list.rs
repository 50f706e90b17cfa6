//! Lists: arrays of the document, lists that an evaluation made, and the results of a `for` so far.

use super::Val;
use crate::feel::error::Stop;
use crate::feel::limits::Meter;
use serde_json::Value as Json;
use std::cell::RefCell;
use std::rc::Rc;

/// The results of a `for` while it runs, seen as `partial`: every step sees a longer beginning of the same items, so that
/// a loop that looks back does not copy them each time.
pub(crate) type Shared<'a> = Rc<RefCell<Vec<Val<'a>>>>;

#[derive(Debug)]
enum Items<'a> {
    Own(Vec<Val<'a>>),
    Beginning(Shared<'a>, usize),
}

/// Cells that an empty list takes.
const LIST_CELLS: usize = 3;

/// A list that an evaluation made.
#[derive(Debug)]
pub(crate) struct List<'a> {
    items: Items<'a>,
    /// How deep values are nested in it; bounded, as dropping a list is recursive.
    depth: u16,
}

impl<'a> List<'a> {
    /// Wraps items whose room was already allocated; the list itself takes some, too.
    pub(crate) fn wrap(meter: &Meter, items: Vec<Val<'a>>) -> Result<Val<'a>, Stop> {
        meter.allocate(LIST_CELLS)?;
        let depth = meter.nest(1 + items.iter().map(Val::depth).max().unwrap_or(0))?;
        Ok(Val::List(Rc::new(List {
            items: Items::Own(items),
            depth,
        })))
    }

    /// Allocates room for the items and wraps them.
    pub(crate) fn charged(meter: &Meter, items: Vec<Val<'a>>) -> Result<Val<'a>, Stop> {
        let hanging: usize = items.iter().map(Val::hanging_cells).sum();
        meter.allocate(items.len() + hanging)?;
        List::wrap(meter, items)
    }

    pub(crate) fn beginning(meter: &Meter, items: &Shared<'a>, deepest: usize) -> Result<Val<'a>, Stop> {
        meter.allocate(LIST_CELLS)?;
        let depth = meter.nest(1 + deepest)?;
        let length = items.borrow().len();
        Ok(Val::List(Rc::new(List {
            items: Items::Beginning(Rc::clone(items), length),
            depth,
        })))
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }

    fn len(&self) -> usize {
        match &self.items {
            Items::Own(items) => items.len(),
            Items::Beginning(_, length) => *length,
        }
    }

    fn get(&self, index: usize) -> Option<Val<'a>> {
        match &self.items {
            Items::Own(items) => items.get(index).cloned(),
            Items::Beginning(items, length) if index < *length => items.borrow().get(index).cloned(),
            Items::Beginning(..) => None,
        }
    }
}

/// Any list, to be read.
#[derive(Clone, Debug)]
pub(crate) enum Seq<'a> {
    Json(&'a [Json]),
    List(Rc<List<'a>>),
}

impl<'a> Seq<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Seq::Json(items) => items.len(),
            Seq::List(list) => list.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, index: usize) -> Option<Val<'a>> {
        match self {
            Seq::Json(items) => items.get(index).map(Val::from_json),
            Seq::List(list) => list.get(index),
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Val<'a>> + ExactSizeIterator + '_ {
        // A list does not become shorter, so the index is always inside.
        (0..self.len()).map(|index| self.get(index).unwrap_or(Val::Null))
    }

    pub(crate) fn to_vec(&self) -> Vec<Val<'a>> {
        self.iter().collect()
    }

    pub(crate) fn is_same(&self, other: &Seq<'a>) -> bool {
        match (self, other) {
            (Seq::Json(left), Seq::Json(right)) => std::ptr::eq(*left, *right),
            (Seq::List(left), Seq::List(right)) => Rc::ptr_eq(left, right),
            _ => false,
        }
    }
}
