//! Single characters and classes of characters, where the two dialects differ most: Java's `\d`, `\w` and `\s` are those
//! of ASCII, and its classes may hold a dash or an ampersand that means itself.

use super::translate::Translator;

const SPACE: &str = r"\x20\t\n\x0B\f\r";
const WORD: &str = "a-zA-Z0-9_";
const HORIZONTAL: &str = r"\x20\t\u{A0}\u{1680}\u{180e}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}";
pub(super) const VERTICAL: &str = r"\n\x0B\f\r\u{85}\u{2028}\u{2029}";

impl Translator<'_> {
    /// The character that an escape stands for.
    pub(super) fn literal(&mut self, escape: char) -> Option<char> {
        match escape {
            't' => Some('\t'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            'f' => Some('\u{c}'),
            'a' => Some('\u{7}'),
            'e' => Some('\u{1b}'),
            'c' => char::from_u32(u32::from(self.rest.next()?) ^ 64),
            '0' => {
                let mut value = 0;
                let mut digits = 0;
                while let Some(digit) = self.rest.next_if(|digit| {
                    digits < 3 && matches!(digit, '0'..='7') && value * 8 + u32::from(*digit) - 48 < 256
                }) {
                    value = value * 8 + u32::from(digit) - 48;
                    digits += 1;
                }
                char::from_u32(value).filter(|_| digits > 0)
            }
            'x' if self.rest.next_if_eq(&'{').is_some() => {
                let mut digits = String::new();
                loop {
                    match self.rest.next()? {
                        '}' => break,
                        digit => digits.push(digit),
                    }
                }
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
            }
            'x' => self.hexadecimal(2),
            'u' => self.utf16_unit(),
            other if other.is_ascii_alphanumeric() => None,
            other => Some(other),
        }
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<char> {
        char::from_u32(self.digits(digits)?)
    }

    fn digits(&mut self, digits: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..digits {
            value = value * 16 + self.rest.next()?.to_digit(16)?;
        }
        Some(value)
    }

    /// `\uD83D\uDE00` is one character.
    fn utf16_unit(&mut self) -> Option<char> {
        let first = self.digits(4)?;
        if !matches!(first, 0xd800..0xdc00) {
            return char::from_u32(first);
        }
        self.rest.next_if_eq(&'\\')?;
        self.rest.next_if_eq(&'u')?;
        let units = [u16::try_from(first).ok()?, u16::try_from(self.digits(4)?).ok()?];
        char::decode_utf16(units).next()?.ok()
    }

    /// `\p{Name}` or `\pL`.
    pub(super) fn property(&mut self, negated: bool) -> Option<String> {
        let mut name = String::new();
        match self.rest.next()? {
            '{' => loop {
                match self.rest.next()? {
                    '}' => break,
                    character => name.push(character),
                }
            },
            single => name.push(single),
        }
        let sign = if negated { "^" } else { "" };
        if self.flags.unicode_classes
            && let Some(inside) = of_unicode(&name)
        {
            return Some(format!("[{sign}{inside}]"));
        }
        if let Some(block) = name
            .strip_prefix("In")
            .or_else(|| name.strip_prefix("block="))
            .or_else(|| name.strip_prefix("blk="))
        {
            let (first, last) = super::blocks::find(block)?;
            return Some(format!(r"[{sign}\x{{{first:x}}}-\x{{{last:x}}}]"));
        }
        let ascii = match name.as_str() {
            "Lower" => "a-z",
            "Upper" => "A-Z",
            "ASCII" => r"\x00-\x7F",
            "Alpha" => "a-zA-Z",
            "Digit" => "0-9",
            "Alnum" => "a-zA-Z0-9",
            "Punct" => r"!-/:-@\[-`\{-\~",
            "Graph" => "!-~",
            "Print" => r"\x20-\x7E",
            "Blank" => r"\x20\t",
            "Cntrl" => r"\x00-\x1F\x7F",
            "XDigit" => "0-9a-fA-F",
            "Space" => SPACE,
            "javaLowerCase" => r"\p{Lowercase}",
            "javaUpperCase" => r"\p{Uppercase}",
            "javaAlphabetic" => r"\p{Alphabetic}",
            "javaIdeographic" => r"\p{Ideographic}",
            "javaTitleCase" => r"\p{Lt}",
            "javaSpaceChar" => r"\p{Z}",
            "javaWhitespace" => r"\s&&[^\u{85}\u{A0}\u{2007}\u{202F}]\x1C-\x1F",
            "L1" => r"\x00-\xFF",
            "LC" => r"\p{Lu}\p{Ll}\p{Lt}",
            "LD" => r"\p{L}\p{Nd}",
            "all" => r"\x00-\u{10FFFF}",
            "javaDigit" => r"\p{Nd}",
            "javaLetter" => r"\p{L}",
            "javaLetterOrDigit" => r"\p{L}\p{Nd}",
            _ => {
                let name = name.strip_prefix("Is").unwrap_or(&name);
                let name = name
                    .strip_prefix("script=")
                    .or_else(|| name.strip_prefix("sc="))
                    .or_else(|| name.strip_prefix("general_category="))
                    .or_else(|| name.strip_prefix("gc="))
                    .unwrap_or(name);
                let valid = !name.is_empty()
                    && name
                        .chars()
                        .all(|character| character.is_ascii_alphanumeric() || character == '_');
                return valid.then(|| format!(r"\{}{{{name}}}", if negated { 'P' } else { 'p' }));
            }
        };
        Some(format!("[{sign}{ascii}]"))
    }

    /// A class in brackets; classes in it and `&&` mean the same in both dialects.
    pub(super) fn class(&mut self, depth: usize) -> Option<()> {
        // The engines refuse what is nested more deeply, too.
        if depth > 200 {
            return None;
        }
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut empty = true;
        loop {
            match self.rest.next()? {
                ']' if !empty => {
                    self.out.push(']');
                    return Some(());
                }
                '[' => self.class(depth + 1)?,
                '\\' => match self.rest.next()? {
                    escape @ ('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'h' | 'H' | 'v' | 'V') => {
                        let class = class_escape(escape, self.flags.unicode_classes)?;
                        self.out.push_str(&class);
                    }
                    escape @ ('p' | 'P') => {
                        let class = self.property(escape == 'P')?;
                        self.out.push_str(&class);
                    }
                    'Q' => {
                        self.quoted();
                    }
                    'E' => continue,
                    other => {
                        let literal = self.literal(other)?;
                        push_literal(&mut self.out, literal);
                    }
                },
                // Not the start of a class by name, which Java does not know.
                ':' => self.out.push_str(r"\x3A"),
                '&' if self.rest.peek() == Some(&'&') => {
                    self.rest.next();
                    match self.rest.peek() {
                        Some('&') => return None,
                        // With nothing on one side there is nothing to intersect.
                        Some(']') => {}
                        _ if empty => continue,
                        _ => self.out.push_str("&&"),
                    }
                }
                '-' => {
                    // A range only between two characters; at the edges a dash stands for itself.
                    let edge = empty || self.out.ends_with("&&") || matches!(self.rest.peek(), Some(']' | '[' | '&'));
                    self.out
                        .push_str(if edge || self.out.ends_with(']') { r"\-" } else { "-" });
                }
                blank if self.flags.comments && blank.is_ascii_whitespace() => continue,
                character @ ('~' | '&' | '#' | ']') => {
                    self.out.push('\\');
                    self.out.push(character);
                }
                other => self.out.push(other),
            }
            empty = false;
        }
    }
}

/// What a class of ASCII holds where `(?U)` makes it one of Unicode.
fn of_unicode(name: &str) -> Option<&'static str> {
    Some(match name {
        "Lower" => r"\p{Lowercase}",
        "Upper" => r"\p{Uppercase}",
        "Alpha" => r"\p{Alphabetic}",
        "Digit" => r"\p{Nd}",
        "Alnum" => r"\p{Alphabetic}\p{Nd}",
        "Punct" => r"\p{P}",
        "Space" => r"\s",
        "Blank" => r"\p{Zs}\t",
        "Cntrl" => r"\p{Cc}",
        _ => return None,
    })
}

/// The classes that a letter stands for; Java's are those of ASCII unless it was told otherwise.
pub(super) fn class_escape(letter: char, unicode: bool) -> Option<String> {
    let inside = match letter.to_ascii_lowercase() {
        'd' if unicode => r"\p{Nd}",
        'w' if unicode => r"\w",
        's' if unicode => r"\s",
        'd' => "0-9",
        'w' => WORD,
        's' => SPACE,
        'h' => HORIZONTAL,
        'v' => VERTICAL,
        _ => return None,
    };
    Some(format!(
        "[{}{inside}]",
        if letter.is_ascii_uppercase() { "^" } else { "" }
    ))
}

/// Writes a character so that it means itself.
pub(super) fn push_literal(out: &mut String, character: char) {
    // Not every sign: an escaped `<` is an assertion in the other dialect.
    if r"\.+*?()|[]{}^$#&-~".contains(character) {
        out.push('\\');
        out.push(character);
    } else if character.is_ascii_whitespace() || character.is_control() {
        out.push_str(&format!(r"\x{{{:x}}}", u32::from(character)));
    } else {
        out.push(character);
    }
}
