//! One basket through all instructions, in order (2 to 9).

use chrono::NaiveDate;
use domain::{
    amount::Amount,
    decision::{Decision, InstructionOutcome, Outcome, SkipReason},
    instruction::Effect,
    limit::{CounterMovement, Per},
    period::LocalTime,
};

use super::{
    Counters, Input,
    candidate::{Contents, candidate},
    compile::{Rule, RuleSet},
    effect::{self, Open},
    limits::{self, Room},
    points::Points,
    state::{LineState, Share, give, speaking},
};
use crate::cache::Wanted;

/// Decides one basket.
#[must_use]
pub fn evaluate(rules: &RuleSet, input: &Input<'_>, counters: &dyn Counters) -> Decision {
    let lines: Vec<LineState> = input.lines.iter().map(LineState::of).collect();
    if let Some(reason) = input.declined {
        return Decision {
            outcome: Outcome::Declined(reason),
            means_status: input.means_status,
            lines: lines.into_iter().map(LineState::decided).collect(),
            instructions: Vec::new(),
            counters: Vec::new(),
            points: Vec::new(),
        };
    }
    let mut evaluation = Evaluation::new(rules, input, counters, lines);
    evaluation.find_candidates();
    evaluation.apply_prices();
    evaluation.earn_points();
    evaluation.decision()
}

impl RuleSet {
    /// What a decision would read of the counters, so that a remote cache is asked once.
    #[must_use]
    pub fn wanted(&self, input: &Input<'_>) -> Wanted {
        let local = LocalTime::of(input.instant);
        let groups = input.recipient.map(|recipient| self.group_bits(recipient));
        let household = input.recipient.map(|recipient| recipient.household);
        let mut wanted = Wanted { household, ..Wanted::default() };
        for (at, rule) in self.rules.iter().enumerate() {
            let instruction = &rule.instruction;
            let may_apply = instruction.valid.contains(local.date)
                && self.in_scope(input.terminal, at)
                && rule.is_for(groups.as_ref());
            if !may_apply {
                continue;
            }
            for limit in &instruction.limits {
                let key = limits::counter_key(instruction, limit, input.recipient, local.date);
                match key {
                    Some(key) if limit.per == Per::Instruction => {
                        wanted.budgets.push((key, limit.max));
                    }
                    Some(key) => wanted.counters.push(key),
                    None => {}
                }
            }
            if let (Effect::SpendPoints { .. }, Some(recipient)) =
                (&instruction.effect, input.recipient)
            {
                wanted.points.push((recipient.id, instruction.benefit.clone()));
            }
        }
        wanted
    }
}

/// What an instruction would give from the present state.
#[derive(Debug)]
struct Trial {
    shares: Vec<Share>,
    /// Cents wanted before limits.
    wanted: i64,
    points: i64,
    rooms: Vec<Room>,
    skipped: Option<SkipReason>,
}

struct Evaluation<'a> {
    rules: &'a RuleSet,
    input: &'a Input<'a>,
    counters: &'a dyn Counters,
    local: LocalTime,
    contents: Contents<'a>,
    lines: Vec<LineState>,
    points: Points<'a>,
    /// Of each rule whose recipients include the person: its place and its matching lines.
    candidates: Vec<(usize, Result<Vec<usize>, SkipReason>)>,
    /// In the order of `candidates`.
    outcomes: Vec<Option<InstructionOutcome>>,
    movements: Vec<CounterMovement>,
}

impl<'a> Evaluation<'a> {
    fn new(
        rules: &'a RuleSet,
        input: &'a Input<'a>,
        counters: &'a dyn Counters,
        lines: Vec<LineState>,
    ) -> Self {
        Self {
            rules,
            input,
            counters,
            local: LocalTime::of(input.instant),
            contents: Contents::new(rules, input.terminal, input.lines),
            lines,
            points: Points::new(input.recipient, counters, input.points),
            candidates: Vec::new(),
            outcomes: Vec::new(),
            movements: Vec::new(),
        }
    }

    const fn day(&self) -> NaiveDate {
        self.local.date
    }

    fn find_candidates(&mut self) {
        let groups = self.input.recipient.map(|recipient| self.rules.group_bits(recipient));
        let speaks = speaking(self.rules, self.day());
        for (at, rule) in self.rules.rules.iter().enumerate() {
            if !rule.is_for(groups.as_ref()) || !speaks(at) {
                continue;
            }
            let terminal = self.input.terminal;
            let found =
                candidate(self.rules, at, terminal, self.local, &self.contents, &self.lines);
            self.candidates.push((at, found));
        }
        self.outcomes = vec![None; self.candidates.len()];
    }

    /// Applies every price effect in order; of a contest the best, at the place of its first.
    fn apply_prices(&mut self) {
        for place in 0..self.candidates.len() {
            if self.outcomes[place].is_some() {
                continue;
            }
            let (at, found) = &self.candidates[place];
            let rule = &self.rules.rules[*at];
            if let Err(reason) = found {
                self.outcomes[place] = Some(skipped(rule, *reason));
                continue;
            }
            match rule.contest {
                Some(contest) => self.apply_best_of(contest),
                None if matches!(rule.instruction.effect, Effect::EarnPoints { .. }) => {}
                None => {
                    let trial = self.try_at(place);
                    self.apply(place, &trial);
                }
            }
        }
    }

    /// All of one name are tried from the same state; the largest sum is applied, ties to the order.
    fn apply_best_of(&mut self, contest: u32) {
        let of_contest = |(at, found): &(usize, Result<Vec<usize>, SkipReason>)| {
            found.is_ok() && self.rules.rules[*at].contest == Some(contest)
        };
        let places: Vec<usize> = (0..self.candidates.len())
            .filter(|place| of_contest(&self.candidates[*place]))
            .collect();
        let trials: Vec<Trial> = places.iter().map(|place| self.try_at(*place)).collect();
        let sum = |trial: &Trial| trial.shares.iter().map(|share| share.cents).sum::<i64>();
        let best = (0..trials.len()).rev().max_by_key(|at| sum(&trials[*at]));
        for (at, (place, mut trial)) in places.into_iter().zip(trials).enumerate() {
            if Some(at) != best && trial.skipped.is_none() {
                trial.shares.clear();
                trial.skipped = Some(SkipReason::BestOf);
            }
            self.apply(place, &trial);
        }
    }

    /// What the candidate at `place` would give from the present state.
    fn try_at(&self, place: usize) -> Trial {
        let (at, found) = &self.candidates[place];
        let rule = &self.rules.rules[*at];
        let matching: &[usize] = found.as_deref().unwrap_or_default();
        let instruction = &rule.instruction;
        let rooms = limits::rooms(instruction, self.input.recipient, self.day(), self.counters);
        let (open, closed) = self.open_lines(rule, matching);
        let mut trial =
            Trial { shares: Vec::new(), wanted: 0, points: 0, rooms: Vec::new(), skipped: None };
        let anonymous = rooms.is_none();
        trial.rooms = rooms.unwrap_or_default();
        if open.is_empty() && closed {
            trial.skipped = Some(SkipReason::Exclusive);
            return trial;
        }
        if anonymous {
            trial.skipped = Some(SkipReason::Limit);
            return trial;
        }
        let wanted = match instruction.effect {
            Effect::SpendPoints { max, point_value, floor_unit_price } => {
                let value = (max, point_value, floor_unit_price);
                let (points, shares) = self.points.to_spend(&instruction.benefit, value, &open);
                trial.points = -points;
                shares
            }
            effect => effect::shares(&effect, &open),
        };
        trial.wanted = wanted.iter().map(|share| share.cents).sum();
        let exhausted = trial.rooms.iter().any(|room| room.left <= 0);
        trial.shares = limits::within(instruction.on_limit, &trial.rooms, wanted);
        let given: i64 = trial.shares.iter().map(|share| share.cents).sum();
        if given == 0 || given < instruction.min_benefit.cents() {
            trial.shares.clear();
            let limited = exhausted || given < trial.wanted;
            trial.skipped =
                Some(if limited { SkipReason::Limit } else { SkipReason::NothingPayable });
            trial.points = 0;
        }
        trial
    }

    /// The matching lines with something payable that stacking leaves, and whether stacking took
    /// some.
    fn open_lines(&self, rule: &Rule, matching: &[usize]) -> (Vec<Open<'_>>, bool) {
        let mut closed = false;
        let mut open = Vec::with_capacity(matching.len());
        for at in matching {
            let state = &self.lines[*at];
            if state.payable <= 0 {
                continue;
            }
            if state.is_left_to(rule) {
                open.push(Open { at: *at, line: &self.contents.lines[*at], state });
            } else {
                closed = true;
            }
        }
        (open, closed)
    }

    fn apply(&mut self, place: usize, trial: &Trial) {
        let rule = &self.rules.rules[self.candidates[place].0];
        give(&mut self.lines, rule, &trial.shares);
        if !trial.shares.is_empty() {
            self.movements.extend(limits::movements(&trial.rooms, &trial.shares));
        }
        if trial.points != 0 {
            self.points.record(&rule.instruction.benefit, trial.points);
        }
        let amount: i64 = trial.shares.iter().map(|share| share.cents).sum();
        let mut outcome = skipped(rule, SkipReason::NothingPayable);
        outcome.skipped = trial.skipped;
        outcome.amount = Amount::from_cents(amount);
        let limited = matches!(trial.skipped, None | Some(SkipReason::Limit));
        let cut = amount < trial.wanted && limited;
        outcome.wanted = cut.then(|| Amount::from_cents(trial.wanted));
        outcome.points = trial.points;
        outcome.limits = limits::recorded(&trial.rooms, &trial.shares);
        self.outcomes[place] = Some(outcome);
    }

    /// Points are earned after everything else, on what is finally payable.
    fn earn_points(&mut self) {
        for place in 0..self.candidates.len() {
            if self.outcomes[place].is_some() {
                continue;
            }
            let (at, found) = &self.candidates[place];
            let rule = &self.rules.rules[*at];
            let mut outcome = skipped(rule, SkipReason::NothingPayable);
            if let (Effect::EarnPoints { per, points }, Ok(matching)) =
                (rule.instruction.effect, found)
            {
                let earned = self.points.to_earn(per, points, matching, &self.lines);
                if earned > 0 {
                    self.points.record(&rule.instruction.benefit, earned);
                    outcome.skipped = None;
                    outcome.points = earned;
                }
            }
            self.outcomes[place] = Some(outcome);
        }
    }

    fn decision(self) -> Decision {
        let given = self.lines.iter().any(|line| !line.benefits.is_empty());
        let earned = self.points.moved.iter().any(|moved| moved.change > 0);
        Decision {
            outcome: if given || earned { Outcome::Approved } else { Outcome::NoBenefit },
            means_status: self.input.means_status,
            lines: self.lines.into_iter().map(LineState::decided).collect(),
            instructions: self.outcomes.into_iter().flatten().collect(),
            counters: self.movements,
            points: self.points.moved,
        }
    }
}

fn skipped(rule: &Rule, reason: SkipReason) -> InstructionOutcome {
    InstructionOutcome {
        instruction: rule.instruction.id.clone(),
        version: rule.instruction.version,
        benefit: rule.instruction.benefit.clone(),
        grantor: rule.grantor_id.clone(),
        skipped: Some(reason),
        amount: Amount::ZERO,
        wanted: None,
        points: 0,
        limits: Vec::new(),
    }
}
