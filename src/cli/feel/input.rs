//! What the prompt knows about a text that is still being written: whether it goes on in the next line, and which names
//! could stand at the cursor.

use serde_json::{Map, Value};

use crate::feel::{Program, built_ins};

/// What can be typed instead of an expression.
pub(super) const COMMANDS: [&str; 5] = [":context", ":functions", ":explain", ":help", ":quit"];

/// Whether a text waits for more lines: brackets, a text or a comment are open. A blank line ends it in any case.
pub(super) fn goes_on(text: &str) -> bool {
    let expression = match text.trim_start().strip_prefix(':') {
        None => text,
        Some(command) => match command.strip_prefix("explain") {
            None => return false,
            Some(expression) => expression,
        },
    };
    let ends_blank = expression.contains('\n')
        && expression
            .lines()
            .next_back()
            .is_some_and(|line| line.trim().is_empty());
    // `[1..5[` is whole although its brackets are not in pairs: the parser knows.
    !ends_blank && !expression.ends_with('\n') && is_open(expression) && Program::parse(expression).is_err()
}

fn is_open(text: &str) -> bool {
    let mut open = 0_i64;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open -= 1,
            '"' => loop {
                match rest.next() {
                    None => return true,
                    Some('"') => break,
                    Some('\\') => {
                        rest.next();
                    }
                    Some(_) => {}
                }
            },
            '/' if rest.peek() == Some(&'/') => while rest.next().is_some_and(|character| character != '\n') {},
            '/' if rest.peek() == Some(&'*') => {
                rest.next();
                let mut last = ' ';
                loop {
                    match rest.next() {
                        None => return true,
                        Some('/') if last == '*' => break,
                        Some(character) => last = character,
                    }
                }
            }
            _ => {}
        }
    }
    open > 0
}

/// The names that could stand at the end of `before`, and the byte at which they would begin.
pub(super) fn complete(before: &str, context: &Map<String, Value>) -> (usize, Vec<String>) {
    if let Some(command) = before.strip_prefix(':') {
        return complete_command(before, command, context);
    }
    let path = tail(before, |character| {
        is_part_of_name(character) || matches!(character, '.' | '`')
    });
    if let Some((parents, prefix)) = path.rsplit_once('.') {
        let prefix = prefix.trim_start_matches('`');
        let start = before.len() - path.len() + parents.len() + 1;
        return (start, fields(context, parents, prefix));
    }
    let words = tail(before, |character| is_part_of_name(character) || character == ' ');
    let variables = |piece: &str| -> Vec<String> {
        context
            .keys()
            .filter(|name| !piece.contains(' ') && name.starts_with(piece))
            .map(|name| quoted(name))
            .collect()
    };
    // `string l` may begin `string length`: the longest run of words that begins a name wins.
    for (at, piece) in pieces(words) {
        let mut names = variables(piece);
        names.extend(function_names(piece).map(|name| format!("{name}(")));
        if !names.is_empty() {
            return (before.len() - words.len() + at, names);
        }
    }
    let all = if words.trim().is_empty() {
        variables("")
    } else {
        Vec::new()
    };
    (before.len(), all)
}

fn complete_command(before: &str, command: &str, context: &Map<String, Value>) -> (usize, Vec<String>) {
    match command.split_once(' ') {
        None => {
            let known = COMMANDS.iter().filter(|known| known.starts_with(before));
            (0, known.map(|known| format!("{known} ")).collect())
        }
        Some(("functions", name)) => {
            let name = name.trim_start();
            (
                before.len() - name.len(),
                function_names(name).map(str::to_owned).collect(),
            )
        }
        Some(("explain", expression)) => {
            let (start, names) = complete(expression, context);
            (before.len() - expression.len() + start, names)
        }
        Some(_) => (before.len(), Vec::new()),
    }
}

/// The places in a run of words at which a name may begin, from the left.
fn pieces(words: &str) -> impl Iterator<Item = (usize, &str)> {
    let begins = |at: usize| at == 0 || words[..at].ends_with(' ');
    words
        .char_indices()
        .filter(move |(at, character)| *character != ' ' && begins(*at))
        .map(|(at, _)| (at, &words[at..]))
}

fn function_names(piece: &str) -> impl Iterator<Item = &'static str> {
    built_ins()
        .into_iter()
        .flat_map(|(_, functions)| functions)
        .map(|function| function.name)
        .filter(move |name| name.starts_with(piece))
}

fn fields(context: &Map<String, Value>, parents: &str, prefix: &str) -> Vec<String> {
    let mut fields = Some(context);
    for parent in parents.split('.') {
        let value = fields.and_then(|fields| fields.get(parent.trim_matches('`')));
        // A path over a list goes to each of its items.
        let value = match value {
            Some(Value::Array(items)) => items.first(),
            value => value,
        };
        fields = value.and_then(Value::as_object);
    }
    fields
        .into_iter()
        .flat_map(Map::keys)
        .filter(|name| name.starts_with(prefix))
        .map(|name| quoted(name))
        .collect()
}

fn is_part_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn quoted(name: &str) -> String {
    let plain = name.chars().all(is_part_of_name) && !name.starts_with(|first: char| first.is_ascii_digit());
    if plain { name.to_owned() } else { format!("`{name}`") }
}

fn tail(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    let length: usize = text
        .chars()
        .rev()
        .take_while(|&character| belongs(character))
        .map(char::len_utf8)
        .sum();
    &text[text.len() - length..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(before: &str) -> (usize, Vec<String>) {
        let context =
            serde_json::json!({"order": {"id": 1, "content-type": "x", "lines": [{"price": 2}]}, "orders": []});
        complete(before, context.as_object().expect("an object"))
    }

    #[test]
    fn open_brackets_texts_and_comments_go_on() {
        for text in ["{a: 1,", "sum([1, 2", "\"Ada", "1 /* why", "(\"a)\"", ":explain (1 +"] {
            assert!(goes_on(text), "{text}");
        }
        for text in [
            "1 + 1",
            "1 in [1..5[",
            "\"(\"",
            "1 // (",
            "1 +",
            ")",
            "(1\n",
            ":context (",
            "",
            "{a: 1,\n ",
        ] {
            assert!(!goes_on(text), "{text}");
        }
    }

    #[test]
    fn names_of_functions_may_have_blanks() {
        assert_eq!(completed("1 + string l"), (4, vec!["string length(".to_owned()]));
        assert_eq!(completed("if string le").1, ["string length("]);
        assert_eq!(completed(":functions substring b").1, ["substring before"]);
    }

    #[test]
    fn names_of_the_context_are_offered_with_their_fields() {
        assert_eq!(
            completed("1 + order"),
            (4, vec!["order".to_owned(), "orders".to_owned()])
        );
        assert_eq!(completed("order.i"), (6, vec!["id".to_owned()]));
        assert_eq!(completed("order.co"), (6, vec!["`content-type`".to_owned()]));
        assert_eq!(completed("order.lines.p").1, ["price"]);
        assert_eq!(completed(":explain order.i"), (15, vec!["id".to_owned()]));
        assert!(completed("nothing.here.").1.is_empty());
    }
}
