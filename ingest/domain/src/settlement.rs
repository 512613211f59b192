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

impl fmt::Display for StatementNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.grantor, self.merchant, self.period)?;
        if self.correction > 0 {
            write!(f, "-K{}", self.correction)?;
        }
        Ok(())
    }
}
