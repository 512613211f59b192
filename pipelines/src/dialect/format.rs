//! How records are written: the options `format`, `json.*`, `avro.*`, `parquet.*`, `bad_data` and
//! `framing`.

use super::{fault::Fault, options::Options};

/// The form of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `json`, or `debezium_json` where `debezium` says so.
    Json(JsonFormat),
    /// `avro`.
    Avro(AvroFormat),
    /// `parquet`.
    Parquet(ParquetFormat),
    /// `raw_string`: one column `value TEXT`.
    RawString,
    /// `raw_bytes`: one column `value BYTEA`.
    RawBytes,
}

/// Options of `json` and `debezium_json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonFormat {
    /// Whether records are changes: `before`, `after` and `op`.
    pub debezium: bool,
    /// Whether the whole record is one column, `value JSON`.
    pub unstructured: bool,
    /// Whether each record carries its schema.
    pub include_schema: bool,
    /// Whether schemas come from a registry.
    pub confluent_schema_registry: bool,
    /// How instants are written.
    pub timestamp_format: TimestampFormat,
    /// How decimals are written.
    pub decimal_encoding: DecimalEncoding,
    /// Whether files are compressed.
    pub compression: JsonCompression,
}

/// How instants are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    /// `2025-01-31T12:00:00Z`; how `json` writes unless it says otherwise.
    Rfc3339,
    /// Milliseconds since 1970; how `debezium_json` writes unless it says otherwise.
    UnixMillis,
}

/// How decimals are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalEncoding {
    /// A JSON number; how `json` writes unless it says otherwise.
    Number,
    /// A text with all digits.
    String,
    /// The unscaled integer's bytes in base64; how `debezium_json` writes unless it says otherwise.
    Bytes,
}

/// Whether files of JSON are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonCompression {
    /// They are not.
    Uncompressed,
    /// By gzip.
    Gzip,
}

/// Options of `avro`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroFormat {
    /// Whether schemas come from a registry.
    pub confluent_schema_registry: bool,
    /// Whether records stand without a container.
    pub raw_datums: bool,
    /// Whether the whole record becomes one column, `value JSON`.
    pub into_unstructured_json: bool,
}

/// Options of `parquet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParquetFormat {
    /// How columns are compressed; zstd unless it says otherwise.
    pub compression: ParquetCompression,
    /// The largest row group, in bytes.
    pub row_group_bytes: Option<u64>,
}

/// How columns are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of methods")]
pub enum ParquetCompression {
    Uncompressed,
    Snappy,
    Gzip,
    Zstd,
    Lz4,
    Lz4Raw,
}

/// What happens to a record that does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BadData {
    /// The pipeline fails.
    #[default]
    Fail,
    /// The record is dropped.
    Drop,
}

/// `framing = 'newline'`: several records in one message, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The longest line, in bytes.
    pub max_length: Option<u64>,
}

impl Format {
    /// The format that the options name.
    pub(super) fn of(options: &mut Options) -> Result<Option<Self>, Fault> {
        let Some(name) = options.text("format")? else { return Ok(None) };
        Ok(Some(match name.as_str() {
            "json" => Self::Json(JsonFormat::of(false, options)?),
            "debezium_json" => Self::Json(JsonFormat::of(true, options)?),
            "avro" => Self::Avro(AvroFormat {
                confluent_schema_registry: flag(options, "avro.confluent_schema_registry")?,
                raw_datums: flag(options, "avro.raw_datums")?,
                into_unstructured_json: flag(options, "avro.into_unstructured_json")?,
            }),
            "parquet" => Self::Parquet(ParquetFormat::of(options)?),
            "raw_string" => Self::RawString,
            "raw_bytes" => Self::RawBytes,
            "protobuf" => {
                let reason = "Protobuf is not yet supported in CREATE TABLE statements";
                return Err(Fault::Wrong(reason.into()));
            }
            other => return Err(Fault::Wrong(format!("unknown format '{other}'"))),
        }))
    }

    /// The name that `format` has.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json(JsonFormat { debezium: true, .. }) => "debezium_json",
            Self::Json(_) => "json",
            Self::Avro(_) => "avro",
            Self::Parquet(_) => "parquet",
            Self::RawString => "raw_string",
            Self::RawBytes => "raw_bytes",
        }
    }

    /// Whether records are changes of rows rather than rows.
    #[must_use]
    pub fn is_updating(&self) -> bool {
        matches!(self, Self::Json(JsonFormat { debezium: true, .. }))
    }
}

impl JsonFormat {
    fn of(debezium: bool, options: &mut Options) -> Result<Self, Fault> {
        use {DecimalEncoding::*, JsonCompression::*, TimestampFormat::*};
        let confluent_schema_registry = flag(options, "json.confluent_schema_registry")?;
        let include_schema = flag(options, "json.include_schema")?;
        if include_schema && confluent_schema_registry {
            return Err(Fault::Wrong(
                "at most one of `json.confluent_schema_registry` and `json.include_schema` may be \
                 set"
                .into(),
            ));
        }
        let timestamps =
            [("RFC3339", Rfc3339), ("UnixMillis", UnixMillis), ("unix_millis", UnixMillis)];
        let decimals = [("number", Number), ("string", String), ("bytes", Bytes)];
        let compressions = [("uncompressed", Uncompressed), ("gzip", Gzip)];
        let timestamp_format = options.choice("json.timestamp_format", &timestamps)?;
        let decimal_encoding = options.choice("json.decimal_encoding", &decimals)?;
        Ok(Self {
            debezium,
            unstructured: flag(options, "json.unstructured")?,
            include_schema,
            confluent_schema_registry,
            timestamp_format: timestamp_format.unwrap_or(if debezium {
                UnixMillis
            } else {
                Rfc3339
            }),
            decimal_encoding: decimal_encoding.unwrap_or(if debezium { Bytes } else { Number }),
            compression: options.choice("json.compression", &compressions)?.unwrap_or(Uncompressed),
        })
    }
}

impl ParquetFormat {
    fn of(options: &mut Options) -> Result<Self, Fault> {
        use ParquetCompression::*;
        let compressions = [
            ("uncompressed", Uncompressed),
            ("snappy", Snappy),
            ("gzip", Gzip),
            ("zstd", Zstd),
            ("lz4", Lz4),
            ("lz4_raw", Lz4Raw),
        ];
        let compression = options.choice("parquet.compression", &compressions)?;
        let row_group_bytes = options.size("parquet.row_group_size")?;
        if row_group_bytes == Some(0) {
            return Err(Fault::Wrong("row_group_size must be > 0".into()));
        }
        Ok(Self { compression: compression.unwrap_or(Zstd), row_group_bytes })
    }
}

impl BadData {
    pub(super) fn of(options: &mut Options) -> Result<Self, Fault> {
        let choices = [("drop", Self::Drop), ("fail", Self::Fail)];
        Ok(options.choice("bad_data", &choices)?.unwrap_or_default())
    }
}

impl Framing {
    pub(super) fn of(options: &mut Options) -> Result<Option<Self>, Fault> {
        match options.text("framing")?.as_deref() {
            None => Ok(None),
            Some("newline") => {
                Ok(Some(Self { max_length: options.unsigned("framing.newline.max_length")? }))
            }
            Some(other) => Err(Fault::Wrong(format!("Unknown framing method '{other}'"))),
        }
    }
}

fn flag(options: &mut Options, key: &str) -> Result<bool, Fault> {
    Ok(options.boolean(key)?.unwrap_or_default())
}
