//! Where tables over one stream agree, so that a query sees all of them at one set of offsets.
//!
//! Each table is computed at its own pace. Of the tables of a stream the least offsets that all have
//! reached are taken, and what a table has beyond them is not seen yet: that waits for nobody and asks
//! nobody, and where all are equally far it costs nothing. Rows that say which record they are of are
//! cut off at the record. Those of windows do not: of these is seen what had been appended by then,
//! which is exact, since all tables are given the same batches of the stream in the same order; only
//! what has landed already cannot be taken apart.
//!
//! **Rule:** nobody waits for a table that is far behind the foremost of its stream, as one that
//! is made again is, nor for an operator's own. They stand where they stand, and are not cut off.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Int32Type, Int64Type},
};

use super::{Kept, Seen, Tail, Tails, locked};
use crate::{schema, table::Positions};

/// Records behind the foremost table of a stream from which on nobody waits for one. The runner lets
/// such a table catch up by itself; those that it runs together are a few batches apart.
pub const FAR: i64 = 65_536;

/// A table as its tail has it at an instant.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) table: &'static schema::Table,
    pub(super) version: Option<u64>,
    pub(super) rows: Vec<Kept>,
    /// Up to where version and rows together reach.
    pub(super) positions: Positions,
    /// Up to where the version alone reaches, as far as that is known.
    pub(super) landed: Positions,
}

/// Where the tables of one stream stand.
#[derive(Debug, Default)]
struct Stream {
    /// The next offsets of each table, by partition.
    tables: BTreeMap<&'static str, Vec<i64>>,
}

impl Tails {
    /// What queries see of every table that is written here, now.
    pub(crate) fn seen(&self) -> BTreeMap<&'static str, Seen> {
        let tails: Vec<Tail> = locked(&self.all).tails.values().cloned().collect();
        // They are looked at one after the other: whoever came further meanwhile is cut off.
        let standing: Vec<Standing> = tails.iter().map(Tail::standing).collect();
        let mut streams: BTreeMap<&str, Stream> = BTreeMap::new();
        for of in &standing {
            let next = next_of(of.table, &of.positions);
            if let (Some(stream), false) = (of.table.stream(), next.is_empty()) {
                streams.entry(stream).or_default().tables.insert(of.table.name, next);
            }
        }
        let mut cuts = BTreeMap::new();
        for stream in streams.values() {
            stream.cut(&mut cuts);
        }
        let seen = |of: Standing| (of.table.name, of.seen(&cuts));
        standing.into_iter().map(seen).collect()
    }
}

impl Stream {
    /// Notes where those of its tables are cut off that are further than all of them.
    fn cut(&self, cuts: &mut BTreeMap<&'static str, Arc<[i64]>>) {
        let partitions = self.tables.values().map(Vec::len).max().unwrap_or(0);
        let foremost =
            (0..partitions).map(|of| self.tables.values().map(|next| at(next, of)).max());
        let foremost: Vec<i64> = foremost.map(Option::unwrap_or_default).collect();
        let is_near = |next: &[i64]| {
            let behind = foremost.iter().enumerate();
            let behind = behind.map(|(of, foremost)| foremost.saturating_sub(at(next, of)));
            behind.fold(0_i64, i64::saturating_add) <= FAR
        };
        let near: Vec<_> =
            self.tables.iter().filter(|(_, next)| is_near(next.as_slice())).collect();
        let common = (0..partitions).map(|of| near.iter().map(|(_, next)| at(next, of)).min());
        let common: Arc<[i64]> = common.map(Option::unwrap_or_default).collect();
        for (table, next) in near {
            if common.iter().enumerate().any(|(of, common)| at(next, of) > *common) {
                cuts.insert(*table, Arc::clone(&common));
            }
        }
    }
}

impl Standing {
    fn seen(self, cuts: &BTreeMap<&'static str, Arc<[i64]>>) -> Seen {
        let Self { table, version, rows, mut positions, landed } = self;
        let Some(common) = cuts.get(table.name) else {
            let rows = rows.into_iter().map(|kept| kept.batch).collect();
            return Seen { version, rows, positions, before: None };
        };
        let names: Vec<String> =
            (0..common.len()).map(|partition| format!("{}/{partition}", table.name)).collect();
        // What has not said where it stands in a partition may be anywhere.
        let is_within = |reached: &Positions| {
            let mut each = names.iter().zip(common.iter());
            each.all(|(name, next)| reached.get(name).is_some_and(|reached| reached <= next))
        };
        let cut = |kept: Kept| match is_within(&kept.reached) {
            true => Some(kept.batch),
            false => before(&kept.batch, common),
        };
        let rows = rows.into_iter().filter_map(cut).collect();
        let is_beyond = table.is_placed() && !is_within(&landed);
        positions.extend(names.iter().cloned().zip(common.iter().copied()));
        Seen { version, rows, positions, before: is_beyond.then(|| Arc::clone(common)) }
    }
}

/// The next offset of a partition; a table that has not said it has read nothing there.
fn at(next: &[i64], partition: usize) -> i64 {
    next.get(partition).copied().unwrap_or(0)
}

/// The next offsets of a table by partition; none where nobody has said any.
fn next_of(table: &schema::Table, positions: &Positions) -> Vec<i64> {
    let mut next = Vec::new();
    for (application, reached) in positions {
        let partition = application.strip_prefix(table.name).and_then(|of| of.strip_prefix('/'));
        let Some(partition) = partition.and_then(|of| of.parse::<u16>().ok()) else { continue };
        let partition = usize::from(partition);
        if next.len() <= partition {
            next.resize(partition + 1, 0);
        }
        next[partition] = *reached;
    }
    next
}

/// The rows of records before some offsets; nothing where rows do not say which record they are of.
fn before(batch: &RecordBatch, next: &[i64]) -> Option<RecordBatch> {
    let partitions = batch.column_by_name("source_partition")?.as_primitive_opt::<Int32Type>()?;
    let offsets = batch.column_by_name("source_offset")?.as_primitive_opt::<Int64Type>()?;
    let is_before = |(partition, offset): (&i32, &i64)| {
        let partition = usize::try_from(*partition).ok();
        partition.and_then(|of| next.get(of)).is_some_and(|next| offset < next)
    };
    let kept: Vec<bool> =
        partitions.values().iter().zip(offsets.values().iter()).map(is_before).collect();
    let rows = filter_record_batch(batch, &BooleanArray::from(kept)).ok()?;
    (rows.num_rows() > 0).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts<const N: usize>(tables: [(&'static str, &[i64]); N]) -> Vec<(&'static str, Vec<i64>)> {
        let tables = tables.into_iter().map(|(table, next)| (table, next.to_vec())).collect();
        let mut cuts = BTreeMap::new();
        Stream { tables }.cut(&mut cuts);
        cuts.into_iter().map(|(table, next)| (table, next.to_vec())).collect()
    }

    #[test]
    fn tables_are_cut_off_at_the_least_that_all_have_reached() {
        assert_eq!(cuts([("a", &[7, 3]), ("b", &[7, 3])]), []);
        assert_eq!(cuts([("a", &[7, 3])]), []);
        let both = vec![("a", vec![5, 3]), ("b", vec![5, 3])];
        assert_eq!(cuts([("a", &[7, 3]), ("b", &[5, 4]), ("c", &[5, 3])]), both);
        // What is not said has not been read.
        assert_eq!(cuts([("a", &[7, 3]), ("b", &[7])]), [("a", vec![7, 0])]);
    }

    #[test]
    fn nobody_waits_for_a_table_that_is_far_behind() {
        let near = [("a", vec![60_000, 5_536])];
        assert_eq!(cuts([("a", &[60_000, 71_072]), ("b", &[60_000, 5_536])]), near);
        assert_eq!(cuts([("a", &[60_001, 71_072]), ("b", &[60_000, 5_536])]), []);
    }

    #[test]
    fn a_table_says_where_it_stands_partition_by_partition() {
        let table = schema::table("means").expect("a table");
        let said = |said: &[(&str, i64)]| {
            let said = said.iter().map(|(name, next)| ((*name).to_owned(), *next));
            next_of(table, &said.collect())
        };
        assert_eq!(said(&[("means/0", 4), ("means/2", 6), ("means/state", 9)]), [4, 0, 6]);
        assert!(said(&[("meanses/0", 4), ("means/topic/0", 5), ("means/99999", 1)]).is_empty());
    }
}
