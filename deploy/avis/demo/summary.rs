//! What happened, for people to read and for programs to compare.

use std::{io::Write, time::Duration};

use arrow::{array::AsArray, compute::cast, datatypes::DataType};
use serde_json::{Map, Value, json};
use warehouse::{session::Rows, settlement::Told};

use super::publish::Published;
use crate::{cli::DemoArguments, failure::Failure, node::Node};

const TOTALS: &str = include_str!("figures/totals.sql");
const DECISIONS: &str = include_str!("figures/decisions.sql");
const INSTRUCTIONS: &str = include_str!("figures/instructions.sql");

/// The demo's figures, from the tables.
#[derive(Debug)]
pub struct Summary {
    figures: Map<String, Value>,
    closed: Vec<String>,
    open: Vec<String>,
}

impl Summary {
    /// Reads the figures.
    ///
    /// # Errors
    /// Where a query fails.
    pub async fn read(node: &Node, published: &Published) -> Result<Self, Failure> {
        let session = node.session()?;
        let totals = session.rows(TOTALS).await?;
        let decisions = session.rows(DECISIONS).await?;
        let instructions = session.rows(INSTRUCTIONS).await?;
        let mut figures = Map::new();
        let first = |name| numbers(&totals, name).first().copied().unwrap_or(0);
        figures.insert("transactions".into(), json!(first("transactions")));
        figures.insert("total_cents".into(), json!(first("total")));
        figures.insert("benefit_cents".into(), json!(first("benefit")));
        figures.insert("points_earned".into(), json!(first("points_earned")));
        let by_decision = texts(&decisions, "decision").into_iter();
        let by_decision = by_decision.zip(numbers(&decisions, "decisions"));
        let by_decision: Map<_, _> =
            by_decision.map(|(name, count)| (name, json!(count))).collect();
        figures.insert("decisions".into(), Value::Object(by_decision));
        figures.insert("instructions".into(), by_instruction(&instructions));
        figures.insert("settlements".into(), settlements(published));
        figures.insert("books_balance".into(), json!(published.proof.balanced().is_ok()));
        figures.insert("warehouse".into(), json!(node.warehouse_shown()));
        let months = |closed: bool| {
            let months = published.months.iter();
            let months = months.filter(|(closing, _)| closing.closed.is_some() == closed);
            months.map(|(closing, _)| closing.period.to_string()).collect()
        };
        Ok(Self { figures, closed: months(true), open: months(false) })
    }

    /// Notes how long all of it took, and the streaming alone in seconds.
    pub fn took(&mut self, all: Duration, streaming: f64) {
        let transactions = self.number("transactions");
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let per_second = (transactions as f64 / streaming.max(0.001)).round();
        self.figures.insert("seconds".into(), json!((all.as_secs_f64() * 100.0).round() / 100.0));
        self.figures.insert("per_second".into(), json!(per_second));
    }

    fn number(&self, name: &str) -> i64 {
        self.figures.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    /// Prints one JSON object, or what a person likes to read.
    ///
    /// # Errors
    /// Where standard output takes no more.
    pub fn print(&self, arguments: &DemoArguments) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        if arguments.json {
            serde_json::to_writer(&mut out, &self.figures).map_err(std::io::Error::from)?;
            writeln!(out)?;
            return Ok(());
        }
        let folder = arguments.out.display();
        let figure = |name: &str| grouped(self.number(name));
        let euro = |name: &str| euro(self.number(name));
        let decision = |name: &str| grouped(self.figures["decisions"][name].as_i64().unwrap_or(0));
        writeln!(out)?;
        writeln!(
            out,
            "  {:>14}  baskets for {} euro",
            figure("transactions"),
            euro("total_cents")
        )?;
        writeln!(
            out,
            "  {:>14}  approved, {} without a benefit, {} declined",
            decision("approved"),
            decision("no_benefit"),
            decision("declined")
        )?;
        writeln!(out, "  {:>14}  euro given in benefits", euro("benefit_cents"))?;
        writeln!(out, "  {:>14}  loyalty points earned", figure("points_earned"))?;
        writeln!(out)?;
        self.print_instructions(&mut out)?;
        self.print_settlements(&mut out)?;
        let balanced = self.figures["books_balance"] == Value::Bool(true);
        let verdict =
            if balanced { "balance: every cent is accounted for" } else { "DO NOT BALANCE" };
        writeln!(out, "\n  The books {verdict}.")?;
        writeln!(
            out,
            "  {} s in all; streamed, decided and landed at {} transactions a second.",
            self.figures["seconds"],
            grouped(self.figures["per_second"].as_f64().map_or(0, |rate| rate as i64)),
        )?;
        writeln!(
            out,
            "\n  Open {folder}/index.html to look at it; beside it lie settlements/, reports/,"
        )?;
        writeln!(out, "  open-data/ and the tables in warehouse/ (Delta Lake). Ask them:")?;
        writeln!(
            out,
            "    avis sql --data {folder} \"SELECT merchant_id, SUM(amount) FROM benefit_lines GROUP BY 1\""
        )?;
        writeln!(out, "    avis up --data {folder}")?;
        Ok(())
    }

    fn print_instructions(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(
            out,
            "  {:<26} {:>8} {:>8} {:>12} {:>12}",
            "instruction", "uses", "lines", "euro", "grantor's"
        )?;
        for (name, row) in self.figures["instructions"].as_object().into_iter().flatten() {
            let cell = |field: &str| row[field].as_i64().unwrap_or(0);
            writeln!(
                out,
                "  {name:<26} {:>8} {:>8} {:>12} {:>12}",
                grouped(cell("uses")),
                grouped(cell("lines")),
                euro(cell("amount_cents")),
                euro(cell("grantor_cents")),
            )?;
        }
        writeln!(out)
    }

    fn print_settlements(&self, out: &mut impl Write) -> std::io::Result<()> {
        let months = |label: &str, months: &[String]| match months {
            [] => String::new(),
            months => format!("{label} {}", months.join(", ")),
        };
        let count = self.figures["settlements"].as_object().map_or(0, Map::len);
        let states = [months("closed:", &self.closed), months("open:", &self.open)];
        let states: Vec<_> = states.into_iter().filter(|text| !text.is_empty()).collect();
        writeln!(out, "  {count} statements between grantors and merchants ({})", states.join("; "))
    }
}

fn by_instruction(rows: &Rows) -> Value {
    let column = |name| numbers(rows, name);
    let (uses, lines, units) = (column("uses"), column("lines"), column("units"));
    let (amount, grantor) = (column("amount"), column("grantor_amount"));
    let named = texts(rows, "instruction_id").into_iter().enumerate().map(|(at, name)| {
        (
            name,
            json!({
                "uses": uses[at], "lines": lines[at], "units": units[at],
                "amount_cents": amount[at], "grantor_cents": grantor[at],
            }),
        )
    });
    Value::Object(named.collect())
}

fn settlements(published: &Published) -> Value {
    let statements = published.months.iter().flat_map(|(_, statements)| statements);
    let named = statements.map(|Told { statement, .. }| {
        (
            statement.number.to_string(),
            json!({
                "amount_cents": statement.amount_cents(),
                "grantor_cents": statement.grantor_cents(),
                "lines": statement.lines(),
            }),
        )
    });
    Value::Object(named.collect())
}

/// A column as whole numbers; money as cents.
fn numbers(rows: &Rows, name: &str) -> Vec<i64> {
    let mut numbers = Vec::with_capacity(rows.count());
    for batch in &rows.batches {
        let Some(column) = batch.column_by_name(name) else { continue };
        // The digits of a decimal of scale 2 are its cents.
        let column = match column.data_type() {
            DataType::Decimal128(precision, 2) => {
                let cents = column.as_primitive::<arrow::datatypes::Decimal128Type>().clone();
                let cents = cents.with_data_type(DataType::Decimal128(*precision, 0));
                cast(&cents, &DataType::Int64)
            }
            _ => cast(column, &DataType::Int64),
        };
        let Ok(column) = column else { continue };
        let column = column.as_primitive::<arrow::datatypes::Int64Type>();
        numbers.extend(column.iter().map(|number| number.unwrap_or(0)));
    }
    numbers
}

fn texts(rows: &Rows, name: &str) -> Vec<String> {
    let mut texts = Vec::with_capacity(rows.count());
    for batch in &rows.batches {
        let column =
            batch.column_by_name(name).and_then(|column| cast(column, &DataType::Utf8).ok());
        let Some(column) = column else { continue };
        let column = column.as_string::<i32>();
        texts.extend(column.iter().map(|text| text.unwrap_or_default().to_owned()));
    }
    texts
}

/// The first row's value as text.
#[must_use]
pub fn text(rows: &Rows, name: &str) -> Option<String> {
    texts(rows, name).into_iter().next().filter(|text| !text.is_empty())
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

fn euro(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.abs();
    format!("{sign}{}.{:02}", grouped(cents / 100), cents % 100)
}
