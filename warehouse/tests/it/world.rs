//! A warehouse in a folder of its own, or elsewhere, and rows that say only what a test is about.

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, json::ReaderBuilder};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use url::Url;
use warehouse::{
    metrics::Metrics,
    schema::{self, Kind},
    session::{Rows, Session, folder},
    table::{Positions, Table, delta::DeltaTable, upkeep::Upkeep},
};

pub struct World {
    pub folder: TempDir,
    pub url: Url,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = self::folder(folder.path()).unwrap();
        Self { folder, url }
    }

    /// A warehouse that is not in its folder.
    pub fn at(url: Url) -> Self {
        Self { url, ..Self::new() }
    }

    pub async fn table(&self, name: &str) -> DeltaTable {
        self.table_with(name, Upkeep::default()).await
    }

    pub async fn table_with(&self, name: &str, upkeep: Upkeep) -> DeltaTable {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let schema = schema::table(name).unwrap();
        DeltaTable::open_with(&self.url, schema, metrics, upkeep).await.unwrap()
    }

    /// Upkeep that is done whenever it is asked for.
    pub fn eager() -> Upkeep {
        let every = Duration::from_secs(1);
        Upkeep { every, vacuum_every: every, checkpoint_commits: 5, ..Upkeep::default() }
    }

    /// Lands rows in a table, as if its pipeline had read its one partition up to `next`.
    pub async fn land(&self, name: &str, next: i64, rows: &[Value]) {
        let positions = Positions::from([(format!("{name}/0"), next)]);
        self.table(name).await.commit(vec![batch(name, rows)], &positions).await.unwrap();
    }

    pub async fn session(&self) -> Session {
        Session::open(&self.url).await.unwrap()
    }

    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let nothing: Vec<(&str, datafusion::scalar::ScalarValue)> = Vec::new();
        cells(&self.session().await.query(sql, nothing).await.unwrap())
    }
}

/// Rows of a table; a column that is not said is empty where it may be, and plain where not.
pub fn batch(name: &str, rows: &[Value]) -> RecordBatch {
    let table = schema::table(name).unwrap();
    let mut reader = ReaderBuilder::new(table.arrow()).build_decoder().unwrap();
    let rows: Vec<Value> = rows.iter().map(|row| whole(table, row)).collect();
    reader.serialize(&rows).unwrap();
    let empty = RecordBatch::new_empty(table.arrow());
    reader.flush().unwrap().unwrap_or(empty)
}

fn whole(table: &schema::Table, said: &Value) -> Value {
    let said = said.as_object().unwrap();
    let mut row = Map::new();
    for column in table.columns {
        let plain = if column.optional { Value::Null } else { plain(column.kind) };
        row.insert(column.name.to_owned(), said.get(column.name).cloned().unwrap_or(plain));
    }
    let unknown = said.keys().find(|key| !row.contains_key(*key));
    assert_eq!(unknown, None, "{} has no such column", table.name);
    Value::Object(row)
}

fn plain(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!("x"),
        Kind::Integer | Kind::Long => json!(0),
        Kind::Flag => json!(false),
        Kind::Money => json!("0.00"),
        Kind::Quantity => json!("1.000"),
        Kind::Float => json!(0.0),
        Kind::Instant => json!("2025-01-10T10:00:00Z"),
        Kind::Day => json!("2025-01-10"),
    }
}

/// Every cell as text, row by row.
pub fn cells(rows: &Rows) -> Vec<Vec<String>> {
    use arrow::util::display::array_value_to_string;
    let mut cells = Vec::new();
    for batch in &rows.batches {
        for row in 0..batch.num_rows() {
            let columns = batch.columns().iter();
            cells.push(columns.map(|column| array_value_to_string(column, row).unwrap()).collect());
        }
    }
    cells
}

/// Rows that no table holds.
pub fn loose(batch: RecordBatch) -> Rows {
    Rows { schema: Arc::clone(&batch.schema()), batches: vec![batch] }
}
