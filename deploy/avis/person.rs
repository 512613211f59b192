//! `avis person`: what is held of somebody, and that it is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    iter::repeat,
    path::Path,
};

use chrono::{DateTime, SecondsFormat, Utc};
use connectors::{portal::panels::PanelBook, registry::listed};
use domain::{id::RecipientId, period::LocalTime, person_code::PersonCode};
use ingest::{
    audit::Deed,
    log::replay,
    record::{Record, outside_id},
    register::{memberships::Memberships, people::People},
    topic::Topic,
    vault::{Purpose, Vault},
    wire::v1::{Event, MeansChanged, MembershipChanged, PersonChanged},
};
use pipelines::entitlements::APPENDED_AT_ONCE;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use warehouse::{export::Format, person};

use crate::{
    audit,
    cli::PersonCommand,
    commands::{land_alone, node},
    confirm::confirm,
    failure::Failure,
    node::Node,
    notes, remote, rotation,
};

/// Whom a node has forgotten; kept apart from keys and streams, so that whoever brings those back from a
/// backup forgets again.
pub const ERASURES: &str = "erasures.ndjson";

/// `avis person`.
///
/// # Errors
/// Where the person is not known, or a stream or a table cannot be used.
pub async fn run(command: PersonCommand) -> Result<(), Failure> {
    match command {
        PersonCommand::Export { person, at } => {
            if let Some(server) = &at.server {
                return print(&remote::person::export(server, &person).await?);
            }
            let data = at.data();
            let node = node(&data)?;
            land_alone(&node, &data).await?;
            let id = find(&node, &person)?;
            let told = export(&node, id).await?;
            audit::note(&node, deed("person.export", id)).await?;
            print(&told)
        }
        PersonCommand::Erase { person, yes, at } => {
            let what = "this cannot be undone: nobody can read the person's data afterwards";
            let means = match &at.server {
                Some(server) => {
                    confirm(yes, what)?;
                    remote::person::erase(server, &person).await?
                }
                None => {
                    let node = node(&at.data())?;
                    let id = find(&node, &person)?;
                    confirm(yes, what)?;
                    let means = erase(&node, id).await?;
                    node.evaluator().await?.catch_up().await?;
                    audit::note(&node, deed("person.erase", id)).await?;
                    means
                }
            };
            println!(
                "erased; {means} means blocked; what the register said can never be read again"
            );
            Ok(())
        }
        PersonCommand::Rotate { yes, data } => {
            let node = node(&data)?;
            confirm(yes, "figures per recipient begin anew, and this cannot be undone")?;
            let (people, means) = rotation::rotate(&node).await?;
            println!("{people} people and {means} means have another pseudonym from now on");
            Ok(())
        }
    }
}

fn print(told: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(told).map_err(std::io::Error::from)?;
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

fn deed(action: &'static str, id: RecipientId) -> Deed {
    // The internal id, which says nothing by itself.
    audit::at_the_machine(action, id.to_string())
}

fn find(node: &Node, code: &str) -> Result<RecipientId, Failure> {
    let found = node.vault.find(&self::code(code)?);
    found.ok_or_else(|| Failure::State("the register has not told of this person".into()))
}

/// A personal code as somebody wrote it.
///
/// # Errors
/// Where it is none.
pub fn code(text: &str) -> Result<PersonCode, Failure> {
    let shape = "this is no personal code: six digits, a hyphen, five digits";
    PersonCode::parse(text).map_err(|_| Failure::Usage(shape.into()))
}

/// Everything that is held of a person.
///
/// # Errors
/// Where a stream or a table cannot be read.
pub async fn export(node: &Node, id: RecipientId) -> Result<Value, Failure> {
    let mut people = People::default();
    replay(&node.log, Topic::PersonChanges, |stored| {
        people.apply(&node.vault, &stored)?;
        Ok::<(), Failure>(())
    })
    .await?;
    let person = people.get(id).filter(|person| person.is_present());
    let attributes = person.map(|person| {
        let told = person.attributes().map(|(name, value)| (name.to_owned(), value.value()));
        Value::Object(told.collect())
    });
    let mut told = Map::new();
    told.insert("attributes".into(), json!(attributes));
    told.insert("consents".into(), Value::Array(of_person(node, Topic::Consents, id).await?));
    told.insert("memberships".into(), Value::Array(of_person(node, Topic::Memberships, id).await?));
    let pseudonyms = node.vault.pseudonyms(Purpose::Recipient, id.as_u128());
    let pseudonyms: Vec<_> = pseudonyms.map(|pseudonym| pseudonym.to_string()).collect();
    for (name, rows) in person::export(&node.session()?, &pseudonyms).await? {
        let text = rows.bytes(Format::Json)?;
        let rows: Value = serde_json::from_slice(&text).map_err(std::io::Error::from)?;
        told.insert(name.into(), rows);
    }
    let (log, clock) = (node.log.clone(), node.clock.clone());
    let panels = PanelBook::over(log, node.vault.clone(), clock);
    told.insert("panels".into(), panels.export(id).await?);
    Ok(Value::Object(told))
}

/// What a stream says of a person under the internal id, in order, each with its instant.
async fn of_person(node: &Node, topic: Topic, id: RecipientId) -> Result<Vec<Value>, Failure> {
    let (id, mut found) = (id.to_string(), Vec::new());
    replay(&node.log, topic, |stored| {
        let event = match &stored.record.event {
            Event::ConsentChanged(change) if change.person == id => json!(change),
            Event::MembershipChanged(change) if change.person.as_ref() == Some(&id) => {
                json!(change)
            }
            _ => return Ok::<(), Failure>(()),
        };
        let at = stored.record.event_time.to_rfc3339_opts(SecondsFormat::Millis, true);
        found.push(json!({ "at": at, "told": event }));
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Somebody who was erased: a line of the list.
#[derive(Debug, Serialize, Deserialize)]
pub struct Erasure {
    /// The internal id.
    pub person: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Whether the keys are this process's own.
///
/// # Errors
/// Where another role has them.
pub fn has_keys(node: &Node) -> Result<(), Failure> {
    match node.vault.is_followed() {
        false => Ok(()),
        true => {
            let folder = node.keys.display();
            Err(Failure::State(format!("the role connectors has the keys: say --data {folder}")))
        }
    }
}

/// Forgets a person, from the list on, so that whatever cuts this off is finished later; answers how many
/// means were blocked. Nobody is found by the code afterwards. Whoever evaluates groups does so when the
/// stream of people says it. Of a node that serves, whatever others tell meanwhile of the person is sealed by
/// no key any more, and none of their means becomes another's; what an issuer says of one in that moment may
/// be said over, by the block.
///
/// # Errors
/// Where another role has the keys, or the list, the vault or a stream cannot be used.
pub async fn erase(node: &Node, id: RecipientId) -> Result<usize, Failure> {
    has_keys(node)?;
    let erasure = Erasure { person: id.to_string(), at: node.clock.now() };
    notes::add(&node.keys.join(ERASURES), &erasure)?;
    forget(node).await
}

/// Forgets whoever is on the list, again: the keys go, and with them whatever was sealed under them, in
/// streams and backups alike; the register, lists and the means are told where they have not been,
/// as after a crash or a restored backup. Last goes what leads from the code to the id: lists name
/// people by the code. Answers how many means were blocked now.
///
/// # Errors
/// Where the list, the vault or a stream cannot be used.
pub async fn forget(node: &Node) -> Result<usize, Failure> {
    let erased = erased(&node.keys)?;
    forget_keys(&node.keys, &node.vault)?;
    listed::tidy(&node.log, &node.vault, node.clock.now()).await?;
    if erased.is_empty() {
        return Ok(0);
    }
    let blocked = forget_in_streams(node, &erased).await?;
    let linked = node.vault.linked(&erased);
    if !linked.is_empty() && !node.vault.is_followed() {
        node.vault.unlink(&linked)?;
    }
    Ok(blocked)
}

/// Tells the streams of whoever is on the list, where they have not been told; how many means were
/// blocked now.
async fn forget_in_streams(node: &Node, erased: &BTreeSet<RecipientId>) -> Result<usize, Failure> {
    end_memberships(node, erased).await?;
    let is_erased =
        |person: &str| RecipientId::parse(person).is_some_and(|id| erased.contains(&id));
    let mut people: BTreeMap<String, PersonChanged> = BTreeMap::new();
    replay(&node.log, Topic::PersonChanges, |stored| {
        if let Event::PersonChanged(change) = stored.record.event
            && is_erased(&change.person)
            && people.get(&change.person).is_none_or(|of| is_newer(of, &change))
        {
            people.insert(change.person.clone(), change);
        }
        Ok::<(), Failure>(())
    })
    .await?;
    let mut means: BTreeMap<String, MeansChanged> = BTreeMap::new();
    replay(&node.log, Topic::MeansChanges, |stored| {
        if let Event::MeansChanged(change) = stored.record.event {
            // A means may have gone to somebody else since.
            means.remove(&change.token);
            if change.person.as_deref().is_some_and(is_erased) {
                means.insert(change.token.clone(), change);
            }
        }
        Ok::<(), Failure>(())
    })
    .await?;
    let now = node.clock.now();
    let record = |id: String, person: &str, event| record("erasure", &id, person, now, event);
    people.retain(|_, newest| !newest.removed);
    let gone = people.into_values().map(|PersonChanged { person, person_sequence, .. }| {
        let person_sequence = person_sequence + 1;
        let id = format!("{person}/{person_sequence}");
        let key = person.clone();
        let removed = true;
        let change = PersonChanged { person, person_sequence, removed, ..PersonChanged::default() };
        record(id, &key, Event::PersonChanged(change))
    });
    append(node, Topic::PersonChanges, gone.collect()).await?;
    means.retain(|_, newest| !newest.blocked);
    let blocked = means.into_values().map(|newest| {
        let person = newest.person.clone().unwrap_or_default();
        let id = format!("{}/{}", newest.token, now.timestamp_micros());
        let request_hash = Vec::new();
        let change = MeansChanged { blocked: true, request_hash, ..newest };
        record(id, &person, Event::MeansChanged(change))
    });
    append(node, Topic::MeansChanges, blocked.collect()).await
}

/// Takes people off the lists of grantors' own systems.
async fn end_memberships(node: &Node, erased: &BTreeSet<RecipientId>) -> Result<(), Failure> {
    let mut lists = Memberships::default();
    replay(&node.log, Topic::Memberships, |stored| {
        lists.apply(&stored);
        Ok::<(), Failure>(())
    })
    .await?;
    let now = node.clock.now();
    let today = LocalTime::of(now).date.to_string();
    let of_person = |person: &RecipientId| lists.of_person(*person).iter().zip(repeat(*person));
    let ended = erased.iter().flat_map(of_person).map(|(days, person)| {
        let change = MembershipChanged {
            group_id: days.group.to_string(),
            person: Some(person.to_string()),
            token: None,
            from: days.from.to_string(),
            until: Some(today.clone()),
            removed: true,
        };
        let (key, at) = (change.member(), now.timestamp_micros());
        record("erasure", &format!("{key}/{at}"), &key, now, Event::MembershipChanged(change))
    });
    append(node, Topic::Memberships, ended.collect()).await?;
    Ok(())
}

/// Whether a change goes before another of the same person: by its number, and where a snapshot's removal and
/// the return from it have the same, the return.
fn is_newer(of: &PersonChanged, than: &PersonChanged) -> bool {
    let (before, after) = (of.person_sequence, than.person_sequence);
    before < after || (before == after && of.removed && !than.removed)
}

/// A record that this node makes of somebody.
pub(crate) fn record(
    source: &str,
    id: &str,
    key: &str,
    now: DateTime<Utc>,
    event: Event,
) -> Record {
    Record {
        id: outside_id(source, id),
        key: key.to_owned(),
        source: source.to_owned(),
        sequence: 0,
        event_time: now,
        recorded_at: now,
        event,
    }
}

/// Appends records, and answers how many they were.
pub(crate) async fn append(
    node: &Node,
    topic: Topic,
    records: Vec<Record>,
) -> Result<usize, Failure> {
    for some in records.chunks(APPENDED_AT_ONCE) {
        node.log.append(topic, some).await?;
    }
    Ok(records.len())
}

/// Destroys the keys of whoever is on the list, again: a restored vault may have brought them back. Whoever has another
/// process's keys forgets them.
///
/// # Errors
/// Where the list or the vault cannot be used.
pub fn forget_keys(folder: &Path, vault: &Vault) -> Result<(), Failure> {
    let there = erased(folder)?.into_iter().filter(|person| !vault.is_erased(*person));
    let there: Vec<_> = there.collect();
    if there.is_empty() {
        return Ok(());
    }
    if vault.is_followed() {
        vault.forget(&there);
        return Ok(());
    }
    Ok(vault.destroy(&there)?)
}

/// Whoever is on the list.
///
/// # Errors
/// Where the list cannot be read.
pub fn erased(folder: &Path) -> Result<BTreeSet<RecipientId>, Failure> {
    let erasures = notes::read::<Erasure>(&folder.join(ERASURES))?.into_iter();
    Ok(erasures.filter_map(|erasure| RecipientId::parse(&erasure.person)).collect())
}
