//! What grantors fund.

use crate::{
    id::{BenefitId, GrantorId},
    text::Text,
};

/// What a benefit is by law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BenefitKind {
    /// A lower price.
    Discount,
    /// A cost given back.
    Compensation,
    /// A cost borne in advance.
    Subsidy,
    /// A payment.
    Allowance,
    /// A merchant's own programme.
    Loyalty,
}

impl BenefitKind {
    /// The word used in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Discount => "discount",
            Self::Compensation => "compensation",
            Self::Subsidy => "subsidy",
            Self::Allowance => "allowance",
            Self::Loyalty => "loyalty",
        }
    }
}

/// What a grantor funds for recipients, under instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Benefit {
    /// Its identifier.
    pub id: BenefitId,
    /// Who funds it.
    pub grantor: GrantorId,
    /// Its name.
    pub name: Text,
    /// The law, regulation or contract that grants it.
    pub legal_basis: Option<String>,
    /// What it is by law.
    pub kind: BenefitKind,
}
