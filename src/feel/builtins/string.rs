//! Functions of text. Positions and lengths count UTF-16 units, as in Java.

use super::{BuiltIn, Run, illegal, takes};
use crate::feel::error::Stop;
use crate::feel::interpreter::{Interpreter, Outcome};
use crate::feel::value::{List, Val};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "substring",
        doc: "the text from a position on, optionally of a length; positions count from 1, or from the end when negative",
        example: ("substring(\"foobar\", 3, 2)", "\"ob\""),
        overloads: &[
            takes(
                &["string", "start position"],
                |interpreter, arguments| match arguments {
                    [text, Val::Number(start)] => match text.as_str() {
                        Some(text) => substring(interpreter, text, start.low_i32(), None),
                        None => illegal(arguments),
                    },
                    _ => illegal(arguments),
                },
            ),
            takes(
                &["string", "start position", "length"],
                |interpreter, arguments| match arguments {
                    [text, Val::Number(start), Val::Number(length)] => match text.as_str() {
                        Some(text) => substring(interpreter, text, start.low_i32(), Some(length.low_i32())),
                        None => illegal(arguments),
                    },
                    _ => illegal(arguments),
                },
            ),
        ],
    },
    BuiltIn {
        name: "string length",
        doc: "the number of characters of a text; one beyond the basic plane counts twice",
        example: ("string length(\"foo\")", "3"),
        overloads: &[takes(&["string"], |interpreter, arguments| match arguments {
            [text] if text.as_str().is_some() => {
                let text = text.as_str().unwrap_or_default();
                interpreter.meter.burn(text.len() as u64 / SCANNED)?;
                Ok(Val::int(units(text) as i64))
            }
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "upper case",
        doc: "the text in upper case",
        example: ("upper case(\"aBc4\")", "\"ABC4\""),
        overloads: &[takes(&["string"], |interpreter, arguments| {
            mapped(interpreter, arguments, |text| text.to_uppercase())
        })],
    },
    BuiltIn {
        name: "lower case",
        doc: "the text in lower case",
        example: ("lower case(\"aBc4\")", "\"abc4\""),
        overloads: &[takes(&["string"], |interpreter, arguments| {
            mapped(interpreter, arguments, |text| text.to_lowercase())
        })],
    },
    BuiltIn {
        name: "substring before",
        doc: "the text before the first occurrence of another; empty when there is none",
        example: ("substring before(\"foobar\", \"bar\")", "\"foo\""),
        overloads: &[takes(&["string", "match"], |interpreter, arguments| {
            cut(interpreter, arguments, |text, at, _| text[..at].to_owned())
        })],
    },
    BuiltIn {
        name: "substring after",
        doc: "the text after the first occurrence of another; empty when there is none",
        example: ("substring after(\"foobar\", \"ob\")", "\"ar\""),
        overloads: &[takes(&["string", "match"], |interpreter, arguments| {
            cut(interpreter, arguments, |text, at, length| {
                text[at + length..].to_owned()
            })
        })],
    },
    BuiltIn {
        name: "replace",
        doc: "the text with every match of a regular expression replaced; `$1` in the replacement is the first group",
        example: (
            "replace(\"2024-01-31\", \"(\\d+)-(\\d+)-(\\d+)\", \"$3.$2.$1\")",
            "\"31.01.2024\"",
        ),
        overloads: &[
            takes(&["input", "pattern", "replacement"], |interpreter, arguments| {
                replace(interpreter, arguments, "")
            }),
            takes(
                &["input", "pattern", "replacement", "flags"],
                |interpreter, arguments| match arguments {
                    [values @ .., flags] => match flags.as_str() {
                        Some(flags) => replace(interpreter, values, flags),
                        None => illegal(arguments),
                    },
                    [] => illegal(arguments),
                },
            ),
        ],
    },
    BuiltIn {
        name: "contains",
        doc: "whether a text holds another",
        example: ("contains(\"foobar\", \"of\")", "false"),
        overloads: &[takes(&["string", "match"], |interpreter, arguments| {
            asked(interpreter, arguments, |text, other| text.contains(other))
        })],
    },
    BuiltIn {
        name: "starts with",
        doc: "whether a text begins with another",
        example: ("starts with(\"foobar\", \"fo\")", "true"),
        overloads: &[takes(&["string", "match"], |interpreter, arguments| {
            asked(interpreter, arguments, |text, other| text.starts_with(other))
        })],
    },
    BuiltIn {
        name: "ends with",
        doc: "whether a text ends with another",
        example: ("ends with(\"foobar\", \"r\")", "true"),
        overloads: &[takes(&["string", "match"], |interpreter, arguments| {
            asked(interpreter, arguments, |text, other| text.ends_with(other))
        })],
    },
    BuiltIn {
        name: "matches",
        doc: "whether a regular expression matches somewhere in a text; flags are i, s, m and x",
        example: ("matches(\"FOOBAR\", \"^fo*b\", \"i\")", "true"),
        overloads: &[
            takes(&["input", "pattern"], |interpreter, arguments| {
                matches(interpreter, arguments, "")
            }),
            takes(
                &["input", "pattern", "flags"],
                |interpreter, arguments| match arguments {
                    [values @ .., flags] => match flags.as_str() {
                        Some(flags) => matches(interpreter, values, flags),
                        None => illegal(arguments),
                    },
                    [] => illegal(arguments),
                },
            ),
        ],
    },
    BuiltIn {
        name: "split",
        doc: "the pieces of a text between the matches of a regular expression",
        example: ("split(\"a;b;;\", \";\")", "[\"a\",\"b\",\"\",\"\"]"),
        overloads: &[takes(&["string", "delimiter"], SPLIT)],
    },
    BuiltIn {
        name: "extract",
        doc: "all matches of a regular expression in a text",
        example: ("extract(\"order 1234 and 1256\", \"\\d+\")", "[\"1234\",\"1256\"]"),
        overloads: &[takes(&["input", "pattern"], EXTRACT)],
    },
    BuiltIn {
        name: "trim",
        doc: "the text without blanks at its ends",
        example: ("trim(\"  hi \")", "\"hi\""),
        overloads: &[takes(&["string"], |interpreter, arguments| {
            mapped(interpreter, arguments, |text| {
                text.trim_matches(|character| character <= ' ').to_owned()
            })
        })],
    },
    BuiltIn {
        name: "uuid",
        doc: "a random identifier",
        example: ("uuid()", ""),
        overloads: &[takes(&[], |interpreter, _| {
            let uuid = random_uuid();
            interpreter.meter.allocate_text(uuid.len())?;
            Ok(Val::text(uuid))
        })],
    },
    BuiltIn {
        name: "to base64",
        doc: "a text, as UTF-8, in Base64",
        example: ("to base64(\"FEEL\")", "\"RkVFTA==\""),
        overloads: &[takes(&["value"], |interpreter, arguments| {
            mapped(interpreter, arguments, |text| STANDARD.encode(text))
        })],
    },
    BuiltIn {
        name: "from base64",
        doc: "the text that is written, as UTF-8, in Base64",
        example: ("from base64(\"RkVFTA==\")", "\"FEEL\""),
        overloads: &[takes(&["value"], |interpreter, arguments| match arguments {
            [text] if text.as_str().is_some() => match decode(text.as_str().unwrap_or_default()) {
                Some(decoded) => {
                    interpreter.meter.allocate_text(decoded.len())?;
                    Ok(Val::text(decoded))
                }
                None => Ok(Val::error("the text is no Base64")),
            },
            _ => illegal(arguments),
        })],
    },
    BuiltIn {
        name: "is blank",
        doc: "whether a text is empty or holds only blanks",
        example: ("is blank(\" \")", "true"),
        overloads: &[takes(&["string"], |_, arguments| match arguments {
            [text] if text.as_str().is_some() => {
                Ok(Val::Bool(text.as_str().unwrap_or_default().chars().all(is_java_blank)))
            }
            _ => illegal(arguments),
        })],
    },
];

/// Bytes that are looked at for one step.
const SCANNED: u64 = 32;

fn units(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.encode_utf16().count()
    }
}

/// Outside the text Java throws, so the evaluation fails.
fn substring<'a>(interpreter: &Interpreter<'a>, text: &str, start: i32, length: Option<i32>) -> Outcome<'a> {
    interpreter.meter.burn(text.len() as u64 / SCANNED)?;
    let whole = i32::try_from(units(text)).unwrap_or(i32::MAX);
    let from = if start > 0 {
        start - 1
    } else {
        whole.wrapping_add(start)
    };
    let to = length.map_or(whole, |length| from.wrapping_add(length).min(whole));
    if from < 0 || from > to || to > whole {
        return Err(Stop::failed(format!(
            "the text of {whole} characters has no part from position {start} on{}",
            length.map_or(String::new(), |length| format!(" of length {length}"))
        )));
    }
    let (from, to) = (from as usize, to as usize);
    interpreter.meter.allocate_text(to - from)?;
    if text.is_ascii() {
        return Ok(Val::text(&text[from..to]));
    }
    // Half of a character beyond the basic plane has no UTF-8 form; U+FFFD stands for it.
    let part: Vec<u16> = text.encode_utf16().skip(from).take(to - from).collect();
    Ok(Val::text(String::from_utf16_lossy(&part)))
}

fn mapped<'a>(interpreter: &Interpreter<'a>, arguments: &[Val<'a>], map: impl Fn(&str) -> String) -> Outcome<'a> {
    match arguments {
        [text] if text.as_str().is_some() => {
            let result = map(text.as_str().unwrap_or_default());
            interpreter.meter.allocate_text(result.len())?;
            Ok(Val::text(result))
        }
        _ => illegal(arguments),
    }
}

fn two_texts<'v>(arguments: &'v [Val<'_>]) -> Option<(&'v str, &'v str)> {
    match arguments {
        [first, second] => first.as_str().zip(second.as_str()),
        _ => None,
    }
}

fn asked<'a>(interpreter: &Interpreter<'a>, arguments: &[Val<'a>], ask: impl Fn(&str, &str) -> bool) -> Outcome<'a> {
    let Some((text, other)) = two_texts(arguments) else {
        return illegal(arguments);
    };
    interpreter.meter.burn(text.len() as u64 / SCANNED)?;
    Ok(Val::Bool(ask(text, other)))
}

fn cut<'a>(
    interpreter: &Interpreter<'a>,
    arguments: &[Val<'a>],
    keep: impl Fn(&str, usize, usize) -> String,
) -> Outcome<'a> {
    let Some((text, other)) = two_texts(arguments) else {
        return illegal(arguments);
    };
    interpreter.meter.burn(text.len() as u64 / SCANNED)?;
    let result = text
        .find(other)
        .map_or_else(String::new, |at| keep(text, at, other.len()));
    interpreter.meter.allocate_text(result.len())?;
    Ok(Val::text(result))
}

fn no_pattern<'a>(pattern: &str) -> Outcome<'a> {
    Ok(Val::error(format!(
        "`{}` is no regular expression",
        pattern.chars().take(60).collect::<String>()
    )))
}

fn matches<'a>(interpreter: &Interpreter<'a>, arguments: &[Val<'a>], flags: &str) -> Outcome<'a> {
    let Some((text, pattern)) = two_texts(arguments) else {
        return illegal(arguments);
    };
    match interpreter.patterns.get(&interpreter.meter, pattern, flags)? {
        Some(compiled) => compiled.is_match(&interpreter.meter, text).map(Val::Bool),
        None => no_pattern(pattern),
    }
}

fn replace<'a>(interpreter: &Interpreter<'a>, arguments: &[Val<'a>], flags: &str) -> Outcome<'a> {
    let [text, pattern, replacement] = arguments else {
        return illegal(arguments);
    };
    let (Some(text), Some(pattern), Some(replacement)) = (text.as_str(), pattern.as_str(), replacement.as_str()) else {
        return illegal(arguments);
    };
    let Some(compiled) = interpreter.patterns.get(&interpreter.meter, pattern, flags)? else {
        return no_pattern(pattern);
    };
    Ok(compiled
        .replace_all(&interpreter.meter, text, replacement)?
        .map_or_else(
            || {
                Val::error(format!(
                    "the replacement `{replacement}` refers to a group that does not exist"
                ))
            },
            Val::text,
        ))
}

const SPLIT: Run = |interpreter, arguments| {
    let Some((text, delimiter)) = two_texts(arguments) else {
        return illegal(arguments);
    };
    let Some(compiled) = interpreter.patterns.get(&interpreter.meter, delimiter, "")? else {
        return no_pattern(delimiter);
    };
    let pieces = compiled.split(&interpreter.meter, text)?;
    interpreter.meter.allocate_text(text.len())?;
    List::charged(&interpreter.meter, pieces.into_iter().map(Val::text).collect())
};

const EXTRACT: Run = |interpreter, arguments| {
    let Some((text, pattern)) = two_texts(arguments) else {
        return illegal(arguments);
    };
    let Some(compiled) = interpreter.patterns.get(&interpreter.meter, pattern, "")? else {
        return no_pattern(pattern);
    };
    let found = compiled.matches(&interpreter.meter, text)?;
    interpreter.meter.allocate_text(text.len())?;
    let mut pieces = Vec::with_capacity(found.len());
    for (start, end) in found {
        pieces.push(Val::text(&text[start..end]));
        // What matches nothing before a character that is a pair in Java matches nothing between its halves, too.
        if start == end && text[end..].starts_with(|character| character > '\u{ffff}') {
            pieces.push(Val::text(""));
        }
    }
    List::charged(&interpreter.meter, pieces)
};

/// Java's decoder: padding may be left out, anything else must be right; bytes that are no UTF-8 become U+FFFD.
fn decode(text: &str) -> Option<String> {
    let lenient = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    lenient
        .decode(text)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn random_uuid() -> String {
    // Version 4, variant 1 of RFC 9562.
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Java's `Character.isWhitespace`: blanks that break, and the separators among the control characters.
fn is_java_blank(character: char) -> bool {
    match character {
        '\u{1c}'..='\u{1f}' => true,
        '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}' => false,
        other => other.is_whitespace(),
    }
}
