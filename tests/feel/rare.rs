//! What people write rarely: names that hide each other, unary tests, texts of times and durations with small mistakes,
//! decimals with many digits, escapes, patterns of every sort.

use super::{Generator, Kind};

const NAMES: &str = "a¦b¦item¦x¦partial¦n¦o¦xs¦f¦id¦`a b`";
const SCOPE_LEAVES: &str = "a¦b¦item¦x¦partial¦n¦o¦a.b¦item.a¦xs¦s¦id¦v¦1¦2¦[1, 2]¦{a: 1}¦\"t\"¦null¦os¦missing";
const VALUES: &str = "1¦2¦3¦-1¦1.5¦\"a\"¦\"b\"¦null¦true¦false¦[]¦[1, 2]¦{a: 1}¦@\"2024-01-01\"¦@\"P1D\"¦@\"P1M\"¦\
    @\"10:00:00\"¦@\"2024-01-01T10:00:00Z\"¦[1..3]¦n¦s¦xs¦os¦o¦missing¦[[1], [2]]¦[null]¦[\"a\", \"b\"]¦function(x) x";
const ATOMS: &str = "a¦b¦C¦1¦ ¦é¦-¦.¦\\\\d¦\\\\w¦\\\\s¦\\\\D¦\\\\W¦\\\\S¦\\\\b¦\\\\B¦^¦$¦\\\\A¦\\\\z¦[a-c]¦[^a]¦[a-c&&[^b]]¦[\\\\d-]¦\
    \\\\p{Lu}¦\\\\p{Alpha}¦\\\\p{IsLatin}¦\\\\p{Punct}¦\\\\.¦\\\\Qa.b\\\\E¦\\\\x61¦\\\\u0061¦\\\\h¦\\\\R¦(?i)¦(?s)¦(?m)";
const QUANTIFIERS: &str = "¦¦¦¦*¦+¦?¦{2}¦{1,2}¦{1,}¦*?¦+?¦??¦*+¦++";
const ESCAPES: &str = "a¦B¦é¦😀¦ ¦\\n¦\\t¦\\r¦\\b¦\\f¦\\\"¦\\'¦\\\\¦\\u0041¦\\q¦\\/¦'¦{¦}¦//¦/*";

impl Generator {
    /// A rare construct, with the kind of it.
    pub(super) fn rare(&mut self) -> (String, String) {
        let depth = self.random.usize(2..=4);
        let (tag, expression) = match self.random.usize(..6) {
            0 => ("scope", self.scope(depth)),
            1 => ("unary test", self.unary_test()),
            2 => ("time text", self.time_text()),
            3 => ("digits", self.digits(depth)),
            4 => ("pattern", self.pattern()),
            _ => ("escape", self.escapes()),
        };
        (tag.to_owned(), expression)
    }

    fn scope(&mut self, depth: usize) -> String {
        if depth == 0 || self.one_in(7) {
            return self.pick(SCOPE_LEAVES).to_owned();
        }
        let name = |of: &mut Generator| of.pick(NAMES).to_owned();
        let mut inner = || self.scope(depth - 1);
        let (one, other, third) = (inner(), inner(), inner());
        let (first, second) = (name(self), name(self));
        match self.random.usize(..16) {
            0 => format!("{{{first}: {one}, {second}: {other}}}"),
            1 => format!("{{{first}: {one}, {second}: {other}}}.{}", self.pick("a¦b¦x¦item")),
            2 => format!(
                "for {first} in {} return {one}",
                self.pick("[1, 2]¦xs¦os¦1..3¦[{a: 1}, {b: 2}]")
            ),
            3 => format!("for {first} in [1, 2], {second} in {other} return {one}"),
            4 => format!("{} {first} in {other} satisfies {one}", self.pick("some¦every")),
            5 | 6 => format!(
                "{}[{one}]",
                self.pick("os¦xs¦[{a: 1}, {a: 2, b: 3}]¦[[1, 2], [3]]¦[{item: 1}]¦o")
            ),
            7 => format!("{{f: function({first}) {one}, r: f({other})}}"),
            8 => format!("{{f: function({first}, {second}) {one}, a: {third}, r: f({other}, 2)}}.r"),
            9 => format!("{{{first}: {one}, f: function() {other}, {second}: {third}, r: f()}}.r"),
            10 => format!("{{f: function({first}) {one}}}.f({first}: {other})"),
            11 => format!("({one}) {} ({other})", self.pick("+¦=¦<¦!=¦and¦or")),
            12 => format!("if {one} then {other} else {third}"),
            13 => format!("sort(xs, function({first}, {second}) {one})"),
            14 => format!("is defined({one})"),
            _ => format!("({one}).{}", self.pick("a¦b¦id¦x")),
        }
    }

    fn unary_test(&mut self) -> String {
        let mut tests = Vec::new();
        for _ in 0..self.random.usize(1..4) {
            let value = self.pick(VALUES).to_owned();
            let test = match self.random.usize(..11) {
                0..3 => value,
                3 => format!("{} {value}", self.pick("<¦<=¦>¦>=¦=¦!=")),
                4 => format!("not({value})"),
                5 => format!("? {} {value}", self.pick("<¦>¦=¦+¦*")),
                6 => self.range(0),
                7 => "even(?)".to_owned(),
                8 => "contains(?, \"a\")".to_owned(),
                9 => "-".to_owned(),
                _ => "? in [1..2]".to_owned(),
            };
            tests.push(test);
        }
        let (value, tests) = (self.pick(VALUES).to_owned(), tests.join(", "));
        let within = format!("{value} in ({tests})");
        match self.random.usize(..6) {
            0 => format!("if {within} then 1 else 2"),
            1 => format!("[1, 2, 3, \"a\"][item in ({tests})]"),
            2 => format!("some x in [1, 2] satisfies x in ({tests})"),
            3 => format!("not({within})"),
            4 => format!("{value} in {tests}"),
            _ => within,
        }
    }

    fn time_text(&mut self) -> String {
        let pools = [
            super::pool::DATES,
            super::pool::TIMES,
            super::pool::DATE_TIMES,
            super::pool::DAY_TIMES,
            super::pool::MONTHS,
        ];
        let pool = pools[self.random.usize(..pools.len())];
        let mut text: Vec<char> = self.pick(pool).chars().collect();
        for _ in 0..self.random.usize(..3) {
            let at = self.random.usize(..=text.len());
            let sign = self
                .pick("0¦1¦9¦-¦:¦T¦Z¦.¦+¦P¦Y¦M¦D¦H¦S¦@¦ ")
                .chars()
                .next()
                .unwrap_or('0');
            if self.random.bool() || at == text.len() {
                text.insert(at, sign);
            } else {
                text[at] = sign;
            }
        }
        let text: String = text.into_iter().collect();
        let function = self.pick("@¦date¦time¦date and time¦duration").to_owned();
        let value = if function == "@" {
            format!("@\"{text}\"")
        } else {
            format!("{function}({}\"{text}\")", self.pick("¦¦\"\" + "))
        };
        let other = self.leaf(Kind::DayTime);
        match self.random.usize(..6) {
            0 => format!("string({value})"),
            1 => format!("{value} + {other}"),
            2 => format!("{other} - {value}"),
            3 => format!(
                "({value}).{}",
                self.pick("year¦hour¦days¦months¦time offset¦timezone¦weekday¦seconds")
            ),
            4 => format!("{value} < {value}"),
            _ => value,
        }
    }

    fn digits(&mut self, depth: usize) -> String {
        if depth == 0 || self.one_in(5) {
            let count = self.random.usize(1..36);
            let digits: String = (0..count).map(|_| self.random.digit(10)).collect();
            let point = self.random.usize(..=count);
            let (whole, fraction) = digits.split_at(point);
            return match fraction {
                "" => whole.to_owned(),
                fraction => format!("0{whole}.{fraction}"),
            };
        }
        let (one, other) = (self.digits(depth - 1), self.digits(depth - 1));
        let scale = self.pick("0¦1¦2¦5¦-1¦-3¦30").to_owned();
        match self.random.usize(..10) {
            0..4 => format!("({one} {} {other})", self.pick("+¦-¦*¦/")),
            4 => format!("({one} ** {})", self.pick("2¦3¦0¦-1¦0.5")),
            5 => format!(
                "{}({one}, {scale})",
                self.pick("decimal¦floor¦ceiling¦round up¦round down¦round half up¦round half down")
            ),
            6 => format!("modulo({one}, {other})"),
            7 => format!("{}({one}, {other})", self.pick("sum¦mean¦median¦product¦min¦max")),
            8 => format!("(-{one})"),
            _ => format!("number(string({one}))"),
        }
        .replacen("((", "string((", usize::from(self.one_in(3)))
    }

    fn pattern(&mut self) -> String {
        let mut pattern = String::new();
        for _ in 0..self.random.usize(1..5) {
            let atom = if self.one_in(4) {
                let (open, inner) = (
                    self.pick("(¦(?:¦(?=¦(?!¦(?<=¦(?i:¦(?>").to_owned(),
                    self.pick(ATOMS).to_owned(),
                );
                format!("{open}{inner}{}{})", self.pick("¦|"), self.pick("a¦b¦1"))
            } else {
                self.pick(ATOMS).to_owned()
            };
            pattern.push_str(&atom);
            pattern.push_str(self.pick(QUANTIFIERS));
        }
        let text = self
            .pick("aab¦a1 b-C¦foo bar¦ÀÉé a¦a.b¦¦AbC\\naBc¦  a¦1234-56")
            .to_owned();
        let flags = self.pick("i¦s¦m¦x¦im¦¦q").to_owned();
        match self.random.usize(..6) {
            0 => format!("matches(\"{text}\", \"{pattern}\", \"{flags}\")"),
            1 => format!("replace(\"{text}\", \"{pattern}\", \"{}\")", self.pick("X¦[$0]¦$1¦")),
            2 => format!("replace(\"{text}\", \"{pattern}\", \"#\", \"{flags}\")"),
            3 => format!("split(\"{text}\", \"{pattern}\")"),
            4 => format!("extract(\"{text}\", \"{pattern}\")"),
            _ => format!("matches(\"{text}\", \"{pattern}\")"),
        }
    }

    fn escapes(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.random.usize(..6) {
            text.push_str(self.pick(ESCAPES));
        }
        let literal = format!("\"{text}\"");
        match self.random.usize(..6) {
            0 => format!("string length({literal})"),
            1 => format!("string([{literal}, {{a: {literal}}}])"),
            2 => format!("to json({literal})"),
            3 => format!("{{{literal}: 1}}"),
            4 => format!("from json(to json({literal}))"),
            _ => literal,
        }
    }
}
