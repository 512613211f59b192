//! Windows over rows of a Parquet file, beside DuckDB and Polars that group the same file at once and
//! have to answer the same; and what a row of overlapping windows costs as they become wider.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use pipelines::{dataflow::Flow, pipeline::Pipeline, planner};

use crate::{answers, peers, sales};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rows of the file; `AVIS_BENCH_ROWS` says otherwise.
const ROWS: u64 = 20_000_000;
const AT_ONCE: usize = 8_192;
const PER_SECOND: u64 = 1_000;
const HOP_ROWS: u64 = 2_000_000;

const QUERY: &str = include_str!("windows/sales.sql");
/// What it answers.
const COLUMNS: [&str; 4] = ["begins", "merchant_id", "sales", "cents"];

/// Prints a row for each peer, and one for each width.
pub async fn measure() -> Result<()> {
    let rows = std::env::var("AVIS_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: u64 = rows.unwrap_or(ROWS);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sales.parquet");
    write(&path, rows)?;
    let tumble = QUERY.replace("{window}", "TUMBLE(INTERVAL '1 minute')");
    let (made, took) = run(&tumble, batches(&path)?).await?;
    let made = made.iter().map(answered).collect::<std::result::Result<Vec<_>, _>>()?;
    let ours = answers::rows(&made)?;
    let rate = rows as f64 / took.as_secs_f64();
    let what = format!("tumble of a minute, {rows} rows into {}", ours.len());
    for other in ["duckdb", "polars"] {
        let answer = folder.path().join(other).with_extension("ndjson");
        let seconds = peers::seconds(&format!("windows_{other}"), &[&path, &answer])?;
        answers::agree(&what, &ours, other, &answer)?;
        crate::row(&what, rate, other, rows as f64 / seconds);
    }
    // What the file alone costs, which is part of all three.
    let started = Instant::now();
    let read: usize = batches(&path)?.map(|batch| batch.map_or(0, |batch| batch.num_rows())).sum();
    let reading = started.elapsed();
    crate::say(format!("|   of which {reading:?} to read {read} rows | | | | |"));
    let mut first = None;
    for width in [10, 100, 1_000] {
        let hop = format!("HOP(INTERVAL '1 second', INTERVAL '{width} seconds')");
        let query = QUERY.replace("{window}", &hop);
        let batches = batches(&path)?.take((HOP_ROWS as usize).div_ceil(AT_ONCE));
        let (made, took) = run(&query, batches).await?;
        let windows: usize = made.iter().map(RecordBatch::num_rows).sum();
        let rate = HOP_ROWS.min(rows) as f64 / took.as_secs_f64();
        let before = *first.get_or_insert(rate);
        let what = format!("hop, width of {width} slides, {windows} rows out");
        crate::row(&what, rate, "width of 10 slides", before);
    }
    Ok(())
}

fn schema() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("event_time", instant, false),
        Field::new("merchant_id", DataType::Utf8, false),
        Field::new("cents", DataType::Int64, false),
    ]))
}

fn write(path: &Path, rows: u64) -> Result<()> {
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path)?, schema(), None)?;
    let first = sales::first().timestamp_micros();
    let mut n = 0;
    while n < rows {
        let numbers = n..(n + 1_000_000).min(rows);
        n = numbers.end;
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let instant = |n| first + number(n) * 1_000_000 / number(PER_SECOND);
        let times: TimestampMicrosecondArray =
            numbers.clone().map(instant).collect::<Vec<_>>().into();
        let merchants: StringArray =
            numbers.clone().map(|n| Some(format!("merchant-{}", n % 20))).collect();
        let cents: Int64Array = numbers.map(|n| 100 + number(n % 977)).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(merchants), Arc::new(cents)];
        writer.write(&RecordBatch::try_new(schema(), columns)?)?;
    }
    writer.close()?;
    Ok(())
}

type Batches = parquet::arrow::arrow_reader::ParquetRecordBatchReader;

fn batches(path: &Path) -> Result<Batches> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path)?)?;
    Ok(reader.with_batch_size(AT_ONCE).build()?)
}

/// Rows with what the query names alone, without what the engine adds.
fn answered(made: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
    let schema = made.schema();
    let places = COLUMNS.iter().map(|name| schema.index_of(name));
    made.project(&places.collect::<std::result::Result<Vec<_>, _>>()?)
}

/// Runs a pipeline over batches, one after the other; the rows that came out, and how long it took.
async fn run(
    query: &str,
    batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
) -> Result<(Vec<RecordBatch>, Duration)> {
    let planned = planner::standalone(&[], "measured", query).await?;
    let [pipeline] = <[Pipeline; 1]>::try_from(planned).map_err(|_| "one pipeline")?;
    let columns = &pipeline.inputs[0].columns;
    let places: Vec<usize> = columns
        .fields()
        .iter()
        .map(|field| schema().index_of(field.name()))
        .collect::<std::result::Result<_, _>>()?;
    let started = Instant::now();
    let mut flow = Flow::start(&pipeline.blueprint, &[1])?;
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(flow.take(0, 0, batch?.project(&places)?).await?);
    }
    rows.extend(flow.end(0).await?);
    Ok((rows, started.elapsed()))
}
