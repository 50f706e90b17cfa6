//! How much an evaluation may cost. What enters are [`Limits`]; while it runs, a [`Meter`] counts and stops it with the
//! name of the limit that it reached.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::time::{Duration, Instant};

/// Bounds of one parse and one evaluation. The defaults are far above what mappings need and far below what hurts a
/// worker; every error about a limit names the field here that raises it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Steps of an evaluation: parts of the expression evaluated, items visited, characters scanned in blocks.
    pub fuel: u64,
    /// Wall-clock time of one evaluation.
    pub deadline: Duration,
    /// Values that an evaluation may create, counted in cells of 32 bytes: items, entries and text.
    pub cells: usize,
    /// How deeply an expression may be nested, and evaluations within evaluations: at most 256 on a stack of
    /// [`Limits::STACK`] bytes.
    pub nesting: usize,
    /// How deeply lists and contexts that an evaluation creates may be nested in each other.
    pub value_nesting: usize,
    /// Operands in one chain of operators, steps in one path.
    pub chain: usize,
    /// Calls within calls of functions that the expression defines.
    pub call_depth: usize,
    /// Steps that a regular expression with look-around or back-references may go back.
    pub regex_steps: usize,
    /// Bytes of the result as JSON text.
    pub output_bytes: usize,
}

impl Limits {
    /// Bytes of stack that parsing and evaluating need at the deepest nesting, in a build for debugging.
    pub const STACK: usize = 4 * 1024 * 1024;

    /// These limits, but no more than so many steps and so much time: for a first try where the caller must not wait.
    #[must_use]
    pub fn at_most(&self, fuel: u64, deadline: Duration) -> Limits {
        Limits {
            fuel: self.fuel.min(fuel),
            deadline: self.deadline.min(deadline),
            ..self.clone()
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: 5_000_000,
            deadline: Duration::from_secs(1),
            cells: 1_000_000,
            nesting: 128,
            value_nesting: 200,
            chain: 1_024,
            call_depth: 200,
            regex_steps: 1_000_000,
            output_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Steps.
    Fuel,
    /// Time.
    Deadline,
    /// Room for values.
    Cells,
    /// Evaluations within evaluations.
    Nesting,
    /// Lists and contexts within each other.
    ValueNesting,
    /// Calls within calls.
    CallDepth,
    /// Steps of a regular expression.
    RegexSteps,
    /// The size of a regular expression; fixed.
    RegexSize,
    /// The digits of a number; fixed.
    NumberDigits,
    /// The size of the result.
    OutputBytes,
}

impl LimitKind {
    /// The name of the field of [`Limits`] that raises it; `None` for the two that are fixed.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            LimitKind::Fuel => Some("fuel"),
            LimitKind::Deadline => Some("deadline"),
            LimitKind::Cells => Some("cells"),
            LimitKind::Nesting => Some("nesting"),
            LimitKind::ValueNesting => Some("value_nesting"),
            LimitKind::CallDepth => Some("call_depth"),
            LimitKind::RegexSteps => Some("regex_steps"),
            LimitKind::OutputBytes => Some("output_bytes"),
            LimitKind::RegexSize | LimitKind::NumberDigits => None,
        }
    }

    fn story(self) -> &'static str {
        match self {
            LimitKind::Fuel => "the evaluation takes too many steps",
            LimitKind::Deadline => "the evaluation takes too long",
            LimitKind::Cells => "the evaluation creates too many values",
            LimitKind::Nesting => "the evaluation is nested too deeply",
            LimitKind::ValueNesting => "a list or context that the evaluation creates is nested too deeply",
            LimitKind::CallDepth => "too many function calls within function calls",
            LimitKind::RegexSteps => "a regular expression goes back too often",
            LimitKind::RegexSize => "a regular expression is too large",
            LimitKind::NumberDigits => "a number has more than 1000 digits",
            LimitKind::OutputBytes => "the result is too large",
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.story())?;
        match self.setting() {
            Some(setting) => write!(out, " (limit `{setting}`; the setting `feel.{setting}` raises it)"),
            None => out.write_str(" (a fixed limit)"),
        }
    }
}

/// How many steps pass between two looks at the clock.
const CLOCK_INTERVAL: u64 = 4_096;

/// How many steps pass before the first look, from which the deadline counts: some microseconds.
const FIRST_LOOK: u64 = 64;

/// Bytes of text that one cell stands for.
pub(crate) const CELL: usize = 32;

/// Counts what an evaluation has left.
#[derive(Debug)]
pub(crate) struct Meter {
    fuel: Cell<u64>,
    /// Fuel at which the clock is looked at next.
    next_look: Cell<u64>,
    cells: Cell<usize>,
    depth: Cell<usize>,
    calls: Cell<usize>,
    deadline: Duration,
    /// Known from the first look at the clock on: most evaluations end before it.
    end: OnceCell<Option<Instant>>,
    max_depth: usize,
    max_calls: usize,
    max_value_nesting: usize,
}

/// Evaluations within evaluations for each level that an expression may be nested: calls of functions add levels.
const DEPTH_PER_LEVEL: usize = 4;

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Meter {
        Meter {
            fuel: Cell::new(limits.fuel),
            next_look: Cell::new(limits.fuel.saturating_sub(FIRST_LOOK)),
            cells: Cell::new(limits.cells),
            depth: Cell::new(0),
            calls: Cell::new(0),
            deadline: limits.deadline,
            end: OnceCell::new(),
            max_depth: limits.nesting.saturating_mul(DEPTH_PER_LEVEL),
            max_calls: limits.call_depth,
            max_value_nesting: limits.value_nesting,
        }
    }

    /// One step.
    #[inline]
    pub(crate) fn tick(&self) -> Result<(), LimitKind> {
        self.burn(1)
    }

    #[inline]
    pub(crate) fn burn(&self, steps: u64) -> Result<(), LimitKind> {
        let Some(left) = self.fuel.get().checked_sub(steps) else {
            return Err(LimitKind::Fuel);
        };
        self.fuel.set(left);
        if left < self.next_look.get() {
            self.look_at_clock(left)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn look_at_clock(&self, left: u64) -> Result<(), LimitKind> {
        self.next_look.set(left.saturating_sub(CLOCK_INTERVAL));
        let now = Instant::now();
        match self.end.get_or_init(|| now.checked_add(self.deadline)) {
            Some(end) if now >= *end => Err(LimitKind::Deadline),
            _ => Ok(()),
        }
    }

    /// Room for `count` items or entries.
    pub(crate) fn allocate(&self, count: usize) -> Result<(), LimitKind> {
        let left = self.cells.get().checked_sub(count).ok_or(LimitKind::Cells)?;
        self.cells.set(left);
        self.burn(count as u64 / 4)
    }

    /// Room for a text; reading it costs steps too.
    pub(crate) fn allocate_text(&self, bytes: usize) -> Result<(), LimitKind> {
        self.allocate(1 + bytes / CELL)?;
        self.burn(bytes as u64 / 256)
    }

    /// How many more cells there are.
    pub(crate) fn cells_left(&self) -> usize {
        self.cells.get()
    }

    /// How many evaluations this one is nested in.
    pub(crate) fn depth(&self) -> usize {
        self.depth.get()
    }

    /// Enters a nested evaluation; [`Meter::leave`] ends it.
    #[inline]
    pub(crate) fn enter(&self) -> Result<(), LimitKind> {
        let depth = self.depth.get() + 1;
        if depth > self.max_depth {
            return Err(LimitKind::Nesting);
        }
        self.depth.set(depth);
        Ok(())
    }

    #[inline]
    pub(crate) fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }

    pub(crate) fn enter_call(&self) -> Result<(), LimitKind> {
        let calls = self.calls.get() + 1;
        if calls > self.max_calls {
            return Err(LimitKind::CallDepth);
        }
        self.calls.set(calls);
        Ok(())
    }

    pub(crate) fn leave_call(&self) {
        self.calls.set(self.calls.get() - 1);
    }

    /// Checks the depth of a value that is about to be created.
    pub(crate) fn nest(&self, depth: usize) -> Result<u16, LimitKind> {
        if depth > self.max_value_nesting {
            return Err(LimitKind::ValueNesting);
        }
        u16::try_from(depth).map_err(|_| LimitKind::ValueNesting)
    }
}
