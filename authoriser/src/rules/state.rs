//! What happens to the lines while instructions are applied to them.

use domain::{
    amount::{Amount, Quantity, Remainders, allocate_in_place},
    basket::Line,
    decision::{LineBenefit, LineDecision},
};

use super::{
    compile::RuleSet,
    line_set::LineSet,
    rule::{Closing, Rule},
};

/// One line as the instructions before have left it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineState {
    pub(super) number: u32,
    /// How many instructions have given on it.
    benefits: u32,
    /// Where what they gave stands, once everything is given.
    first: u32,
    pub(super) total: i64,
    pub(super) payable: i64,
    pub(super) units: i64,
    pub(super) quantity: Quantity,
    pub(super) unit_price: Amount,
}

/// What one instruction gives on one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// The line's place in the basket.
    pub(super) at: usize,
    /// Cents.
    pub(super) cents: i64,
    /// Units it is given on.
    pub(super) units: i64,
    /// Cents it would have been without limits.
    pub(super) wanted: i64,
}

/// A share that was given.
#[derive(Clone, Copy, Debug)]
struct Given {
    share: Share,
    grantor_cents: i64,
    /// The place of the rule that gave it.
    rule: u32,
}

/// The lines that one grantor's instructions have touched, and those closed to its later ones.
#[derive(Clone, Copy, Debug, Default)]
struct Hold<const WORDS: usize> {
    touched: LineSet<WORDS>,
    closed: LineSet<WORDS>,
}

/// A basket as the instructions before have left it.
#[derive(Debug, Default)]
pub(super) struct State<const WORDS: usize> {
    pub(super) lines: Vec<LineState>,
    payable: LineSet<WORDS>,
    /// By anybody.
    touched: LineSet<WORDS>,
    /// To everybody.
    closed: LineSet<WORDS>,
    /// Of each grantor.
    holds: Vec<Hold<WORDS>>,
    /// In the order of application.
    given: Vec<Given>,
    /// The places in `given` of what was given on each line after another.
    by_line: Vec<u32>,
    splitting: Splitting,
}

/// Splitting for one split after another.
#[derive(Debug, Default)]
pub(super) struct Splitting {
    pub(super) parts: Vec<i64>,
    pub(super) remainders: Remainders,
}

impl LineState {
    pub(super) fn of(line: &Line) -> Self {
        let total = line.total().cents();
        Self {
            number: line.number,
            benefits: 0,
            first: 0,
            total,
            payable: total,
            units: line.quantity.units(),
            quantity: line.quantity,
            unit_price: line.unit_price,
        }
    }

    /// What an effect can give at most: payable minus the floor.
    pub(super) fn room(&self, floor: Amount) -> i64 {
        if floor == Amount::ZERO {
            return self.payable.max(0);
        }
        (self.payable - self.quantity.price(floor)).max(0)
    }
}

impl<const WORDS: usize> State<WORDS> {
    /// Begins with a basket on which nothing was given.
    pub(super) fn begin(&mut self, rules: &RuleSet, lines: &[Line]) {
        self.lines.clear();
        self.lines.extend(lines.iter().map(LineState::of));
        self.payable = LineSet::EMPTY;
        for (at, line) in self.lines.iter().enumerate() {
            if line.payable > 0 {
                self.payable.insert(at);
            }
        }
        self.touched = LineSet::EMPTY;
        self.closed = LineSet::EMPTY;
        self.holds.clear();
        self.holds.resize(rules.grantors, Hold::default());
        self.given.clear();
    }

    /// The matching lines with something payable that stacking leaves to an instruction (3), and
    /// whether stacking took some.
    pub(super) fn open(&self, rule: &Rule, matching: LineSet<WORDS>) -> (LineSet<WORDS>, bool) {
        let payable = matching.and(self.payable);
        let own = &self.holds[rule.grantor.0 as usize];
        let left = payable.without(self.closed).without(own.closed);
        let open = match rule.closing {
            Closing::Nobody => left,
            Closing::Grantor => left.without(own.touched),
            Closing::Everybody => left.without(self.touched),
        };
        (open, open != payable)
    }

    /// Gives an instruction's shares: lowers what is payable, marks and closes the lines, and
    /// splits the cost between grantor and merchant (7).
    pub(super) fn give(&mut self, at: u32, rule: &Rule, shares: &[Share]) {
        let Splitting { parts, remainders } = &mut self.splitting;
        parts.clear();
        parts.extend(shares.iter().map(|share| share.cents));
        let sum: i64 = parts.iter().sum();
        allocate_in_place(rule.instruction.grantor_share.of(sum), parts, remainders);
        let mut touched = LineSet::EMPTY;
        for (share, grantor_cents) in shares.iter().zip(parts) {
            let line = &mut self.lines[share.at];
            line.payable -= share.cents;
            line.benefits += 1;
            touched.insert(share.at);
            if line.payable <= 0 {
                self.payable.remove(share.at);
            }
            self.given.push(Given { rule: at, share: *share, grantor_cents: *grantor_cents });
        }
        let hold = &mut self.holds[rule.grantor.0 as usize];
        hold.touched = hold.touched.or(touched);
        self.touched = self.touched.or(touched);
        match rule.closing {
            Closing::Nobody => {}
            Closing::Grantor => hold.closed = hold.closed.or(touched),
            Closing::Everybody => self.closed = self.closed.or(touched),
        }
    }

    /// Whether a cent was given.
    pub(super) const fn has_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// The lines as decided.
    pub(super) fn decided(&mut self, rules: &RuleSet) -> Vec<LineDecision> {
        let Self { lines, given, by_line, .. } = self;
        by_line.clear();
        by_line.resize(given.len(), 0);
        let mut end = 0;
        for line in lines.iter_mut() {
            line.first = end;
            end += line.benefits;
        }
        for (at, Given { share, .. }) in (0..).zip(given.iter()) {
            let line = &mut lines[share.at];
            by_line[line.first as usize] = at;
            line.first += 1;
        }
        let benefit = |at: &u32| {
            let Given { rule, share, grantor_cents } = given[*at as usize];
            let outcome = &rules.rules[rule as usize].outcome;
            LineBenefit {
                instruction: outcome.instruction.clone(),
                version: outcome.version,
                units: share.units,
                amount: Amount::from_cents(share.cents),
                wanted: (share.wanted != share.cents).then(|| Amount::from_cents(share.wanted)),
                grantor_amount: Amount::from_cents(grantor_cents),
            }
        };
        let decided = lines.iter().map(|line| {
            let benefits = (line.first - line.benefits) as usize..line.first as usize;
            LineDecision {
                number: line.number,
                total: Amount::from_cents(line.total),
                payable: Amount::from_cents(line.payable),
                benefits: by_line[benefits].iter().map(benefit).collect(),
            }
        });
        decided.collect()
    }
}
