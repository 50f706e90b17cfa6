//! The prompt of `deskhand feel`: reads expressions and commands until the person leaves.

use std::path::PathBuf;
use std::process::ExitCode;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use serde_json::{Map, Value};

use super::report::{self, Asked};
use super::{context, input, reference};
use crate::cli::FAILURE;
use crate::cli::output::{complain, line};

const HELP: &str = "\
An expression is evaluated; it goes on in the next line while brackets are open, and a blank line ends it.
  :context FILE     take the variables from a JSON file; without FILE: their names
  :functions NAME   what a built-in function does; without NAME: all of them
  :explain EXPR     the value of every part of an expression
  :help             this
  :quit             leave, as Ctrl-D does
Tab completes names of functions, variables and fields; the arrows go back to what was typed before.";

/// Lines that are kept for the next time.
const HISTORY: usize = 1_000;

struct Desk {
    context: Map<String, Value>,
}

/// Asks until the person leaves.
pub(super) fn run(context: Map<String, Value>) -> ExitCode {
    match talk(context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("the prompt does not work here: {error}"));
            ExitCode::from(FAILURE)
        }
    }
}

fn talk(context: Map<String, Value>) -> rustyline::Result<()> {
    let config = Config::builder()
        .max_history_size(HISTORY)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Desk, DefaultHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Desk { context }));
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    line(format_args!(
        "FEEL, as the worker evaluates it. :help says what there is, Ctrl-D leaves."
    ));
    loop {
        match editor.readline("feel> ") {
            Ok(text) => {
                if text.trim().is_empty() {
                    continue;
                }
                editor.add_history_entry(text.as_str())?;
                let Some(desk) = editor.helper_mut() else { break };
                if !desk.obey(text.trim()) {
                    break;
                }
            }
            // Ctrl-C drops the line alone.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error),
        }
    }
    if let Some(file) = &history
        && let Err(error) = save(&mut editor, file)
    {
        complain(format_args!(
            "the history cannot be kept in {}: {error}",
            file.display()
        ));
    }
    Ok(())
}

fn save(editor: &mut Editor<Desk, DefaultHistory>, file: &std::path::Path) -> rustyline::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    editor.save_history(file)
}

/// In the user's state directory (XDG), or its counterpart on Windows.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let state = set("XDG_STATE_HOME")
        .or_else(|| set("LOCALAPPDATA"))
        .or_else(|| set("HOME").map(|home| home.join(".local").join("state")))?;
    Some(state.join("deskhand").join("feel-history"))
}

impl Desk {
    /// Does what was typed; false to leave.
    fn obey(&mut self, text: &str) -> bool {
        let (command, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        match command {
            ":quit" | ":q" => return false,
            ":help" => line(format_args!("{HELP}")),
            ":functions" => {
                reference::run(rest, false);
            }
            ":context" if rest.is_empty() => {
                let names: Vec<_> = self.context.keys().map(String::as_str).collect();
                match names.as_slice() {
                    [] => line(format_args!("no variables; :context FILE takes them from a file")),
                    names => line(format_args!("{}", names.join(", "))),
                }
            }
            ":context" if rest == "-" => complain(format_args!(":context needs a file: the prompt reads the terminal")),
            ":context" => match context(rest) {
                Ok(context) => self.context = context,
                Err(message) => complain(format_args!("{message}")),
            },
            ":explain" => self.evaluate(rest, true),
            _ if command.starts_with(':') => complain(format_args!(
                "there is no {command}; there are {}",
                input::COMMANDS.join(", ")
            )),
            _ => self.evaluate(text, false),
        }
        true
    }

    fn evaluate(&self, expression: &str, explain: bool) {
        let asked = Asked {
            explain,
            type_line: true,
            ..Asked::default()
        };
        report::print(expression, &self.context, asked);
    }
}

impl Completer for Desk {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, names) = input::complete(&line[..position], &self.context);
        let pair = |name: String| Pair {
            display: name.clone(),
            replacement: name,
        };
        Ok((start, names.into_iter().map(pair).collect()))
    }
}

impl Validator for Desk {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        if input::goes_on(context.input()) {
            Ok(ValidationResult::Incomplete)
        } else {
            Ok(ValidationResult::Valid(None))
        }
    }
}

impl Hinter for Desk {
    type Hint = String;
}

impl Highlighter for Desk {}
impl Helper for Desk {}
