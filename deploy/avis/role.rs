//! What a process does: all of it, or one role with the others beside it in processes of their own.
//!
//! Roles apart share the streams, on a Fluvio cluster, and the tables, on storage that all reach; each
//! has a folder of its own. Keys are made by `connectors` alone, and read by the others.

use std::path::{Path, PathBuf, absolute};

use clap::ValueEnum;
use url::{Host, Url};

use crate::{
    config::{Config, LogEngine},
    failure::Failure,
};

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum Role {
    /// Takes what registers, issuers, grantors, merchants and centres tell; has the keys.
    Connectors,
    /// Answers terminals, and recipients about what they have used.
    Authoriser,
    /// Evaluates groups, runs pipelines and lands their rows.
    Pipelines,
    /// Answers SQL, reports and settlements.
    Warehouse,
}

/// The roles of one process.
#[derive(Clone, Copy, Debug)]
pub struct Roles(Option<Role>);

impl Roles {
    /// All of them.
    pub const ALL: Self = Self(None);

    /// One role, or all where none is named; what it needs of the settings is there.
    ///
    /// # Errors
    /// Where the settings do not say where the other roles are.
    pub fn of(role: Option<Role>, config: &Config) -> Result<Self, Failure> {
        let Some(role) = role else {
            if config.roles.connectors.is_empty() {
                return Ok(Self::ALL);
            }
            let text = "these settings are of roles apart: say --role, or leave this empty";
            return Err(Failure::setting("roles.connectors", text));
        };
        if config.log.engine == LogEngine::Embedded {
            let text = "roles in processes of their own share the streams: \"fluvio\"";
            return Err(Failure::setting("log.engine", text));
        }
        if config.tables.location.is_empty() {
            let text = "roles in processes of their own share the tables: say where they are";
            return Err(Failure::setting("tables.location", text));
        }
        let roles = &config.roles;
        let needed: &[_] = match role {
            Role::Connectors => {
                &[("authoriser", &roles.authoriser), ("warehouse", &roles.warehouse)]
            }
            Role::Authoriser | Role::Pipelines => &[("connectors", &roles.connectors)],
            Role::Warehouse => {
                &[("connectors", &roles.connectors), ("pipelines", &roles.pipelines)]
            }
        };
        if let Some((name, _)) = needed.iter().find(|(_, given)| given.is_empty()) {
            let text = format!("the role {} has to know where it is", role.name());
            return Err(Failure::setting(&format!("roles.{name}"), text));
        }
        if role == Role::Warehouse {
            check_way(&roles.pipelines, &roles.authority)?;
        }
        Ok(Self(Some(role)))
    }

    /// Whether others are in processes of their own.
    #[must_use]
    pub const fn are_apart(self) -> bool {
        self.0.is_some()
    }

    /// Whether registers are written here, with the keys of people.
    #[must_use]
    pub fn registers(self) -> bool {
        self.has(Role::Connectors)
    }

    /// Whether baskets are decided here.
    #[must_use]
    pub fn decides(self) -> bool {
        self.has(Role::Authoriser)
    }

    /// Whether groups are evaluated and rows landed here.
    #[must_use]
    pub fn lands(self) -> bool {
        self.has(Role::Pipelines)
    }

    /// Whether tables are asked here, and periods settled.
    #[must_use]
    pub fn tells(self) -> bool {
        self.has(Role::Warehouse)
    }

    fn has(self, role: Role) -> bool {
        self.0.is_none_or(|only| only == role)
    }

    /// The folder of another process that has the keys; none where a process over `folder` has its own.
    #[must_use]
    pub fn keys_elsewhere(self, folder: &Path, config: &Config) -> Option<PathBuf> {
        let of = PathBuf::from(&config.roles.connectors);
        let is_own = match self.0 {
            Some(role) => role == Role::Connectors,
            // A command beside processes that run.
            None => of.as_os_str().is_empty() || absolute(&of).ok() == absolute(folder).ok(),
        };
        (!is_own).then_some(of)
    }
}

/// Whether rows that have not landed, and the token by which they are asked for, cross encrypted, to
/// a process whose certificate is signed by who is named, or do not leave this machine.
fn check_way(pipelines: &str, authority: &Path) -> Result<(), Failure> {
    let wrong = |text: &str| Err(Failure::setting("roles.pipelines", text));
    let address =
        Url::parse(pipelines).map_err(|error| Failure::setting("roles.pipelines", error))?;
    match (address.scheme(), address.host()) {
        ("https", Some(_)) if authority.as_os_str().is_empty() => {
            let text = "roles.pipelines begins with https://: say who has signed its certificate";
            Err(Failure::setting("roles.authority", text))
        }
        ("https", Some(_)) => Ok(()),
        ("http", Some(host)) if is_here(&host) => Ok(()),
        ("http", Some(_)) => wrong("rows and a token would cross in the clear: https://"),
        _ => wrong("an address that begins with http:// or https://"),
    }
}

fn is_here(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Connectors => "connectors",
            Self::Authoriser => "authoriser",
            Self::Pipelines => "pipelines",
            Self::Warehouse => "warehouse",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_encrypted_or_from_here() {
        let authority = Path::new("/etc/avis/ca.pem");
        let told = |address, authority| match check_way(address, authority) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        for address in ["http://127.0.0.1:50053", "http://localhost:1", "http://[::1]:1"] {
            assert_eq!(told(address, Path::new("")), "", "{address}");
        }
        assert_eq!(told("https://pipelines:50052", authority), "");
        assert!(told("https://pipelines:50052", Path::new("")).starts_with("roles.authority: "));
        for address in ["http://pipelines:50052", "pipelines:50052", "10.0.0.7:50052", "grpc://a"] {
            assert!(told(address, authority).starts_with("roles.pipelines: "), "{address}");
        }
    }
}
