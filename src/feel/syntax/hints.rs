//! Common slips and what to write instead. What enters is a refused text and where it was refused; what leaves is one
//! sentence, or nothing.

/// A hint for a text that was refused at byte `offset`.
pub(super) fn hint(text: &str, offset: usize) -> Option<String> {
    let (before, rest) = text.split_at(offset);
    let typed = before.trim_end();
    operator(typed, rest)
        .or_else(|| quote(text, offset))
        .or_else(|| dashed_name(before, rest))
        .or_else(|| conditional(text, before, rest))
        .or_else(|| other(text, typed, rest))
}

fn operator(typed: &str, rest: &str) -> Option<String> {
    let hint = if rest.starts_with("==") || (typed.ends_with('=') && rest.starts_with('=')) {
        "equality is one `=`: `a = b`"
    } else if rest.starts_with("&&") {
        "write `and` instead of `&&`"
    } else if rest.starts_with("||") {
        "write `or` instead of `||`"
    } else if rest.starts_with('!') {
        "negation is a function: `not(condition)`; unequal is `!=`"
    } else if rest.starts_with("<>") || (typed.ends_with('<') && rest.starts_with('>')) {
        "unequal is `!=`"
    } else if rest.starts_with('%') {
        "the remainder is a function: `modulo(a, b)`"
    } else if rest.starts_with('^') {
        "a power is written `a ** b`"
    } else if rest.starts_with("=>") || (rest.starts_with('>') && typed.ends_with(['=', '-'])) {
        "a function is written `function(x) x + 1`"
    } else if rest.starts_with("?.") || rest.starts_with("??") {
        "a missing field is null already; for a default write `get or else(value, default)`"
    } else if rest.starts_with('=') && typed.is_empty() {
        "one `=` at the start of the whole expression is enough"
    } else if rest.starts_with('=') && typed.ends_with(['(', ',', ':', '[', '{']) {
        "only the whole expression starts with `=`; leave it out inside"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

fn quote(text: &str, offset: usize) -> Option<String> {
    let rest = &text[offset..];
    if rest.starts_with('\'') {
        return Some("strings stand in double quotes: `\"text\"`".to_owned());
    }
    let pasted = |character: char| {
        matches!(
            character,
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}' | '\u{ab}' | '\u{bb}'
        )
    };
    if rest.starts_with(pasted) || text[..offset].chars().next_back().is_some_and(pasted) {
        return Some(
            "these are typographic quotes, probably pasted from a document; strings need plain ones: `\"text\"`"
                .to_owned(),
        );
    }
    let quotes = text.replace("\\\"", "").matches('"').count();
    if rest.starts_with('"') && quotes % 2 == 1 {
        return Some("this string has no closing `\"`".to_owned());
    }
    if rest.starts_with("{{") {
        return Some(
            "`{{…}}` is a secret reference; it is replaced before the expression is read and only in job variables"
                .to_owned(),
        );
    }
    None
}

/// `headers.content-type` reads as a subtraction; it is only refused when what follows the dash is no operand.
fn dashed_name(before: &str, rest: &str) -> Option<String> {
    let dash = before.trim_end().strip_suffix('-')?;
    let name = dash
        .rsplit(|character: char| !character.is_alphanumeric() && character != '_')
        .next()
        .filter(|name| !name.is_empty())?;
    let tail: String = rest
        .chars()
        .take_while(|character| character.is_alphanumeric())
        .collect();
    (!tail.is_empty()).then(|| format!("a name with a dash needs back-ticks: `` `{name}-{tail}` ``"))
}

fn conditional(text: &str, before: &str, rest: &str) -> Option<String> {
    let word = |haystack: &str, needle: &str| {
        haystack
            .split(|character: char| !character.is_alphanumeric() && character != '_')
            .any(|word| word == needle)
    };
    if rest.starts_with('?') && rest.contains(':') {
        return Some("a choice is written `if condition then a else b`".to_owned());
    }
    let open = before.matches(['(', '[', '{']).count();
    let close = before.matches([')', ']', '}']).count();
    if word(text, "if") {
        if !word(before, "then") && !word(rest, "then") {
            return Some("after `if condition` comes `then value`".to_owned());
        }
        if !word(text, "else") {
            return Some("every `if … then …` needs an `else`: `else null` if there is nothing to say".to_owned());
        }
    }
    if rest.is_empty() && open > close {
        let missing = if before.matches('(').count() > before.matches(')').count() {
            ')'
        } else if before.matches('[').count() > before.matches(']').count() {
            ']'
        } else {
            '}'
        };
        return Some(format!("a closing `{missing}` is missing"));
    }
    None
}

fn other(text: &str, typed: &str, rest: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some("the expression is empty; for nothing write `null`".to_owned());
    }
    if rest.starts_with(';') {
        return Some("an expression is one value and has no `;`".to_owned());
    }
    if rest.starts_with('.')
        && typed
            .trim_end_matches('.')
            .ends_with(|character: char| character.is_ascii_digit())
    {
        return Some("a range stands in brackets: `[1..5]`, or after `in` of a `for`".to_owned());
    }
    if rest.starts_with(['}', ']', ')']) && typed.ends_with(',') {
        return Some("there is a comma too much".to_owned());
    }
    if rest.starts_with('(') && typed.ends_with([')', ']', '}']) {
        return Some("only a name can be called; give the function a name: `{f: function(x) x, r: f(1)}.r`".to_owned());
    }
    if rest.starts_with(|character: char| character.is_ascii_alphabetic())
        && typed.ends_with(|character: char| character.is_ascii_digit())
    {
        return Some(
            "a number has digits and one point only; a name cannot start with a digit unless it is in back-ticks"
                .to_owned(),
        );
    }
    None
}
