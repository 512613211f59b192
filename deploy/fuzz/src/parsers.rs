//! The parsers, and what has to hold of each.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use chrono::{DateTime, Utc};
use connectors::{
    connector::Refusal, dagr, grantor, issuer, portal, registry, terminal::translate, vpvkac,
};
use domain::{
    id::{CentreId, GroupId, IssuerId},
    person_code::PersonCode,
};
use ingest::{
    clock::SystemClock,
    record::{Position, Record},
    vault::Vault,
    wire::{self, published},
};
use pipelines::{dialect, groups};
use tempfile::TempDir;
use warehouse::settlement::bank;

use crate::kept;

mod disk;
mod doors;

/// A parser.
#[derive(Clone, Copy, Debug)]
pub struct Parser {
    /// As in the corpus.
    pub name: &'static str,
    /// Inputs to begin with.
    pub kept: fn() -> Vec<Vec<u8>>,
    /// Reads one: whether it is taken, or what is wrong with how it was read.
    pub read: fn(&[u8]) -> Result<bool, String>,
}

/// All of them.
pub const ALL: [Parser; 25] = [
    Parser { name: "wire", kept: golden, read: read_wire },
    Parser { name: "published", kept: published_golden, read: read_published },
    Parser { name: "persons", kept: || kept::lines_of("persons.ndjson.gz"), read: read_person },
    Parser { name: "means", kept: || kept::lines_of("means.ndjson.gz"), read: read_means },
    Parser {
        name: "transactions",
        kept: || kept::lines_of("baskets.ndjson.gz"),
        read: read_transaction,
    },
    Parser {
        name: "portal",
        kept: || kept::lines_of("portal-events.ndjson.gz"),
        read: read_portal,
    },
    Parser {
        name: "centres",
        kept: || kept::lines_of("service-events.ndjson.gz"),
        read: read_centre,
    },
    Parser { name: "members", kept: || kept::of("members"), read: read_member },
    Parser { name: "basket", kept: || kept::of("basket"), read: doors::read_basket },
    Parser { name: "registry", kept: registries, read: read_registry },
    Parser { name: "dialect", kept: pipelines_shipped, read: read_dialect },
    Parser { name: "conditions", kept: || kept::of("conditions"), read: read_condition },
    Parser { name: "bank", kept: || kept::of("bank"), read: read_bank },
    Parser { name: "sql", kept: || kept::of("sql"), read: doors::read_sql },
    Parser { name: "changes", kept: || kept::of("changes"), read: doors::read_change },
    Parser { name: "calls", kept: || kept::of("calls"), read: doors::read_call },
    Parser {
        name: "registrations",
        kept: || kept::of("registrations"),
        read: doors::read_registration,
    },
    Parser { name: "panels", kept: || kept::of("panels"), read: doors::read_panel },
    Parser { name: "tokens", kept: doors::tokens, read: doors::read_token },
    Parser { name: "settings", kept: doors::settings, read: doors::read_settings },
    Parser { name: "paths", kept: || kept::of("paths"), read: doors::read_path },
    Parser { name: "blocks", kept: disk::blocks, read: disk::read_block },
    Parser { name: "segments", kept: || kept::of("segments"), read: disk::read_segment },
    Parser { name: "manifest", kept: || kept::of("manifest"), read: disk::read_manifest },
    Parser { name: "rows", kept: || kept::of("rows"), read: disk::read_row },
];

struct Keys {
    vault: Vault,
    _folder: TempDir,
}

/// Keys of those who hold the kept means.
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for keys");
    let vault = Vault::open(folder.path()).expect("a vault");
    let codes = kept::lines_of("means.ndjson.gz").into_iter().filter_map(|line| {
        let means: serde_json::Value = serde_json::from_slice(&line).ok()?;
        PersonCode::parse(means["person"].as_str()?).ok()
    });
    vault.enrol(&codes.collect::<Vec<_>>()).expect("enrolled");
    Keys { vault, _folder: folder }
});

fn vault() -> &'static Vault {
    &KEYS.vault
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_735_689_600, 0).expect("an instant")
}

fn golden() -> Vec<Vec<u8>> {
    kept::files(&kept::tree("ingest/tests/golden/wire/v1"), ".bin")
}

fn published_golden() -> Vec<Vec<u8>> {
    let place = Position { partition: 1, offset: 7 };
    let records = golden().into_iter().filter_map(|bytes| wire::decode(&bytes).ok());
    records.filter_map(|record| published::encode("node", place, &record).ok()).collect()
}

fn registries() -> Vec<Vec<u8>> {
    let mut all = kept::files(&kept::tree("connectors/tests/golden"), "registry.yaml");
    all.extend(kept::of("registry"));
    all
}

fn pipelines_shipped() -> Vec<Vec<u8>> {
    ["sources", "tables"]
        .iter()
        .flat_map(|folder| kept::files(&kept::tree("pipelines/sql").join(folder), ".sql"))
        .collect()
}

/// What our encoder makes of a record is read as the same record.
fn comes_back(record: &Record) -> Result<bool, String> {
    match wire::decode(&wire::encode(record)) {
        Ok(again) if again == *record => Ok(true),
        Ok(again) => Err(format!("{record:?} comes back as {again:?}")),
        Err(error) => Err(format!("{record:?} does not come back: {error}")),
    }
}

/// Nobody is named by what is told of a fault.
fn names_nobody(told: &str) -> Result<bool, String> {
    let bytes = told.as_bytes();
    let named = bytes
        .windows(12)
        .find(|part| std::str::from_utf8(part).is_ok_and(|part| PersonCode::parse(part).is_ok()));
    match named {
        Some(code) => Err(format!("{} is told: {told}", String::from_utf8_lossy(code))),
        None => Ok(false),
    }
}

fn translated(record: Result<Record, Refusal>) -> Result<bool, String> {
    match record {
        Ok(record) => comes_back(&record),
        Err(refusal) => names_nobody(&refusal.detail),
    }
}

fn read_wire(input: &[u8]) -> Result<bool, String> {
    match wire::decode(input) {
        Ok(record) => comes_back(&record),
        Err(_) => Ok(false),
    }
}

fn read_published(input: &[u8]) -> Result<bool, String> {
    let Ok(read) = published::decode(input) else { return Ok(false) };
    let place = Position { partition: 0, offset: read.outbox_sequence };
    let object = published::encode(&read.outbox, place, &read.record);
    let object = object.map_err(|error| format!("{:?} is not written: {error}", read.record))?;
    match published::decode(&object) {
        Ok(again) if again.record == read.record => Ok(true),
        Ok(again) => Err(format!("{:?} comes back as {:?}", read.record, again.record)),
        Err(error) => Err(format!("{:?} does not come back: {error}", read.record)),
    }
}

fn read_person(input: &[u8]) -> Result<bool, String> {
    match dagr::translate::person_change(input) {
        Ok(_) => Ok(true),
        Err(refusal) => names_nobody(&refusal.detail),
    }
}

fn read_means(input: &[u8]) -> Result<bool, String> {
    let issuers: HashSet<IssuerId> =
        ["market-card", "city-card"].into_iter().filter_map(|id| IssuerId::new(id).ok()).collect();
    translated(issuer::translate::means(input, &issuers, vault(), now()))
}

fn read_transaction(input: &[u8]) -> Result<bool, String> {
    translated(translate::transaction(input, &|_| true, vault(), now()))
}

fn read_portal(input: &[u8]) -> Result<bool, String> {
    translated(portal::translate::event(input, vault(), now()))
}

fn read_centre(input: &[u8]) -> Result<bool, String> {
    static CENTRES: LazyLock<HashSet<CentreId>> = LazyLock::new(|| {
        kept::lines_of("service-events.ndjson.gz")
            .iter()
            .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
            .filter_map(|event| CentreId::new(event["data"]["centre"].as_str()?).ok())
            .collect()
    });
    translated(vpvkac::translate::event(input, &CENTRES, vault(), now()))
}

fn read_member(input: &[u8]) -> Result<bool, String> {
    static LISTS: LazyLock<grantor::MembershipLists> = LazyLock::new(|| grantor::MembershipLists {
        groups: GroupId::new("riga-donors").into_iter().collect(),
        only: None,
        vault: vault().clone(),
        clock: Arc::new(SystemClock),
    });
    translated(grantor::translate::member(input, &LISTS, now()))
}

fn read_registry(input: &[u8]) -> Result<bool, String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    let read = registry::read(text, "registry", &|text| groups::check(text), &|_| None);
    Ok(read.is_ok())
}

fn read_dialect(input: &[u8]) -> Result<bool, String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    Ok(dialect::parse("fuzz.sql", text).is_ok())
}

fn read_condition(input: &[u8]) -> Result<bool, String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    Ok(groups::check(text).is_none())
}

fn read_bank(input: &[u8]) -> Result<bool, String> {
    Ok(bank::read(input).is_ok())
}
