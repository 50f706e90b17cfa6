//! The smallest parts of a text: blanks and comments, names, strings, numbers.
//!
//! Every function takes a position and gives the position after what it found, or nothing. Positions are byte offsets.

use std::sync::OnceLock;

/// What FEEL skips between tokens (DMN 1.5, grammar rules 61 and 62), comments left out.
pub(super) fn is_blank(character: char) -> bool {
    matches!(
        character,
        '\t'..='\r' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200b}'
            | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{feff}'
    )
}

/// The position after blanks and comments; `Err` with the position of a comment that does not end.
pub(super) fn blanks(text: &str, mut at: usize) -> Result<usize, usize> {
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            return Ok(at);
        };
        if is_blank(first) {
            at += first.len_utf8();
        } else if rest.starts_with("//") {
            at = rest.find('\n').map_or(text.len(), |newline| at + newline + 1);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            at = comment.find("*/").map(|end| at + 2 + end + 2).ok_or(at)?;
        } else {
            return Ok(at);
        }
    }
}

/// Words that are no names; a name may contain one.
const RESERVED: [&str; 11] = [
    "null",
    "true",
    "false",
    "function",
    "in",
    "return",
    "then",
    "else",
    "satisfies",
    "and",
    "or",
];

/// Java's `isJavaIdentifierStart`: letters, letter numbers, currency signs, connectors. Characters beyond the basic
/// plane are two units in Java and so never part of a name.
fn starts_name(character: char) -> bool {
    match character {
        'a'..='z' | 'A'..='Z' | '_' | '$' => true,
        _ if character.is_ascii() => false,
        _ => matches_class(character, &START, r"^[\p{L}\p{Nl}\p{Sc}\p{Pc}]$"),
    }
}

/// Java's `isJavaIdentifierPart`, without FEEL's blanks.
fn continues_name(character: char) -> bool {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '$' => true,
        '\0'..='\u{8}' | '\u{e}'..='\u{1b}' | '\u{7f}' => true,
        _ if character.is_ascii() || is_blank(character) => false,
        '\u{80}'..='\u{9f}' => true,
        _ => matches_class(character, &PART, r"^[\p{L}\p{Nl}\p{Sc}\p{Pc}\p{Nd}\p{Mc}\p{Mn}\p{Cf}]$"),
    }
}

static START: OnceLock<Option<regex::Regex>> = OnceLock::new();
static PART: OnceLock<Option<regex::Regex>> = OnceLock::new();

fn matches_class(character: char, class: &OnceLock<Option<regex::Regex>>, pattern: &str) -> bool {
    if u32::from(character) > 0xffff {
        return false;
    }
    let regex = class.get_or_init(|| regex::Regex::new(pattern).ok());
    regex
        .as_ref()
        .is_some_and(|regex| regex.is_match(character.encode_utf8(&mut [0; 4])))
}

/// A name without back-ticks.
pub(super) fn identifier(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    if !rest.chars().next().is_some_and(starts_name) {
        return None;
    }
    let length = rest.find(|character| !continues_name(character)).unwrap_or(rest.len());
    (!RESERVED.contains(&&rest[..length])).then_some(at + length)
}

/// A name in back-ticks; the name is what stands between them.
pub(super) fn escaped_identifier(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = text[at..].strip_prefix('`')?;
    let length = rest.find('`').filter(|length| *length > 0)?;
    Some((&rest[..length], at + 1 + length + 1))
}

/// Two or more names with single or more spaces between them, as in `string length`.
pub(super) fn spaced_identifier(text: &str, at: usize) -> Option<usize> {
    let mut end = identifier(text, at)?;
    let mut words = 1;
    while let Some(next) = spaces(text, end).and_then(|next| identifier(text, next)) {
        end = next;
        words += 1;
    }
    (words > 1).then_some(end)
}

fn spaces(text: &str, at: usize) -> Option<usize> {
    let length = text[at..].bytes().take_while(|byte| *byte == b' ').count();
    (length > 0).then_some(at + length)
}

/// The key of a context entry that is neither quoted nor a name: anything up to one of `" { } : , [ ]` or a back-tick.
/// Blanks and comments inside belong to it, those at its end do not.
pub(super) fn any_key(text: &str, at: usize) -> Option<usize> {
    let mut end = None;
    let mut next = at;
    while let Some(character) = text[next..].chars().next() {
        if matches!(character, '"' | '{' | '}' | ':' | ',' | '[' | ']' | '`') {
            break;
        }
        next += character.len_utf8();
        end = Some(next);
        next = blanks(text, next).ok()?;
    }
    end
}

/// What stands between the quotes of a string, escapes not yet read, and the position after it.
pub(super) fn quoted(text: &str, at: usize) -> Option<(&str, usize)> {
    let bytes = text.as_bytes();
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut next = at + 1;
    loop {
        match bytes.get(next)? {
            b'"' => return Some((&text[at + 1..next], next + 1)),
            b'\\' => next += 1 + text[next + 1..].chars().next()?.len_utf8(),
            _ => next += 1,
        }
    }
}

/// Digits with an optional fraction, or a fraction alone; a minus directly before belongs to it.
pub(super) fn number(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let start = if bytes.get(at) == Some(&b'-') { at + 1 } else { at };
    let whole = digits(start);
    let end = if bytes.get(whole) == Some(&b'.') {
        let fraction = digits(whole + 1);
        if fraction > whole + 1 { fraction } else { whole }
    } else {
        whole
    };
    (end > start).then_some(end)
}

/// Reads the escapes of a string as the real engine does: one kind after the other over the whole text, so that a
/// backslash before a backslash keeps what follows from being an escape.
pub(super) fn unescaped(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_owned();
    }
    let mut text: Vec<char> = raw.chars().collect();
    for (escape, meaning) in [
        ('n', '\n'),
        ('r', '\r'),
        ('t', '\t'),
        ('b', '\u{8}'),
        ('f', '\u{c}'),
        ('\'', '\''),
        ('"', '"'),
    ] {
        text = replaced(&text, escape, meaning, true);
    }
    replaced(&text, '\\', '\\', false).into_iter().collect()
}

fn replaced(text: &[char], escape: char, meaning: char, unless_escaped: bool) -> Vec<char> {
    let mut result = Vec::with_capacity(text.len());
    let mut index = 0;
    while index < text.len() {
        let found = text[index] == '\\' && text.get(index + 1) == Some(&escape);
        if found && !(unless_escaped && index > 0 && text[index - 1] == '\\') {
            result.push(meaning);
            index += 2;
        } else {
            result.push(text[index]);
            index += 1;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_word_is_no_name_but_may_begin_one() {
        assert_eq!(identifier("then", 0), None);
        assert_eq!(identifier("thenx + 1", 0), Some(5));
        assert_eq!(identifier("1a", 0), None);
    }

    #[test]
    fn only_seven_escapes_are_read() {
        assert_eq!(unescaped(r#"a\n\"\\d\u0041"#), "a\n\"\\d\\u0041");
        assert_eq!(unescaped(r"\\n"), "\\n");
    }

    #[test]
    fn a_key_keeps_the_blanks_inside_and_drops_those_at_its_end() {
        assert_eq!(
            any_key("first name : 1", 0).map(|end| &"first name : 1"[..end]),
            Some("first name")
        );
    }
}
