//! `avis verify`: streams, tables, index, cache, statements, payment orders, trail and keys against each
//! other.
//!
//! **Invariant:** what there has to be is worked out here from the streams' records, by nothing that makes
//! the tables or the index; and nothing is changed by looking. What lies in Redis is compared with the index
//! that was so compared.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use authoriser::cache::redis::RedisSettings;
use domain::{id::RecipientId, period::LocalTime};
use ingest::{log::replay, topic::Topic, wire::v1::Event};
use warehouse::{session::Session, settlement::kept};

use crate::{
    audit,
    cli::{Data, VerifyArguments},
    commands::node,
    config::{Cache, Config},
    failure::Failure,
    node::Node,
    person,
    progress::Progress,
    remote,
};
use cache::Cached;
use calls::Calls;
pub use findings::Findings;
use findings::NOTHING;
use index::Side;
use minutes::Minutes;
use statements::Statements;
use tables::Tables;
pub use tables::positions;

mod bank;
mod cache;
mod calls;
mod expect;
mod findings;
mod index;
mod minutes;
mod name;
mod registry;
mod row;
mod statements;
mod tables;

/// `avis verify`.
///
/// # Errors
/// Where something cannot be read, or anything drifts.
pub async fn run(arguments: VerifyArguments) -> Result<(), Failure> {
    let findings = match &arguments.at.server {
        Some(server) => remote::verify::all(server).await?,
        None => at_rest(&arguments.at.data(), arguments.json).await?,
    };
    findings.tell(arguments.json)?;
    match findings.count() {
        0 => Ok(()),
        drifts => Err(Failure::Drift { drifts }),
    }
}

async fn at_rest(data: &Data, json: bool) -> Result<Findings, Failure> {
    let node = node(data)?;
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    let redis = match config.authoriser.cache {
        Cache::Embedded => None,
        Cache::Redis | Cache::RedisCluster => Some(config.redis()?),
    };
    Box::pin(all(&node, Of::Stopped(redis), &Progress::new(json))).await
}

/// Of what kind of node everything is compared.
#[derive(Debug)]
pub enum Of {
    /// Of one that nobody has open: all of it, and where it keeps its counters in Redis what lies
    /// there, too.
    Stopped(Option<RedisSettings>),
    /// Of this process's own, while it serves. The index and what lies in Redis move with every
    /// decision, so that no offset is theirs; and a month may be closed in between.
    Running,
}

/// Compares everything.
///
/// # Errors
/// Where something cannot be read, or Redis cannot be reached.
pub async fn all(node: &Node, of: Of, progress: &Progress) -> Result<Findings, Failure> {
    let (started, mut findings) = (Instant::now(), Findings::default());
    // Of each table one version from here on, whatever pipelines land meanwhile.
    let session = node.landed().await?;
    let today = LocalTime::of(node.clock.now()).date;
    let today = (today - chrono::NaiveDate::default()).num_days();
    let keeps = |table: &str| {
        let days = node.keeps_days(table)?;
        // One day more than is kept: it may go while we look.
        Some(today - i64::from(days) + 1)
    };
    let mut statements = Statements::open(&node.log).await?;
    for (topic, names) in expect::TABLES {
        let bar = progress.bar(topic.name());
        let partitions = node.log.partitions(*topic);
        let mut tables = Tables::open(&session, (*topic, names), partitions, keeps).await?;
        if *topic == Topic::Authorisations {
            let minutes = Minutes::open(&session, partitions, keeps(minutes::NAME)).await?;
            let both = (&mut tables, &mut statements);
            authorisations(node, &session, both, minutes, &of, &bar, &mut findings).await?;
        } else {
            let calls = match topic {
                Topic::ServiceEvents => {
                    Calls::open(&session, partitions, keeps(calls::NAME)).await?
                }
                _ => None,
            };
            others(node, &session, *topic, (&mut tables, calls), &bar, &mut findings).await?;
        }
        tables.compare(&node.log, &session, &bar, &mut findings).await?;
        bar.finish_and_clear();
    }
    finance(node, &session, &statements, &mut findings).await?;
    trail(node, &mut findings).await?;
    keys(node, &mut findings).await?;
    findings.seconds = started.elapsed().as_secs_f64();
    Ok(findings)
}

/// One reading of another stream; a second one where calls drift.
async fn others(
    node: &Node,
    session: &Session,
    topic: Topic,
    (tables, mut calls): (&mut Tables, Option<Calls>),
    bar: &indicatif::ProgressBar,
    findings: &mut Findings,
) -> Result<(), Failure> {
    replay(&node.log, topic, |stored| {
        bar.inc(1);
        findings.records += 1;
        tables.take(&stored);
        if let Some(calls) = &mut calls {
            calls.take(&stored);
        }
        Ok::<(), Failure>(())
    })
    .await?;
    let Some(mut calls) = calls else { return Ok(()) };
    let differing = calls.differing(session, findings).await?;
    if differing.is_empty() {
        return Ok(());
    }
    calls.again(differing);
    replay(&node.log, topic, |stored| {
        calls.take(&stored);
        Ok::<(), Failure>(())
    })
    .await?;
    calls.name(session, findings).await
}

/// One reading of `authorisations` for all that follow from it, and a second one where something drifts.
async fn authorisations(
    node: &Node,
    session: &Session,
    (tables, statements): (&mut Tables, &mut Statements),
    mut minutes: Minutes,
    of: &Of,
    bar: &indicatif::ProgressBar,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let topic = Topic::Authorisations;
    let (mut index, mut cached) = beside(node, of, findings)?;
    replay(&node.log, topic, |stored| {
        bar.inc(1);
        findings.records += 1;
        tables.take(&stored);
        minutes.take(&stored);
        statements.take(&stored);
        if let Some(index) = &mut index {
            index.take(&stored);
        }
        if let Some(cached) = &mut cached {
            cached.take(&stored);
        }
        Ok::<(), Failure>(())
    })
    .await?;
    if let Some(cached) = cached {
        cached.compare(node.metrics().authoriser.clone(), findings).await?;
    }
    let differing = minutes.differing(session, findings).await?;
    let mut drifts = match &mut index {
        Some(index) => index.compare(findings)?,
        None => false,
    };
    drifts |= !differing.is_empty();
    if !drifts {
        return Ok(());
    }
    minutes.again(differing);
    replay(&node.log, topic, |stored| {
        bar.inc(1);
        minutes.take(&stored);
        if let Some(index) = &mut index {
            index.take(&stored);
        }
        Ok::<(), Failure>(())
    })
    .await?;
    minutes.name(session, findings).await?;
    match index {
        Some(index) => index.name(findings),
        None => Ok(()),
    }
}

/// What decisions are made by, where it can be compared: the index, and what lies in Redis.
fn beside(
    node: &Node,
    of: &Of,
    findings: &mut Findings,
) -> Result<(Option<Side>, Option<Cached>), Failure> {
    let Of::Stopped(redis) = of else {
        let text = "the index and counters in Redis are not compared: they move while a node runs; \
                    compare them in a stopped node's folder";
        findings.notes.push(text.into());
        return Ok((None, None));
    };
    let index = Side::open(node, findings)?;
    let cached = redis.clone().and_then(|redis| cached(redis, index.as_ref(), findings));
    Ok((index, cached))
}

/// What lies in Redis, to be compared with the index; none where there is none.
fn cached(redis: RedisSettings, index: Option<&Side>, findings: &mut Findings) -> Option<Cached> {
    if index.is_none() {
        findings.notes.push("counters in Redis are not compared without the index".into());
    }
    Some(Cached::over(redis, index?.index()))
}

/// Statements, and what is made of them.
async fn finance(
    node: &Node,
    session: &Session,
    statements: &Statements,
    findings: &mut Findings,
) -> Result<(), Failure> {
    for partition in 0..node.log.partitions(Topic::Authorisations) {
        if node.log.start(Topic::Authorisations, partition)? > 0 {
            let text = "statements are not compared: the stream does not reach back to its begin";
            findings.notes.push(text.into());
            return Ok(());
        }
    }
    let made = statements.compare(session, findings).await?;
    let folder = node.folder.join("settlements");
    // A node that was killed has closings that are on the stream alone, and one that serves new ones.
    let closings = statements.landed(session).await?;
    let waiting = statements.closings().len() - closings.len();
    if waiting > 0 {
        let text = format!("{}: {waiting} closings have not landed yet", kept::STATEMENTS);
        findings.notes.push(text);
    }
    bank::compare(session, closings, &made, &folder, findings).await
}

/// The audit trail against the checkpoints that lie beside it.
async fn trail(node: &Node, findings: &mut Findings) -> Result<(), Failure> {
    let path = node.keys.join(audit::CHECKPOINTS);
    let kept = if path.is_file() { audit::read(&path)? } else { Vec::new() };
    let key = ingest::audit::public_key(&node.vault);
    let found = ingest::audit::verify(&node.log, &key, &kept).await?;
    findings.compared("audit trail", found.records, found.records);
    for fault in found.faults {
        findings.drift("audit trail", "a checkpoint".into(), "the trail as it was", fault);
    }
    Ok(())
}

/// Whether there is a key of everybody whose data the register told, but for those who were erased.
async fn keys(node: &Node, findings: &mut Findings) -> Result<(), Failure> {
    let erased = person::erased(&node.keys)?;
    let (mut missing, mut sealed, mut opened) = (BTreeSet::new(), 0, 0);
    let vault = &node.vault;
    replay(&Arc::clone(&node.log), Topic::PersonChanges, |stored| {
        let Event::PersonChanged(change) = &stored.record.event else { return Ok(()) };
        let Some(person) = RecipientId::parse(&change.person).filter(|_| !change.removed) else {
            return Ok(());
        };
        if !erased.contains(&person) {
            sealed += 1;
            match vault.is_erased(person) {
                true => {
                    missing.insert(person);
                }
                false => opened += 1,
            }
        }
        Ok::<(), Failure>(())
    })
    .await?;
    // Whoever was erased while we looked has no key any more.
    let erased = person::erased(&node.keys)?;
    missing.retain(|person| !erased.contains(person));
    findings.compared("keys", sealed, opened);
    for person in missing {
        findings.drift("keys", format!("the person {person}"), "a key", NOTHING);
    }
    Ok(())
}

/// A hash of a row, of which sums are compared.
fn hash(bytes: &[u8]) -> u128 {
    let hash = blake3::hash(bytes);
    u128::from_le_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 16]))
}
