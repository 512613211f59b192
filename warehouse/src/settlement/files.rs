//! A period's statements as files, byte for byte the same whenever they are asked for.

use chrono::SecondsFormat;
use domain::amount::Amount;
use serde::Serialize;

use super::{Closing, Statement};
use crate::error::WarehouseError;

#[derive(Serialize)]
struct Period<'a> {
    period: String,
    state: &'static str,
    closed_at: Option<String>,
    end_offsets: &'a [u64],
    statements: Vec<StatementJson<'a>>,
}

#[derive(Serialize)]
struct StatementJson<'a> {
    number: String,
    grantor: &'a str,
    merchant: &'a str,
    currency: &'static str,
    amount_cents: i64,
    grantor_cents: i64,
    vat_cents: i64,
    lines: i64,
    instructions: Vec<RowJson<'a>>,
}

#[derive(Serialize)]
struct RowJson<'a> {
    instruction: &'a str,
    uses: i64,
    lines: i64,
    units: i64,
    amount_cents: i64,
    grantor_cents: i64,
    vat_bp: Option<i64>,
    vat_cents: i64,
}

/// One row per statement and instruction, amounts in euro.
pub(super) fn csv(closing: &Closing, statements: &[Statement]) -> Result<Vec<u8>, WarehouseError> {
    let failed = |error: &dyn std::fmt::Display| WarehouseError::Export {
        format: "CSV",
        reason: error.to_string(),
    };
    let ending = csv::Terminator::CRLF;
    let mut writer = csv::WriterBuilder::new().terminator(ending).from_writer(Vec::new());
    let header = [
        "statement",
        "grantor",
        "merchant",
        "period",
        "state",
        "instruction",
        "uses",
        "lines",
        "units",
        "benefit_eur",
        "grantor_eur",
        "vat_rate_percent",
        "vat_eur",
    ];
    writer.write_record(header).map_err(|error| failed(&error))?;
    let euro = |cents: i64| Amount::from_cents(cents).to_string();
    for statement in statements {
        let number = &statement.number;
        for row in &statement.rows {
            let cells = [
                number.to_string(),
                number.grantor.to_string(),
                number.merchant.to_string(),
                number.period.to_string(),
                state(closing).to_owned(),
                row.instruction.clone(),
                row.uses.to_string(),
                row.lines.to_string(),
                row.units.to_string(),
                euro(row.amount_cents),
                euro(row.grantor_cents),
                // Basis points are hundredths of a per cent, as cents are of a euro.
                row.vat_bp.map(euro).unwrap_or_default(),
                euro(row.vat_cents),
            ];
            writer.write_record(cells).map_err(|error| failed(&error))?;
        }
    }
    writer.into_inner().map_err(|error| failed(&error))
}

/// The statements with their rows, amounts in cents.
pub(super) fn json(closing: &Closing, statements: &[Statement]) -> Result<Vec<u8>, WarehouseError> {
    let period = Period {
        period: closing.period.to_string(),
        state: state(closing),
        closed_at: closing.closed_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        end_offsets: &closing.end_offsets,
        statements: statements.iter().map(statement).collect(),
    };
    let written = serde_json::to_vec_pretty(&period);
    let mut bytes = written
        .map_err(|error| WarehouseError::Export { format: "JSON", reason: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn statement(statement: &Statement) -> StatementJson<'_> {
    let rows = statement.rows.iter().map(|row| RowJson {
        instruction: &row.instruction,
        uses: row.uses,
        lines: row.lines,
        units: row.units,
        amount_cents: row.amount_cents,
        grantor_cents: row.grantor_cents,
        vat_bp: row.vat_bp,
        vat_cents: row.vat_cents,
    });
    StatementJson {
        number: statement.number.to_string(),
        grantor: statement.number.grantor.as_str(),
        merchant: statement.number.merchant.as_str(),
        currency: "EUR",
        amount_cents: statement.amount_cents(),
        grantor_cents: statement.grantor_cents(),
        vat_cents: statement.vat_cents(),
        lines: statement.lines(),
        instructions: rows.collect(),
    }
}

fn state(closing: &Closing) -> &'static str {
    if closing.closed_at.is_some() { "closed" } else { "open" }
}
