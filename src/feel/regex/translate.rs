//! Java's pattern syntax into that of the regex crates, which differ in what classes hold, in what `.` and `$` mean and
//! in what they allow.

use super::class::{VERTICAL, class_escape, push_literal};

/// Flags of `matches` and `replace`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    dot_all: bool,
    multi_line: bool,
    ignore_case: bool,
    unicode_case: bool,
    /// `(?U)`: classes are those of Unicode.
    pub(super) unicode_classes: bool,
    pub(super) comments: bool,
}

impl Flags {
    /// Letters that are no flags have no meaning.
    pub(super) fn parse(flags: &str) -> Flags {
        Flags {
            dot_all: flags.contains('s'),
            multi_line: flags.contains('m'),
            ignore_case: flags.contains('i'),
            unicode_case: false,
            unicode_classes: false,
            comments: flags.contains('x'),
        }
    }
}

pub(super) struct Translated {
    pub(super) text: String,
    /// Whether it uses what a linear engine cannot do.
    pub(super) needs_backtracking: bool,
    /// Whether a `$` depends on how the text ends.
    pub(super) has_end_anchor: bool,
}

const LINE_BREAKS: &str = r"\n\r\u{85}\u{2028}\u{2029}";

/// A pattern on its way from one dialect to the other.
pub(super) struct Translator<'p> {
    pub(super) rest: std::iter::Peekable<std::str::Chars<'p>>,
    pub(super) out: String,
    pub(super) flags: Flags,
    needs_backtracking: bool,
    has_end_anchor: bool,
    before_last_break: bool,
    /// Groups that were opened so far and capture.
    groups: usize,
    /// The names of those that have one.
    names: Vec<String>,
    /// The groups that are open.
    open: Vec<Open>,
    /// What came last: whether a quantifier may follow, and whether one did.
    quantifiable: Last,
}

/// A group that is not closed yet.
struct Open {
    /// The flags around it: inline flags end with their group.
    flags: Flags,
    /// Where a look-ahead or look-behind begins in what was written.
    assertion: Option<usize>,
    /// Look-behind: groups in it must have a longest match.
    behind: bool,
}

/// What matches nothing, and what matches the empty text: both may be repeated, unlike an assertion or nothing at all.
const NEVER: &str = "(?:[a&&b])";
const EMPTY: &str = "a{0}";

/// Java's `\b` knows the letters of ASCII; the engine that goes back knows no such edge, but it can look.
const WORD_EDGE: &str = r"(?-u:\b)";
const WORD_EDGE_BY_LOOKING: &str = "(?:(?<=[a-zA-Z0-9_])(?![a-zA-Z0-9_])|(?<![a-zA-Z0-9_])(?=[a-zA-Z0-9_]))";

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Last {
    Nothing,
    Atom,
    Group,
    /// An assertion, and where it begins in what was written.
    Assertion(usize),
    Quantifier,
    /// The quantifier of an assertion, which was not written: the other dialect has none.
    Swallowed,
}

/// Translates; `None` when Java would refuse the pattern. With `before_last_break`, `$` also matches before a line break
/// that ends the text.
pub(super) fn translate(pattern: &str, flags: Flags, before_last_break: bool) -> Option<Translated> {
    let mut translator = Translator {
        rest: pattern.chars().peekable(),
        out: String::with_capacity(pattern.len() + 16),
        flags,
        needs_backtracking: false,
        has_end_anchor: false,
        before_last_break,
        groups: 0,
        names: Vec::new(),
        open: Vec::new(),
        quantifiable: Last::Nothing,
    };
    if flags.ignore_case {
        translator.out.push_str("(?i)");
    }
    if flags.multi_line {
        translator.out.push_str("(?m)");
    }
    if flags.comments {
        translator.out.push_str("(?x)");
    }
    translator.pattern()?;
    if translator.needs_backtracking {
        translator.out = translator.out.replace(WORD_EDGE, WORD_EDGE_BY_LOOKING);
    }
    Some(Translated {
        text: translator.out,
        needs_backtracking: translator.needs_backtracking,
        has_end_anchor: translator.has_end_anchor,
    })
}

impl Translator<'_> {
    fn pattern(&mut self) -> Option<()> {
        while let Some(character) = self.rest.next() {
            let start = self.out.len();
            let mut last = Last::Atom;
            match character {
                '\\' => last = self.escape()?,
                '[' => self.class(0)?,
                '(' => {
                    self.group()?;
                    last = Last::Nothing;
                }
                ')' => {
                    let open = self.open.pop()?;
                    self.flags = open.flags;
                    if self.out.ends_with(['(', ':', '>', '|', '=', '!']) {
                        self.out.push_str(EMPTY);
                    }
                    self.out.push(')');
                    last = open.assertion.map_or(Last::Group, Last::Assertion);
                }
                '|' => {
                    self.out.push('|');
                    last = Last::Nothing;
                }
                '*' | '+' | '?' => last = self.quantifier(character)?,
                '{' => last = self.repetition()?,
                '.' if self.flags.dot_all => self.out.push_str("(?s:.)"),
                '.' => {
                    self.out.push_str("[^");
                    self.out.push_str(LINE_BREAKS);
                    self.out.push(']');
                }
                '^' => {
                    self.out.push('^');
                    last = Last::Assertion(start);
                }
                '$' => {
                    self.end_anchor();
                    last = Last::Assertion(start);
                }
                '#' if self.flags.comments => {
                    for skipped in self.rest.by_ref() {
                        if skipped == '\n' {
                            break;
                        }
                    }
                    last = self.quantifiable;
                }
                '#' | '&' | '~' | '-' | ']' | '}' => {
                    self.out.push('\\');
                    self.out.push(character);
                }
                blank if self.flags.comments && blank.is_ascii_whitespace() => last = self.quantifiable,
                blank if blank.is_ascii_whitespace() => self.out.push(blank),
                other => self.character(other),
            }
            self.quantifiable = last;
        }
        self.open.is_empty().then_some(())
    }

    fn end_anchor(&mut self) {
        if self.flags.multi_line {
            self.out.push('$');
            return;
        }
        self.has_end_anchor = true;
        if self.before_last_break {
            self.needs_backtracking = true;
            self.out.push_str(r"(?=(?:\r\n|[");
            self.out.push_str(LINE_BREAKS);
            self.out.push_str(r"])?\z)");
        } else {
            self.out.push_str(r"\z");
        }
    }

    fn quantifier(&mut self, sign: char) -> Option<Last> {
        match (self.quantifiable, sign) {
            (Last::Nothing, _) | (Last::Quantifier | Last::Swallowed, '*') => None,
            (Last::Swallowed, _) => Some(Last::Nothing),
            (Last::Quantifier, _) => {
                self.needs_backtracking |= sign == '+';
                self.out.push(sign);
                Some(Last::Nothing)
            }
            (Last::Assertion(start), _) => Some(self.repeated_assertion(start, sign != '+')),
            (last, _) => {
                if sign != '?' {
                    self.may_be_endless(last)?;
                }
                self.out.push(sign);
                Some(Last::Quantifier)
            }
        }
    }

    /// Whether it holds does not depend on how often it is asked, unless it need not be asked at all.
    fn repeated_assertion(&mut self, start: usize, optional: bool) -> Last {
        if optional {
            self.out.insert_str(start, "(?:");
            self.out.push_str("|a{0})");
        }
        Last::Swallowed
    }

    /// Java refuses groups that have no longest match inside a look-behind.
    fn may_be_endless(&self, last: Last) -> Option<()> {
        (last != Last::Group || !self.open.iter().any(|open| open.behind)).then_some(())
    }

    /// `{n}`, `{n,}` or `{n,m}`: anything else in braces is refused. Where nothing stands before that could be repeated
    /// (`a{2}{3}`), Java repeats the empty text.
    fn repetition(&mut self) -> Option<Last> {
        if matches!(self.quantifiable, Last::Nothing | Last::Quantifier | Last::Swallowed) {
            self.out.push_str("(?:a{0})");
        }
        let mut inside = String::new();
        loop {
            match self.rest.next()? {
                '}' => break,
                character @ ('0'..='9' | ',') => inside.push(character),
                _ => return None,
            }
        }
        let (least, most) = inside
            .split_once(',')
            .map_or((inside.as_str(), None), |(least, most)| (least, Some(most)));
        let least: u32 = least.parse().ok()?;
        match most {
            Some("") => self.may_be_endless(self.quantifiable)?,
            Some(most) if most.parse::<u32>().ok()? < least => return None,
            _ => {}
        }
        if let Last::Assertion(start) = self.quantifiable {
            return Some(self.repeated_assertion(start, least == 0));
        }
        self.out.push('{');
        self.out.push_str(&inside);
        self.out.push('}');
        Some(Last::Quantifier)
    }

    fn group(&mut self) -> Option<()> {
        let (mut start, mut assertion, mut behind) = ("(", None, false);
        let (flags, at) = (self.flags, self.out.len());
        if self.rest.next_if_eq(&'?').is_none() {
            self.groups += 1;
        } else {
            match self.rest.next()? {
                ':' => start = "(?:",
                '>' => start = "(?>",
                '=' => (start, assertion) = ("(?=", Some(at)),
                '!' => (start, assertion) = ("(?!", Some(at)),
                '<' => match self.rest.peek().copied()? {
                    sign @ ('=' | '!') => {
                        self.rest.next();
                        (start, assertion, behind) = (if sign == '=' { "(?<=" } else { "(?<!" }, Some(at), true);
                    }
                    _ => {
                        self.groups += 1;
                        start = "";
                        self.out.push_str("(?<");
                        let name = self.group_name('>')?;
                        if self.names.contains(&name) {
                            return None;
                        }
                        self.names.push(name);
                    }
                },
                first => return self.inline_flags(first),
            }
        }
        self.needs_backtracking |= assertion.is_some() || start == "(?>";
        self.out.push_str(start);
        self.open.push(Open {
            flags,
            assertion,
            behind,
        });
        Some(())
    }

    fn group_name(&mut self, end: char) -> Option<String> {
        let mut name = String::new();
        loop {
            match self.rest.next()? {
                character if character == end => break,
                character if character.is_ascii_alphanumeric() => name.push(character),
                _ => return None,
            }
        }
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return None;
        }
        self.out.push_str(&name);
        self.out.push(end);
        Some(name)
    }

    /// `(?i)`, `(?i-s:…)`. Java's flag for Unix lines changes nothing that is translated here.
    fn inline_flags(&mut self, first: char) -> Option<()> {
        let around = self.flags;
        let mut kept = String::new();
        let mut on = true;
        let mut next = first;
        loop {
            match next {
                '-' if on => on = false,
                'i' => self.flags.ignore_case = on,
                'm' => self.flags.multi_line = on,
                's' => self.flags.dot_all = on,
                'x' => self.flags.comments = on,
                'u' => self.flags.unicode_case = on,
                'U' => (self.flags.unicode_case, self.flags.unicode_classes) = (on, on),
                'd' => {}
                ')' | ':' => break,
                _ => return None,
            }
            next = self.rest.next()?;
        }
        for (flag, set) in [
            ('i', self.flags.ignore_case),
            ('m', self.flags.multi_line),
            ('s', self.flags.dot_all),
            ('x', self.flags.comments),
        ] {
            if set {
                kept.push(flag);
            }
        }
        let off: String = "imsx".chars().filter(|flag| !kept.contains(*flag)).collect();
        self.out.push_str("(?");
        self.out.push_str(&kept);
        if !off.is_empty() {
            self.out.push('-');
            self.out.push_str(&off);
        }
        self.out.push(next);
        // Without a colon the flags hold to the end of the group around this one.
        if next == ':' {
            self.open.push(Open {
                flags: around,
                assertion: None,
                behind: false,
            });
        }
        Some(())
    }

    fn escape(&mut self) -> Option<Last> {
        let character = self.rest.next()?;
        let start = self.out.len();
        match character {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'h' | 'H' | 'v' | 'V' => {
                let inside = class_escape(character, self.flags.unicode_classes)?;
                self.out.push_str(&inside);
            }
            'p' | 'P' => {
                let class = self.property(character == 'P')?;
                self.out.push_str(&class);
            }
            'b' => self.out.push_str(WORD_EDGE),
            'G' => {
                self.needs_backtracking = true;
                self.out.push_str(r"\G");
            }
            'B' => self.out.push_str(r"\B"),
            'A' | 'z' => {
                self.out.push('\\');
                self.out.push(character);
            }
            'Z' => {
                let multi_line = std::mem::replace(&mut self.flags.multi_line, false);
                self.end_anchor();
                self.flags.multi_line = multi_line;
            }
            'R' => {
                self.out.push_str(r"(?:\r\n|[");
                self.out.push_str(VERTICAL);
                self.out.push_str("])");
            }
            'Q' => return Some(self.quoted()),
            'E' => return Some(self.quantifiable),
            '1'..='9' => self.back_reference(usize::from(character as u8 - b'0'))?,
            'k' => {
                self.needs_backtracking = true;
                self.rest.next_if_eq(&'<')?;
                self.out.push_str(r"\k<");
                self.group_name('>')?;
            }
            other => {
                let literal = self.literal(other)?;
                self.character(literal);
            }
        }
        Some(match character {
            'b' | 'B' | 'A' | 'z' | 'Z' | 'G' => Last::Assertion(start),
            _ => Last::Atom,
        })
    }

    /// A character that means itself. Without the flag for Unicode, Java ignores the case of ASCII letters only: neither
    /// that of others, nor the two signs beyond ASCII that are k and s in another case.
    fn character(&mut self, character: char) {
        if !self.flags.ignore_case || self.flags.unicode_case {
            push_literal(&mut self.out, character);
            return;
        }
        match character {
            'k' | 'K' => self.out.push_str("(?-i:[kK])"),
            's' | 'S' => self.out.push_str("(?-i:[sS])"),
            other if other.is_ascii() => push_literal(&mut self.out, other),
            other => {
                self.out.push_str("(?-i:");
                push_literal(&mut self.out, other);
                self.out.push(')');
            }
        }
    }

    /// More digits belong to the number as long as there is such a group; a group that is not there never matches.
    fn back_reference(&mut self, first: usize) -> Option<()> {
        if self.open.iter().any(|open| open.behind) {
            return None;
        }
        let mut group = first;
        while let Some(digit) = self.rest.peek().and_then(|digit| digit.to_digit(10)) {
            let longer = group * 10 + digit as usize;
            if longer > self.groups {
                break;
            }
            group = longer;
            self.rest.next();
        }
        if group > self.groups {
            self.out.push_str(NEVER);
        } else {
            self.needs_backtracking = true;
            self.out.push_str(&format!(r"(?:\{group})"));
        }
        Some(())
    }

    /// `\Q…\E`.
    pub(super) fn quoted(&mut self) -> Last {
        let mut last = self.quantifiable;
        while let Some(character) = self.rest.next() {
            if character == '\\' && self.rest.next_if_eq(&'E').is_some() {
                break;
            }
            push_literal(&mut self.out, character);
            last = Last::Atom;
        }
        last
    }
}
