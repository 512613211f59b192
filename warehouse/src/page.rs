//! Pages that a person looks at: one file each, no scripts, nothing from elsewhere.
//!
//! They follow WCAG 2.2 AA: every picture has a title, a description and its numbers in a table
//! behind it; colours keep their contrast in light and dark; all works by keyboard and in print.

use chrono::NaiveDate;
use domain::settlement::StatementState;

use crate::{
    error::WarehouseError,
    session::{Rows, Session, day},
    settlement::{Statement, Told},
};

mod chart;
mod document;
mod table;

pub use document::{render, report};

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
    /// What has become of it.
    pub state: StatementState,
}

/// What a report's picture shows, by the names of its columns.
#[derive(Clone, Copy, Debug)]
pub enum Picture {
    /// Bars: names, and amounts or counts, which are added up by name.
    Bars(&'static str, &'static str),
    /// The same of those rows alone that have nothing in a third column: they sum up the others.
    Sums(&'static str, &'static str, &'static str),
    /// Amounts by the local day in `date`.
    Days(&'static str),
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
    pub fn add_statements(&mut self, told: &[Told]) {
        let figure =
            |told: &Told| StatementFigure { statement: told.statement.clone(), state: told.state };
        self.statements.extend(told.iter().map(figure));
    }

    /// Adds a file beside the page.
    pub fn add_file(&mut self, path: impl Into<String>, about: impl Into<String>) {
        self.files.push(Link { path: path.into(), about: about.into() });
    }
}

fn key_figures(rows: &Rows) -> Result<KeyFigures, WarehouseError> {
    let first = |numbers: Vec<Option<i64>>| numbers.into_iter().next().flatten().unwrap_or(0);
    let count = |name| rows.longs(name).map(first);
    Ok(KeyFigures {
        authorisations: count("authorisations")?,
        approved: count("approved")?,
        recipients: count("recipients")?,
        merchants: count("merchants")?,
        places: count("places")?,
        points: count("points")?,
        total_cents: rows.cents("total").map(first)?,
        benefit_cents: rows.cents("benefit").map(first)?,
    })
}

fn figures(rows: &Rows) -> Result<Vec<Figure>, WarehouseError> {
    let names = rows.texts("name")?.into_iter().map(Option::unwrap_or_default);
    let (uses, cents) = (rows.longs("uses")?, rows.cents("benefit")?);
    let figures = names.zip(uses).zip(cents);
    let figure = |((name, uses), cents): ((String, Option<i64>), Option<i64>)| Figure {
        name,
        uses: uses.unwrap_or(0),
        cents: cents.unwrap_or(0),
    };
    Ok(figures.map(figure).collect())
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
