//! Settlements: what each grantor owes each merchant for a month.
//!
//! A statement is a sum over `benefit_lines`, bounded by what its closing names: the local month, and
//! in every partition the offsets from and up to which lines are of it. All in it comes from the
//! closing, from rows between those offsets and from the statements before it, so computing it again
//! gives the same bytes. What comes later for a month that is closed is in its next *correction*.
//!
//! [`compute`] makes statements; closed ones are kept in `settlement_statements` and
//! `settlement_lines`, from where [`statements`] reads them.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{Int32Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    amount::mul_div_half_away,
    period::Month,
    settlement::{StatementNumber, StatementState},
};

use crate::{
    error::WarehouseError,
    file,
    session::{Rows, Session, day, instant},
};

pub mod bank;
mod banking;
mod files;
pub mod kept;
mod ledger;
mod payment;
mod read;
mod sepa;

pub use ledger::Ledger;
pub use payment::{Order, Party, Payment, order_id, orders};

const STATEMENT_ROWS: &str = include_str!("../sql/settlements/statement_rows.sql");
const CLOSING_CONTRACTS: &str = include_str!("../sql/settlements/closing_contracts.sql");
const STATES: &str = include_str!("../sql/settlements/states.sql");

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The month.
    pub period: Month,
    /// 0 is the month's closing, n its n-th correction.
    pub correction: u32,
    /// Where each partition of the `authorisations` stream begins: what stands before is in the
    /// closings before this one.
    pub from_offsets: Vec<u64>,
    /// The end offset of every partition: what stands before it is in.
    pub end_offsets: Vec<u64>,
    /// When it was closed, and by which record of the stream `settlements`; none is a draft.
    pub closed: Option<Closed>,
}

/// When a period was closed, and by which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The instant that stands in its files.
    pub at: DateTime<Utc>,
    /// The record's offset.
    pub offset: u64,
}

impl Closing {
    /// What its files are called by: `2025-01`, `2025-01-K1`, ….
    #[must_use]
    pub fn name(&self) -> String {
        match self.correction {
            0 => self.period.to_string(),
            n => format!("{}-K{n}", self.period),
        }
    }
}

/// What a grantor owes a merchant for a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its number.
    pub number: StatementNumber,
    /// What the statement before it carried, never above zero.
    pub carried_in_cents: i64,
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
    /// The grantor's part of it.
    pub grantor_cents: i64,
    /// What terminals gave beyond our decision and the grantor bears by contract.
    pub excess_cents: i64,
    /// The VAT contained in what is owed.
    pub vat_cents: i64,
}

impl Statement {
    fn sum(&self, of: impl Fn(&StatementRow) -> i64) -> i64 {
        self.rows.iter().map(of).sum()
    }

    /// The benefit.
    #[must_use]
    pub fn amount_cents(&self) -> i64 {
        self.sum(|row| row.amount_cents)
    }

    /// The grantor's part of the benefit.
    #[must_use]
    pub fn grantor_cents(&self) -> i64 {
        self.sum(|row| row.grantor_cents)
    }

    /// What terminals gave beyond our decision and the grantor bears.
    #[must_use]
    pub fn excess_cents(&self) -> i64 {
        self.sum(|row| row.excess_cents)
    }

    /// What this month adds to what the grantor owes.
    #[must_use]
    pub fn owed_cents(&self) -> i64 {
        self.grantor_cents() + self.excess_cents()
    }

    /// What is to be paid: what is owed and what was carried. Nobody pays oneself.
    #[must_use]
    pub fn payable_cents(&self) -> i64 {
        if self.number.is_own() { 0 } else { (self.carried_in_cents + self.owed_cents()).max(0) }
    }

    /// What the next statement has to take off, never above zero.
    #[must_use]
    pub fn carried_out_cents(&self) -> i64 {
        if self.number.is_own() { 0 } else { (self.carried_in_cents + self.owed_cents()).min(0) }
    }

    /// The VAT contained in what is owed.
    #[must_use]
    pub fn vat_cents(&self) -> i64 {
        self.sum(|row| row.vat_cents)
    }

    /// Captured benefit lines.
    #[must_use]
    pub fn lines(&self) -> i64 {
        self.sum(|row| row.lines)
    }
}

/// A statement and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The statement.
    pub statement: Statement,
    /// Its state.
    pub state: StatementState,
    /// Why the bank refused or returned its payment, where it did.
    pub reason: Option<String>,
    /// How often a bank has refused or returned its payment.
    pub refusals: u32,
    /// The payment order that it is in; none where there is nothing to pay.
    pub order: Option<String>,
}

/// The statements of a closing, by grantor and merchant: those that are kept, or of a draft what
/// they would be now.
///
/// # Errors
/// Where the tables have not landed up to the closing yet, or a query fails.
pub async fn statements(session: &Session, closing: &Closing) -> Result<Vec<Told>, WarehouseError> {
    if let Some(closed) = closing.closed {
        return kept::of(session, closed).await;
    }
    let ledger = Ledger::before(session, None).await?;
    let drafts = compute(session, closing, &ledger).await?;
    let told = |statement| Told {
        statement,
        state: StatementState::Draft,
        reason: None,
        refusals: 0,
        order: None,
    };
    Ok(drafts.into_iter().map(told).collect())
}

/// The statements of a closing from the benefit lines themselves; `ledger` has what the statements
/// before it leave.
///
/// # Errors
/// Where `benefit_lines` has not landed up to the closing's offsets yet, or a query fails.
pub async fn compute(
    session: &Session,
    closing: &Closing,
    ledger: &Ledger,
) -> Result<Vec<Statement>, WarehouseError> {
    lines_landed(session, &closing.end_offsets).await?;
    // A draft knows the contracts as they are.
    let known_at = closing.closed.map_or(FAR_FUTURE, |closed| closed.at);
    let parameters = vec![("closed_at", instant(known_at))];
    let contracts = session.query(CLOSING_CONTRACTS, parameters).await?;
    let session = session
        .with_rows("closing_contracts", contracts)?
        .with_rows("closing_offsets", offsets(closing)?)?;
    let period = closing.period;
    let parameters = vec![("from", day(period.first_day())), ("to", day(period.last_day()))];
    let rows = session.query(STATEMENT_ROWS, parameters).await?;
    read::statements(&rows, |grantor, merchant| {
        let correction = ledger.next_correction(&grantor, &merchant, closing);
        let carried_in_cents = ledger.carried(&grantor, &merchant);
        let number = StatementNumber { grantor, merchant, period, correction };
        Ok((number, carried_in_cents))
    })
}

/// Makes sure that the contracts are there which the registry told of before `end` of its stream:
/// statements that were computed without them would lack what they say, their tax for one.
///
/// # Errors
/// [`WarehouseError::NotLanded`] where they are not there yet.
pub async fn contracts_landed(session: &Session, end: u64) -> Result<(), WarehouseError> {
    landed(session, "registry_contracts", &[end]).await
}

/// Makes sure that the benefit lines are there which the stream holds before `ends`, by partition.
///
/// # Errors
/// [`WarehouseError::NotLanded`] where they are not there yet.
pub async fn lines_landed(session: &Session, ends: &[u64]) -> Result<(), WarehouseError> {
    landed(session, "benefit_lines", ends).await
}

/// Every closed statement with its state, for people and for their tools.
///
/// # Errors
/// Where the query fails.
pub async fn states(session: &Session) -> Result<Rows, WarehouseError> {
    session.rows(STATES).await
}

/// An instant after everything that happens, which still fits in microseconds of 64 bits.
const FAR_FUTURE: DateTime<Utc> =
    DateTime::from_timestamp(253_402_300_799, 0).expect("a valid instant");

/// A closing's statements as files, each whole or not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// Every instruction of every statement.
    Csv,
    /// One row a statement: what is owed, carried and paid.
    Payments,
    /// The statements with their instructions.
    Json,
    /// Both tables as sheets.
    Xlsx,
}

impl File {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Payments, Self::Json, Self::Xlsx];

    /// Its name, of a closing.
    #[must_use]
    pub fn name(self, closing: &Closing) -> String {
        let name = closing.name();
        match self {
            Self::Csv => format!("statements-{name}.csv"),
            Self::Payments => format!("payments-{name}.csv"),
            Self::Json => format!("statements-{name}.json"),
            Self::Xlsx => format!("statements-{name}.xlsx"),
        }
    }

    /// Its bytes; the same whenever it is asked for.
    ///
    /// # Errors
    /// Where a value has no such form.
    pub fn bytes(self, closing: &Closing, told: &[Told]) -> Result<Vec<u8>, WarehouseError> {
        let statements: Vec<&Statement> = told.iter().map(|told| &told.statement).collect();
        match self {
            Self::Csv => files::csv(closing, &statements),
            Self::Payments => files::payments(closing, &statements),
            Self::Json => files::json(closing, &statements),
            Self::Xlsx => files::xlsx(closing, &statements),
        }
    }
}

/// Writes a closing's statements in every form, and of a closed one the payment orders as of a local
/// day; answers the statements and the names of the files.
///
/// # Errors
/// Where the statements cannot be made, an account is missing, or a file cannot be written. The
/// statements' own files are there then.
pub async fn export(
    session: &Session,
    closing: &Closing,
    grantor: Option<&str>,
    folder: &Path,
    today: NaiveDate,
) -> Result<(Vec<Told>, Vec<String>), WarehouseError> {
    let mut told = statements(session, closing).await?;
    told.retain(|told| grantor.is_none_or(|of| told.statement.number.grantor.as_str() == of));
    let mut names = Vec::new();
    for form in File::ALL {
        let name = form.name(closing);
        file::write(&folder.join(&name), &form.bytes(closing, &told)?)?;
        names.push(name);
    }
    let Some(closed) = closing.closed else { return Ok((told, names)) };
    for order in orders(session, closing, closed, &told, today).await? {
        let name = order.file_name();
        file::write(&folder.join(&name), &order.xml()?)?;
        names.push(name);
    }
    Ok((told, names))
}

/// Refuses a closing that a table has not reached: its statement would lack lines, and change.
async fn landed(
    session: &Session,
    table: &'static str,
    ends: &[u64],
) -> Result<(), WarehouseError> {
    let positions = session.positions(table, table, ends.len()).await?;
    for (partition, end) in ends.iter().enumerate() {
        let next = positions.get(&format!("{table}/{partition}")).copied().unwrap_or(0);
        let next = u64::try_from(next).unwrap_or(0);
        if next < *end {
            return Err(WarehouseError::NotLanded { table, partition, next, end: *end });
        }
    }
    Ok(())
}

fn offsets(closing: &Closing) -> Result<Rows, WarehouseError> {
    let ends = &closing.end_offsets;
    let partitions = (0_i32..).zip(ends).map(|(partition, _)| partition);
    let number = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    let from = closing.from_offsets.iter().copied().chain(std::iter::repeat(0));
    let schema = Arc::new(Schema::new(vec![
        Field::new("source_partition", DataType::Int32, false),
        Field::new("from_offset", DataType::Int64, false),
        Field::new("end_offset", DataType::Int64, false),
    ]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int32Array::from_iter_values(partitions)),
            Arc::new(Int64Array::from_iter_values(from.take(ends.len()).map(number))),
            Arc::new(Int64Array::from_iter_values(ends.iter().copied().map(number))),
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
