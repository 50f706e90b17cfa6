//! Secrets: what a reference names, where its value comes from, where it may go, and how it stays unseen.
//!
//! In go a job's variables with `{{secrets.NAME}}` in them; out come the same variables with values ([`Bound`]), and the
//! list of what was put where, which [`policy`] and [`redaction`] need.

pub mod bind;
pub mod policy;
pub mod redaction;

pub use bind::{Bound, Used};
pub use policy::{Destination, Policy};
pub use redaction::Redactor;
