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
    /// Flags around the open groups: inline flags end with their group.
    open: Vec<Flags>,
    /// What came last: whether a quantifier may follow, and whether one did.
    quantifiable: Last,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Last {
    Nothing,
    Atom,
    Quantifier,
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
    Some(Translated {
        text: translator.out,
        needs_backtracking: translator.needs_backtracking,
        has_end_anchor: translator.has_end_anchor,
    })
}

impl Translator<'_> {
    fn pattern(&mut self) -> Option<()> {
        while let Some(character) = self.rest.next() {
            let mut last = Last::Atom;
            match character {
                '\\' => last = self.escape()?,
                '[' => self.class()?,
                '(' => {
                    self.group()?;
                    last = Last::Nothing;
                }
                ')' => {
                    self.flags = self.open.pop()?;
                    self.out.push(')');
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
                '^' => self.out.push('^'),
                '$' => self.end_anchor(),
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
            (Last::Nothing, _) | (Last::Quantifier, '*') => None,
            (Last::Quantifier, '?') => {
                self.out.push('?');
                Some(Last::Nothing)
            }
            (Last::Quantifier, _) => {
                self.needs_backtracking = true;
                self.out.push('+');
                Some(Last::Nothing)
            }
            (Last::Atom, _) => {
                self.out.push(sign);
                Some(Last::Quantifier)
            }
        }
    }

    /// `{n}`, `{n,}` or `{n,m}`: anything else in braces is refused.
    fn repetition(&mut self) -> Option<Last> {
        if self.quantifiable != Last::Atom {
            return None;
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
        if let Some(most) = most.filter(|most| !most.is_empty())
            && most.parse::<u32>().ok()? < least
        {
            return None;
        }
        self.out.push('{');
        self.out.push_str(&inside);
        self.out.push('}');
        Some(Last::Quantifier)
    }

    fn group(&mut self) -> Option<()> {
        self.open.push(self.flags);
        self.out.push('(');
        if self.rest.peek() != Some(&'?') {
            self.groups += 1;
            return Some(());
        }
        self.rest.next();
        self.out.push('?');
        match self.rest.next()? {
            sign @ (':' | '=' | '!' | '>') => {
                self.needs_backtracking |= sign != ':';
                self.out.push(sign);
            }
            '<' => {
                self.out.push('<');
                if let Some(sign @ ('=' | '!')) = self.rest.peek().copied() {
                    self.rest.next();
                    self.needs_backtracking = true;
                    self.out.push(sign);
                } else {
                    self.groups += 1;
                    self.group_name('>')?;
                }
            }
            first => self.inline_flags(first)?,
        }
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

    /// `(?i)`, `(?i-s:…)`. Java's flags for Unix lines and Unicode change nothing that is translated here.
    fn inline_flags(&mut self, first: char) -> Option<()> {
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
                'u' | 'U' => self.flags.unicode_case = on,
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
        self.out.push_str(&kept);
        if !off.is_empty() {
            self.out.push('-');
            self.out.push_str(&off);
        }
        self.out.push(next);
        if next == ')' {
            // The flags hold to the end of the group around this one.
            self.open.pop();
        }
        Some(())
    }

    fn escape(&mut self) -> Option<Last> {
        let character = self.rest.next()?;
        match character {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'h' | 'H' | 'v' | 'V' => {
                let inside = class_escape(character)?;
                self.out.push_str(&inside);
            }
            'p' | 'P' => {
                let class = self.property(character == 'P')?;
                self.out.push_str(&class);
            }
            'b' => self.out.push_str(r"(?-u:\b)"),
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
            '1'..='9' => {
                self.needs_backtracking = true;
                self.back_reference(usize::from(character as u8 - b'0'));
            }
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
        Some(Last::Atom)
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
    fn back_reference(&mut self, first: usize) {
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
            self.out.push_str("(?!)");
        } else {
            self.out.push_str(&format!(r"(?:\{group})"));
        }
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
