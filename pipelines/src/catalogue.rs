//! The shipped pipelines: the files of `sql/`, compiled in.

use crate::planner::{self, File, Planning};

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../sql/", $folder, "/", $name, ".sql")))),*]
    };
}

/// The streams as tables.
pub const SOURCES: &[File<'static>] = files!("sources":
    "authorisation_records",
    "dead_letter_records",
    "entitlement_records",
    "means_records",
    "registry_records",
    "service_records",
);

/// The pipelines, each named after the table it fills.
pub const TABLES: &[File<'static>] = files!("tables":
    "authorisation_events",
    "authorisations",
    "benefit_lines",
    "dead_letters",
    "entitlements",
    "means",
    "persons",
    "points_entries",
    "registry_benefits",
    "registry_centres",
    "registry_contracts",
    "registry_e_services",
    "registry_grantors",
    "registry_instructions",
    "registry_issuers",
    "registry_merchants",
    "registry_places",
    "registry_terminals",
    "services",
    "transaction_lines",
    "usage_by_minute",
);

/// Every shipped pipeline, planned.
///
/// # Errors
/// Where a shipped file is wrong; the tests plan them all.
pub fn shipped() -> Planning<'static> {
    planner::plan(SOURCES, TABLES)
}
