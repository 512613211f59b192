//! The streams by name.

use std::fmt;

/// A stream of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Changes of the registry.
    RegistryChanges,
    /// Changes of people, as the register (DAGR) tells them.
    PersonChanges,
    /// Changes of identification means.
    MeansChanges,
    /// The days on which people are in groups.
    Entitlements,
    /// What terminals did while offline.
    TerminalTransactions,
    /// Decisions, and what became of them.
    Authorisations,
    /// Calls and services of the centres.
    ServiceEvents,
    /// The portal's e-services and logins.
    PortalEvents,
    /// Closed periods.
    Settlements,
    /// What was refused, and why.
    DeadLetters,
    /// Consents of recipients.
    Consents,
    /// Members of groups, as the lists of grantors' own systems tell them.
    Memberships,
    /// Who read or changed what.
    Audit,
}

impl Topic {
    /// Every stream.
    pub const ALL: [Self; 13] = [
        Self::RegistryChanges,
        Self::PersonChanges,
        Self::MeansChanges,
        Self::Entitlements,
        Self::TerminalTransactions,
        Self::Authorisations,
        Self::ServiceEvents,
        Self::PortalEvents,
        Self::Settlements,
        Self::DeadLetters,
        Self::Consents,
        Self::Memberships,
        Self::Audit,
    ];

    /// Every stream, each before those that its records follow from.
    pub const FOLLOWING: [Self; 13] = [
        Self::Audit,
        Self::Settlements,
        Self::Authorisations,
        Self::Entitlements,
        Self::Memberships,
        Self::TerminalTransactions,
        Self::ServiceEvents,
        Self::PortalEvents,
        Self::Consents,
        Self::MeansChanges,
        Self::PersonChanges,
        Self::RegistryChanges,
        Self::DeadLetters,
    ];

    /// The stream's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RegistryChanges => "registry-changes",
            Self::PersonChanges => "person-changes",
            Self::MeansChanges => "means-changes",
            Self::Entitlements => "entitlements",
            Self::TerminalTransactions => "terminal-transactions",
            Self::Authorisations => "authorisations",
            Self::ServiceEvents => "service-events",
            Self::PortalEvents => "portal-events",
            Self::Settlements => "settlements",
            Self::DeadLetters => "dead-letters",
            Self::Consents => "consents",
            Self::Memberships => "memberships",
            Self::Audit => "audit",
        }
    }

    /// The stream of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// How many partitions the embedded log keeps. Order holds within one, and it matters within a
    /// household; uploads keep the order of their file, and closings are one sequence.
    #[must_use]
    pub const fn partitions(self) -> u32 {
        match self {
            Self::Authorisations => 4,
            _ => 1,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The partition of a key: the same key always the same one.
#[must_use]
pub fn partition_of(key: &str, partitions: u32) -> u32 {
    let hash = blake3::hash(key.as_bytes());
    let mut first = [0; 4];
    first.copy_from_slice(&hash.as_bytes()[..4]);
    u32::from_le_bytes(first) % partitions.max(1)
}

/// A key that goes to a partition, for records that every partition gets.
#[must_use]
pub fn key_for(partition: u32, partitions: u32) -> String {
    (0_u32..)
        .map(|attempt| format!("partition-{partition}-{attempt}"))
        .find(|key| partition_of(key, partitions) == partition % partitions.max(1))
        .unwrap_or_default()
}
