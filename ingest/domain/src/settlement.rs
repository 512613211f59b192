//! What a grantor owes a merchant for a closed period.

use std::fmt;

use crate::{
    id::{GrantorId, MerchantId},
    period::Month,
};

/// A statement's number: `<grantor>-<merchant>-<YYYY-MM>`, and `-Kn` for the n-th correction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementNumber {
    /// Who owes.
    pub grantor: GrantorId,
    /// Who is owed.
    pub merchant: MerchantId,
    /// The period.
    pub period: Month,
    /// Which correction; 0 is the statement itself.
    pub correction: u32,
}

impl StatementNumber {
    /// Whether the merchant is its own grantor: it has a statement and nothing to pay.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.grantor.as_str() == self.merchant.as_str()
    }
}

/// What has become of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatementState {
    /// Its period is open; it may still grow.
    Draft,
    /// It never changes any more.
    Closed,
    /// Its payment is ordered.
    Sent,
    /// It is paid.
    Paid,
}

impl StatementState {
    /// Every state, in the order of its life.
    pub const ALL: [Self; 4] = [Self::Draft, Self::Closed, Self::Sent, Self::Paid];

    /// The word used in tables and files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Closed => "closed",
            Self::Sent => "sent",
            Self::Paid => "paid",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

impl fmt::Display for StatementNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.grantor, self.merchant, self.period)?;
        if self.correction > 0 {
            write!(f, "-K{}", self.correction)?;
        }
        Ok(())
    }
}
