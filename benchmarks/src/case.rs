//! The generated baskets with their recipients and what is known of their counters, ready to be
//! decided. The peers decide the same.

use authoriser::{
    cache::Movements,
    cache::embedded::EmbeddedCache,
    rules::{self, Input, RuleSet, TerminalIndex},
};
use domain::{
    basket::{Lines, PointsWanted},
    decision::SkipReason,
    id::TerminalId,
    identification_means::MeansStatus,
    limit::CounterMovement,
    recipient::Recipient,
};

use crate::generate::{self, INSTRUCTIONS, Random, TERMINAL};

const SEED: u64 = 2_025;

/// So few that they stay near the processor, as what a request brings is there when it is decided.
const CASES: usize = 16;

/// Points that each recipient wants to spend and has.
const POINTS: i64 = 20;

/// One basket.
#[derive(Debug)]
pub struct Case {
    /// What is bought.
    pub lines: Lines,
    /// Who buys it.
    pub recipient: Recipient,
    /// What is used of the recipient's limits.
    pub counters: EmbeddedCache,
}

/// The baskets and the rules that decide them.
#[derive(Debug)]
pub struct Cases {
    /// The compiled registry.
    pub rules: RuleSet,
    /// All baskets.
    pub all: Vec<Case>,
    terminal: TerminalIndex,
}

impl Cases {
    /// Generates the baskets; always the same.
    ///
    /// # Errors
    /// Where some instruction does not come into question for some basket.
    pub fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let rules = RuleSet::compile(&generate::registry()?).map_err(|of| format!("{of:?}"))?;
        let terminal = rules.terminal(&TerminalId::new(TERMINAL)?).ok_or("no such terminal")?;
        let mut cases = Self { rules, all: Vec::with_capacity(CASES), terminal };
        let mut random = Random(SEED);
        for (number, lines) in (0..).zip(generate::baskets(CASES, &mut random)?) {
            let recipient = generate::recipient(number)?;
            let mut case = Case { lines, recipient, counters: EmbeddedCache::default() };
            let wanted = cases.rules.wanted(&cases.input(&case)?);
            let used = wanted
                .counters
                .into_iter()
                .map(|key| CounterMovement { key, change: random.below(2).cast_signed() });
            let points = wanted.points.into_iter().map(|(of, benefit)| (of, benefit, POINTS));
            let counters = used.collect();
            case.counters.restore(&Movements { counters, points: points.collect() });
            let decision = rules::evaluate(&cases.rules, &cases.input(&case)?, &case.counters);
            let in_question = |skipped: Option<SkipReason>| {
                skipped.is_none_or(|reason| reason > SkipReason::Content)
            };
            let found = decision.instructions.iter().filter(|of| in_question(of.skipped)).count();
            if found != INSTRUCTIONS {
                return Err(format!("{found} instructions come into question").into());
            }
            cases.all.push(case);
        }
        Ok(cases)
    }

    /// What the decision of one is about.
    ///
    /// # Errors
    /// Never: the instant is one.
    pub fn input<'a>(&self, case: &'a Case) -> Result<Input<'a>, chrono::ParseError> {
        Ok(Input {
            terminal: self.terminal,
            lines: &case.lines,
            instant: "2025-01-04T10:00:00Z".parse()?,
            recipient: Some(&case.recipient),
            means_status: MeansStatus::Valid,
            declined: None,
            points: PointsWanted::UpTo(POINTS),
        })
    }
}
