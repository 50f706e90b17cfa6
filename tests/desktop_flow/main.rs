//! `deskhand:desktop-flow:1` against the Power Automate simulator: what a task says goes in, what Dataverse is asked and
//! what the process gets comes out.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod audit;
mod checking;
mod dataverse;
mod deciding;
mod input;
mod looking;
mod once;
mod outputs;
mod reading;
mod setting;
mod signing_in;
mod starting;
mod template;
mod waiting;
mod watching;
