//! The nearest name: what was probably meant by one that does not exist.

/// Names longer than this are not compared: a distance costs the product of the lengths.
const MAX_LENGTH: usize = 64;
const MAX_NAMES: usize = 500;

/// `; did you mean `x`?`, or which names there are when they are few, or nothing.
pub(super) fn nearest<N: AsRef<str>>(name: &str, names: &[N]) -> String {
    let best = names
        .iter()
        .take(MAX_NAMES)
        .map(|known| (distance(name, known.as_ref()), known.as_ref()))
        .min_by_key(|(distance, _)| *distance);
    match best {
        Some((distance, known)) if distance <= 1 + name.chars().count() / 4 => {
            format!("; did you mean `{known}`?")
        }
        _ if names.is_empty() => String::new(),
        _ if names.len() <= 8 => {
            let listed: Vec<String> = names.iter().map(|known| format!("`{}`", known.as_ref())).collect();
            format!(
                "; there {} {}",
                if names.len() == 1 { "is" } else { "are" },
                listed.join(", ")
            )
        }
        _ => String::new(),
    }
}

/// Edits between two names; letters that differ in case only count as equal.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().flat_map(char::to_lowercase).take(MAX_LENGTH).collect();
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).take(MAX_LENGTH).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
