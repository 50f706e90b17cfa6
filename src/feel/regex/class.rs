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
            'u' => self.hexadecimal(4),
            other if other.is_ascii_alphanumeric() => None,
            other => Some(other),
        }
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<char> {
        let mut value = 0;
        for _ in 0..digits {
            value = value * 16 + self.rest.next()?.to_digit(16)?;
        }
        char::from_u32(value)
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
            "javaWhitespace" => r"\s",
            "javaDigit" => r"\p{Nd}",
            "javaLetter" => r"\p{L}",
            "javaLetterOrDigit" => r"\p{L}\p{Nd}",
            _ => {
                let name = name.strip_prefix("Is").unwrap_or(&name);
                let name = name
                    .strip_prefix("script=")
                    .or_else(|| name.strip_prefix("sc="))
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
    pub(super) fn class(&mut self) -> Option<()> {
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
                '[' => self.class()?,
                '\\' => match self.rest.next()? {
                    escape @ ('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'h' | 'H' | 'v' | 'V') => {
                        let class = class_escape(escape)?;
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
                '&' if self.rest.peek() == Some(&'&') => {
                    self.rest.next();
                    self.out.push_str("&&");
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

/// The classes that a letter stands for; Java's are those of ASCII.
pub(super) fn class_escape(letter: char) -> Option<String> {
    let inside = match letter.to_ascii_lowercase() {
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
