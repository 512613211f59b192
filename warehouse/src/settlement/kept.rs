//! Closed statements in their tables: written once by whoever follows the stream, read by everybody.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema},
};
use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;
use domain::settlement::StatementState;

use super::{Closed, Closing, Statement, Told, landed, payment, read};
use crate::{
    error::WarehouseError,
    schema,
    session::{Rows, Session},
};

const KEPT_STATEMENTS: &str = include_str!("../../sql/settlements/kept_statements.sql");
const KEPT_LINES: &str = include_str!("../../sql/settlements/kept_lines.sql");
const STATE_CHANGES: &str = include_str!("../../sql/settlements/state_changes.sql");

/// The table of statements.
pub const STATEMENTS: &str = "settlement_statements";
/// The table of their instructions.
pub const LINES: &str = "settlement_lines";

/// The statements that a record closed, by grantor and merchant.
///
/// # Errors
/// Where the tables do not have them yet, or a query fails.
pub async fn of(session: &Session, closed: Closed) -> Result<Vec<Told>, WarehouseError> {
    landed(session, STATEMENTS, &[closed.offset + 1]).await?;
    landed(session, LINES, &[closed.offset + 1]).await?;
    let closing = ScalarValue::Int64(i64::try_from(closed.offset).ok());
    let heads = session.query(KEPT_STATEMENTS, vec![("closing", closing.clone())]).await?;
    let lines = session.query(KEPT_LINES, vec![("closing", closing)]).await?;
    let numbers = read::numbers(&heads)?;
    let carried = heads.cents("carried_in")?;
    let mut known: BTreeMap<_, _> = numbers
        .iter()
        .zip(&carried)
        .map(|(number, carried)| {
            let pair = (number.grantor.clone(), number.merchant.clone());
            (pair, (number.clone(), carried.unwrap_or(0)))
        })
        .collect();
    let statements = read::statements(&lines, |grantor, merchant| {
        let found = known.remove(&(grantor.clone(), merchant.clone()));
        found.ok_or_else(|| {
            read::unreadable(format!("{grantor} and {merchant} have lines and no statement"))
        })
    })?;
    told(&heads, statements)
}

fn told(heads: &Rows, statements: Vec<Statement>) -> Result<Vec<Told>, WarehouseError> {
    let (states, reasons) = (heads.texts("state")?, heads.texts("reason")?);
    let refusals = heads.longs("refusals")?;
    if states.len() != statements.len() {
        return Err(read::unreadable("statements and their lines differ".into()));
    }
    let sums = heads.cents("payable")?.into_iter().zip(heads.cents("carried_out")?);
    for (statement, sums) in statements.iter().zip(sums) {
        let derived = (Some(statement.payable_cents()), Some(statement.carried_out_cents()));
        if sums != derived {
            let text = format!("{}: its sums are not those of its lines", statement.number);
            return Err(read::unreadable(text));
        }
    }
    let orders = heads.texts("payment_order")?;
    let each = statements.into_iter().zip(states).zip(reasons).zip(refusals).zip(orders);
    each.map(|((((statement, state), reason), refusals), order)| {
        let state = state.unwrap_or_default();
        let known = StatementState::parse(&state);
        let state = known.ok_or_else(|| read::unreadable(format!("{state:?} is no state")))?;
        let refusals = refusals.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        Ok(Told { statement, state, reason, refusals, order })
    })
    .collect()
}

/// Where a record stands, and when it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its offset in the stream `settlements`.
    pub offset: u64,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// The rows that a closing adds to [`STATEMENTS`].
///
/// # Errors
/// Where a value does not fit its column.
pub fn statement_rows(
    statements: &[Statement],
    closing: &Closing,
    place: Place,
) -> Result<RecordBatch, WarehouseError> {
    let count = statements.len();
    let order = |of: &Statement| payment::order_id(closing, &of.number.grantor);
    let order = |of: &Statement| (of.payable_cents() > 0).then(|| order(of));
    let text = |of: &dyn Fn(&Statement) -> String| texts(statements.iter().map(of));
    let money = |of: fn(&Statement) -> i64| money(statements.iter().map(of));
    let corrections = statements.iter().map(|statement| statement.number.correction);
    let corrections = corrections.map(|number| i32::try_from(number).unwrap_or(i32::MAX));
    let offset = i64::try_from(place.offset).unwrap_or(i64::MAX);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("statement", text(&|statement| statement.number.to_string())),
        ("grantor_id", text(&|statement| statement.number.grantor.to_string())),
        ("merchant_id", text(&|statement| statement.number.merchant.to_string())),
        ("period", text(&|statement| statement.number.period.to_string())),
        ("correction", Arc::new(Int32Array::from_iter_values(corrections))),
        ("state", text(&|_| StatementState::Closed.code().to_owned())),
        ("reason", Arc::new(StringArray::new_null(count))),
        ("refusals", Arc::new(Int32Array::from_value(0, count))),
        ("lines", longs(statements.iter().map(Statement::lines))),
        ("benefit", money(Statement::amount_cents)),
        ("grantor_part", money(Statement::grantor_cents)),
        ("grantor_excess", money(Statement::excess_cents)),
        ("vat", money(Statement::vat_cents)),
        ("carried_in", money(|statement| statement.carried_in_cents)),
        ("payable", money(Statement::payable_cents)),
        ("carried_out", money(Statement::carried_out_cents)),
        ("payment_order", Arc::new(StringArray::from_iter(statements.iter().map(order)))),
        ("closing_offset", longs(std::iter::repeat_n(offset, count))),
        ("closed_at", instants(place.recorded_at, count)),
    ];
    columns.extend(placed(place, count));
    batch(STATEMENTS, columns)
}

/// The rows that a closing adds to [`LINES`].
///
/// # Errors
/// Where a value does not fit its column.
pub fn line_rows(statements: &[Statement], place: Place) -> Result<RecordBatch, WarehouseError> {
    let rows: Vec<_> = statements
        .iter()
        .flat_map(|statement| statement.rows.iter().map(move |row| (&statement.number, row)))
        .collect();
    let count = rows.len();
    let head = |of: fn(&domain::settlement::StatementNumber) -> String| {
        texts(rows.iter().map(|(number, _)| of(number)))
    };
    let rates = rows.iter().map(|(_, row)| row.vat_bp.and_then(|rate| i32::try_from(rate).ok()));
    let long = |of: fn(&super::StatementRow) -> i64| longs(rows.iter().map(|(_, row)| of(row)));
    let money = |of: fn(&super::StatementRow) -> i64| money(rows.iter().map(|(_, row)| of(row)));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("statement", head(ToString::to_string)),
        ("grantor_id", head(|number| number.grantor.to_string())),
        ("merchant_id", head(|number| number.merchant.to_string())),
        ("period", head(|number| number.period.to_string())),
        ("instruction_id", texts(rows.iter().map(|(_, row)| row.instruction.clone()))),
        ("vat_bp", Arc::new(Int32Array::from_iter(rates))),
        ("uses", long(|row| row.uses)),
        ("lines", long(|row| row.lines)),
        ("units", long(|row| row.units)),
        ("benefit", money(|row| row.amount_cents)),
        ("grantor_part", money(|row| row.grantor_cents)),
        ("grantor_excess", money(|row| row.excess_cents)),
        ("vat", money(|row| row.vat_cents)),
    ];
    columns.extend(placed(place, count));
    batch(LINES, columns)
}

/// A statement's new state, and the bank's reason where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub statement: String,
    /// The state that it is in now.
    pub state: StatementState,
    /// Why the bank refused or returned its payment.
    pub reason: Option<String>,
}

/// The rows that new states add to [`STATEMENTS`]; a statement that there is not has none.
///
/// # Errors
/// Where the query fails.
pub async fn change_rows(
    session: &Session,
    changes: &[Change],
    place: Place,
) -> Result<Vec<RecordBatch>, WarehouseError> {
    let states = changes.iter().map(|change| change.state.code().to_owned());
    let reasons = changes.iter().map(|change| change.reason.clone());
    let refusals = changes.iter().map(|change| i32::from(change.reason.is_some()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("statement", texts(changes.iter().map(|change| change.statement.clone()))),
        ("state", texts(states)),
        ("reason", Arc::new(StringArray::from_iter(reasons))),
        ("refusals", Arc::new(Int32Array::from_iter_values(refusals))),
    ];
    let told = loose(columns)?;
    let told = Rows { schema: told.schema(), batches: vec![told] };
    let offset = ScalarValue::Int64(i64::try_from(place.offset).ok());
    let session = session.with_rows("told", told)?;
    let rows = session.query(STATE_CHANGES, vec![("offset", offset)]).await?;
    let mut placed_rows = Vec::new();
    for rows in rows.batches {
        let schema = rows.schema();
        let fields = schema.fields().iter().map(|field| field.name().clone());
        let fields: Vec<_> = fields.collect();
        let columns = fields.iter().map(String::as_str).zip(rows.columns().iter().cloned());
        let count = rows.num_rows();
        placed_rows.push(batch(STATEMENTS, columns.chain(placed(place, count)).collect())?);
    }
    Ok(placed_rows)
}

fn placed(place: Place, count: usize) -> [(&'static str, ArrayRef); 3] {
    let offset = i64::try_from(place.offset).unwrap_or(i64::MAX);
    [
        ("recorded_at", instants(place.recorded_at, count)),
        ("source_partition", Arc::new(Int32Array::from_value(0, count))),
        ("source_offset", longs(std::iter::repeat_n(offset, count))),
    ]
}

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn longs(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn money(cents: impl Iterator<Item = i64>) -> ArrayRef {
    let amounts = Decimal128Array::from_iter_values(cents.map(i128::from));
    // Any sum of cents in 64 bits has at most 19 digits; one that has is told when it is fitted.
    Arc::new(amounts.with_data_type(DataType::Decimal128(38, 2)))
}

fn instants(at: DateTime<Utc>, count: usize) -> ArrayRef {
    let instants = TimestampMicrosecondArray::from_value(at.timestamp_micros(), count);
    Arc::new(instants.with_timezone("UTC"))
}

fn loose(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, WarehouseError> {
    let fields = columns.iter();
    let fields = fields.map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(schema, columns)
        .map_err(|error| WarehouseError::Query(datafusion::error::DataFusionError::from(error)))
}

fn batch(
    table: &'static str,
    columns: Vec<(&str, ArrayRef)>,
) -> Result<RecordBatch, WarehouseError> {
    let table = schema::table(table).expect("the schema has the tables of settlements");
    crate::table::fit(&loose(columns)?, table)
}
