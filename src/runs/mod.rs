//! Waiting for runs of desktop flows, and what must be known about a run if this process dies.
//!
//! [`journal`] is the format of what the engine keeps about a start and its run, [`token`] is how a run is known to be
//! ours. [`watcher`] waits for the end of a run: today
//! each wait asks for itself, later one query asks for many, and callers do not see the difference. [`pace`] says how
//! long to pause between two looks.

pub mod journal;
pub mod pace;
pub mod token;
pub mod watcher;

pub use pace::{Pace, Pauses};
pub use watcher::{Bounds, Ended, Run, WaitError, Watcher};
