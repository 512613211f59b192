//! Names in Redis: one hash per household and one per budget.

use domain::{
    id::{AuthorisationId, BenefitId, HouseholdId, InstructionId, RecipientId},
    limit::{CounterKey, Holder, Measure, Period},
};

/// Holds the generation in force, so that another or an emptied Redis is known at once.
pub(super) const GENERATION: &str = "avis:{generation}";

/// What every hash is called, as `SCAN` matches it.
pub(super) const HASHES: &str = "avis:{[abh]*";

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

/// The household whose hash has this key.
pub(super) fn read_household(key: &str) -> Option<HouseholdId> {
    HouseholdId::parse(key.strip_prefix("avis:{h")?.strip_suffix('}')?)
}

/// The budget whose hash has this key.
pub(super) fn read_budget(key: &str) -> Option<CounterKey> {
    let parts: Vec<&str> = key.strip_prefix("avis:{b")?.strip_suffix('}')?.split('|').collect();
    let [instruction, period, start, measure] = parts[..] else { return None };
    read_key(instruction, Holder::Instruction, [period, start, measure])
}

/// The holder that a field of a household marks.
pub(super) fn read_marker(field: &str, household: HouseholdId) -> Option<Holder> {
    match field.strip_prefix('b')? {
        "h" => Some(Holder::Household(household)),
        recipient => RecipientId::parse(recipient).map(Holder::Recipient),
    }
}

/// The counter that a field of a household holds.
pub(super) fn read_counter(field: &str, household: HouseholdId) -> Option<CounterKey> {
    let parts: Vec<&str> = field.split('|').collect();
    let ["c", instruction, holder, period, start, measure] = parts[..] else { return None };
    let holder = match holder.strip_prefix('r') {
        Some(recipient) => Holder::Recipient(RecipientId::parse(recipient)?),
        None => Holder::Household(household),
    };
    read_key(instruction, holder, [period, start, measure])
}

/// The balance that a field of a household holds.
pub(super) fn read_points(field: &str) -> Option<(RecipientId, BenefitId)> {
    let (recipient, benefit) = field.strip_prefix("p|")?.split_once('|')?;
    Some((RecipientId::parse(recipient)?, BenefitId::new(benefit).ok()?))
}

fn read_key(
    instruction: &str,
    holder: Holder,
    [period, start, measure]: [&str; 3],
) -> Option<CounterKey> {
    Some(CounterKey {
        instruction: InstructionId::new(instruction).ok()?,
        holder,
        period: Period::parse(period)?,
        period_start: start.parse().ok()?,
        measure: Measure::parse(measure)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let (home, who) = (HouseholdId::from_u128(u128::MAX), RecipientId::from_u128(7));
        let benefit = BenefitId::new("club:of/all").expect("an id");
        assert_eq!(read_household(&household(home)), Some(home));
        assert_eq!(read_points(&points(who, &benefit)), Some((who, benefit)));
        for holder in [Holder::Household(home), Holder::Recipient(who)] {
            assert_eq!(read_marker(&marker(holder), home), Some(holder));
            let key = read_key("club-milk", holder, ["week", "2024-02-26", "amount_cents"]);
            let key = key.expect("a counter");
            assert_eq!(read_counter(&counter(&key), home), Some(key));
        }
        let of_all = read_key("club-milk", Holder::Instruction, ["validity", "2025-01-01", "uses"]);
        let of_all = of_all.expect("a budget");
        assert_eq!(read_budget(&budget(&of_all)), Some(of_all.clone()));
        assert_eq!(read_household(&budget(&of_all)), None);
        assert_eq!(read_budget(&household(home)), None);
        assert_eq!(read_household(&anonymous(AuthorisationId::from_u128(5))), None);
        for field in ["g", "v", "w", "used"] {
            assert_eq!((read_marker(field, home), read_counter(field, home)), (None, None));
        }
    }
}
