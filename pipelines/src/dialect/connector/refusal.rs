//! What a cluster runs and this runtime does not, with what to write instead.

use super::{Connector, Fluvio, SingleFile, SourceOffset};
use crate::dialect::{
    format::{BadData, Format, JsonCompression, JsonFormat},
    table::{TableDefinition, TableType},
};

impl TableDefinition {
    /// The construct that the embedded runtime does not run, and the alternative; a cluster runs it.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let of = |construct: &str| Some(format!("{construct} of table {}", self.name));
        if let Some(construct) = self.connector.refusal(self.table_type) {
            return Some(construct);
        }
        if !self.partitioned_by.is_empty() {
            return of(
                "PARTITIONED BY (only Iceberg has it: name the columns in partitioning.fields of a \
                 filesystem table)",
            );
        }
        if self.bad_data == BadData::Drop {
            return of("bad_data = 'drop' (a record that does not decode stops its pipeline)");
        }
        if self.framing.is_some() {
            return of("framing (a record is one message, or one line of a single_file)");
        }
        if self.idle.is_some() {
            return of(
                "idle_micros (nothing is ever idle: leave it out, heartbeats tell the time)",
            );
        }
        let format = self.format.as_ref()?;
        self.connector.refused_format(format, self.table_type).and_then(|construct| of(&construct))
    }
}

impl Connector {
    fn refusal(&self, table_type: TableType) -> Option<String> {
        let construct = match self {
            Self::Fluvio(_) if table_type == TableType::Sink => {
                "the connector fluvio as a sink (write connector = 'delta' or 'filesystem'; a node \
                 tells Fluvio of its own streams only)"
            }
            Self::Fluvio(Fluvio { offset: SourceOffset::Latest, .. }) => {
                "source.offset = 'latest' of fluvio, as it is where nothing is said (a run ends \
                 where the topic ended when it began: write 'earliest')"
            }
            Self::Filesystem(files) => return files.refusal().map(ToOwned::to_owned),
            Self::Delta(sink) if !sink.is_plain() => {
                "any option of a delta table but its path (the warehouse lays out its files itself)"
            }
            Self::SingleFile(SingleFile { wait_for_control: Some(true), .. }) => {
                "wait_for_control (only tests of a cluster use it)"
            }
            Self::Delta(_)
            | Self::SingleFile(_)
            | Self::Fluvio(_)
            | Self::Stream(_)
            | Self::Redis(_)
            | Self::Impulse(_)
            | Self::Memory => return None,
        };
        Some(construct.to_owned())
    }

    fn refused_format(&self, format: &Format, table_type: TableType) -> Option<String> {
        let runs = match (self, format) {
            (Self::Stream(_), Format::Json(json)) => {
                !json.debezium && !json.unstructured && plain(json)
            }
            (Self::SingleFile(_) | Self::Filesystem(_) | Self::Fluvio(_), Format::Json(json)) => {
                plain(json)
            }
            (Self::SingleFile(_) | Self::Filesystem(_) | Self::Fluvio(_), Format::RawString) => {
                table_type == TableType::Source
            }
            (Self::Redis(_), Format::Json(json)) => !json.debezium && plain(json),
            (Self::Redis(_), Format::RawString) => table_type == TableType::Lookup,
            (Self::Delta(_) | Self::Filesystem(_), Format::Parquet(_)) | (Self::Impulse(_), _) => {
                true
            }
            _ => false,
        };
        match format {
            _ if runs => None,
            Format::Json(json) if !plain(json) => Some(left_out(json)),
            Format::Json(json) if json.unstructured && matches!(self, Self::Stream(_)) => {
                Some("json.unstructured (leave it out: it is of lines of files)".into())
            }
            other => {
                let instead = if matches!(self, Self::Delta(_)) { "parquet" } else { "json" };
                Some(format!("format = '{}' (write format = '{instead}')", other.name()))
            }
        }
    }
}

/// The first option of JSON that does not run.
fn left_out(json: &JsonFormat) -> String {
    let option = if json.include_schema {
        "json.include_schema"
    } else if json.confluent_schema_registry {
        "json.confluent_schema_registry"
    } else {
        "json.compression"
    };
    format!("{option} (leave it out)")
}

fn plain(json: &JsonFormat) -> bool {
    !json.include_schema
        && !json.confluent_schema_registry
        && json.compression == JsonCompression::Uncompressed
}
