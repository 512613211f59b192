//! One authorisation as its records tell it: the decision, and what became of it.

use chrono::{DateTime, Utc};
use domain::{
    amount::{Amount, Quantity},
    authorisation::Status,
    basket::{Line, Lines, PointsWanted},
    decision::{
        Decision, DeclineReason, InstructionOutcome, LimitRoom, LineBenefit, LineDecision, Outcome,
        PointsMovement, SkipReason,
    },
    id::{
        AuthorisationId, BenefitId, GrantorId, GroupId, HouseholdId, InstructionId, ItemId,
        RecipientId, TerminalId,
    },
    identification_means::MeansStatus,
    limit::{Holder, Measure, Per, Period},
    merchant::Category,
    recipient::Recipient,
    refund::{RefundedBenefit, ReturnedLine},
};
use ingest::wire::{self, Shared, v1};

use crate::{
    cache::Wanted,
    publish,
    rules::{Input, Refunded, TerminalIndex},
};

/// The records of one authorisation, in the order of their stream.
#[derive(Clone, Debug)]
pub struct History {
    /// The decision.
    pub decided: Shared<v1::AuthorisationDecided>,
    /// Captured, voided, expired, refunded.
    pub changes: Vec<Shared<v1::AuthorisationChanged>>,
}

/// What a refund works from.
#[derive(Clone, Debug)]
pub struct Sold {
    /// What was bought.
    pub lines: Lines,
    /// When.
    pub instant: DateTime<Utc>,
    /// By whom, with the groups of then.
    pub recipient: Option<Recipient>,
    /// How many points were to be spent.
    pub points: PointsWanted,
    /// The decision.
    pub decision: Decision,
    /// What has come back so far.
    pub refunded: Refunded,
}

impl History {
    /// The history that begins with a decision.
    #[must_use]
    pub const fn of(decided: Shared<v1::AuthorisationDecided>) -> Self {
        Self { decided, changes: Vec::new() }
    }

    /// The authorisation.
    #[must_use]
    pub fn id(&self) -> AuthorisationId {
        AuthorisationId::parse(&self.decided.authorisation_id)
            .unwrap_or(AuthorisationId::from_u128(0))
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let last = self.changes.last().map_or(&self.decided.status, |change| &change.status);
        Status::parse(last).unwrap_or(Status::Voided)
    }

    /// Which record comes next.
    #[must_use]
    pub fn next_step(&self) -> u32 {
        u32::try_from(self.changes.len() + 1).unwrap_or(u32::MAX)
    }

    /// Who asked; none for an anonymous basket.
    #[must_use]
    pub fn recipient(&self) -> Option<RecipientId> {
        self.decided.recipient_id.as_deref().and_then(RecipientId::parse)
    }

    /// The household whose counters it moved.
    #[must_use]
    pub fn household(&self) -> Option<HouseholdId> {
        self.decided.household_id.as_deref().and_then(HouseholdId::parse)
    }

    /// What giving something of it back moves. Budgets are given back without being read.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let household = self.household();
        let Some(movements) = publish::own_movements_of(&self.decided) else {
            return Wanted { household, ..Wanted::default() };
        };
        let counters = movements.counters.into_iter().map(|moved| moved.key);
        let points = movements.points.into_iter().map(|(of, benefit, _)| (of, benefit));
        Wanted {
            household,
            counters: counters.filter(|key| key.holder != Holder::Instruction).collect(),
            budgets: Vec::new(),
            points: points.collect(),
        }
    }

    /// What a refund works from; `None` where the record is not one that this version reads.
    #[must_use]
    pub fn sold(&self) -> Option<Sold> {
        let event = &*self.decided;
        let mut refunded = Refunded::default();
        for change in self.changes.iter().filter(|change| change.transition == "refund") {
            note(&mut refunded, change)?;
        }
        Some(Sold {
            lines: Lines::new(event.lines.iter().map(line).collect::<Option<_>>()?).ok()?,
            instant: wire::instant(event.occurred_at)?,
            recipient: recipient(event)?,
            points: match event.spend_points {
                ..0 => PointsWanted::Max,
                points => PointsWanted::UpTo(points),
            },
            decision: decision(event)?,
            refunded,
        })
    }
}

impl Sold {
    /// What the rules were asked, at a terminal.
    #[must_use]
    pub const fn input(&self, terminal: TerminalIndex) -> Input<'_> {
        Input {
            terminal,
            lines: &self.lines,
            instant: self.instant,
            recipient: self.recipient.as_ref(),
            means_status: self.decision.means_status,
            declined: match self.decision.outcome {
                Outcome::Declined(reason) => Some(reason),
                Outcome::Approved | Outcome::NoBenefit => None,
            },
            points: self.points,
        }
    }
}

/// What came back by a refund's record, which has it as negative quantities.
pub(crate) fn returned(lines: &[v1::AuthorisationLine]) -> Vec<ReturnedLine> {
    let returned = lines.iter().filter(|line| line.quantity_thousandths != 0);
    let returned = returned.map(|line| ReturnedLine {
        number: line.line,
        quantity: Quantity::from_thousandths(-line.quantity_thousandths),
    });
    returned.collect()
}

fn line(line: &v1::AuthorisationLine) -> Option<Line> {
    Some(Line {
        number: line.line,
        item: ItemId::new(&line.item).ok()?,
        category: Category::parse(&line.category),
        quantity: Quantity::from_thousandths(line.quantity_thousandths),
        unit_price: Amount::from_cents(line.unit_price_cents),
        attributes: line.attributes.clone(),
    })
}

fn recipient(event: &v1::AuthorisationDecided) -> Option<Option<Recipient>> {
    let Some(id) = &event.recipient_id else { return Some(None) };
    let groups = event.groups.iter().map(|group| GroupId::new(group).ok());
    Some(Some(Recipient {
        id: RecipientId::parse(id)?,
        household: HouseholdId::parse(event.household_id.as_deref()?)?,
        groups: groups.collect::<Option<_>>()?,
    }))
}

fn decision(event: &v1::AuthorisationDecided) -> Option<Decision> {
    let outcome = match event.decision.as_str() {
        "approved" => Outcome::Approved,
        "no_benefit" => Outcome::NoBenefit,
        _ => Outcome::Declined(DeclineReason::parse(event.decline_reason.as_deref()?)?),
    };
    let points = event.points.iter().map(|moved| {
        let benefit = BenefitId::new(&moved.benefit_id).ok()?;
        Some(PointsMovement { benefit, change: moved.change })
    });
    Some(Decision {
        outcome,
        means_status: MeansStatus::parse(&event.means_status)?,
        lines: event.lines.iter().map(line_decision).collect::<Option<_>>()?,
        instructions: event.instructions.iter().map(outcome_of).collect::<Option<_>>()?,
        counters: publish::own_movements_of(event)?.counters,
        points: points.collect::<Option<_>>()?,
    })
}

fn line_decision(line: &v1::AuthorisationLine) -> Option<LineDecision> {
    // A line of excess alone is not one that we gave.
    let given = line.benefits.iter().filter(|benefit| benefit.amount_cents > 0);
    let benefits = given.map(|benefit| {
        Some(LineBenefit {
            instruction: InstructionId::new(&benefit.instruction_id).ok()?,
            version: benefit.instruction_version,
            units: benefit.units,
            amount: Amount::from_cents(benefit.amount_cents),
            wanted: benefit.wanted_cents.map(Amount::from_cents),
            grantor_amount: Amount::from_cents(benefit.grantor_cents),
        })
    });
    Some(LineDecision {
        number: line.line,
        total: Amount::from_cents(line.total_cents),
        payable: Amount::from_cents(line.payable_cents),
        benefits: benefits.collect::<Option<_>>()?,
    })
}

fn outcome_of(outcome: &v1::InstructionOutcome) -> Option<InstructionOutcome> {
    let limits = outcome.limits.iter().map(|room| {
        Some(LimitRoom {
            per: Per::parse(&room.per)?,
            period: Period::parse(&room.period)?,
            measure: Measure::parse(&room.measure)?,
            before: room.before,
            after: room.after,
        })
    });
    Some(InstructionOutcome {
        instruction: InstructionId::new(&outcome.instruction_id).ok()?,
        version: outcome.instruction_version,
        benefit: BenefitId::new(&outcome.benefit_id).ok()?,
        grantor: GrantorId::new(&outcome.grantor_id).ok()?,
        skipped: match &outcome.reason {
            Some(code) => Some(SkipReason::ALL.into_iter().find(|known| known.code() == code)?),
            None => None,
        },
        amount: Amount::from_cents(outcome.amount_cents),
        wanted: outcome.wanted_cents.map(Amount::from_cents),
        points: outcome.points,
        limits: limits.collect::<Option<_>>()?,
    })
}

/// A refund's record has what came back as negative amounts.
fn note(refunded: &mut Refunded, change: &v1::AuthorisationChanged) -> Option<()> {
    let mut payable = Vec::new();
    let mut benefits = Vec::new();
    for line in &change.lines {
        payable.push((line.line, -line.payable_cents));
        // What came back of an excess alone was not ours to give.
        let ours = |benefit: &&v1::LineBenefit| {
            (benefit.units, benefit.amount_cents, benefit.grantor_cents) != (0, 0, 0)
        };
        for benefit in line.benefits.iter().filter(ours) {
            benefits.push(RefundedBenefit {
                line: line.line,
                instruction: InstructionId::new(&benefit.instruction_id).ok()?,
                version: benefit.instruction_version,
                units: -benefit.units,
                amount: Amount::from_cents(-benefit.amount_cents),
                grantor_amount: Amount::from_cents(-benefit.grantor_cents),
            });
        }
    }
    let points = change
        .instruction_points
        .iter()
        .map(|moved| Some((InstructionId::new(&moved.instruction_id).ok()?, moved.change)));
    let points: Vec<_> = points.collect::<Option<_>>()?;
    refunded.note(&returned(&change.lines), &payable, &benefits, &points);
    Some(())
}

/// The terminal that asked.
#[must_use]
pub fn terminal(event: &v1::AuthorisationDecided) -> Option<TerminalId> {
    TerminalId::new(&event.terminal_id).ok()
}
