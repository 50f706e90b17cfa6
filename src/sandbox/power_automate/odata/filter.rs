//! `$filter`: text goes in, a condition over rows comes out.
//!
//! ```text
//! or         = and *( "or" and )
//! and        = term *( "and" term )
//! term       = "not" term / "(" or ")" / function / comparison
//! function   = ("contains" / "startswith" / "endswith") "(" column "," text ")"
//! comparison = column ("eq" / "ne" / "gt" / "ge" / "lt" / "le") literal
//! literal    = "null" / "true" / "false" / number / guid / date and time / text in single quotes
//! ```

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;

use super::cell::{Cell, Column, Kind};
use super::{QueryError, Row, TOO_MANY, Table, refused};

/// How deep parentheses and `not` may nest.
const DEPTH: usize = 32;
/// Conditions in one query; the service's own limit.
const CONDITIONS: usize = 500;

/// A condition over rows.
#[derive(Debug)]
pub(in crate::sandbox::power_automate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Compare {
        column: &'static str,
        operator: Operator,
        literal: Cell<'static>,
    },
    Search {
        column: &'static str,
        place: Place,
        needle: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(in crate::sandbox::power_automate) enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

/// Where a text must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox::power_automate) enum Place {
    Anywhere,
    Start,
    End,
}

impl Filter {
    /// Whether the row meets the condition. Text compares without regard to the case of ASCII letters.
    pub(in crate::sandbox::power_automate) fn admits(&self, row: &dyn Row) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|part| part.admits(row)),
            Filter::Any(parts) => parts.iter().any(|part| part.admits(row)),
            Filter::Not(part) => !part.admits(row),
            Filter::Compare {
                column,
                operator,
                literal,
            } => {
                let cell = row.cell(column);
                let unknown = (cell == Cell::Null) != (*literal == Cell::Null);
                let order = cell.order(literal);
                match operator {
                    Operator::Eq => order == Ordering::Equal,
                    Operator::Ne => order != Ordering::Equal,
                    _ if unknown => false,
                    Operator::Gt => order == Ordering::Greater,
                    Operator::Ge => order != Ordering::Less,
                    Operator::Lt => order == Ordering::Less,
                    Operator::Le => order != Ordering::Greater,
                }
            }
            Filter::Search { column, place, needle } => {
                let Cell::Text(text) = row.cell(column) else {
                    return false;
                };
                found(text.as_bytes(), needle.as_bytes(), *place)
            }
        }
    }
}

fn found(text: &[u8], needle: &[u8], place: Place) -> bool {
    if needle.len() > text.len() {
        return false;
    }
    match place {
        Place::Start => text[..needle.len()].eq_ignore_ascii_case(needle),
        Place::End => text[text.len() - needle.len()..].eq_ignore_ascii_case(needle),
        Place::Anywhere => {
            needle.is_empty()
                || text
                    .windows(needle.len())
                    .any(|window| window.eq_ignore_ascii_case(needle))
        }
    }
}

/// Reads a decoded `$filter` against a table.
pub(super) fn read(table: &Table, text: &str) -> Result<Filter, QueryError> {
    let mut reader = Reader {
        table,
        tokens: tokens(text)?,
        next: 0,
        conditions: 0,
        depth: 0,
    };
    let filter = reader.any()?;
    match reader.take() {
        None => Ok(filter),
        Some(token) => reader.refuse(&token),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Quoted(String),
    Word(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        tokens.push(match character {
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '\'' => {
                let mut quoted = String::new();
                loop {
                    match rest.next() {
                        Some('\'') if rest.peek() == Some(&'\'') => {
                            rest.next();
                            quoted.push('\'');
                        }
                        Some('\'') => break Token::Quoted(quoted),
                        Some(other) => quoted.push(other),
                        None => return refused(format!("There is an unterminated string literal in '{text}'.")),
                    }
                }
            }
            space if space.is_whitespace() => continue,
            first => {
                let mut word = String::from(first);
                while let Some(next) = rest.next_if(|next| !next.is_whitespace() && !"(),'".contains(*next)) {
                    word.push(next);
                }
                Token::Word(word)
            }
        });
    }
    Ok(tokens)
}

struct Reader<'t> {
    table: &'t Table,
    tokens: Vec<Token>,
    next: usize,
    conditions: usize,
    depth: usize,
}

impl Reader<'_> {
    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn at_word(&self, expected: &str) -> bool {
        matches!(self.tokens.get(self.next), Some(Token::Word(word)) if word == expected)
    }

    fn refuse<T>(&self, token: &Token) -> Result<T, QueryError> {
        let shown = match token {
            Token::Open => "(",
            Token::Close => ")",
            Token::Comma => ",",
            Token::Quoted(text) | Token::Word(text) => text,
        };
        refused(format!(
            "Syntax error in $filter: '{shown}' is not expected here (item {}).",
            self.next
        ))
    }

    fn expect(&mut self, expected: &Token) -> Result<(), QueryError> {
        match self.take() {
            Some(token) if token == *expected => Ok(()),
            Some(token) => self.refuse(&token),
            None => refused("Syntax error in $filter: it ends too early."),
        }
    }

    fn any(&mut self) -> Result<Filter, QueryError> {
        self.chain("or", Self::all, Filter::Any)
    }

    fn all(&mut self) -> Result<Filter, QueryError> {
        self.chain("and", Self::term, Filter::All)
    }

    fn chain(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Filter, QueryError>,
        joined: fn(Vec<Filter>) -> Filter,
    ) -> Result<Filter, QueryError> {
        let first = part(self)?;
        if !self.at_word(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.at_word(word) {
            self.next += 1;
            parts.push(part(self)?);
        }
        Ok(joined(parts))
    }

    fn term(&mut self) -> Result<Filter, QueryError> {
        match self.take() {
            Some(Token::Open) => self.nested(|reader| {
                let inner = reader.any()?;
                reader.expect(&Token::Close)?;
                Ok(inner)
            }),
            Some(Token::Word(word)) if word == "not" => self.nested(|reader| Ok(Filter::Not(Box::new(reader.term()?)))),
            Some(Token::Word(word)) if self.tokens.get(self.next) == Some(&Token::Open) => self.search(&word),
            Some(Token::Word(word)) => self.comparison(&word),
            Some(token) => self.refuse(&token),
            None => refused("Syntax error in $filter: it ends too early."),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Filter, QueryError>) -> Result<Filter, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return refused(format!(
                "The recursion limit of $filter has been exceeded: at most {DEPTH} levels."
            ));
        }
        let filter = read(self);
        self.depth -= 1;
        filter
    }

    fn counted(&mut self) -> Result<(), QueryError> {
        self.conditions += 1;
        if self.conditions > CONDITIONS {
            let message = "Number of conditions in query exceeded maximum limit.".to_owned();
            return Err(QueryError {
                code: TOO_MANY,
                message,
            });
        }
        Ok(())
    }

    fn search(&mut self, function: &str) -> Result<Filter, QueryError> {
        self.counted()?;
        let place = match function {
            "contains" => Place::Anywhere,
            "startswith" => Place::Start,
            "endswith" => Place::End,
            other => return refused(format!("The function '{other}' is not supported in $filter.")),
        };
        self.expect(&Token::Open)?;
        let column = match self.take() {
            Some(Token::Word(name)) => self.table.column(&name)?,
            Some(token) => return self.refuse(&token),
            None => return refused("Syntax error in $filter: it ends too early."),
        };
        if column.kind != Kind::Text {
            return refused(format!(
                "The function '{function}' takes a text column; '{}' is none.",
                column.name
            ));
        }
        self.expect(&Token::Comma)?;
        let needle = match self.take() {
            Some(Token::Quoted(text)) => text,
            Some(token) => return self.refuse(&token),
            None => return refused("Syntax error in $filter: it ends too early."),
        };
        self.expect(&Token::Close)?;
        Ok(Filter::Search {
            column: column.name,
            place,
            needle,
        })
    }

    fn comparison(&mut self, name: &str) -> Result<Filter, QueryError> {
        self.counted()?;
        let column = self.table.column(name)?;
        let operator = match self.take() {
            Some(Token::Word(word)) => match word.as_str() {
                "eq" => Operator::Eq,
                "ne" => Operator::Ne,
                "gt" => Operator::Gt,
                "ge" => Operator::Ge,
                "lt" => Operator::Lt,
                "le" => Operator::Le,
                _ => return self.refuse(&Token::Word(word)),
            },
            Some(token) => return self.refuse(&token),
            None => return refused("Syntax error in $filter: it ends too early."),
        };
        let literal = match self.take() {
            Some(Token::Quoted(text)) => quoted(column, text, operator)?,
            Some(Token::Word(word)) => bare(column, &word, operator)?,
            Some(token) => return self.refuse(&token),
            None => return refused("Syntax error in $filter: it ends too early."),
        };
        Ok(Filter::Compare {
            column: column.name,
            operator,
            literal,
        })
    }
}

fn quoted(column: &Column, text: String, operator: Operator) -> Result<Cell<'static>, QueryError> {
    match column.kind {
        Kind::Text => Ok(Cell::Text(Cow::Owned(text))),
        // The service takes an id in quotes too.
        Kind::Guid => text
            .parse()
            .map(Cell::Guid)
            .or_else(|_| mismatch(column, "Edm.String", operator)),
        _ => mismatch(column, "Edm.String", operator),
    }
}

fn bare(column: &Column, word: &str, operator: Operator) -> Result<Cell<'static>, QueryError> {
    let (literal, kind) = match word {
        "null" => return Ok(Cell::Null),
        "true" => (Cell::Flag(true), Kind::Flag),
        "false" => (Cell::Flag(false), Kind::Flag),
        _ => {
            if let Ok(guid) = word.parse() {
                (Cell::Guid(guid), Kind::Guid)
            } else if let Ok(number) = word.parse() {
                (Cell::Number(number), Kind::Number)
            } else if let Some(time) = time(word) {
                (Cell::Time(time), Kind::Time)
            } else {
                return refused(format!(
                    "Could not read '{word}' in $filter as a literal of any known type."
                ));
            }
        }
    };
    if kind == column.kind {
        Ok(literal)
    } else {
        mismatch(column, kind.edm(), operator)
    }
}

fn time(word: &str) -> Option<Timestamp> {
    let date: Option<jiff::civil::Date> = if word.len() == 10 { word.parse().ok() } else { None };
    match date {
        Some(date) => date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|midnight| midnight.timestamp()),
        None => word.parse().ok(),
    }
}

fn mismatch<T>(column: &Column, found: &str, operator: Operator) -> Result<T, QueryError> {
    refused(format!(
        "A binary operator with incompatible types was detected. Found operand types '{}' and '{found}' for operator \
         '{operator:?}' on '{}'.",
        column.kind.edm(),
        column.name
    ))
}
