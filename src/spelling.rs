//! The word that was probably meant: a mistyped name and the known ones go in, the nearest comes out.

/// Longer words are no typing errors, and the comparison takes the product of both lengths.
const LONGEST: usize = 100;

/// The known word nearest to `word`, if no more than half of it differs; letter case counts for nothing.
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    if word.chars().count() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::levenshtein(&word, &known.to_lowercase()), known))
        .min()
        .filter(|(distance, known)| *distance * 2 <= known.len())
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_nonsense_finds_none() {
        let known = ["runAndWait", "triggerFlowRun", "listFlows"];
        assert_eq!(nearest("runandwiat", known), Some("runAndWait"));
        assert_eq!(nearest("listFlow", known), Some("listFlows"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest(&"runAndWait".repeat(20), known), None);
        assert_eq!(nearest("any", []), None);
    }
}
