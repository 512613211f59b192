//! What an instruction would give on its open lines, before limits (4, 6).

use domain::{
    amount::{Amount, allocate_in_place, mul_div_half_away},
    instruction::{Basis, Effect, PerWhat},
};

use super::{
    line_set::LineSet,
    state::{LineState, Share, Splitting},
};

/// Open lines: their places, and how the instructions before have left them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open<'a, const WORDS: usize> {
    pub(super) places: LineSet<WORDS>,
    pub(super) lines: &'a [LineState],
}

impl<'a, const WORDS: usize> Open<'a, WORDS> {
    fn iter(self) -> impl Iterator<Item = (usize, &'a LineState)> {
        self.places.places().map(move |at| (at, &self.lines[at]))
    }

    /// What an effect can give at most on all of them.
    pub(super) fn room(self, floor: Amount) -> i64 {
        self.iter().map(|(_, line)| line.room(floor)).sum()
    }
}

/// Adds the shares of a price effect; lines that get no cent are left out. Effects that move points
/// give nothing here.
pub(super) fn shares<const WORDS: usize>(
    effect: &Effect,
    open: Open<'_, WORDS>,
    splitting: &mut Splitting,
    shares: &mut Vec<Share>,
) {
    match *effect {
        Effect::PercentOff { share, basis: Basis::Payable, floor_unit_price } => {
            each(open, floor_unit_price, shares, |line| share.of(line.payable));
        }
        Effect::PercentOff { share, basis: Basis::Full, floor_unit_price } => {
            each(open, floor_unit_price, shares, |line| share.of(line.total));
        }
        Effect::AmountOff { amount, per: PerWhat::Unit, floor_unit_price } => {
            let cents = amount.cents();
            each(open, floor_unit_price, shares, |line| cents.saturating_mul(line.units));
        }
        Effect::AmountOff { amount, per: PerWhat::Line, floor_unit_price } => {
            each(open, floor_unit_price, shares, |_| amount.cents());
        }
        Effect::AmountOff { amount, per: PerWhat::Basket, floor_unit_price } => {
            basket_shares(amount.cents(), floor_unit_price, open, splitting, shares);
        }
        Effect::FixedUnitPrice { unit_price, floor_unit_price } => {
            each(open, floor_unit_price, shares, |line| {
                line.payable - line.quantity.price(unit_price)
            });
        }
        Effect::FreeUnits { buy, free, floor_unit_price } => {
            free_shares(buy, free, floor_unit_price, open, shares);
        }
        Effect::EarnPoints { .. } | Effect::SpendPoints { .. } => {}
    }
}

fn share(at: usize, cents: i64, units: i64) -> Share {
    Share { at, cents, units, wanted: cents }
}

/// What `cents` says of each line, at most its room.
fn each<const WORDS: usize>(
    open: Open<'_, WORDS>,
    floor: Amount,
    shares: &mut Vec<Share>,
    cents: impl Fn(&LineState) -> i64,
) {
    for (at, line) in open.iter() {
        let cents = cents(line).min(line.room(floor));
        if cents > 0 {
            shares.push(share(at, cents, line.units));
        }
    }
}

/// An amount once per basket, at most the rooms' sum, in proportion to the rooms.
pub(super) fn basket_shares<const WORDS: usize>(
    amount: i64,
    floor: Amount,
    open: Open<'_, WORDS>,
    splitting: &mut Splitting,
    shares: &mut Vec<Share>,
) {
    let Splitting { parts, remainders } = splitting;
    parts.clear();
    parts.extend(open.iter().map(|(_, line)| line.room(floor)));
    let amount = amount.min(parts.iter().sum());
    allocate_in_place(amount, parts, remainders);
    for ((at, line), cents) in open.iter().zip(parts) {
        if *cents > 0 {
            shares.push(share(at, *cents, line.units));
        }
    }
}

/// Of every `buy` + `free` units the cheapest `free` are free; k free units of a line of u units
/// give payable × k ÷ u.
fn free_shares<const WORDS: usize>(
    buy: u32,
    free: u32,
    floor: Amount,
    open: Open<'_, WORDS>,
    shares: &mut Vec<Share>,
) {
    let units: i64 = open.iter().map(|(_, line)| line.units).sum();
    let each = i64::from(buy) + i64::from(free);
    let mut left = (units / each.max(1)).saturating_mul(i64::from(free));
    if left <= 0 {
        return;
    }
    let first = shares.len();
    // Lines stand in ascending order of their numbers, so ties by place are ties by number.
    shares.extend(open.iter().map(|(at, _)| share(at, 0, 0)));
    let cheapest = &mut shares[first..];
    cheapest.sort_unstable_by_key(|share| (open.lines[share.at].unit_price, share.at));
    for share in cheapest.iter_mut() {
        let line = &open.lines[share.at];
        share.units = left.min(line.units);
        left -= share.units;
        let cents = mul_div_half_away(line.payable, share.units, line.units);
        share.cents = cents.min(line.room(floor));
        share.wanted = share.cents;
    }
    cheapest.sort_unstable_by_key(|share| share.at);
    let mut kept = first;
    for at in first..shares.len() {
        if shares[at].cents > 0 {
            shares.swap(kept, at);
            kept += 1;
        }
    }
    shares.truncate(kept);
}
