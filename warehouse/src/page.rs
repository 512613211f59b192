//! Pages that a person looks at: one file each, no scripts, nothing from elsewhere.
//!
//! They follow WCAG 2.2 AA: every picture has a title, a description and its numbers in a table
//! behind it; colours keep their contrast in light and dark; all works by keyboard and in print.

use arrow::{
    array::{ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Int64Type},
};
use chrono::NaiveDate;

use crate::{
    error::WarehouseError,
    session::{Rows, Session, day},
    settlement::{Closing, Statement},
};

mod chart;
mod document;
mod table;

pub use document::{render, table_page};

/// What the page shows.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The first local day.
    pub from: NaiveDate,
    /// The last local day.
    pub to: NaiveDate,
    /// The figures at the head.
    pub key: KeyFigures,
    /// By local day.
    pub days: Vec<Figure>,
    /// By instruction, the largest first.
    pub instructions: Vec<Figure>,
    /// By merchant, the largest first.
    pub merchants: Vec<Figure>,
    /// By territory, the largest first.
    pub territories: Vec<Figure>,
    /// Settlements, in the order they were added.
    pub statements: Vec<StatementFigure>,
    /// Files beside the page.
    pub files: Vec<Link>,
}

/// The figures at the head of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// Baskets that asked.
    pub authorisations: i64,
    /// Baskets that got a benefit.
    pub approved: i64,
    /// Recipients, by pseudonym.
    pub recipients: i64,
    /// Merchants.
    pub merchants: i64,
    /// Places.
    pub places: i64,
    /// Points earned.
    pub points: i64,
    /// What the baskets cost.
    pub total_cents: i64,
    /// What was given.
    pub benefit_cents: i64,
}

/// What was given to a day, an instruction, a merchant or a territory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Whose figure it is.
    pub name: String,
    /// Baskets with a benefit.
    pub uses: i64,
    /// What was given.
    pub cents: i64,
}

/// A statement on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementFigure {
    /// The statement.
    pub statement: Statement,
    /// Whether its period is closed.
    pub closed: bool,
}

/// A file beside the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its path from the page's folder, with `/` between the parts.
    pub path: String,
    /// What it is.
    pub about: String,
}

const KEY_FIGURES: &str = include_str!("../sql/page/key_figures.sql");
const PER_DAY: &str = include_str!("../sql/page/per_day.sql");
const PER_INSTRUCTION: &str = include_str!("../sql/page/per_instruction.sql");
const PER_MERCHANT: &str = include_str!("../sql/page/per_merchant.sql");
const PER_TERRITORY: &str = include_str!("../sql/page/per_territory.sql");

impl Figures {
    /// The figures of some local days, both included; statements and files are added by whoever
    /// has them.
    ///
    /// # Errors
    /// Where a query fails.
    pub async fn read(
        session: &Session,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Self, WarehouseError> {
        let days = || vec![("from", day(from)), ("to", day(to))];
        let query = |sql: &'static str| session.query(sql, days());
        Ok(Self {
            from,
            to,
            key: key_figures(&query(KEY_FIGURES).await?)?,
            days: figures(&query(PER_DAY).await?)?,
            instructions: figures(&query(PER_INSTRUCTION).await?)?,
            merchants: figures(&query(PER_MERCHANT).await?)?,
            territories: figures(&query(PER_TERRITORY).await?)?,
            statements: Vec::new(),
            files: Vec::new(),
        })
    }

    /// Adds the statements of a period.
    pub fn add_statements(&mut self, closing: &Closing, statements: &[Statement]) {
        let closed = closing.closed_at.is_some();
        let added = statements.iter().cloned();
        self.statements.extend(added.map(|statement| StatementFigure { statement, closed }));
    }

    /// Adds a file beside the page.
    pub fn add_file(&mut self, path: impl Into<String>, about: impl Into<String>) {
        self.files.push(Link { path: path.into(), about: about.into() });
    }
}

fn key_figures(rows: &Rows) -> Result<KeyFigures, WarehouseError> {
    let first = |name| -> Result<i64, WarehouseError> {
        Ok(numbers(rows, name)?.first().copied().unwrap_or(0))
    };
    Ok(KeyFigures {
        authorisations: first("authorisations")?,
        approved: first("approved")?,
        recipients: first("recipients")?,
        merchants: first("merchants")?,
        places: first("places")?,
        points: first("points")?,
        total_cents: first("total")?,
        benefit_cents: first("benefit")?,
    })
}

fn figures(rows: &Rows) -> Result<Vec<Figure>, WarehouseError> {
    let mut names = Vec::with_capacity(rows.count());
    for column in columns(rows, "name", &DataType::Utf8)? {
        names.extend(column.as_string::<i32>().iter().map(|name| name.unwrap_or("").to_owned()));
    }
    let (uses, cents) = (numbers(rows, "uses")?, numbers(rows, "benefit")?);
    let figures = names.into_iter().zip(uses).zip(cents);
    Ok(figures.map(|((name, uses), cents)| Figure { name, uses, cents }).collect())
}

/// A column's whole numbers; of money, its cents.
fn numbers(rows: &Rows, name: &str) -> Result<Vec<i64>, WarehouseError> {
    let money = rows
        .schema
        .field_with_name(name)
        .is_ok_and(|field| matches!(field.data_type(), DataType::Decimal128(..)));
    let mut numbers = Vec::with_capacity(rows.count());
    if money {
        for column in columns(rows, name, &DataType::Decimal128(38, 2))? {
            let cents = column.as_primitive::<Decimal128Type>().values().iter();
            numbers.extend(cents.map(|cents| i64::try_from(*cents).unwrap_or(i64::MAX)));
        }
    } else {
        for column in columns(rows, name, &DataType::Int64)? {
            numbers.extend_from_slice(column.as_primitive::<Int64Type>().values());
        }
    }
    Ok(numbers)
}

fn columns(rows: &Rows, name: &str, to: &DataType) -> Result<Vec<ArrayRef>, WarehouseError> {
    let failed = |reason: String| WarehouseError::Export { format: "a page", reason };
    let column = |batch: &arrow::array::RecordBatch| {
        let found = batch.column_by_name(name);
        let found = found.ok_or_else(|| failed(format!("there is no column {name}")))?;
        cast(found, to).map_err(|error| failed(format!("{name}: {error}")))
    };
    rows.batches.iter().map(column).collect()
}

/// Text as it stands in HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A whole number with commas between thousands.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::from(if number < 0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Cents as euro.
fn euro(cents: i64) -> String {
    let sign = if cents < 0 { "−" } else { "" };
    let cents = cents.unsigned_abs();
    let whole = i64::try_from(cents / 100).unwrap_or(i64::MAX);
    format!("{sign}€{}.{:02}", grouped(whole), cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(1_213_512), "1,213,512");
        assert_eq!(grouped(-999), "−999");
        assert_eq!(euro(1_420_907), "€14,209.07");
        assert_eq!(euro(-5), "−€0.05");
        assert_eq!(escaped("<a & 'b'>"), "&lt;a &amp; &#39;b&#39;&gt;");
    }
}
