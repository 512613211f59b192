//! What an instruction would give on its open lines, before limits (4, 6).

use domain::{
    amount::{Amount, allocate, mul_div_half_away},
    basket::Line,
    instruction::{Basis, Effect, PerWhat},
};

use super::state::{LineState, Share};

/// An open line: its place, what is bought, and how the instructions before have left it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open<'a> {
    pub(super) at: usize,
    pub(super) line: &'a Line,
    pub(super) state: &'a LineState,
}

impl Open<'_> {
    /// What an effect can give at most: payable minus the floor.
    pub(super) fn room(&self, floor: Amount) -> i64 {
        (self.state.payable - self.line.quantity.price(floor)).max(0)
    }

    fn share(&self, cents: i64, units: i64) -> Share {
        Share { at: self.at, cents, units, wanted: cents }
    }
}

/// The shares of a price effect; lines that get no cent are left out. Effects that move points give
/// nothing here.
pub(super) fn shares(effect: &Effect, open: &[Open<'_>]) -> Vec<Share> {
    let each = |floor: Amount, cents: &dyn Fn(&Open<'_>) -> i64| -> Vec<Share> {
        let share =
            |open: &Open<'_>| open.share(cents(open).clamp(0, open.room(floor)), open.state.units);
        open.iter().map(share).collect()
    };
    let mut shares = match *effect {
        Effect::PercentOff { share, basis, floor_unit_price } => {
            each(floor_unit_price, &|open| match basis {
                Basis::Payable => share.of(open.state.payable),
                Basis::Full => share.of(open.state.total),
            })
        }
        Effect::AmountOff { amount, per: PerWhat::Unit, floor_unit_price } => {
            each(floor_unit_price, &|open| amount.cents().saturating_mul(open.state.units))
        }
        Effect::AmountOff { amount, per: PerWhat::Line, floor_unit_price } => {
            each(floor_unit_price, &|_| amount.cents())
        }
        Effect::AmountOff { amount, per: PerWhat::Basket, floor_unit_price } => {
            basket_shares(amount.cents(), floor_unit_price, open)
        }
        Effect::FixedUnitPrice { unit_price, floor_unit_price } => {
            each(floor_unit_price, &|open| {
                open.state.payable - open.line.quantity.price(unit_price)
            })
        }
        Effect::FreeUnits { buy, free, floor_unit_price } => {
            free_shares(buy, free, floor_unit_price, open)
        }
        Effect::EarnPoints { .. } | Effect::SpendPoints { .. } => Vec::new(),
    };
    shares.retain(|share| share.cents > 0);
    shares
}

/// An amount once per basket, at most the rooms' sum, in proportion to the rooms.
pub(super) fn basket_shares(amount: i64, floor: Amount, open: &[Open<'_>]) -> Vec<Share> {
    let rooms: Vec<i64> = open.iter().map(|open| open.room(floor)).collect();
    let parts = allocate(amount.min(rooms.iter().sum()), &rooms);
    open.iter().zip(parts).map(|(open, cents)| open.share(cents, open.state.units)).collect()
}

/// Of every `buy` + `free` units the cheapest `free` are free; k free units of a line of u units
/// give payable × k ÷ u.
fn free_shares(buy: u32, free: u32, floor: Amount, open: &[Open<'_>]) -> Vec<Share> {
    let units: i64 = open.iter().map(|open| open.state.units).sum();
    let each = i64::from(buy) + i64::from(free);
    let mut left = (units / each.max(1)).saturating_mul(i64::from(free));
    let mut cheapest: Vec<&Open<'_>> = open.iter().collect();
    cheapest.sort_by_key(|open| (open.line.unit_price, open.state.number));
    let mut shares = Vec::with_capacity(open.len());
    for open in cheapest {
        let free = left.min(open.state.units);
        left -= free;
        let cents = mul_div_half_away(open.state.payable, free, open.state.units);
        shares.push(open.share(cents.min(open.room(floor)), free));
    }
    shares.sort_by_key(|share| share.at);
    shares
}
