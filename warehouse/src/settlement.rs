//! Settlements: what each grantor owes each merchant for a month.
//!
//! A statement is a sum over `benefit_lines`, bounded by what the closing names: the local month
//! and the end offset of every partition. All in it comes from the closing and from rows before
//! those offsets, so asking again gives the same bytes.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{Int32Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use chrono::{DateTime, Utc};
use domain::{
    amount::mul_div_half_away,
    id::{GrantorId, MerchantId},
    period::Month,
    settlement::StatementNumber,
};

use crate::{
    error::WarehouseError,
    file,
    session::{Rows, Session, day, instant},
};

mod files;
mod read;

const STATEMENT_ROWS: &str = include_str!("../sql/settlements/statement_rows.sql");
const CLOSING_CONTRACTS: &str = include_str!("../sql/settlements/closing_contracts.sql");

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The month.
    pub period: Month,
    /// The end offset of every partition of the `authorisations` stream: what stands before is in.
    pub end_offsets: Vec<u64>,
    /// When the period was closed; none is a draft of an open one.
    pub closed_at: Option<DateTime<Utc>>,
}

/// What a grantor owes a merchant for a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its number.
    pub number: StatementNumber,
    /// By instruction, in the order of their names.
    pub rows: Vec<StatementRow>,
}

/// What one instruction adds to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementRow {
    /// The instruction.
    pub instruction: String,
    /// The rate of VAT that the contract of those days names; none without a contract.
    pub vat_bp: Option<i64>,
    /// Baskets with a captured line of it. A refund takes back units and cents, not the use.
    pub uses: i64,
    /// Captured lines.
    pub lines: i64,
    /// Units, less those refunded.
    pub units: i64,
    /// The benefit, less what was refunded.
    pub amount_cents: i64,
    /// The grantor's part of it: what is owed.
    pub grantor_cents: i64,
    /// The VAT contained in the grantor's part.
    pub vat_cents: i64,
}

impl Statement {
    /// The benefit.
    #[must_use]
    pub fn amount_cents(&self) -> i64 {
        self.rows.iter().map(|row| row.amount_cents).sum()
    }

    /// What is owed; where it is negative it is carried to the next statement.
    #[must_use]
    pub fn grantor_cents(&self) -> i64 {
        self.rows.iter().map(|row| row.grantor_cents).sum()
    }

    /// The VAT contained in what is owed.
    #[must_use]
    pub fn vat_cents(&self) -> i64 {
        self.rows.iter().map(|row| row.vat_cents).sum()
    }

    /// Captured benefit lines.
    #[must_use]
    pub fn lines(&self) -> i64 {
        self.rows.iter().map(|row| row.lines).sum()
    }
}

/// The statements of a period, by grantor and merchant.
///
/// # Errors
/// Where the table has not landed up to the closing's offsets yet, or a query fails.
pub async fn statements(
    session: &Session,
    closing: &Closing,
) -> Result<Vec<Statement>, WarehouseError> {
    landed(session, closing).await?;
    // A draft knows the contracts as they are.
    let closed_at = closing.closed_at.unwrap_or(FAR_FUTURE);
    let parameters = vec![("closed_at", instant(closed_at))];
    let contracts = session.query(CLOSING_CONTRACTS, parameters).await?;
    let session = session
        .with_rows("closing_contracts", contracts)?
        .with_rows("closing_offsets", offsets(&closing.end_offsets)?)?;
    let period = closing.period;
    let parameters = vec![("from", day(period.first_day())), ("to", day(period.last_day()))];
    let rows = session.query(STATEMENT_ROWS, parameters).await?;
    read::statements(period, &rows)
}

/// An instant after everything that happens, which still fits in microseconds of 64 bits.
const FAR_FUTURE: DateTime<Utc> =
    DateTime::from_timestamp(253_402_300_799, 0).expect("a valid instant");

/// Writes a period's statements as `statements-<YYYY-MM>.csv` and `.json`.
///
/// # Errors
/// Where the statements cannot be made, or a file cannot be written.
pub async fn export(
    session: &Session,
    closing: &Closing,
    folder: &Path,
) -> Result<Vec<Statement>, WarehouseError> {
    let statements = statements(session, closing).await?;
    let name = |ending| folder.join(format!("statements-{}.{ending}", closing.period));
    file::write(&name("csv"), &files::csv(closing, &statements)?)?;
    file::write(&name("json"), &files::json(closing, &statements)?)?;
    Ok(statements)
}

/// Refuses a closing that the table has not reached: its statement would lack lines, and change.
async fn landed(session: &Session, closing: &Closing) -> Result<(), WarehouseError> {
    let table = "benefit_lines";
    let positions = session.positions(table, table, closing.end_offsets.len()).await?;
    for (partition, end) in closing.end_offsets.iter().enumerate() {
        let next = positions.get(&format!("{table}/{partition}")).copied().unwrap_or(0);
        let next = u64::try_from(next).unwrap_or(0);
        if next < *end {
            return Err(WarehouseError::NotLanded { table, partition, next, end: *end });
        }
    }
    Ok(())
}

fn offsets(ends: &[u64]) -> Result<Rows, WarehouseError> {
    let partitions = (0_i32..).zip(ends).map(|(partition, _)| partition);
    let ends = ends.iter().map(|end| i64::try_from(*end).unwrap_or(i64::MAX));
    let schema = Arc::new(Schema::new(vec![
        Field::new("source_partition", DataType::Int32, false),
        Field::new("end_offset", DataType::Int64, false),
    ]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int32Array::from_iter_values(partitions)),
            Arc::new(Int64Array::from_iter_values(ends)),
        ],
    );
    let batch = batch.map_err(datafusion::error::DataFusionError::from)?;
    Ok(Rows { schema, batches: vec![batch] })
}

/// The VAT contained in a sum at a rate, rounded half away from zero.
fn contained_vat(cents: i64, vat_bp: Option<i64>) -> i64 {
    let rate = vat_bp.unwrap_or(0);
    mul_div_half_away(cents, rate, rate.saturating_add(10_000))
}

fn number(
    grantor: &str,
    merchant: &str,
    period: Month,
) -> Result<StatementNumber, domain::id::IdError> {
    let (grantor, merchant) = (GrantorId::new(grantor)?, MerchantId::new(merchant)?);
    Ok(StatementNumber { grantor, merchant, period, correction: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vat_is_contained_not_added() {
        assert_eq!(contained_vat(12_100, Some(2_100)), 2_100);
        assert_eq!(contained_vat(49, Some(500)), 2);
        assert_eq!(contained_vat(-49, Some(500)), -2);
        assert_eq!(contained_vat(100, None), 0);
    }
}
