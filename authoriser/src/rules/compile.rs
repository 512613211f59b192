//! The registry's instructions, made ready: in order, with what can be known beforehand looked up.

use chrono::NaiveDate;
use domain::{
    basket::Line,
    grantor::{Contract, ExcessBearer},
    id::{GrantorId, GroupId, InstructionId, ItemId, MerchantId, PlaceId, TerminalId},
    instruction::Instruction,
    merchant::{Category, Place, Territory},
    period::Validity,
    recipient::Recipient,
    registry::Registry,
    terminal::Terminal,
};

use super::{
    Fault, analyse,
    content::{Listed, Marked, Marks},
    index::{Bits, Index, places},
    rule::{Rule, rules},
};

/// A terminal's place in the rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalIndex(u32);

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
    in_scope: Bits,
}

/// Everything that decisions need of the registry.
#[derive(Debug)]
pub struct RuleSet {
    /// In the order of application: ascending priority, then id, then version.
    pub(super) rules: Vec<Rule>,
    /// How many grantors there are.
    pub(super) grantors: usize,
    /// The places of each instruction's versions in `rules`.
    versions: Index<InstructionId, Vec<u32>>,
    groups: Index<GroupId, u32>,
    terminals: Index<TerminalId, TerminalIndex>,
    sites: Vec<Site>,
    marks: Marks,
    /// Of each merchant.
    catalogues: Vec<Index<ItemId, Listed>>,
    /// Of each merchant the grantors with a contract, and its days. A merchant as its own grantor
    /// needs none and has all days.
    contracts: Vec<Vec<(u32, Option<Validity>)>>,
    /// All contracts as agreed.
    agreed: Vec<Contract>,
}

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
        let groups = places(registry.groups.iter().map(|group| group.id.clone()));
        let grantors = places(registry.grantors.iter().map(|grantor| grantor.id.clone()));
        let merchants = places(registry.merchants.iter().map(|merchant| merchant.id.clone()));
        let marks = Marks::new(registry);
        let rules = rules(registry, &groups, &grantors, &marks);
        let mut versions: Index<InstructionId, Vec<u32>> = Index::default();
        for (at, rule) in (0..).zip(&rules) {
            versions.entry(rule.instruction.id.clone()).or_default().push(at);
        }
        let mut rule_set = Self {
            rules,
            grantors: registry.grantors.len(),
            versions,
            groups,
            terminals: Index::default(),
            sites: Vec::new(),
            catalogues: catalogues(registry, &merchants, &marks),
            marks,
            contracts: contracts(registry, &grantors, &merchants),
            agreed: registry.contracts.clone(),
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
        let listed = self.catalogue(terminal).and_then(|items| items.get(&line.item));
        listed.map(|listed| &listed.category).or(line.category.as_ref())
    }

    /// The instructions that may hold at a terminal on some of the days: in its scope, valid, and with
    /// a contract.
    pub fn offered(
        &self,
        terminal: TerminalIndex,
        from: NaiveDate,
        to: NaiveDate,
    ) -> impl Iterator<Item = &Instruction> {
        let site = self.site(terminal);
        let contracted = [self.contracted(terminal, from), self.contracted(terminal, to)];
        let rules = (0..).zip(&self.rules).filter(move |(at, rule)| {
            let valid = rule.valid.from <= to && rule.valid.to.is_none_or(|last| last >= from);
            let agreed = contracted.iter().any(|of| of.contains(rule.grantor.0));
            valid && agreed && site.is_in_scope(*at)
        });
        rules.map(|(_, rule)| &*rule.instruction)
    }

    /// Who bears what a terminal gave offline beyond our decision: as the contract of that day says,
    /// else the merchant.
    #[must_use]
    pub fn excess_bearer(
        &self,
        terminal: TerminalIndex,
        grantor: &GrantorId,
        day: NaiveDate,
    ) -> ExcessBearer {
        let merchant = &self.site(terminal).merchant;
        let of = |contract: &&Contract| {
            contract.grantor == *grantor
                && contract.merchant == *merchant
                && contract.valid.contains(day)
        };
        let contract = self.agreed.iter().find(of);
        contract.map_or(ExcessBearer::Merchant, |contract| contract.offline_excess)
    }

    /// The version of an instruction that is valid on a local day.
    #[must_use]
    pub fn version_on(&self, id: &InstructionId, day: NaiveDate) -> Option<&Instruction> {
        self.rule_on(id, day).map(|rule| &*rule.instruction)
    }

    /// A version of an instruction.
    #[must_use]
    pub fn instruction(&self, id: &InstructionId, version: u32) -> Option<&Instruction> {
        self.version(id, version).map(|rule| &*rule.instruction)
    }

    /// The version of an instruction that is valid on a local day, compiled.
    pub(super) fn rule_on(&self, id: &InstructionId, day: NaiveDate) -> Option<&Rule> {
        self.versions_of(id).find(|rule| rule.valid.contains(day))
    }

    /// A version of an instruction.
    pub(super) fn version(&self, id: &InstructionId, version: u32) -> Option<&Rule> {
        self.versions_of(id).find(|rule| rule.instruction.version == version)
    }

    fn versions_of(&self, id: &InstructionId) -> impl Iterator<Item = &Rule> {
        let places = self.versions.get(id).into_iter().flatten();
        places.filter_map(|at| self.rules.get(*at as usize))
    }

    /// Which grantors' instructions a terminal's merchant gives on a day.
    pub(super) fn contracted(&self, terminal: TerminalIndex, day: NaiveDate) -> Bits {
        let mut contracted = Bits::default();
        let merchant = self.site(terminal).merchant_index;
        for (grantor, valid) in self.contracts.get(merchant as usize).into_iter().flatten() {
            if valid.is_none_or(|valid| valid.contains(day)) {
                contracted.insert(*grantor);
            }
        }
        contracted
    }

    /// The groups of a recipient; an anonymous basket is in none.
    pub(super) fn groups_of(&self, recipient: Option<&Recipient>) -> Bits {
        let mut groups = Bits::default();
        let of = recipient.into_iter().flat_map(|recipient| &recipient.groups);
        for place in of.filter_map(|group| self.groups.get(group)) {
            groups.insert(*place);
        }
        groups
    }

    /// Notes the marks of lines whose categories were found when they were sold: what the merchant's
    /// catalogue says by now is of other sales.
    pub(super) fn mark_sold<const WORDS: usize>(&self, lines: &[Line], marked: &mut Marked<WORDS>) {
        self.marks.note(lines, None, marked);
    }

    /// Notes the marks of a basket's lines.
    pub(super) fn mark<const WORDS: usize>(
        &self,
        terminal: TerminalIndex,
        lines: &[Line],
        marked: &mut Marked<WORDS>,
    ) {
        self.marks.note(lines, self.catalogue(terminal), marked);
    }

    fn catalogue(&self, terminal: TerminalIndex) -> Option<&Index<ItemId, Listed>> {
        self.catalogues.get(self.site(terminal).merchant_index as usize)
    }

    fn place_terminals(&mut self, registry: &Registry, merchants: &Index<MerchantId, u32>) {
        let places: Index<_, _> = registry.places.iter().map(|place| (&place.id, place)).collect();
        for terminal in &registry.terminals {
            let Some(place) = places.get(&terminal.place) else { continue };
            let Some(merchant_index) = merchants.get(&place.merchant) else { continue };
            let mut in_scope = Bits::default();
            for (at, rule) in (0..).zip(&self.rules) {
                if scope_includes(&rule.instruction, terminal, place) {
                    in_scope.insert(at);
                }
            }
            let index = TerminalIndex(u32::try_from(self.sites.len()).unwrap_or(u32::MAX));
            self.terminals.insert(terminal.id.clone(), index);
            self.sites.push(Site {
                merchant: place.merchant.clone(),
                place: place.id.clone(),
                territory: place.territory.clone(),
                merchant_index: *merchant_index,
                in_scope,
            });
        }
    }
}

impl Site {
    /// Whether a rule's scope includes this terminal.
    pub(super) fn is_in_scope(&self, rule: u32) -> bool {
        self.in_scope.contains(rule)
    }
}

fn catalogues(
    registry: &Registry,
    merchants: &Index<MerchantId, u32>,
    marks: &Marks,
) -> Vec<Index<ItemId, Listed>> {
    let mut catalogues: Vec<Index<ItemId, Listed>> = Vec::new();
    catalogues.resize_with(registry.merchants.len(), Index::default);
    for item in &registry.catalogue {
        let Some(merchant) = merchants.get(&item.merchant) else { continue };
        let listed = marks.list(&item.item, &item.category);
        catalogues[*merchant as usize].insert(item.item.clone(), listed);
    }
    catalogues
}

fn contracts(
    registry: &Registry,
    grantors: &Index<GrantorId, u32>,
    merchants: &Index<MerchantId, u32>,
) -> Vec<Vec<(u32, Option<Validity>)>> {
    let mut contracts = vec![Vec::new(); registry.merchants.len()];
    for grantor in &registry.grantors {
        let parties = grantors.get(&grantor.id).zip(merchants.get(grantor.id.as_str()));
        let Some((grantor, merchant)) = parties else { continue };
        contracts[*merchant as usize].push((*grantor, None));
    }
    for Contract { grantor, merchant, valid, .. } in &registry.contracts {
        let parties = grantors.get(grantor).zip(merchants.get(merchant));
        let Some((grantor, merchant)) = parties else { continue };
        contracts[*merchant as usize].push((*grantor, Some(*valid)));
    }
    contracts
}

/// Whether an instruction's scope includes a terminal; an empty list means any (1).
fn scope_includes(instruction: &Instruction, terminal: &Terminal, place: &Place) -> bool {
    let scope = &instruction.scope;
    (scope.merchants.is_empty() || scope.merchants.contains(&place.merchant))
        && (scope.places.is_empty() || scope.places.contains(&place.id))
        && (scope.territories.is_empty() || scope.territories.contains(&place.territory))
        && (scope.terminal_kinds.is_empty() || scope.terminal_kinds.contains(&terminal.kind))
}
