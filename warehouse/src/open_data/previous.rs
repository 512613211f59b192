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
use serde::{Deserialize, Serialize};

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

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Noted {
    checksum: String,
    modified: NaiveDate,
}

/// A folder with what was published into it before.
#[derive(Debug)]
pub(super) struct Previous {
    folder: PathBuf,
    noted: BTreeMap<String, Noted>,
}

impl Previous {
    /// What a folder holds.
    pub(super) fn of(folder: &Path) -> Result<Self, WarehouseError> {
        let path = folder.join(NOTE);
        let noted = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| unwritten("open data", &error))?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(unwritten("open data", &error)),
        };
        Ok(Self { folder: folder.to_owned(), noted })
    }

    /// Writes a file unless it is there with the same content; answers since when it is as it is, and
    /// whether that is now.
    pub(super) fn write(
        &mut self,
        name: &str,
        bytes: &[u8],
        today: NaiveDate,
    ) -> Result<(NaiveDate, bool), WarehouseError> {
        let (path, checksum) = (self.folder.join(name), checksum(bytes));
        if let Some(noted) = self.noted.get(name)
            && noted.checksum == checksum
            && fs::read(&path).is_ok_and(|there| there == bytes)
        {
            return Ok((noted.modified, false));
        }
        file::write(&path, bytes)?;
        self.noted.insert(name.to_owned(), Noted { checksum, modified: today });
        Ok((today, true))
    }

    /// Notes what was published.
    pub(super) fn keep(&self) -> Result<(), WarehouseError> {
        let bytes = serde_json::to_vec_pretty(&self.noted);
        let bytes = bytes.map_err(|error| unwritten("open data", &error))?;
        let path = self.folder.join(NOTE);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        file::write(&path, &bytes)
    }

    /// Rows whose counts about people stay as they were published, where they have changed by fewer
    /// people than may be told of.
    pub(super) fn steadied(&self, set: &Set, rows: Rows) -> Result<Rows, WarehouseError> {
        let count = set.columns.iter().find(|column| matches!(column.meaning, Meaning::People(_)));
        let Some(count) = count else { return Ok(rows) };
        let before = self.counts(set, count.name)?;
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
                Some(before.filter(|before| (before - now).abs() < FEWEST).unwrap_or(now))
            });
            let counts: Int64Array = counts.collect();
            let counts = cast(&counts, schema.field(at).data_type()).map_err(failed)?;
            let mut columns = batch.columns().to_vec();
            columns[at] = counts;
            steady.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(failed)?);
        }
        Ok(Rows { schema, batches: steady })
    }

    /// The counts that were published, by what tells rows from each other.
    fn counts(&self, set: &Set, count: &str) -> Result<BTreeMap<Vec<String>, i64>, WarehouseError> {
        let path = self.folder.join(format!("{}.csv", set.name));
        let failed = |error: csv::Error| unwritten("open data", &error);
        // Only what was never published holds nothing back.
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        let mut reader = csv::Reader::from_path(&path).map_err(failed)?;
        let header = reader.headers().map_err(failed)?.clone();
        let place = |name: &str| header.iter().position(|known| known == name);
        let key_places: Vec<_> = key_columns(set).filter_map(place).collect();
        let Some(count) = place(count) else { return Ok(BTreeMap::new()) };
        let mut counts = BTreeMap::new();
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
