//! Which authorisations are a recipient's, in the order in which they were decided.
//!
//! A row of thirty-six bytes for each: decisions do not wait for it, and pages are read from its end.

use std::{ops::Bound, sync::Arc, time::Duration};

use domain::id::RecipientId;
use ingest::{
    log::Log,
    record::{Position, Stored},
    topic::Topic,
    wire::v1::Event,
};

use super::{AuthoriserError, Index, Part, Write, row};

/// Where a decision comes among all, and where its record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its number among all decisions.
    pub order: u64,
    /// Where its record stands.
    pub position: Position,
}

/// Says in `progress` that every authorisation before those offsets is listed.
const LISTED: &[u8] = b"recipients";
/// How long the index is waited for before its reader brings it up to the stream's end.
const WAIT: Duration = Duration::from_millis(4);
const WAITS: u32 = 10;

impl Index {
    /// At most `most` authorisations of a recipient, the newest first; those before `before`, if it is
    /// given.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn authorisations(
        &self,
        of: RecipientId,
        before: Option<Place>,
        most: usize,
    ) -> Result<Vec<Place>, AuthoriserError> {
        let last =
            Place { order: u64::MAX, position: Position { partition: u32::MAX, offset: u64::MAX } };
        let first = Place { order: 0, position: Position { partition: 0, offset: 0 } };
        let from = Bound::Included(row::place(of, first).to_vec());
        let to = match before {
            Some(place) => Bound::Excluded(row::place(of, place).to_vec()),
            None => Bound::Included(row::place(of, last).to_vec()),
        };
        let mut places = Vec::new();
        for row in self.store.range(Part::Recipients, from, to).rev().take(most) {
            places.extend(row::of_place(&row?.0));
        }
        Ok(places)
    }

    /// Brings the index up to the stream's end as of the call. Whoever appends enters it, too, and is
    /// given some time for it, so that nobody reads and writes what is on its way already.
    ///
    /// # Errors
    /// Where the stream cannot be read or the index cannot be written.
    pub async fn reach(&self, log: &Arc<dyn Log>) -> Result<(), AuthoriserError> {
        let topic = Topic::Authorisations;
        let mut ends = Vec::new();
        for partition in 0..log.partitions(topic) {
            ends.push((partition, log.end(topic, partition)?));
        }
        for _ in 0..WAITS {
            if ends.iter().all(|(partition, end)| self.next(*partition) >= *end) {
                return Ok(());
            }
            tokio::time::sleep(WAIT).await;
        }
        for (partition, end) in ends {
            self.catch_up_to(log, partition, end).await?;
        }
        Ok(())
    }

    /// Lists what an index of before this list has entered already: that part of the stream is read
    /// again, once.
    pub(super) async fn list_what_it_has(&self, log: &Arc<dyn Log>) -> Result<(), AuthoriserError> {
        if self.store.get(Part::Progress, LISTED)?.is_some() {
            return Ok(());
        }
        self.read_again(log, |records| {
            let rows = records.iter().filter_map(row);
            Ok(rows.map(|row| Write::put(Part::Recipients, row, Vec::new())).collect())
        })
        .await?;
        // Written last: whatever cuts this off, it begins anew, and the same rows come again.
        Ok(self.store.write(vec![Write::put(Part::Progress, LISTED, [1_u8])])?)
    }
}

/// The row of a decision; none for an anonymous one, and for what is no decision.
pub(super) fn row(stored: &Stored) -> Option<[u8; 36]> {
    let Event::AuthorisationDecided(event) = &stored.record.event else { return None };
    let recipient = event.recipient_id.as_deref().and_then(RecipientId::parse)?;
    let place = Place { order: stored.record.order(), position: stored.position };
    Some(row::place(recipient, place))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ingest::{
        log::model::ModelLog,
        record::{Record, outside_id},
        wire::v1::AuthorisationDecided,
    };

    use super::*;

    fn decided(number: u64, recipient: Option<u128>) -> Record {
        let event = AuthorisationDecided {
            authorisation_id: outside_id("T", &number.to_string()).to_string(),
            terminal_id: "T".into(),
            idempotency_key: number.to_string(),
            recipient_id: recipient.map(|of| RecipientId::from_u128(of).to_string()),
            household_id: recipient.map(|of| RecipientId::from_u128(of).to_string()),
            ..AuthorisationDecided::default()
        };
        let at = DateTime::from_timestamp_micros(1).expect("an instant");
        Record {
            id: outside_id("T", &number.to_string()),
            // Those of one recipient stand in several partitions, as after a move.
            key: (number % 7).to_string(),
            source: "T".into(),
            sequence: number,
            event_time: at,
            recorded_at: at,
            event: Event::AuthorisationDecided(event.into()),
        }
    }

    fn orders(index: &Index, of: u128, before: Option<Place>, most: usize) -> Vec<u64> {
        let found = index.authorisations(RecipientId::from_u128(of), before, most);
        found.expect("readable").into_iter().map(|place| place.order).collect()
    }

    async fn filled() -> (tempfile::TempDir, Arc<dyn Log>) {
        let folder = tempfile::tempdir().expect("a folder");
        let log: Arc<dyn Log> = Arc::new(ModelLog::default());
        for number in 1..=30 {
            let recipient = [None, Some(1), Some(2)][number as usize % 3];
            let record = decided(number, recipient);
            log.append(Topic::Authorisations, &[record]).await.expect("appended");
        }
        (folder, log)
    }

    #[tokio::test]
    async fn a_recipients_own_are_listed_the_newest_first() {
        let (folder, log) = filled().await;
        let index = Index::open(folder.path(), &log).await.expect("an index");
        let all: Vec<u64> = (1..=30).rev().filter(|number| number % 3 == 1).collect();
        assert_eq!(orders(&index, 1, None, 100), all);
        let first = index.authorisations(RecipientId::from_u128(1), None, 4).expect("a page");
        assert_eq!(orders(&index, 1, first.last().copied(), 4), all[4..8]);
        assert!(orders(&index, 3, None, 100).is_empty());
        let next = decided(31, Some(3));
        log.append(Topic::Authorisations, &[next]).await.expect("appended");
        index.reach(&log).await.expect("read");
        assert_eq!(orders(&index, 3, None, 100), [31]);
    }

    #[tokio::test]
    async fn an_index_of_before_the_list_gets_it_from_the_stream() {
        let (folder, log) = filled().await;
        let index = Index::open(folder.path(), &log).await.expect("an index");
        let listed = [1, 2].map(|of| orders(&index, of, None, 100));
        let rows = index.store.prefix(Part::Recipients, &[]);
        let removed = rows.map(|row| Write::remove(Part::Recipients, row.expect("a row").0));
        let mut removed: Vec<Write> = removed.collect();
        removed.push(Write::remove(Part::Progress, LISTED));
        index.store.write(removed).expect("removed");
        assert!(orders(&index, 1, None, 100).is_empty());
        drop(index);
        let index = Index::open(folder.path(), &log).await.expect("an index");
        assert_eq!([1, 2].map(|of| orders(&index, of, None, 100)), listed);
    }

    #[tokio::test]
    async fn what_comes_before_another_authors_record_waits_for_it() {
        let (folder, log) = filled().await;
        let index = Index::open(folder.path(), &log).await.expect("an index");
        let topic = Topic::Authorisations;
        let (first, mut second) = (decided(31, Some(4)), decided(32, Some(4)));
        second.key.clone_from(&first.key);
        let positions = log.append(topic, &[first.clone(), second.clone()]).await;
        let positions = positions.expect("appended");
        let stored = |record: Record, at: usize| Stored { position: positions[at], record };
        let later = [stored(second, 1)];
        assert!(!index.apply(&later).expect("entered"), "the first is missing");
        assert!(orders(&index, 4, None, 100).is_empty());
        assert!(index.apply(&[stored(first, 0)]).expect("entered"));
        assert_eq!(orders(&index, 4, None, 100), [31]);
        index.catch_up(&log).await.expect("read");
        assert_eq!(orders(&index, 4, None, 100), [32, 31]);
        assert!(index.apply(&later).expect("entered"), "it has that already");
        assert_eq!(orders(&index, 4, None, 100), [32, 31]);
    }
}
