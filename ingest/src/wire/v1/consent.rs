//! Consents of recipients.

use serde::{Deserialize, Serialize};

/// A recipient has given or withdrawn a consent; nothing in it says who the recipient is.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct ConsentChanged {
    /// The recipient's internal id.
    #[prost(string, tag = "1")]
    pub person: String,
    #[prost(string, tag = "2")]
    pub consent_id: String,
    /// What the data is used for: an identifier.
    #[prost(string, tag = "3")]
    pub purpose: String,
    /// Whether it is given from now on; else it is withdrawn.
    #[prost(bool, tag = "4")]
    pub given: bool,
    /// The version of the text that was agreed to, or that is withdrawn from.
    #[prost(string, tag = "5")]
    pub text_version: String,
    /// The role of whoever recorded it: `recipient` for oneself.
    #[prost(string, tag = "6")]
    pub recorded_by: String,
}
