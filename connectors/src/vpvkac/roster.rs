//! The registry as the desk of calls needs it: who consults on what, and from where calls come.

use std::collections::{BTreeMap, HashSet};

use domain::{
    id::{CentreId, InstitutionId, OfficialId, ServiceId},
    registry::Registry,
    service_centre::Official,
};

use super::call::Matter;

/// Officials, institutions, services and centres as of a version of the registry.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    version: u64,
    centres: HashSet<CentreId>,
    services: HashSet<ServiceId>,
    officials: BTreeMap<OfficialId, Official>,
    of_institution: BTreeMap<InstitutionId, Vec<OfficialId>>,
}

impl Roster {
    /// The roster of a registry.
    #[must_use]
    pub fn of(registry: &Registry, version: u64) -> Self {
        let mut of_institution: BTreeMap<InstitutionId, Vec<OfficialId>> =
            registry.institutions.iter().map(|one| (one.id.clone(), Vec::new())).collect();
        for official in &registry.officials {
            of_institution
                .entry(official.institution.clone())
                .or_default()
                .push(official.id.clone());
        }
        let officials = registry.officials.iter();
        Self {
            version,
            centres: registry.centres.iter().map(|centre| centre.id.clone()).collect(),
            services: registry.services.iter().map(|service| service.id.clone()).collect(),
            officials: officials.map(|one| (one.id.clone(), one.clone())).collect(),
            of_institution,
        }
    }

    /// The registry's version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether the registry has the centre.
    #[must_use]
    pub fn has_centre(&self, centre: &str) -> bool {
        self.centres.contains(centre)
    }

    /// Whether the service is registered.
    #[must_use]
    pub fn has_service(&self, service: &str) -> bool {
        self.services.contains(service)
    }

    /// Whether the registry has the institution.
    #[must_use]
    pub fn has_institution(&self, institution: &str) -> bool {
        self.of_institution.contains_key(institution)
    }

    /// An official.
    #[must_use]
    pub fn official(&self, id: &str) -> Option<&Official> {
        self.officials.get(id)
    }

    /// Every official after one, by id.
    pub fn officials_after(&self, after: Option<&str>) -> impl Iterator<Item = &Official> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.officials.range::<str, _>((from, Bound::Unbounded)).map(|(_, official)| official)
    }

    /// The officials of an institution.
    pub fn of_institution(&self, institution: &InstitutionId) -> impl Iterator<Item = &Official> {
        let ids = self.of_institution.get(institution).into_iter().flatten();
        ids.filter_map(|id| self.officials.get(id))
    }

    /// Whether anybody could ever take such a call.
    #[must_use]
    pub fn is_served(&self, matter: &Matter) -> bool {
        self.of_institution(&matter.institution).any(|official| consults(official, matter))
    }
}

/// Whether an official consults on it, in its language.
#[must_use]
pub fn consults(official: &Official, matter: &Matter) -> bool {
    official.institution == matter.institution
        && official.services.contains(&matter.service)
        && official.languages.contains(&matter.language)
}
