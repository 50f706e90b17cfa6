//! Text to tree: what enters is the text of an expression, what leaves is a [`Tree`] or a [`ParseError`].

mod error;
mod hints;
mod memo;
mod parser;
mod postfix;
mod scan;
mod tests_of_input;
mod tree;

pub use error::ParseError;
pub(crate) use parser::parse;
pub(crate) use tree::{
    Arguments, Arithmetic, Call, Comparison, Definition, Iteration, Iterator, Node, NodeId, Quantifier, RangeNode,
    Step, Tree,
};
