//! Reads a table's topic on a Fluvio cluster: from its first record up to where it ended when the run
//! began.

use arrow::array::RecordBatch;
use ingest::{
    error::LogError,
    log::fluvio::{Cluster, Settings, TopicReader},
};

use super::{rows::Rows, wrong};
use crate::{dialect::connector::Fluvio, error::PipelineError};

/// A topic that is read.
pub(super) struct Topic {
    pipeline: String,
    name: String,
    reader: TopicReader,
    rows: Rows,
}

impl Topic {
    pub(super) async fn open(
        pipeline: &str,
        fluvio: &Fluvio,
        rows: Rows,
        most: usize,
    ) -> Result<Self, PipelineError> {
        let cluster = fluvio.endpoint.clone().map_or(Cluster::Current, Cluster::Endpoint);
        let name = fluvio.topic.clone();
        let reader = TopicReader::open(Settings::at(cluster), &name, most).await;
        let reader = reader.map_err(LogError::from)?;
        Ok(Self { pipeline: pipeline.to_owned(), name, reader, rows })
    }

    pub(super) const fn partitions(&self) -> usize {
        self.reader.partitions()
    }

    /// The next rows, and their partition; none at the end.
    pub(super) async fn read(&mut self) -> Result<Option<(usize, RecordBatch)>, PipelineError> {
        let batch = self.reader.next().await.map_err(LogError::from)?;
        let Some(batch) = batch else { return Ok(None) };
        let partition = batch.partition;
        for (offset, value) in (batch.first..).zip(&batch.values) {
            let taken = match std::str::from_utf8(value) {
                Ok(text) => self.rows.take(text),
                Err(error) => Err(error.into()),
            };
            taken.map_err(|error| self.unreadable(partition, offset, &error))?;
        }
        let rows = self.rows.flush();
        let rows = rows.map_err(|error| {
            self.unreadable(partition, batch.first, &format!("in what follows: {error}"))
        })?;
        Ok(Some((partition as usize, rows)))
    }

    fn unreadable(
        &self,
        partition: u32,
        offset: u64,
        error: &dyn std::fmt::Display,
    ) -> PipelineError {
        let name = &self.name;
        let reason = format!("topic {name} partition {partition} offset {offset}: {error}");
        wrong(&self.pipeline, reason)
    }
}
