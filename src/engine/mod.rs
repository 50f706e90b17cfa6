//! The process engine over gRPC: channels and credentials, jobs in, commands out.

pub mod gateway;
