//! What the demo and the tests run on: servers that behave like the outside world.

pub mod engine;
pub mod power_automate;
