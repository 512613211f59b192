//! Apache Parquet, compressed as the tables are.

use std::io::Write;

use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use super::unwritten;
use crate::{error::WarehouseError, session::Rows};

pub(super) fn write(rows: &Rows, out: &mut (dyn Write + Send)) -> Result<(), WarehouseError> {
    written(rows, out).map_err(|error| unwritten("Parquet", &error))
}

fn written(rows: &Rows, out: &mut (dyn Write + Send)) -> Result<(), ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("avis".into())
        .build();
    let mut writer = ArrowWriter::try_new(out, rows.schema.clone(), Some(properties))?;
    for batch in &rows.batches {
        writer.write(batch)?;
    }
    writer.close().map(|_| ())
}
