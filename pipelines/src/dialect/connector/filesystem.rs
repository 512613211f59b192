//! Options of files: `filesystem`, and the sink that `delta` shares with it.

use std::{collections::BTreeMap, num::NonZeroU64, time::Duration};

use arrow::datatypes::Schema;

use crate::dialect::{
    fault::Fault,
    options::Options,
    table::{Column, TableType},
};

/// The smallest part of an upload in parts.
const MINIMUM_PART: u64 = 5 * 1024 * 1024;

/// Options of `filesystem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filesystem {
    /// A folder that is read.
    Source(FileSource),
    /// A folder that is written.
    Sink(FileSink),
}

/// Options of a `filesystem` source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// The folder's URL.
    pub path: String,
    /// How its files are compressed.
    pub compression: SourceCompression,
    /// Which files are read; all where none is given.
    pub regex_pattern: Option<String>,
    /// `storage.*`: credentials and endpoints of the store.
    pub storage: BTreeMap<String, String>,
}

/// How the files of a source are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the option's own words")]
pub enum SourceCompression {
    #[default]
    None,
    Zstd,
    Gzip,
}

/// Options of a `filesystem` or `delta` sink.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FileSink {
    /// The folder.
    pub path: String,
    /// `storage.*`: credentials and endpoints of the store.
    pub storage: BTreeMap<String, String>,
    /// `rolling_policy.*`: when a file is closed.
    pub rolling: RollingPolicy,
    /// `filename.*`: how files are named.
    pub naming: FileNaming,
    /// `partitioning.*` and `shuffle_by_partition.enabled`: in which folders files lie.
    pub partitioning: Partitioning,
    /// `multipart.*`: how large files are uploaded.
    pub multipart: Multipart,
    /// `sink.version`: which of the cluster's implementations writes.
    pub version: SinkVersion,
}

/// When a file is closed and another begun.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RollingPolicy {
    /// At this many bytes.
    pub file_size: Option<u64>,
    /// After this time.
    pub interval: Option<Duration>,
    /// After this time without rows.
    pub inactivity_interval: Option<Duration>,
    /// Once the watermark leaves the file's time partition.
    pub watermark_expiration: bool,
}

/// How files are named.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FileNaming {
    /// What stands before the name.
    pub prefix: Option<String>,
    /// What stands after it, instead of the format's own ending.
    pub suffix: Option<String>,
    /// What the name is.
    pub strategy: Option<FilenameStrategy>,
}

/// What a file's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the option's own words")]
pub enum FilenameStrategy {
    Serial,
    Uuid,
    UuidV7,
    Ulid,
}

/// In which folders files lie.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Partitioning {
    /// A pattern of event time, `%Y/%m/%d`.
    pub time_pattern: Option<String>,
    /// Columns whose values name folders.
    pub fields: Vec<String>,
    /// Whether rows are sent to writers by partition.
    pub shuffle: bool,
}

/// How large files are uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Multipart {
    /// How large a part is.
    pub target_part_size: Option<u64>,
    /// How many there may be.
    pub max_parts: Option<NonZeroU64>,
    /// Below what size a file goes in one piece.
    pub minimum_multipart_size: Option<u64>,
}

/// Which of the cluster's implementations writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the option's own words")]
pub enum SinkVersion {
    #[default]
    V1,
    V2,
}

/// A path without the scheme that a folder of this machine may have.
#[must_use]
pub fn local(path: &str) -> &str {
    path.strip_prefix("file://").unwrap_or(path)
}

impl Filesystem {
    /// What the embedded runtime does not honour, and the alternative.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        let (path, storage) = match self {
            Self::Source(source) => (&source.path, &source.storage),
            Self::Sink(sink) => (&sink.path, &sink.storage),
        };
        if local(path).contains("://") || !storage.is_empty() {
            return Some(match self {
                Self::Source(_) => {
                    "a filesystem source on object storage (copy its files to a folder)"
                }
                Self::Sink(_) => {
                    "a filesystem sink on object storage (write connector = 'delta', which lands where \
                     the warehouse is)"
                }
            });
        }
        match self {
            Self::Source(source) => source.refusal(),
            Self::Sink(sink) => sink.refusal(),
        }
    }

    pub(super) fn of(
        options: &mut Options,
        table_type: TableType,
        columns: &[Column],
    ) -> Result<Self, Fault> {
        if table_type == TableType::Sink {
            let sink = FileSink::of(options)?;
            sink.check(columns)?;
            return Ok(Self::Sink(sink));
        }
        let compressions = [
            ("none", SourceCompression::None),
            ("zstd", SourceCompression::Zstd),
            ("gzip", SourceCompression::Gzip),
        ];
        Ok(Self::Source(FileSource {
            path: options.need("path")?,
            compression: options.choice("source.compression", &compressions)?.unwrap_or_default(),
            regex_pattern: options.text("source.regex_pattern")?,
            storage: options.prefixed("storage.")?,
        }))
    }
}

impl FileSource {
    fn refusal(&self) -> Option<&'static str> {
        if self.compression != SourceCompression::None {
            return Some("source.compression (unpack the files before)");
        }
        let named = self.regex_pattern.is_some();
        named.then_some("source.regex_pattern (read a folder that has no other files)")
    }
}

impl FileSink {
    fn refusal(&self) -> Option<&'static str> {
        let (rolling, naming) = (&self.rolling, &self.naming);
        if rolling.interval.is_some()
            || rolling.inactivity_interval.is_some()
            || rolling.watermark_expiration
        {
            return Some(
                "rolling_policy.interval, inactivity_interval or watermark_expiration of a filesystem \
                 table (a file ends with its commit, or by rolling_policy.file_size)",
            );
        }
        if naming.strategy.is_some_and(|strategy| strategy != FilenameStrategy::Serial) {
            return Some("filename.strategy other than 'serial' (a name tells its file's commit)");
        }
        let mut parts = [&naming.prefix, &naming.suffix].into_iter().flatten();
        if parts.any(|part| part.contains(['/', '\\', '\0'])) {
            return Some("filename.prefix or filename.suffix with a slash (name a folder by path)");
        }
        if self.partitioning.time_pattern.is_some() {
            return Some(
                "partitioning.time_pattern (make it a column and name that in partitioning.fields)",
            );
        }
        let whole = self.multipart == Multipart::default();
        (!whole).then_some("multipart.* of a filesystem table (only object storage has parts)")
    }

    /// A column that is to name folders and is none of those that there are.
    #[must_use]
    pub fn missing_field(&self, columns: &Schema) -> Option<&str> {
        let mut fields = self.partitioning.fields.iter().map(String::as_str);
        fields.find(|field| columns.field_with_name(field).is_err())
    }

    pub(super) fn of(options: &mut Options) -> Result<Self, Fault> {
        let versions = [("v1", SinkVersion::V1), ("v2", SinkVersion::V2)];
        Ok(Self {
            path: options.need("path")?,
            storage: options.prefixed("storage.")?,
            rolling: RollingPolicy {
                file_size: options.size("rolling_policy.file_size")?,
                interval: options.duration("rolling_policy.interval")?,
                inactivity_interval: options.duration("rolling_policy.inactivity_interval")?,
                watermark_expiration: options
                    .boolean("rolling_policy.watermark_expiration")?
                    .unwrap_or_default(),
            },
            naming: naming(options)?,
            partitioning: Partitioning {
                time_pattern: options.text("partitioning.time_pattern")?,
                fields: options.fields("partitioning.fields")?,
                shuffle: options.boolean("shuffle_by_partition.enabled")?.unwrap_or_default(),
            },
            multipart: multipart(options)?,
            version: options.choice("sink.version", &versions)?.unwrap_or_default(),
        })
    }

    /// Files are partitioned by columns that there are.
    pub(super) fn check(&self, columns: &[Column]) -> Result<(), Fault> {
        if columns.is_empty() {
            return Ok(());
        }
        let unknown = self
            .partitioning
            .fields
            .iter()
            .find(|field| !columns.iter().any(|column| column.name == **field));
        match unknown {
            Some(field) => {
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                Err(Fault::Wrong(format!(
                    "Unable to get field named \"{field}\". Valid fields: {}",
                    names.join(", ")
                )))
            }
            None => Ok(()),
        }
    }

    /// Whether it says no more than where it lies.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self { path: self.path.clone(), ..Self::default() }
    }
}

fn naming(options: &mut Options) -> Result<FileNaming, Fault> {
    use FilenameStrategy::*;
    let strategies = [("serial", Serial), ("uuid", Uuid), ("uuid_v7", UuidV7), ("ulid", Ulid)];
    Ok(FileNaming {
        prefix: options.text("filename.prefix")?,
        suffix: options.text("filename.suffix")?,
        strategy: options.choice("filename.strategy", &strategies)?,
    })
}

fn multipart(options: &mut Options) -> Result<Multipart, Fault> {
    let target_part_size = options.size("multipart.target_part_size")?;
    if target_part_size.is_some_and(|size| size < MINIMUM_PART) {
        let reason = format!("multipart.target_part_size must be >= {MINIMUM_PART}");
        return Err(Fault::Wrong(reason));
    }
    Ok(Multipart {
        target_part_size,
        max_parts: options.positive("multipart.max_parts")?,
        minimum_multipart_size: options.size("multipart.minimum_multipart_size")?,
    })
}
