//! The registry's instructions, made ready: in order, with what can be known beforehand looked up.

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::{
    basket::Line,
    grantor::Contract,
    id::{GroupId, InstructionId, ItemId, MerchantId, PlaceId, TerminalId},
    instruction::{Instruction, Stacking},
    merchant::{Category, Place, Territory},
    period::Validity,
    recipient::Recipient,
    registry::Registry,
    terminal::Terminal,
};

use super::{Fault, analyse};

/// A grantor's place in the rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrantorIndex(pub(super) u32);

/// A terminal's place in the rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalIndex(u32);

/// An instruction with what is looked up for it.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) instruction: Instruction,
    pub(super) grantor: GrantorIndex,
    pub(super) grantor_id: domain::id::GrantorId,
    /// `best_of` of the same grantor and name have the same number.
    pub(super) contest: Option<u32>,
    any: Vec<u32>,
    all: Vec<u32>,
    none: Vec<u32>,
}

/// Where a terminal stands, and which instructions reach it.
#[derive(Debug)]
pub struct Site {
    /// The merchant.
    pub merchant: MerchantId,
    /// The place.
    pub place: PlaceId,
    /// The place's territory.
    pub territory: Territory,
    merchant_index: u32,
    /// One bit per rule: whether its scope includes this terminal.
    in_scope: Box<[u64]>,
}

/// Everything that decisions need of the registry.
#[derive(Debug)]
pub struct RuleSet {
    /// In the order of application: ascending priority, then id, then version.
    pub(super) rules: Vec<Rule>,
    groups: HashMap<GroupId, u32>,
    terminals: HashMap<TerminalId, TerminalIndex>,
    sites: Vec<Site>,
    catalogue: HashMap<u32, HashMap<ItemId, Category>>,
    /// The days on which a grantor has a contract with a merchant.
    contracts: HashMap<(u32, u32), Vec<Validity>>,
    /// A merchant as its own grantor needs no contract.
    own: HashMap<u32, u32>,
}

/// The groups of one recipient, one bit each.
#[derive(Debug)]
pub(super) struct GroupBits(Vec<u64>);

impl RuleSet {
    /// Compiles the registry's instructions.
    ///
    /// # Errors
    /// Every fault that [`analyse::faults`] finds.
    pub fn compile(registry: &Registry) -> Result<Self, Vec<Fault>> {
        let faults = analyse::faults(registry);
        if !faults.is_empty() {
            return Err(faults);
        }
        let groups = index(registry.groups.iter().map(|group| group.id.clone()));
        let grantors = index(registry.grantors.iter().map(|grantor| grantor.id.clone()));
        let merchants = index(registry.merchants.iter().map(|merchant| merchant.id.clone()));
        let own = registry.grantors.iter().filter_map(|grantor| {
            let merchant = merchants.get(grantor.id.as_str())?;
            Some((*merchant, *grantors.get(&grantor.id)?))
        });
        let rules = rules(registry, &groups, &grantors);
        let mut rule_set = Self {
            own: own.collect(),
            catalogue: catalogue(registry, &merchants),
            contracts: contracts(&registry.contracts, &grantors, &merchants),
            rules,
            groups,
            terminals: HashMap::new(),
            sites: Vec::new(),
        };
        rule_set.place_terminals(registry, &merchants);
        Ok(rule_set)
    }

    /// A terminal of the registry.
    #[must_use]
    pub fn terminal(&self, id: &TerminalId) -> Option<TerminalIndex> {
        self.terminals.get(id).copied()
    }

    /// Where a terminal stands.
    #[must_use]
    pub fn site(&self, terminal: TerminalIndex) -> &Site {
        &self.sites[terminal.0 as usize]
    }

    /// A line's category: the catalogue's where the merchant's catalogue lists the item, else the
    /// terminal's (0).
    #[must_use]
    pub fn category<'a>(&'a self, terminal: TerminalIndex, line: &'a Line) -> Option<&'a Category> {
        let merchant = self.site(terminal).merchant_index;
        let listed = self.catalogue.get(&merchant).and_then(|items| items.get(&line.item));
        listed.or(line.category.as_ref())
    }

    /// The version of an instruction that is valid on a local day.
    #[must_use]
    pub fn version_on(&self, id: &InstructionId, day: NaiveDate) -> Option<&Instruction> {
        let versions = self.rules.iter().map(|rule| &rule.instruction);
        versions.filter(|version| version.id == *id).find(|version| version.valid.contains(day))
    }

    /// A version of an instruction.
    #[must_use]
    pub fn instruction(&self, id: &InstructionId, version: u32) -> Option<&Instruction> {
        let mut versions = self.rules.iter().map(|rule| &rule.instruction);
        versions.find(|known| known.id == *id && known.version == version)
    }

    pub(super) fn in_scope(&self, terminal: TerminalIndex, rule: usize) -> bool {
        let bits = &self.site(terminal).in_scope;
        bits.get(rule / 64).is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }

    pub(super) fn has_contract(
        &self,
        terminal: TerminalIndex,
        grantor: GrantorIndex,
        day: NaiveDate,
    ) -> bool {
        let merchant = self.site(terminal).merchant_index;
        self.own.get(&merchant) == Some(&grantor.0)
            || self
                .contracts
                .get(&(grantor.0, merchant))
                .is_some_and(|days| days.iter().any(|valid| valid.contains(day)))
    }

    pub(super) fn group_bits(&self, recipient: &Recipient) -> GroupBits {
        let mut bits = vec![0_u64; self.groups.len().div_ceil(64)];
        for group in recipient.groups.iter().filter_map(|group| self.groups.get(group)) {
            bits[*group as usize / 64] |= 1 << (group % 64);
        }
        GroupBits(bits)
    }

    fn place_terminals(&mut self, registry: &Registry, merchants: &HashMap<MerchantId, u32>) {
        let places: HashMap<_, _> =
            registry.places.iter().map(|place| (&place.id, place)).collect();
        for terminal in &registry.terminals {
            let Some(place) = places.get(&terminal.place) else { continue };
            let Some(merchant_index) = merchants.get(&place.merchant) else { continue };
            let mut in_scope = vec![0_u64; self.rules.len().div_ceil(64)];
            for (at, rule) in self.rules.iter().enumerate() {
                if scope_includes(&rule.instruction, terminal, place) {
                    in_scope[at / 64] |= 1 << (at % 64);
                }
            }
            let index = TerminalIndex(u32::try_from(self.sites.len()).unwrap_or(u32::MAX));
            self.terminals.insert(terminal.id.clone(), index);
            self.sites.push(Site {
                merchant: place.merchant.clone(),
                place: place.id.clone(),
                territory: place.territory.clone(),
                merchant_index: *merchant_index,
                in_scope: in_scope.into(),
            });
        }
    }
}

impl Rule {
    /// Whether the recipients include this person: (`everyone`, or in some of `any`, and in all of
    /// `all`) and in none of `none` (1). An anonymous basket is in no group.
    pub(super) fn is_for(&self, groups: Option<&GroupBits>) -> bool {
        let member = |group: &u32| groups.is_some_and(|groups| groups.contains(*group));
        if self.none.iter().any(member) {
            return false;
        }
        if self.instruction.recipients.everyone {
            return true;
        }
        (self.any.is_empty() || self.any.iter().any(member)) && self.all.iter().all(member)
    }
}

impl GroupBits {
    fn contains(&self, group: u32) -> bool {
        self.0.get(group as usize / 64).is_some_and(|word| word >> (group % 64) & 1 == 1)
    }
}

fn index<T: std::hash::Hash + Eq>(ids: impl Iterator<Item = T>) -> HashMap<T, u32> {
    ids.zip(0_u32..).collect()
}

fn rules(
    registry: &Registry,
    groups: &HashMap<GroupId, u32>,
    grantors: &HashMap<domain::id::GrantorId, u32>,
) -> Vec<Rule> {
    let benefits: HashMap<_, _> =
        registry.benefits.iter().map(|benefit| (&benefit.id, &benefit.grantor)).collect();
    let mut contests: HashMap<(u32, &str), u32> = HashMap::new();
    let bits = |ids: &[GroupId]| ids.iter().filter_map(|id| groups.get(id).copied()).collect();
    let mut rules = Vec::with_capacity(registry.instructions.len());
    for instruction in &registry.instructions {
        // Analysis has refused instructions of unknown benefits and grantors.
        let Some(grantor_id) = benefits.get(&instruction.benefit) else { continue };
        let Some(grantor) = grantors.get(*grantor_id) else { continue };
        let contest = match &instruction.stacking {
            Stacking::BestOf(name) => {
                let next = u32::try_from(contests.len()).unwrap_or(u32::MAX);
                Some(*contests.entry((*grantor, name)).or_insert(next))
            }
            _ => None,
        };
        rules.push(Rule {
            any: bits(&instruction.recipients.any),
            all: bits(&instruction.recipients.all),
            none: bits(&instruction.recipients.none),
            instruction: instruction.clone(),
            grantor: GrantorIndex(*grantor),
            grantor_id: (*grantor_id).clone(),
            contest,
        });
    }
    rules.sort_by(|a, b| {
        let key = |rule: &Rule| {
            let Instruction { priority, id, version, .. } = &rule.instruction;
            (*priority, id.clone(), *version)
        };
        key(a).cmp(&key(b))
    });
    rules
}

fn catalogue(
    registry: &Registry,
    merchants: &HashMap<MerchantId, u32>,
) -> HashMap<u32, HashMap<ItemId, Category>> {
    let mut catalogue: HashMap<u32, HashMap<ItemId, Category>> = HashMap::new();
    for item in &registry.catalogue {
        let Some(merchant) = merchants.get(&item.merchant) else { continue };
        let items = catalogue.entry(*merchant).or_default();
        items.insert(item.item.clone(), item.category.clone());
    }
    catalogue
}

fn contracts(
    contracts: &[Contract],
    grantors: &HashMap<domain::id::GrantorId, u32>,
    merchants: &HashMap<MerchantId, u32>,
) -> HashMap<(u32, u32), Vec<Validity>> {
    let mut days: HashMap<(u32, u32), Vec<Validity>> = HashMap::new();
    for contract in contracts {
        let parties = grantors.get(&contract.grantor).zip(merchants.get(&contract.merchant));
        let Some((grantor, merchant)) = parties else { continue };
        days.entry((*grantor, *merchant)).or_default().push(contract.valid);
    }
    days
}

/// Whether an instruction's scope includes a terminal; an empty list means any (1).
fn scope_includes(instruction: &Instruction, terminal: &Terminal, place: &Place) -> bool {
    let scope = &instruction.scope;
    (scope.merchants.is_empty() || scope.merchants.contains(&place.merchant))
        && (scope.places.is_empty() || scope.places.contains(&place.id))
        && (scope.territories.is_empty() || scope.territories.contains(&place.territory))
        && (scope.terminal_kinds.is_empty() || scope.terminal_kinds.contains(&terminal.kind))
}
