//! Functions of truth and absence.

use super::{BuiltIn, illegal, takes};
use crate::feel::value::Val;

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "not",
        doc: "the opposite of a boolean; null for anything else",
        example: ("not(true)", "false"),
        overloads: &[takes(&["negand"], |_, arguments| match arguments {
            [Val::Bool(value)] => Ok(Val::Bool(!value)),
            _ => Ok(Val::Null),
        })],
    },
    BuiltIn {
        name: "is defined",
        doc: "whether a value is there and not null",
        example: ("is defined({a: 1}.b)", "false"),
        overloads: &[takes(&["value"], |_, arguments| {
            Ok(Val::Bool(!matches!(arguments, [Val::Null])))
        })],
    },
    BuiltIn {
        name: "get or else",
        doc: "the value, or the default when the value is null",
        example: ("get or else({a: 1}.b, \"none\")", "\"none\""),
        overloads: &[takes(&["value", "default"], |_, arguments| match arguments {
            [Val::Null, default] => Ok(default.clone()),
            [value, _] => Ok(value.clone()),
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "assert",
        doc: "the value if the condition is true; otherwise the evaluation fails with the cause",
        example: ("assert(5, 5 > 3)", "5"),
        overloads: &[
            takes(&["value", "condition"], |_, arguments| match arguments {
                [value, Val::Bool(true)] => Ok(value.clone()),
                _ => Ok(Val::error("The condition is not fulfilled")),
            }),
            takes(&["value", "condition", "cause"], |_, arguments| match arguments {
                [value, Val::Bool(true), _] => Ok(value.clone()),
                [_, _, cause] => match cause.as_str() {
                    Some(cause) => Ok(Val::error(cause)),
                    None => illegal(arguments),
                },
                _ => illegal(arguments),
            }),
        ],
    },
];
