//! A workbook of one sheet: text as text, numbers as numbers, days as days.

use std::io::Write;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Float64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use super::unwritten;
use crate::{error::WarehouseError, session::Rows};

pub(super) fn write(rows: &Rows, out: &mut dyn Write) -> Result<(), WarehouseError> {
    let mut workbook = Workbook::new();
    let filled = (|| -> Result<Vec<u8>, XlsxError> {
        // The same rows are the same bytes: a file without this carries when it was written.
        let created = ExcelDateTime::from_timestamp(0)?;
        let properties = DocProperties::new().set_author("AVIS");
        workbook.set_properties(&properties.set_creation_datetime(&created));
        fill(workbook.add_worksheet(), rows)?;
        workbook.save_to_buffer()
    })();
    let bytes = filled.map_err(|error| unwritten("XLSX", &error))?;
    out.write_all(&bytes).map_err(|error| unwritten("XLSX", &error))
}

fn fill(sheet: &mut Worksheet, rows: &Rows) -> Result<(), XlsxError> {
    let bold = Format::new().set_bold();
    for (column, field) in (0_u16..).zip(rows.schema.fields()) {
        sheet.write_with_format(0, column, field.name(), &bold)?;
        sheet.set_column_width(column, if field.data_type().is_numeric() { 14 } else { 26 })?;
    }
    sheet.set_freeze_panes(1, 0)?;
    let mut first = 1;
    for batch in &rows.batches {
        for (column, values) in (0_u16..).zip(batch.columns()) {
            column_of(sheet, first, column, values)?;
        }
        first += u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
    }
    Ok(())
}

fn column_of(
    sheet: &mut Worksheet,
    first: u32,
    column: u16,
    values: &ArrayRef,
) -> Result<(), XlsxError> {
    let wrong = |error: arrow::error::ArrowError| XlsxError::ParameterError(error.to_string());
    let rows = (first..).zip(0..values.len()).filter(|(_, at)| !values.is_null(*at));
    match values.data_type() {
        DataType::Date32 => {
            let format = Format::new().set_num_format("yyyy-mm-dd");
            let days = values.as_primitive::<Date32Type>();
            for (row, at) in rows {
                let seconds = i64::from(days.value(at)) * 86_400;
                let day = ExcelDateTime::from_timestamp(seconds)?;
                sheet.write_with_format(row, column, &day, &format)?;
            }
        }
        kind if kind.is_numeric() => {
            let decimals = match kind {
                DataType::Decimal128(_, scale) if *scale > 0 => "#,##0.00",
                DataType::Float64 | DataType::Float32 => "0.0000",
                _ => "#,##0",
            };
            let format = Format::new().set_num_format(decimals);
            // A spreadsheet knows no other numbers.
            let numbers = cast(values, &DataType::Float64).map_err(wrong)?;
            let numbers = numbers.as_primitive::<Float64Type>();
            for (row, at) in rows {
                sheet.write_number_with_format(row, column, numbers.value(at), &format)?;
            }
        }
        _ => {
            let options = FormatOptions::default();
            let texts = ArrayFormatter::try_new(values, &options).map_err(wrong)?;
            for (row, at) in rows {
                let text = texts.value(at).try_to_string().map_err(wrong)?;
                // A text is written as one, whatever it begins with.
                sheet.write_string(row, column, text)?;
            }
        }
    }
    Ok(())
}
