//! The proof that the books balance: statements against the stream, by an independent path.
//!
//! Statements are SQL over the tables. Here the `authorisations` stream itself is added up, record by
//! record, without SQL and without tables; every cent that differs is named.

use std::{collections::BTreeMap, sync::Arc};

use domain::period::Month;
use ingest::{
    error::LogError,
    log::{Log, replay},
    topic::Topic,
    wire::v1::{AuthorisationLine, Event},
};

/// What one grantor owes one merchant for one month, as the stream has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Captured minus refunded, in cents.
    pub amount_cents: i64,
    /// The grantor's part of it, in cents.
    pub grantor_cents: i64,
}

/// Grantor, merchant and month.
pub type Account = (String, String, Month);

/// Adds up the stream up to the given end offsets, one per partition.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn add_up(log: &Arc<dyn Log>, ends: &[u64]) -> Result<BTreeMap<Account, Owed>, LogError> {
    let mut books: BTreeMap<Account, Owed> = BTreeMap::new();
    replay(log, Topic::Authorisations, |stored| {
        let partition = usize::try_from(stored.position.partition).unwrap_or(usize::MAX);
        if ends.get(partition).is_none_or(|end| stored.position.offset >= *end) {
            return Ok(());
        }
        match &stored.record.event {
            Event::AuthorisationDecided(event) if event.status == "captured" => {
                enter(&mut books, &event.merchant_id, &event.date, &event.lines);
            }
            Event::AuthorisationChanged(event)
                if matches!(event.transition.as_str(), "capture" | "refund") =>
            {
                // A capture counts for its reservation's month.
                let date = event.lines_date.as_ref().unwrap_or(&event.date);
                enter(&mut books, &event.merchant_id, date, &event.lines);
            }
            _ => {}
        }
        Ok::<(), LogError>(())
    })
    .await?;
    Ok(books)
}

fn enter(
    books: &mut BTreeMap<Account, Owed>,
    merchant: &str,
    date: &str,
    lines: &[AuthorisationLine],
) {
    let Ok(day) = date.parse() else { return };
    for benefit in lines.iter().flat_map(|line| &line.benefits) {
        let account = (benefit.grantor_id.clone(), merchant.to_owned(), Month::of(day));
        let owed = books.entry(account).or_default();
        owed.amount_cents += benefit.amount_cents;
        owed.grantor_cents += benefit.grantor_cents;
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
            (grantor.into(), "market".into(), Month::parse("2025-01").expect("a month"))
        };
        let owed = |cents| Owed { amount_cents: cents, grantor_cents: cents };
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
