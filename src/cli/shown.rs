//! Values for people: a JSON object goes in, aligned lines and tables come out. What a server said is shown without the
//! characters that steer a terminal.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Characters of a cell that others follow; the whole is there as JSON.
const LONGEST_CELL: usize = 60;

/// An object as lines of names and values; lists of objects become tables.
pub(super) fn object(value: &Value) -> String {
    let Value::Object(fields) = value else {
        return text(value);
    };
    let mut out = String::new();
    let (tables, lines): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| is_table(value));
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in lines {
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{name:width$}  {}", indented(value, width + 2));
    }
    for (name, value) in tables {
        let rows = value.as_array().map_or(&[][..], Vec::as_slice);
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = write!(out, "{name}\n{}", table(rows));
    }
    out.trim_end().to_owned()
}

/// Objects as a table: a column for each name that any of them has.
pub(super) fn table(rows: &[Value]) -> String {
    let rows: Vec<&Map<String, Value>> = rows.iter().filter_map(Value::as_object).collect();
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|row| row.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut lines = vec![names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>()];
    lines.extend(rows.iter().map(|row| {
        let last = names.len().saturating_sub(1);
        let cell = |(column, name): (usize, &&str)| {
            let whole = row.get(*name).map_or_else(|| "-".into(), cell);
            if column == last { whole } else { cut(whole) }
        };
        names.iter().enumerate().map(cell).collect()
    }));
    let widths: Vec<usize> = (0..names.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(out, "  {}", cells.join("  ").trim_end());
    }
    out
}

fn is_table(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|rows| !rows.is_empty() && rows.iter().all(Value::is_object))
}

fn cell(value: &Value) -> String {
    let whole = match value {
        Value::Null => "-".into(),
        _ => text(value),
    };
    whole.replace('\n', " ")
}

fn cut(whole: String) -> String {
    match whole.char_indices().nth(LONGEST_CELL) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

/// A value; texts without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        Value::Array(_) | Value::Object(_) => {
            harmless(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()))
        }
        _ => value.to_string(),
    }
}

fn indented(value: &Value, by: usize) -> String {
    text(value).replace('\n', &format!("\n{:by$}", ""))
}

/// Without characters that steer a terminal.
pub(super) fn harmless(text: &str) -> String {
    let steers = |char: char| char.is_control() && char != '\n';
    if !text.contains(steers) {
        return text.to_owned();
    }
    let shown = |char: char| match steers(char) {
        true => char.escape_default().to_string(),
        false => char.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_values_stand_in_columns_and_lists_become_tables() {
        let value = json!({"count": 2, "complete": true, "flows": [
            {"name": "Book invoice", "id": "1"}, {"name": "x", "id": "2", "state": null}]});
        assert_eq!(
            object(&value),
            "count     2\ncomplete  true\n\nflows\n  name          id  state\n  Book invoice  1   -\n  x             2   -"
        );
    }

    #[test]
    fn inner_objects_are_json_below_their_name() {
        assert_eq!(
            object(&json!({"outputs": {"A": 1}, "x": null, "none": []})),
            "outputs  {\n           \"A\": 1\n         }\nx        null\nnone     []"
        );
    }

    #[test]
    fn what_steers_a_terminal_is_shown_not_done() {
        assert_eq!(object(&json!({"a": "x\u{1b}[2Jy\r"})), "a  x\\u{1b}[2Jy\\r");
        assert!(!object(&json!({"a": {"b": "\u{9b}2J"}})).contains('\u{9b}'));
    }

    #[test]
    fn a_long_cell_is_cut_unless_nothing_follows_it() {
        let long = table(&[json!({"a": "ä".repeat(100), "b": "ö".repeat(100)})]);
        assert!(long.contains(&format!("{}…  {}\n", "ä".repeat(60), "ö".repeat(100))));
    }
}
