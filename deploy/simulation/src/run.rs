//! One run: a country, its terminals, and whatever goes wrong, from a seed.

use std::{cell::RefCell, sync::Arc, sync::Once, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use ingest::{clock::Clock, vault::Vault};

use crate::{
    country::TERMINALS,
    faults::{Machine, Planted},
    landing,
    random::Dice,
    terminal,
    time::Time,
    witness::Counts,
    world::{World, causes},
};

/// Instants at which runs begin: before daylight saving begins and ends, before the ends of months and
/// of a year, and on a day like any other.
const BEGINNINGS: [&str; 6] = [
    "2025-03-29T19:00:00Z",
    "2025-10-25T18:30:00Z",
    "2025-01-31T19:30:00Z",
    "2024-12-31T20:30:00Z",
    "2025-05-31T18:30:00Z",
    "2025-06-11T09:00:00Z",
];
/// Virtual time that terminals may take in all.
const LONGEST: Duration = Duration::from_secs(600);

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was found wrong; nothing where all held.
    pub faults: Vec<String>,
    /// What happened, line by line.
    pub trace: Vec<String>,
    /// How much of it.
    pub counts: Counts,
}

thread_local! {
    /// What panicked in the run of this thread.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Keeps what panics in a run for its outcome; elsewhere panics are told as before.
fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let kept = PANICS.with_borrow_mut(|panics| match panics {
                Some(panics) => {
                    panics.push(panic.to_string());
                    true
                }
                None => false,
            });
            if !kept {
                before(panic);
            }
        }));
    });
}

/// Runs a seed; the vault may be that of other runs.
#[must_use]
pub fn run(seed: u64, planted: Option<Planted>, vault: &Vault) -> Outcome {
    listen();
    PANICS.set(Some(Vec::new()));
    let time = Time::default();
    let dice = Dice::of(seed);
    let begins = dice.of_all(&BEGINNINGS).and_then(|begins| begins.parse().ok());
    let begins: DateTime<Utc> = begins.unwrap_or_default();
    // What is planted in the cache is planted in the one that needs no network.
    let alone = matches!(
        planted,
        Some(
            Planted::ClipIgnoresReservation | Planted::RefundGivenBackTwice | Planted::PeriodByUtc
        )
    );
    let is_shared = dice.once_in(2) && !alone;
    let machine = Machine::new(time.clone(), dice);
    let world = World::found(machine, begins, is_shared, vault.clone(), planted);
    let done = time.run(play(Arc::clone(&world)));
    let panics = PANICS.take().unwrap_or_default();
    let (mut faults, trace) = world.watching.told();
    if done.is_none() && panics.is_empty() && faults.is_empty() {
        faults.push("it came to nothing: everybody waits".to_owned());
    }
    faults.extend(panics);
    Outcome { seed, faults, trace, counts: world.watching.counts() }
}

async fn play(world: Arc<World>) {
    world.start(true).await;
    let terminals = TERMINALS.map(|(id, _)| tokio::spawn(terminal::run(Arc::clone(&world), id)));
    while terminals.iter().any(|terminal| !terminal.is_finished()) {
        world.machine.time.sleep(world.machine.dice.millis(20, 900)).await;
        if world.watching.is_broken() {
            return;
        }
        if world.machine.time.now() > LONGEST {
            return world.watching.fault("terminals are never done");
        }
        if world.has_ended() {
            world.start(true).await;
            continue;
        }
        happen(&world).await;
    }
    settle_down(&world).await;
}

/// Something goes wrong, or time goes by.
async fn happen(world: &Arc<World>) {
    let (machine, dice) = (&world.machine, &world.machine.dice);
    match dice.below(16) {
        0 | 1 => {
            world.kill("the power goes");
            machine.time.sleep(dice.millis(0, 400)).await;
            world.start(true).await;
        }
        2 => {
            world.stop().await;
            machine.time.sleep(dice.millis(0, 100)).await;
            world.start(true).await;
        }
        3 => {
            world.watching.tell("the disk is slow");
            machine.slow_down(dice.millis(300, 4_000));
        }
        4 => {
            world.watching.tell("the cache is cut off");
            machine.cut_off(dice.millis(50, 1_500));
        }
        5 => world.fail_over(),
        6 => jump(world, TimeDelta::seconds(-seconds(dice, 400))),
        7 => jump(world, TimeDelta::seconds(seconds(dice, 1_200))),
        8..=10 => jump(world, TimeDelta::minutes(40) + TimeDelta::seconds(seconds(dice, 10_000))),
        11 => {
            let Some(node) = world.node() else { return };
            if let Err(error) = landing::close(world, &node).await {
                world.watching.tell(format!("a month is not closed: {}", causes(&error)));
            }
        }
        _ => {}
    }
}

fn seconds(dice: &Dice, bound: u64) -> i64 {
    i64::try_from(dice.below(bound)).unwrap_or(0)
}

fn jump(world: &World, by: TimeDelta) {
    world.clock.jump(by);
    world.watching.tell(format!("the clock is set by {by}: {}", world.clock.now()));
}

/// Nothing fails any more: what is under way ends, everything lands, and the books are closed.
async fn settle_down(world: &Arc<World>) {
    world.machine.calm();
    world.kill("the power goes for the last time");
    world.start(true).await;
    world.machine.time.sleep(Duration::from_secs(2)).await;
    // What is reserved expires.
    jump(world, TimeDelta::hours(1));
    world.machine.time.sleep(Duration::from_secs(3)).await;
    world.stop().await;
    world.start(false).await;
    let Some(node) = world.node() else { return };
    world.machine.time.sleep(Duration::from_secs(1)).await;
    if let Err(error) = landing::close(world, &node).await {
        world.watching.fault(format!("a month cannot be closed: {}", causes(&error)));
    }
    if let Err(error) = landing::finish(world, &node).await {
        world.watching.fault(format!("the books cannot be closed: {}", causes(&error)));
    }
    match node.counted().await {
        Ok(index) => world.watching.closes(&index),
        Err(error) => world.watching.fault(format!("the index is lost: {}", causes(&error))),
    }
    world.stop().await;
}
