//! Who funds benefits, and what they agreed with merchants.

use crate::{
    amount::BasisPoints,
    iban::Iban,
    id::{ContractId, GrantorId, MerchantId},
    period::Validity,
    text::Text,
};

/// What a grantor is; state and municipality may close lines against everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantorKind {
    /// A ministry or another body of the state.
    State,
    /// A municipality.
    Municipality,
    /// A private body with a delegated task.
    Delegated,
    /// A merchant, for its own loyalty programme.
    Merchant,
}

impl GrantorKind {
    /// Whether it may make an instruction `exclusive_all`.
    #[must_use]
    pub const fn is_public(self) -> bool {
        matches!(self, Self::State | Self::Municipality)
    }

    /// The word used in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Municipality => "municipality",
            Self::Delegated => "delegated",
            Self::Merchant => "merchant",
        }
    }
}

/// The body that funds a benefit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grantor {
    /// Its identifier; a merchant that is its own grantor has the same in both lists.
    pub id: GrantorId,
    /// Its name.
    pub name: Text,
    /// What it is.
    pub kind: GrantorKind,
    /// The account that settlements are paid from.
    pub iban: Option<Iban>,
    /// Its number in the register of enterprises or of public bodies.
    pub reg_no: Option<String>,
}

/// Who bears what an offline terminal gave beyond our decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ExcessBearer {
    /// The merchant whose terminal gave it.
    #[default]
    Merchant,
    /// The grantor, where the contract says so.
    Grantor,
}

/// What a grantor and a merchant agreed; without one in force the merchant gives none of the
/// grantor's benefits (its own need none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Its identifier.
    pub id: ContractId,
    /// The grantor.
    pub grantor: GrantorId,
    /// The merchant.
    pub merchant: MerchantId,
    /// The days on which it is in force.
    pub valid: Validity,
    /// The rate of the value added tax that a benefit contains.
    pub vat: BasisPoints,
    /// Who bears what an offline terminal gave beyond our decision.
    pub offline_excess: ExcessBearer,
}
