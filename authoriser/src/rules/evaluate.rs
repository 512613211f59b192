//! One basket through all instructions, in order (2 to 9).

use domain::{
    amount::Amount,
    basket::Line,
    decision::{Decision, DeclineReason, InstructionOutcome, LineDecision, Outcome, SkipReason},
    instruction::Effect,
    limit::Per,
    period::LocalTime,
};

use super::{
    Counters, Input,
    candidate::{self, Occasion},
    compile::RuleSet,
    effect::{self, Open},
    limits::{self, Counting},
    line_set::{FEW, LineSet, MANY},
    points::Points,
    rule::Rule,
    scratch::{Candidate, Lend, Scratch, Trial, Verdict},
    state::Share,
};
use crate::cache::Wanted;

/// Decides one basket.
#[must_use]
pub fn evaluate(rules: &RuleSet, input: &Input<'_>, counters: &dyn Counters) -> Decision {
    Asked { rules, input, counters, sold: None }.decide()
}

/// Decides what is left of a basket of which `sold` was decided: by the versions that were asked then,
/// where they came into question.
pub(super) fn evaluate_again(
    rules: &RuleSet,
    input: &Input<'_>,
    counters: &dyn Counters,
    sold: &Decision,
) -> Decision {
    Asked { rules, input, counters, sold: Some(sold) }.decide()
}

/// What is decided, and over what.
#[derive(Clone, Copy)]
struct Asked<'a> {
    rules: &'a RuleSet,
    input: &'a Input<'a>,
    counters: &'a dyn Counters,
    /// What was decided of it when it was sold, where this is what is left.
    sold: Option<&'a Decision>,
}

impl Asked<'_> {
    fn decide(self) -> Decision {
        if let Some(reason) = self.input.declined {
            declined(self.input, reason)
        } else if self.input.lines.len() <= 64 * FEW {
            Evaluation::<FEW>::decide(self)
        } else {
            Evaluation::<MANY>::decide(self)
        }
    }
}

impl RuleSet {
    /// What a decision would read of the counters, so that a remote cache is asked once.
    #[must_use]
    pub fn wanted(&self, input: &Input<'_>) -> Wanted {
        let local = LocalTime::of(input.instant);
        let groups = self.groups_of(input.recipient);
        let counting = Counting::new(input.recipient, local.date);
        let site = self.site(input.terminal);
        let household = input.recipient.map(|recipient| recipient.household);
        let mut wanted = Wanted { household, ..Wanted::default() };
        for (at, rule) in (0..).zip(&self.rules) {
            let may_apply =
                rule.valid.contains(local.date) && site.is_in_scope(at) && rule.is_for(&groups);
            if !may_apply {
                continue;
            }
            for limit in &rule.limits {
                match counting.key(rule, &limit.limit) {
                    Some(key) if limit.limit.per == Per::Instruction => {
                        wanted.budgets.push((key, limit.limit.max));
                    }
                    Some(key) => wanted.counters.push(key),
                    None => {}
                }
            }
            if let (Effect::SpendPoints { .. }, Some(recipient)) = (&rule.effect, input.recipient) {
                wanted.points.push((recipient.id, rule.outcome.benefit.clone()));
            }
        }
        wanted
    }
}

struct Evaluation<'a, const WORDS: usize> {
    rules: &'a RuleSet,
    input: &'a Input<'a>,
    counters: &'a dyn Counters,
    counting: Counting<'a>,
    points: Points<'a>,
    scratch: &'a mut Scratch<WORDS>,
}

impl<'a, const WORDS: usize> Evaluation<'a, WORDS>
where
    Scratch<WORDS>: Lend,
{
    fn decide(asked: Asked<'_>) -> Decision {
        let Asked { rules, input, counters, sold } = asked;
        Scratch::<WORDS>::lend(|scratch| {
            let local = LocalTime::of(input.instant);
            let mut evaluation = Evaluation {
                rules,
                input,
                counters,
                counting: Counting::new(input.recipient, local.date),
                points: Points::new(input.recipient, counters, input.points),
                scratch,
            };
            match sold {
                Some(sold) => evaluation.find_again(sold),
                None => evaluation.find_candidates(local),
            }
            evaluation.apply_prices();
            evaluation.earn_points();
            evaluation.decision()
        })
    }

    fn find_candidates(&mut self, local: LocalTime) {
        let Self { rules, input, .. } = *self;
        let scratch = &mut *self.scratch;
        scratch.begin(rules, input.lines);
        rules.mark(input.terminal, input.lines, &mut scratch.marked);
        let groups = rules.groups_of(input.recipient);
        let occasion = Occasion::new(rules, input.terminal, local, groups);
        for (at, rule) in (0..).zip(&rules.rules) {
            if !occasion.names(rule) {
                continue;
            }
            let found = occasion.candidate(at, rule, &scratch.marked, &scratch.state.lines);
            scratch.found(at, found);
        }
    }

    /// Of what was sold, those of which its decision tells.
    fn find_again(&mut self, sold: &Decision) {
        let Self { rules, input, .. } = *self;
        let scratch = &mut *self.scratch;
        scratch.begin(rules, input.lines);
        rules.mark_sold(input.lines, &mut scratch.marked);
        for (at, rule) in (0..).zip(&rules.rules) {
            let is_of = |told: &&InstructionOutcome| {
                told.instruction == rule.outcome.instruction && told.version == rule.outcome.version
            };
            let Some(told) = sold.instructions.iter().find(is_of) else { continue };
            let found = candidate::again(rule, told, &scratch.marked, &scratch.state.lines);
            scratch.found(at, found);
        }
    }

    /// Applies every price effect in order; of a contest the best, at the place of its first.
    fn apply_prices(&mut self) {
        self.scratch.applied.clear();
        self.scratch.rooms.clear();
        for place in 0..self.scratch.candidates.len() {
            let Candidate { at, done, .. } = self.scratch.candidates[place];
            let rule = &self.rules.rules[at as usize];
            self.scratch.shares.clear();
            match rule.contest {
                _ if done => {}
                Some(contest) => self.apply_best_of(contest, place),
                None if matches!(rule.effect, Effect::EarnPoints { .. }) => {}
                None => {
                    let trial = self.try_at(place);
                    self.apply(place, &trial);
                }
            }
        }
    }

    /// All of one name are tried from the same state; the largest sum is applied, ties to the order.
    fn apply_best_of(&mut self, contest: u32, first: usize) {
        let mut trials = std::mem::take(&mut self.scratch.trials);
        for place in first..self.scratch.candidates.len() {
            let rule = &self.rules.rules[self.scratch.candidates[place].at as usize];
            if rule.contest == Some(contest) {
                trials.push((place, self.try_at(place)));
            }
        }
        let best = trials.iter().rev().max_by_key(|(_, trial)| trial.cents);
        let best = best.map(|(place, _)| *place);
        for (place, mut trial) in trials.drain(..) {
            if Some(place) != best && trial.skipped.is_none() {
                trial.shares.end = trial.shares.start;
                trial.cents = 0;
                trial.skipped = Some(SkipReason::BestOf);
            }
            self.apply(place, &trial);
        }
        self.scratch.trials = trials;
    }

    /// What the candidate at `place` would give from the present state.
    fn try_at(&mut self, place: usize) -> Trial {
        let Candidate { at, matching, .. } = self.scratch.candidates[place];
        let rule = &self.rules.rules[at as usize];
        let (open, closed) = self.scratch.state.open(rule, matching);
        let anonymous = self.counting.refuses(rule);
        let first_room = self.scratch.rooms.len();
        if !anonymous {
            self.counting.add_rooms(rule, self.counters, &mut self.scratch.rooms);
        }
        let rooms = first_room..self.scratch.rooms.len();
        let first = self.scratch.shares.len();
        let nothing = |skipped, rooms| Trial {
            shares: first..first,
            cents: 0,
            wanted: 0,
            points: 0,
            rooms,
            skipped: Some(skipped),
        };
        if open.is_empty() && closed {
            return nothing(SkipReason::Exclusive, rooms);
        }
        if anonymous {
            return nothing(SkipReason::Limit, rooms);
        }
        let points = self.want(rule, open);
        let (shares, of_rule) = (&mut self.scratch.shares, &self.scratch.rooms[rooms.clone()]);
        let wanted = cents(&shares[first..]);
        limits::keep_within(rule.on_limit, of_rule, shares, first);
        let given = cents(&shares[first..]);
        if given == 0 || given < rule.instruction.min_benefit.cents() {
            shares.truncate(first);
            let exhausted = of_rule.iter().any(|room| room.before <= 0);
            let limited = exhausted || given < wanted;
            let skipped = if limited { SkipReason::Limit } else { SkipReason::NothingPayable };
            return Trial { wanted, ..nothing(skipped, rooms) };
        }
        Trial { shares: first..shares.len(), cents: given, wanted, points, rooms, skipped: None }
    }

    /// Adds what a rule's effect wants to give on its open lines; the points that it moves.
    fn want(&mut self, rule: &Rule, places: LineSet<WORDS>) -> i64 {
        let Scratch { state, splitting, shares, .. } = &mut *self.scratch;
        let open = Open { places, lines: &state.lines };
        match rule.effect {
            Effect::SpendPoints { max, point_value, floor_unit_price } => {
                let value = (max, point_value, floor_unit_price);
                -self.points.to_spend(&rule.outcome.benefit, value, open, splitting, shares)
            }
            effect => {
                effect::shares(&effect, open, splitting, shares);
                0
            }
        }
    }

    fn apply(&mut self, place: usize, trial: &Trial) {
        let Scratch { state, candidates, verdicts, applied, shares, rooms, .. } =
            &mut *self.scratch;
        let Candidate { at, verdict: of, done, .. } = &mut candidates[place];
        *done = true;
        let rule = &self.rules.rules[*at as usize];
        let shares = &shares[trial.shares.clone()];
        if !shares.is_empty() {
            state.give(*at, rule, shares);
            limits::consume(&mut rooms[trial.rooms.clone()], shares);
            applied.push(*of);
        }
        if trial.points != 0 {
            self.points.record(&rule.outcome.benefit, trial.points);
        }
        let verdict = &mut verdicts[*of];
        verdict.skipped = trial.skipped;
        verdict.amount = Amount::from_cents(trial.cents);
        let limited = matches!(trial.skipped, None | Some(SkipReason::Limit));
        let cut = trial.cents < trial.wanted && limited;
        verdict.wanted = cut.then(|| Amount::from_cents(trial.wanted));
        verdict.points = trial.points;
        verdict.rooms = trial.rooms.clone();
    }

    /// Points are earned after everything else, on what is finally payable.
    fn earn_points(&mut self) {
        let Scratch { state, candidates, verdicts, .. } = &mut *self.scratch;
        for Candidate { at, verdict, matching, .. } in candidates {
            let rule = &self.rules.rules[*at as usize];
            let Effect::EarnPoints { per, points } = rule.effect else { continue };
            let earned = self.points.to_earn(per, points, *matching, &state.lines);
            if earned > 0 {
                self.points.record(&rule.outcome.benefit, earned);
                let verdict = &mut verdicts[*verdict];
                verdict.skipped = None;
                verdict.points = earned;
            }
        }
    }

    fn decision(self) -> Decision {
        let Scratch { state, verdicts, applied, rooms, .. } = self.scratch;
        let earned = self.points.moved.iter().any(|moved| moved.change > 0);
        let given = state.has_given();
        let mut counters =
            Vec::with_capacity(applied.iter().map(|at| verdicts[*at].rooms.len()).sum());
        for Verdict { at, rooms: of, .. } in applied.iter().map(|at| &verdicts[*at]) {
            let rule = &self.rules.rules[*at as usize];
            self.counting.add_movements(rule, &rooms[of.clone()], &mut counters);
        }
        let outcome = |verdict: &Verdict| {
            let rule = &self.rules.rules[verdict.at as usize];
            InstructionOutcome {
                instruction: rule.outcome.instruction.clone(),
                version: rule.outcome.version,
                benefit: rule.outcome.benefit.clone(),
                grantor: rule.outcome.grantor.clone(),
                skipped: verdict.skipped,
                amount: verdict.amount,
                wanted: verdict.wanted,
                points: verdict.points,
                limits: rooms[verdict.rooms.clone()].to_vec(),
            }
        };
        Decision {
            outcome: if given || earned { Outcome::Approved } else { Outcome::NoBenefit },
            means_status: self.input.means_status,
            lines: state.decided(self.rules),
            instructions: verdicts.iter().map(outcome).collect(),
            counters,
            points: self.points.moved,
        }
    }
}

fn declined(input: &Input<'_>, reason: DeclineReason) -> Decision {
    let line = |line: &Line| LineDecision {
        number: line.number,
        total: line.total(),
        payable: line.total(),
        benefits: Vec::new(),
    };
    Decision {
        outcome: Outcome::Declined(reason),
        means_status: input.means_status,
        lines: input.lines.iter().map(line).collect(),
        instructions: Vec::new(),
        counters: Vec::new(),
        points: Vec::new(),
    }
}

fn cents(shares: &[Share]) -> i64 {
    shares.iter().map(|share| share.cents).sum()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use domain::{
        amount::Quantity,
        basket::{Lines, PointsWanted},
        id::{BenefitId, GroupId, HouseholdId, ItemId, RecipientId, TerminalId},
        identification_means::MeansStatus,
        limit::CounterKey,
        merchant::Category,
        recipient::Recipient,
    };
    use serde_json::{Value, json};

    use super::*;

    struct OneUsed;

    impl Counters for OneUsed {
        fn used(&self, _: &CounterKey) -> i64 {
            1
        }

        fn points(&self, _: RecipientId, _: &BenefitId) -> i64 {
            40
        }
    }

    /// The published cases' rule sets.
    fn rule_sets() -> Vec<RuleSet> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/cases.ndjson.gz");
        let file = std::fs::File::open(path).expect("the cases");
        let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
        let mut cases = lines
            .map(|line| serde_json::from_str::<Value>(&line.expect("a line")).expect("a case"));
        let mut document = cases.next().expect("the base")["base"].take();
        for group in document["groups"].as_array_mut().expect("groups") {
            group.as_object_mut().expect("a group").remove("members");
            group["where"] = json!("true");
        }
        let compile = |mut case: Value| {
            document["instructions"] = case["instructions"].take();
            let registry = ingest::register::registry::decode(&document).expect("a registry");
            RuleSet::compile(&registry).expect("rules")
        };
        cases.map(compile).collect()
    }

    /// Seven lines that differ from basket to basket.
    fn basket(number: usize) -> Lines {
        let line = |at: usize| {
            let mixed = (number + 1) * (at + 3) * 7_919;
            let thousandths = [1_000, 2_000, 5_000, 755][mixed % 4];
            Line {
                number: u32::try_from(at).expect("a small number"),
                item: ItemId::new(["known", "p1", "p2"][mixed % 3]).expect("an id"),
                category: Category::parse(["a.x", "a.y", "b", "b.x", "bc.x", "c"][mixed % 6]),
                quantity: Quantity::from_thousandths(thousandths),
                unit_price: Amount::from_cents(i64::try_from(mixed % 611).expect("a price")),
                attributes: Default::default(),
            }
        };
        Lines::new((1..8).map(line).collect()).expect("a basket")
    }

    #[test]
    fn one_word_of_lines_decides_as_many_words() {
        let groups = ["g1", "g2"].map(|group| GroupId::new(group).expect("an id"));
        let recipient = Recipient {
            id: RecipientId::from_u128(1),
            household: HouseholdId::from_u128(2),
            groups: groups.into(),
        };
        let mut given = 0;
        for (number, rules) in rule_sets().iter().enumerate() {
            let lines = basket(number);
            let terminal = TerminalId::new("T1").expect("an id");
            let input = Input {
                terminal: rules.terminal(&terminal).expect("a terminal"),
                lines: &lines,
                instant: "2025-03-03T10:00:00Z".parse().expect("an instant"),
                recipient: Some(&recipient),
                means_status: MeansStatus::Valid,
                declined: None,
                points: PointsWanted::Max,
            };
            let asked = Asked { rules, input: &input, counters: &OneUsed, sold: None };
            let few = Evaluation::<FEW>::decide(asked);
            assert_eq!(few, Evaluation::<MANY>::decide(asked));
            given += usize::from(few.outcome == Outcome::Approved);
        }
        assert!(given > 200, "only {given} baskets were given something");
    }
}
