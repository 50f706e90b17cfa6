//! What the demo and the tests run on, all in memory and on loopback.

pub mod engine;
