//! What a node does besides answering, for as long as it serves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use authoriser::refresh::Registers;
use ingest::topic::Topic;
use pipelines::{entitlements::Evaluator, error::PipelineError, settlements};
use warehouse::error::WarehouseError;

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
pub async fn settle_first(node: Arc<Node>, landed: Vec<u64>) -> Result<(), Failure> {
    settlement::follow(&node).await?;
    let proof = settlement::prove(&node.log, &node.session()?, &landed).await?;
    node.metrics().vitals.proved(proof.difference_cents(), node.clock.now());
    proof.balanced()
}

/// Follows the stream of settlements into its tables; a closing whose lines are still landing comes the
/// next time.
///
/// # Errors
/// Where a stream or a table cannot be used.
pub async fn settle(node: Arc<Node>) -> Result<(), Failure> {
    let mut grown = node.log.subscribe(Topic::Settlements);
    let mut told = None;
    loop {
        let end = node.log.end(Topic::Settlements, 0)?;
        match settlement::follow(&node).await {
            Err(Failure::Pipeline(error)) if settlements::is_early(&error) => {}
            done => {
                done?;
                if told.replace(end) != Some(end) {
                    settlement::tell(&node).await?;
                }
            }
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
        let (began, ends) = (Instant::now(), settlement::ends(&node.log)?);
        let proof = loop {
            match settlement::prove(&node.log, &node.session()?, &ends).await {
                Err(Failure::Warehouse(WarehouseError::NotLanded { .. })) => {
                    tokio::time::sleep(PROVED_SOON).await;
                }
                done => break done,
            }
        };
        pause = PROVED_EVERY.max(began.elapsed().saturating_mul(PROVED_SPARINGLY));
        match proof {
            Ok(proof) => {
                node.metrics().vitals.proved(proof.difference_cents(), node.clock.now());
                if let Err(error) = proof.balanced() {
                    tracing::error!(%error, "the books do not balance");
                }
            }
            Err(error) => tracing::error!(%error, "the books could not be proved"),
        }
    }
}

/// Asks the summaries again now and then. One that fails is asked the next time: its table stays as
/// it is.
///
/// # Errors
/// Where a stream or a table cannot be used.
pub async fn summarise(node: Arc<Node>) -> Result<(), Failure> {
    let summaries = node.summaries().await?;
    loop {
        for summary in &summaries {
            if let Err(error) = summary.refresh(&node.session()?, node.clock.now()).await {
                tracing::error!(%error, "a summary is not up to date");
            }
        }
        tokio::time::sleep(SUMMARISED_EVERY).await;
    }
}

/// Forgets the keys of whoever is erased by the process that has them.
///
/// # Errors
/// Where its lists cannot be read; and when recipients get other pseudonyms, since what this process tells
/// from then on would be under those of before.
pub async fn forget(node: Arc<Node>) -> Result<(), Failure> {
    let rotations = Rotations::read(&node.keys)?.count();
    loop {
        tokio::time::sleep(FORGOTTEN_EVERY).await;
        person::forget_keys(&node.keys, &node.vault)?;
        if Rotations::read(&node.keys)?.count() != rotations {
            let text = "recipients have other pseudonyms now: every role starts again";
            return Err(Failure::Usage(text.into()));
        }
    }
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
