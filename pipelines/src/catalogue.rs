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
    "portal_records",
    "registry_records",
    "service_records",
);

/// The pipelines, each named after the table it fills.
pub const TABLES: &[File<'static>] = files!("tables":
    "anomalies",
    "authorisation_events",
    "authorisations",
    "benefit_lines",
    "calls",
    "dead_letters",
    "entitlements",
    "means",
    "official_availability",
    "persons",
    "points_entries",
    "portal_usage",
    "registry_benefits",
    "registry_catalogue",
    "registry_centres",
    "registry_contracts",
    "registry_e_services",
    "registry_grantors",
    "registry_groups",
    "registry_institutions",
    "registry_instructions",
    "registry_issuers",
    "registry_limits",
    "registry_merchants",
    "registry_officials",
    "registry_places",
    "registry_services",
    "registry_subsidies",
    "registry_terminals",
    "services",
    "transaction_lines",
    "usage_by_minute",
);

/// The summaries, each named after the table that keeps its answers.
pub const SUMMARIES: &[File<'static>] = files!("summaries": "centre_quality", "indicators");

/// Every shipped pipeline, planned.
///
/// # Errors
/// Where a shipped file is wrong; the tests plan them all.
pub fn shipped() -> Planning<'static> {
    planner::plan(SOURCES, TABLES)
}
