//! What every part of an expression gave: for a person who wonders why a result is what it is.

use crate::feel::limits::{Limits, Meter};
use crate::feel::syntax::{NodeId, Tree};
use crate::feel::value::{Val, show};
use std::cell::RefCell;

/// A part of an expression and what it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The text of the part.
    pub text: String,
    /// How many other parts it is in.
    pub depth: usize,
    /// Its value as text, shortened; `None` when the evaluation ended in it.
    pub value: Option<String>,
}

/// Parts beyond these are not kept: a loop has as many as it has rounds.
const MAX_PARTS: usize = 1_000;

/// Characters of a value that are kept.
const MAX_VALUE: usize = 200;

/// Parts in the order in which their evaluation began.
#[derive(Debug, Default)]
pub(super) struct Trace {
    parts: RefCell<Vec<(NodeId, usize, Option<String>)>>,
}

impl Trace {
    /// Opens a part; the place to hand to [`Trace::close`], unless there are too many.
    pub(super) fn open(&self, node: NodeId, depth: usize) -> Option<usize> {
        let mut parts = self.parts.borrow_mut();
        if parts.len() >= MAX_PARTS {
            return None;
        }
        parts.push((node, depth, None));
        Some(parts.len() - 1)
    }

    pub(super) fn close(&self, place: usize, value: &Val<'_>) {
        self.parts.borrow_mut()[place].2 = Some(brief(value));
    }

    /// The parts that have a text of their own.
    pub(super) fn finish(self, tree: &Tree, text: &str) -> Vec<Part> {
        let parts = self.parts.into_inner().into_iter();
        let with_text = parts.filter_map(|(node, depth, value)| {
            let (start, end) = tree.spans[node as usize];
            let text = text.get(start as usize..end as usize).filter(|text| !text.is_empty())?;
            Some(Part {
                text: text.to_owned(),
                depth,
                value,
            })
        });
        with_text.collect()
    }
}

/// The text of a value, or its kind and size when the text would be long.
fn brief(value: &Val<'_>) -> String {
    // A meter of its own: to be looked at must not change how an evaluation ends.
    let meter = Meter::new(&Limits {
        fuel: 2_000,
        cells: 200,
        ..Limits::default()
    });
    match (show(&meter, value), value.as_list(), value.as_context()) {
        (Ok(text), ..) if text.chars().count() <= MAX_VALUE => text,
        (_, Some(list), _) => format!("a list of {} items", list.len()),
        (_, _, Some(context)) => format!("a context of {} entries", context.len()),
        (Ok(text), ..) => format!("{}…", text.chars().take(MAX_VALUE).collect::<String>()),
        (Err(_), ..) => format!("a {}", value.kind()),
    }
}
