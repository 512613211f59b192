//! Statements against the stream: to the cent, and the same whenever they are made.

use std::collections::BTreeMap;

use domain::period::Month;
use ingest::record::Position;
use warehouse::{
    error::WarehouseError,
    session::Session,
    settlement::{Closing, Ledger, Statement, compute, statements},
};

use super::Watching;

/// Given and owed in cents, by grantor and merchant.
type Owed = BTreeMap<(String, String), (i64, i64)>;

impl Watching {
    /// Compares every statement with what the lines of the stream come to.
    ///
    /// # Errors
    /// Where a table cannot be read.
    pub async fn balances(
        &self,
        session: &Session,
        closings: &[Closing],
    ) -> Result<(), WarehouseError> {
        let mut ledger = Ledger::default();
        let mut carried: BTreeMap<(String, String), i64> = BTreeMap::new();
        for closing in closings {
            let kept = statements(session, closing).await?;
            let kept: Vec<Statement> = kept.into_iter().map(|told| told.statement).collect();
            let again = compute(session, closing, &ledger).await?;
            if kept != again {
                self.fault(format!("{} is not what it was when it was closed", closing.name()));
            }
            ledger.enter(&again);
            let owed = self.owed(closing);
            let told: Owed = kept.iter().map(account).collect();
            if owed != told {
                let name = closing.name();
                self.fault(format!("{name}: the stream has {owed:?}, statements {told:?}"));
            }
            for statement in kept.iter().filter(|kept| !kept.number.is_own()) {
                let (pair, (_, owed)) = account(statement);
                let sum = carried.entry(pair).or_default();
                if statement.carried_in_cents != *sum {
                    let number = statement.number.to_string();
                    self.fault(format!("{number} carries {} of {sum}", statement.carried_in_cents));
                }
                *sum = (*sum + owed).min(0);
            }
        }
        Ok(())
    }

    /// What a closing's lines come to.
    fn owed(&self, closing: &Closing) -> Owed {
        let before = |offsets: &[u64], at: Position| {
            let end = usize::try_from(at.partition).ok().and_then(|place| offsets.get(place));
            end.is_some_and(|end| at.offset < *end)
        };
        let witness = self.witness();
        let mut owed = Owed::new();
        for (at, line) in witness.lines.all() {
            let is_in = before(&closing.end_offsets, at) && !before(&closing.from_offsets, at);
            if is_in && Month::of(line.day) == closing.period && line.cents != 0 {
                let pair = (line.grantor.clone(), line.merchant.clone());
                let sums = owed.entry(pair).or_default();
                sums.0 += line.cents;
                sums.1 += line.grantor_cents;
            }
        }
        owed
    }
}

fn account(statement: &Statement) -> ((String, String), (i64, i64)) {
    let number = &statement.number;
    let pair = (number.grantor.to_string(), number.merchant.to_string());
    (pair, (statement.amount_cents(), statement.owed_cents()))
}
