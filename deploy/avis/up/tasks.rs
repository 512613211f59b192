//! What a node does besides answering, for as long as it serves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use authoriser::{
    authorise::Parts,
    overspent::{AGAIN, Overspending},
    refresh::Registers,
};
use connectors::source;
use ingest::{topic::Topic, vault::VaultError};
use pipelines::{entitlements::Evaluator, error::PipelineError, settlements};
use tokio::{sync::watch, task::spawn_blocking};

use crate::{failure::Failure, node::Node, person, rotation::Rotations, settlement};

/// How long nothing may come before new people and rules are looked for anyway.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often a closing that came too early is looked at again.
const SETTLED_EVERY: Duration = Duration::from_secs(5);
/// How often summaries are asked again: they read whole tables.
const SUMMARISED_EVERY: Duration = Duration::from_secs(300);
/// How often the books are proved again, and how much longer than that took is waited at least: the
/// proof reads the whole stream.
pub const PROVED_EVERY: Duration = Duration::from_secs(3_600);
const PROVED_SPARINGLY: u32 = 50;
/// How long a proof waits for rows that are not in the tables yet.
const PROVED_SOON: Duration = Duration::from_secs(5);
/// How often somebody who has another process's keys looks who was erased.
const FORGOTTEN_EVERY: Duration = Duration::from_secs(5);
/// How long storage of tables that does not answer is left alone.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

/// Does something over the tables; where their storage is another's and does not answer, again and
/// again, until it does or the process is told to stop.
///
/// # Errors
/// Where it fails of anything else.
pub async fn patiently<T, F>(
    node: &Node,
    stop: &watch::Receiver<bool>,
    each: impl Fn() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    loop {
        match Box::pin(each()).await {
            Err(error) if is_outage(node, &error) && !*stop.borrow() => tell_outage(&error),
            done => return done,
        }
        tokio::time::sleep(ASKED_AGAIN).await;
    }
}

/// Whether tables that are not in a folder could not be used, and may be later.
fn is_outage(node: &Node, failure: &Failure) -> bool {
    let is_outage = match failure {
        Failure::Pipeline(error) => error.is_outage(),
        Failure::Warehouse(error) => error.is_outage(),
        _ => false,
    };
    is_outage && node.warehouse().scheme() != "file"
}

fn tell_outage(error: &Failure) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(error, "the storage of the tables does not answer; it is asked again");
}

/// Evaluates groups again whenever people or rules change.
///
/// # Errors
/// Where a stream or a table cannot be used.
pub async fn evaluate(mut evaluator: Evaluator, node: Arc<Node>) -> Result<(), Failure> {
    let mut people = node.log.subscribe(Topic::PersonChanges);
    let mut lists = node.log.subscribe(Topic::Memberships);
    loop {
        let told = match evaluator.catch_up().await {
            Ok(_) => evaluator.renew().await,
            failed => failed,
        };
        match told {
            // It goes on when the disk has room again.
            Err(PipelineError::Log(error)) if error.nothing_written() => {
                tracing::error!(%error, "memberships are not evaluated");
            }
            done => {
                done?;
            }
        }
        // Whether people changed or not, they are looked at again.
        tokio::select! {
            _ = people.changed() => {}
            _ = lists.changed() => {}
            () = tokio::time::sleep(LONGEST_PAUSE) => {}
        }
    }
}

/// Brings the tables of settlements up to the stream, and proves the books, of what has landed.
///
/// # Errors
/// Where a stream or a table cannot be used, or the books do not balance.
pub async fn settle_first(
    node: Arc<Node>,
    landed: Vec<u64>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let proved = patiently(&node, &stop, || settlement::prove_first(&node, &landed));
    let proof = proved.await?;
    node.metrics().vitals.proved(&proof, node.clock.now());
    proof.balanced()
}

/// Follows the stream of settlements into its tables; a closing whose lines are still landing comes the
/// next time.
///
/// # Errors
/// Where a stream or a table cannot be used.
pub async fn settle(node: Arc<Node>) -> Result<(), Failure> {
    let mut grown = node.log.subscribe(Topic::Settlements);
    let mut told: Option<u64> = None;
    loop {
        let end = node.log.end(Topic::Settlements, 0)?;
        let done = match settlement::follow(&node).await {
            Ok(()) if told != Some(end) => settlement::tell(&node).await,
            done => done,
        };
        match done {
            Ok(()) => told = Some(end),
            Err(Failure::Pipeline(error)) if settlements::is_early(&error) => {}
            Err(error) if is_outage(&node, &error) => tell_outage(&error),
            Err(error) => return Err(error),
        }
        let _ = tokio::time::timeout(SETTLED_EVERY, grown.changed()).await;
    }
}

/// Proves the books again now and then, while the node serves. A cent that differs is told and not
/// guessed away: the node goes on, since what it decides does not depend on statements.
///
/// # Errors
/// Where a stream or a table cannot be used.
pub async fn prove(node: Arc<Node>, first: Duration) -> Result<(), Failure> {
    let mut pause = first;
    loop {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        let proof = loop {
            match settlement::prove_now(&node).await {
                Err(error) if settlement::is_landing(&error) => {
                    tokio::time::sleep(PROVED_SOON).await;
                }
                done => break done,
            }
        };
        pause = PROVED_EVERY.max(began.elapsed().saturating_mul(PROVED_SPARINGLY));
        match proof {
            Ok(proof) => {
                node.metrics().vitals.proved(&proof, node.clock.now());
                if let Err(error) = proof.balanced() {
                    tracing::error!(%error, "the books do not balance");
                }
            }
            Err(error) => tracing::error!(%error, "the books could not be proved"),
        }
    }
}

/// Adds up the stream against limits, from the start on and as often as the books are proved. One that
/// is exceeded is told, and the node goes on: no decision takes from it what is not there.
///
/// # Errors
/// Never: what cannot be read is tried again.
pub async fn hold_to_limits(parts: Parts) -> Result<(), Failure> {
    let mut limits = Overspending::over(Arc::clone(&parts.index), Arc::clone(&parts.log));
    loop {
        let began = Instant::now();
        match limits.look(AGAIN).await {
            Ok(exceeded) => parts.metrics.overspent(exceeded, parts.clock.now()),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "what is used of limits could not be added up");
            }
        }
        let took = began.elapsed();
        tokio::time::sleep(PROVED_EVERY.max(took.saturating_mul(PROVED_SPARINGLY))).await;
    }
}

/// Asks the summaries again now and then. One that fails is asked the next time: its table stays as
/// it is.
///
/// # Errors
/// Where a stream or a table cannot be used.
pub async fn summarise(node: Arc<Node>, stop: watch::Receiver<bool>) -> Result<(), Failure> {
    let summaries = patiently(&node, &stop, || node.summaries()).await?;
    loop {
        for summary in &summaries {
            if let Err(error) = summary.refresh(|| node.session(), node.clock.now()).await {
                tracing::error!(%error, "a summary is not up to date");
            }
        }
        tokio::time::sleep(SUMMARISED_EVERY).await;
    }
}

/// Forgets the keys of whoever is erased by the process that has them. Where its disk cannot be read
/// this one goes on: the keys are in memory.
///
/// # Errors
/// When other keys are in the place of those that this process has; and when recipients get other
/// pseudonyms, since what it tells from then on would be under those of before.
pub async fn forget(node: Arc<Node>) -> Result<(), Failure> {
    loop {
        tokio::time::sleep(FORGOTTEN_EVERY).await;
        // A disk that others have may take long to answer.
        let looks = Arc::clone(&node);
        match spawn_blocking(move || rotations(&looks)).await? {
            Ok(times) if times == node.rotations() => {}
            Ok(_) => {
                let text = "recipients have other pseudonyms now: every role starts again";
                return Err(Failure::State(text.into()));
            }
            Err(error @ Failure::Vault(VaultError::Replaced)) => return Err(error),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "who was erased cannot be read; it is tried again");
            }
        }
    }
}

/// Forgets who is erased by now, and answers how often pseudonyms have rotated.
fn rotations(node: &Node) -> Result<u32, Failure> {
    person::forget_keys(&node.keys, &node.vault)?;
    // Where the folder is away, this says so, and no file of rotations says nothing.
    node.vault.refresh()?;
    Ok(Rotations::read(&node.keys)?.count())
}

/// Tells which changes of people have not come, as the stream has it.
///
/// # Errors
/// Never: what cannot be read is tried again.
pub async fn watch_gaps(node: Arc<Node>) -> Result<(), Failure> {
    source::watch_gaps(&node.loading, &node.known).await;
    Ok(())
}

/// Keeps means and memberships as new as the streams, where nobody decides here.
///
/// # Errors
/// Where a stream cannot be read.
pub async fn follow_people(mut registers: Registers, node: &Node) -> Result<(), Failure> {
    let mut means = node.log.subscribe(Topic::MeansChanges);
    loop {
        registers.refresh(&node.log).await?;
        let _ = tokio::time::timeout(LONGEST_PAUSE, means.changed()).await;
    }
}
