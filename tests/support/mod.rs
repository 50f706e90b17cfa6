//! What the worker's tests share. Each test binary uses its own part.
#![allow(dead_code, reason = "a test binary uses the part it needs")]

pub mod broker;
pub mod connections;
pub mod gateway;
#[cfg(unix)]
pub mod keycloak;
pub mod ledger;
pub mod messages;
#[cfg(unix)]
pub mod process;
pub mod stage;
pub mod worker;
