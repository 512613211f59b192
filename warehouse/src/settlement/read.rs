//! Rows of the queries as statements.

use domain::{
    id::{GrantorId, MerchantId},
    period::Month,
    settlement::StatementNumber,
};

use super::{Statement, StatementRow, contained_vat};
use crate::{error::WarehouseError, session::Rows};

/// The statements in rows that are ordered by grantor, merchant and instruction; `begin` says of a
/// pair the number of its statement and what is carried into it.
pub(super) fn statements(
    rows: &Rows,
    mut begin: impl FnMut(GrantorId, MerchantId) -> Result<(StatementNumber, i64), WarehouseError>,
) -> Result<Vec<Statement>, WarehouseError> {
    let mut statements: Vec<Statement> = Vec::new();
    let parties = parties(rows)?;
    let lines = lines(rows)?;
    for ((grantor, merchant), row) in parties.into_iter().zip(lines) {
        match statements.last_mut() {
            Some(last) if last.number.grantor == grantor && last.number.merchant == merchant => {
                last.rows.push(row);
            }
            _ => {
                let (number, carried_in_cents) = begin(grantor, merchant)?;
                statements.push(Statement { number, carried_in_cents, rows: vec![row] });
            }
        }
    }
    Ok(statements)
}

/// The numbers of the statements in rows.
pub(super) fn numbers(rows: &Rows) -> Result<Vec<StatementNumber>, WarehouseError> {
    let (periods, corrections) = (rows.texts("period")?, rows.longs("correction")?);
    let each = parties(rows)?.into_iter().zip(periods).zip(corrections);
    each.map(|(((grantor, merchant), period), correction)| {
        let period = period.unwrap_or_default();
        let month = Month::parse(&period);
        let period = month.ok_or_else(|| unreadable(format!("{period:?} is no month")))?;
        let correction = correction.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        Ok(StatementNumber { grantor, merchant, period, correction })
    })
    .collect()
}

fn parties(rows: &Rows) -> Result<Vec<(GrantorId, MerchantId)>, WarehouseError> {
    let pairs = rows.texts("grantor_id")?.into_iter().zip(rows.texts("merchant_id")?);
    pairs
        .map(|(grantor, merchant)| {
            let (grantor, merchant) = (grantor.unwrap_or_default(), merchant.unwrap_or_default());
            let wrong =
                |error| unreadable(format!("a statement of {grantor:?} to {merchant:?}: {error}"));
            Ok((
                GrantorId::new(&grantor).map_err(wrong)?,
                MerchantId::new(&merchant).map_err(wrong)?,
            ))
        })
        .collect()
}

fn lines(rows: &Rows) -> Result<Vec<StatementRow>, WarehouseError> {
    let instructions = rows.texts("instruction_id")?;
    let rates = rows.longs("vat_bp")?;
    let [uses, lines, units] =
        [rows.longs("uses")?, rows.longs("captured_lines")?, rows.longs("units")?];
    let [amounts, parts, excess] =
        [rows.cents("benefit")?, rows.cents("grantor_part")?, rows.cents("grantor_excess")?];
    let at = |column: &[Option<i64>], row: usize| column.get(row).copied().flatten();
    let line = |(row, instruction): (usize, Option<String>)| {
        let value = |column: &[Option<i64>]| at(column, row).unwrap_or(0);
        let (grantor_cents, excess_cents) = (value(&parts), value(&excess));
        let vat_bp = at(&rates, row);
        StatementRow {
            instruction: instruction.unwrap_or_default(),
            vat_bp,
            uses: value(&uses),
            lines: value(&lines),
            units: value(&units),
            amount_cents: value(&amounts),
            grantor_cents,
            excess_cents,
            vat_cents: contained_vat(grantor_cents + excess_cents, vat_bp),
        }
    };
    Ok(instructions.into_iter().enumerate().map(line).collect())
}

pub(super) fn unreadable(reason: String) -> WarehouseError {
    WarehouseError::Rows { table: "settlement_statements", reason }
}
