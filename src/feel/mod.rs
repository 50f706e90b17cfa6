//! FEEL in Camunda's dialect: text → [`Program`] → value.
//!
//! What enters is the text of an expression, the variables that it can see and limits; what leaves is a JSON value with
//! warnings, or an error that says what to change. The module is pure: no I/O, no state but caches of compiled patterns.
//!
//! ```
//! use deskhand::feel::{Program, Scope, Settings};
//!
//! let response = serde_json::json!({"status": 200, "body": {"flowsessionId": "0af1-77"}});
//! let program = Program::parse("= {id: response.body.flowsessionId}").unwrap();
//! let scope = Scope::new().variable("response", &response);
//! let evaluation = program.evaluate(&scope, &Settings::default()).unwrap();
//! assert_eq!(evaluation.value, serde_json::json!({"id": "0af1-77"}));
//! ```

mod builtins;
mod error;
mod interpreter;
mod limits;
mod number;
mod program;
mod projection;
mod regex;
mod settings;
mod syntax;
mod temporal;
mod value;

pub use builtins::{BuiltIn, Overload, find as find_built_in, groups as built_ins};
pub use error::{EvalError, Warning, WarningKind};
pub use interpreter::Part;
pub use limits::{LimitKind, Limits};
pub use program::{Evaluation, Program};
pub use projection::Projection;
pub use settings::{Clock, Scope, Settings};
pub use syntax::ParseError;
