//! Functions of contexts.

use super::{BuiltIn, Run, illegal, takes, takes_any};
use crate::feel::error::Stop;
use crate::feel::interpreter::{Interpreter, Outcome};
use crate::feel::value::{Ctx, Draft, Key, List, Val};
use std::rc::Rc;

const MERGE_DOC: &str = "the entries of all contexts in one; of two with one name the later counts";

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "get entries",
        doc: "the entries of a context as a list of contexts with `key` and `value`",
        example: ("get entries({a: 1})", "[{\"key\":\"a\",\"value\":1}]"),
        overloads: &[takes(&["context"], ENTRIES), takes(&["m"], ENTRIES)],
    },
    BuiltIn {
        name: "get value",
        doc: "the value of an entry, or of an entry in an entry when a list of names is given",
        example: ("get value({a: {b: 1}}, [\"a\", \"b\"])", "1"),
        overloads: &[
            takes(&["m", "key"], VALUE),
            takes(&["context", "key"], VALUE),
            takes(&["context", "keys"], VALUE),
        ],
    },
    BuiltIn {
        name: "context put",
        doc: "the context with an entry added or replaced; a list of names leads into contexts within it",
        example: ("context put({a: 1}, [\"b\", \"c\"], 2)", "{\"a\":1,\"b\":{\"c\":2}}"),
        overloads: &[
            takes(&["context", "key", "value"], PUT),
            takes(&["context", "keys", "value"], PUT),
        ],
    },
    BuiltIn {
        name: "put",
        doc: "the older name of `context put`",
        example: ("put({a: 1}, \"b\", 2)", "{\"a\":1,\"b\":2}"),
        overloads: &[takes(&["context", "key", "value"], PUT)],
    },
    BuiltIn {
        name: "context merge",
        doc: MERGE_DOC,
        example: ("context merge({a: 1}, {a: 2, b: 3})", "{\"a\":2,\"b\":3}"),
        overloads: &[takes_any(&["contexts"], MERGE)],
    },
    BuiltIn {
        name: "put all",
        doc: "the older name of `context merge`",
        example: ("put all([{a: 1}, {b: 2}])", "{\"a\":1,\"b\":2}"),
        overloads: &[takes_any(&["contexts"], MERGE)],
    },
    BuiltIn {
        name: "context",
        doc: "a context from a list of contexts with `key` and `value`",
        example: ("context([{key: \"a\", value: 1}])", "{\"a\":1}"),
        overloads: &[takes(&["entries"], FROM_ENTRIES)],
    },
];

const ENTRIES: Run = |interpreter, arguments| {
    let [value] = arguments else {
        return illegal(arguments);
    };
    let Some(context) = value.as_context() else {
        return illegal(arguments);
    };
    let mut entries = Vec::with_capacity(context.len());
    for (key, value) in context.entries() {
        let mut entry = Draft::default();
        let name = match key {
            Key::Str(text) => Val::Str(text),
            Key::Text(text) => Val::Text(text),
        };
        entry.set(Key::Str("key"), name);
        entry.set(Key::Str("value"), value);
        entries.push(entry.finish(&interpreter.meter, false)?);
    }
    List::charged(&interpreter.meter, entries)
};

const VALUE: Run = |interpreter, arguments| {
    let [context, key] = arguments else {
        return illegal(arguments);
    };
    let Some(mut context) = context.as_context() else {
        return illegal(arguments);
    };
    if let Some(name) = key.as_str() {
        return Ok(context.get(name).unwrap_or(Val::Null));
    }
    let Some(names) = key.as_list() else {
        return illegal(arguments);
    };
    let mut value = Val::Null;
    if names.iter().any(|name| name.as_str().is_none()) {
        return Ok(Val::Null);
    }
    for (index, name) in names.iter().enumerate() {
        interpreter.meter.tick()?;
        value = name.as_str().and_then(|name| context.get(name)).unwrap_or(Val::Null);
        if index + 1 < names.len() {
            let Some(inner) = value.as_context() else {
                return Ok(Val::Null);
            };
            context = inner;
        }
    }
    Ok(value)
};

const PUT: Run = |interpreter, arguments| {
    let [context, key, value] = arguments else {
        return illegal(arguments);
    };
    let Some(context) = context.as_context() else {
        return illegal(arguments);
    };
    if let Some(name) = key.as_str() {
        return put(interpreter, Some(&context), name, value.clone());
    }
    let Some(names) = key.as_list() else {
        return illegal(arguments);
    };
    let names: Option<Vec<Rc<str>>> = names.iter().map(|name| name.as_str().map(Rc::from)).collect();
    match names {
        None => illegal(arguments),
        Some(names) if names.is_empty() => Ok(Val::Null),
        Some(names) => put_deep(interpreter, Some(&context), &names, value.clone()),
    }
};

fn put<'a>(interpreter: &Interpreter<'a>, context: Option<&Ctx<'a>>, name: &str, value: Val<'a>) -> Outcome<'a> {
    let mut draft = context.map_or_else(Draft::default, Ctx::to_draft);
    draft.set(Key::Text(name.into()), value);
    draft.finish(&interpreter.meter, false)
}

/// What is no context on the way is replaced by one.
fn put_deep<'a>(
    interpreter: &Interpreter<'a>,
    context: Option<&Ctx<'a>>,
    names: &[Rc<str>],
    value: Val<'a>,
) -> Outcome<'a> {
    let [name, rest @ ..] = names else {
        return Ok(value);
    };
    interpreter.meter.enter()?;
    let inner = context
        .and_then(|context| context.get(name))
        .and_then(|inner| inner.as_context());
    let value = put_deep(interpreter, inner.as_ref(), rest, value);
    interpreter.meter.leave();
    put(interpreter, context, name, value?)
}

const MERGE: Run = |interpreter, arguments| {
    let [contexts] = arguments else {
        return illegal(arguments);
    };
    let Some(contexts) = contexts.as_list() else {
        return Ok(Val::Null);
    };
    let mut merged = Draft::default();
    for item in contexts.iter() {
        let Some(context) = item.as_context() else {
            return Ok(Val::Null);
        };
        interpreter.meter.burn(context.len() as u64 + 1)?;
        for (key, value) in context.entries() {
            merged.set(key, value);
        }
    }
    merged.finish(&interpreter.meter, false)
};

const FROM_ENTRIES: Run = |interpreter, arguments| {
    let [entries] = arguments else {
        return illegal(arguments);
    };
    let Some(entries) = entries.as_list() else {
        return Ok(Val::Null);
    };
    let mut draft = Draft::default();
    for item in entries.iter() {
        interpreter.meter.tick()?;
        let entry = item
            .as_context()
            .and_then(|context| Some((context.get("key")?, context.get("value")?)));
        let Some((key, value)) = entry else {
            return Ok(Val::Null);
        };
        let key = match key {
            Val::Str(text) => Key::Str(text),
            Val::Text(text) => Key::Text(text),
            _ => return Ok(Val::Null),
        };
        draft.set(key, value);
    }
    draft.finish(&interpreter.meter, false)
};

/// A context with these entries, as the functions of connectors give it.
pub(super) fn context_of<'a>(
    interpreter: &Interpreter<'a>,
    entries: Vec<(&'static str, Val<'a>)>,
) -> Result<Val<'a>, Stop> {
    let mut draft = Draft::default();
    for (key, value) in entries {
        draft.set(Key::Str(key), value);
    }
    draft.finish(&interpreter.meter, false)
}
