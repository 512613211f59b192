//! What a request did, kept so that asking again gives the same.

use std::sync::Arc;

use ingest::wire::v1;

use crate::history::History;

/// What a key did.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An authorisation as of its record: decided, or changed by the last of its changes.
    Authorisation(History),
    /// A key under which nothing had come is blocked.
    Blocked(Arc<v1::KeyBlocked>),
}
