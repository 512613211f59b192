//! Rows of the query as statements.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Int64Type},
};
use domain::period::Month;

use super::{Statement, StatementRow, contained_vat, number};
use crate::{error::WarehouseError, session::Rows};

/// The statements in rows that are ordered by grantor, merchant and instruction.
pub(super) fn statements(period: Month, rows: &Rows) -> Result<Vec<Statement>, WarehouseError> {
    let mut statements: Vec<Statement> = Vec::new();
    for batch in &rows.batches {
        let columns = Columns::of(batch)?;
        for row in 0..batch.num_rows() {
            let (grantor, merchant) = columns.parties(row);
            let number = number(grantor, merchant, period).map_err(|error| {
                unreadable(format!("a statement of {grantor:?} to {merchant:?}: {error}"))
            })?;
            let found = columns.row(row)?;
            match statements.last_mut() {
                Some(last) if last.number == number => last.rows.push(found),
                _ => statements.push(Statement { number, rows: vec![found] }),
            }
        }
    }
    Ok(statements)
}

struct Columns {
    texts: [ArrayRef; 3],
    rate: ArrayRef,
    counts: [ArrayRef; 3],
    amounts: [ArrayRef; 2],
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, WarehouseError> {
        let column = |name: &str, to: &DataType| -> Result<ArrayRef, WarehouseError> {
            let found = batch.column_by_name(name);
            let found = found.ok_or_else(|| unreadable(format!("there is no column {name}")))?;
            cast(found, to).map_err(|error| unreadable(format!("{name}: {error}")))
        };
        let text = |name| column(name, &DataType::Utf8);
        let count = |name| column(name, &DataType::Int64);
        let cents = |name| column(name, &DataType::Decimal128(38, 2));
        Ok(Self {
            texts: [text("grantor_id")?, text("merchant_id")?, text("instruction_id")?],
            rate: count("vat_bp")?,
            counts: [count("uses")?, count("captured_lines")?, count("units")?],
            amounts: [cents("benefit")?, cents("grantor_part")?],
        })
    }

    fn parties(&self, row: usize) -> (&str, &str) {
        let [grantor, merchant, _] = &self.texts;
        (grantor.as_string::<i32>().value(row), merchant.as_string::<i32>().value(row))
    }

    fn row(&self, row: usize) -> Result<StatementRow, WarehouseError> {
        let count = |column: &ArrayRef| column.as_primitive::<Int64Type>().value(row);
        let cents = |column: &ArrayRef| -> Result<i64, WarehouseError> {
            let cents = column.as_primitive::<Decimal128Type>().value(row);
            i64::try_from(cents).map_err(|_| unreadable(format!("{cents} cents do not fit")))
        };
        let [_, _, instruction] = &self.texts;
        let [uses, lines, units] = &self.counts;
        let [amount, grantor] = &self.amounts;
        let vat_bp = (!self.rate.is_null(row)).then(|| count(&self.rate));
        let grantor_cents = cents(grantor)?;
        Ok(StatementRow {
            instruction: instruction.as_string::<i32>().value(row).to_owned(),
            vat_bp,
            uses: count(uses),
            lines: count(lines),
            units: count(units),
            amount_cents: cents(amount)?,
            grantor_cents,
            vat_cents: contained_vat(grantor_cents, vat_bp),
        })
    }
}

fn unreadable(reason: String) -> WarehouseError {
    WarehouseError::Rows { table: "benefit_lines", reason }
}
