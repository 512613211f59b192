//! Seeds for a fixed budget; and the simulation is able to fail.

use std::time::{Duration, Instant};

use ingest::vault::Vault;
use simulation::{
    faults::Planted,
    run::{Outcome, run},
    world::World,
};
use tempfile::TempDir;

/// Seeds within which a planted bug has to be found.
const FOUND_WITHIN: u64 = 200;

fn scale() -> u64 {
    std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

fn vault() -> (TempDir, Vault) {
    let folder = tempfile::tempdir().expect("a folder");
    let vault = World::vault(folder.path());
    (folder, vault)
}

#[test]
fn everything_holds_whatever_fails() {
    let (_folder, vault) = vault();
    let (begun, budget) = (Instant::now(), Duration::from_secs(20 * scale()));
    let (mut seeds, mut deaths, mut records) = (0, 0, 0);
    while begun.elapsed() < budget || seeds < 10 {
        let Outcome { faults, counts, .. } = run(seeds, None, &vault);
        assert!(
            faults.is_empty(),
            "seed {seeds}: {faults:#?}\nsee it with \
             `cargo run --release -p simulation -- --seed {seeds}`"
        );
        seeds += 1;
        deaths += counts.deaths;
        records += counts.records;
    }
    println!("{seeds} seeds: {records} records, {deaths} deaths");
    assert!(deaths >= seeds && records >= 50 * seeds, "a run in which little happens shows little");
}

#[test]
fn a_seed_gives_the_same_each_time() {
    let (_folder, vault) = vault();
    let (_other_folder, other_vault) = self::vault();
    for seed in [3, 4, 11] {
        let first = run(seed, None, &vault);
        assert!(!first.trace.is_empty());
        assert_eq!(first, run(seed, None, &other_vault), "seed {seed}");
    }
}

fn finds(planted: Planted) {
    let (_folder, vault) = vault();
    let found = (0..FOUND_WITHIN).find(|seed| !run(*seed, Some(planted), &vault).faults.is_empty());
    let seed = found.unwrap_or_else(|| panic!("{planted:?} is not found in {FOUND_WITHIN} seeds"));
    let outcome = run(seed, Some(planted), &vault);
    println!("{planted:?}: seed {seed}: {}", outcome.faults[0]);
}

#[test]
fn an_acknowledgement_before_the_append_is_found() {
    finds(Planted::AcknowledgeBeforeAppend);
}

#[test]
fn offsets_that_are_committed_apart_are_found() {
    finds(Planted::CommitOffsetsApart);
}

#[test]
fn a_clip_that_ignores_a_reservation_is_found() {
    finds(Planted::ClipIgnoresReservation);
}

#[test]
fn a_refund_that_is_given_back_twice_is_found() {
    finds(Planted::RefundGivenBackTwice);
}

#[test]
fn a_period_by_utc_is_found() {
    finds(Planted::PeriodByUtc);
}
