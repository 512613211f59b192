//! Decisions as records of the `authorisations` stream.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    basket::{PointsWanted, Request},
    decision::{Decision, InstructionOutcome, LimitRoom, LineBenefit, Outcome, PointsMovement},
    grantor::ExcessBearer,
    id::{AuthorisationId, BenefitId, GrantorId, HouseholdId, InstructionId, RecipientId},
    limit::{CounterKey, CounterMovement, Holder, Measure, Per, Period},
    recipient::Recipient,
};
use ingest::wire::v1;

use crate::{cache::Movements, rules::RuleSet};

/// What a decision's record says beside the decision.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The authorisation's id.
    pub id: AuthorisationId,
    /// What was asked.
    pub request: &'a Request,
    /// The hash of what was asked, as the terminal sent it.
    pub body_hash: Vec<u8>,
    /// The local day.
    pub day: NaiveDate,
    /// The merchant, place and territory of the terminal.
    pub merchant: &'a str,
    /// The place of the terminal.
    pub place: &'a str,
    /// The territory of the place.
    pub territory: &'a str,
    /// Where the authorisation stands now.
    pub status: domain::authorisation::Status,
    /// When a reservation ends, unless it is captured.
    pub expires_at: Option<DateTime<Utc>>,
    /// The recipient, as limits count; none for an anonymous basket.
    pub recipient: Option<&'a Recipient>,
    /// Where the recipient lives by now, where that is another household.
    pub home: Option<HouseholdId>,
    /// The recipient as tables see it.
    pub pseudonym: Option<String>,
    /// Each line's category as decided: the catalogue's before the terminal's.
    pub categories: Vec<String>,
    /// What an offline terminal gave beyond the decision, per line and instruction.
    pub excess: Vec<Excess>,
    /// Which state of the registry decided.
    pub registry_version: u64,
    /// Where the authoriser goes on reading uploads, when this decides one.
    pub uploads_next: Option<u64>,
}

/// What an offline terminal gave beyond our decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The line.
    pub line: u32,
    /// The instruction.
    pub instruction: InstructionId,
    /// Its version, where our registry has one in force that day; else 0.
    pub version: u32,
    /// The benefit and its grantor, where known.
    pub benefit: Option<(BenefitId, GrantorId)>,
    /// Cents beyond ours; above 0.
    pub cents: i64,
    /// Who bears them.
    pub borne_by: ExcessBearer,
}

/// The record of a decision.
#[must_use]
pub fn decided(
    facts: &Facts<'_>,
    decision: &Decision,
    rules: &RuleSet,
) -> v1::AuthorisationDecided {
    let request = facts.request;
    v1::AuthorisationDecided {
        authorisation_id: facts.id.to_string(),
        terminal_id: request.terminal.as_str().into(),
        idempotency_key: request.key.as_str().into(),
        body_hash: facts.body_hash.clone(),
        mode: request.mode.code().into(),
        status: facts.status.code().into(),
        decision: decision.outcome.code().into(),
        decline_reason: match decision.outcome {
            Outcome::Declined(reason) => Some(reason.code().into()),
            Outcome::Approved | Outcome::NoBenefit => None,
        },
        means_status: decision.means_status.code().into(),
        occurred_at: request.occurred_at.timestamp_micros(),
        date: facts.day.to_string(),
        expires_at: facts.expires_at.map(|at| at.timestamp_micros()),
        merchant_id: facts.merchant.into(),
        place_id: facts.place.into(),
        territory: facts.territory.into(),
        recipient: facts.pseudonym.clone(),
        recipient_id: facts.recipient.map(|recipient| recipient.id.to_string()),
        household_id: facts.recipient.map(|recipient| recipient.household.to_string()),
        groups: groups(facts.recipient),
        receipt_number: request.receipt.clone(),
        total_cents: decision.total().cents(),
        benefit_cents: decision.benefit().cents(),
        payable_cents: decision.payable().cents(),
        points_earned: decision.points_earned(),
        points_spent: decision.points_spent(),
        spend_points: points_wanted(request.spend_points),
        lines: lines(facts, decision),
        instructions: decision.instructions.iter().map(|of| outcome(of, rules)).collect(),
        counters: decision.counters.iter().map(counter).collect(),
        points: decision.points.iter().map(points).collect(),
        registry_version: facts.registry_version,
        uploads_next: facts.uploads_next,
        excess_cents: facts.excess.iter().map(|excess| excess.cents).sum(),
        home_id: facts.home.map(|home| home.to_string()),
    }
}

/// What a decision moves in the cache.
#[must_use]
pub fn movements(decision: &Decision, recipient: Option<RecipientId>) -> Movements {
    Movements {
        counters: decision.counters.clone(),
        points: points_of(recipient, &decision.points),
    }
}

/// Moved points as the cache has them; an anonymous basket has none.
#[must_use]
pub fn points_of(
    recipient: Option<RecipientId>,
    moved: &[PointsMovement],
) -> Vec<(RecipientId, BenefitId, i64)> {
    let of = |recipient| {
        let moved = moved.iter();
        moved.map(move |points| (recipient, points.benefit.clone(), points.change)).collect()
    };
    recipient.map(of).unwrap_or_default()
}

/// The movements of a household's counters, as they are in the household where the recipient lives by
/// now.
#[must_use]
pub fn at_home(home: HouseholdId, counters: &[CounterMovement]) -> Vec<CounterMovement> {
    let of_household = counters.iter().filter(|moved| moved.key.household().is_some());
    let there = of_household
        .map(|moved| CounterMovement { key: moved.key.of_household(home), change: moved.change });
    there.collect()
}

/// What a record of the stream moves in the cache, for its rebuild; `None` where the record is not
/// one that this version wrote.
#[must_use]
pub fn movements_of(event: &v1::AuthorisationDecided) -> Option<Movements> {
    with_home(own_movements_of(event)?, event.home_id.as_deref())
}

/// As [`movements_of`], for a record of what became of an authorisation.
#[must_use]
pub fn movements_of_change(event: &v1::AuthorisationChanged) -> Option<Movements> {
    with_home(own_movements_of_change(event)?, event.home_id.as_deref())
}

/// As [`movements_of`], for a record of who joined a household.
#[must_use]
pub fn movements_of_joined(event: &v1::HouseholdJoined) -> Option<Movements> {
    let (who, household) = (event.recipient_id.as_str(), event.household_id.as_str());
    recorded_movements(Some(who), Some(household), &event.counters, &[])
}

/// As [`movements_of`], without what moves where the recipient lives by now.
#[must_use]
pub fn own_movements_of(event: &v1::AuthorisationDecided) -> Option<Movements> {
    recorded_movements(
        event.recipient_id.as_deref(),
        event.household_id.as_deref(),
        &event.counters,
        &event.points,
    )
}

/// As [`own_movements_of`], for a record of what became of an authorisation.
#[must_use]
pub fn own_movements_of_change(event: &v1::AuthorisationChanged) -> Option<Movements> {
    recorded_movements(
        event.recipient_id.as_deref(),
        event.household_id.as_deref(),
        &event.counters,
        &event.points,
    )
}

fn with_home(mut movements: Movements, home: Option<&str>) -> Option<Movements> {
    if let Some(home) = home {
        let home = HouseholdId::parse(home)?;
        movements.counters.extend(at_home(home, &movements.counters));
    }
    Some(movements)
}

fn recorded_movements(
    recipient: Option<&str>,
    household: Option<&str>,
    counters: &[v1::CounterMovement],
    points: &[v1::PointsMovement],
) -> Option<Movements> {
    let recipient = recipient.and_then(RecipientId::parse);
    let household = household.and_then(HouseholdId::parse);
    let counters = counters.iter().map(|moved| recorded_counter(recipient, household, moved));
    let points = points
        .iter()
        .map(|moved| Some((recipient?, BenefitId::new(&moved.benefit_id).ok()?, moved.change)));
    Some(Movements {
        counters: counters.collect::<Option<_>>()?,
        points: points.collect::<Option<_>>()?,
    })
}

fn recorded_counter(
    recipient: Option<RecipientId>,
    household: Option<HouseholdId>,
    moved: &v1::CounterMovement,
) -> Option<CounterMovement> {
    let holder = match Per::parse(&moved.per)? {
        Per::Recipient => Holder::Recipient(recipient?),
        Per::Household => Holder::Household(household?),
        Per::Instruction => Holder::Instruction,
    };
    let key = CounterKey {
        instruction: InstructionId::new(&moved.instruction_id).ok()?,
        holder,
        period: Period::parse(&moved.period)?,
        period_start: moved.period_start.parse().ok()?,
        measure: Measure::parse(&moved.measure)?,
    };
    Some(CounterMovement { key, change: moved.change })
}

fn groups(recipient: Option<&Recipient>) -> Vec<String> {
    let groups = recipient.map(|recipient| recipient.groups.as_slice()).unwrap_or_default();
    groups.iter().map(|group| group.as_str().to_owned()).collect()
}

/// Points wanted as the wire has them: negative means as many as may be.
#[must_use]
pub const fn points_wanted(wanted: PointsWanted) -> i64 {
    match wanted {
        PointsWanted::UpTo(points) => points,
        PointsWanted::Max => -1,
    }
}

fn lines(facts: &Facts<'_>, decision: &Decision) -> Vec<v1::AuthorisationLine> {
    let asked = facts.request.lines.iter().zip(&facts.categories);
    let decided = asked.zip(&decision.lines);
    let mut beyond: BTreeMap<u32, Vec<&Excess>> = BTreeMap::new();
    for excess in &facts.excess {
        beyond.entry(excess.line).or_default().push(excess);
    }
    let line = |((line, category), decided): (
        (&domain::basket::Line, &String),
        &domain::decision::LineDecision,
    )| {
        let mut benefits: Vec<_> =
            decided.benefits.iter().map(|given| benefit(decision, given)).collect();
        for excess in beyond.get(&line.number).into_iter().flatten() {
            add_excess(&mut benefits, excess);
        }
        v1::AuthorisationLine {
            line: line.number,
            item: line.item.as_str().into(),
            category: category.clone(),
            quantity_thousandths: line.quantity.thousandths(),
            unit_price_cents: line.unit_price.cents(),
            total_cents: decided.total.cents(),
            payable_cents: decided.payable.cents(),
            attributes: line.attributes.clone(),
            benefits,
        }
    };
    decided.map(line).collect()
}

/// Excess stands beside what we decided, or in a line of its own where we gave nothing.
fn add_excess(benefits: &mut Vec<v1::LineBenefit>, excess: &Excess) {
    let id = excess.instruction.as_str();
    if let Some(known) = benefits.iter_mut().find(|benefit| benefit.instruction_id == id) {
        known.excess_cents += excess.cents;
        known.excess_borne_by = bearer(excess).into();
        return;
    }
    let names = excess.benefit.as_ref();
    benefits.push(v1::LineBenefit {
        instruction_id: id.into(),
        instruction_version: excess.version,
        benefit_id: names.map(|(benefit, _)| benefit.as_str().to_owned()).unwrap_or_default(),
        grantor_id: names.map(|(_, grantor)| grantor.as_str().to_owned()).unwrap_or_default(),
        excess_cents: excess.cents,
        excess_borne_by: bearer(excess).into(),
        ..v1::LineBenefit::default()
    });
}

const fn bearer(excess: &Excess) -> &'static str {
    match excess.borne_by {
        ExcessBearer::Merchant => "merchant",
        ExcessBearer::Grantor => "grantor",
    }
}

fn benefit(decision: &Decision, given: &LineBenefit) -> v1::LineBenefit {
    let of = decision.instructions.iter().find(|outcome| {
        outcome.instruction == given.instruction && outcome.version == given.version
    });
    v1::LineBenefit {
        instruction_id: given.instruction.as_str().into(),
        instruction_version: given.version,
        benefit_id: of.map(|outcome| outcome.benefit.as_str().to_owned()).unwrap_or_default(),
        grantor_id: of.map(|outcome| outcome.grantor.as_str().to_owned()).unwrap_or_default(),
        units: given.units,
        amount_cents: given.amount.cents(),
        wanted_cents: given.wanted.map(domain::amount::Amount::cents),
        grantor_cents: given.grantor_amount.cents(),
        merchant_cents: given.amount.cents() - given.grantor_amount.cents(),
        ..v1::LineBenefit::default()
    }
}

fn outcome(outcome: &InstructionOutcome, rules: &RuleSet) -> v1::InstructionOutcome {
    let applied = outcome.skipped.is_none();
    let of = rules.instruction(&outcome.instruction, outcome.version).filter(|_| applied);
    v1::InstructionOutcome {
        label_lv: of.map(|of| of.label.lv.clone()).unwrap_or_default(),
        label_en: of.map(|of| of.label.en.clone()).unwrap_or_default(),
        show_remaining: of.is_some_and(|of| of.show_remaining),
        instruction_id: outcome.instruction.as_str().into(),
        instruction_version: outcome.version,
        benefit_id: outcome.benefit.as_str().into(),
        grantor_id: outcome.grantor.as_str().into(),
        reason: outcome.skipped.map(|reason| reason.code().into()),
        amount_cents: outcome.amount.cents(),
        wanted_cents: outcome.wanted.map(domain::amount::Amount::cents),
        points: outcome.points,
        limits: outcome.limits.iter().map(limit).collect(),
    }
}

fn limit(room: &LimitRoom) -> v1::LimitRoom {
    v1::LimitRoom {
        per: room.per.code().into(),
        period: room.period.code().into(),
        measure: room.measure.code().into(),
        before: room.before,
        after: room.after,
    }
}

/// A counter's movement as records have it.
#[must_use]
pub fn counter(movement: &CounterMovement) -> v1::CounterMovement {
    let per = match movement.key.holder {
        Holder::Recipient(_) => Per::Recipient,
        Holder::Household(_) => Per::Household,
        Holder::Instruction => Per::Instruction,
    };
    v1::CounterMovement {
        instruction_id: movement.key.instruction.as_str().into(),
        per: per.code().into(),
        period: movement.key.period.code().into(),
        period_start: movement.key.period_start.to_string(),
        measure: movement.key.measure.code().into(),
        change: movement.change,
    }
}

/// Moved points as records have them.
#[must_use]
pub fn points(moved: &PointsMovement) -> v1::PointsMovement {
    v1::PointsMovement { benefit_id: moved.benefit.as_str().into(), change: moved.change }
}
