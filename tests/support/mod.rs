//! What the worker's tests share: a gateway that speaks the real protocol and does what a test tells it.

pub mod gateway;
