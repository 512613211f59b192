//! Names in Redis: one hash per household and one per budget.

use domain::{
    id::{AuthorisationId, BenefitId, HouseholdId, RecipientId},
    limit::{CounterKey, Holder},
};

/// Holds the generation in force, so that another or an emptied Redis is known at once.
pub(super) const GENERATION: &str = "avis:{generation}";

/// Over how many hashes the operations of anonymous baskets are spread.
const ANONYMOUS: u128 = 256;

pub(super) fn household(id: HouseholdId) -> String {
    format!("avis:{{h{id}}}")
}

/// Where operations without a household are kept from moving twice.
pub(super) fn anonymous(id: AuthorisationId) -> String {
    format!("avis:{{a{}}}", id.as_u128() % ANONYMOUS)
}

pub(super) fn budget(key: &CounterKey) -> String {
    format!(
        "avis:{{b{}|{}|{}|{}}}",
        key.instruction,
        key.period.code(),
        key.period_start,
        key.measure.code()
    )
}

/// Marks that a holder's counters have been built in.
pub(super) fn marker(holder: Holder) -> String {
    match holder {
        Holder::Recipient(id) => format!("b{id}"),
        Holder::Household(_) | Holder::Instruction => "bh".into(),
    }
}

pub(super) fn counter(key: &CounterKey) -> String {
    let holder = match key.holder {
        Holder::Recipient(id) => format!("r{id}"),
        Holder::Household(_) | Holder::Instruction => "h".into(),
    };
    format!(
        "c|{}|{holder}|{}|{}|{}",
        key.instruction,
        key.period.code(),
        key.period_start,
        key.measure.code()
    )
}

pub(super) fn points(recipient: RecipientId, benefit: &BenefitId) -> String {
    format!("p|{recipient}|{benefit}")
}
