//! What was published before: so that what has not changed stays as it is, and a count does not tell by
//! its difference of a few people.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type},
};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Meaning, Set};
use crate::{
    error::WarehouseError,
    export::unwritten,
    file::{self, checksum},
    report::FEWEST,
    session::Rows,
};

/// Where it is noted what was published, and when.
const NOTE: &str = ".published.json";
/// Where it is noted which counts were shown last, those of rows that show none now included.
const SHOWN: &str = ".shown.json";

/// Numbers by what tells the rows of a set from each other.
pub(super) type Counts = BTreeMap<Vec<String>, i64>;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Noted {
    checksum: String,
    modified: NaiveDate,
    /// When there was one for the first time; what noted none had it then at the latest.
    #[serde(default)]
    issued: Option<NaiveDate>,
}

/// A count that was shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Shown {
    key: Vec<String>,
    count: i64,
}

/// Since when a file is as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// When it was published for the first time.
    pub issued: NaiveDate,
    /// When its content last changed.
    pub modified: NaiveDate,
    /// Whether that is now.
    pub is_new: bool,
}

/// A folder with what was published into it before.
#[derive(Debug)]
pub(super) struct Previous {
    folder: PathBuf,
    noted: BTreeMap<String, Noted>,
    shown: BTreeMap<String, Counts>,
}

impl Previous {
    /// What a folder holds.
    pub(super) fn of(folder: &Path) -> Result<Self, WarehouseError> {
        let noted = note(&folder.join(NOTE))?;
        let shown: BTreeMap<String, Vec<Shown>> = note(&folder.join(SHOWN))?;
        let counts = |shown: Vec<Shown>| -> Counts {
            shown.into_iter().map(|of| (of.key, of.count)).collect()
        };
        let shown = shown.into_iter().map(|(set, shown)| (set, counts(shown))).collect();
        Ok(Self { folder: folder.to_owned(), noted, shown })
    }

    /// Writes a file unless it is there with the same content; answers since when it is as it is.
    pub(super) fn write(
        &mut self,
        name: &str,
        bytes: &[u8],
        today: NaiveDate,
    ) -> Result<Written, WarehouseError> {
        let (path, checksum) = (self.folder.join(name), checksum(bytes));
        let before = self.noted.get(name);
        let issued = before.map_or(today, |noted| noted.issued.unwrap_or(noted.modified));
        let is_there = before.is_some_and(|noted| noted.checksum == checksum)
            && fs::read(&path).is_ok_and(|there| there == bytes);
        let modified = before.filter(|_| is_there).map_or(today, |noted| noted.modified);
        if !is_there {
            file::write(&path, bytes)?;
        }
        let noted = Noted { checksum, modified, issued: Some(issued) };
        self.noted.insert(name.to_owned(), noted);
        Ok(Written { issued, modified, is_new: !is_there })
    }

    /// Notes what was published.
    pub(super) fn keep(&self) -> Result<(), WarehouseError> {
        let shown = |(key, count): (&Vec<String>, &i64)| Shown { key: key.clone(), count: *count };
        let shown =
            self.shown.iter().map(|(set, counts)| (set, counts.iter().map(shown).collect()));
        let shown: BTreeMap<&String, Vec<Shown>> = shown.collect();
        for (name, bytes) in [
            (NOTE, serde_json::to_vec_pretty(&self.noted)),
            (SHOWN, serde_json::to_vec_pretty(&shown)),
        ] {
            let bytes = bytes.map_err(|error| unwritten("open data", &error))?;
            let path = self.folder.join(name);
            if !fs::read(&path).is_ok_and(|there| there == bytes) {
                file::write(&path, &bytes)?;
            }
        }
        Ok(())
    }

    /// Rows whose counts about people stay as they were shown last, where fewer people than may be told
    /// of can have made the difference: `most` is how much one person counts for at most.
    pub(super) fn steadied(
        &mut self,
        set: &Set,
        rows: Rows,
        most: &Counts,
    ) -> Result<Rows, WarehouseError> {
        let count = set.columns.iter().find(|column| matches!(column.meaning, Meaning::People(_)));
        let Some(count) = count else { return Ok(rows) };
        let mut before = self.shown.remove(set.name).unwrap_or_default();
        before.extend(self.counts(set, count.name)?);
        let mut shown = before.clone();
        let Rows { schema, batches } = rows;
        let mut steady = Vec::with_capacity(batches.len());
        for batch in batches {
            let failed = |error: arrow::error::ArrowError| unwritten("open data", &error);
            let at = schema.index_of(count.name).map_err(failed)?;
            let now = cast(batch.column(at), &DataType::Int64).map_err(failed)?;
            let now = now.as_primitive::<Int64Type>();
            let keys = keys(set, &batch)?;
            let counts = now.iter().zip(&keys).map(|(now, key)| {
                let (now, before) = (now?, before.get(key).copied());
                let least = FEWEST.saturating_mul(most.get(key).copied().unwrap_or(1));
                Some(before.filter(|before| (before - now).abs() < least).unwrap_or(now))
            });
            let counts: Int64Array = counts.collect();
            shown.extend(keys.iter().zip(&counts).filter_map(|(key, is)| Some((key.clone(), is?))));
            let counts = cast(&counts, schema.field(at).data_type()).map_err(failed)?;
            let mut columns = batch.columns().to_vec();
            columns[at] = counts;
            steady.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(failed)?);
        }
        self.shown.insert(set.name.to_owned(), shown);
        Ok(Rows { schema, batches: steady })
    }

    /// The counts that were published, by what tells rows from each other.
    fn counts(&self, set: &Set, count: &str) -> Result<Counts, WarehouseError> {
        let path = self.folder.join(format!("{}.csv", set.name));
        let failed = |error: csv::Error| unwritten("open data", &error);
        // Only what was never published holds nothing back.
        if !path.exists() {
            return Ok(Counts::new());
        }
        let mut reader = csv::Reader::from_path(&path).map_err(failed)?;
        let header = reader.headers().map_err(failed)?.clone();
        let place = |name: &str| header.iter().position(|known| known == name);
        let key_places: Vec<_> = key_columns(set).filter_map(place).collect();
        let Some(count) = place(count) else { return Ok(Counts::new()) };
        let mut counts = Counts::new();
        for record in reader.records() {
            let record = record.map_err(failed)?;
            let cell = |at: usize| record.get(at).unwrap_or("").to_owned();
            if let Ok(value) = cell(count).parse() {
                counts.insert(key_places.iter().map(|at| cell(*at)).collect(), value);
            }
        }
        Ok(counts)
    }
}

/// What is noted in a file; nothing where there is none.
fn note<T: DeserializeOwned + Default>(path: &Path) -> Result<T, WarehouseError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unwritten("open data", &error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(unwritten("open data", &error)),
    }
}

/// How much one person counts for at most, by row, as a query tells.
pub(super) fn most(set: &Set, rows: &Rows) -> Result<Counts, WarehouseError> {
    let mut most = Counts::new();
    for batch in &rows.batches {
        let failed = |error: &dyn std::fmt::Display| unwritten("open data", error);
        let found = batch.column_by_name("most").ok_or_else(|| failed(&"most is missing"))?;
        let found = cast(found, &DataType::Int64).map_err(|error| failed(&error))?;
        let found = found.as_primitive::<Int64Type>();
        let rows = keys(set, batch)?.into_iter().zip(found.iter());
        most.extend(rows.filter_map(|(key, most)| Some((key, most?))));
    }
    Ok(most)
}

fn key_columns(set: &Set) -> impl Iterator<Item = &'static str> {
    let keys = set
        .columns
        .iter()
        .filter(|column| matches!(column.meaning, Meaning::Key(_) | Meaning::Month(_)));
    keys.map(|column| column.name)
}

fn keys(set: &Set, batch: &RecordBatch) -> Result<Vec<Vec<String>>, WarehouseError> {
    let columns = key_columns(set).map(|name| {
        let found = batch.column_by_name(name);
        let found = found.ok_or_else(|| unwritten("open data", &format!("{name} is missing")))?;
        cast(found, &DataType::Utf8).map_err(|error| unwritten("open data", &error))
    });
    let columns = columns.collect::<Result<Vec<_>, WarehouseError>>()?;
    let key = |row: usize| {
        let texts = columns.iter().map(|column| {
            let there = !column.is_null(row);
            if there { column.as_string::<i32>().value(row).to_owned() } else { String::new() }
        });
        texts.collect()
    };
    Ok((0..batch.num_rows()).map(key).collect())
}
