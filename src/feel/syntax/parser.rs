//! The grammar, from whole expressions down to operators: if, for, some/every, or, and, comparisons, arithmetic.
//!
//! Camunda's grammar tries alternatives in order and looks at letters, not at words (`x andy` is `x and y`), so this
//! parser does the same on the text itself: a rule takes a position and gives a node and the position after it, or
//! nothing. The farthest position that any rule reached tells where a refused text goes wrong.

use super::error::ParseError;
use super::hints;
use super::memo::{Memo, Parsed, Rule};
use super::scan;
use super::tree::{self, Arithmetic, Comparison, Iteration, Iterator, Node, NodeId, Quantifier, Tree};
use crate::feel::limits::Limits;
use std::collections::HashSet;

/// Reads a whole expression.
pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Tree, ParseError> {
    let mut parser = Parser {
        text,
        nodes: Vec::new(),
        spans: Vec::new(),
        memo: Memo::new(text.len()),
        farthest: 0,
        expected: Vec::new(),
        refusal: None,
        depth: 0,
        limits,
        context_keys: HashSet::new(),
    };
    let start = parser.skip(0);
    let parsed = parser.expression(start);
    if let Some((offset, problem)) = parser.refusal.take() {
        return Err(ParseError::new(text, offset, Vec::new(), Some(problem)));
    }
    if let Some((root, end)) = parsed {
        let end = parser.skip(end);
        if end == text.len() && parser.refusal.is_none() {
            let mut nodes = parser.nodes;
            tree::resolve(&mut nodes, &parser.context_keys);
            if tree::is_external(&nodes, root) {
                let problem = "functions of the host language (`external`) are not available".to_owned();
                return Err(ParseError::new(
                    text,
                    text.find("external").unwrap_or(0),
                    Vec::new(),
                    Some(problem),
                ));
            }
            return Ok(Tree {
                nodes,
                root,
                spans: parser.spans,
            });
        }
        parser.expect(end, "an operator");
        parser.expect(end, "the end");
    }
    if let Some((offset, problem)) = parser.refusal {
        return Err(ParseError::new(text, offset, Vec::new(), Some(problem)));
    }
    let offset = parser.farthest;
    let error = ParseError::new(text, offset, parser.expected, None);
    Err(error.with_hint(hints::hint(text, offset)))
}

/// What a part of an expression takes in the tree, in what remembers it and when it is evaluated.
const CELLS_OF_NODE: usize = 4;

pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    nodes: Vec<Node>,
    spans: Vec<(u32, u32)>,
    memo: Memo,
    farthest: usize,
    expected: Vec<&'static str>,
    /// A reason to refuse the text whatever else could be read in it.
    refusal: Option<(usize, String)>,
    depth: usize,
    pub(super) limits: &'t Limits,
    pub(super) context_keys: HashSet<Box<str>>,
}

impl Parser<'_> {
    pub(super) fn node(&mut self, node: Node) -> NodeId {
        let most = self.limits.cells / CELLS_OF_NODE;
        if self.nodes.len() >= most && self.refusal.is_none() {
            let problem = format!(
                "the expression has more than {most} parts (limit `cells`; the setting `feel.cells` raises it)"
            );
            self.refuse(self.farthest, problem);
        }
        self.nodes.push(node);
        self.spans.push((0, 0));
        (self.nodes.len() - 1) as NodeId
    }

    pub(super) fn expect(&mut self, at: usize, what: &'static str) {
        if at > self.farthest {
            self.farthest = at;
            self.expected.clear();
        }
        if at == self.farthest {
            self.expected.push(what);
        }
    }

    /// What was expected where so far, to be put back by [`Parser::restore`].
    pub(super) fn expectations(&self) -> (usize, Vec<&'static str>) {
        (self.farthest, self.expected.clone())
    }

    pub(super) fn restore(&mut self, (farthest, expected): (usize, Vec<&'static str>)) {
        self.farthest = farthest;
        self.expected = expected;
    }

    pub(super) fn refuse(&mut self, at: usize, problem: String) {
        if self.refusal.is_none() {
            self.refusal = Some((at, problem));
        }
    }

    pub(super) fn skip(&mut self, at: usize) -> usize {
        match scan::blanks(self.text, at) {
            Ok(next) => next,
            Err(comment) => {
                self.refuse(comment, "this comment has no closing `*/`".to_owned());
                at
            }
        }
    }

    /// `word` exactly at `at`; `shown` is how a message calls it.
    pub(super) fn word(&mut self, at: usize, word: &str, shown: &'static str) -> Option<usize> {
        if self.text[at..].starts_with(word) {
            return Some(at + word.len());
        }
        self.expect(at, shown);
        None
    }

    /// Blanks, then `word`.
    pub(super) fn then_word(&mut self, at: usize, word: &str, shown: &'static str) -> Option<usize> {
        let at = self.skip(at);
        self.word(at, word, shown)
    }

    fn remembered(&mut self, rule: Rule, at: usize, read: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if let Some(parsed) = self.memo.get(rule, at) {
            return parsed;
        }
        if self.refusal.is_some() {
            return None;
        }
        // One level of nesting is at most an expression and the value in it.
        if self.depth >= self.limits.nesting * 2 {
            let limit = self.limits.nesting;
            self.refuse(
                at,
                format!("the expression is nested more than {limit} levels deep (limit `nesting`; the setting `feel.nesting` raises it)"),
            );
            return None;
        }
        let counted = usize::from(!matches!(rule, Rule::Math));
        self.depth += counted;
        let parsed = read(self);
        self.depth -= counted;
        let parsed = parsed.and_then(|(node, end)| self.placed(node, at, end));
        self.memo.set(rule, at, parsed);
        parsed
    }

    /// Notes where a node stands in the text.
    fn placed(&mut self, node: NodeId, at: usize, end: usize) -> Parsed {
        let span = &mut self.spans[node as usize];
        // The first rule that gives a node is the one without parentheses around it.
        if *span == (0, 0) {
            *span = (at as u32, end as u32);
        }
        Some((node, end))
    }

    /// Blanks, then an expression.
    pub(super) fn then_expression(&mut self, at: usize) -> Parsed {
        let at = self.skip(at);
        self.expression(at)
    }

    pub(super) fn expression(&mut self, at: usize) -> Parsed {
        self.remembered(Rule::Expression, at, |parser| {
            parser
                .conditional(at)
                .or_else(|| parser.for_loop(at))
                .or_else(|| parser.quantified(at))
                .or_else(|| parser.disjunction(at))
        })
    }

    fn conditional(&mut self, at: usize) -> Parsed {
        let next = self.text[at..].starts_with("if").then_some(at + 2)?;
        let (condition, next) = self.then_expression(next)?;
        let next = self.then_word(next, "then", "`then`")?;
        let (then, next) = self.then_expression(next)?;
        let next = self.then_word(next, "else", "`else`")?;
        let (otherwise, next) = self.then_expression(next)?;
        Some((self.node(Node::If(condition, then, otherwise)), next))
    }

    fn for_loop(&mut self, at: usize) -> Parsed {
        let next = self.text[at..].starts_with("for").then_some(at + 3)?;
        let (iterators, next) = self.iterators(next)?;
        let next = self.then_word(next, "return", "`return`")?;
        let (body, next) = self.then_expression(next)?;
        Some((
            self.node(Node::For(Box::new(Iteration {
                iterators,
                body,
                uses_partial: false,
            }))),
            next,
        ))
    }

    fn quantified(&mut self, at: usize) -> Parsed {
        let rest = &self.text[at..];
        let (quantifier, next) = if rest.starts_with("some") {
            (Quantifier::Some, at + 4)
        } else if rest.starts_with("every") {
            (Quantifier::Every, at + 5)
        } else {
            return None;
        };
        let (iterators, next) = self.iterators(next)?;
        let next = self.then_word(next, "satisfies", "`satisfies`")?;
        let (body, next) = self.then_expression(next)?;
        let iteration = Iteration {
            iterators,
            body,
            uses_partial: false,
        };
        Some((self.node(Node::Quantified(quantifier, Box::new(iteration))), next))
    }

    fn iterators(&mut self, at: usize) -> Option<(Vec<Iterator>, usize)> {
        let mut iterators = Vec::new();
        let mut end = at;
        let mut next = self.skip(at);
        while let Some((iterator, after)) = self.iterator(next) {
            iterators.push(iterator);
            end = after;
            match self.then_word(end, ",", "`,`") {
                Some(comma) => next = self.skip(comma),
                None => break,
            }
        }
        (!iterators.is_empty()).then_some((iterators, end))
    }

    fn iterator(&mut self, at: usize) -> Option<(Iterator, usize)> {
        let (name, next) = self.name(at)?;
        let next = self.then_word(next, "in", "`in`")?;
        let next = self.skip(next);
        let (over, end) = self.interval(next).or_else(|| self.value(next))?;
        Some((Iterator { name, over }, end))
    }

    fn interval(&mut self, at: usize) -> Parsed {
        let (start, next) = self.math(at)?;
        let next = self.then_word(next, "..", "`..`")?;
        let next = self.skip(next);
        let (end, next) = self.math(next)?;
        Some((self.node(Node::Interval(start, end)), next))
    }

    fn disjunction(&mut self, at: usize) -> Parsed {
        self.chain(at, "or", Self::conjunction, Node::Or)
    }

    fn conjunction(&mut self, at: usize) -> Parsed {
        self.chain(at, "and", Self::comparison, Node::And)
    }

    /// One or more operands with `word` between them; a single one stays as it is.
    fn chain(
        &mut self,
        at: usize,
        word: &str,
        operand: fn(&mut Self, usize) -> Parsed,
        build: fn(Vec<NodeId>) -> Node,
    ) -> Parsed {
        let (first, mut end) = operand(self, at)?;
        let mut operands = Vec::new();
        loop {
            let next = self.skip(end);
            if !self.text[next..].starts_with(word) {
                break;
            }
            let next = self.skip(next + word.len());
            let Some((other, after)) = operand(self, next) else {
                break;
            };
            if operands.is_empty() {
                operands.push(first);
            }
            operands.push(other);
            end = after;
            self.bound_chain(at, operands.len())?;
        }
        if operands.is_empty() {
            return Some((first, end));
        }
        let node = self.node(build(operands));
        self.placed(node, at, end)
    }

    /// Nothing when a chain is too long, which ends reading it.
    pub(super) fn bound_chain(&mut self, at: usize, length: usize) -> Option<()> {
        if length > self.limits.chain {
            let limit = self.limits.chain;
            self.refuse(
                at,
                format!("a chain of operators has more than {limit} operands (limit `chain`; the setting `feel.chain` raises it)"),
            );
            return None;
        }
        Some(())
    }

    fn comparison(&mut self, at: usize) -> Parsed {
        let Some((left, end)) = self.math(at) else {
            return self.simple_test(at);
        };
        let next = self.skip(end);
        match self.comparison_of(left, next) {
            Some((node, end)) => self.placed(node, at, end),
            None => Some((left, end)),
        }
    }

    fn comparison_of(&mut self, left: NodeId, at: usize) -> Parsed {
        const OPERATORS: [(&str, Comparison); 6] = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("!=", Comparison::NotEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
            ("=", Comparison::Equal),
        ];
        let rest = &self.text[at..];
        if let Some((sign, comparison)) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            let next = self.skip(at + sign.len());
            let (right, end) = self.math(next)?;
            return Some((self.node(Node::Compare(*comparison, left, right)), end));
        }
        self.between(left, at)
            .or_else(|| self.instance_of(left, at))
            .or_else(|| self.containment(left, at))
    }

    fn between(&mut self, value: NodeId, at: usize) -> Parsed {
        let next = self.text[at..].starts_with("between").then(|| at + "between".len())?;
        let next = self.skip(next);
        let (low, next) = self.math(next)?;
        let next = self.then_word(next, "and", "`and`")?;
        let next = self.skip(next);
        let (high, next) = self.math(next)?;
        let above = self.node(Node::Compare(Comparison::GreaterOrEqual, value, low));
        let below = self.node(Node::Compare(Comparison::LessOrEqual, value, high));
        Some((self.node(Node::And(vec![above, below])), next))
    }

    fn instance_of(&mut self, value: NodeId, at: usize) -> Parsed {
        let next = self.text[at..].starts_with("instance").then(|| at + "instance".len())?;
        let next = self.then_word(next, "of", "`of`")?;
        let next = self.skip(next);
        let special = [
            "years and months duration",
            "days and time duration",
            "date and time",
            "function",
        ];
        let (name, end) = match special.iter().find(|name| self.text[next..].starts_with(**name)) {
            Some(name) => ((*name).to_owned(), next + name.len()),
            None => {
                let (path, end) = self.qualified_name(next).or_else(|| {
                    self.expect(next, "the name of a type");
                    None
                })?;
                (path.join("."), end)
            }
        };
        Some((self.node(Node::InstanceOf(value, name.into())), end))
    }

    /// Sums and differences, and everything that binds tighter.
    pub(super) fn math(&mut self, at: usize) -> Parsed {
        self.remembered(Rule::Math, at, |parser| {
            parser.arithmetic(
                at,
                |text| match text.as_bytes().first() {
                    Some(b'+') => Some((Arithmetic::Add, 1)),
                    Some(b'-') => Some((Arithmetic::Subtract, 1)),
                    _ => None,
                },
                Self::product,
            )
        })
    }

    fn product(&mut self, at: usize) -> Parsed {
        let sign = |text: &str| match text.as_bytes().first() {
            Some(b'*') => Some((Arithmetic::Multiply, 1)),
            Some(b'/') => Some((Arithmetic::Divide, 1)),
            _ => None,
        };
        self.arithmetic(at, sign, Self::power)
    }

    fn power(&mut self, at: usize) -> Parsed {
        self.arithmetic(
            at,
            |text| text.starts_with("**").then_some((Arithmetic::Power, 2)),
            Self::negation,
        )
    }

    fn arithmetic(
        &mut self,
        at: usize,
        sign: impl Fn(&str) -> Option<(Arithmetic, usize)>,
        operand: fn(&mut Self, usize) -> Parsed,
    ) -> Parsed {
        let (first, mut end) = operand(self, at)?;
        let mut rest = Vec::new();
        loop {
            let next = self.skip(end);
            let Some((operator, length)) = sign(&self.text[next..]) else {
                break;
            };
            let next = self.skip(next + length);
            let Some((other, after)) = operand(self, next) else {
                break;
            };
            rest.push((operator, other));
            end = after;
            self.bound_chain(at, rest.len())?;
        }
        if rest.is_empty() {
            return Some((first, end));
        }
        let node = self.node(Node::Chain(first, rest));
        self.placed(node, at, end)
    }

    fn negation(&mut self, at: usize) -> Parsed {
        if self.text.as_bytes().get(at) != Some(&b'-') {
            return self.value(at);
        }
        let next = self.skip(at + 1);
        let (value, end) = self.value(next)?;
        let node = self.node(Node::Negate(value));
        self.placed(node, at, end)
    }

    pub(super) fn value(&mut self, at: usize) -> Parsed {
        self.remembered(Rule::Value, at, |parser| parser.postfix(at))
    }

    pub(super) fn name(&mut self, at: usize) -> Option<(Box<str>, usize)> {
        if let Some(end) = scan::identifier(self.text, at) {
            return Some((self.text[at..end].into(), end));
        }
        match scan::escaped_identifier(self.text, at) {
            Some((name, end)) => Some((name.into(), end)),
            None => {
                self.expect(at, "a name");
                None
            }
        }
    }
}
