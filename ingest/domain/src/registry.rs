//! The registry: everything that grantors, merchants and administrators have described.

use crate::{
    benefit::Benefit,
    grantor::{Contract, Grantor},
    identification_means::Issuer,
    instruction::Instruction,
    merchant::{CatalogueItem, Merchant, Place},
    recipient::Group,
    service_centre::{Centre, EService, Institution, Official, Service, Subsidy},
    terminal::Terminal,
};

/// The registry as one value; a loaded one is without faults.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "each field is the list of what its type documents")]
pub struct Registry {
    pub grantors: Vec<Grantor>,
    pub merchants: Vec<Merchant>,
    pub places: Vec<Place>,
    pub terminals: Vec<Terminal>,
    pub catalogue: Vec<CatalogueItem>,
    pub contracts: Vec<Contract>,
    pub issuers: Vec<Issuer>,
    pub groups: Vec<Group>,
    pub benefits: Vec<Benefit>,
    pub instructions: Vec<Instruction>,
    pub e_services: Vec<EService>,
    pub centres: Vec<Centre>,
    pub institutions: Vec<Institution>,
    pub officials: Vec<Official>,
    pub services: Vec<Service>,
    pub subsidies: Vec<Subsidy>,
}

/// The kinds of the registry's entries, in the order in which files and streams name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each variant is the kind of what its type documents")]
pub enum Kind {
    Grantor,
    Merchant,
    Place,
    Terminal,
    CatalogueItem,
    Contract,
    Issuer,
    Group,
    Benefit,
    Instruction,
    EService,
    Centre,
    Institution,
    Official,
    Service,
    Subsidy,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 16] = [
        Self::Grantor,
        Self::Merchant,
        Self::Place,
        Self::Terminal,
        Self::CatalogueItem,
        Self::Contract,
        Self::Issuer,
        Self::Group,
        Self::Benefit,
        Self::Instruction,
        Self::EService,
        Self::Centre,
        Self::Institution,
        Self::Official,
        Self::Service,
        Self::Subsidy,
    ];

    /// The list's name in a registry file.
    #[must_use]
    pub const fn list(self) -> &'static str {
        match self {
            Self::Grantor => "grantors",
            Self::Merchant => "merchants",
            Self::Place => "places",
            Self::Terminal => "terminals",
            Self::CatalogueItem => "catalogue",
            Self::Contract => "contracts",
            Self::Issuer => "issuers",
            Self::Group => "groups",
            Self::Benefit => "benefits",
            Self::Instruction => "instructions",
            Self::EService => "e_services",
            Self::Centre => "centres",
            Self::Institution => "institutions",
            Self::Official => "officials",
            Self::Service => "services",
            Self::Subsidy => "subsidies",
        }
    }

    /// The kind whose list has this name.
    #[must_use]
    pub fn of_list(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.list() == name)
    }
}
