//! What makes a set of instructions refusable, found all at once at load, so that deciding is total.

use std::collections::{HashMap, HashSet};

use domain::{
    grantor::Grantor,
    id::GrantorId,
    instruction::{Effect, Instruction, Stacking},
    registry::Registry,
};

use super::Fault;

/// Every fault of the registry's instructions (2, 3, 4), each with its place in the file.
#[must_use]
pub fn faults(registry: &Registry) -> Vec<Fault> {
    let mut faults = Vec::new();
    let grantors: HashMap<_, _> =
        registry.grantors.iter().map(|grantor| (&grantor.id, grantor)).collect();
    let of_benefit: HashMap<_, _> =
        registry.benefits.iter().map(|benefit| (&benefit.id, &benefit.grantor)).collect();
    let groups: HashSet<_> = registry.groups.iter().map(|group| &group.id).collect();
    for (at, instruction) in registry.instructions.iter().enumerate() {
        let mut fault = |field: &str, message: String| {
            faults.push(Fault { path: format!("/instructions/{at}{field}"), message });
        };
        let grantor =
            of_benefit.get(&instruction.benefit).and_then(|id| grantors.get(*id)).copied();
        match grantor {
            None => fault(
                "/benefit",
                format!("no benefit {} with a known grantor", instruction.benefit),
            ),
            Some(grantor) => alone(instruction, grantor, &mut fault),
        }
        let recipients = &instruction.recipients;
        let named = recipients.any.iter().chain(&recipients.all).chain(&recipients.none);
        for group in named.filter(|group| !groups.contains(group)) {
            fault("/recipients", format!("no group {group}"));
        }
    }
    pairs(registry, &of_benefit, &mut faults);
    faults
}

/// What one instruction may not be, whatever stands beside it.
fn alone(instruction: &Instruction, grantor: &Grantor, fault: &mut impl FnMut(&str, String)) {
    let recipients = &instruction.recipients;
    if !recipients.everyone && recipients.any.is_empty() && recipients.all.is_empty() {
        fault("/recipients", "names nobody: say everyone, any or all".into());
    }
    if instruction.stacking == Stacking::ExclusiveAll && !grantor.kind.is_public() {
        let message = "exclusive_all is for instructions of state and municipality only";
        fault("/stacking", message.into());
    }
    if instruction.effect.moves_points() {
        if !instruction.limits.is_empty() {
            fault("/limits", "an effect that moves points takes no limits".into());
        }
        if instruction.stacking != Stacking::Stack {
            fault("/stacking", "an effect that moves points only stacks".into());
        }
    }
    let zero_step = match instruction.effect {
        Effect::EarnPoints { per, .. } => per.cents() <= 0,
        Effect::SpendPoints { point_value, .. } => point_value.cents() <= 0,
        Effect::FreeUnits { buy, free, .. } => buy == 0 || free == 0,
        _ => false,
    };
    if zero_step {
        fault("/effect", "has a step or a value of zero".into());
    }
    let valid = &instruction.valid;
    if valid.to.is_some_and(|to| to < valid.from) {
        fault("/valid", "ends before it begins".into());
    }
}

/// What two instructions may not be beside each other.
fn pairs(
    registry: &Registry,
    of_benefit: &HashMap<&domain::id::BenefitId, &GrantorId>,
    faults: &mut Vec<Fault>,
) {
    let sites = Sites::of(registry);
    let all: Vec<_> = registry.instructions.iter().enumerate().collect();
    for (position, (at, later)) in all.iter().enumerate() {
        for (_, earlier) in &all[..position] {
            if !later.valid.overlaps(&earlier.valid) {
                continue;
            }
            let grantors = (of_benefit.get(&later.benefit), of_benefit.get(&earlier.benefit));
            if later.id == earlier.id {
                let message = format!(
                    "version {} of {} is valid on days of version {}",
                    later.version, later.id, earlier.version
                );
                faults.push(Fault { path: format!("/instructions/{at}/valid"), message });
            } else if grantors.0.is_some()
                && grantors.0 == grantors.1
                && later.priority == earlier.priority
                && sites.meet(later, earlier)
            {
                let message = format!(
                    "priority {} is also that of {}, of the same grantor, on the same days and \
                     at the same places",
                    later.priority, earlier.id
                );
                faults.push(Fault { path: format!("/instructions/{at}/priority"), message });
            }
        }
    }
}

/// The combinations of merchant, place and territory that exist, by which two scopes meet or not.
struct Sites<'a> {
    places: Vec<&'a domain::merchant::Place>,
}

impl<'a> Sites<'a> {
    fn of(registry: &'a Registry) -> Self {
        Self { places: registry.places.iter().collect() }
    }

    /// Whether some (merchant, place, territory, kind) lies in both scopes.
    fn meet(&self, one: &Instruction, other: &Instruction) -> bool {
        let kinds = |a: &[String], b: &[String]| {
            a.is_empty() || b.is_empty() || a.iter().any(|kind| b.contains(kind))
        };
        if !kinds(&one.scope.terminal_kinds, &other.scope.terminal_kinds) {
            return false;
        }
        self.places.iter().any(|place| {
            [one, other].into_iter().all(|instruction| {
                let scope = &instruction.scope;
                (scope.merchants.is_empty() || scope.merchants.contains(&place.merchant))
                    && (scope.places.is_empty() || scope.places.contains(&place.id))
                    && (scope.territories.is_empty()
                        || scope.territories.contains(&place.territory))
            })
        })
    }
}
