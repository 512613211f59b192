//! What entries say of each other: everything named exists, and nothing is there twice.

use std::collections::HashSet;

use domain::registry::Registry;

use super::Fault;

/// Every reference to what is not there, and every identity that stands twice.
pub(super) fn faults(registry: &Registry) -> Vec<Fault> {
    let mut found = Found::default();
    twice(registry, &mut found);
    parties(registry, &mut found);
    instructions(registry, &mut found);
    service_centres(registry, &mut found);
    found.0
}

#[derive(Default)]
struct Found(Vec<Fault>);

impl Found {
    fn missing<'a>(
        &mut self,
        list: &str,
        field: &str,
        what: &str,
        named: impl Iterator<Item = (usize, &'a str)>,
        known: &HashSet<&str>,
    ) {
        for (at, id) in named.filter(|(_, id)| !known.contains(id)) {
            let path = format!("/{list}/{at}/{field}");
            self.0.push(Fault { path, message: format!("there is no {what} {id}") });
        }
    }

    fn twice(&mut self, list: &str, ids: impl Iterator<Item = String>) {
        let mut seen = HashSet::new();
        for (at, id) in ids.enumerate() {
            if !seen.insert(id.clone()) {
                let path = format!("/{list}/{at}");
                self.0.push(Fault { path, message: format!("{id} stands twice in {list}") });
            }
        }
    }
}

macro_rules! ids {
    ($list:expr) => {
        $list.iter().map(|entry| entry.id.as_str()).collect::<HashSet<_>>()
    };
}

macro_rules! named {
    ($list:expr, $field:ident) => {
        $list.iter().enumerate().map(|(at, entry)| (at, entry.$field.as_str()))
    };
}

fn twice(registry: &Registry, found: &mut Found) {
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
}

fn parties(registry: &Registry, found: &mut Found) {
    let (grantors, merchants) = (ids!(registry.grantors), ids!(registry.merchants));
    let places = ids!(registry.places);
    found.missing("places", "merchant", "merchant", named!(registry.places, merchant), &merchants);
    found.missing("terminals", "place", "place", named!(registry.terminals, place), &places);
    found.missing("catalogue", "merchant", "merchant", named!(registry.catalogue, merchant), &merchants);
    found.missing("contracts", "grantor", "grantor", named!(registry.contracts, grantor), &grantors);
    found.missing("contracts", "merchant", "merchant", named!(registry.contracts, merchant), &merchants);
    found.missing("benefits", "grantor", "grantor", named!(registry.benefits, grantor), &grantors);
}

fn instructions(registry: &Registry, found: &mut Found) {
    let (merchants, places) = (ids!(registry.merchants), ids!(registry.places));
    let all = || registry.instructions.iter().enumerate();
    let scoped = all().flat_map(|(at, of)| of.scope.merchants.iter().map(move |id| (at, id.as_str())));
    found.missing("instructions", "scope/merchants", "merchant", scoped, &merchants);
    let scoped = all().flat_map(|(at, of)| of.scope.places.iter().map(move |id| (at, id.as_str())));
    found.missing("instructions", "scope/places", "place", scoped, &places);
}

fn service_centres(registry: &Registry, found: &mut Found) {
    let merchants = ids!(registry.merchants);
    let (institutions, services) = (ids!(registry.institutions), ids!(registry.services));
    let (e_services, officials) = (&registry.e_services, &registry.officials);
    found.missing("e_services", "merchant", "merchant", named!(e_services, merchant), &merchants);
    let institution = named!(officials, institution);
    found.missing("officials", "institution", "institution", institution, &institutions);
    let offered = officials
        .iter()
        .enumerate()
        .flat_map(|(at, of)| of.services.iter().map(move |id| (at, id.as_str())));
    found.missing("officials", "services", "service", offered, &services);
}
