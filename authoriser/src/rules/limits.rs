//! Up to what an instruction gives (5).

use chrono::NaiveDate;
use domain::{
    amount::mul_div_half_away,
    decision::LimitRoom,
    instruction::OnLimit,
    limit::{CounterKey, CounterMovement, Holder, Limit, Measure, Per, Period},
    recipient::Recipient,
};

use super::{
    Counters,
    rule::{Rule, RuleLimit},
    state::Share,
};

/// Whose counters a decision moves, and on which day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting<'a> {
    recipient: Option<&'a Recipient>,
    day: NaiveDate,
    /// The first days of the week, the month and the year.
    starts: [NaiveDate; 3],
}

impl<'a> Counting<'a> {
    pub(super) fn new(recipient: Option<&'a Recipient>, day: NaiveDate) -> Self {
        let starts = [Period::Week, Period::Month, Period::Year];
        Self { recipient, day, starts: starts.map(|period| period.start(day, day)) }
    }

    /// Whether a rule gives nothing because it counts people and the basket is anonymous.
    pub(super) fn refuses(&self, rule: &Rule) -> bool {
        rule.counts_people && self.recipient.is_none()
    }

    /// The counter of a limit. `None` for a limit per basket, and for one of an anonymous basket
    /// that counts recipients or households.
    #[inline]
    pub(super) fn key(&self, rule: &Rule, limit: &Limit) -> Option<CounterKey> {
        let [week, month, year] = self.starts;
        let period_start = match limit.period {
            Period::Basket => return None,
            Period::Day => self.day,
            Period::Week => week,
            Period::Month => month,
            Period::Year => year,
            Period::Validity => rule.valid.from,
        };
        let holder = match limit.per {
            Per::Recipient => Holder::Recipient(self.recipient?.id),
            Per::Household => Holder::Household(self.recipient?.household),
            Per::Instruction => Holder::Instruction,
        };
        Some(CounterKey {
            instruction: rule.outcome.instruction.clone(),
            holder,
            period: limit.period,
            period_start,
            measure: limit.measure,
        })
    }

    /// Adds what is left of each of a rule's limits.
    pub(super) fn add_rooms(
        &self,
        rule: &Rule,
        counters: &dyn Counters,
        rooms: &mut Vec<LimitRoom>,
    ) {
        rooms.extend(rule.limits.iter().map(|RuleLimit { limit, .. }| {
            let used = self.key(rule, limit).map_or(0, |key| counters.used(&key));
            let left = limit.max.saturating_sub(used);
            let Limit { per, period, measure, .. } = *limit;
            LimitRoom { per, period, measure, before: left, after: left }
        }));
    }

    /// Adds what was moved in the limits' counters. Limits that count the same move it once.
    pub(super) fn add_movements(
        &self,
        rule: &Rule,
        rooms: &[LimitRoom],
        movements: &mut Vec<CounterMovement>,
    ) {
        for (RuleLimit { limit, repeats }, room) in rule.limits.iter().zip(rooms) {
            if !repeats && let Some(key) = self.key(rule, limit) {
                movements.push(CounterMovement { key, change: room.before - room.after });
            }
        }
    }
}

/// Leaves of the wanted shares, those from `first` on, what the limits leave; none where they leave
/// nothing.
pub(super) fn keep_within(
    on_limit: OnLimit,
    rooms: &[LimitRoom],
    shares: &mut Vec<Share>,
    first: usize,
) {
    if rooms.iter().any(|room| room.before <= 0) {
        shares.truncate(first);
        return;
    }
    let least = |measure: Measure| {
        let of_measure = rooms.iter().filter(|room| room.measure == measure);
        of_measure.map(|room| room.before).min().unwrap_or(i64::MAX)
    };
    let (units_left, cents_left) = (least(Measure::Units), least(Measure::AmountCents));
    let wanted = &mut shares[first..];
    let fits = consumed(Measure::Units, wanted) <= units_left
        && consumed(Measure::AmountCents, wanted) <= cents_left;
    if fits {
        return;
    }
    let kept = match on_limit {
        OnLimit::Skip => 0,
        OnLimit::Clip => clip(wanted, units_left, cents_left),
    };
    shares.truncate(first + kept);
}

/// Goes through the lines in order, cuts first by units, then by cents, and stops after the first
/// line it cut; how many lines are kept.
fn clip(wanted: &mut [Share], mut units_left: i64, mut cents_left: i64) -> usize {
    for (at, share) in wanted.iter_mut().enumerate() {
        let units = share.units.min(units_left);
        let mut cents = share.cents;
        if units < share.units {
            cents = mul_div_half_away(share.cents, units, share.units);
        }
        cents = cents.min(cents_left);
        if units < share.units || cents < share.cents {
            *share = Share { cents, units, ..*share };
            return if cents > 0 { at + 1 } else { at };
        }
        units_left -= units;
        cents_left -= cents;
    }
    wanted.len()
}

/// Notes what the given shares leave of each limit.
pub(super) fn consume(rooms: &mut [LimitRoom], given: &[Share]) {
    for room in rooms {
        room.after -= consumed(room.measure, given);
    }
}

fn consumed(measure: Measure, given: &[Share]) -> i64 {
    match measure {
        Measure::Uses => i64::from(!given.is_empty()),
        Measure::Units => given.iter().map(|share| share.units).sum(),
        Measure::AmountCents => given.iter().map(|share| share.cents).sum(),
    }
}
