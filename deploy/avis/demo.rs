//! `avis demo`: the main job, embedded, to its end. It is no shortcut: the same log, decision loop and
//! pipelines as when serving; only the clock is the baskets' own.

pub mod centres;
pub mod generate;
pub mod input;
pub mod publish;
pub mod summary;

use std::{sync::Arc, time::Instant};

use authoriser::authorise::{Authoriser, Settings};
use chrono::{DateTime, Utc};
use connectors::{load, registry};
use ingest::{clock::ManualClock, heartbeat, topic::Topic};
use pipelines::groups;
use tokio::sync::watch;

use self::{input::Input, summary::Summary};
use crate::{
    cli::DemoArguments, config::Config, failure::Failure, node::Node, progress::Progress,
    sources::Sources,
};

/// Uploads decided between two appends.
const DECIDED_AT_ONCE: usize = 512;
/// How far time goes on after the last basket, so that its minute closes.
const AFTER_THE_LAST: chrono::Duration = chrono::Duration::minutes(15);

/// Runs the demo and prints what happened.
///
/// # Errors
/// Where input is refused as a whole, a part fails, or the books do not balance.
pub async fn run(arguments: DemoArguments) -> Result<(), Failure> {
    let started = Instant::now();
    let progress = Progress::new(arguments.json);
    let input = Input::of(&arguments)?;
    let clock = Arc::new(ManualClock::at(input.begins()));
    let config = Config::load(arguments.config.as_deref(), std::env::vars())?;
    let node = Node::open(&arguments.out, &config, Arc::clone(&clock) as _)?;
    let sources = describe(&node, &input, &progress).await?;
    let streamed = stream(&node, &input, &sources, &clock, &progress).await?;
    let published = publish::all(&node, &clock, &arguments.out, &progress).await?;
    let mut summary = Summary::read(&node, &published).await?;
    summary.took(started.elapsed(), streamed);
    summary.print(&arguments)?;
    node.metrics().vitals.proved(&published.proof, node.clock.now());
    published.proof.balanced()
}

/// The registry, the people and their means; what reads the other files.
async fn describe(node: &Node, input: &Input, progress: &Progress) -> Result<Sources, Failure> {
    let (text, origin) = input.registry()?;
    let naming = |written: &str| registry::listed::member(&node.vault, written);
    let document = registry::read(&text, &origin, &groups::check, &naming)?;
    registry::apply(&node.log, &document, node.clock.now()).await?;
    let sources = Sources::of(node, Arc::new(document.registry));
    let bar = progress.bar("people");
    for (reader, origin) in input.persons()? {
        sources.load_persons(node, reader, &origin, false, |lines| bar.inc(lines)).await?;
    }
    bar.finish_with_message("loaded");
    node.evaluator().await?.catch_up().await?;
    let bar = progress.bar("means");
    for (reader, origin) in input.means()? {
        let means = sources.means();
        load::load(&node.loading, means, reader, &origin, |lines| bar.inc(lines)).await?;
    }
    bar.finish_with_message("loaded");
    Ok(sources)
}

/// Streams transactions and events in, decides, and lands, all at the same time.
async fn stream(
    node: &Node,
    input: &Input,
    sources: &Sources,
    clock: &Arc<ManualClock>,
    progress: &Progress,
) -> Result<f64, Failure> {
    let started = Instant::now();
    let runner = node.pipelines().await?;
    let (stop, stopped) = watch::channel(false);
    let (loaded, is_loaded) = watch::channel(false);
    let landing = runner.run(stopped);
    let streaming = async {
        let loading = load_all(node, input, sources, progress);
        let deciding = decide(node, clock, is_loaded, progress);
        let loading = async {
            let result = loading.await;
            // A receiver that is gone has met an error of its own.
            let _ = loaded.send(true);
            result
        };
        let (loading, deciding) = tokio::join!(loading, deciding);
        let _ = stop.send(true);
        loading.and(deciding)
    };
    let (landed, streamed) = tokio::join!(landing, streaming);
    streamed?;
    landed?;
    let bar = progress.bar("landing");
    runner.catch_up(&runner.ends()?).await?;
    bar.finish_with_message("everything is in the tables");
    Ok(started.elapsed().as_secs_f64())
}

async fn load_all(
    node: &Node,
    input: &Input,
    sources: &Sources,
    progress: &Progress,
) -> Result<(), Failure> {
    let bar = progress.bar("transactions");
    for (reader, origin) in input.baskets()? {
        let baskets = sources.transactions();
        load::load(&node.loading, baskets, reader, &origin, |lines| bar.inc(lines)).await?;
    }
    bar.finish_with_message("streamed");
    let bar = progress.bar("events");
    for (reader, origin) in input.events()? {
        sources.load_events(node, reader, &origin, |lines| bar.inc(lines)).await?;
    }
    bar.finish_with_message("streamed");
    Ok(())
}

/// Decides uploads as they come, until all are loaded and decided.
async fn decide(
    node: &Node,
    clock: &ManualClock,
    is_loaded: watch::Receiver<bool>,
    progress: &Progress,
) -> Result<(), Failure> {
    let bar = progress.bar("decisions");
    let mut authoriser = Authoriser::embedded(node.parts().await?, Settings::default()).await?;
    let mut growth = node.log.subscribe(Topic::TerminalTransactions);
    loop {
        // Looked at before deciding: what was loaded until then is decided below.
        let all_loaded = *is_loaded.borrow();
        let decided = authoriser.decide_uploads(DECIDED_AT_ONCE).await?;
        if let Some(latest) = decided.latest {
            clock.advance_to(latest);
        }
        bar.inc(u64::try_from(decided.decided).unwrap_or(0));
        if decided.decided + decided.passed_over > 0 {
            continue;
        }
        if all_loaded {
            break;
        }
        let pause = tokio::time::sleep(std::time::Duration::from_millis(20));
        tokio::select! {
            _ = growth.changed() => {}
            () = pause => {}
        }
    }
    let until = last_instant(node).await?.map(|last| last + AFTER_THE_LAST);
    if let Some(until) = until {
        clock.advance_to(until);
        for topic in heartbeat::TIMED {
            heartbeat::tell(&node.log, topic, until, until).await?;
        }
    }
    bar.finish_with_message("on the stream");
    Ok(())
}

/// When the last basket was, also where an earlier run decided it.
async fn last_instant(node: &Node) -> Result<Option<DateTime<Utc>>, Failure> {
    let (topic, log) = (Topic::TerminalTransactions, &node.log);
    let end = log.end(topic, 0)?;
    let mut last = None;
    // Files are in order of time, or nearly; the last few thousand hold the latest.
    for from in (end.saturating_sub(4_096)..end).step_by(1_024) {
        for stored in log.read(topic, 0, from, 1_024).await? {
            last = last.max(Some(stored.record.event_time));
        }
    }
    Ok(last)
}
