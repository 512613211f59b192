//! `avis person`: what is held of somebody, and that it is forgotten.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use domain::{id::RecipientId, person_code::PersonCode};
use ingest::{
    audit::Deed,
    log::replay,
    record::{Record, outside_id},
    register::people::People,
    topic::Topic,
    vault::{Purpose, Vault},
    wire::v1::{Event, MeansChanged, PersonChanged},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use warehouse::{export::Format, person};

use crate::{
    audit,
    cli::PersonCommand,
    commands::{land, node},
    failure::Failure,
    node::Node,
};

/// Whom a node has forgotten; kept apart from keys and streams, so that whoever brings those back from a
/// backup forgets again.
const ERASURES: &str = "erasures.ndjson";

/// `avis person`.
///
/// # Errors
/// Where the person is not known, or a stream or a table cannot be used.
pub async fn run(command: PersonCommand) -> Result<(), Failure> {
    match command {
        PersonCommand::Export { person, data } => {
            let node = node(&data)?;
            land(&node).await?;
            let id = find(&node, &person)?;
            let told = export(&node, id).await?;
            audit::note(&node, deed("person.export", id)).await?;
            let text = serde_json::to_string_pretty(&told).map_err(std::io::Error::from)?;
            Ok(writeln!(std::io::stdout().lock(), "{text}")?)
        }
        PersonCommand::Erase { person, yes, data } => {
            let node = node(&data)?;
            let id = find(&node, &person)?;
            if !yes {
                let text = "this cannot be undone: nobody can read the person's data afterwards; \
                            say --yes";
                return Err(Failure::Usage(text.into()));
            }
            let means = erase(&node, id).await?;
            audit::note(&node, deed("person.erase", id)).await?;
            println!("erased; {means} means blocked; sums stay, and nobody stands behind them");
            Ok(())
        }
    }
}

fn deed(action: &'static str, id: RecipientId) -> Deed {
    // The internal id: drawn, and of nobody once the person is erased.
    audit::at_the_machine(action, id.to_string())
}

fn find(node: &Node, code: &str) -> Result<RecipientId, Failure> {
    let shape = "this is no personal code: six digits, a hyphen, five digits";
    let wrong = |_| Failure::Usage(shape.into());
    let code = PersonCode::parse(code).map_err(wrong)?;
    let found = node.vault.find(&code)?;
    found.ok_or_else(|| Failure::Usage("the register has not told of this person".into()))
}

/// Everything that is held of a person.
async fn export(node: &Node, id: RecipientId) -> Result<Value, Failure> {
    let mut people = People::default();
    replay(&node.log, Topic::PersonChanges, |stored| {
        people.apply(&node.vault, &stored)?;
        Ok::<(), Failure>(())
    })
    .await?;
    let attributes = people.get(id).and_then(|person| person.attributes.as_ref());
    let mut told = Map::new();
    told.insert("attributes".into(), json!(attributes.map(|known| known.expose().clone())));
    let recipient = node.vault.pseudonym(Purpose::Recipient, id.as_u128()).to_string();
    for (name, rows) in person::export(&node.session()?, &recipient).await? {
        let text = rows.bytes(Format::Json)?;
        let rows: Value = serde_json::from_slice(&text).map_err(std::io::Error::from)?;
        told.insert(name.into(), rows);
    }
    Ok(Value::Object(told))
}

#[derive(Debug, Serialize, Deserialize)]
struct Erasure {
    person: String,
    at: DateTime<Utc>,
}

/// Forgets a person: the key goes, and with it whatever was sealed under it, in streams and backups
/// alike; the register and the means are told. Each step may be done again.
async fn erase(node: &Node, id: RecipientId) -> Result<usize, Failure> {
    let now = node.clock.now();
    let erasure = Erasure { person: id.to_string(), at: now };
    append(&node.folder.join(ERASURES), &erasure)?;
    node.vault.destroy(id)?;
    let mut newest = 0;
    let mut means: Vec<MeansChanged> = Vec::new();
    replay(&node.log, Topic::PersonChanges, |stored| {
        if let Event::PersonChanged(change) = &stored.record.event
            && change.person == erasure.person
        {
            newest = newest.max(change.person_sequence);
        }
        Ok::<(), Failure>(())
    })
    .await?;
    replay(&node.log, Topic::MeansChanges, |stored| {
        if let Event::MeansChanged(change) = stored.record.event
            && change.person.as_deref() == Some(&erasure.person)
        {
            means.retain(|known| known.token != change.token);
            means.push(change);
        }
        Ok::<(), Failure>(())
    })
    .await?;
    let record = |id: &str, key: &str, event| Record {
        id: outside_id("erasure", id),
        key: key.to_owned(),
        source: "erasure".into(),
        sequence: 0,
        event_time: now,
        recorded_at: now,
        event,
    };
    let gone = PersonChanged {
        person: erasure.person.clone(),
        person_sequence: newest + 1,
        sealed: Vec::new(),
        removed: true,
    };
    let gone = record(&erasure.person, &erasure.person, Event::PersonChanged(gone));
    node.log.append(Topic::PersonChanges, &[gone]).await?;
    means.retain(|known| !known.blocked);
    let blocked: Vec<_> = means
        .iter()
        .map(|known| {
            let blocked = MeansChanged { blocked: true, ..known.clone() };
            record(&known.token, &known.token, Event::MeansChanged(blocked))
        })
        .collect();
    if !blocked.is_empty() {
        node.log.append(Topic::MeansChanges, &blocked).await?;
    }
    node.evaluator().await?.catch_up().await?;
    Ok(blocked.len())
}

fn append(path: &Path, erasure: &Erasure) -> Result<(), Failure> {
    let failed = |source| Failure::Folder { path: path.to_path_buf(), source };
    let mut line = serde_json::to_vec(erasure).map_err(std::io::Error::from).map_err(failed)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
    file.write_all(&line).and_then(|()| file.sync_all()).map_err(failed)
}

/// Destroys the keys of whoever was erased, again: a restored backup may have brought them back.
///
/// # Errors
/// Where the list or the vault cannot be used.
pub fn forget_again(folder: &Path, vault: &Vault) -> Result<(), Failure> {
    let path: PathBuf = folder.join(ERASURES);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Failure::Read { path, source }),
    };
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|source| Failure::Read { path: path.clone(), source })?;
        // A line that was cut off has no key destroyed behind it yet: the command is given again.
        let Ok(erasure) = serde_json::from_str::<Erasure>(&line) else { continue };
        if let Some(id) = RecipientId::parse(&erasure.person) {
            vault.destroy(id)?;
        }
    }
    Ok(())
}
