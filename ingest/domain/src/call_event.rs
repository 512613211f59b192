//! What happens in the service centres.

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStep {
    /// A specialist asked for a remote official.
    Requested,
    /// An official was offered it.
    Offered,
    /// The official accepted.
    Accepted,
    /// They see each other.
    Connected,
    /// It ended.
    Ended,
    /// Nobody answered in time, or the client left.
    Abandoned,
    /// The client rated it.
    Rated,
}

/// What an official can be reached for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// Free.
    Available,
    /// In a call.
    Busy,
    /// Away for a while.
    Away,
    /// Not at work.
    Offline,
}

impl CallStep {
    /// The last word of the event's type.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Offered => "offered",
            Self::Accepted => "accepted",
            Self::Connected => "connected",
            Self::Ended => "ended",
            Self::Abandoned => "abandoned",
            Self::Rated => "rated",
        }
    }
}

impl Availability {
    /// The last word of the event's type.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Busy => "busy",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }
}
