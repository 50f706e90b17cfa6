//! The gateway protocol's messages and calls, generated from `proto/gateway.proto`.
#![allow(clippy::all, missing_docs, rustdoc::all)]
tonic::include_proto!("gateway_protocol");
