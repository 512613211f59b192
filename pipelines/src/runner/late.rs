//! Rows that came after their window had closed, kept apart in a table of all pipelines.
//!
//! They are committed before the pipeline's own table moves past their records. A crash between the
//! two reads those records again, so the table says by pipeline up to where it has the late rows.
//!
//! The two tables have a log each, of which a power cut may take the newest commits. What the
//! pipeline's own table lacks then is read again, and doubles no late row. What this one lacked would
//! be lost, so it is on the disk before the other is committed, as a state is.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Schema, TimeUnit},
    json::LineDelimitedWriter,
};
use chrono::DateTime;
use datafusion::common::{Result as EngineResult, cast::as_timestamp_microsecond_array};
use domain::period::LocalTime;
use ingest::{log::Log, topic::Topic};
use warehouse::table::Table;

use super::{
    lander::failed,
    offsets::{self, Offsets, applications},
};
use crate::{
    dataflow::time::{TIMESTAMP, WATERMARK, instants},
    error::PipelineError,
    pipeline::Pipeline,
};

/// The late rows of one pipeline.
#[derive(Debug)]
pub struct LateRows {
    pipeline: Arc<Pipeline>,
    table: Arc<dyn Table>,
    /// Up to where the table has them.
    kept: Offsets,
    /// Rows that are not in the table yet.
    waiting: Vec<RecordBatch>,
    /// Whether the table may have rows of the pipeline that are not on the disk.
    is_unsynced: bool,
}

impl LateRows {
    /// Those that a table has of a pipeline.
    pub async fn open(
        log: &dyn Log,
        pipeline: Arc<Pipeline>,
        table: Arc<dyn Table>,
    ) -> Result<Self, PipelineError> {
        let mut kept = offsets::each(log, &pipeline.topics(), |_, _| Ok(0))?;
        let names: Vec<String> = applications(&pipeline, &kept).into_keys().collect();
        let positions = table.positions(&names).await;
        let positions =
            positions.map_err(|source| failed(&pipeline.name, "read late rows of", source))?;
        offsets::take_up(&pipeline, &mut kept, &positions);
        // Whoever committed them may have died before they were on the disk.
        let is_unsynced = !positions.is_empty();
        Ok(Self { pipeline, table, kept, waiting: Vec::new(), is_unsynced })
    }

    /// The first offset of which the table has no late rows.
    pub fn kept(&self, topic: Topic, partition: usize) -> u64 {
        self.kept.get(&topic).and_then(|kept| kept.get(partition)).copied().unwrap_or(0)
    }

    /// Takes late rows of records that the table has none of.
    pub fn take(&mut self, rows: &[RecordBatch]) -> Result<(), PipelineError> {
        for rows in rows {
            let told = told(&self.pipeline.name, rows);
            self.waiting.push(told.map_err(|source| self.pipeline.failed(source))?);
        }
        Ok(())
    }

    /// Commits what waits: late rows of records before `reached`. When it answers, all late rows
    /// before are on the disk.
    pub async fn commit(&mut self, reached: &Offsets) -> Result<(), PipelineError> {
        let failed = |source| failed(&self.pipeline.name, "keep late rows of", source);
        if !self.waiting.is_empty() {
            let rows = std::mem::take(&mut self.waiting);
            let positions = applications(&self.pipeline, reached);
            self.table.commit(rows, &positions).await.map_err(failed)?;
            self.kept.clone_from(reached);
            self.is_unsynced = true;
        }
        if self.is_unsynced {
            self.table.sync().await.map_err(failed)?;
            self.is_unsynced = false;
        }
        Ok(())
    }
}

/// Late rows as the table has them: when they happened, and as JSON what would have been counted.
fn told(pipeline: &str, rows: &RecordBatch) -> EngineResult<RecordBatch> {
    let times =
        cast(instants(rows, TIMESTAMP)?, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let times = as_timestamp_microsecond_array(&times)?.clone();
    let days = times.iter().map(|at| {
        let instant = DateTime::from_timestamp_micros(at?)?;
        let days = LocalTime::of(instant).date - chrono::NaiveDate::default();
        i32::try_from(days.num_days()).ok()
    });
    let days: Date32Array = days.collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("pipeline", Arc::new(StringArray::from(vec![pipeline; rows.num_rows()]))),
        ("occurred_at", Arc::new(times)),
        ("counted", Arc::new(StringArray::from(lines(rows)?))),
        ("date", Arc::new(days)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Each row as one object, without hidden columns.
fn lines(rows: &RecordBatch) -> EngineResult<Vec<String>> {
    let schema: Arc<Schema> = rows.schema();
    let shown = (0..rows.num_columns())
        .filter(|at| ![TIMESTAMP, WATERMARK].contains(&schema.field(*at).name().as_str()));
    let shown = rows.project(&shown.collect::<Vec<_>>())?;
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    writer.write(&shown)?;
    writer.finish()?;
    let mut lines: Vec<String> =
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
    // A row of which nothing is shown is an empty object, which the writer may leave out.
    lines.resize(rows.num_rows(), "{}".to_owned());
    Ok(lines)
}
