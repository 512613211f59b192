//! The devices that ask.

use crate::id::{PlaceId, TerminalId};

/// A terminal; it stands at one place, and so belongs to one merchant, at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its identifier.
    pub id: TerminalId,
    /// Where it stands.
    pub place: PlaceId,
    /// What it is: `till`, `validator`, `self_service`, …; instructions' scopes may name it.
    pub kind: String,
}
