//! One planned pipeline: what it reads, what it does, what it makes.

use std::{path::Path, sync::Arc};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use ingest::{heartbeat::TIMED, topic::Topic};

use crate::{
    dataflow::Blueprint,
    dialect::{
        Connector, TableDefinition, TableType,
        connector::{Filesystem, local},
    },
    error::PipelineError,
};

/// A pipeline: queries into one table, planned once.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name, which is its table's where it is a shipped one.
    pub name: String,
    /// The table that it fills, as its file declares it.
    pub sink: TableDefinition,
    /// What it reads; a stream stands as often as the query reads it.
    pub inputs: Vec<Input>,
    /// The columns it makes.
    pub output: SchemaRef,
    /// Whether it takes rows back that it made before.
    pub updating: bool,
    /// What it does.
    pub blueprint: Blueprint,
    /// A number that tells the query: what is kept of another one is not taken up.
    pub query: u64,
    /// A planned query is executed by one runner at a time.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

/// A table that a pipeline reads.
#[derive(Clone, Debug)]
pub struct Input {
    /// The table as its file declares it.
    pub table: TableDefinition,
    /// The columns that the pipeline needs of it.
    pub columns: SchemaRef,
}

impl Input {
    /// The stream, if it is one.
    #[must_use]
    pub const fn topic(&self) -> Option<Topic> {
        match &self.table.connector {
            Connector::Stream(stream) => Some(stream.topic),
            _ => None,
        }
    }
}

impl Pipeline {
    /// A pipeline of which the columns are not known yet.
    pub(crate) fn new(
        name: String,
        sink: TableDefinition,
        inputs: Vec<Input>,
        blueprint: Blueprint,
    ) -> Self {
        let output = Arc::new(Schema::empty());
        let turn = Arc::default();
        Self { name, sink, inputs, output, updating: false, blueprint, query: 0, turn }
    }

    pub(crate) fn with_output(mut self, output: SchemaRef, updating: bool, query: u64) -> Self {
        (self.output, self.updating, self.query) = (output, updating, query);
        self
    }

    /// The streams that it reads, each once, in their order.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let mut topics: Vec<Topic> = self.inputs.iter().filter_map(Input::topic).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// What whoever runs it should know: of windows over streams where nobody tells the time.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let read = self.inputs.iter();
        let read = read.filter(|input| input.table.table_type != TableType::Lookup);
        let mut untold: Vec<Topic> = read.filter_map(Input::topic).collect();
        untold.retain(|topic| self.blueprint.has_windows() && !TIMED.contains(topic));
        untold.sort_unstable();
        untold.dedup();
        let warning = |topic: &Topic| {
            format!(
                "the stream {topic} has no heartbeats: a window over it stays open until a later \
                 record comes in each of its partitions"
            )
        };
        untold.iter().map(warning).collect()
    }

    /// The folder that it fills, where it fills one and no table.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.sink.connector {
            Connector::Filesystem(Filesystem::Sink(sink)) => Some(Path::new(local(&sink.path))),
            _ => None,
        }
    }

    /// The streams in which it looks up rows of others.
    pub fn looked_up(&self) -> impl Iterator<Item = Topic> {
        let tables = self.inputs.iter();
        let tables = tables.filter(|input| input.table.table_type == TableType::Lookup);
        tables.filter_map(Input::topic)
    }

    pub(crate) fn failed(&self, source: datafusion::error::DataFusionError) -> PipelineError {
        PipelineError::Execute { pipeline: self.name.clone(), source: Box::new(source) }
    }

    /// Checks that the pipeline makes what a table holds, column by column in whatever order.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, table: &Schema) -> Result<(), PipelineError> {
        let difference =
            |difference| PipelineError::Schema { pipeline: self.name.clone(), difference };
        if self.updating && !self.sink.is_updating() {
            let text = "its rows are updated, which its table cannot hold: group by a window, or \
                        set format = 'debezium_json' where the connector has it";
            return Err(difference(text.to_owned()));
        }
        for held in table.fields() {
            let Ok(made) = self.output.field_with_name(held.name()) else {
                return Err(difference(format!("its table holds {} as well", held.name())));
            };
            if !same_type(made.data_type(), held.data_type()) {
                let (made, name, held) = (made.data_type(), held.name(), held.data_type());
                let text = format!("makes {name} as {made}, but its table holds it as {held}");
                return Err(difference(text));
            }
        }
        let more =
            self.output.fields().iter().find(|made| table.field_with_name(made.name()).is_err());
        match more {
            Some(more) => Err(difference(format!("makes {} beyond its table", more.name()))),
            None => Ok(()),
        }
    }
}

/// The dialect has instants without a zone, which are UTC; tables say so.
fn same_type(made: &DataType, held: &DataType) -> bool {
    match (made, held) {
        (DataType::Timestamp(made, None), DataType::Timestamp(held, zone)) => {
            made == held && zone.as_deref().is_none_or(|zone| zone == "UTC")
        }
        _ => made == held,
    }
}
