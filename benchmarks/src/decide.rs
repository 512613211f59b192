//! Decisions in process: the published cases' baskets, beside walking their lines without a rule.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    time::{Duration, Instant},
};

use authoriser::rules::{self, Counters, Input, RuleSet};
use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, PointsWanted},
    id::{BenefitId, HouseholdId, ItemId, RecipientId, TerminalId},
    identification_means::MeansStatus,
    limit::CounterKey,
    merchant::Category,
    recipient::Recipient,
};

const FOR: Duration = Duration::from_secs(2);

struct Untouched;

impl Counters for Untouched {
    fn used(&self, _: &CounterKey) -> i64 {
        0
    }

    fn points(&self, _: RecipientId, _: &BenefitId) -> i64 {
        0
    }
}

/// Prints a row: ten lines through the packaged registry's instructions.
pub fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/avis/demo/data");
    let file = std::fs::File::open(data.join("registry.yaml.gz"))?;
    let mut text = String::new();
    for line in BufReader::new(connectors::lines::gunzip(file)).lines() {
        text.push_str(&line?);
        text.push('\n');
    }
    let document = connectors::registry::read(&text, "registry.yaml", &|_| None)?;
    let rules = RuleSet::compile(&document.registry).map_err(|faults| format!("{faults:?}"))?;
    let lines = basket()?;
    let recipient = Recipient {
        id: RecipientId::from_u128(1),
        household: HouseholdId::from_u128(1),
        groups: document.registry.groups.iter().map(|group| group.id.clone()).collect(),
    };
    let input = Input {
        terminal: rules.terminal(&TerminalId::new("T-000330")?).ok_or("no such terminal")?,
        lines: &lines,
        instant: "2025-01-04T10:00:00Z".parse()?,
        recipient: Some(&recipient),
        means_status: MeansStatus::Valid,
        declined: None,
        points: PointsWanted::UpTo(0),
    };
    let decided = rate(|| rules::evaluate(&rules, &input, &Untouched).lines.len());
    let walked = rate(|| lines.iter().map(|line| line.total().cents()).sum::<i64>());
    crate::row("decision, 10 lines × 18 instructions", decided, "adding up the 10 lines", walked);
    Ok(())
}

fn basket() -> Result<Lines, Box<dyn std::error::Error>> {
    let categories =
        ["grocery.eggs", "produce.apples", "pastry.rolls", "grocery.cheese", "drug-gm"];
    let line = |number: u32| -> Result<Line, domain::id::IdError> {
        Ok(Line {
            number,
            item: ItemId::new("unlisted")?,
            category: Category::parse(categories[number as usize % categories.len()]),
            quantity: Quantity::from_thousandths(2_000),
            unit_price: Amount::from_cents(199),
            attributes: Default::default(),
        })
    };
    Ok(Lines::new((1..=10).map(line).collect::<Result<_, _>>()?)?)
}

fn rate<T>(mut once: impl FnMut() -> T) -> f64 {
    let (started, mut times) = (Instant::now(), 0_u64);
    while started.elapsed() < FOR {
        for _ in 0..64 {
            std::hint::black_box(once());
        }
        times += 64;
    }
    times as f64 / started.elapsed().as_secs_f64()
}
