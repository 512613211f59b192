//! What entries say of each other: everything named exists, and nothing is there twice.

use std::collections::HashSet;

use domain::registry::Registry;
use serde_json::Value;

use crate::{dead_letter::Reason, document::Fault};

/// Every reference to what is not there, and every identity that stands twice. An entry of the
/// document that has a fault of form of its own is there all the same.
pub(super) fn faults(registry: &Registry, document: &Value) -> Vec<Fault> {
    let mut found = Found { document, faults: Vec::new() };
    twice(registry, &mut found);
    parties(registry, &mut found);
    instructions(registry, &mut found);
    service_centres(registry, &mut found);
    found.faults
}

struct Found<'a> {
    document: &'a Value,
    faults: Vec<Fault>,
}

impl Found<'_> {
    /// The ids of a list of the document.
    fn ids(&self, list: &str) -> HashSet<&str> {
        let entries = self.document.get(list).and_then(Value::as_array);
        let ids = entries.into_iter().flatten().filter_map(|entry| entry.get("id"));
        ids.filter_map(Value::as_str).collect()
    }

    fn missing<'a>(
        &mut self,
        list: &str,
        field: &str,
        named: impl Iterator<Item = (usize, &'a str)>,
        of: &str,
    ) {
        let known = self.ids(of);
        let missing = named.filter(|(_, id)| !known.contains(id)).map(|(at, id)| Fault {
            reason: Reason::UnknownReference,
            path: format!("/{list}/{at}/{field}"),
            message: format!("there is no {id} in {of}"),
        });
        let missing: Vec<_> = missing.collect();
        self.faults.extend(missing);
    }

    fn twice(&mut self, list: &str, ids: impl Iterator<Item = String>) {
        let mut seen = HashSet::new();
        for (at, id) in ids.enumerate() {
            if !seen.insert(id.clone()) {
                self.faults.push(Fault {
                    reason: Reason::DuplicateKey,
                    path: format!("/{list}/{at}"),
                    message: format!("{id} stands twice in {list}"),
                });
            }
        }
    }
}

macro_rules! named {
    ($list:expr, $field:ident) => {
        $list.iter().enumerate().map(|(at, entry)| (at, entry.$field.as_str()))
    };
}

fn twice(registry: &Registry, found: &mut Found<'_>) {
    macro_rules! by_id {
        ($($list:ident),*) => {$(
            found.twice(stringify!($list), registry.$list.iter().map(|entry| entry.id.to_string()));
        )*};
    }
    by_id!(grantors, merchants, places, terminals, contracts, issuers, groups, benefits);
    by_id!(e_services, centres, institutions, officials, services);
    let items = registry.catalogue.iter().map(|item| format!("{}/{}", item.merchant, item.item));
    found.twice("catalogue", items);
    let versions = registry.instructions.iter();
    found.twice("instructions", versions.map(|of| format!("{}/{}", of.id, of.version)));
    let subsidies = registry.subsidies.iter();
    found.twice("subsidies", subsidies.map(|subsidy| subsidy.valid.from.to_string()));
}

fn parties(registry: &Registry, found: &mut Found<'_>) {
    found.missing("places", "merchant", named!(registry.places, merchant), "merchants");
    found.missing("terminals", "place", named!(registry.terminals, place), "places");
    found.missing("catalogue", "merchant", named!(registry.catalogue, merchant), "merchants");
    found.missing("contracts", "grantor", named!(registry.contracts, grantor), "grantors");
    found.missing("contracts", "merchant", named!(registry.contracts, merchant), "merchants");
    found.missing("benefits", "grantor", named!(registry.benefits, grantor), "grantors");
    let owned = registry.groups.iter().enumerate();
    let owned = owned.filter_map(|(at, group)| Some((at, group.grantor.as_ref()?.as_str())));
    found.missing("groups", "grantor", owned, "grantors");
}

fn instructions(registry: &Registry, found: &mut Found<'_>) {
    let all = || registry.instructions.iter().enumerate();
    let benefits = named!(registry.instructions, benefit);
    found.missing("instructions", "benefit", benefits, "benefits");
    let scoped =
        all().flat_map(|(at, of)| of.scope.merchants.iter().map(move |id| (at, id.as_str())));
    found.missing("instructions", "scope/merchants", scoped, "merchants");
    let scoped = all().flat_map(|(at, of)| of.scope.places.iter().map(move |id| (at, id.as_str())));
    found.missing("instructions", "scope/places", scoped, "places");
    for (field, of) in [("any", 0), ("all", 1), ("none", 2)] {
        let groups = all().flat_map(|(at, instruction)| {
            let recipients = &instruction.recipients;
            let lists = [&recipients.any, &recipients.all, &recipients.none];
            lists[of].iter().map(move |id| (at, id.as_str()))
        });
        found.missing("instructions", &format!("recipients/{field}"), groups, "groups");
    }
}

fn service_centres(registry: &Registry, found: &mut Found<'_>) {
    let (e_services, officials) = (&registry.e_services, &registry.officials);
    found.missing("e_services", "merchant", named!(e_services, merchant), "merchants");
    found.missing("officials", "institution", named!(officials, institution), "institutions");
    let offered = officials
        .iter()
        .enumerate()
        .flat_map(|(at, of)| of.services.iter().map(move |id| (at, id.as_str())));
    found.missing("officials", "services", offered, "services");
    let paid = registry
        .subsidies
        .iter()
        .enumerate()
        .flat_map(|(at, of)| of.per_service.iter().map(move |(id, _)| (at, id.as_str())));
    found.missing("subsidies", "per_service_cents", paid, "services");
}
