//! Tokens to try things with.

use chrono::{TimeDelta, Utc};
use connectors::access::{Identity, Role, Tokens};
use domain::registry::Registry;

use crate::failure::Failure;

/// How long they hold.
const DEV_TOKENS: TimeDelta = TimeDelta::days(30);

/// Tokens to try things with: one of a terminal of every merchant, and one of every role.
///
/// # Errors
/// Where one cannot be signed.
pub fn print_tokens(tokens: &Tokens, registry: &Registry) -> Result<(), Failure> {
    let expires = Utc::now() + DEV_TOKENS;
    for merchant in &registry.merchants {
        let places: Vec<_> =
            registry.places.iter().filter(|place| place.merchant == merchant.id).collect();
        let terminal = registry
            .terminals
            .iter()
            .find(|terminal| places.iter().any(|place| place.id == terminal.place));
        let Some(terminal) = terminal else { continue };
        let identity = Identity {
            role: Role::Terminal,
            organisation: merchant.id.as_str().into(),
            subject: terminal.id.as_str().into(),
        };
        println!("token    terminal {} {}", terminal.id, tokens.issue(&identity, expires)?);
    }
    let organisations = [
        (Role::Administrator, Some(String::new())),
        (Role::Operator, Some(String::new())),
        (Role::Analyst, Some(String::new())),
        (Role::Finance, Some(String::new())),
        (Role::Source, Some(String::new())),
        (Role::Merchant, registry.merchants.first().map(|merchant| merchant.id.to_string())),
        (Role::Grantor, registry.grantors.first().map(|grantor| grantor.id.to_string())),
        (Role::Issuer, registry.issuers.first().map(|issuer| issuer.id.to_string())),
        (Role::Centre, registry.centres.first().map(|centre| centre.id.to_string())),
    ];
    for (role, organisation) in organisations {
        let Some(organisation) = organisation else { continue };
        let identity =
            Identity { role, organisation: organisation.as_str().into(), subject: "dev".into() };
        println!("token    {} {organisation} {}", role.code(), tokens.issue(&identity, expires)?);
    }
    if let Some(official) = registry.officials.first() {
        let identity = Identity {
            role: Role::Official,
            organisation: official.institution.as_str().into(),
            subject: official.id.as_str().into(),
        };
        println!("token    official {} {}", official.id, tokens.issue(&identity, expires)?);
    }
    Ok(())
}
