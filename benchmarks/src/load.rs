//! `avis up` as a process of its own, under terminals in open loop: they sell when people come, not when
//! the answer before has come. Aims: nothing lost, p99 below 10 ms, freshness p99 of 2 s at most, memory
//! flat; under twice what it carries, answers of those let in within three times the idle ones; and
//! beside an analyst's worst query, within 1.2 times those without.
//!
//! `AVIS_BENCH_SECONDS` is how long the long phases last (600 in full).

use std::time::{Duration, Instant};

use crate::{outcome::Skipped, times::processor};
use analyst::Analyst;
use installation::Installation;
use open_loop::{Answers, Load};
use seen::Seen;

mod analyst;
mod installation;
mod open_loop;
mod seen;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The services that roles apart share, each by the variable that names it.
const SERVICES: [&str; 2] = ["AVIS_TEST_FLUVIO", "AVIS_TEST_S3"];
/// What the aims are said at.
const RATE: u32 = 2_000;
const HIGH: u32 = 10_000;
const QUIET: u32 = 100;
const LATE: Duration = Duration::from_millis(10);
/// The search for the highest rate: where it begins, and how long each step lasts.
const FIRST: u32 = 2_000;
const STEP: Duration = Duration::from_secs(10);
/// How often tills alone and beside an analyst take turns.
const TURNS: usize = 3;

/// One process: prints a row for each phase, and what was lost: nothing.
pub async fn measure() -> Result<()> {
    phases(Installation::whole()?).await
}

/// As [`measure`], of a process a role, over services that the environment names.
pub async fn measure_apart() -> Result<()> {
    let [Ok(fluvio), Ok(storage)] = SERVICES.map(std::env::var) else {
        let names = SERVICES.join(" and ");
        return Err(Skipped::because(format!("{names} do not name what roles apart share")));
    };
    phases(Installation::apart(fluvio, storage)?).await
}

async fn phases(at: Installation) -> Result<()> {
    let long = std::env::var("AVIS_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    let long = Duration::from_secs(long.unwrap_or(30));
    let (mut sent, mut answered) = (0, 0);
    let mut load = Load::new(at.http(), at.tokens.clone()).await?;
    let mut phase = async |name: &str, rate: u32, time: Duration| {
        let before = at.seen().await?;
        let own = processor();
        let told = load.run(rate, time).await?;
        let (own, after) = (processor() - own, at.seen().await?);
        sent += told.sent;
        answered += told.answered.len();
        say(name, rate, &told, (before, after, own.as_secs_f64()));
        Ok::<_, Box<dyn std::error::Error>>(told)
    };
    let idle = phase("idle", QUIET, STEP).await?;
    phase("two thousand a second", RATE, long).await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(phase("till alone", RATE, STEP).await?.at(0.99));
        let analyst = Analyst::begin(&at)?;
        beside.push(phase("till beside an analyst", RATE, STEP).await?.at(0.99));
        crate::say(format!("|   {} answers to the analyst | | | | |", analyst.end()?));
    }
    phase("ten thousand a second", HIGH, long.min(Duration::from_secs(60))).await?;
    let mut holds = 0;
    let mut rate = FIRST;
    loop {
        let told = phase("search", rate, STEP).await?;
        if told.refused > 0 || told.failed > 0 || told.at(0.99) > LATE {
            break;
        }
        holds = rate;
        rate += rate / 4;
    }
    let carried = holds.max(FIRST);
    let twice = phase("twice the highest that holds", 2 * carried, long).await?;
    let again = phase("idle again", QUIET, STEP).await?;
    crate::row("highest rate that holds", f64::from(holds), "aim", f64::from(HIGH));
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (quiet, full) = (micros(idle.at(0.99)), micros(twice.at(0.99)));
    crate::row("p99 of those let in, µs", full, "three times the idle", 3.0 * quiet);
    let (alone, beside) = (micros(middle(alone)), micros(middle(beside)));
    crate::row("p99 beside an analyst, µs", beside, "1.2 of it alone", 1.2 * alone);
    crate::say(format!("|   idle again: p99 {:.2} ms | | | | |", micros(again.at(0.99)) / 1e3));
    let found = at.close()?;
    crate::say(format!("|   sent {sent}, acknowledged {answered}, found {found} | | | | |"));
    if found < answered {
        return Err(format!("{} acknowledged sales are lost", answered - found).into());
    }
    Ok(())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// One row: what became of a phase.
fn say(name: &str, rate: u32, told: &Answers, (before, after, own): (Seen, Seen, f64)) {
    let millis = |share: f64| told.at(share).as_secs_f64() * 1e3;
    let turned = told.refusals_at(0.99).as_secs_f64() * 1e3;
    let used = after.processor - before.processor;
    crate::row(
        &format!("{name}: answered"),
        told.answered.len() as f64 / told.lasted.as_secs_f64(),
        "asked",
        f64::from(rate),
    );
    crate::say(format!(
        "|   p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.1} ms; {} refused (p99 {turned:.2} ms), \
         {} failed; memory {:.0} to {:.0} MiB; freshness p99 {}; generator {:.0} % of the processor time | | | | |",
        millis(0.5),
        millis(0.99),
        millis(0.999),
        millis(1.0),
        told.refused,
        told.failed,
        before.resident / 1_048_576.0,
        after.resident / 1_048_576.0,
        after.fresh_since(&before),
        100.0 * own / (own + used).max(f64::EPSILON),
    ));
}

/// How long until an instant.
fn until(instant: Instant) -> Duration {
    instant.saturating_duration_since(Instant::now())
}
