//! The wire: round trips, and version 1 readable for ever.

use std::path::PathBuf;

use ingest::{
    record::{Position, Stored},
    wire::{Flat, WireError, decode, encode, published},
};
use proptest::prelude::*;

use crate::record;

/// A record as version 1 wrote it, kept; a version that cannot read it must not be released.
/// `UPDATE_GOLDEN=1` writes it anew, which only a new wire version may do.
#[test]
fn version_1_is_readable_for_ever() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire/v1");
    let (bytes, text) = (folder.join("upload.bin"), folder.join("upload.json"));
    let flat = |stored: &Stored| serde_json::to_value(Flat::new(stored)).expect("JSON");
    let position = Position { partition: 2, offset: 41 };
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        let stored = Stored { position, record: record("T-000001", 7) };
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(&bytes, encode(&stored.record)).expect("written");
        std::fs::write(&text, format!("{:#}\n", flat(&stored))).expect("written");
    }
    let kept = std::fs::read(&bytes).expect("the golden");
    let record = decode(&kept).expect("version 1");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&text).expect("the golden")).expect("JSON");
    assert_eq!(flat(&Stored { position, record }), expected);
}

#[test]
fn a_field_of_a_later_version_is_skipped() {
    let mut bytes = encode(&record("T-000001", 1));
    // Field 99, a varint: what a later version may add.
    bytes.extend([0x98, 0x06, 0x01]);
    assert_eq!(decode(&bytes).expect("read"), record("T-000001", 1));
}

/// Bytes that are kept: of version 1, or as a later version may write them.
fn kept(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire");
    std::fs::read(folder.join(name)).expect("the golden")
}

#[test]
fn fields_of_a_later_version_are_skipped_among_headers_and_in_events() {
    let (newer, known) = (kept("newer/fields.bin"), kept("v1/means_changed.bin"));
    assert!(newer.len() > known.len());
    assert_eq!(decode(&newer).expect("read"), decode(&known).expect("read"));
}

#[test]
fn an_event_of_a_later_version_is_never_skipped_and_told_by_its_kind() {
    let binary = decode(&kept("newer/event.bin")).expect_err("unknown");
    let json = published::decode(&kept("newer/event.json")).expect_err("unknown");
    for (refused, expected) in [(binary, "4711"), (json, "voucher_issued")] {
        assert!(matches!(&refused, WireError::Newer { kind } if kind == expected), "{refused}");
        assert_eq!(
            refused.to_string(),
            format!("of a newer version: event kind {expected}; upgrade the reader")
        );
    }
}

#[test]
fn an_object_of_a_later_schema_version_is_read_without_what_is_new_in_it() {
    let (newer, known) = (kept("newer/fields.json"), kept("v1/means_changed.json"));
    let read = |object: &[u8]| published::decode(object).expect("read");
    assert_eq!(read(&newer), read(&known));
    let text = String::from_utf8(newer).expect("text");
    let said = |version: &str| {
        let changed =
            text.replace("\"schema_version\": 2", &format!("\"schema_version\": {version}"));
        assert!(version == "2" || changed != text, "the fixture says 2");
        published::decode(changed.as_bytes())
    };
    for version in ["1", "2", "4294967296"] {
        assert_eq!(said(version).expect(version), read(&known), "{version}");
    }
    for none in ["0", "-1", "1.5", "2.0", "\"2\"", "null", "[1]", "true"] {
        let refused = said(none).expect_err(none);
        assert!(matches!(refused, WireError::SchemaVersion), "{none}: {refused}");
        let told = "the record's schema version is no whole number from 1 on";
        assert_eq!(refused.to_string(), told, "{none}");
    }
}

proptest! {
    #[test]
    fn records_come_back_as_they_went(key in "[A-Za-z0-9-]{1,20}", number in any::<u64>()) {
        let sent = record(&key, number);
        prop_assert_eq!(decode(&encode(&sent)).expect("read"), sent);
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = decode(&bytes);
    }
}
