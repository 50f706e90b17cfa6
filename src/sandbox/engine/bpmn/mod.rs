//! BPMN: the text of a file enters, executable processes leave, or every fault of the text with its line and column.

mod elements;
mod model;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;

pub use model::{Element, ElementIndex, FlowIndex, JobDefinition, Kind, Mapping, Process, ROOT, Trigger};
pub use read::read;

/// One thing in a BPMN file that cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: u32,
    /// Column in the line, from 1.
    pub column: u32,
    /// What was found and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}:{}: {}", self.line, self.column, self.message)
    }
}
