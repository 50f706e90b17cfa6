//! Secrets: what a reference names, where its value comes from, where it may go, and how it stays unseen.
//!
//! In go a job's variables with `{{secrets.NAME}}` in them; out come the same variables with values ([`Bound`]), and the
//! list of what was put where, which [`policy`] and [`redaction`] need. [`reference`] is the grammar, [`resolve`] asks
//! the providers ([`environment`], [`directory`], [`dotenv`], [`vault`],
//! [`key_vault`]; those far away through [`cached`]).

pub mod allow_list;
pub mod bind;
pub mod cached;
pub mod directory;
pub mod dotenv;
pub mod environment;
mod forms;
pub mod hosts;
pub mod key_vault;
pub mod known;
pub mod masked_output;
pub mod output;
pub mod policy;
pub mod provider;
pub mod redaction;
pub mod reference;
pub mod resolve;
mod tree;
pub mod vault;

pub use bind::{Bound, Used};
pub use known::Known;
pub use policy::{Destination, Policy, Rule};
pub use provider::SecretScope;
pub use redaction::Redactor;
pub use resolve::{Secrets, Settings};
