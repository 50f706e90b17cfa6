//! Why a text is no expression, in a form that shows where.

use std::fmt;

/// A text that is no expression.
///
/// Its `Display` is several lines: what was found and expected with line and column, the line itself with a caret
/// below, and a hint when the slip is a common one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Byte offset into the text of the program.
    pub offset: usize,
    /// What stands there: a quoted piece of the text, or `the end`.
    pub found: String,
    /// What could stand there instead; empty when the text was refused for another reason.
    pub expected: Vec<String>,
    /// What is wrong, when it is not just an unexpected piece of text.
    pub problem: Option<String>,
    /// The line with the mistake, shortened around it.
    pub source: String,
    /// How many characters of `source` stand before the mistake.
    pub indent: usize,
    /// What to write instead, for common slips.
    pub hint: Option<String>,
}

/// Characters of the line that are shown before and after the mistake.
const BEFORE: usize = 60;
const AFTER: usize = 40;

impl ParseError {
    pub(super) fn new(
        text: &str,
        offset: usize,
        mut expected: Vec<&'static str>,
        problem: Option<String>,
    ) -> ParseError {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
        let in_line = text[line_start..offset].chars().count();
        let shown_start = in_line.saturating_sub(BEFORE);
        let source: String = text[line_start..line_end]
            .chars()
            .skip(shown_start)
            .take(BEFORE + AFTER)
            .collect();
        expected.sort_unstable();
        expected.dedup();
        ParseError {
            line: before.matches('\n').count() + 1,
            column: in_line + 1,
            offset,
            found: found(&text[offset..]),
            expected: expected.into_iter().map(str::to_owned).collect(),
            problem,
            // A tab would move the caret away from what it points at.
            source: source.trim_end().replace('\t', " "),
            indent: in_line - shown_start,
            hint: None,
        }
    }

    pub(super) fn with_hint(mut self, hint: Option<String>) -> ParseError {
        self.hint = hint;
        self
    }

    /// One line without the source: for logs.
    pub fn summary(&self) -> String {
        let mut summary = format!("line {}, column {}: ", self.line, self.column);
        match &self.problem {
            Some(problem) => summary.push_str(problem),
            None => {
                summary.push_str(&format!("found {}", self.found));
                if !self.expected.is_empty() {
                    summary.push_str(&format!(", expected {}", alternatives(&self.expected)));
                }
            }
        }
        summary
    }
}

fn found(rest: &str) -> String {
    let Some(first) = rest.chars().next() else {
        return "the end".to_owned();
    };
    let word: String = if first.is_alphanumeric() {
        rest.chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .take(20)
            .collect()
    } else {
        first.to_string()
    };
    format!("`{word}`")
}

fn alternatives(expected: &[String]) -> String {
    match expected {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.summary())?;
        writeln!(out, "  {}", self.source)?;
        write!(out, "  {:indent$}^", "", indent = self.indent)?;
        if let Some(hint) = &self.hint {
            write!(out, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}
