//! The tree of an expression: nodes in one vector that refer to each other by index.
//!
//! Chains of operators, paths and filters are flat lists, so that evaluating `a + b + c + …` needs no recursion; and
//! a vector of nodes is dropped without recursion however deep the tree is.

use crate::feel::number::Constant;
use crate::feel::temporal::Temporal;
use std::collections::HashSet;

/// An index into [`Tree::nodes`].
pub(crate) type NodeId = u32;

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
    /// Where a node stands in the text, as byte offsets; empty for nodes that are part of a larger one only.
    pub(crate) spans: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantifier {
    Some,
    Every,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Boundary {
    pub(crate) value: NodeId,
    pub(crate) closed: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeNode {
    pub(crate) start: Boundary,
    pub(crate) end: Boundary,
}

/// What follows a value: `.key` or `[filter]`.
#[derive(Debug)]
pub(crate) enum Step {
    Key(Box<str>),
    Filter(NodeId),
}

#[derive(Debug)]
pub(crate) struct Iterator {
    pub(crate) name: Box<str>,
    pub(crate) over: NodeId,
}

#[derive(Debug)]
pub(crate) struct Iteration {
    pub(crate) iterators: Vec<Iterator>,
    pub(crate) body: NodeId,
    /// Whether the body mentions `partial`: only then the results so far are made visible to it.
    pub(crate) uses_partial: bool,
}

#[derive(Debug)]
pub(crate) enum Arguments {
    Positional(Vec<NodeId>),
    Named(Vec<(Box<str>, NodeId)>),
}

/// `name(arguments)`, or with `path` a function of a context: `a.b.name(arguments)`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) path: Vec<Box<str>>,
    pub(crate) name: Box<str>,
    pub(crate) arguments: Arguments,
    /// The built-in that positional or named arguments select, resolved once.
    pub(crate) built_in: Option<crate::feel::builtins::Resolved>,
    /// Whether a context of this expression has an entry of this name, which then may be the function that is meant.
    pub(crate) shadowed: bool,
}

#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) parameters: Vec<Box<str>>,
    pub(crate) body: NodeId,
    /// Every name that the body uses as a variable or as a function: what has to be kept when the value outlives its scope.
    pub(crate) variables: Vec<Box<str>>,
    pub(crate) functions: Vec<Box<str>>,
}

#[derive(Debug)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(Constant),
    Text(Box<str>),
    Temporal(Box<Temporal>),
    /// `?`, the value that a test is about.
    Input,
    List(Vec<NodeId>),
    Context(Vec<(Box<str>, NodeId)>),
    Range(Box<RangeNode>),
    /// A variable and the path that follows its name directly.
    Variable(Vec<Box<str>>),
    Postfix(NodeId, Vec<Step>),
    Chain(NodeId, Vec<(Arithmetic, NodeId)>),
    Negate(NodeId),
    Compare(Comparison, NodeId, NodeId),
    And(Vec<NodeId>),
    Or(Vec<NodeId>),
    InstanceOf(NodeId, Box<str>),
    In(NodeId, NodeId),
    /// Unary tests: what stands after `in`.
    InputCompare(Comparison, NodeId),
    InputInRange(Box<RangeNode>),
    Test(NodeId),
    AnyOf(Vec<NodeId>),
    If(NodeId, NodeId, NodeId),
    For(Box<Iteration>),
    Quantified(Quantifier, Box<Iteration>),
    /// `a..b` after `for … in`.
    Interval(NodeId, NodeId),
    Call(Box<Call>),
    Function(Box<Definition>),
    /// The body of a function of the host language.
    External,
}

impl Node {
    /// Calls `visit` with the parts of this node.
    pub(crate) fn children(&self, mut visit: impl FnMut(NodeId)) {
        match self {
            Node::Null
            | Node::Bool(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::Temporal(_)
            | Node::Input
            | Node::External
            | Node::Variable(_) => {}
            Node::List(items) | Node::And(items) | Node::Or(items) | Node::AnyOf(items) => {
                items.iter().copied().for_each(visit)
            }
            Node::Context(entries) => entries.iter().for_each(|(_, value)| visit(*value)),
            Node::Range(range) | Node::InputInRange(range) => {
                [range.start.value, range.end.value].into_iter().for_each(visit)
            }
            Node::Postfix(base, steps) => {
                visit(*base);
                for step in steps {
                    if let Step::Filter(filter) = step {
                        visit(*filter);
                    }
                }
            }
            Node::Chain(first, rest) => {
                visit(*first);
                rest.iter().for_each(|(_, operand)| visit(*operand));
            }
            Node::Negate(inner) | Node::InstanceOf(inner, _) | Node::InputCompare(_, inner) | Node::Test(inner) => {
                visit(*inner)
            }
            Node::Compare(_, left, right) | Node::In(left, right) | Node::Interval(left, right) => {
                [*left, *right].into_iter().for_each(visit);
            }
            Node::If(condition, then, otherwise) => [*condition, *then, *otherwise].into_iter().for_each(visit),
            Node::For(iteration) | Node::Quantified(_, iteration) => {
                iteration.iterators.iter().for_each(|iterator| visit(iterator.over));
                visit(iteration.body);
            }
            Node::Call(call) => match &call.arguments {
                Arguments::Positional(arguments) => arguments.iter().copied().for_each(visit),
                Arguments::Named(arguments) => arguments.iter().for_each(|(_, argument)| visit(*argument)),
            },
            Node::Function(definition) => visit(definition.body),
        }
    }
}

/// The names that the part of a tree below `root` uses, as variables and as functions; no name twice.
pub(super) fn names_below(nodes: &[Node], root: NodeId) -> (Vec<Box<str>>, Vec<Box<str>>) {
    let (mut variables, mut functions) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        let node = &nodes[id as usize];
        match node {
            Node::Variable(path) => {
                variables.insert(path[0].clone());
            }
            Node::Call(call) if call.path.is_empty() => {
                functions.insert(call.name.clone());
            }
            Node::Call(call) => {
                variables.insert(call.path[0].clone());
            }
            _ => {}
        }
        node.children(|child| open.push(child));
    }
    (variables.into_iter().collect(), functions.into_iter().collect())
}

/// Whether a function of the host language stands anywhere but in the arguments of a call, where the real engine does not
/// look for one.
pub(super) fn is_external(nodes: &[Node], root: NodeId) -> bool {
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        match &nodes[id as usize] {
            Node::External => return true,
            Node::Call(_) => {}
            node => node.children(|child| open.push(child)),
        }
    }
    false
}

/// Fills in what only the whole tree can tell: which calls a context entry may shadow, what functions have to keep.
pub(super) fn resolve(nodes: &mut [Node], context_keys: &HashSet<Box<str>>) {
    for index in 0..nodes.len() {
        match &mut nodes[index] {
            Node::Call(call) => call.shadowed = context_keys.contains(&call.name),
            Node::For(iteration) => {
                let body = iteration.body;
                let mentions = names_below(nodes, body).0.iter().any(|name| &**name == "partial");
                if let Node::For(iteration) = &mut nodes[index] {
                    iteration.uses_partial = mentions;
                }
            }
            Node::Function(definition) => {
                let body = definition.body;
                let (variables, functions) = names_below(nodes, body);
                if let Node::Function(definition) = &mut nodes[index] {
                    **definition = Definition {
                        parameters: std::mem::take(&mut definition.parameters),
                        body,
                        variables,
                        functions,
                    };
                }
            }
            _ => {}
        }
    }
}
