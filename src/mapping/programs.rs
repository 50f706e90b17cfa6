//! Compiled expressions, once a text: a worker sees the same few thousands of jobs long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::feel::{Limits, ParseError, Program, Projection};

/// Programs that are kept; a generation is dropped when it is full, so at most twice as many are held.
const GENERATION: usize = 512;

/// Longer texts are read anew each time, so that what is kept stays small.
const LONGEST_KEPT: usize = 16 * 1024;

/// A compiled expression, and what it sees of a response.
pub(super) struct Expression {
    pub(super) program: Program,
    pub(super) seen: Projection,
}

/// A bounded cache of programs. What was used since the last full generation survives.
#[derive(Default)]
pub(super) struct Programs {
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Box<str>, Arc<Expression>>,
    old: HashMap<Box<str>, Arc<Expression>>,
}

impl Programs {
    /// The program of this text if it is kept.
    pub(super) fn find(&self, text: &str) -> Option<Arc<Expression>> {
        self.lock().find(text)
    }

    pub(super) fn get(&self, text: &str, limits: &Limits) -> Result<Arc<Expression>, ParseError> {
        if let Some(program) = self.find(text) {
            return Ok(program);
        }
        // Parsed outside the lock: two tasks may both parse a new text, which harms nobody.
        let program = Program::parse_within(text, limits)?;
        let seen = program.projection().spread_as("response");
        let program = Arc::new(Expression { program, seen });
        if text.len() <= LONGEST_KEPT {
            self.lock().keep(text, program.clone());
        }
        Ok(program)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&mut self, text: &str) -> Option<Arc<Expression>> {
        if let Some(program) = self.young.get(text) {
            return Some(program.clone());
        }
        let (text, program) = self.old.remove_entry(text)?;
        self.keep(&text, program.clone());
        Some(program)
    }

    fn keep(&mut self, text: &str, program: Arc<Expression>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(text.into(), program);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let programs = Programs::default();
        let limits = Limits::default();
        let kept = programs.get("= 0", &limits).unwrap();
        for text in (1..3 * GENERATION).map(|n| format!("= {n}")) {
            programs.get(&text, &limits).unwrap();
            assert!(Arc::ptr_eq(&kept, &programs.get("= 0", &limits).unwrap()), "{text}");
        }
        let held = programs.lock();
        assert!(held.young.len() + held.old.len() <= 2 * GENERATION);
    }
}
