//! What a publisher sent and its reader did not see yet.
//!
//! A node reads its own records back. It knows them by a hash of the bytes that it sent, so their
//! JSON is not read, and the mirror gets them as they lie in the outbox.

use std::collections::VecDeque;

use domain::id::RecordId;
use xxhash_rust::xxh3::xxh3_128;

/// Bytes that are kept; the reader finds out by itself what is beyond.
const MOST_BYTES: usize = 32 << 20;

/// A record of the outbox, as the mirror will have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub id: RecordId,
    /// In microseconds since 1970.
    pub recorded_at: i64,
    /// In wire version 1.
    pub bytes: Vec<u8>,
}

/// What is on its way, in the outbox's order.
#[derive(Debug)]
pub(super) struct Sent {
    /// The first one's place in the outbox.
    first: u64,
    records: VecDeque<(u128, Own)>,
    bytes: usize,
    most_bytes: usize,
}

impl Default for Sent {
    fn default() -> Self {
        Self { first: 0, records: VecDeque::new(), bytes: 0, most_bytes: MOST_BYTES }
    }
}

impl Sent {
    /// What was sent is in doubt, and sent again.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    /// Notes what is about to be sent; not where there is too much, until all of it came.
    pub(super) fn note(&mut self, sequence: u64, object: &[u8], own: Own) {
        if self.records.is_empty() {
            self.first = sequence;
        }
        let follows = self.first + self.records.len() as u64 == sequence;
        if follows && self.bytes < self.most_bytes {
            self.bytes += own.bytes.len();
            self.records.push_back((xxh3_128(object), own));
        }
    }

    /// The record of the outbox at `sequence`, if `object` is what was sent of it. What was before
    /// it is forgotten.
    pub(super) fn take(&mut self, sequence: u64, object: &[u8]) -> Option<Own> {
        while self.first < sequence && self.pop().is_some() {}
        let expected = self.records.front().filter(|_| self.first == sequence)?;
        if expected.0 == xxh3_128(object) { self.pop() } else { None }
    }

    fn pop(&mut self) -> Option<Own> {
        let (_, own) = self.records.pop_front()?;
        self.first += 1;
        self.bytes -= own.bytes.len();
        Some(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(number: u8) -> Own {
        Own { id: RecordId::from_u128(number.into()), recorded_at: 0, bytes: vec![number; 10] }
    }

    fn object(number: u8) -> [u8; 20] {
        [number; 20]
    }

    fn sent(numbers: std::ops::Range<u8>) -> Sent {
        let mut sent = Sent::default();
        for number in numbers {
            sent.note(number.into(), &object(number), own(number));
        }
        sent
    }

    #[test]
    fn what_was_sent_is_known_by_its_bytes_and_place() {
        let mut sent = sent(3..9);
        assert_eq!(sent.take(2, &object(2)), None, "of before");
        assert_eq!(sent.take(3, &object(3)), Some(own(3)));
        assert_eq!(sent.take(4, &object(5)), None, "other bytes");
        assert_eq!(sent.take(4, &object(4)), Some(own(4)));
        // One that was read otherwise.
        assert_eq!(sent.take(6, &object(6)), Some(own(6)));
        assert_eq!(sent.take(5, &object(5)), None);
        sent.clear();
        assert_eq!((sent.take(7, &object(7)), sent.bytes), (None, 0));
    }

    #[test]
    fn what_is_too_much_is_left_out_until_all_came() {
        let mut sent = Sent { most_bytes: 20, ..Sent::default() };
        for number in 0..4 {
            sent.note(number.into(), &object(number), own(number));
        }
        assert_eq!(sent.take(0, &object(0)), Some(own(0)));
        sent.note(4, &object(4), own(4));
        assert_eq!(sent.take(1, &object(1)), Some(own(1)));
        assert_eq!(sent.take(2, &object(2)), None);
        sent.note(5, &object(5), own(5));
        assert_eq!(sent.take(4, &object(4)), None);
        assert_eq!(sent.take(5, &object(5)), Some(own(5)));
    }
}
