//! Rows as files of JSON or Parquet.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use datafusion::parquet::{
    arrow::ArrowWriter,
    basic::{Compression, GzipLevel, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{
    dialect::format::{Format, ParquetCompression, ParquetFormat},
    files::lines::Lines,
};

/// How files are written.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Json(Lines),
    Parquet(ParquetFormat),
}

/// A file that is being written.
pub(super) enum Encoder {
    Json { file: BufWriter<File>, lines: Lines, bytes: u64 },
    Parquet { writer: Box<ArrowWriter<File>>, columns: SchemaRef },
}

impl Form {
    /// For rows of some columns.
    pub(super) fn of(format: &Format, columns: &Schema) -> Option<Self> {
        match format {
            Format::Json(format) => Some(Self::Json(Lines::of(format, columns))),
            Format::Parquet(format) => Some(Self::Parquet(format.clone())),
            _ => None,
        }
    }

    /// What names end with.
    pub(super) const fn suffix(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Parquet(_) => "parquet",
        }
    }

    /// Begins a file for rows of some columns.
    pub(super) fn begin(&self, file: File, columns: &SchemaRef) -> io::Result<Encoder> {
        Ok(match self {
            Self::Json(lines) => {
                Encoder::Json { file: BufWriter::new(file), lines: lines.clone(), bytes: 0 }
            }
            Self::Parquet(format) => {
                let properties = Some(properties(format));
                let writer = ArrowWriter::try_new(file, Arc::clone(columns), properties);
                let writer = Box::new(writer.map_err(io::Error::other)?);
                Encoder::Parquet { writer, columns: Arc::clone(columns) }
            }
        })
    }
}

fn properties(format: &ParquetFormat) -> WriterProperties {
    let compression = match format.compression {
        ParquetCompression::Uncompressed => Compression::UNCOMPRESSED,
        ParquetCompression::Snappy => Compression::SNAPPY,
        ParquetCompression::Gzip => Compression::GZIP(GzipLevel::default()),
        ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
        ParquetCompression::Lz4 => Compression::LZ4,
        ParquetCompression::Lz4Raw => Compression::LZ4_RAW,
    };
    let most = format.row_group_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let properties = WriterProperties::builder().set_compression(compression);
    properties.set_max_row_group_bytes(most).build()
}

impl Encoder {
    pub(super) fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        match self {
            Self::Json { file, lines, bytes } => *bytes += lines.write(rows, file)?,
            Self::Parquet { writer, columns } => {
                // Batches of one query may differ in what they say of missing values.
                let rows = RecordBatch::try_new(Arc::clone(columns), rows.columns().to_vec());
                let rows = rows.map_err(io::Error::other)?;
                writer.write(&rows).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    /// About how large the file is.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Json { bytes, .. } => *bytes,
            Self::Parquet { writer, .. } => {
                (writer.bytes_written() + writer.in_progress_size()) as u64
            }
        }
    }

    /// Writes what is left.
    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::Json { mut file, .. } => file.flush(),
            Self::Parquet { writer, .. } => writer.close().map(drop).map_err(io::Error::other),
        }
    }
}
