//! The messages of `proto/avis/terminal/v1/terminal.proto`: gRPC's, and as JSON the HTTP API's answers.
#![allow(missing_docs, clippy::all, reason = "generated; the fields are described in the .proto")]

tonic::include_proto!("avis.terminal.v1");

/// The descriptions of all messages, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/terminal.bin"));
