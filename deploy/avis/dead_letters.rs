//! `avis dead-letters`: what was refused, and what is done about it.

use std::{io::Write, sync::Arc};

use connectors::{
    connector::Connector,
    load::{self, Taking},
    registry,
};
use domain::id::RecordId;
use ingest::{
    dead_letter::{LONGEST_PAYLOAD, Open, Outcome, open},
    topic::Topic,
};

use crate::{
    audit,
    cli::{DeadLettersCommand, Which},
    commands::node,
    confirm::confirm,
    failure::Failure,
    node::Node,
    remote::dead_letters as remote,
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
        DeadLettersCommand::List { connector, reason, at } => match &at.server {
            Some(server) => remote::list(server, connector.as_deref(), reason.as_deref()).await,
            None => list(&node(&at.data())?, connector, reason).await,
        },
        DeadLettersCommand::Show { id, at } => {
            if let Some(server) = &at.server {
                return remote::show(server, &id).await;
            }
            let node = node(&at.data())?;
            let which = Which { ids: vec![id], reason: None, connector: None };
            for letter in chosen(&node, &which).await? {
                // What came may be a person's.
                note(&node, "dead-letters.show", letter.id.to_string()).await?;
                show(&node, &letter)?;
            }
            Ok(())
        }
        DeadLettersCommand::Replay { which, at } => {
            if let Some(server) = &at.server {
                return remote::replay(server, &which).await;
            }
            let node = node(&at.data())?;
            let letters = chosen(&node, &which).await?;
            let Replayed { taken, left } = replay(&node, letters).await?;
            note(&node, "dead-letters.replay", format!("{taken} letters")).await?;
            for Left { id, why } in &left {
                println!("{id} stays: {why}");
            }
            node.evaluator().await?.catch_up().await?;
            println!("{taken} replayed, {} left", left.len());
            Ok(())
        }
        DeadLettersCommand::Drop { which, note: why, yes, at } => {
            if let Some(server) = &at.server {
                confirm(yes, "what was refused and is meant here would be listed no more")?;
                return remote::drop(server, &which, &why).await;
            }
            let node = node(&at.data())?;
            let letters = chosen(&node, &which).await?;
            confirm(yes, &format!("{} of them would be listed no more", letters.len()))?;
            drop(&node, &letters, &why).await?;
            let object = format!("{} letters", letters.len());
            note(&node, "dead-letters.drop", object).await?;
            println!("{} dropped", letters.len());
            Ok(())
        }
    }
}

async fn note(node: &Node, action: &'static str, object: String) -> Result<(), Failure> {
    audit::note(node, audit::at_the_machine(action, object)).await
}

async fn list(
    node: &Node,
    connector: Option<String>,
    reason: Option<String>,
) -> Result<(), Failure> {
    let which = Which { ids: Vec::new(), reason, connector };
    let mut out = std::io::stdout().lock();
    for Open { id, letter, .. } in chosen(node, &which).await? {
        writeln!(
            out,
            "{id} {:<8} {:<18} {}:{}  {}",
            letter.connector, letter.reason, letter.origin, letter.line, letter.detail
        )?;
    }
    Ok(())
}

/// What is said of a letter that is not there.
#[must_use]
pub fn missing(id: &str) -> Failure {
    let text = format!("there is no open dead letter {id}; avis dead-letters list shows them");
    Failure::State(text)
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
    let unknown =
        which.ids.iter().find(|id| letters.iter().all(|open| open.id.to_string() != **id));
    if let Some(id) = unknown {
        return Err(missing(id));
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

/// What became of letters that were translated again.
#[derive(Debug, Default)]
pub struct Replayed {
    /// How many are dealt with.
    pub taken: usize,
    /// Those that stay.
    pub left: Vec<Left>,
}

/// A letter that stays.
#[derive(Debug)]
pub struct Left {
    /// Its id.
    pub id: RecordId,
    /// Why.
    pub why: String,
}

/// Translates letters again, connector by connector, in the order in which they came.
///
/// # Errors
/// Where a stream or the vault fails.
pub async fn replay(node: &Node, mut letters: Vec<Open>) -> Result<Replayed, Failure> {
    let sources = Sources::of(node, registry::view(&node.log).await?.registry());
    let mut replayed = Replayed::default();
    letters.retain(|open| {
        let whole = open.is_whole();
        if !whole {
            let why = format!("only {LONGEST_PAYLOAD} bytes of it were kept");
            replayed.left.push(Left { id: open.id, why });
        }
        whole
    });
    letters.sort_by(|one, other| one.letter.connector.cmp(&other.letter.connector));
    for of_one in letters.chunk_by(|one, other| one.letter.connector == other.letter.connector) {
        for some in of_one.chunks(AT_ONCE) {
            let done = &mut replayed;
            match of_one[0].letter.connector.as_str() {
                "terminal" => again(node, sources.transactions(), some, done).await?,
                "issuer" => again(node, sources.means(), some, done).await?,
                "grantor" => again(node, sources.memberships(), some, done).await?,
                "dagr" => again(node, sources.persons(&Arc::default()), some, done).await?,
                "vpvkac" => again(node, sources.centre_events(), some, done).await?,
                "portal" => again(node, sources.portal_events(), some, done).await?,
                other => done.left.extend(some.iter().map(|open| {
                    let why = format!("send it to {other} again");
                    Left { id: open.id, why }
                })),
            }
        }
    }
    Ok(replayed)
}

/// Notes that letters are not wanted.
///
/// # Errors
/// Where the stream cannot be appended to.
pub async fn drop(node: &Node, letters: &[Open], note: &str) -> Result<(), Failure> {
    settle(node, &letters.iter().collect::<Vec<_>>(), Outcome::Dropped, note).await
}

async fn again(
    node: &Node,
    connector: impl Connector,
    letters: &[Open],
    replayed: &mut Replayed,
) -> Result<(), Failure> {
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
                let why = format!("{}: {}", refusal.reason.code(), refusal.detail);
                replayed.left.push(Left { id: open.id, why });
            }
        }
    }
    settle(node, &done, Outcome::Replayed, "").await?;
    replayed.taken += done.len();
    Ok(())
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
