//! The longer functions of lists: each value once, sorting by a function, joining texts.

use super::{Run, illegal};
use crate::feel::error::Stop;
use crate::feel::interpreter::{Interpreter, Outcome, describe};
use crate::feel::limits::{CELL, LimitKind};
use crate::feel::value::{Function, List, Val, equal};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Each value once, and how often it is there.
///
/// Texts and numbers, which are what large lists hold, are found by hash; anything else is compared with all others of
/// its sort.
pub(super) fn distinct<'a>(
    interpreter: &Interpreter<'a>,
    items: Vec<Val<'a>>,
) -> Result<(Vec<Val<'a>>, Vec<usize>), Stop> {
    let mut texts: HashMap<String, usize> = HashMap::new();
    let mut numbers: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut others: Vec<usize> = Vec::new();
    let (mut kept, mut counts): (Vec<Val<'a>>, Vec<usize>) = (Vec::new(), Vec::new());
    for item in items {
        interpreter.meter.tick()?;
        let fresh = kept.len();
        let position = if let Some(text) = item.as_str() {
            interpreter.meter.allocate_text(text.len())?;
            *texts.entry(text.to_owned()).or_insert(fresh)
        } else {
            // Numbers that are equal have the same nearest double, and few others have.
            let candidates = match item.as_number() {
                Some(number) => numbers.entry((number.to_f64() + 0.0).to_bits()).or_default(),
                None => &mut others,
            };
            let mut found = fresh;
            for candidate in candidates.iter() {
                if equal(&interpreter.meter, &item, &kept[*candidate])? == Some(true) {
                    found = *candidate;
                    break;
                }
            }
            if found == fresh {
                candidates.push(fresh);
            }
            found
        };
        if position == fresh {
            kept.push(item);
            counts.push(1);
        } else {
            counts[position] += 1;
        }
    }
    Ok((kept, counts))
}

pub(super) const SORT: Run = |interpreter, arguments| {
    let [list, Val::Function(precedes)] = arguments else {
        return illegal(arguments);
    };
    let Some(list) = list.as_list() else {
        return illegal(arguments);
    };
    let parameters = precedes.definition.parameters.len();
    if parameters != 2 {
        return Ok(Val::error(format!(
            "the order needs a function of two items, this one has {parameters}"
        )));
    }
    match sorted(interpreter, list.to_vec(), precedes) {
        Ok(items) => List::charged(&interpreter.meter, items),
        // A failure inside the function makes the result null, a limit does not.
        Err(Stop::Failed(message)) => Ok(Val::Error(message.to_string().into())),
        Err(limit) => Err(limit),
    }
};

/// How the function orders two items. Both ways round are asked, as the real engine does: a function that gives no
/// boolean for one of them has no order to offer.
fn order<'a>(
    interpreter: &Interpreter<'a>,
    precedes: &Function<'a>,
    left: &Val<'a>,
    right: &Val<'a>,
) -> Result<Ordering, Stop> {
    let before = |left: &Val<'a>, right: &Val<'a>| match interpreter.invoke(precedes, &[left.clone(), right.clone()])? {
        Val::Bool(before) => Ok(before),
        other => Err(Stop::failed(format!(
            "the order gave {} instead of a boolean",
            describe(&other)
        ))),
    };
    if before(left, right)? {
        return Ok(Ordering::Less);
    }
    Ok(if before(right, left)? {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}

/// Java sorts fewer items than this by insertion.
const FEW: usize = 32;

/// Sorts as Java does, so that items which a careless `<=` puts both before each other come out in the same places.
fn sorted<'a>(
    interpreter: &Interpreter<'a>,
    items: Vec<Val<'a>>,
    precedes: &Function<'a>,
) -> Result<Vec<Val<'a>>, Stop> {
    if items.len() < 2 {
        return Ok(items);
    }
    if items.len() < FEW {
        insertion_sorted(interpreter, items, precedes)
    } else {
        merge_sorted(interpreter, items, precedes)
    }
}

/// The first run, turned round when it descends, then every other item by halving.
fn insertion_sorted<'a>(
    interpreter: &Interpreter<'a>,
    mut items: Vec<Val<'a>>,
    precedes: &Function<'a>,
) -> Result<Vec<Val<'a>>, Stop> {
    let descends = order(interpreter, precedes, &items[1], &items[0])? == Ordering::Less;
    let mut run = 2;
    while run < items.len()
        && (order(interpreter, precedes, &items[run], &items[run - 1])? == Ordering::Less) == descends
    {
        run += 1;
    }
    if descends {
        items[..run].reverse();
    }
    for index in run..items.len() {
        let (mut low, mut high) = (0, index);
        while low < high {
            let middle = (low + high) / 2;
            if order(interpreter, precedes, &items[index], &items[middle])? == Ordering::Less {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        items[low..=index].rotate_right(1);
    }
    Ok(items)
}

/// A stable merge sort that can stop, and that a function which contradicts itself cannot confuse.
fn merge_sorted<'a>(
    interpreter: &Interpreter<'a>,
    mut items: Vec<Val<'a>>,
    precedes: &Function<'a>,
) -> Result<Vec<Val<'a>>, Stop> {
    let mut width = 1;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        for pair in items.chunks(width * 2) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
            while let (Some(first), Some(second)) = (left.peek(), right.peek()) {
                let takes_right = order(interpreter, precedes, second, first)? == Ordering::Less;
                merged.extend(if takes_right { right.next() } else { left.next() }.cloned());
            }
            merged.extend(left.chain(right).cloned());
        }
        items = merged;
        width *= 2;
    }
    Ok(items)
}

pub(super) fn join<'a>(
    interpreter: &Interpreter<'a>,
    list: &Val<'a>,
    [delimiter, prefix, suffix]: [&Val<'a>; 3],
) -> Outcome<'a> {
    let Some(items) = list.as_list() else {
        return illegal(std::slice::from_ref(list));
    };
    let affix = |value: &Val<'a>| {
        if value.is_null() {
            Some(String::new())
        } else {
            value.as_str().map(str::to_owned)
        }
    };
    let (Some(delimiter), Some(prefix), Some(suffix)) = (affix(delimiter), affix(prefix), affix(suffix)) else {
        return illegal(&[list.clone(), delimiter.clone(), prefix.clone(), suffix.clone()]);
    };
    let mut text = prefix;
    let mut first = true;
    for item in items.iter() {
        interpreter.meter.tick()?;
        let Some(piece) = item.as_str() else {
            if item.is_null() {
                continue;
            }
            return Ok(Val::error(format!("only texts can be joined, not {}", describe(&item))));
        };
        if !first {
            text.push_str(&delimiter);
        }
        first = false;
        text.push_str(piece);
        if text.len() / CELL > interpreter.meter.cells_left() {
            return Err(LimitKind::Cells.into());
        }
    }
    text.push_str(&suffix);
    interpreter.meter.allocate_text(text.len())?;
    Ok(Val::text(text))
}
