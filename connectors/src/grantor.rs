//! Grantors' own systems: who is in their groups, by lists that they send.
//!
//! What they describe, benefits and instructions, comes through the registry's own routes.

pub mod http;
pub mod translate;

use std::{collections::HashSet, sync::Arc};

use domain::{
    id::{GroupId, RecordId},
    recipient::Membership,
    registry::Registry,
};
use ingest::{
    clock::Clock,
    record::{Record, outside_id},
    spread,
    topic::Topic,
    vault::Vault,
    wire::v1::Event,
};

use crate::connector::{Again, Connector, Refusal};

/// Takes lists of members.
#[derive(Debug)]
pub struct MembershipLists {
    /// The groups that are lists.
    pub groups: HashSet<GroupId>,
    /// The group that all of it is about, where lines need not say so.
    pub only: Option<GroupId>,
    /// For keyed hashes, and for finding people.
    pub vault: Vault,
    /// When records are recorded.
    pub clock: Arc<dyn Clock>,
}

/// The groups of a registry that are lists; others are evaluated by their condition.
#[must_use]
pub fn lists(registry: &Registry) -> HashSet<GroupId> {
    let lists = registry.groups.iter().filter(|of| matches!(of.members, Membership::List(_)));
    lists.map(|group| group.id.clone()).collect()
}

/// A member is on a group's list once; the days may change.
fn known_by(record: &Record) -> RecordId {
    match &record.event {
        Event::MembershipChanged(change) => outside_id("member", &change.member()),
        _ => record.id,
    }
}

impl Connector for MembershipLists {
    fn name(&self) -> &'static str {
        "grantor"
    }

    fn topic(&self) -> Topic {
        Topic::Memberships
    }

    fn again(&self) -> Again {
        Again::Changes
    }

    fn identity(&self, record: &Record) -> RecordId {
        known_by(record)
    }

    fn translate(&mut self, messages: &[&[u8]]) -> Vec<Result<Record, Refusal>> {
        let now = self.clock.now();
        let lists = &*self;
        spread::map(messages.to_vec(), |message| translate::member(message, lists, now))
    }
}
