//! An expression, read once and evaluated as often as needed.

use super::error::{EvalError, Warning};
use super::interpreter::{Interpreter, Part};
use super::limits::Limits;
use super::projection::Projection;
use super::settings::{Scope, Settings};
use super::syntax::{self, ParseError, Tree};
use super::value;

/// A parsed expression. It holds no data of any evaluation and can be shared by threads.
#[derive(Debug)]
pub struct Program {
    text: String,
    tree: Tree,
}

/// What an evaluation gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The result as the connector runtime turns it into JSON: whole numbers that fit 64 bits stay whole, other numbers
    /// become doubles, temporal values become ISO text.
    pub value: serde_json::Value,
    /// Places that became null although something was probably meant; at most 50.
    pub warnings: Vec<Warning>,
}

impl Program {
    /// Reads an expression. Blanks around it and one `=` before it are left out, as the connector runtime does.
    ///
    /// # Errors
    ///
    /// A [`ParseError`] with line, column and, for common slips, a hint.
    ///
    /// ```
    /// use deskhand::feel::Program;
    ///
    /// let error = Program::parse("= if status == 200 then 1 else 2").unwrap_err();
    /// assert_eq!((error.line, error.column), (1, 12));
    /// assert!(error.hint.unwrap().contains("one `=`"));
    /// ```
    pub fn parse(text: &str) -> Result<Program, ParseError> {
        Program::parse_within(text, &Limits::default())
    }

    /// As [`Program::parse`], with other limits for nesting and chains.
    pub fn parse_within(text: &str, limits: &Limits) -> Result<Program, ParseError> {
        let text = java_trim(text);
        let text = java_trim(text.strip_prefix('=').unwrap_or(text)).to_owned();
        let tree = syntax::parse(&text, limits)?;
        Ok(Program { text, tree })
    }

    /// The text without the blanks and the `=` around it; positions of errors count in it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the expression can see of an object whose entries are its variables. It is worked out anew by each call.
    pub fn projection(&self) -> Projection {
        Projection::of(&self.tree)
    }

    /// Evaluates the expression and turns the result into JSON.
    ///
    /// # Errors
    ///
    /// [`EvalError::Failed`] where the real engine fails, too, and when the result holds what JSON cannot say;
    /// [`EvalError::Limit`] when the evaluation costs too much.
    ///
    /// ```
    /// use deskhand::feel::{Limits, Program, Scope, Settings};
    ///
    /// let program = Program::parse("for i in 1..1000000000 return i").unwrap();
    /// let settings = Settings { limits: Limits { fuel: 1_000, ..Limits::default() }, ..Settings::default() };
    /// let error = program.evaluate(&Scope::new(), &settings).unwrap_err();
    /// assert!(error.to_string().contains("`fuel`"));
    /// ```
    pub fn evaluate(&self, scope: &Scope<'_>, settings: &Settings) -> Result<Evaluation, EvalError> {
        let interpreter = Interpreter::new(&self.tree, scope, settings);
        let bytes = settings.limits.output_bytes;
        let value = interpreter.run(|meter, value| value::to_json(meter, value, bytes))?;
        Ok(Evaluation {
            value,
            warnings: interpreter.take_warnings(),
        })
    }

    /// As [`Program::evaluate`] without warnings, which then cost nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Program::evaluate`].
    pub fn result(&self, scope: &Scope<'_>, settings: &Settings) -> Result<serde_json::Value, EvalError> {
        let interpreter = Interpreter::new(&self.tree, scope, settings).quiet();
        let bytes = settings.limits.output_bytes;
        interpreter.run(|meter, value| value::to_json(meter, value, bytes))
    }

    /// As [`Program::result`], as JSON text: no tree is built for it.
    ///
    /// # Errors
    ///
    /// Those of [`Program::evaluate`].
    ///
    /// ```
    /// use deskhand::feel::{Program, Scope, Settings};
    ///
    /// let response = serde_json::json!({"items": [{"price": 1.50}, {"price": 2.0}]});
    /// let program = Program::parse("{prices: response.items.price}").unwrap();
    /// let text = program.result_text(&Scope::new().variable("response", &response), &Settings::default()).unwrap();
    /// assert_eq!(text, r#"{"prices":[1.5,2]}"#);
    /// ```
    pub fn result_text(&self, scope: &Scope<'_>, settings: &Settings) -> Result<String, EvalError> {
        let interpreter = Interpreter::new(&self.tree, scope, settings).quiet();
        let bytes = settings.limits.output_bytes;
        interpreter.run(|meter, value| value::to_json_text(meter, value, bytes))
    }

    /// Evaluates and keeps what every part of the expression gave, in the order in which they began: the evaluation
    /// itself, also when it failed, and at most 1,000 parts.
    ///
    /// ```
    /// use deskhand::feel::{Program, Scope, Settings};
    ///
    /// let (result, parts) = Program::parse("1 + 2 * 3").unwrap().explain(&Scope::new(), &Settings::default());
    /// assert_eq!(result.unwrap().value, 7);
    /// let shown: Vec<_> = parts.iter().map(|part| (part.depth, part.text.as_str(), part.value.as_deref())).collect();
    /// assert_eq!(shown[0], (0, "1 + 2 * 3", Some("7")));
    /// assert!(shown.contains(&(1, "1", Some("1"))));
    /// ```
    pub fn explain(&self, scope: &Scope<'_>, settings: &Settings) -> (Result<Evaluation, EvalError>, Vec<Part>) {
        let interpreter = Interpreter::new(&self.tree, scope, settings).traced();
        let bytes = settings.limits.output_bytes;
        let result = interpreter.run(|meter, value| value::to_json(meter, value, bytes));
        let result = result.map(|value| Evaluation {
            value,
            warnings: interpreter.take_warnings(),
        });
        (result, interpreter.into_parts(&self.text))
    }
}

/// Java's `trim`: control characters count as blanks.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|character| character <= ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_can_be_shared_by_threads() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Program>();
    }

    #[test]
    fn one_equals_sign_and_the_blanks_around_are_left_out() {
        assert_eq!(
            Program::parse(" \n= 1 + 1 ").map(|program| program.text().to_owned()),
            Ok("1 + 1".to_owned())
        );
        assert!(Program::parse("==1").is_err());
    }
}
