//! Points: spent like a basket amount, earned after everything else (4).

use domain::{
    amount::{Amount, BasisPoints},
    basket::PointsWanted,
    decision::PointsMovement,
    id::BenefitId,
    recipient::Recipient,
};

use super::{
    Counters,
    effect::{Open, basket_shares},
    line_set::LineSet,
    state::{LineState, Share, Splitting},
};

/// The points of one basket: what may still be spent, and what has moved.
#[derive(Debug)]
pub(super) struct Points<'a> {
    recipient: Option<&'a Recipient>,
    counters: &'a dyn Counters,
    wanted: PointsWanted,
    pub(super) moved: Vec<PointsMovement>,
}

impl std::fmt::Debug for dyn Counters + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

impl<'a> Points<'a> {
    pub(super) fn new(
        recipient: Option<&'a Recipient>,
        counters: &'a dyn Counters,
        wanted: PointsWanted,
    ) -> Self {
        Self { recipient, counters, wanted, moved: Vec::new() }
    }

    /// The points that an instruction would let spend on its open lines, whose shares are added: at
    /// most what the request still asks for, the balance, and the allowed share of the rooms.
    pub(super) fn to_spend<const WORDS: usize>(
        &self,
        benefit: &BenefitId,
        (max, point_value, floor): (BasisPoints, Amount, Amount),
        open: Open<'_, WORDS>,
        splitting: &mut Splitting,
        shares: &mut Vec<Share>,
    ) -> i64 {
        let Some(recipient) = self.recipient else { return 0 };
        let asked = match self.wanted {
            PointsWanted::Max => i64::MAX,
            PointsWanted::UpTo(points) => points.saturating_sub(self.spent()),
        };
        if asked <= 0 {
            return 0;
        }
        let balance = self.counters.points(recipient.id, benefit) + self.moved_under(benefit);
        let rooms = open.room(floor);
        let divisor = 10_000_i128 * i128::from(point_value.cents().max(1));
        let allowed = i128::from(rooms) * i128::from(max.get()) / divisor;
        let allowed = i64::try_from(allowed).unwrap_or(i64::MAX);
        let points = asked.min(balance).min(allowed).max(0);
        let amount = points.saturating_mul(point_value.cents());
        basket_shares(amount, floor, open, splitting, shares);
        points
    }

    /// The points that an instruction earns: whole steps of what is finally payable on the matching
    /// lines, closed ones too; nothing for an anonymous basket.
    pub(super) fn to_earn<const WORDS: usize>(
        &self,
        per: Amount,
        points: u32,
        matching: LineSet<WORDS>,
        lines: &[LineState],
    ) -> i64 {
        if self.recipient.is_none() {
            return 0;
        }
        let payable: i64 = matching.places().map(|at| lines[at].payable).sum();
        (payable / per.cents().max(1)).saturating_mul(i64::from(points))
    }

    pub(super) fn record(&mut self, benefit: &BenefitId, change: i64) {
        self.moved.push(PointsMovement { benefit: benefit.clone(), change });
    }

    fn spent(&self) -> i64 {
        self.moved.iter().map(|moved| (-moved.change).max(0)).sum()
    }

    fn moved_under(&self, benefit: &BenefitId) -> i64 {
        self.moved.iter().filter(|moved| moved.benefit == *benefit).map(|moved| moved.change).sum()
    }
}
