//! What decisions look things up in, kept as new as the streams: rules, means, entitlements.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    decision::DeclineReason,
    id::{GroupId, HouseholdId, MeansToken, RecipientId},
    identification_means::{Means, MeansStatus},
    recipient::{self, Member, Membership, Recipient},
    registry::Registry,
};
use ingest::{
    log::{Log, READ_BATCH},
    record::Stored,
    register::{
        entitlements::{self, Entitlements, Moved},
        holders::Holders,
        means::{self, MeansRegister},
        memberships::Memberships,
        registry::RegistryView,
    },
    topic::Topic,
    wire::v1::Event,
};

use crate::{error::AuthoriserError, rules::RuleSet};

/// The registers, and where each goes on reading.
#[derive(Debug)]
pub struct Registers {
    registry: RegistryView,
    rules: Arc<RuleSet>,
    people: Arc<RwLock<People>>,
    next: HashMap<(Topic, u32), u64>,
    /// Who has moved since it was last asked; none are noted before it was asked once.
    moved: Option<Vec<Moved>>,
}

/// Means and memberships: large, so there is one of each in a process, which the decision loop
/// writes and whoever makes offline kits reads a part at a time.
#[derive(Debug, Default)]
pub struct People {
    /// Every means.
    pub means: MeansRegister,
    /// Whose means are which.
    pub holders: Holders,
    /// Every person's groups.
    pub entitlements: Entitlements,
    /// Groups that list a means in the registry itself.
    listed: HashMap<MeansToken, Vec<GroupId>>,
    /// The means on the lists of grantors' own systems.
    lists: Memberships,
    /// The groups that are lists.
    list_groups: HashSet<GroupId>,
    /// How far they were read.
    pub version: Version,
}

/// Up to where the registers were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The registry: the offset after its last change.
    pub registry: u64,
    /// The means, likewise.
    pub means: u64,
    /// What people's groups are, likewise.
    pub entitlements: u64,
    /// The lists, likewise.
    pub memberships: u64,
}

/// Who stands in front of the terminal.
#[derive(Clone, Debug)]
pub struct Presented {
    /// What became of the means.
    pub status: MeansStatus,
    /// The recipient; none for an anonymous basket.
    pub recipient: Option<Recipient>,
    /// Why the basket is declined, if it is.
    pub declined: Option<DeclineReason>,
}

impl Registers {
    /// Empty registers; [`refresh`](Self::refresh) fills them.
    ///
    /// # Errors
    /// Never in practice: an empty registry compiles.
    pub fn new() -> Result<Self, AuthoriserError> {
        Ok(Self {
            registry: RegistryView::default(),
            rules: compile(&Registry::default())?,
            people: Arc::default(),
            next: HashMap::new(),
            moved: None,
        })
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// The registry's version: the offset after its last change.
    #[must_use]
    pub fn registry_version(&self) -> u64 {
        self.next.get(&(Topic::RegistryChanges, 0)).copied().unwrap_or(0)
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &RegistryView {
        &self.registry
    }

    /// Means and memberships, shared.
    #[must_use]
    pub const fn people(&self) -> &Arc<RwLock<People>> {
        &self.people
    }

    /// Reads what is new in the streams of registry, means and entitlements.
    ///
    /// # Errors
    /// Where a stream cannot be read or the instructions in it do not compile.
    pub async fn refresh(&mut self, log: &Arc<dyn Log>) -> Result<(), AuthoriserError> {
        let before = self.registry_version();
        while let Some(batch) = self.read(log, Topic::RegistryChanges, 0).await? {
            self.registry.apply(&batch);
        }
        if self.registry_version() != before {
            let registry = self.registry.registry();
            self.rules = compile(&registry)?;
            let (list_groups, listed) = listed_means(&registry);
            let mut people = write(&self.people);
            people.list_groups = list_groups;
            people.listed = listed;
            people.version.registry = self.registry_version();
        }
        for topic in [Topic::MeansChanges, Topic::Memberships, Topic::Entitlements] {
            for partition in 0..log.partitions(topic) {
                while let Some(batch) = self.read(log, topic, partition).await? {
                    let moved = write(&self.people).apply(topic, &batch);
                    if let Some(all) = &mut self.moved {
                        all.extend(moved);
                    }
                }
            }
        }
        Ok(())
    }

    /// Who lives in another household than when this was last asked. Where it is asked for the first
    /// time nobody is told of: what moved before is found otherwise.
    pub fn take_moved(&mut self) -> Vec<Moved> {
        self.moved.replace(Vec::new()).unwrap_or_default()
    }

    /// Where a recipient lives by what is known last.
    #[must_use]
    pub fn home(&self, who: RecipientId) -> HouseholdId {
        read(&self.people).home(who)
    }

    /// Who stands in front of the terminal, from the attributes known at that instant and the
    /// groups as of that local day.
    #[must_use]
    pub fn present(
        &self,
        token: Option<MeansToken>,
        instant: DateTime<Utc>,
        day: NaiveDate,
    ) -> Presented {
        let Some(token) = token else {
            return Presented { status: MeansStatus::None, recipient: None, declined: None };
        };
        read(&self.people).present(token, instant, day)
    }

    async fn read(
        &mut self,
        log: &Arc<dyn Log>,
        topic: Topic,
        partition: u32,
    ) -> Result<Option<Vec<Stored>>, AuthoriserError> {
        let next = self.next.entry((topic, partition)).or_default();
        let batch = log.read(topic, partition, *next, READ_BATCH).await?;
        match batch.last() {
            Some(last) => *next = last.position.offset + 1,
            None => return Ok(None),
        }
        Ok(Some(batch))
    }
}

impl People {
    /// Takes a batch, and tells who has moved by it.
    fn apply(&mut self, topic: Topic, batch: &[Stored]) -> Vec<Moved> {
        let mut moved = Vec::new();
        for stored in batch {
            match topic {
                Topic::MeansChanges => {
                    self.means.apply(stored);
                    self.holders.apply(stored);
                }
                // Of people the evaluation tells, with their other groups.
                Topic::Memberships => {
                    if let Event::MembershipChanged(change) = &stored.record.event
                        && change.token.is_some()
                    {
                        self.lists.apply(stored);
                    }
                }
                _ => moved.extend(self.entitlements.apply(stored)),
            }
        }
        let next = batch.last().map_or(0, |last| last.position.offset + 1);
        match topic {
            Topic::MeansChanges => self.version.means = next,
            Topic::Memberships => self.version.memberships = next,
            _ => self.version.entitlements = next,
        }
        moved
    }

    /// Where a recipient lives by what is known last: of a person of whom nothing is known, and of a
    /// means that stands without one, alone.
    #[must_use]
    pub fn home(&self, who: RecipientId) -> HouseholdId {
        self.entitlements.home(who).unwrap_or_else(|| recipient::alone(who))
    }

    /// Who a means stands for.
    fn present(&self, token: MeansToken, instant: DateTime<Utc>, day: NaiveDate) -> Presented {
        let found = self.means.get(token);
        let status = means::status(found.as_ref(), day);
        match (status, found) {
            (MeansStatus::Blocked, _) => {
                let declined = Some(DeclineReason::MeansBlocked);
                Presented { status, recipient: None, declined }
            }
            (MeansStatus::Valid, Some(means)) => self.holder(&means, instant, day),
            // Unknown, not yet valid or expired: anonymous.
            _ => Presented { status, recipient: None, declined: None },
        }
    }

    /// Who holds a valid means, as of an instant and a local day.
    #[must_use]
    pub fn holder(&self, means: &Means, instant: DateTime<Utc>, day: NaiveDate) -> Presented {
        let mut presented = match means.person {
            Some(person) => self.person(person, instant, day),
            None => {
                let recipient = Some(alone(means.token.as_u128(), Vec::new()));
                Presented { status: MeansStatus::Valid, recipient, declined: None }
            }
        };
        if let Some(recipient) = &mut presented.recipient {
            for group in self.groups_of(means.token, instant, day) {
                if !recipient.groups.contains(group) {
                    recipient.groups.push(group.clone());
                }
            }
        }
        presented
    }

    /// The groups that whoever presents a means is in because the means itself is on a list, by what
    /// held at that instant.
    fn groups_of(
        &self,
        token: MeansToken,
        instant: DateTime<Utc>,
        day: NaiveDate,
    ) -> impl Iterator<Item = &GroupId> {
        let listed = self.listed.get(&token).into_iter().flatten();
        let days = self.lists.of_means_at(token, instant);
        let days = days.filter(move |days| days.contains(day));
        let told = days.map(|days| &days.group).filter(|group| self.list_groups.contains(*group));
        listed.chain(told)
    }

    /// A person, as of an instant and a local day.
    #[must_use]
    pub fn person(&self, person: RecipientId, instant: DateTime<Utc>, day: NaiveDate) -> Presented {
        let status = MeansStatus::Valid;
        match self.entitlements.at(person, instant) {
            Some(known) if !known.alive => {
                let declined = Some(DeclineReason::RecipientDead);
                Presented { status, recipient: None, declined }
            }
            Some(known) => {
                let recipient = Some(entitlements::recipient(known, day));
                Presented { status, recipient, declined: None }
            }
            None => {
                let recipient = Some(alone(person.as_u128(), Vec::new()));
                Presented { status, recipient, declined: None }
            }
        }
    }

    /// A person's means, by their tokens.
    pub fn means_of(&self, person: RecipientId) -> impl Iterator<Item = Means> + '_ {
        let means = self.holders.tokens(person).filter_map(|token| self.means.get(token));
        means.filter(move |means| means.person == Some(person))
    }
}

/// Looks at means and memberships. A panic while they were written leaves nothing half written: each
/// record is taken whole.
pub fn read(people: &RwLock<People>) -> RwLockReadGuard<'_, People> {
    people.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(people: &RwLock<People>) -> RwLockWriteGuard<'_, People> {
    people.write().unwrap_or_else(PoisonError::into_inner)
}

/// A recipient that is a household alone.
fn alone(id: u128, groups: Vec<GroupId>) -> Recipient {
    let id = RecipientId::from_u128(id);
    Recipient { id, household: recipient::alone(id), groups }
}

fn compile(registry: &Registry) -> Result<Arc<RuleSet>, AuthoriserError> {
    let faults = |faults: Vec<crate::rules::Fault>| {
        let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
        AuthoriserError::Rules(lines.join("; "))
    };
    RuleSet::compile(registry).map(Arc::new).map_err(faults)
}

/// The groups that are lists, and those that list a means in the registry itself.
fn listed_means(registry: &Registry) -> (HashSet<GroupId>, HashMap<MeansToken, Vec<GroupId>>) {
    let mut listed: HashMap<MeansToken, Vec<GroupId>> = HashMap::new();
    let mut list_groups = HashSet::new();
    for group in &registry.groups {
        let Membership::List(members) = &group.members else { continue };
        list_groups.insert(group.id.clone());
        for member in members {
            if let Member::Means(token) = member {
                listed.entry(*token).or_default().push(group.id.clone());
            }
        }
    }
    (list_groups, listed)
}
