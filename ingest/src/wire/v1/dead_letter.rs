//! What was refused, and who dealt with it.

use serde::{Deserialize, Serialize};

use crate::wire::json::{bytes, hidden};

/// What was refused, and why.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct DeadLetter {
    /// The connector: `terminal`, `dagr`, `issuer`, `vpvkac`, `portal`, `registry`.
    #[prost(string, tag = "1")]
    pub connector: String,
    /// A stable code of a closed set.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// What was wrong and where, without the values.
    #[prost(string, tag = "3")]
    pub detail: String,
    /// The file or route it came by.
    #[prost(string, tag = "4")]
    pub origin: String,
    /// The line in the file, counted from 1; 0 where there is none.
    #[prost(uint64, tag = "5")]
    pub line: u64,
    /// The first bytes of what came, encrypted under the node's key where it may hold personal data.
    #[prost(bytes = "vec", tag = "6")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub payload: Vec<u8>,
    #[prost(uint64, tag = "7")]
    pub payload_bytes: u64,
    #[prost(string, tag = "8")]
    pub date: String,
}

/// Somebody dealt with what was refused.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct DeadLetterSettled {
    /// The dead letter's record.
    #[prost(string, tag = "1")]
    pub letter_id: String,
    /// `replayed` or `dropped`.
    #[prost(string, tag = "2")]
    pub outcome: String,
    /// Why it was dropped, in the operator's words.
    #[prost(string, tag = "3")]
    pub note: String,
}
