//! A closing's statements as files, byte for byte the same whenever they are asked for.

use chrono::SecondsFormat;
use domain::amount::Amount;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};
use serde::Serialize;

use super::{Closing, Statement};
use crate::{
    error::WarehouseError,
    export::{guarded, unwritten},
};

#[derive(Serialize)]
struct Period<'a> {
    period: String,
    correction: u32,
    state: &'static str,
    closed_at: Option<String>,
    from_offsets: &'a [u64],
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
    excess_cents: i64,
    vat_cents: i64,
    carried_in_cents: i64,
    payable_cents: i64,
    carried_out_cents: i64,
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
    excess_cents: i64,
    vat_bp: Option<i64>,
    vat_cents: i64,
}

/// A cell of the tables: text, a count, or an amount.
enum Cell {
    Text(String),
    Count(i64),
    Euro(i64),
    /// A rate in basis points, shown in per cent: they are hundredths, as cents are of a euro.
    Percent(i64),
    Nothing,
}

const INSTRUCTIONS: [&str; 14] = [
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
    "excess_eur",
    "vat_rate_percent",
    "vat_eur",
];

const PAYMENTS: [&str; 12] = [
    "statement",
    "grantor",
    "merchant",
    "period",
    "state",
    "benefit_eur",
    "grantor_eur",
    "excess_eur",
    "vat_eur",
    "carried_in_eur",
    "payable_eur",
    "carried_out_eur",
];

/// One row per statement and instruction.
fn instructions(closing: &Closing, statements: &[&Statement]) -> Vec<Vec<Cell>> {
    let rows = statements.iter().flat_map(|statement| {
        statement.rows.iter().map(|row| {
            let mut cells = head(closing, statement);
            cells.extend([
                Cell::Text(row.instruction.clone()),
                Cell::Count(row.uses),
                Cell::Count(row.lines),
                Cell::Count(row.units),
                Cell::Euro(row.amount_cents),
                Cell::Euro(row.grantor_cents),
                Cell::Euro(row.excess_cents),
                row.vat_bp.map_or(Cell::Nothing, Cell::Percent),
                Cell::Euro(row.vat_cents),
            ]);
            cells
        })
    });
    rows.collect()
}

/// One row per statement: what is owed, carried and paid.
fn payment_rows(closing: &Closing, statements: &[&Statement]) -> Vec<Vec<Cell>> {
    let rows = statements.iter().map(|statement| {
        let mut cells = head(closing, statement);
        let amounts = [
            statement.amount_cents(),
            statement.grantor_cents(),
            statement.excess_cents(),
            statement.vat_cents(),
            statement.carried_in_cents,
            statement.payable_cents(),
            statement.carried_out_cents(),
        ];
        cells.extend(amounts.map(Cell::Euro));
        cells
    });
    rows.collect()
}

fn head(closing: &Closing, statement: &Statement) -> Vec<Cell> {
    let number = &statement.number;
    let texts = [
        number.to_string(),
        number.grantor.to_string(),
        number.merchant.to_string(),
        number.period.to_string(),
        state(closing).to_owned(),
    ];
    texts.map(Cell::Text).into()
}

/// One row per statement and instruction, amounts in euro.
pub(super) fn csv(closing: &Closing, statements: &[&Statement]) -> Result<Vec<u8>, WarehouseError> {
    comma_separated(&INSTRUCTIONS, instructions(closing, statements))
}

/// One row per statement, amounts in euro.
pub(super) fn payments(
    closing: &Closing,
    statements: &[&Statement],
) -> Result<Vec<u8>, WarehouseError> {
    comma_separated(&PAYMENTS, payment_rows(closing, statements))
}

fn comma_separated(header: &[&str], rows: Vec<Vec<Cell>>) -> Result<Vec<u8>, WarehouseError> {
    let failed = |error: &dyn std::fmt::Display| unwritten("CSV", error);
    let ending = csv::Terminator::CRLF;
    let mut writer = csv::WriterBuilder::new().terminator(ending).from_writer(Vec::new());
    writer.write_record(header).map_err(|error| failed(&error))?;
    for row in rows {
        let cells = row.into_iter().map(|cell| match cell {
            Cell::Text(text) => guarded(text),
            Cell::Count(count) => count.to_string(),
            Cell::Euro(cents) | Cell::Percent(cents) => Amount::from_cents(cents).to_string(),
            Cell::Nothing => String::new(),
        });
        writer.write_record(cells).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}

/// Both tables as sheets, amounts as numbers with two decimals.
pub(super) fn xlsx(
    closing: &Closing,
    statements: &[&Statement],
) -> Result<Vec<u8>, WarehouseError> {
    let mut workbook = Workbook::new();
    let sheets = [
        ("Statements", &PAYMENTS[..], payment_rows(closing, statements)),
        ("Instructions", &INSTRUCTIONS[..], instructions(closing, statements)),
    ];
    let written = (|| -> Result<Vec<u8>, XlsxError> {
        // A file without this carries the instant at which it was written.
        let created = closing.closed.map_or(0, |closed| closed.at.timestamp());
        let created = ExcelDateTime::from_timestamp(created)?;
        let properties = DocProperties::new().set_title(closing.name()).set_author("AVIS");
        workbook.set_properties(&properties.set_creation_datetime(&created));
        for (name, header, rows) in sheets {
            fill(workbook.add_worksheet().set_name(name)?, header, rows)?;
        }
        workbook.save_to_buffer()
    })();
    written.map_err(|error| unwritten("XLSX", &error))
}

fn fill(sheet: &mut Worksheet, header: &[&str], rows: Vec<Vec<Cell>>) -> Result<(), XlsxError> {
    let bold = Format::new().set_bold();
    let euro = Format::new().set_num_format("#,##0.00");
    for (column, name) in (0_u16..).zip(header) {
        sheet.write_with_format(0, column, *name, &bold)?;
        sheet.set_column_width(column, if column == 0 { 34 } else { 16 })?;
    }
    sheet.set_freeze_panes(1, 1)?;
    for (row, cells) in (1_u32..).zip(rows) {
        for (column, cell) in (0_u16..).zip(cells) {
            match cell {
                // A text is written as one, whatever it begins with.
                Cell::Text(text) => sheet.write_string(row, column, text)?,
                Cell::Count(count) => sheet.write_number(row, column, float(count))?,
                Cell::Euro(cents) | Cell::Percent(cents) => {
                    sheet.write_number_with_format(row, column, float(cents) / 100.0, &euro)?
                }
                Cell::Nothing => sheet,
            };
        }
    }
    Ok(())
}

/// A spreadsheet knows no other numbers; up to ninety trillion euro a cent is exact to the eye.
#[allow(clippy::cast_precision_loss, reason = "for show; the other files have every digit")]
fn float(number: i64) -> f64 {
    number as f64
}

/// The statements with their rows, amounts in cents.
pub(super) fn json(
    closing: &Closing,
    statements: &[&Statement],
) -> Result<Vec<u8>, WarehouseError> {
    let closed_at = closing.closed.map(|closed| closed.at);
    let period = Period {
        period: closing.period.to_string(),
        correction: closing.correction,
        state: state(closing),
        closed_at: closed_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        from_offsets: &closing.from_offsets,
        end_offsets: &closing.end_offsets,
        statements: statements.iter().map(|of| statement(of)).collect(),
    };
    let written = serde_json::to_vec_pretty(&period);
    let mut bytes = written.map_err(|error| unwritten("JSON", &error))?;
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
        excess_cents: row.excess_cents,
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
        excess_cents: statement.excess_cents(),
        vat_cents: statement.vat_cents(),
        carried_in_cents: statement.carried_in_cents,
        payable_cents: statement.payable_cents(),
        carried_out_cents: statement.carried_out_cents(),
        lines: statement.lines(),
        instructions: rows.collect(),
    }
}

/// The state at the closing: what becomes of a statement later is not in its files.
const fn state(closing: &Closing) -> &'static str {
    if closing.closed.is_some() { "closed" } else { "draft" }
}
