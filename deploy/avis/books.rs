//! The proof that the books balance: statements against the stream, by an independent path.
//!
//! Statements are SQL over the tables. Here the `authorisations` stream itself is added up, record by
//! record, without SQL and without tables; every cent that differs is named.

use std::{collections::BTreeMap, sync::Arc};

use domain::period::Month;
use ingest::{
    error::LogError,
    log::{Log, replay},
    record::Position,
    topic::Topic,
    wire::v1::{AuthorisationLine, Event},
};
use warehouse::settlement::Closing;

/// What one grantor owes one merchant by one statement, as one of the books has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Captured minus refunded, in cents.
    pub amount_cents: i64,
    /// What the grantor owes of it, in cents: its part, and the excess that it bears.
    pub owed_cents: i64,
}

/// Grantor, merchant, month and which closing of the month.
pub type Account = (String, String, Month, u32);

/// Adds up the stream up to the given end offsets, one per partition, by the closing that each record
/// is in; what is in none is in the month's next one.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn add_up(
    log: &Arc<dyn Log>,
    closings: &[Closing],
    ends: &[u64],
) -> Result<BTreeMap<Account, Owed>, LogError> {
    let mut books: BTreeMap<Account, Owed> = BTreeMap::new();
    let before = |ends: &[u64], at: Position| {
        let partition = usize::try_from(at.partition).unwrap_or(usize::MAX);
        ends.get(partition).is_some_and(|end| at.offset < *end)
    };
    let closing = |month: Month, at: Position| {
        let of_month = || closings.iter().filter(|closing| closing.period == month);
        let found = of_month().find(|closing| before(&closing.end_offsets, at));
        let next = || u32::try_from(of_month().count()).unwrap_or(u32::MAX);
        found.map_or_else(next, |closing| closing.correction)
    };
    replay(log, Topic::Authorisations, |stored| {
        if !before(ends, stored.position) {
            return Ok(());
        }
        let (merchant, date, lines) = match &stored.record.event {
            Event::AuthorisationDecided(event) if event.status == "captured" => {
                (&event.merchant_id, &event.date, &event.lines)
            }
            Event::AuthorisationChanged(event)
                if matches!(event.transition.as_str(), "capture" | "refund") =>
            {
                // A capture counts for its reservation's month.
                let date = event.lines_date.as_ref().unwrap_or(&event.date);
                (&event.merchant_id, date, &event.lines)
            }
            _ => return Ok(()),
        };
        let Ok(day) = date.parse() else { return Ok(()) };
        let month = Month::of(day);
        enter(&mut books, merchant, (month, closing(month, stored.position)), lines);
        Ok::<(), LogError>(())
    })
    .await?;
    // An excess that nobody pays for leaves an account of nothing.
    books.retain(|_, owed| *owed != Owed::default());
    Ok(books)
}

fn enter(
    books: &mut BTreeMap<Account, Owed>,
    merchant: &str,
    (month, closing): (Month, u32),
    lines: &[AuthorisationLine],
) {
    for benefit in lines.iter().flat_map(|line| &line.benefits) {
        let borne = if benefit.excess_borne_by == "grantor" { benefit.excess_cents } else { 0 };
        let account = (benefit.grantor_id.clone(), merchant.to_owned(), month, closing);
        let owed = books.entry(account).or_default();
        owed.amount_cents += benefit.amount_cents;
        owed.owed_cents += benefit.grantor_cents + borne;
    }
}

/// A cent that is in one book and not in the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub account: Account,
    /// What the stream has.
    pub stream: Owed,
    /// What the statements have.
    pub statements: Owed,
}

impl Difference {
    /// The cents by which the books differ, each way added.
    #[must_use]
    pub const fn cents(&self) -> i64 {
        (self.stream.amount_cents - self.statements.amount_cents).abs()
            + (self.stream.owed_cents - self.statements.owed_cents).abs()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (grantor, merchant, month, closing) = &self.account;
        let correction = if *closing > 0 { format!("-K{closing}") } else { String::new() };
        write!(
            f,
            "{grantor}-{merchant}-{month}{correction}: stream {} ({} owed) cents, statements {} ({})",
            self.stream.amount_cents,
            self.stream.owed_cents,
            self.statements.amount_cents,
            self.statements.owed_cents,
        )
    }
}

/// Every account on which the two books differ.
#[must_use]
pub fn differences(
    stream: &BTreeMap<Account, Owed>,
    statements: &BTreeMap<Account, Owed>,
) -> Vec<Difference> {
    let accounts: std::collections::BTreeSet<_> = stream.keys().chain(statements.keys()).collect();
    let compared = accounts.into_iter().map(|account| Difference {
        account: account.clone(),
        stream: stream.get(account).copied().unwrap_or_default(),
        statements: statements.get(account).copied().unwrap_or_default(),
    });
    compared.filter(|found| found.stream != found.statements).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cent_that_differs_is_named() {
        let account = |grantor: &str| -> Account {
            (grantor.into(), "market".into(), Month::parse("2025-01").expect("a month"), 0)
        };
        let owed = |cents| Owed { amount_cents: cents, owed_cents: cents };
        let stream = BTreeMap::from([(account("riga"), owed(100)), (account("ministry"), owed(5))]);
        let mut statements = stream.clone();
        assert_eq!(differences(&stream, &statements), []);
        statements.insert(account("riga"), owed(101));
        statements.remove(&account("ministry"));
        let found = differences(&stream, &statements);
        assert_eq!(
            found.iter().map(|d| d.account.0.as_str()).collect::<Vec<_>>(),
            ["ministry", "riga"]
        );
    }
}
