//! Random expressions of the whole language: mostly well-typed, some of the wrong kind, some broken on purpose.
//!
//! What enters is a seed; what leaves are expressions with the kind of thing that each was grown from. What differs from
//! run to run (clock, random values) is left out, and contexts stay at four keys, as larger ones have no order in the JVM.

use deskhand::feel::built_ins;
use fastrand::Rng;

#[path = "pool.rs"]
mod pool;

#[path = "parameters.rs"]
mod parameters;

#[path = "rare.rs"]
mod rare;

use parameters::parameter_kind;

/// The kinds that a generated expression aims at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Number,
    Text,
    Bool,
    List,
    Numbers,
    Texts,
    Context,
    Date,
    Time,
    DateTime,
    DayTime,
    Months,
    Any,
}

pub struct Generator {
    random: Rng,
    /// Names of loop variables and parameters that are visible.
    names: Vec<String>,
}

pub struct Generated {
    pub tag: String,
    pub expression: String,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator {
            random: Rng::with_seed(seed),
            names: Vec::new(),
        }
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.random.usize(..chance) == 0
    }

    fn pick<'t>(&mut self, from: &'t str) -> &'t str {
        let items: Vec<&str> = from.split('¦').collect();
        items[self.random.usize(..items.len())]
    }

    /// One of the first items, which are the ordinary ones.
    fn pick_early<'t>(&mut self, from: &'t str, count: usize) -> &'t str {
        from.split('¦').nth(self.random.usize(..count)).unwrap_or_default()
    }

    /// One expression; about a third is broken.
    pub fn next(&mut self) -> Generated {
        self.names.clear();
        let depth = self.random.usize(3..=6);
        let (tag, expression) = match self.random.usize(..16) {
            0..8 => self.call(depth),
            8 => ("operator".to_owned(), self.grown(Kind::Bool, depth)),
            9 => ("arithmetic".to_owned(), self.grown(Kind::Number, depth)),
            10 => ("list".to_owned(), self.grown(Kind::List, depth)),
            11..14 => self.rare(),
            14 => ("temporal".to_owned(), {
                let kind =
                    [Kind::Date, Kind::Time, Kind::DateTime, Kind::DayTime, Kind::Months][self.random.usize(..5)];
                self.grown(kind, depth)
            }),
            _ => ("context".to_owned(), self.grown(Kind::Context, depth)),
        };
        if self.one_in(3) {
            return Generated {
                tag: format!("broken {tag}"),
                expression: self.broken(&expression),
            };
        }
        Generated { tag, expression }
    }

    /// A call of a built-in, every overload of which is as likely as any other.
    fn call(&mut self, depth: usize) -> (String, String) {
        let functions: Vec<_> = built_ins().into_iter().flat_map(|(_, functions)| functions).collect();
        let function = loop {
            let function = functions[self.random.usize(..functions.len())];
            if !pool::SKIPPED.split('¦').any(|skipped| skipped == function.name) || function.name == "assert" {
                break function;
            }
        };
        let overload = &function.overloads[self.random.usize(..function.overloads.len())];
        let wrong = self.one_in(5);
        let mut arguments: Vec<String> = Vec::new();
        for parameter in overload.parameters {
            let kind = if wrong && self.one_in(2) {
                Kind::Any
            } else {
                parameter_kind(function.name, parameter)
            };
            arguments.push(self.argument(function.name, parameter, kind, depth.min(3) - 1));
        }
        if overload.varargs && self.one_in(2) {
            let kind = parameter_kind(function.name, "item");
            for _ in 0..self.random.usize(..3) {
                let more = self.argument(function.name, "item", kind, depth.min(3) - 1);
                arguments.push(more);
            }
        }
        if self.one_in(20) {
            arguments.pop();
        }
        let text = if self.one_in(6) && arguments.len() == overload.parameters.len() {
            let named: Vec<String> = overload
                .parameters
                .iter()
                .zip(&arguments)
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            named.join(", ")
        } else {
            arguments.join(", ")
        };
        (function.name.to_owned(), format!("{}({text})", function.name))
    }

    fn argument(&mut self, function: &str, parameter: &str, kind: Kind, depth: usize) -> String {
        match (function, parameter) {
            (_, "precedes") => {
                let body = self.pick("x < y¦x > y¦x.id < y.id¦x¦null¦string(x) < string(y)");
                format!("function(x, y) {body}")
            }
            (_, "pattern" | "delimiter") if function != "string join" => format!("\"{}\"", self.pick(pool::PATTERNS)),
            (_, "replacement") => format!("\"{}\"", self.pick(pool::REPLACEMENTS)),
            (_, "flags") => format!("\"{}\"", self.pick("¦i¦s¦m¦x¦is¦q")),
            (_, "mode") => {
                format!(
                    "\"{}\"",
                    self.pick("UP¦down¦CEILING¦FLOOR¦HALF_UP¦HALF_DOWN¦half_even¦UNNECESSARY¦?")
                )
            }
            (_, "grouping separator") => self.pick("\",\"¦\".\"¦\" \"¦null¦\"x\"").to_owned(),
            (_, "decimal separator") => self.pick("\",\"¦\".\"¦null¦\" \"").to_owned(),
            ("number", "from") => format!(
                "\"{}\"",
                self.pick("1.5¦1,000.50¦-3¦1e3¦1E-3¦ 1¦¦abc¦1 000¦.5¦5.¦+7¦0x1¦1_0¦١¦1.000,5")
            ),
            ("date", "from") if !self.one_in(4) => format!("\"{}\"", self.pick(pool::DATES)),
            ("time", "from") if !self.one_in(4) => format!("\"{}\"", self.pick(pool::TIMES)),
            ("date and time", "from") if !self.one_in(4) => format!("\"{}\"", self.pick(pool::DATE_TIMES)),
            ("duration", "from") if self.one_in(2) => format!("\"{}\"", self.pick(pool::DAY_TIMES)),
            ("duration", "from") => format!("\"{}\"", self.pick(pool::MONTHS)),
            ("years and months duration", _) | ("date and time", "date") => {
                let kind = [Kind::Date, Kind::DateTime][self.random.usize(..2)];
                self.grown(kind, 1)
            }
            ("date and time", "time") if self.one_in(3) => {
                format!("\"{}\"", self.pick("Z¦Europe/Berlin¦+01:00¦UTC¦GMT+2¦nope"))
            }
            (_, "range" | "range1" | "range2") => self.range(depth),
            (_, "point" | "point1" | "point2") => self.grown(Kind::Number, 1),
            ("exp", _) => self.pick_early(pool::NUMBERS, 16).to_owned(),
            ("from json", _) => format!(
                "\"{}\"",
                self.pick("{\\\"a\\\": [1, 2.5, null]}¦[]¦1¦\\\"x\\\"¦tru¦¦{\\\"a\\\":1,}¦1e3¦[1 ,2 ]¦null")
            ),
            _ => self.grown(kind, depth),
        }
    }

    fn range(&mut self, depth: usize) -> String {
        let kind = if self.one_in(4) {
            [Kind::Date, Kind::DayTime, Kind::Time][self.random.usize(..3)]
        } else {
            Kind::Number
        };
        let (start, end) = (self.grown(kind, depth.min(1)), self.grown(kind, depth.min(1)));
        let (open, close) = (self.pick("[¦(¦]"), self.pick("]¦)¦["));
        format!("{open}{start}..{end}{close}")
    }

    /// An expression of a kind; now and then of another one.
    pub fn grown(&mut self, kind: Kind, depth: usize) -> String {
        let kind = if self.one_in(16) || kind == Kind::Any {
            self.any_kind()
        } else {
            kind
        };
        if depth == 0 || self.one_in(5) {
            return self.leaf(kind);
        }
        let depth = depth - 1;
        match self.random.usize(..14) {
            0 => {
                let (condition, then, otherwise) = (
                    self.grown(Kind::Bool, depth),
                    self.grown(kind, depth),
                    self.grown(kind, depth),
                );
                format!("if {condition} then {then} else {otherwise}")
            }
            1 => format!("({})", self.grown(kind, depth)),
            2 => {
                let (list, index) = (self.list_of(kind, depth), self.pick("1¦2¦-1¦0¦9¦n¦1.5¦- 1"));
                format!("{list}[{index}]")
            }
            3 => {
                let (key, value) = (self.pick("a¦b c¦\"k\"¦`x-y`"), self.grown(kind, depth));
                let path = if key == "\"k\"" { "k" } else { key };
                let path = if path == "b c" { "`b c`" } else { path };
                format!("{{{key}: {value}}}.{path}")
            }
            4 => {
                let value = self.grown(kind, depth);
                format!("get or else({value}, {})", self.leaf(kind))
            }
            _ => self.composed(kind, depth),
        }
    }

    fn composed(&mut self, kind: Kind, depth: usize) -> String {
        match kind {
            Kind::Number => self.number(depth),
            Kind::Bool => self.boolean(depth),
            Kind::Text => {
                let (left, right) = (self.grown(Kind::Text, depth), self.grown(Kind::Text, depth));
                match self.random.usize(..4) {
                    0 => format!("string({})", self.grown(Kind::Any, depth)),
                    1 => format!("substring({left}, {})", self.pick("1¦2¦-1")),
                    _ => format!("{left} + {right}"),
                }
            }
            Kind::Date | Kind::DateTime | Kind::Time | Kind::DayTime | Kind::Months => self.temporal(kind, depth),
            Kind::List | Kind::Numbers | Kind::Texts => self.list(kind, depth),
            Kind::Context => {
                let mut entries = Vec::new();
                for key in ["p", "q", "r"].iter().take(self.random.usize(1..=3)) {
                    let value = self.grown(Kind::Any, depth);
                    entries.push(format!("{key}: {value}"));
                    self.names.push((*key).to_owned());
                }
                self.names.truncate(self.names.len() - entries.len());
                format!("{{{}}}", entries.join(", "))
            }
            Kind::Any => self.leaf(Kind::Any),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        let (left, right) = (self.grown(Kind::Number, depth), self.grown(Kind::Number, depth));
        match self.random.usize(..12) {
            0 => format!("-{}", self.leaf(Kind::Number)),
            1 => format!("{left} ** {}", self.pick("2¦3¦0¦-1¦0.5¦10")),
            2 => format!("sum({})", self.list(Kind::Numbers, depth)),
            3 => format!("count({})", self.list(Kind::List, depth)),
            4 => format!("string length({})", self.grown(Kind::Text, depth)),
            5 => {
                let (kind, part) = [
                    (Kind::Date, "year"),
                    (Kind::Date, "weekday"),
                    (Kind::Time, "hour"),
                    (Kind::DateTime, "minute"),
                    (Kind::DayTime, "hours"),
                    (Kind::Months, "months"),
                    (Kind::DayTime, "days"),
                    (Kind::DateTime, "time offset"),
                ][self.random.usize(..8)];
                format!("({}).{part}", self.grown(kind, depth))
            }
            other => format!("{left} {} {right}", ["+", "-", "*", "/"][other % 4]),
        }
    }

    fn boolean(&mut self, depth: usize) -> String {
        let kind = self.any_kind();
        match self.random.usize(..12) {
            0 => format!(
                "{} and {}",
                self.grown(Kind::Bool, depth),
                self.grown(Kind::Bool, depth)
            ),
            1 => format!("{} or {}", self.grown(Kind::Bool, depth), self.grown(Kind::Bool, depth)),
            2 => format!("not({})", self.grown(Kind::Bool, depth)),
            3 => format!(
                "{} between {} and {}",
                self.leaf(Kind::Number),
                self.leaf(Kind::Number),
                self.leaf(Kind::Number)
            ),
            4 => format!("{} in {}", self.leaf(Kind::Number), self.range(0)),
            5 => {
                let tests = [
                    self.leaf(Kind::Number),
                    format!("< {}", self.leaf(Kind::Number)),
                    "? > 2".to_owned(),
                    self.leaf(Kind::List),
                ];
                format!(
                    "{} in ({}, {})",
                    self.leaf(Kind::Number),
                    tests[self.random.usize(..4)],
                    tests[self.random.usize(..4)]
                )
            }
            6 => {
                format!("{} instance of {}", self.leaf(kind), self.pick(pool::KINDS))
            }
            7 => {
                let word = self.pick("some¦every");
                let list = self.list_of(Kind::Number, 0);
                self.names.push("q1".to_owned());
                let condition = self.grown(Kind::Bool, depth.min(2));
                self.names.pop();
                format!("{word} q1 in {list} satisfies {condition}")
            }
            _ => {
                let operator = self.pick("=¦!=¦<¦<=¦>¦>=");
                let depth = depth.min(2);
                format!("{} {operator} {}", self.operand(kind, depth), self.operand(kind, depth))
            }
        }
    }

    /// Something that can stand beside an operator without parentheses.
    fn operand(&mut self, kind: Kind, depth: usize) -> String {
        if depth == 0 {
            self.leaf(kind)
        } else {
            format!("({})", self.grown(kind, depth))
        }
    }

    fn temporal(&mut self, kind: Kind, depth: usize) -> String {
        let base = self.operand(kind, depth.min(1));
        let by = if self.one_in(2) { Kind::DayTime } else { Kind::Months };
        match (kind, self.random.usize(..6)) {
            (Kind::DayTime, 0) => {
                let of = [Kind::Date, Kind::DateTime, Kind::Time][self.random.usize(..3)];
                format!("{} - {}", self.operand(of, 1), self.operand(of, 1))
            }
            (Kind::DayTime | Kind::Months, 1) => format!("{base} * {}", self.leaf(Kind::Number)),
            (Kind::DayTime | Kind::Months, 2) => format!("{base} / {}", self.leaf(Kind::Number)),
            (Kind::DayTime | Kind::Months, 3) => format!("{base} / {}", self.operand(kind, 0)),
            (Kind::DayTime | Kind::Months, _) => format!("{base} {} {}", self.pick("+¦-"), self.operand(kind, 0)),
            (Kind::Date, 0) => format!("date({})", self.operand(Kind::DateTime, 1)),
            (Kind::Time, 0) => format!("time({})", self.operand(Kind::DateTime, 1)),
            (Kind::DateTime, 0) => format!("date and time({base}, \"Europe/Berlin\")"),
            (_, 1) => format!("{} + {base}", self.operand(by, 0)),
            _ => format!("{base} {} {}", self.pick("+¦-"), self.operand(by, 0)),
        }
    }

    fn list_of(&mut self, kind: Kind, depth: usize) -> String {
        let items: Vec<String> = (0..self.random.usize(..4))
            .map(|_| self.grown(kind, depth.min(1)))
            .collect();
        format!("[{}]", items.join(", "))
    }

    fn list(&mut self, kind: Kind, depth: usize) -> String {
        let item = match kind {
            Kind::Numbers => Kind::Number,
            Kind::Texts => Kind::Text,
            _ => self.any_kind(),
        };
        match self.random.usize(..8) {
            0 | 1 => {
                let name = format!("i{}", self.names.len());
                let over = if self.one_in(2) {
                    format!("1..{}", self.random.usize(..5))
                } else {
                    self.list_of(Kind::Number, 0)
                };
                self.names.push(name.clone());
                let body = if self.one_in(6) {
                    "count(partial)".to_owned()
                } else {
                    self.grown(item, depth)
                };
                self.names.pop();
                format!("for {name} in {over} return {body}")
            }
            2 => {
                let list = self.list_of(Kind::Number, depth);
                let condition = self
                    .pick("item > 1¦even(item)¦item = null¦item¦not(item > 1)¦item > 1 and item < 3¦true¦item != 2");
                format!("{list}[{condition}]")
            }
            3 => self
                .pick(
                    "os[id > 1]¦os.v¦os.id¦os[v = null]¦os[id = 2].v¦o.c.d¦[o, os].id¦os[item.id < 3].id¦xs[item > 1]",
                )
                .to_owned(),
            4 => format!(
                "{}({})",
                self.pick("reverse¦distinct values¦flatten¦duplicate values"),
                self.list_of(item, depth)
            ),
            _ => self.list_of(item, depth),
        }
    }

    fn any_kind(&mut self) -> Kind {
        const KINDS: [Kind; 13] = [
            Kind::Number,
            Kind::Text,
            Kind::Bool,
            Kind::List,
            Kind::Numbers,
            Kind::Texts,
            Kind::Context,
            Kind::Date,
            Kind::Time,
            Kind::DateTime,
            Kind::DayTime,
            Kind::Months,
            Kind::Number,
        ];
        KINDS[self.random.usize(..KINDS.len())]
    }

    fn leaf(&mut self, kind: Kind) -> String {
        if !self.names.is_empty() && self.one_in(3) {
            let name = self.random.usize(..self.names.len());
            return self.names[name].clone();
        }
        if self.one_in(25) {
            return self.pick("null¦nil¦missing¦o.nope¦t¦{}¦[]").to_owned();
        }
        let quoted = |text: &str| format!("\"{text}\"");
        match kind {
            Kind::Number if self.one_in(4) => self.pick("n¦m¦z¦o.a¦xs[1]").to_owned(),
            Kind::Number => self.pick(pool::NUMBERS).to_owned(),
            Kind::Text if self.one_in(4) => self.pick("s¦e¦u¦o.b¦ys[1]¦ds[1]").to_owned(),
            Kind::Text => quoted(self.pick(pool::TEXTS)),
            Kind::Bool => self.pick("true¦false¦t¦f¦n > 3").to_owned(),
            Kind::List | Kind::Numbers => self.pick("xs¦[1, 2, 3]¦[]¦[3, null, 1]¦[1.0, 1, 2.50]¦os").to_owned(),
            Kind::Texts => self.pick("ys¦[\"a\", \"b\", \"a\"]¦[\"x\", null]¦[]").to_owned(),
            Kind::Context => self
                .pick("o¦{a: 1}¦{a: 1, b: {c: \"x\"}}¦o.c¦os[1]¦{key: \"k\", value: 2}")
                .to_owned(),
            Kind::Date => format!("date({})", quoted(self.pick_early(pool::DATES, 7))),
            Kind::Time if self.one_in(3) => format!("time({})", quoted(self.pick(pool::TIMES))),
            Kind::Time => format!("@{}", quoted(self.pick_early(pool::TIMES, 8))),
            Kind::DateTime if self.one_in(3) => format!("date and time({})", quoted(self.pick(pool::DATE_TIMES))),
            Kind::DateTime => format!("@{}", quoted(self.pick_early(pool::DATE_TIMES, 6))),
            Kind::DayTime if self.one_in(3) => format!("@{}", quoted(self.pick(pool::DAY_TIMES))),
            Kind::DayTime => format!("duration({})", quoted(self.pick(pool::DAY_TIMES))),
            Kind::Months => format!("duration({})", quoted(self.pick(pool::MONTHS))),
            Kind::Any => self.pick("1¦\"a\"¦null¦[1]¦{a: 1}¦true").to_owned(),
        }
    }

    /// The expression with a few small mistakes.
    fn broken(&mut self, expression: &str) -> String {
        let mut text: Vec<char> = expression.chars().collect();
        for _ in 0..self.random.usize(1..=2) {
            let at = self.random.usize(..=text.len());
            match self.random.usize(..6) {
                0 if at < text.len() => {
                    text.remove(at);
                }
                1 => {
                    let piece = self.pick("(¦)¦[¦]¦{¦}¦,¦:¦.¦..¦\"¦`¦=¦-¦+¦*¦/¦?¦@¦ ¦//¦/*¦and ¦ in ¦if ¦ then ¦ else ¦null¦1¦x¦é¦'¦==¦!¦<¦>=¦ or ¦function(x) ¦not¦\\¦for ¦%");
                    text.splice(at..at, piece.chars());
                }
                2 if at + 1 < text.len() => text.swap(at, at + 1),
                3 => {
                    let end = (at + self.random.usize(1..6)).min(text.len());
                    text.drain(at..end);
                }
                4 => {
                    let end = (at + self.random.usize(1..8)).min(text.len());
                    let copy: Vec<char> = text[at..end].to_vec();
                    text.splice(at..at, copy);
                }
                _ => text.truncate(at),
            }
        }
        text.into_iter().collect()
    }
}
