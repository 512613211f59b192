//! What a verification has compared, and every row or cent that drifts.

use std::{collections::BTreeMap, io::Write};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::failure::Failure;

/// Drifts that are named; those beyond are counted.
const NAMED: usize = 10_000;

/// One row or cent that drifts. Nothing in it tells of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drift {
    /// The table, or the part of another store.
    pub store: String,
    /// What it is about, and where it stands.
    pub key: String,
    /// What there has to be.
    pub expected: String,
    /// What there is.
    pub found: String,
}

/// What was compared of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Compared {
    /// Rows, records, orders or keys that there have to be.
    pub expected: u64,
    /// Those that there are.
    pub found: u64,
    /// How many drift.
    pub drifts: u64,
}

/// All that was found.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Findings {
    /// By store.
    pub compared: BTreeMap<String, Compared>,
    /// What drifts.
    pub drifts: Vec<Drift>,
    /// Drifts that are not among them.
    pub not_named: u64,
    /// What was not compared, and why.
    pub notes: Vec<String>,
    /// Records that were read.
    pub records: u64,
    /// Rows that were read.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
}

/// No row of this kind.
pub const NOTHING: &str = "nothing";

impl Findings {
    /// Notes how much of a store was compared.
    pub fn compared(&mut self, store: &str, expected: u64, found: u64) {
        let entry = self.compared.entry(store.to_owned()).or_default();
        entry.expected += expected;
        entry.found += found;
        self.rows += found;
    }

    /// Names a drift.
    pub fn drift(
        &mut self,
        store: &str,
        key: String,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.compared.entry(store.to_owned()).or_default().drifts += 1;
        if self.drifts.len() == NAMED {
            self.not_named += 1;
            return;
        }
        let (expected, found) = (expected.into(), found.into());
        self.drifts.push(Drift { store: store.to_owned(), key, expected, found });
    }

    /// Counts drifts that cannot be named one by one.
    pub fn unnamed(&mut self, store: &str, count: u64, why: String) {
        self.compared.entry(store.to_owned()).or_default().drifts += count;
        self.not_named += count;
        self.notes.push(why);
    }

    /// How many drifts there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.drifts.len() as u64 + self.not_named
    }

    /// Tells it all on standard output, for people or as JSON.
    ///
    /// # Errors
    /// Where nobody reads.
    pub fn tell(&self, json: bool) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        if json {
            let text = serde_json::to_string(self).map_err(std::io::Error::from)?;
            return Ok(writeln!(out, "{text}")?);
        }
        writeln!(out, "{:<24} {:>12} {:>12} {:>8}", "store", "expected", "found", "drifts")?;
        for (store, Compared { expected, found, drifts }) in &self.compared {
            writeln!(out, "{store:<24} {expected:>12} {found:>12} {drifts:>8}")?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        for Drift { store, key, expected, found } in &self.drifts {
            writeln!(out, "drift: {store}: {key}: expected {expected}, found {found}")?;
        }
        if self.not_named > 0 {
            writeln!(out, "{} more drifts are not named", self.not_named)?;
        }
        let (records, rows, seconds) = (self.records, self.rows, self.seconds);
        let work = records + rows;
        let speed = work as f64 / seconds.max(0.001);
        writeln!(out, "{records} records and {rows} rows in {seconds:.2} s: {speed:.0} a second")?;
        Ok(())
    }
}
