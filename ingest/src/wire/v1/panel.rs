//! Items of clients' workspaces on the portal.

use serde::{Deserialize, Serialize};

use crate::wire::json::{bytes, hidden};

/// An item of a client's workspace is now this, or is gone; nothing in it says who the client is.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct PanelChanged {
    /// The keyed hash of the e-service and of the merchant's own name for the item.
    #[prost(string, tag = "1")]
    pub panel: String,
    #[prost(string, tag = "2")]
    pub e_service_id: String,
    /// The client's internal id; empty where the means or code is nobody's, or the item is gone.
    #[prost(string, tag = "3")]
    pub person: String,
    /// What it says, encrypted under the person's own key.
    #[prost(bytes = "vec", tag = "4")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub sealed: Vec<u8>,
    /// The keyed hash of the request, by which the same sent again is known.
    #[prost(bytes = "vec", tag = "5")]
    #[serde(skip_serializing_if = "hidden", with = "bytes")]
    pub request_hash: Vec<u8>,
    /// The last local day on which it is shown; empty where it is gone.
    #[prost(string, tag = "6")]
    pub until: String,
    /// Whether the client has put it away.
    #[prost(bool, tag = "7")]
    pub dismissed: bool,
}
