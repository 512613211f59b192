//! The customer service centres (VPVKAC), their services and remote officials, and merchants'
//! e-services on the state portal.

use crate::{
    amount::{Amount, BasisPoints},
    id::{CentreId, EServiceId, InstitutionId, MerchantId, OfficialId, ServiceId},
    merchant::Territory,
    period::Validity,
    text::Text,
};

/// What a centre is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CentreKind {
    /// A customer service centre.
    Centre,
    /// A library that serves as one.
    Library,
    /// A mobile team.
    Mobile,
}

impl CentreKind {
    /// The word used in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Centre => "centre",
            Self::Library => "library",
            Self::Mobile => "mobile",
        }
    }
}

/// A contact point of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Centre {
    /// Its identifier.
    pub id: CentreId,
    /// Its name.
    pub name: Text,
    /// What it is.
    pub kind: CentreKind,
    /// The territory it serves.
    pub territory: Territory,
    /// Latitude (WGS 84) in millionths of a degree.
    pub latitude_e6: Option<i32>,
    /// Longitude (WGS 84) in millionths of a degree.
    pub longitude_e6: Option<i32>,
}

/// An institution whose officials consult remotely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Institution {
    /// Its identifier.
    pub id: InstitutionId,
    /// Its name.
    pub name: Text,
}

/// A remote official.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Official {
    /// The official's identifier.
    pub id: OfficialId,
    /// The institution.
    pub institution: InstitutionId,
    /// What the official consults on.
    pub services: Vec<ServiceId>,
    /// The languages spoken (ISO 639-1).
    pub languages: Vec<String>,
}

/// A registered service with its quality criteria; a missing one is not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its identifier, `PAK_01` to `PAK_10`.
    pub id: ServiceId,
    /// Its name.
    pub name: Text,
    /// The longest wait for a free official, in seconds.
    pub max_wait_seconds: Option<i64>,
    /// The least share of calls answered.
    pub min_answered: Option<BasisPoints>,
    /// The least share solved at the first contact.
    pub min_resolved: Option<BasisPoints>,
    /// The lowest mean rating, in tenths (1.0 is 10).
    pub min_rating_tenths: Option<i64>,
}

/// What the state pays to centres from a day on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsidy {
    /// The days on which it holds.
    pub valid: Validity,
    /// The base of each kind of centre.
    pub base: Vec<(CentreKind, Amount)>,
    /// The rate of each service.
    pub per_service: Vec<(ServiceId, Amount)>,
    /// The quality that is paid at least.
    pub quality_floor: BasisPoints,
}

/// Which basket of the portal's single sign-on a service stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginBasket {
    /// Services of the state.
    Public,
    /// Services of merchants.
    Merchant,
}

impl LoginBasket {
    /// The word used in files.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Merchant => "merchant",
        }
    }
}

/// A merchant's service on the state portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EService {
    /// Its identifier.
    pub id: EServiceId,
    /// The merchant.
    pub merchant: MerchantId,
    /// Its name.
    pub name: Text,
    /// Where it is.
    pub url: String,
    /// Its basket.
    pub login_basket: LoginBasket,
    /// The means of identity allowed; an empty list means any of the basket.
    pub identity_means: Vec<String>,
    /// The situations in life it belongs to.
    pub life_situations: Vec<String>,
}
