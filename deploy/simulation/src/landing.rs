//! Pipelines and settlements of one process: the shipped SQL, run by the runner, into tables that may
//! refuse; periods are closed and come to statements.

use std::{path::Path, sync::Arc};

use futures::FutureExt;
use ingest::{
    clock::Clock,
    record::{Record, outside_id},
    topic::Topic,
    wire::v1::{Event, PeriodClosed},
};
use pipelines::{
    catalogue::{SOURCES, TABLES},
    config::Settings,
    error::PipelineError,
    metrics::Metrics,
    planner,
    runner::{Beside, Ends, Runner},
    settlements::{Closings, Settlements, is_early},
};
use warehouse::{
    error::WarehouseError,
    session::{Session, folder},
    table::{Positions, Table},
    tail::Tails,
};

use crate::{
    table::NodeTable,
    time::SimulatedClock,
    witness::local_day,
    world::{Node, World, causes},
};

/// The tables that are landed here: what settlements are made of, and points.
const LANDED: [&str; 3] = ["benefit_lines", "points_entries", "registry_contracts"];
/// Those whose positions a session tells.
const POSITIONED: [&str; 4] =
    ["benefit_lines", "registry_contracts", "settlement_lines", "settlement_statements"];

/// Lands and settles until the process dies.
pub async fn run(world: Arc<World>, node: Arc<Node>) {
    let lasts = || node.life.lasts() && node.log.end(Topic::Authorisations, 0).is_ok();
    let runner = match runner(&world, &node).await {
        Ok(runner) => runner,
        Err(error) => return world.watching.fault(format!("nothing lands: {}", causes(&error))),
    };
    while lasts() {
        // After a failure the runner begins again at what is committed, as it does when it serves.
        if let Err(error) = follow(&world, &node, &runner).await
            && lasts()
        {
            let what = causes(&error);
            match error.retry() {
                true => world.watching.tell(format!("landing begins again: {what}")),
                false => world.watching.fault(format!("landing ended by itself: {what}")),
            }
        }
        world.machine.time.sleep(world.machine.dice.millis(10, 200)).await;
    }
}

async fn follow(world: &Arc<World>, node: &Node, runner: &Runner) -> Result<(), PipelineError> {
    while node.life.lasts() {
        runner.catch_up(&Ends::new()).await?;
        settle(world, node).await?;
        world.machine.time.sleep(world.machine.dice.millis(100, 900)).await;
    }
    Ok(())
}

fn table(world: &World, node: &Node, name: &'static str) -> Arc<dyn Table> {
    Arc::new(NodeTable {
        tables: Arc::clone(&world.tables),
        name,
        machine: world.machine.clone(),
        life: node.life.clone(),
        planted: world.planted,
    })
}

async fn runner(world: &Arc<World>, node: &Node) -> Result<Runner, PipelineError> {
    let files: Vec<_> = TABLES.iter().filter(|(name, _)| LANDED.contains(name)).copied().collect();
    let planned = planner::plan(SOURCES, &files).await?;
    let with_table = |(pipeline, name)| (pipeline, table(world, node, name));
    let names = files.iter().map(|(name, _)| *name);
    let pipelines = planned.into_iter().zip(names).map(with_table).collect();
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("a fresh registry");
    let dice = &world.machine.dice;
    let settings = Settings {
        commit_records: 1 + dice.below(24),
        batch_records: 1 + dice.place(16),
        // By the machine's time: nothing is committed because of it.
        commit_interval: std::time::Duration::from_secs(3_600),
        ..Settings::default()
    };
    let beside = Beside { states: Arc::clone(&world.states), tails: &Tails::default(), late: None };
    let clock: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(&world.clock);
    Runner::new(Arc::clone(&node.log), clock, metrics, settings, beside, pipelines)
}

/// Brings closings into their tables, as far as benefit lines have landed.
async fn settle(world: &World, node: &Node) -> Result<(), PipelineError> {
    let statements = table(world, node, "settlement_statements");
    let lines = table(world, node, "settlement_lines");
    let settlements = Settlements::new(Arc::clone(&node.log), statements, lines);
    match settlements.catch_up(|| session(world)).await {
        Err(error) if is_early(&error) => Ok(()),
        done => done,
    }
}

/// The tables as they lie, for SQL: their rows are given as if they had not landed, since a session
/// reads tables in memory only so.
///
/// # Errors
/// Where rows do not fit.
pub fn session(world: &World) -> Result<Session, PipelineError> {
    let failed =
        |source| PipelineError::Table { pipeline: "settlements".into(), attempted: "open", source };
    open(world).map_err(failed)
}

fn open(world: &World) -> Result<Session, WarehouseError> {
    let tails = Tails::default();
    for name in LANDED.into_iter().chain(["settlement_lines", "settlement_statements"]) {
        let table = world.tables.of(name);
        let mut positions = Positions::new();
        if POSITIONED.contains(&name) {
            let of = (0..Topic::Authorisations.partitions()).map(|place| format!("{name}/{place}"));
            let applications: Vec<String> = of.collect();
            positions = table.positions(&applications).now_or_never().unwrap_or(Ok(positions))?;
        }
        tails.of(table.schema()).append(&table.rows(), &positions)?;
    }
    Session::open_with(&folder(Path::new("/nowhere"))?, &tails)
}

/// Closes the month that is now, or what has come for it since.
pub async fn close(world: &World, node: &Node) -> Result<(), PipelineError> {
    let log = &node.log;
    let now = world.clock.now();
    let month = domain::period::Month::of(local_day(now));
    let partitions = 0..log.partitions(Topic::Authorisations);
    let ends = partitions.map(|partition| log.end(Topic::Authorisations, partition));
    let closings = Closings::read(log).await?;
    let closing = closings.draft(month, ends.collect::<Result<_, _>>()?);
    let event = PeriodClosed {
        period: month.to_string(),
        end_offsets: closing.end_offsets.clone(),
        closed_at: now.timestamp_micros(),
    };
    let record = Record {
        id: outside_id("settlement", &closing.name()),
        key: "settlements".into(),
        source: "settlement".into(),
        sequence: 0,
        event_time: now,
        recorded_at: now,
        event: Event::PeriodClosed(event),
    };
    log.append(Topic::Settlements, &[record]).await?;
    Ok(())
}

/// Lands and settles all there is, and compares statements with the stream.
///
/// # Errors
/// Where a part fails though nothing goes wrong any more.
pub async fn finish(world: &Arc<World>, node: &Node) -> Result<(), PipelineError> {
    runner(world, node).await?.catch_up(&Ends::new()).await?;
    settle(world, node).await?;
    let closings = Closings::read(&node.log).await?;
    let session = session(world)?;
    let balanced = world.watching.balances(&session, closings.all()).await;
    balanced.map_err(|source| PipelineError::Table {
        pipeline: "settlements".into(),
        attempted: "prove",
        source,
    })
}
