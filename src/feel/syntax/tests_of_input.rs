//! The grammar of what stands after `in`: comparisons without a left side, ranges, lists of alternatives.

use super::memo::Parsed;
use super::parser::Parser;
use super::tree::{Boundary, Comparison, Node, NodeId, RangeNode};

impl Parser<'_> {
    /// `in test` or `in (test, test)`.
    pub(super) fn containment(&mut self, value: NodeId, at: usize) -> Parsed {
        let next = self.text[at..].starts_with("in").then_some(at + 2)?;
        let next = self.skip(next);
        let (test, end) = self.tests_in_parentheses(next).or_else(|| self.test(next))?;
        Some((self.node(Node::In(value, test)), end))
    }

    fn tests_in_parentheses(&mut self, at: usize) -> Parsed {
        let next = self.text[at..].starts_with('(').then_some(at + 1)?;
        let mut next = self.skip(next);
        let mut tests = Vec::new();
        let mut end = next;
        while let Some((test, after)) = self.test(next) {
            tests.push(test);
            end = after;
            self.bound_chain(at, tests.len());
            match self.then_word(end, ",", "`,`") {
                Some(comma) => next = self.skip(comma),
                None => break,
            }
        }
        let end = self.then_word(end, ")", "`)`")?;
        match tests[..] {
            [] => None,
            [single] => Some((single, end)),
            _ => Some((self.node(Node::AnyOf(tests)), end)),
        }
    }

    fn test(&mut self, at: usize) -> Parsed {
        // A boolean is only compared with the input when the text ends there; elsewhere it is an expression of its own.
        for (word, value) in [("true", true), ("false", false)] {
            if self.text[at..].starts_with(word) && self.skip(at + word.len()) == self.text.len() {
                let literal = self.node(Node::Bool(value));
                return Some((
                    self.node(Node::InputCompare(Comparison::Equal, literal)),
                    at + word.len(),
                ));
            }
        }
        self.simple_test(at).or_else(|| {
            let (expression, end) = self.expression(at)?;
            Some((self.node(Node::Test(expression)), end))
        })
    }

    pub(super) fn simple_test(&mut self, at: usize) -> Parsed {
        const OPERATORS: [(&str, Comparison); 4] = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let rest = &self.text[at..];
        if let Some((sign, comparison)) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            let next = self.skip(at + sign.len());
            let (endpoint, end) = self.math(next)?;
            return Some((self.node(Node::InputCompare(*comparison, endpoint)), end));
        }
        let (range, end) = self.range(at)?;
        Some((self.node(Node::InputInRange(Box::new(range))), end))
    }

    /// `[a..b]`; a round or an outward bracket leaves the boundary out.
    pub(super) fn range(&mut self, at: usize) -> Option<(RangeNode, usize)> {
        let closed = match self.text.as_bytes().get(at)? {
            b'[' => true,
            b'(' | b']' => false,
            _ => return None,
        };
        let next = self.skip(at + 1);
        // A bracket that closes a list could also open a range; what fails behind it says nothing about the mistake.
        let known = (self.text.as_bytes()[at] == b']').then(|| self.expectations());
        let Some((value, next)) = self.math(next) else {
            if let Some(known) = known {
                self.restore(known);
            }
            return None;
        };
        let start = Boundary { value, closed };
        let next = self.skip(next);
        let next = self.text[next..].starts_with("..").then_some(next + 2)?;
        let next = self.skip(next);
        let (value, next) = self.math(next)?;
        let next = self.skip(next);
        let closed = match self.text.as_bytes().get(next) {
            Some(b']') => true,
            Some(b')' | b'[') => false,
            _ => {
                self.expect(next, "`]` or `)`");
                return None;
            }
        };
        Some((
            RangeNode {
                start,
                end: Boundary { value, closed },
            },
            next + 1,
        ))
    }
}
