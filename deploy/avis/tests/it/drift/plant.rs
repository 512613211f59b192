//! Drifts put into a copy on purpose: rows removed, doubled or changed by one, in tables, in the index,
//! among the keys and in the files of finance.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{
        ArrowPrimitiveType, Date32Type, Decimal128Type, Int32Type, Int64Type,
        TimestampMicrosecondType,
    },
};
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use warehouse::{
    metrics::Metrics,
    schema::{self, Kind},
    session::{self, Session},
    table::{Table, delta::DeltaTable},
};

/// A drift, and what has to be told of it.
#[derive(Debug)]
pub struct Plant {
    /// Where it is.
    pub store: String,
    /// What its name has in it.
    pub key: String,
    /// How many drifts may be told of it: a row that changes what it is called by is missing, and is one too many.
    pub most: usize,
    /// What was done.
    #[allow(dead_code, reason = "told where a test fails")]
    what: String,
}

/// Numbers that are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).expect("it is below")
    }
}

const TABLES: &[&str] = &[
    "authorisations",
    "authorisation_events",
    "benefit_lines",
    "transaction_lines",
    "points_entries",
    "persons",
    "entitlements",
    "means",
    "services",
    "official_availability",
    "portal_usage",
    "calls",
    "usage_by_minute",
    "settlement_statements",
    "settlement_lines",
    "registry_contracts",
    "registry_limits",
    "registry_catalogue",
];
const INDEX: &[&str] = &["keys", "held", "counters", "points", "recipients"];

/// Plants so many drifts, each in another store.
pub fn plant(folder: &Path, random: &mut Random, count: usize) -> Vec<Plant> {
    let mut plants: Vec<Plant> = Vec::new();
    let mut used = BTreeSet::new();
    while plants.len() < count {
        let at = random.below(TABLES.len() + INDEX.len() + 2);
        if !used.insert(at) {
            continue;
        }
        let others = at.checked_sub(TABLES.len());
        let planted = match others.map(|other| (other, INDEX.get(other))) {
            None => in_table(folder, TABLES[at], random),
            Some((_, Some(part))) => in_index(folder, part, random),
            Some((other, None)) if other == INDEX.len() => in_files(folder, random),
            Some(_) => in_keys(folder),
        };
        plants.extend(planted);
    }
    plants
}

/// Rewrites a table with one row removed, doubled or changed; none where it has no row.
fn in_table(folder: &Path, name: &str, random: &mut Random) -> Option<Plant> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let table = schema::table(name).expect("a table");
        let root = session::folder(&folder.join("warehouse")).expect("an address");
        let session = Session::open(&root).await.expect("a session");
        let rows = session.whole(table.name).await.expect("its rows");
        let rows = concat_batches(&rows.schema, &rows.batches).expect("one batch");
        let positions = session.positions(table.name, table.name, 4).await.expect("positions");
        if rows.num_rows() == 0 {
            return None;
        }
        let row = random.below(rows.num_rows());
        let key = named(&rows, row, name);
        let all = 0..u32::try_from(rows.num_rows()).expect("few rows");
        let take =
            |places: Vec<u32>| take_record_batch(&rows, &UInt32Array::from(places)).expect("taken");
        let here = u32::try_from(row).expect("few rows");
        let (changed, most, what) = match random.below(3) {
            0 => (take(all.filter(|at| *at != here).collect()), 1, "removed".to_owned()),
            1 => (take(all.chain([here]).collect()), 1, "doubled".to_owned()),
            _ => {
                let column = some_column(&rows, row, table, random)?;
                (moved(&rows, row, column), 2, format!("{column} moved by one"))
            }
        };
        std::fs::remove_dir_all(folder.join("warehouse").join(name)).expect("removed");
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
        let written = DeltaTable::open(&root, table, metrics).await.expect("a table");
        written.commit(vec![changed], &positions).await.expect("committed");
        Some(Plant { store: name.to_owned(), key, most, what })
    })
}

/// How the row has to be called: by the record that it is of, or as a minute.
fn named(rows: &RecordBatch, row: usize, name: &str) -> String {
    if name == "usage_by_minute" {
        let places = rows.column_by_name("place_id").expect("a place").as_string::<i32>();
        return format!("at {} (", places.value(row));
    }
    if name == "calls" {
        let calls = rows.column_by_name("call_id").expect("a call").as_string::<i32>();
        return format!("call_id {}", calls.value(row));
    }
    let partition = rows.column_by_name("source_partition").expect("a partition");
    let offset = rows.column_by_name("source_offset").expect("an offset");
    let partition = partition.as_primitive::<Int32Type>().value(row);
    format!("record {partition}/{}", offset.as_primitive::<Int64Type>().value(row))
}

/// A column with a number of some kind in the row.
fn some_column(
    rows: &RecordBatch,
    row: usize,
    table: &'static schema::Table,
    random: &mut Random,
) -> Option<&'static str> {
    let numbers =
        [Kind::Money, Kind::Long, Kind::Integer, Kind::Quantity, Kind::Instant, Kind::Day];
    let columns = table.columns.iter().filter(|column| {
        let there = rows.column_by_name(column.name).is_some_and(|of| of.is_valid(row));
        let place = ["source_partition", "source_offset", "date"].contains(&column.name);
        there && !place && numbers.contains(&column.kind)
    });
    let columns: Vec<_> = columns.map(|column| column.name).collect();
    columns.get(random.below(columns.len())).copied()
}

/// The rows with a cent, a microsecond, a day or one more in one of them.
fn moved(rows: &RecordBatch, row: usize, column: &str) -> RecordBatch {
    let place = rows.schema().index_of(column).expect("the column");
    let mut columns = rows.columns().to_vec();
    let old = rows.column(place);
    columns[place] = match old.data_type() {
        arrow::datatypes::DataType::Int32 => one_more::<Int32Type>(old, row),
        arrow::datatypes::DataType::Int64 => one_more::<Int64Type>(old, row),
        arrow::datatypes::DataType::Date32 => one_more::<Date32Type>(old, row),
        arrow::datatypes::DataType::Timestamp(..) => one_more::<TimestampMicrosecondType>(old, row),
        _ => one_more::<Decimal128Type>(old, row),
    };
    RecordBatch::try_new(rows.schema(), columns).expect("the same columns")
}

fn one_more<T: ArrowPrimitiveType>(old: &ArrayRef, row: usize) -> ArrayRef
where
    T::Native: std::ops::Add<Output = T::Native> + From<bool>,
{
    let values = old.as_primitive::<T>();
    let moved = values.iter().enumerate().map(|(at, value)| {
        value.map(|value| if at == row { value + T::Native::from(true) } else { value })
    });
    let moved: PrimitiveArray<T> = moved.collect();
    Arc::new(moved.with_data_type(old.data_type().clone()))
}

/// Changes, removes or makes up a row of the index.
fn in_index(folder: &Path, part: &str, random: &mut Random) -> Option<Plant> {
    let database = Database::builder(folder.join("index")).open().expect("the index");
    let rows = database.keyspace(part, KeyspaceCreateOptions::default).expect("its rows");
    let store = format!("index {part}");
    let planted = |key: &str, most: usize, what: &str| {
        let (store, key, what) = (store.clone(), key.to_owned(), what.to_owned());
        Some(Plant { store, key, most, what })
    };
    if part == "held" {
        rows.insert(7_u128.to_be_bytes(), 8_i64.to_be_bytes()).expect("planted");
        database.persist(PersistMode::SyncAll).expect("synced");
        return planted("", 1, "made up");
    }
    let all: Vec<_> = rows.iter().map(|row| row.into_inner().expect("a row")).collect();
    let (key, value) = all.get(random.below(all.len()))?;
    // A sum of nothing may be there or not.
    let is_sum = matches!(part, "counters" | "points");
    let is_nothing = is_sum && value.iter().all(|byte| *byte == 0);
    let sum = <[u8; 8]>::try_from(&value[..]).map(i64::from_be_bytes);
    let what = match (is_sum, random.below(2)) {
        (true, 0) => {
            let more = sum.expect("a sum") + 1;
            rows.insert(key.clone(), more.to_be_bytes()).expect("planted");
            "one more"
        }
        _ if is_nothing => {
            rows.insert(key.clone(), 1_i64.to_be_bytes()).expect("planted");
            "one instead of none"
        }
        _ => {
            rows.remove(key.clone()).expect("planted");
            "removed"
        }
    };
    database.persist(PersistMode::SyncAll).expect("synced");
    planted("", 1, what)
}

/// Changes a byte of a file of finance.
fn in_files(folder: &Path, random: &mut Random) -> Option<Plant> {
    let files = std::fs::read_dir(folder.join("settlements")).expect("files");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    // Drafts of open months are nobody's, and orders that were refused since are told by newer ones.
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.contains("2025-01")
    });
    files.sort();
    let file = files.get(random.below(files.len()))?;
    let mut bytes = std::fs::read(file).expect("read");
    let at = random.below(bytes.len());
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("written");
    let key = file.file_name()?.to_string_lossy().into_owned();
    let (store, what) = ("files of finance".to_owned(), format!("byte {at}"));
    Some(Plant { store, key, most: 1, what })
}

/// Loses somebody's key.
fn in_keys(folder: &Path) -> Option<Plant> {
    let path = folder.join("keys/vault");
    let mut bytes = std::fs::read(&path).expect("the keys");
    // Slots of 72 bytes, the last of which says whether there is a key; the first is the node's.
    let state = bytes.chunks_exact_mut(72).skip(1).map(|slot| &mut slot[71]).find(|of| **of == 1);
    *state? = 2;
    std::fs::write(path, bytes).expect("planted");
    let (store, what) = ("keys".to_owned(), "lost".to_owned());
    Some(Plant { store, key: String::new(), most: 1, what })
}
