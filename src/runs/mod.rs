//! Waiting for runs of desktop flows, and what must be known about a run if this process dies.
//!
//! [`journal`] is the format of what the engine keeps about a start and its run, [`token`] is how a run is known to be
//! ours. [`watcher`] waits for the ends of runs: those of one organisation and credential are looked at together
//! (`group`, over the table `watches`), within a `budget`. [`turns`] says whose turn it is to start one. [`callback`] hears from Dataverse that a run has ended, [`message`] says what a
//! process shall be told of it that waits by a message, [`hints`] when it is time to look which ones ended. [`pace`] says how long to pause between two looks.

mod budget;
pub mod callback;
mod group;
pub mod hints;
pub mod journal;
pub mod message;
pub mod pace;
pub mod token;
pub mod turns;
pub mod watcher;
mod watches;

pub use budget::Budget;
pub use pace::{Pace, Pauses};
pub use watcher::{Bounds, Ended, Run, WaitError, Watcher, explained};
