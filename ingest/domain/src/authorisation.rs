//! The life of an authorisation: `reserved → captured | voided | expired`, `captured →
//! partially_refunded → refunded`.

/// Where an authorisation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Held until captured, voided or expired.
    Reserved,
    /// Final.
    Captured,
    /// Cancelled before capture.
    Voided,
    /// Ended by a record in the stream because nobody captured it in time.
    Expired,
    /// Some of it came back.
    PartiallyRefunded,
    /// All of it came back.
    Refunded,
}

/// What ends or changes an authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// Makes a reservation final, whole.
    Capture,
    /// Cancels before capture.
    Void,
    /// Ends a reservation that nobody captured in time.
    Expire,
    /// Returns some of it after capture.
    RefundPart,
    /// Returns what is left after capture.
    RefundRest,
}

impl Transition {
    /// The word used on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Expire => "expire",
            Self::RefundPart | Self::RefundRest => "refund",
        }
    }
}

impl Status {
    /// The word used on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
        }
    }

    /// The status that the word names.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let all = [
            Self::Reserved,
            Self::Captured,
            Self::Voided,
            Self::Expired,
            Self::PartiallyRefunded,
            Self::Refunded,
        ];
        all.into_iter().find(|known| known.code() == code)
    }

    /// The status after `transition`; `None` where it may not happen now. Of *captured*, *voided*
    /// and *expired* the first in the stream wins, so the second finds no way from here.
    #[must_use]
    pub const fn after(self, transition: Transition) -> Option<Self> {
        match (self, transition) {
            (Self::Reserved, Transition::Capture) => Some(Self::Captured),
            (Self::Reserved, Transition::Void) => Some(Self::Voided),
            (Self::Reserved, Transition::Expire) => Some(Self::Expired),
            (Self::Captured | Self::PartiallyRefunded, Transition::RefundPart) => {
                Some(Self::PartiallyRefunded)
            }
            (Self::Captured | Self::PartiallyRefunded, Transition::RefundRest) => {
                Some(Self::Refunded)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_of_a_reservation_wins() {
        let ends = [Transition::Capture, Transition::Void, Transition::Expire];
        for first in ends {
            let ended = Status::Reserved.after(first).expect("a reservation ends");
            assert!(ends.into_iter().all(|second| ended.after(second).is_none()));
        }
    }

    #[test]
    fn only_what_was_captured_is_refunded() {
        assert_eq!(Status::Reserved.after(Transition::RefundPart), None);
        assert_eq!(Status::Voided.after(Transition::RefundRest), None);
        let part = Status::Captured.after(Transition::RefundPart).expect("a part comes back");
        assert_eq!(part.after(Transition::RefundRest), Some(Status::Refunded));
        assert_eq!(Status::Refunded.after(Transition::RefundPart), None);
    }
}
