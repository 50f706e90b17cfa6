//! Regular expressions in Java's dialect. What enters are patterns as modelers write them for the JVM; what leaves are
//! compiled [`Pattern`]s: linear ones wherever possible, ones with a limit on going back where look-around,
//! back-references or possessive quantifiers need it.

mod blocks;
mod class;
mod replacement;
mod translate;

use super::error::Stop;
use super::limits::{CELL, LimitKind, Meter};
use std::cell::RefCell;
use std::rc::Rc;
use translate::Flags;

/// Bytes that a compiled pattern may take, and what a byte of text costs for patterns up to that size, in steps: the
/// larger a pattern, the more of its states may have to be looked at for each byte.
const SIZES: [(usize, f64); 4] = [
    (4 * 1024, 1.0 / 32.0),
    (16 * 1024, 0.5),
    (64 * 1024, 4.0),
    (512 * 1024, 20.0),
];

const SIZE_LIMIT: usize = SIZES[SIZES.len() - 1].0;

/// Steps for compiling a pattern, for each step that one byte of text costs with it.
const COMPILED_COST: f64 = 1_500.0;

/// Patterns that a thread keeps compiled.
const CACHE: usize = 16;

/// Texts longer than this are no patterns.
const MAX_LENGTH: usize = 16 * 1024;

#[derive(Debug)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    engine: Engine,
    /// Steps for each byte of text.
    cost: f64,
    /// For texts that end with a line break, before which Java's `$` matches, too.
    before_last_break: Option<Engine>,
}

/// One match: where each group begins and ends, group 0 first.
pub(crate) type Groups = Vec<Option<(usize, usize)>>;

/// Why there is no pattern.
pub(crate) enum Rejected {
    Invalid,
    Stop(Stop),
}

type Key = (String, String, usize);

thread_local! {
    static COMPILED: RefCell<Vec<(Key, Option<Rc<Pattern>>)>> = const { RefCell::new(Vec::new()) };
}

/// Compiles patterns and remembers the latest ones of this thread.
#[derive(Debug)]
pub(crate) struct Patterns {
    steps: usize,
}

impl Patterns {
    pub(crate) fn new(steps: usize) -> Patterns {
        Patterns { steps }
    }

    /// The pattern, or `None` when it is none.
    pub(crate) fn get(&self, meter: &Meter, pattern: &str, flags: &str) -> Result<Option<Rc<Pattern>>, Stop> {
        if pattern.len() > MAX_LENGTH {
            return Err(LimitKind::RegexSize.into());
        }
        let known = COMPILED.with_borrow_mut(|compiled| {
            let position = compiled
                .iter()
                .position(|((known, with, steps), _)| known == pattern && with == flags && *steps == self.steps)?;
            let entry = compiled.remove(position);
            let found = entry.1.clone();
            compiled.push(entry);
            Some(found)
        });
        if let Some(found) = known {
            return Ok(found);
        }
        // Compiling costs far more than a step.
        meter.burn(100 + pattern.len() as u64)?;
        let compiled = match Pattern::compile(pattern, Flags::parse(flags), self.steps) {
            Ok(pattern) => {
                meter.burn((pattern.cost * COMPILED_COST) as u64)?;
                Some(Rc::new(pattern))
            }
            Err(Rejected::Invalid) => None,
            Err(Rejected::Stop(stop)) => return Err(stop),
        };
        COMPILED.with_borrow_mut(|cache| {
            if cache.len() >= CACHE {
                cache.remove(0);
            }
            cache.push(((pattern.to_owned(), flags.to_owned(), self.steps), compiled.clone()));
        });
        Ok(compiled)
    }
}

impl Engine {
    /// The engine and its steps for each byte of text.
    fn compile(pattern: &str, needs_backtracking: bool, steps: usize) -> Result<(Engine, f64), Rejected> {
        for (size, cost) in SIZES.into_iter().filter(|_| !needs_backtracking) {
            let built = regex::RegexBuilder::new(pattern)
                .size_limit(size)
                .dfa_size_limit(SIZE_LIMIT * 2)
                .build();
            match built {
                Ok(regex) => return Ok((Engine::Linear(regex), cost)),
                Err(regex::Error::CompiledTooBig(_)) if size == SIZE_LIMIT => {
                    return Err(Rejected::Stop(LimitKind::RegexSize.into()));
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(_) => break,
            }
        }
        fancy_regex::RegexBuilder::new(pattern)
            .backtrack_limit(steps)
            .delegate_size_limit(SIZE_LIMIT)
            .delegate_dfa_size_limit(SIZE_LIMIT * 2)
            .build()
            .map(|regex| (Engine::Backtracking(Box::new(regex)), 0.5))
            .map_err(|_| Rejected::Invalid)
    }

    fn find_at(&self, text: &str, from: usize) -> Result<Option<(usize, usize)>, Stop> {
        match self {
            Engine::Linear(regex) => Ok(regex.find_at(text, from).map(|found| (found.start(), found.end()))),
            Engine::Backtracking(regex) => match regex.find_from_pos(text, from) {
                Ok(found) => Ok(found.map(|found| (found.start(), found.end()))),
                Err(_) => Err(LimitKind::RegexSteps.into()),
            },
        }
    }

    fn groups_at(&self, text: &str, from: usize) -> Result<Option<Groups>, Stop> {
        match self {
            Engine::Linear(regex) => Ok(regex.captures_at(text, from).map(|groups| {
                groups
                    .iter()
                    .map(|group| group.map(|group| (group.start(), group.end())))
                    .collect()
            })),
            Engine::Backtracking(regex) => match regex.captures_from_pos(text, from) {
                Ok(groups) => Ok(groups.map(|groups| {
                    groups
                        .iter()
                        .map(|group| group.map(|group| (group.start(), group.end())))
                        .collect()
                })),
                Err(_) => Err(LimitKind::RegexSteps.into()),
            },
        }
    }

    fn group_named(&self, name: &str) -> Option<usize> {
        match self {
            Engine::Linear(regex) => regex.capture_names().position(|known| known == Some(name)),
            Engine::Backtracking(regex) => regex.capture_names().position(|known| known == Some(name)),
        }
    }
}

impl Pattern {
    fn compile(pattern: &str, flags: Flags, steps: usize) -> Result<Pattern, Rejected> {
        let translated = translate::translate(pattern, flags, false).ok_or(Rejected::Invalid)?;
        let (engine, cost) = Engine::compile(&translated.text, translated.needs_backtracking, steps)?;
        let before_last_break = if translated.has_end_anchor {
            let other = translate::translate(pattern, flags, true).ok_or(Rejected::Invalid)?;
            Some(Engine::compile(&other.text, true, steps)?.0)
        } else {
            None
        };
        Ok(Pattern {
            engine,
            cost,
            before_last_break,
        })
    }

    fn engine_for(&self, text: &str) -> &Engine {
        match &self.before_last_break {
            Some(engine) if text.ends_with(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) => engine,
            _ => &self.engine,
        }
    }

    /// Pays for looking at so many bytes.
    fn pay(&self, meter: &Meter, bytes: usize) -> Result<(), Stop> {
        Ok(meter.burn(1 + (bytes as f64 * self.cost) as u64)?)
    }

    pub(crate) fn is_match(&self, meter: &Meter, text: &str) -> Result<bool, Stop> {
        self.pay(meter, text.len())?;
        self.engine_for(text).find_at(text, 0).map(|found| found.is_some())
    }

    /// Every match without overlap; an empty one never begins where the one before ended.
    pub(crate) fn matches(&self, meter: &Meter, text: &str) -> Result<Vec<(usize, usize)>, Stop> {
        self.pay(meter, text.len())?;
        let engine = self.engine_for(text);
        let mut found = Vec::new();
        let mut from = 0;
        while from <= text.len() {
            meter.burn(1)?;
            let Some((start, end)) = engine.find_at(text, from)? else {
                break;
            };
            meter.burn((end - from) as u64 / 32)?;
            meter.allocate(1)?;
            found.push((start, end));
            from = next_position(text, start, end);
        }
        Ok(found)
    }

    /// Replaces every match; `None` when the replacement refers to a group that does not exist or is malformed.
    pub(crate) fn replace_all(&self, meter: &Meter, text: &str, replacement: &str) -> Result<Option<String>, Stop> {
        self.pay(meter, text.len())?;
        let engine = self.engine_for(text);
        let mut result = String::with_capacity(text.len());
        let (mut from, mut copied) = (0, 0);
        while from <= text.len() {
            let Some(groups) = engine.groups_at(text, from)? else {
                break;
            };
            let Some(Some((start, end))) = groups.first().copied() else {
                break;
            };
            self.pay(meter, (end - from) * 2)?;
            result.push_str(&text[copied..start]);
            let group = |name: &str| engine.group_named(name);
            if !replacement::append(&mut result, replacement, text, &groups, group) {
                return Ok(None);
            }
            meter.allocate_text(replacement.len())?;
            if result.len() / CELL > meter.cells_left() {
                return Err(LimitKind::Cells.into());
            }
            copied = end;
            from = next_position(text, start, end);
        }
        result.push_str(&text[copied..]);
        meter.allocate_text(result.len())?;
        Ok(Some(result))
    }

    /// The pieces between matches, empty ones at the end included; an empty match at the start makes no piece.
    pub(crate) fn split<'t>(&self, meter: &Meter, text: &'t str) -> Result<Vec<&'t str>, Stop> {
        let mut pieces = Vec::new();
        let mut copied = 0;
        for (start, end) in self.matches(meter, text)? {
            if end == 0 {
                continue;
            }
            pieces.push(&text[copied..start]);
            copied = end;
        }
        pieces.push(&text[copied..]);
        Ok(pieces)
    }
}

/// Where the search goes on: after the match, one character later when it is empty.
fn next_position(text: &str, start: usize, end: usize) -> usize {
    if end > start {
        return end;
    }
    text[end..]
        .chars()
        .next()
        .map_or(end + 1, |character| end + character.len_utf8())
}
