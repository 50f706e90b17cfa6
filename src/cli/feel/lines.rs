//! `deskhand feel --jsonl`: lines with expressions go in, as many lines with results come out, in order.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::report::error_kind;
use crate::cli::FAILURE;
use crate::cli::output::complain;
use crate::feel::{Program, Projection, Scope};
use crate::job::describe;

/// Longer lines are refused.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;
/// Programs that are kept; all go when there are more.
const PROGRAMS: usize = 1_024;
/// Longer expressions are parsed each time, so that the programs kept stay small.
const LONGEST_KEPT: usize = 4_096;
const BUFFER: usize = 64 * 1024;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    expr: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// A program, and what it sees of a context.
struct Known {
    program: Program,
    seen: Projection,
}

struct Refusal {
    kind: &'static str,
    error: String,
}

pub(super) fn run() -> ExitCode {
    let mut input = BufReader::with_capacity(BUFFER, std::io::stdin().lock());
    let mut output = BufWriter::with_capacity(BUFFER, std::io::stdout().lock());
    match answer_all(&mut input, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe wants no more.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("lines cannot be read or written: {error}"));
            ExitCode::from(FAILURE)
        }
    }
}

fn answer_all<R: Read>(input: &mut BufReader<R>, output: &mut impl Write) -> std::io::Result<()> {
    let mut evaluator = Evaluator::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return output.flush();
        }
        if line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            let error = format!("the line is longer than {LONGEST_LINE} bytes");
            write_answer(output, None, &Err(Refusal { kind: "input", error }))?;
        } else {
            evaluator.answer(&line, output)?;
        }
        // A caller that waits for this answer before it writes the next line must get it.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
}

#[derive(Default)]
struct Evaluator {
    programs: HashMap<String, Result<Known, String>>,
}

impl Evaluator {
    fn answer(&mut self, line: &[u8], output: &mut impl Write) -> std::io::Result<()> {
        match serde_json::from_slice::<Line<'_>>(line) {
            Ok(line) => {
                let answer = self.evaluate(&line);
                write_answer(output, line.id, &answer)
            }
            Err(error) => {
                let error = format!("the line must be {{\"expr\": TEXT, \"context\": OBJECT}}: {error}");
                write_answer(output, None, &Err(Refusal { kind: "input", error }))
            }
        }
    }

    fn evaluate(&mut self, line: &Line<'_>) -> Result<String, Refusal> {
        let input = |error: String| Refusal { kind: "input", error };
        let Some(expr) = line.expr else {
            return Err(input("`expr` is missing: write {\"expr\": \"1 + 1\"}".into()));
        };
        let expr = text(expr).map_err(|error| input(format!("`expr` must be a text: {error}")))?;
        let parsed;
        let program = if expr.len() > LONGEST_KEPT {
            parsed = parse(&expr);
            &parsed
        } else {
            kept(&mut self.programs, &expr)
        };
        let known = program.as_ref();
        // A context is read as far as the expression sees it; one that cannot be read is a fault before all others.
        let context = match line.context {
            None => Value::Null,
            Some(context) => match known {
                Ok(known) => known.seen.read(context.get()),
                Err(_) => serde_json::from_str(context.get()),
            }
            .map_err(|error| input(format!("`context` cannot be read: {error}")))?,
        };
        let scope = match &context {
            Value::Null => Scope::new(),
            Value::Object(variables) => Scope::new().layer(variables),
            other => {
                return Err(input(format!(
                    "`context` must be a JSON object, but is {}",
                    describe(other)
                )));
            }
        };
        let known = known.map_err(|error| Refusal {
            kind: "parse",
            error: error.clone(),
        })?;
        known
            .program
            .result_text(&scope, super::settings())
            .map_err(|error| Refusal {
                kind: error_kind(&error),
                error: error.to_string(),
            })
    }
}

fn kept<'p>(programs: &'p mut HashMap<String, Result<Known, String>>, expr: &str) -> &'p Result<Known, String> {
    if !programs.contains_key(expr) {
        if programs.len() >= PROGRAMS {
            programs.clear();
        }
        programs.insert(expr.to_owned(), parse(expr));
    }
    &programs[expr]
}

fn parse(expr: &str) -> Result<Known, String> {
    let program = Program::parse_within(expr, &super::settings().limits).map_err(|error| error.summary())?;
    let seen = program.projection();
    Ok(Known { program, seen })
}

/// The text that a JSON string holds, without a copy where it has no escapes.
fn text(raw: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    serde_json::from_str::<&str>(raw.get())
        .map(Cow::Borrowed)
        .or_else(|_| serde_json::from_str::<String>(raw.get()).map(Cow::Owned))
}

fn write_answer(
    output: &mut impl Write,
    id: Option<&RawValue>,
    answer: &Result<String, Refusal>,
) -> std::io::Result<()> {
    match answer {
        Ok(value) => {
            output.write_all(b"{\"ok\":true,\"value\":")?;
            output.write_all(value.as_bytes())?;
        }
        Err(Refusal { kind, error }) => {
            output.write_all(b"{\"ok\":false,\"error\":")?;
            serde_json::to_writer(&mut *output, error)?;
            write!(output, ",\"kind\":\"{kind}\"")?;
        }
    }
    if let Some(id) = id {
        write!(output, ",\"id\":{}", id.get())?;
    }
    output.write_all(b"}\n")
}
