//! `avis dead-letters` of a running node, which tells nobody what came.

use std::{collections::BTreeMap, io::Write};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cli::Which,
    client::Client,
    dead_letters::missing,
    failure::Failure,
    pull::dead_letters::{DeadLetterTold, DealtWith},
};

/// How many a node deals with at once.
const AT_ONCE: usize = 1_000;

async fn letters(
    client: &Client,
    connector: Option<&str>,
    reason: Option<&str>,
) -> Result<Vec<DeadLetterTold>, Failure> {
    let named = [("connector", connector), ("reason", reason)];
    let query = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query: Vec<_> = query.collect();
    client.pages(&["dead-letters"], &query, "letters").await
}

/// Lists what was refused and not dealt with.
///
/// # Errors
/// Where the node refuses, or nobody reads.
pub async fn list(
    server: &str,
    connector: Option<&str>,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let found = letters(&Client::of(server)?, connector, reason).await?;
    let mut out = std::io::stdout().lock();
    for DeadLetterTold { id, connector, reason, detail, origin, line, .. } in found {
        writeln!(out, "{id} {connector:<8} {reason:<18} {origin}:{line}  {detail}")?;
    }
    Ok(())
}

/// Shows one, without what came.
///
/// # Errors
/// Where the node refuses, or has no such letter.
pub async fn show(server: &str, id: &str) -> Result<(), Failure> {
    let all = letters(&Client::of(server)?, None, None).await?;
    let letter = all.into_iter().find(|of| of.id == id).ok_or_else(|| missing(id))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "id        {}", letter.id)?;
    writeln!(out, "refused   {}", letter.refused_at)?;
    writeln!(out, "connector {}", letter.connector)?;
    writeln!(out, "origin    {}:{}", letter.origin, letter.line)?;
    writeln!(out, "reason    {}", letter.reason)?;
    writeln!(out, "detail    {}", letter.detail)?;
    let bytes = letter.payload_bytes;
    Ok(writeln!(out, "payload   {bytes} bytes, which a running node does not tell")?)
}

/// Has some translated again.
///
/// # Errors
/// Where the node refuses, or has not all of them.
pub async fn replay(server: &str, which: &Which) -> Result<(), Failure> {
    let (done, left) = deal(&Client::of(server)?, "dead-letters:replay", which, None).await?;
    for (id, why) in &left {
        println!("{id} stays: {why}");
    }
    println!("{done} replayed, {} left", left.len());
    Ok(())
}

/// Says that some are not wanted.
///
/// # Errors
/// Where the node refuses, or has not all of them.
pub async fn drop(server: &str, which: &Which, note: &str) -> Result<(), Failure> {
    let (done, _) = deal(&Client::of(server)?, "dead-letters:drop", which, Some(note)).await?;
    println!("{done} dropped");
    Ok(())
}

/// Deals with those that are meant, as many at once as a node does; answers how many are done, and
/// those that stay with why.
async fn deal(
    client: &Client,
    route: &str,
    which: &Which,
    note: Option<&str>,
) -> Result<(usize, BTreeMap<String, String>), Failure> {
    let (mut done, mut left) = (0, BTreeMap::new());
    let mut chunks = which.ids.chunks(AT_ONCE);
    let mut ids = chunks.next().unwrap_or_default();
    loop {
        let chosen = json!({"ids": ids, "connector": which.connector, "reason": which.reason,
            "note": note});
        let told = ask(client, route, &chosen).await?;
        done += told.done;
        left.extend(told.left.into_iter().map(|of| (of.id, of.why)));
        ids = match chunks.next() {
            Some(next) => next,
            // What stays is asked about first the next time: where all stay, that is the end.
            None if told.more && told.done > 0 => ids,
            None => break,
        };
    }
    Ok((done, left))
}

async fn ask(client: &Client, route: &str, chosen: &Value) -> Result<DealtWith, Failure> {
    client.told(client.request(Method::POST, &[route], &[]).json(chosen)).await
}
