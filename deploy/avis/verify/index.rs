//! The authoriser's index against the stream: keys, changes, reservations, counters, points, and whose
//! authorisations they are.
//!
//! What is a set is compared by sums of hashes; counters and points are sums themselves, so a movement's
//! hash counts as often as it moves. Both are taken by parts of the rows' hashes, and only of parts that
//! differ the rows are looked at. So millions of counters take as little memory as a few.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use authoriser::{
    claims::{body_hash, key_of},
    index::{Entry, Index},
};
use domain::{
    id::{BenefitId, RecipientId},
    limit::{CounterKey, Holder},
};
use ingest::{
    record::{Position, Stored},
    topic::Topic,
    wire::v1::{CounterMovement, Event, PointsMovement},
};

use super::{
    findings::{Findings, NOTHING},
    hash,
};
use crate::{failure::Failure, node::Node};

/// Parts into which the rows of each kind fall.
const PARTS: usize = 4_096;
/// Parts of a kind whose rows are looked at, which bounds the memory.
const MOST: usize = 64;
const SETS: [&str; 3] = ["keys", "changes", "recipients"];
const SUMS: [&str; 2] = ["counters", "points"];

/// A part of a kind's rows.
type Part = (&'static str, usize);

/// The index and what it has to hold.
pub struct Side {
    index: Arc<Index>,
    sums: BTreeMap<&'static str, Vec<u128>>,
    counted: BTreeMap<&'static str, u64>,
    /// Reservations that nothing has ended, which are few at any time.
    held: BTreeMap<String, i64>,
    /// The parts whose rows are wanted of a second reading, and those rows.
    wanted: BTreeSet<Part>,
    rows: BTreeMap<(&'static str, String), Vec<String>>,
    moved: BTreeMap<(&'static str, String), i64>,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side").field("counted", &self.counted).finish_non_exhaustive()
    }
}

impl Side {
    /// The index in a node's folder; none where there is none yet.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(node: &Node, findings: &mut Findings) -> Result<Option<Self>, Failure> {
        let (folder, topic) = (node.folder.join("index"), Topic::Authorisations);
        let partitions = node.log.partitions(topic);
        if !Path::is_dir(&folder) {
            findings.notes.push("there is no index yet: the node makes it from the stream".into());
            return Ok(None);
        }
        for partition in 0..partitions {
            if node.log.start(topic, partition)? > 0 {
                let text = "the index is not compared: the stream does not reach back to its begin";
                findings.notes.push(text.into());
                return Ok(None);
            }
        }
        let index = Index::as_it_lies(&folder, partitions)?;
        for partition in 0..partitions {
            let (next, end) = (index.next(partition), node.log.end(topic, partition)?);
            if next > end {
                let key = format!("how far it has read partition {partition}");
                findings.drift("index", key, format!("at most {end}"), next.to_string());
            }
        }
        let sums = SETS.into_iter().chain(SUMS).map(|kind| (kind, vec![0; PARTS])).collect();
        let (counted, held, wanted) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let (rows, moved) = (BTreeMap::new(), BTreeMap::new());
        Ok(Some(Self { index, sums, counted, held, wanted, rows, moved }))
    }

    /// The index itself, which one process opens once.
    pub fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index)
    }

    /// Takes a record of the stream, in the order of its partition.
    pub fn take(&mut self, stored: &Stored) {
        let at = stored.position;
        if at.offset >= self.index.next(at.partition) {
            return;
        }
        match &stored.record.event {
            Event::AuthorisationDecided(event) => {
                self.key(&event.terminal_id, &event.idempotency_key, &event.body_hash, at);
                if let Some(expires_at) = event.expires_at {
                    self.held.insert(event.authorisation_id.clone(), expires_at);
                }
                let recipient = event.recipient_id.as_deref();
                if let Some(recipient) = recipient {
                    let key = listed(recipient, stored.record.order(), at);
                    self.set("recipients", key, "listed".into());
                }
                let homes = [event.household_id.as_deref(), event.home_id.as_deref()];
                self.moves(recipient, homes, &event.counters, &event.points);
            }
            Event::AuthorisationChanged(event) => {
                if !event.idempotency_key.is_empty() {
                    self.key(&event.terminal_id, &event.idempotency_key, &event.body_hash, at);
                }
                let step = format!("{} step {}", event.authorisation_id, event.step);
                self.set("changes", step, place(at));
                self.held.remove(&event.authorisation_id);
                let recipient = event.recipient_id.as_deref();
                let homes = [event.household_id.as_deref(), event.home_id.as_deref()];
                self.moves(recipient, homes, &event.counters, &event.points);
            }
            Event::HouseholdJoined(event) => {
                let homes = [Some(event.household_id.as_str()), None];
                self.moves(Some(event.recipient_id.as_str()), homes, &event.counters, &[]);
            }
            Event::KeyBlocked(event) => {
                self.key(&event.terminal_id, &event.idempotency_key, &event.body_hash, at);
                self.key(&event.terminal_id, &event.reversed_key, &[], at);
            }
            _ => {}
        }
    }

    fn key(&mut self, terminal: &str, key: &str, body: &[u8], at: Position) {
        self.set("keys", key_of(terminal, key).to_string(), used(at, &body_hash(body)));
    }

    /// What moves per household moves in that of the authorisation, and in that where the recipient lives
    /// by then, if it is another one.
    fn moves(
        &mut self,
        recipient: Option<&str>,
        [household, home]: [Option<&str>; 2],
        counters: &[CounterMovement],
        points: &[PointsMovement],
    ) {
        for moved in counters {
            let holders = match moved.per.as_str() {
                "recipient" => [recipient, None],
                "household" => [household, home],
                _ => [None; 2],
            };
            let CounterMovement { instruction_id, per, period, period_start, measure, .. } = moved;
            let [first, other] = holders;
            for holder in [Some(first.unwrap_or_default()), other].into_iter().flatten() {
                let key = format!(
                    "{instruction_id} per {per} {holder} {period} {period_start} {measure}"
                );
                self.add("counters", key, moved.change, 1);
            }
        }
        for moved in points {
            let key = format!("{} of {}", moved.benefit_id, recipient.unwrap_or_default());
            self.add("points", key, moved.change, 1);
        }
    }

    /// A row of a set that there has to be.
    fn set(&mut self, kind: &'static str, key: String, value: String) {
        let part = part(&key);
        if self.wanted.is_empty() {
            let row = hash(format!("{key}\0{value}").as_bytes());
            add(&mut self.sums, kind, part, row);
            *self.counted.entry(kind).or_default() += 1;
        } else if self.wanted.contains(&(kind, part)) {
            self.rows.entry((kind, key)).or_default().push(value);
        }
    }

    /// Something that moves a sum.
    fn add(&mut self, kind: &'static str, key: String, change: i64, times: i64) {
        let part = part(&key);
        if self.wanted.is_empty() {
            let moved = i128::from(change) * i128::from(times);
            let weight = hash(key.as_bytes()) | 1;
            add(&mut self.sums, kind, part, weight.wrapping_mul(moved.cast_unsigned()));
        } else if self.wanted.contains(&(kind, part)) {
            *self.moved.entry((kind, key)).or_default() += change * times;
        }
    }

    /// Reads the index; answers whether the stream has to be read again to name what drifts.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn compare(&mut self, findings: &mut Findings) -> Result<bool, Failure> {
        let mut found: BTreeMap<&'static str, u64> = BTreeMap::new();
        let index = Arc::clone(&self.index);
        let mut held = std::mem::take(&mut self.held);
        let expected_held = held.len() as u64;
        index.each(|entry| match told(entry) {
            Told::Set(kind, key, value) => {
                *found.entry(kind).or_default() += 1;
                let row = hash(format!("{key}\0{value}").as_bytes());
                add(&mut self.sums, kind, part(&key), row.wrapping_neg());
            }
            Told::Sum(kind, key, sum) => {
                *found.entry(kind).or_default() += 1;
                self.add(kind, key, sum, -1);
            }
            Told::Held(id, expires_at) => {
                *found.entry("held").or_default() += 1;
                match held.remove(&id) {
                    Some(expected) if expected == expires_at => {}
                    Some(expected) => {
                        let expected = expected.to_string();
                        findings.drift("index held", id, expected, expires_at.to_string());
                    }
                    None => findings.drift("index held", id, NOTHING, expires_at.to_string()),
                }
            }
            Told::Unreadable(kind) => {
                let store = format!("index {kind}");
                findings.drift(&store, "a row".into(), "a row of ours", "one that is none");
            }
        })?;
        for (id, expires_at) in held {
            findings.drift("index held", id, expires_at.to_string(), NOTHING);
        }
        findings.compared("index held", expected_held, found.remove("held").unwrap_or(0));
        for (kind, found) in found {
            // Sums have no number of rows of their own: a row of nothing may be there or not.
            let expected = self.counted.get(kind).copied().unwrap_or(found);
            findings.compared(&format!("index {kind}"), expected, found);
        }
        for (kind, parts) in &self.sums {
            let differ = parts.iter().enumerate().filter(|(_, sum)| **sum != 0);
            let differ: Vec<Part> = differ.map(|(part, _)| (*kind, part)).collect();
            if let Some(more) = differ.len().checked_sub(MOST).filter(|more| *more > 0) {
                let text = format!(
                    "index {kind}: {more} more of {PARTS} parts differ; remove the folder index, \
                     and the next start makes it again"
                );
                findings.unnamed(&format!("index {kind}"), more as u64, text);
            }
            self.wanted.extend(differ.into_iter().take(MOST));
        }
        Ok(!self.wanted.is_empty())
    }

    /// Names what drifts, after the stream was read again.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub fn name(mut self, findings: &mut Findings) -> Result<(), Failure> {
        let index = Arc::clone(&self.index);
        let mut sums = std::mem::take(&mut self.moved);
        index.each(|entry| match told(entry) {
            Told::Set(kind, key, value) if self.wanted.contains(&(kind, part(&key))) => {
                let of = format!("index {kind}");
                // A key that came twice stands by one of its records.
                match self.rows.remove(&(kind, key.clone())) {
                    Some(expected) if expected.contains(&value) => {}
                    Some(expected) => findings.drift(&of, key, expected.join(" or "), value),
                    None => findings.drift(&of, key, NOTHING, value),
                }
            }
            Told::Sum(kind, key, sum) if self.wanted.contains(&(kind, part(&key))) => {
                let expected = sums.remove(&(kind, key.clone())).unwrap_or(0);
                if expected != sum {
                    let of = format!("index {kind}");
                    findings.drift(&of, key, expected.to_string(), sum.to_string());
                }
            }
            _ => {}
        })?;
        for ((kind, key), expected) in self.rows {
            findings.drift(&format!("index {kind}"), key, expected.join(" or "), NOTHING);
        }
        for ((kind, key), expected) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
            findings.drift(&format!("index {kind}"), key, expected.to_string(), NOTHING);
        }
        Ok(())
    }
}

/// A row of the index as it is compared.
enum Told {
    Set(&'static str, String, String),
    Sum(&'static str, String, i64),
    Held(String, i64),
    Unreadable(&'static str),
}

fn told(entry: Entry) -> Told {
    match entry {
        Entry::Key(key, what) => {
            Told::Set("keys", key.to_string(), used(what.position, &what.body))
        }
        Entry::Change(id, step, at) => Told::Set("changes", format!("{id} step {step}"), place(at)),
        Entry::Held(id, expires_at) => Told::Held(id.to_string(), expires_at),
        Entry::Counter(key, sum) => Told::Sum("counters", counter(&key), sum),
        Entry::Points(recipient, benefit, sum) => {
            Told::Sum("points", balance(recipient, &benefit), sum)
        }
        Entry::Place(recipient, of) => {
            let key = listed(&recipient.to_string(), of.order, of.position);
            Told::Set("recipients", key, "listed".into())
        }
        Entry::Unreadable(kind) => Told::Unreadable(kind),
    }
}

/// What a counter is called.
pub fn counter(key: &CounterKey) -> String {
    let (per, holder) = match key.holder {
        Holder::Recipient(id) => ("recipient", id.to_string()),
        Holder::Household(id) => ("household", id.to_string()),
        Holder::Instruction => ("instruction", String::new()),
    };
    let (period, measure) = (key.period.code(), key.measure.code());
    let (instruction, start) = (&key.instruction, key.period_start);
    format!("{instruction} per {per} {holder} {period} {start} {measure}")
}

/// What a balance of points is called.
pub fn balance(recipient: RecipientId, benefit: &BenefitId) -> String {
    format!("{benefit} of {recipient}")
}

fn listed(recipient: &str, order: u64, at: Position) -> String {
    format!("{recipient}: record {}, the {order}th", place(at))
}

fn place(at: Position) -> String {
    format!("{}/{}", at.partition, at.offset)
}

fn used(at: Position, body: &[u8]) -> String {
    let body: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("record {} with body {body}", place(at))
}

fn part(key: &str) -> usize {
    usize::try_from(hash(key.as_bytes()) % PARTS as u128).unwrap_or(0)
}

fn add(sums: &mut BTreeMap<&'static str, Vec<u128>>, kind: &str, part: usize, what: u128) {
    if let Some(sum) = sums.get_mut(kind).and_then(|parts| parts.get_mut(part)) {
        *sum = sum.wrapping_add(what);
    }
}
