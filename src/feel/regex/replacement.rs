//! Java's replacement texts: `$1`, `${name}`, and a backslash before anything that stands for itself.

use super::Groups;

/// Appends what one match is replaced by; `false` when the replacement is malformed or names a group that is not there.
pub(super) fn append(
    out: &mut String,
    replacement: &str,
    text: &str,
    groups: &Groups,
    named: impl Fn(&str) -> Option<usize>,
) -> bool {
    let mut rest = replacement;
    while let Some(special) = rest.find(['\\', '$']) {
        out.push_str(&rest[..special]);
        let escaped = rest.as_bytes()[special] == b'\\';
        rest = &rest[special + 1..];
        if escaped {
            let Some(literal) = rest.chars().next() else {
                return false;
            };
            out.push(literal);
            rest = &rest[literal.len_utf8()..];
            continue;
        }
        let Some((group, length)) = reference(rest, groups.len(), &named) else {
            return false;
        };
        if let Some((start, end)) = groups[group] {
            out.push_str(&text[start..end]);
        }
        rest = &rest[length..];
    }
    out.push_str(rest);
    true
}

/// The group after `$` and how long its name is. Digits are taken as long as they make the number of a group.
fn reference(rest: &str, count: usize, named: &impl Fn(&str) -> Option<usize>) -> Option<(usize, usize)> {
    if let Some(inner) = rest.strip_prefix('{') {
        let end = inner.find('}')?;
        let valid = inner[..end].starts_with(|first: char| first.is_ascii_alphabetic());
        return if valid {
            Some((named(&inner[..end])?, end + 2))
        } else {
            None
        };
    }
    let mut digits = rest
        .bytes()
        .take_while(u8::is_ascii_digit)
        .map(|digit| usize::from(digit - b'0'));
    let mut group = digits.next().filter(|group| *group < count)?;
    let mut length = 1;
    for digit in digits {
        let longer = group * 10 + digit;
        if longer >= count {
            break;
        }
        (group, length) = (longer, length + 1);
    }
    Some((group, length))
}
