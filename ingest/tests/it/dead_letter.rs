//! What is refused is kept, sealed, and once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ingest::{
    dead_letter::{DeadLetter, LONGEST_PAYLOAD, Outcome, Reason, listed, open},
    deduplication::{Deduplication, Known, Said},
    log::{Log, model::ModelLog},
    topic::Topic,
    vault::Vault,
    wire::v1::Event,
};

use crate::record;

#[test]
fn a_refused_line_is_sealed_and_known_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = Vault::open(folder.path()).expect("a vault");
    let payload = vec![b'x'; LONGEST_PAYLOAD + 10];
    let letter = DeadLetter {
        connector: "terminal",
        reason: Reason::MalformedJson,
        detail: "not JSON at column 3".into(),
        origin: "file.ndjson",
        line: 7,
        payload: &payload,
        payload_bytes: payload.len() as u64,
    };
    let now = DateTime::<Utc>::UNIX_EPOCH;
    let (first, again) = (
        letter.record(&vault, now).expect("a record"),
        letter.record(&vault, now).expect("a record"),
    );
    assert_eq!(first.id, again.id);
    let Event::DeadLetter(event) = &first.event else { panic!("a dead letter") };
    assert!(!event.payload.windows(8).any(|window| window == b"xxxxxxxx"), "the payload shows");
    assert_eq!(vault.unseal_for_node(&event.payload).expect("opened").len(), LONGEST_PAYLOAD);
    assert_eq!(event.payload_bytes, payload.len() as u64);
}

#[tokio::test]
async fn what_is_refused_again_is_one_letter_and_is_dealt_with_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = Vault::open(folder.path()).expect("a vault");
    let log: Arc<dyn Log> = Arc::new(ModelLog::default());
    let refused = |line| {
        let letter = DeadLetter {
            connector: "terminal",
            reason: Reason::InvalidValue,
            detail: "wrong".into(),
            origin: "/v1/transactions:batch",
            line,
            payload: b"{}",
            payload_bytes: 2,
        };
        letter.record(&vault, DateTime::<Utc>::UNIX_EPOCH).expect("a record")
    };
    let topic = Topic::DeadLetters;
    log.append(topic, &[refused(1), refused(2), refused(1)]).await.expect("appended");
    let letters = open(&log).await.expect("read");
    let lines: Vec<_> = letters.iter().map(|open| open.letter.line).collect();
    assert_eq!((lines, letters[0].position.offset), (vec![1, 2], 0));
    assert_eq!(listed(&log).await.expect("read").len(), 2);
    let dropped = letters[0].settled(Outcome::Dropped, "", DateTime::<Utc>::UNIX_EPOCH);
    log.append(topic, &[dropped]).await.expect("appended");
    assert_eq!(open(&log).await.expect("read").len(), 1, "both of them are dealt with");
    log.append(topic, &[refused(1)]).await.expect("appended");
    assert_eq!(open(&log).await.expect("read").len(), 2, "refused once more it is there once more");
}

#[tokio::test]
async fn what_comes_again_is_known_within_the_window() {
    let log: Arc<dyn Log> = Arc::new(ModelLog::default());
    let topic = Topic::TerminalTransactions;
    let records: Vec<_> = (0..10).map(|number| record("t", number)).collect();
    log.append(topic, &records).await.expect("appended");
    let mut known = Deduplication::of(&log, topic, 4, |record| record.id).await.expect("rebuilt");
    assert_eq!(known.known(records[9].id, Said::of(&records[9].event)), Known::Same);
    assert_eq!(
        known.known(records[5].id, Said::of(&records[5].event)),
        Known::New,
        "beyond the window"
    );
    let mut other = records[9].event.clone();
    if let Event::TransactionUploaded(upload) = &mut other {
        upload.body_hash = vec![1];
    }
    assert_eq!(known.known(records[9].id, Said::of(&other)), Known::Different);
    known.note(records[5].id, Said::of(&records[5].event), &records[5].event);
    assert_eq!(known.known(records[5].id, Said::of(&records[5].event)), Known::Same);
}
