//! Up to what an instruction gives (5).

use chrono::NaiveDate;
use domain::{
    amount::mul_div_half_away,
    decision::LimitRoom,
    instruction::{Instruction, OnLimit},
    limit::{CounterKey, CounterMovement, Holder, Limit, Measure, Per, Period},
    recipient::Recipient,
};

use super::{Counters, state::Share};

/// A limit with what is left of it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) limit: Limit,
    pub(super) left: i64,
    /// The counter; none for a limit per basket.
    key: Option<CounterKey>,
}

/// The counter of a limit for a recipient on a local day. `None` for a limit per basket, and for
/// one of an anonymous basket that counts recipients or households.
pub(super) fn counter_key(
    instruction: &Instruction,
    limit: &Limit,
    recipient: Option<&Recipient>,
    day: NaiveDate,
) -> Option<CounterKey> {
    if limit.period == Period::Basket {
        return None;
    }
    let holder = match limit.per {
        Per::Recipient => Holder::Recipient(recipient?.id),
        Per::Household => Holder::Household(recipient?.household),
        Per::Instruction => Holder::Instruction,
    };
    Some(CounterKey {
        instruction: instruction.id.clone(),
        holder,
        period: limit.period,
        period_start: limit.period.start(day, instruction.valid.from),
        measure: limit.measure,
    })
}

/// What is left of each limit. `None` where an anonymous basket meets a limit per recipient or
/// household: it gets nothing of such an instruction.
pub(super) fn rooms(
    instruction: &Instruction,
    recipient: Option<&Recipient>,
    day: NaiveDate,
    counters: &dyn Counters,
) -> Option<Vec<Room>> {
    let room = |limit: &Limit| {
        if recipient.is_none() && limit.per != Per::Instruction {
            return None;
        }
        let key = counter_key(instruction, limit, recipient, day);
        let used = key.as_ref().map_or(0, |key| counters.used(key));
        Some(Room { limit: *limit, left: limit.max.saturating_sub(used), key })
    };
    instruction.limits.iter().map(room).collect()
}

/// What the limits leave of the wanted shares; empty where they leave nothing.
pub(super) fn within(on_limit: OnLimit, rooms: &[Room], wanted: Vec<Share>) -> Vec<Share> {
    let least = |measure: Measure| {
        let of_measure = rooms.iter().filter(|room| room.limit.measure == measure);
        of_measure.map(|room| room.left).min().unwrap_or(i64::MAX)
    };
    if rooms.iter().any(|room| room.left <= 0) {
        return Vec::new();
    }
    let (units_left, cents_left) = (least(Measure::Units), least(Measure::AmountCents));
    let units: i64 = wanted.iter().map(|share| share.units).sum();
    let cents: i64 = wanted.iter().map(|share| share.cents).sum();
    if units <= units_left && cents <= cents_left {
        return wanted;
    }
    match on_limit {
        OnLimit::Skip => Vec::new(),
        OnLimit::Clip => clip(wanted, units_left, cents_left),
    }
}

/// Goes through the lines in order, cuts first by units, then by cents, and stops after the first
/// line it cut.
fn clip(wanted: Vec<Share>, mut units_left: i64, mut cents_left: i64) -> Vec<Share> {
    let mut given = Vec::with_capacity(wanted.len());
    for share in wanted {
        let units = share.units.min(units_left);
        let mut cents = share.cents;
        if units < share.units {
            cents = mul_div_half_away(share.cents, units, share.units);
        }
        cents = cents.min(cents_left);
        let cut = units < share.units || cents < share.cents;
        if cents > 0 {
            units_left -= units;
            cents_left -= cents;
            given.push(Share { cents, units, ..share });
        }
        if cut {
            break;
        }
    }
    given
}

/// What the given shares move in the limits' counters. Limits that count the same move it once.
pub(super) fn movements(rooms: &[Room], given: &[Share]) -> Vec<CounterMovement> {
    let mut movements: Vec<CounterMovement> = Vec::new();
    for room in rooms {
        let Some(key) = &room.key else { continue };
        if movements.iter().all(|movement| movement.key != *key) {
            let change = consumed(room.limit.measure, given);
            movements.push(CounterMovement { key: key.clone(), change });
        }
    }
    movements
}

/// What was left of each limit before and is left after.
pub(super) fn recorded(rooms: &[Room], given: &[Share]) -> Vec<LimitRoom> {
    let recorded = |room: &Room| LimitRoom {
        per: room.limit.per,
        period: room.limit.period,
        measure: room.limit.measure,
        before: room.left,
        after: room.left - consumed(room.limit.measure, given),
    };
    rooms.iter().map(recorded).collect()
}

fn consumed(measure: Measure, given: &[Share]) -> i64 {
    match measure {
        Measure::Uses => i64::from(!given.is_empty()),
        Measure::Units => given.iter().map(|share| share.units).sum(),
        Measure::AmountCents => given.iter().map(|share| share.cents).sum(),
    }
}
