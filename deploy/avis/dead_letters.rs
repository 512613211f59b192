//! `avis dead-letters`: what was refused, and what is done about it.

use std::{io::Write, sync::Arc};

use connectors::{
    connector::Connector,
    load::{self, Taking},
    registry,
};
use ingest::{
    dead_letter::{LONGEST_PAYLOAD, Open, Outcome, open},
    topic::Topic,
};

use crate::{
    cli::{DeadLettersCommand, Which},
    commands::node,
    failure::Failure,
    node::Node,
    sources::Sources,
};

/// Letters that are replayed at once: their payloads are kept in memory meanwhile.
const AT_ONCE: usize = 512;

/// Runs it.
///
/// # Errors
/// Where a stream fails, or a letter is not there.
pub async fn run(command: DeadLettersCommand) -> Result<(), Failure> {
    match command {
        DeadLettersCommand::List { connector, reason, data } => {
            let node = node(&data)?;
            let which = Which { ids: Vec::new(), reason, connector };
            let mut out = std::io::stdout().lock();
            for Open { id, letter, .. } in chosen(&node, &which).await? {
                writeln!(
                    out,
                    "{id} {:<8} {:<18} {}:{}  {}",
                    letter.connector, letter.reason, letter.origin, letter.line, letter.detail
                )?;
            }
            Ok(())
        }
        DeadLettersCommand::Show { id, data } => {
            let node = node(&data)?;
            let which = Which { ids: vec![id], reason: None, connector: None };
            for letter in chosen(&node, &which).await? {
                show(&node, &letter)?;
            }
            Ok(())
        }
        DeadLettersCommand::Replay { which, data } => {
            let node = node(&data)?;
            let letters = chosen(&node, &which).await?;
            replay(&node, letters).await
        }
        DeadLettersCommand::Drop { which, note, data } => {
            let node = node(&data)?;
            let letters = chosen(&node, &which).await?;
            settle(&node, &letters.iter().collect::<Vec<_>>(), Outcome::Dropped, &note).await?;
            println!("{} dropped", letters.len());
            Ok(())
        }
    }
}

/// The open letters that are meant; every id must be one of them.
async fn chosen(node: &Node, which: &Which) -> Result<Vec<Open>, Failure> {
    let of =
        |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    let mut letters = open(&node.log).await?;
    letters.retain(|open| {
        of(&which.reason, &open.letter.reason) && of(&which.connector, &open.letter.connector)
    });
    if which.ids.is_empty() {
        return Ok(letters);
    }
    let missing =
        which.ids.iter().find(|id| letters.iter().all(|open| open.id.to_string() != **id));
    if let Some(id) = missing {
        let text = format!("there is no open dead letter {id}; avis dead-letters list shows them");
        return Err(Failure::Usage(text));
    }
    letters.retain(|open| which.ids.contains(&open.id.to_string()));
    Ok(letters)
}

fn show(node: &Node, open: &Open) -> Result<(), Failure> {
    let letter = &open.letter;
    let mut out = std::io::stdout().lock();
    writeln!(out, "id        {}", open.id)?;
    writeln!(out, "refused   {}", open.recorded_at.format("%FT%T%.3fZ"))?;
    writeln!(
        out,
        "stream    {} {}/{}",
        Topic::DeadLetters,
        open.position.partition,
        open.position.offset
    )?;
    writeln!(out, "connector {}", letter.connector)?;
    writeln!(out, "origin    {}:{}", letter.origin, letter.line)?;
    writeln!(out, "reason    {}", letter.reason)?;
    writeln!(out, "detail    {}", letter.detail)?;
    let payload = open.payload(&node.vault)?;
    let cut = if open.is_whole() { "" } else { ", cut" };
    writeln!(out, "payload   {} bytes{cut}:", letter.payload_bytes)?;
    out.write_all(&payload)?;
    Ok(writeln!(out)?)
}

/// Translates letters again, connector by connector, in the order in which they came.
async fn replay(node: &Node, mut letters: Vec<Open>) -> Result<(), Failure> {
    let sources = Sources::of(node, registry::view(&node.log).await?.registry());
    let (mut taken, mut left) = (0, 0);
    letters.retain(|open| {
        let whole = open.is_whole();
        if !whole {
            left += 1;
            println!("{} stays: only {LONGEST_PAYLOAD} bytes of it were kept", open.id);
        }
        whole
    });
    letters.sort_by(|one, other| one.letter.connector.cmp(&other.letter.connector));
    for of_one in letters.chunk_by(|one, other| one.letter.connector == other.letter.connector) {
        for some in of_one.chunks(AT_ONCE) {
            let (done, refused) = match of_one[0].letter.connector.as_str() {
                "terminal" => again(node, sources.transactions(), some).await?,
                "issuer" => again(node, sources.means(), some).await?,
                "grantor" => again(node, sources.memberships(), some).await?,
                "dagr" => again(node, sources.persons(&Arc::default()), some).await?,
                "vpvkac" => again(node, sources.centre_events(), some).await?,
                "portal" => again(node, sources.portal_events(), some).await?,
                other => {
                    println!("{} letters of {other} stay: send them to it again", some.len());
                    (0, some.len())
                }
            };
            (taken, left) = (taken + done, left + refused);
        }
    }
    node.evaluator().await?.catch_up().await?;
    println!("{taken} replayed, {left} left");
    Ok(())
}

/// How many were taken, and how many stay.
async fn again(
    node: &Node,
    connector: impl Connector,
    letters: &[Open],
) -> Result<(usize, usize), Failure> {
    let payloads = letters.iter().map(|open| open.payload(&node.vault));
    let payloads: Vec<Vec<u8>> = payloads.collect::<Result<_, _>>()?;
    let messages: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let answers = load::replay(&node.loading, connector, &messages).await?;
    let mut done = Vec::new();
    for (open, answer) in letters.iter().zip(answers) {
        match answer {
            // Appended before this is told: told twice is harmless, lost is not.
            Taking::Taken | Taking::AlreadyThere => done.push(open),
            Taking::Refused(refusal) => {
                println!("{} stays: {}: {}", open.id, refusal.reason.code(), refusal.detail);
            }
        }
    }
    settle(node, &done, Outcome::Replayed, "").await?;
    Ok((done.len(), letters.len() - done.len()))
}

async fn settle(
    node: &Node,
    letters: &[&Open],
    outcome: Outcome,
    note: &str,
) -> Result<(), Failure> {
    let now = node.clock.now();
    let records: Vec<_> = letters.iter().map(|open| open.settled(outcome, note, now)).collect();
    if !records.is_empty() {
        node.log.append(Topic::DeadLetters, &records).await?;
    }
    Ok(())
}
