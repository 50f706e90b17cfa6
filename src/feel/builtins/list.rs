//! Functions of lists.

use super::list_parts::{SORT, distinct, join};
use super::{BuiltIn, Run, illegal, takes, takes_any};
use crate::feel::error::Stop;
use crate::feel::interpreter::{Interpreter, Outcome};
use crate::feel::number::Number;
use crate::feel::value::{List, Seq, Val, equal, identical};

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "list contains",
        doc: "whether a value is in a list",
        example: ("list contains([1, 2, 3], 2)", "true"),
        overloads: &[takes(&["list", "element"], |interpreter, arguments| match arguments {
            [list, element] => {
                let Some(list) = list.as_list() else {
                    return illegal(arguments);
                };
                for item in list.iter() {
                    if identical(&interpreter.meter, &item, element)? {
                        return Ok(Val::Bool(true));
                    }
                }
                Ok(Val::Bool(false))
            }
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "count",
        doc: "the number of items",
        example: ("count([1, 2, 3])", "3"),
        overloads: &[takes(&["list"], |_, arguments| match arguments {
            [list] => list
                .as_list()
                .map_or_else(|| illegal(arguments), |list| Ok(Val::int(list.len() as i64))),
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "sublist",
        doc: "the items from a position on, optionally so many",
        example: ("sublist([1, 2, 3], 2)", "[2,3]"),
        overloads: &[
            takes(&["list", "start"], |interpreter, arguments| match arguments {
                [_, Val::Number(start)] => sublist(interpreter, arguments, start, None),
                _ => illegal(arguments),
            }),
            takes(&["list", "start", "length"], |interpreter, arguments| match arguments {
                [_, Val::Number(start), Val::Number(length)] => {
                    sublist(interpreter, arguments, start, Some(length.low_i32()))
                }
                _ => illegal(arguments),
            }),
        ],
    },
    BuiltIn {
        name: "append",
        doc: "the list with more items at its end",
        example: ("append([1], 2, 3)", "[1,2,3]"),
        overloads: &[takes_any(
            &["list", "items"],
            |interpreter, arguments| match two_lists(arguments) {
                Some((list, items)) => {
                    let mut all = list.to_vec();
                    all.extend(items.iter());
                    List::charged(&interpreter.meter, all)
                }
                None => illegal(arguments),
            },
        )],
    },
    BuiltIn {
        name: "concatenate",
        doc: "the items of all lists in one list",
        example: ("concatenate([1, 2], [3])", "[1,2,3]"),
        overloads: &[takes_any(&["lists"], |interpreter, arguments| {
            match only_list(arguments) {
                Some(lists) => {
                    let items = joined(interpreter, &lists)?;
                    List::wrap(&interpreter.meter, items)
                }
                None => illegal(arguments),
            }
        })],
    },
    BuiltIn {
        name: "insert before",
        doc: "the list with an item before a position",
        example: ("insert before([1, 3], 2, 2)", "[1,2,3]"),
        overloads: &[takes(&["list", "position", "newItem"], INSERT)],
    },
    BuiltIn {
        name: "remove",
        doc: "the list without the item at a position",
        example: ("remove([1, 2, 3], 2)", "[1,3]"),
        overloads: &[takes(&["list", "position"], REMOVE)],
    },
    BuiltIn {
        name: "reverse",
        doc: "the items in reverse order",
        example: ("reverse([1, 2, 3])", "[3,2,1]"),
        overloads: &[takes(&["list"], |interpreter, arguments| match only_list(arguments) {
            Some(list) => List::charged(&interpreter.meter, list.iter().rev().collect()),
            None => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "index of",
        doc: "the positions of a value in a list",
        example: ("index of([1, 2, 3, 2], 2)", "[2,4]"),
        overloads: &[takes(&["list", "match"], |interpreter, arguments| match arguments {
            [list, wanted] => {
                let Some(list) = list.as_list() else {
                    return illegal(arguments);
                };
                let mut positions = Vec::new();
                for (index, item) in list.iter().enumerate() {
                    if equal(&interpreter.meter, &item, wanted)? == Some(true) {
                        positions.push(Val::int(index as i64 + 1));
                    }
                }
                List::charged(&interpreter.meter, positions)
            }
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "union",
        doc: "the items of all lists, each value once",
        example: ("union([1, 2], [2, 3])", "[1,2,3]"),
        overloads: &[takes_any(&["lists"], |interpreter, arguments| {
            match only_list(arguments) {
                Some(lists) => {
                    let items = joined(interpreter, &lists)?;
                    let (distinct, _) = distinct(interpreter, items)?;
                    List::wrap(&interpreter.meter, distinct)
                }
                None => illegal(arguments),
            }
        })],
    },
    BuiltIn {
        name: "distinct values",
        doc: "the items, each value once",
        example: ("distinct values([1, 2, 1])", "[1,2]"),
        overloads: &[takes(&["list"], |interpreter, arguments| match only_list(arguments) {
            Some(list) => {
                let (distinct, _) = distinct(interpreter, list.to_vec())?;
                List::charged(&interpreter.meter, distinct)
            }
            None => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "duplicate values",
        doc: "the values that a list holds more than once, each once",
        example: ("duplicate values([1, 2, 1, 3])", "[1]"),
        overloads: &[takes(&["list"], |interpreter, arguments| match only_list(arguments) {
            Some(list) => {
                let (distinct, counts) = distinct(interpreter, list.to_vec())?;
                let repeated = distinct
                    .into_iter()
                    .zip(counts)
                    .filter(|(_, count)| *count > 1)
                    .map(|(item, _)| item);
                List::charged(&interpreter.meter, repeated.collect())
            }
            None => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "flatten",
        doc: "the items of all lists within lists in one list",
        example: ("flatten([1, [2, [3]]])", "[1,2,3]"),
        overloads: &[takes(&["list"], |interpreter, arguments| match only_list(arguments) {
            Some(list) => {
                let mut items = Vec::new();
                flatten(interpreter, &list, &mut items)?;
                List::wrap(&interpreter.meter, items)
            }
            None => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "sort",
        doc: "the items in the order that a function of two items gives: true when the first comes before the second",
        example: ("sort([3, 1, 2], function(x, y) x < y)", "[1,2,3]"),
        overloads: &[takes(&["list", "precedes"], SORT)],
    },
    BuiltIn {
        name: "string join",
        doc: "the texts of a list in one text, with a delimiter between, a prefix before and a suffix after; null is left out",
        example: ("string join([\"a\", null, \"b\"], \", \", \"[\", \"]\")", "\"[a, b]\""),
        overloads: &[
            takes(&["list"], |interpreter, arguments| match arguments {
                [list] => join(interpreter, list, [&Val::Null, &Val::Null, &Val::Null]),
                _ => illegal(arguments),
            }),
            takes(&["list", "delimiter"], |interpreter, arguments| match arguments {
                [list, delimiter] => join(interpreter, list, [delimiter, &Val::Null, &Val::Null]),
                _ => illegal(arguments),
            }),
            takes(
                &["list", "delimiter", "prefix", "suffix"],
                |interpreter, arguments| match arguments {
                    // One of prefix and suffix without the other is refused.
                    [_, _, prefix, suffix] if prefix.is_null() != suffix.is_null() => illegal(arguments),
                    [list, delimiter, prefix, suffix] => join(interpreter, list, [delimiter, prefix, suffix]),
                    _ => illegal(arguments),
                },
            ),
        ],
    },
    BuiltIn {
        name: "is empty",
        doc: "whether a list has no items",
        example: ("is empty([])", "true"),
        overloads: &[takes(&["list"], |_, arguments| match only_list(arguments) {
            Some(list) => Ok(Val::Bool(list.is_empty())),
            None => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "partition",
        doc: "the items in lists of a size; the last one may be shorter",
        example: ("partition([1, 2, 3], 2)", "[[1,2],[3]]"),
        overloads: &[takes(&["list", "size"], PARTITION)],
    },
    BuiltIn {
        name: "and",
        doc: ALL,
        example: ("and(true, false)", "false"),
        overloads: &[takes_any(&["list"], EVERY)],
    },
    BuiltIn {
        name: "all",
        doc: ALL,
        example: ("all([true, true])", "true"),
        overloads: &[takes_any(&["list"], EVERY)],
    },
    BuiltIn {
        name: "or",
        doc: ANY,
        example: ("or(false, null)", "null"),
        overloads: &[takes_any(&["list"], SOME)],
    },
    BuiltIn {
        name: "any",
        doc: ANY,
        example: ("any([false, true])", "true"),
        overloads: &[takes_any(&["list"], SOME)],
    },
];

const ALL: &str = "false if an item is false, true if all are true, null otherwise";
const ANY: &str = "true if an item is true, false if all are false, null otherwise";

pub(super) fn only_list<'a>(arguments: &[Val<'a>]) -> Option<Seq<'a>> {
    match arguments {
        [list] => list.as_list(),
        _ => None,
    }
}

fn two_lists<'a>(arguments: &[Val<'a>]) -> Option<(Seq<'a>, Seq<'a>)> {
    match arguments {
        [first, second] => first.as_list().zip(second.as_list()),
        _ => None,
    }
}

/// A position from 1, or from the end when it is negative, as an index that may be outside.
fn index_of(length: usize, position: i32) -> i32 {
    if position > 0 {
        position - 1
    } else {
        (length as i32).wrapping_add(position)
    }
}

fn within(index: i32, length: usize) -> usize {
    usize::try_from(index).unwrap_or(0).min(length)
}

fn sublist<'a>(
    interpreter: &Interpreter<'a>,
    arguments: &[Val<'a>],
    start: &Number,
    length: Option<i32>,
) -> Outcome<'a> {
    let Some(list) = arguments.first().and_then(Val::as_list) else {
        return illegal(arguments);
    };
    if start.is_zero() {
        return Ok(Val::error("positions count from 1"));
    }
    let from = index_of(list.len(), start.low_i32());
    let to = length.map_or(list.len() as i32, |length| from.wrapping_add(length));
    let (from, to) = (within(from, list.len()), within(to, list.len()));
    List::charged(
        &interpreter.meter,
        (from..to.max(from)).filter_map(|index| list.get(index)).collect(),
    )
}

const INSERT: Run = |interpreter, arguments| {
    let [list, Val::Number(position), item] = arguments else {
        return illegal(arguments);
    };
    let Some(list) = list.as_list() else {
        return illegal(arguments);
    };
    if position.is_zero() {
        return Ok(Val::error("positions count from 1"));
    }
    let at = within(index_of(list.len(), position.low_i32()), list.len());
    let mut items = list.to_vec();
    items.insert(at, item.clone());
    List::charged(&interpreter.meter, items)
};

/// The real engine takes the items before the position and those after the next one, each found on its own: for
/// positions far outside the list the two overlap.
const REMOVE: Run = |interpreter, arguments| {
    let [list, Val::Number(position)] = arguments else {
        return illegal(arguments);
    };
    let Some(list) = list.as_list() else {
        return illegal(arguments);
    };
    if position.is_zero() {
        return Ok(Val::error("positions count from 1"));
    }
    let position = position.low_i32();
    let head = within(index_of(list.len(), position), list.len());
    let tail = within(index_of(list.len(), position.wrapping_add(1)), list.len());
    let items = (0..head).chain(tail..list.len()).filter_map(|index| list.get(index));
    List::charged(&interpreter.meter, items.collect())
};

/// The items of lists among the items, and the other items.
fn joined<'a>(interpreter: &Interpreter<'a>, lists: &Seq<'a>) -> Result<Vec<Val<'a>>, Stop> {
    let mut items = Vec::new();
    for item in lists.iter() {
        match item.as_list() {
            Some(inner) => {
                interpreter.meter.allocate(inner.len())?;
                items.extend(inner.iter());
            }
            None => {
                interpreter.meter.allocate(1)?;
                items.push(item);
            }
        }
    }
    Ok(items)
}

fn flatten<'a>(interpreter: &Interpreter<'a>, list: &Seq<'a>, items: &mut Vec<Val<'a>>) -> Result<(), Stop> {
    interpreter.meter.enter()?;
    for item in list.iter() {
        interpreter.meter.tick()?;
        match item.as_list() {
            Some(inner) => flatten(interpreter, &inner, items)?,
            None => {
                interpreter.meter.allocate(1)?;
                items.push(item);
            }
        }
    }
    interpreter.meter.leave();
    Ok(())
}

const PARTITION: Run = |interpreter, arguments| {
    let [list, Val::Number(size)] = arguments else {
        return illegal(arguments);
    };
    let Some(list) = list.as_list() else {
        return illegal(arguments);
    };
    let Some(size) = usize::try_from(size.low_i32()).ok().filter(|size| *size > 0) else {
        return Ok(Val::error("the size of a part must be above zero"));
    };
    let items = list.to_vec();
    let parts = items
        .chunks(size)
        .map(|part| List::charged(&interpreter.meter, part.to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    List::charged(&interpreter.meter, parts)
};

const EVERY: Run = |interpreter, arguments| decided(interpreter, arguments, false);
const SOME: Run = |interpreter, arguments| decided(interpreter, arguments, true);

/// Unlike the operators these do not look behind a value that is no boolean unless it is decisive.
fn decided<'a>(interpreter: &Interpreter<'a>, arguments: &[Val<'a>], decisive: bool) -> Outcome<'a> {
    let Some(list) = only_list(arguments) else {
        return illegal(arguments);
    };
    let mut unknown = false;
    for item in list.iter() {
        interpreter.meter.tick()?;
        match item {
            Val::Bool(value) if value == decisive => return Ok(Val::Bool(decisive)),
            Val::Bool(_) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Val::Null } else { Val::Bool(!decisive) })
}
