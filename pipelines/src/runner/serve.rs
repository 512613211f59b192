//! Serves a group's pipelines: those that are far behind the others, as a new one is, catch up apart
//! from them first, so that nobody waits for them.

use std::sync::Arc;

use ingest::log::Log;
use tokio::sync::watch;
use warehouse::tail::FAR;

use super::{Group, Until, World, land, lander::committed, offsets};
use crate::error::PipelineError;

/// So many pauses are made before storage that does not answer is asked again.
const OUTAGE: u32 = 5;

/// Runs a group's pipelines, and starts them again from what is committed after a failure that may
/// pass: so often, but for storage that others run as often as it takes.
pub(super) async fn serve(
    log: Arc<dyn Log>,
    group: Group,
    world: World,
    stop: watch::Receiver<bool>,
) -> Result<(), PipelineError> {
    let mut left = world.settings.restarts;
    let is_remote = group.lines.iter().any(|line| line.table.is_remote());
    loop {
        let started = tokio::time::Instant::now();
        match together(&log, &group, &world, &stop).await {
            // Those that were behind are with the others from here on.
            Ok(()) if !*stop.borrow() && !is_over(&log, &group) => {}
            Err(error) if is_remote && error.is_outage() => {
                // What is not landed is landed by the next start.
                if *stop.borrow() {
                    return Err(error);
                }
                world.metrics.restarted(&group.topics, &error, left);
                tokio::time::sleep(world.settings.restart_pause.saturating_mul(OUTAGE)).await;
            }
            // A full disk has its time.
            Err(error) if error.retry() && (left > 0 || log.takes().is_err()) => {
                // What ran for long was healthy again in between.
                let healthy = world.settings.restart_pause.saturating_mul(60);
                let again = started.elapsed() > healthy || log.takes().is_err();
                left = if again { world.settings.restarts } else { left - 1 };
                world.metrics.restarted(&group.topics, &error, left);
                tokio::time::sleep(world.settings.restart_pause).await;
            }
            ended => return ended,
        }
    }
}

/// Whether the log itself ended the reading.
fn is_over(log: &Arc<dyn Log>, group: &Group) -> bool {
    group.topics.iter().any(|topic| log.subscribe(*topic).has_changed().is_err())
}

/// Runs the pipelines that are abreast until told to stop, and beside them those that are behind up
/// to where the streams end now; when these are there, all end.
async fn together(
    log: &Arc<dyn Log>,
    group: &Group,
    world: &World,
    stop: &watch::Receiver<bool>,
) -> Result<(), PipelineError> {
    let (abreast, behind) = split(log, group).await?;
    let run = |group, until| land(Arc::clone(log), group, world.clone(), until);
    if behind.lines.is_empty() {
        return run(abreast, Until { ends: None, stop: Some(stop.clone()) }).await;
    }
    for line in &behind.lines {
        tracing::info!(pipeline = line.pipeline.name, "catches up by itself");
    }
    let (pause, paused) = watch::channel(false);
    let ends = Some(offsets::ends(log.as_ref(), &behind.topics)?);
    let catching_up = async {
        let caught_up = run(behind, Until { ends, stop: Some(stop.clone()) }).await;
        // The others are gone where they failed.
        let _ = pause.send(true);
        caught_up
    };
    let going_on = run(abreast, Until { ends: None, stop: Some(paused) });
    let (caught_up, went_on) = tokio::join!(catching_up, going_on);
    caught_up.and(went_on)
}

/// A group without those of its pipelines for which nobody waits: the operator's own that are behind.
/// Statements, proofs and reports are made of the platform's.
pub(super) async fn abreast(log: &Arc<dyn Log>, group: &Group) -> Result<Group, PipelineError> {
    let (mut abreast, behind) = split(log, group).await?;
    for line in behind.lines.into_iter().filter(|line| !line.is_own()) {
        abreast.add(line);
    }
    Ok(abreast)
}

/// The pipelines that are about where the foremost is, and those that are not.
async fn split(log: &Arc<dyn Log>, group: &Group) -> Result<(Group, Group), PipelineError> {
    let mut lags = Vec::with_capacity(group.lines.len());
    for line in &group.lines {
        let (positions, _) = committed(log.as_ref(), &line.pipeline, line.table.as_ref()).await?;
        lags.push(offsets::lag(log.as_ref(), &positions)?);
    }
    let least = lags.iter().copied().min().unwrap_or(0);
    let (mut abreast, mut behind) = (Group::default(), Group::default());
    for (line, lag) in group.lines.iter().zip(lags) {
        let half =
            if lag > least.saturating_add(FAR.unsigned_abs()) { &mut behind } else { &mut abreast };
        half.add(line.clone());
    }
    Ok((abreast, behind))
}
