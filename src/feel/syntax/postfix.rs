//! The grammar of values: literals, variables, calls, lists, contexts, functions, and the paths and filters after them.

use super::memo::Parsed;
use super::parser::Parser;
use super::scan;
use super::tree::{Arguments, Call, Definition, Node, NodeId, Step};
use crate::feel::builtins;
use crate::feel::number::{NotANumber, Number};
use crate::feel::temporal::literal;

/// Names of built-ins that hold a reserved word, so that they could not be read as names.
const CALLED_WITH_RESERVED_WORD: [&str; 5] = ["and", "or", "date and time", "years and months duration", "get or else"];

impl Parser<'_> {
    /// A value with the paths and filters that follow it.
    pub(super) fn postfix(&mut self, at: usize) -> Parsed {
        let (base, mut end) = self.terminal(at)?;
        let mut steps = Vec::new();
        while let Some((step, after)) = self.step(end) {
            steps.push(step);
            end = after;
            self.bound_chain(at, steps.len())?;
        }
        if steps.is_empty() {
            return Some((base, end));
        }
        Some((self.node(Node::Postfix(base, steps)), end))
    }

    fn step(&mut self, at: usize) -> Option<(Step, usize)> {
        let at = self.skip(at);
        match self.text.as_bytes().get(at)? {
            b'.' => {
                let next = self.skip(at + 1);
                let (key, end) = self.property_or_name(next)?;
                Some((Step::Key(key), end))
            }
            b'[' => {
                let (filter, next) = self.then_expression(at + 1)?;
                let end = self.then_word(next, "]", "`]`")?;
                Some((Step::Filter(filter), end))
            }
            _ => None,
        }
    }

    /// `time offset` is the one property whose name has a blank.
    fn property_or_name(&mut self, at: usize) -> Option<(Box<str>, usize)> {
        const PROPERTY: &str = "time offset";
        if self.text[at..].starts_with(PROPERTY) {
            return Some((PROPERTY.into(), at + PROPERTY.len()));
        }
        self.name(at)
    }

    pub(super) fn qualified_name(&mut self, at: usize) -> Option<(Vec<Box<str>>, usize)> {
        let (first, mut end) = self.property_or_name(at)?;
        let mut names = vec![first];
        loop {
            let dot = self.skip(end);
            if self.text.as_bytes().get(dot) != Some(&b'.') {
                return Some((names, end));
            }
            let next = self.skip(dot + 1);
            let Some((name, after)) = self.property_or_name(next) else {
                return Some((names, end));
            };
            names.push(name);
            end = after;
            self.bound_chain(at, names.len())?;
        }
    }

    fn terminal(&mut self, at: usize) -> Parsed {
        let first = *self.text.as_bytes().get(at).or_else(|| {
            self.expect(at, "a value");
            None
        })?;
        // Only what can start a rule is tried; the order is that of the grammar.
        match first {
            b'"' => self.string(at),
            b'[' => self.list(at),
            b'{' => self.context(at),
            b'(' => self.parenthesised(at),
            b'?' => Some((self.node(Node::Input), at + 1)),
            b'@' => self.temporal(at),
            b'-' | b'.' | b'0'..=b'9' => self.number(at),
            _ => self
                .temporal(at)
                .or_else(|| self.call(at))
                .or_else(|| self.variable(at))
                .or_else(|| self.word_literal(at))
                .or_else(|| self.function(at))
                .or_else(|| {
                    self.expect(at, "a value");
                    None
                }),
        }
    }

    fn parenthesised(&mut self, at: usize) -> Parsed {
        let (inner, next) = self.then_expression(at + 1)?;
        let end = self.then_word(next, ")", "`)`")?;
        Some((inner, end))
    }

    fn variable(&mut self, at: usize) -> Parsed {
        let (path, end) = self.qualified_name(at)?;
        Some((self.node(Node::Variable(path)), end))
    }

    fn word_literal(&mut self, at: usize) -> Parsed {
        let rest = &self.text[at..];
        let (node, length) = if rest.starts_with("null") {
            (Node::Null, 4)
        } else if rest.starts_with("true") {
            (Node::Bool(true), 4)
        } else if rest.starts_with("false") {
            (Node::Bool(false), 5)
        } else {
            return None;
        };
        Some((self.node(node), at + length))
    }

    fn string(&mut self, at: usize) -> Parsed {
        let Some((raw, end)) = scan::quoted(self.text, at) else {
            self.expect(at, "a string with a closing `\"`");
            return None;
        };
        Some((self.node(Node::Text(scan::unescaped(raw).into())), end))
    }

    fn number(&mut self, at: usize) -> Parsed {
        let Some(end) = scan::number(self.text, at) else {
            self.expect(at, "a value");
            return None;
        };
        match Number::parse_constant(&self.text[at..end]) {
            Ok(number) => Some((self.node(Node::Number(number)), end)),
            Err(NotANumber::TooManyDigits) => {
                self.refuse(
                    at,
                    format!("this number has more than {} digits", crate::feel::number::MAX_DIGITS),
                );
                None
            }
            Err(NotANumber::Malformed) => None,
        }
    }

    /// `date("…")` and its like, read once; a text that is none is null, as in the real engine.
    fn temporal(&mut self, at: usize) -> Parsed {
        let rest = &self.text[at..];
        let (read, next): (fn(&str) -> Option<_>, _) = if rest.starts_with('@') {
            (literal::any, self.skip(at + 1))
        } else {
            let (read, length): (fn(&str) -> Option<_>, _) = if rest.starts_with("duration") {
                (literal::duration, 8)
            } else if rest.starts_with("date and time") {
                (literal::date_time_of_literal, 13)
            } else if rest.starts_with("date") {
                (literal::date, 4)
            } else if rest.starts_with("time") {
                (literal::time, 4)
            } else {
                return None;
            };
            let open = self.skip(at + length);
            if self.text.as_bytes().get(open) != Some(&b'(') {
                return None;
            }
            (read, self.skip(open + 1))
        };
        let Some((raw, end)) = scan::quoted(self.text, next) else {
            if rest.starts_with('@') {
                self.expect(next, "a string");
            }
            return None;
        };
        let end = if rest.starts_with('@') {
            end
        } else {
            self.then_word(end, ")", "`)`")?
        };
        let node = read(raw).map_or(Node::Null, |temporal| Node::Temporal(Box::new(temporal)));
        Some((self.node(node), end))
    }

    fn list(&mut self, at: usize) -> Parsed {
        let (items, next) = self.separated(at + 1, Self::expression);
        let end = self.then_word(next, "]", "`]`")?;
        Some((self.node(Node::List(items)), end))
    }

    /// Zero or more parts with commas between them, and the position after the last one.
    fn separated<T>(
        &mut self,
        at: usize,
        mut part: impl FnMut(&mut Self, usize) -> Option<(T, usize)>,
    ) -> (Vec<T>, usize) {
        let mut parts = Vec::new();
        let mut end = at;
        let mut next = self.skip(at);
        while let Some((found, after)) = part(self, next) {
            parts.push(found);
            end = after;
            match self.then_word(end, ",", "`,`") {
                Some(comma) => next = self.skip(comma),
                None => break,
            }
        }
        (parts, end)
    }

    fn context(&mut self, at: usize) -> Parsed {
        let (entries, next) = self.separated(at + 1, Self::entry);
        let end = self.then_word(next, "}", "`}`")?;
        self.context_keys.extend(entries.iter().map(|(key, _)| key.clone()));
        Some((self.node(Node::Context(entries)), end))
    }

    fn entry(&mut self, at: usize) -> Option<((Box<str>, NodeId), usize)> {
        let (key, next) = self.key(at)?;
        let next = self.then_word(next, ":", "`:`")?;
        let (value, end) = self.then_expression(next)?;
        Some(((key, value), end))
    }

    fn key(&mut self, at: usize) -> Option<(Box<str>, usize)> {
        if let Some(end) = scan::any_key(self.text, at) {
            return Some((self.text[at..end].into(), end));
        }
        if let Some((name, end)) = scan::escaped_identifier(self.text, at) {
            return Some((name.into(), end));
        }
        match scan::quoted(self.text, at) {
            Some((raw, end)) => Some((raw.into(), end)),
            None => {
                self.expect(at, "a key");
                None
            }
        }
    }

    fn function(&mut self, at: usize) -> Parsed {
        let next = self.text[at..].starts_with("function").then(|| at + "function".len())?;
        let next = self.then_word(next, "(", "`(`")?;
        let (parameters, next) = self.separated(next, |parser, at| parser.parameter(at));
        let next = self.then_word(next, ")", "`)`")?;
        let next = self.skip(next);
        let (body, end) = match self.external(next) {
            Some(end) => (self.node(Node::External), end),
            None => self.expression(next)?,
        };
        let definition = Definition {
            parameters,
            body,
            variables: Vec::new(),
            functions: Vec::new(),
        };
        Some((self.node(Node::Function(Box::new(definition))), end))
    }

    /// `external {java: {class: "…", method signature: "…"}}`: read, so that it can be refused when it is called.
    fn external(&mut self, at: usize) -> Option<usize> {
        let mut end = at;
        for part in [
            "external",
            "{",
            "java",
            ":",
            "{",
            "class",
            ":",
            "\"",
            ",",
            "method signature",
            ":",
            "\"",
            "}",
            "}",
        ] {
            let next = self.skip(end);
            end = match part {
                "\"" => scan::quoted(self.text, next)?.1,
                word => self.text[next..].starts_with(word).then_some(next + word.len())?,
            };
        }
        Some(end)
    }

    fn parameter(&mut self, at: usize) -> Option<(Box<str>, usize)> {
        match scan::spaced_identifier(self.text, at) {
            Some(end) => Some((self.text[at..end].into(), end)),
            None => self.name(at),
        }
    }

    fn call(&mut self, at: usize) -> Parsed {
        let reserved = CALLED_WITH_RESERVED_WORD
            .iter()
            .find(|name| self.text[at..].starts_with(**name));
        let (mut path, next) = if let Some(end) = scan::spaced_identifier(self.text, at) {
            (vec![self.text[at..end].into()], end)
        } else if let Some(name) = reserved {
            (vec![Box::from(*name)], at + name.len())
        } else {
            self.qualified_name(at)?
        };
        let open = self.skip(next);
        let next = self.text[open..].starts_with('(').then_some(open + 1)?;
        let (arguments, next) = self.arguments(next);
        let end = self.then_word(next, ")", "`)`")?;
        let name = path.pop()?;
        let built_in = if path.is_empty() {
            builtins::resolve(&name, &arguments)
        } else {
            None
        };
        Some((
            self.node(Node::Call(Box::new(Call {
                path,
                name,
                arguments,
                built_in,
                shadowed: false,
            }))),
            end,
        ))
    }

    fn arguments(&mut self, at: usize) -> (Arguments, usize) {
        let (named, end) = self.separated(at, |parser, at| {
            let (name, next) = parser.parameter(at)?;
            let next = parser.skip(next);
            let next = parser.text[next..].starts_with(':').then_some(next + 1)?;
            let next = parser.skip(next);
            let (value, end) = parser.argument(next)?;
            Some(((name, value), end))
        });
        if !named.is_empty() {
            // A name that is given twice has the value that comes last.
            let mut unique: Vec<(Box<str>, NodeId)> = Vec::with_capacity(named.len());
            for (name, value) in named {
                match unique.iter_mut().find(|(known, _)| *known == name) {
                    Some(entry) => entry.1 = value,
                    None => unique.push((name, value)),
                }
            }
            return (Arguments::Named(unique), end);
        }
        let (positional, end) = self.separated(at, Self::argument);
        (Arguments::Positional(positional), end)
    }

    fn argument(&mut self, at: usize) -> Parsed {
        self.range(at)
            .map(|(range, end)| (self.node(Node::Range(Box::new(range))), end))
            .or_else(|| self.expression(at))
    }
}
