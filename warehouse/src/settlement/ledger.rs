//! What statements leave to those after them: the numbers that are taken, and sums below zero.

use std::collections::BTreeMap;

use datafusion::scalar::ScalarValue;
use domain::{
    id::{GrantorId, MerchantId},
    period::Month,
};

use super::{Closing, Statement};
use crate::{error::WarehouseError, session::Session};

const LEDGER: &str = include_str!("../../sql/settlements/ledger.sql");

/// What the statements before a closing leave to it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    carried: BTreeMap<(GrantorId, MerchantId), i64>,
    corrections: BTreeMap<(GrantorId, MerchantId, Month), u32>,
}

impl Ledger {
    /// What the statements that were closed by records before an offset leave; without one, all.
    ///
    /// # Errors
    /// Where the query fails or the table holds what no statement is called.
    pub async fn before(session: &Session, offset: Option<u64>) -> Result<Self, WarehouseError> {
        let before = offset.and_then(|offset| i64::try_from(offset).ok()).unwrap_or(i64::MAX);
        let parameters = vec![("before", ScalarValue::Int64(Some(before)))];
        let rows = session.query(LEDGER, parameters).await?;
        let mut ledger = Self::default();
        let numbers = super::read::numbers(&rows)?;
        for (number, carried) in numbers.into_iter().zip(rows.cents("carried_out")?) {
            ledger.take(number, carried.unwrap_or(0));
        }
        Ok(ledger)
    }

    /// Adds the statements of the next closing.
    pub fn enter(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.take(statement.number.clone(), statement.carried_out_cents());
        }
    }

    fn take(&mut self, number: domain::settlement::StatementNumber, carried_out: i64) {
        let pair = (number.grantor.clone(), number.merchant.clone());
        self.carried.insert(pair, carried_out);
        let of_month = (number.grantor, number.merchant, number.period);
        self.corrections.insert(of_month, number.correction);
    }

    /// What a pair's next statement begins with.
    #[must_use]
    pub fn carried(&self, grantor: &GrantorId, merchant: &MerchantId) -> i64 {
        self.carried.get(&(grantor.clone(), merchant.clone())).copied().unwrap_or(0)
    }

    /// The number that a pair's next statement of a month gets: whatever comes after the month's
    /// closing is a correction, also where the closing had nothing of that pair.
    #[must_use]
    pub fn next_correction(
        &self,
        grantor: &GrantorId,
        merchant: &MerchantId,
        closing: &Closing,
    ) -> u32 {
        let of_month = (grantor.clone(), merchant.clone(), closing.period);
        let last = self.corrections.get(&of_month);
        last.map_or(u32::from(closing.correction > 0), |last| last + 1)
    }
}
