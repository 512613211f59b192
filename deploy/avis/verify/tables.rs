//! Tables against the stream that they follow from.
//!
//! Every row says which record it is of, so rows are compared by parts of a thousand offsets: each side
//! is a sum of hashes of rows, in which a row that is twice there counts twice. Only of parts whose sums
//! differ the rows are put beside each other. What a table says that it has not read yet is no drift.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use futures::StreamExt;
use indicatif::ProgressBar;
use ingest::{log::Log, record::Stored, topic::Topic};
use warehouse::{
    schema::{self, Table},
    session::Session,
};

use super::{
    expect,
    findings::{Findings, NOTHING},
    hash,
    name::{differ, identity, whole},
    row::{Columns, Row},
};
use crate::failure::Failure;

/// Offsets of one part.
const PART: u64 = 1_024;
/// Parts whose rows are looked at together, which bounds the memory.
const TOGETHER: usize = 32;
/// Times that a table is read again for them.
const TIMES: usize = 8;

/// Where a part begins: the partition, and the part's number in it.
type Part = (u32, u64);

/// Both sides of a part.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    expected: u128,
    found: u128,
}

/// One table, and how far it has read its stream.
#[derive(Debug)]
struct Side {
    table: &'static Table,
    next: Vec<u64>,
    /// The first local day that is compared, in days since 1970: those before may have gone.
    from_day: Option<i64>,
    parts: HashMap<Part, Sums>,
    expected: u64,
    found: u64,
    not_landed: u64,
}

/// The tables of one stream.
#[derive(Debug)]
pub struct Tables {
    topic: Topic,
    sides: Vec<Side>,
    /// Of each partition the runs of offsets that the stream has.
    there: Vec<Vec<(u64, u64)>>,
    row: Row,
}

impl Tables {
    /// The tables of a stream as a session has them; `keeps` says of a table from which day on it has
    /// its rows.
    ///
    /// # Errors
    /// Where a table cannot be read.
    pub async fn open(
        session: &Session,
        (topic, names): (Topic, &[&'static str]),
        partitions: u32,
        keeps: impl Fn(&str) -> Option<i64>,
    ) -> Result<Self, Failure> {
        let mut sides = Vec::new();
        for name in names {
            let table = schema::table(name)
                .ok_or_else(|| Failure::NoTable { pipeline: (*name).to_owned() })?;
            sides.push(Side {
                table,
                next: positions(session, table, partitions).await?,
                from_day: keeps(name).filter(|_| table.by_date),
                parts: HashMap::new(),
                expected: 0,
                found: 0,
                not_landed: 0,
            });
        }
        let there = vec![Vec::new(); partitions as usize];
        Ok(Self { topic, sides, there, row: Row::default() })
    }

    /// Takes a record of the stream, in the order of its partition.
    pub fn take(&mut self, stored: &Stored) {
        let (partition, offset) = (stored.position.partition, stored.position.offset);
        if let Some(runs) = self.there.get_mut(partition as usize) {
            match runs.last_mut() {
                Some((_, end)) if *end == offset => *end += 1,
                _ => runs.push((offset, offset + 1)),
            }
        }
        let Self { sides, row, .. } = self;
        expect::rows(stored, row, &mut |name, bytes| {
            let Some(side) = sides.iter_mut().find(|side| side.table.name == name) else { return };
            if side.has_read(partition, offset) {
                side.expect(partition, offset, bytes);
            } else {
                side.not_landed += 1;
            }
        });
    }

    /// Reads the tables, and names what drifts.
    ///
    /// # Errors
    /// Where a table or the stream cannot be read.
    pub async fn compare(
        mut self,
        log: &Arc<dyn Log>,
        session: &Session,
        bar: &ProgressBar,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        for mut side in std::mem::take(&mut self.sides) {
            let name = side.table.name;
            let mut beyond = Vec::new();
            let scanned = scan(session, side.table, |partition, offset, bytes| {
                bar.inc(1);
                if !side.has_read(partition, offset) {
                    // A table that says it has not read a record has no row of it.
                    beyond.push(bytes.to_vec());
                } else if is_there(&self.there, partition, offset) {
                    side.find(partition, offset, bytes);
                }
            });
            if let Err(error) = scanned.await {
                findings.drift(name, "the table".into(), "readable", error.to_string());
                continue;
            }
            for bytes in beyond {
                findings.drift(
                    name,
                    identity(side.table, &bytes),
                    NOTHING,
                    whole(side.table, &bytes),
                );
            }
            findings.compared(name, side.expected, side.found);
            if side.not_landed > 0 {
                let text = format!("{name}: {} rows have not landed yet", side.not_landed);
                findings.notes.push(text);
            }
            self.name(log, session, &side, findings).await?;
        }
        Ok(())
    }

    /// Names the rows of the parts whose sums differ.
    async fn name(
        &self,
        log: &Arc<dyn Log>,
        session: &Session,
        side: &Side,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let differ = side.parts.iter().filter(|(_, sums)| sums.expected != sums.found);
        let differ: BTreeSet<Part> = differ.map(|(part, _)| *part).collect();
        let all: Vec<Part> = differ.into_iter().collect();
        for parts in all.chunks(TOGETHER).take(TIMES) {
            let parts: BTreeSet<Part> = parts.iter().copied().collect();
            let mut rows = self.expected(log, side, &parts).await?;
            scan(session, side.table, |partition, offset, bytes| {
                let looked_at = parts.contains(&(partition, offset / PART))
                    && side.has_read(partition, offset)
                    && is_there(&self.there, partition, offset)
                    && side.is_kept(bytes);
                if looked_at {
                    *rows.entry(bytes.to_vec()).or_default() -= 1;
                }
            })
            .await?;
            rows.retain(|_, count| *count != 0);
            told(side.table, &rows, findings);
        }
        let left = all.len().saturating_sub(TOGETHER * TIMES);
        if left > 0 {
            let name = side.table.name;
            let text = format!(
                "{name}: {left} more parts of {PART} offsets differ; make the table again with \
                 `avis pipelines restart {name}`"
            );
            findings.unnamed(name, left as u64, text);
        }
        Ok(())
    }

    /// The rows of some parts that there have to be, each with how often.
    async fn expected(
        &self,
        log: &Arc<dyn Log>,
        side: &Side,
        parts: &BTreeSet<Part>,
    ) -> Result<BTreeMap<Vec<u8>, i64>, Failure> {
        let (mut rows, mut row) = (BTreeMap::new(), Row::default());
        for (partition, part) in parts {
            let from = (part * PART).max(log.start(self.topic, *partition)?);
            let most = usize::try_from(PART).unwrap_or(usize::MAX);
            for stored in log.read(self.topic, *partition, from, most).await? {
                let offset = stored.position.offset;
                if offset / PART != *part || !side.has_read(*partition, offset) {
                    continue;
                }
                expect::rows(&stored, &mut row, &mut |name, bytes| {
                    if name == side.table.name && side.is_kept(bytes) {
                        *rows.entry(bytes.to_vec()).or_default() += 1;
                    }
                });
            }
        }
        Ok(rows)
    }
}

impl Side {
    fn has_read(&self, partition: u32, offset: u64) -> bool {
        self.next.get(partition as usize).is_some_and(|next| offset < *next)
    }

    /// Whether a row is of a day that is compared.
    fn is_kept(&self, bytes: &[u8]) -> bool {
        // The day is the last column, a number of eight bytes.
        let day = bytes.last_chunk().map(|day| i64::from_le_bytes(*day));
        self.from_day.is_none_or(|from| day.is_some_and(|day| day >= from))
    }

    fn expect(&mut self, partition: u32, offset: u64, bytes: &[u8]) {
        if self.is_kept(bytes) {
            self.expected += 1;
            let sums = self.parts.entry((partition, offset / PART)).or_default();
            sums.expected = sums.expected.wrapping_add(hash(bytes));
        }
    }

    fn find(&mut self, partition: u32, offset: u64, bytes: &[u8]) {
        if self.is_kept(bytes) {
            self.found += 1;
            let sums = self.parts.entry((partition, offset / PART)).or_default();
            sums.found = sums.found.wrapping_add(hash(bytes));
        }
    }
}

fn is_there(there: &[Vec<(u64, u64)>], partition: u32, offset: u64) -> bool {
    let Some(runs) = there.get(partition as usize) else { return false };
    let after = runs.partition_point(|(start, _)| *start <= offset);
    after > 0 && runs.get(after - 1).is_some_and(|(_, end)| offset < *end)
}

/// Up to where a table has read its stream, by partition.
///
/// # Errors
/// Where the table's log cannot be read.
pub async fn positions(
    session: &Session,
    table: &'static Table,
    partitions: u32,
) -> Result<Vec<u64>, Failure> {
    let found = session.positions(table.name, table.name, partitions as usize).await?;
    let next = (0..partitions).map(|partition| {
        let next = found.get(&format!("{}/{partition}", table.name)).copied().unwrap_or(0);
        u64::try_from(next).unwrap_or(0)
    });
    Ok(next.collect())
}

/// Tells every row of a table: the partition and offset of its record, and its bytes.
///
/// # Errors
/// Where the table cannot be read.
pub async fn scan(
    session: &Session,
    table: &'static Table,
    mut each: impl FnMut(u32, u64, &[u8]),
) -> Result<(), Failure> {
    let unreadable = |reason: String| {
        Failure::Warehouse(warehouse::error::WarehouseError::Rows { table: table.name, reason })
    };
    let place_of = |name| table.columns.iter().position(|column| column.name == name);
    let (partition_at, offset_at) = (place_of("source_partition"), place_of("source_offset"));
    let mut batches = session.scan(table.name).await?;
    let mut row = Row::default();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let columns = Columns::of(&batch, table).map_err(|error| unreadable(error.to_string()))?;
        for at in 0..batch.num_rows() {
            columns.write(at, row.begin());
            let partition = columns.number(partition_at, at).and_then(|of| u32::try_from(of).ok());
            let offset = columns.number(offset_at, at).and_then(|of| u64::try_from(of).ok());
            each(partition.unwrap_or(u32::MAX), offset.unwrap_or(u64::MAX), row.bytes());
        }
    }
    Ok(())
}

/// Names rows that are missing (more than none) or should not be there (fewer); what is both under one
/// identity differs.
pub fn told(table: &'static Table, rows: &BTreeMap<Vec<u8>, i64>, findings: &mut Findings) {
    let mut by_identity: BTreeMap<String, [Vec<&[u8]>; 2]> = BTreeMap::new();
    for (bytes, count) in rows {
        let [missing, extra] = by_identity.entry(identity(table, bytes)).or_default();
        let side = if *count > 0 { missing } else { extra };
        side.extend((0..count.unsigned_abs()).map(|_| bytes.as_slice()));
    }
    for (key, [missing, extra]) in by_identity {
        for at in 0..missing.len().max(extra.len()) {
            let key = key.clone();
            match (missing.get(at), extra.get(at)) {
                (Some(missing), Some(extra)) => {
                    let (expected, found) = differ(table, missing, extra);
                    findings.drift(table.name, key, expected, found);
                }
                (Some(missing), None) => {
                    findings.drift(table.name, key, whole(table, missing), NOTHING);
                }
                (None, Some(extra)) => {
                    findings.drift(table.name, key, NOTHING, whole(table, extra));
                }
                (None, None) => {}
            }
        }
    }
}
