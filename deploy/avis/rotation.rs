//! Recipients get other pseudonyms: when they did, and that the tables are told.

use std::{collections::BTreeMap, path::Path};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    id::{MeansToken, RecipientId},
    period::LocalTime,
};
use ingest::{
    log::replay,
    topic::Topic,
    vault::Purpose,
    wire::v1::{Event, MeansChanged},
};
use serde::{Deserialize, Serialize};

use crate::{audit, failure::Failure, node::Node, notes, person};

/// When pseudonyms rotated; beside the streams, so that keys that are brought back from a backup make the
/// same pseudonyms.
pub const FILE: &str = "rotations.ndjson";

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// From then on there are new pseudonyms.
    Begun(DateTime<Utc>),
    /// By then all tables were told.
    Told(DateTime<Utc>),
}

/// The rotations of a node so far.
#[derive(Debug, Default)]
pub struct Rotations {
    begun: Vec<DateTime<Utc>>,
    is_under_way: bool,
}

impl Rotations {
    /// What a node's folder says.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let mut rotations = Self::default();
        for line in notes::read(&folder.join(FILE))? {
            rotations.is_under_way = matches!(line, Line::Begun(_));
            if let Line::Begun(at) = line {
                rotations.begun.push(at);
            }
        }
        Ok(rotations)
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.begun.len()).unwrap_or(u32::MAX)
    }

    /// The local days on which they began.
    #[must_use]
    pub fn days(&self) -> Vec<NaiveDate> {
        self.begun.iter().map(|at| LocalTime::of(*at).date).collect()
    }
}

/// The lines of the file that were there at an instant: a restore to before a rotation undoes it.
#[must_use]
pub fn until(text: &str, instant: DateTime<Utc>) -> String {
    let was_there = |line: &&str| match serde_json::from_str(line) {
        Ok(Line::Begun(at) | Line::Told(at)) => at <= instant,
        // A line that was cut off has nothing done behind it.
        Err(_) => false,
    };
    text.lines().filter(was_there).map(|line| format!("{line}\n")).collect()
}

/// Gives every recipient another pseudonym; where that was cut off before, it is finished instead.
/// Answers how many people and means have one.
///
/// # Errors
/// Where the vault or a stream cannot be used.
pub async fn rotate(node: &Node) -> Result<(usize, usize), Failure> {
    person::has_keys(node)?;
    person::forget(node).await?;
    node.evaluator().await?.catch_up().await?;
    let rotations = Rotations::read(&node.keys)?;
    if !rotations.is_under_way {
        notes::add(&node.keys.join(FILE), &Line::Begun(node.clock.now()))?;
        node.vault.set_rotations(rotations.count() + 1);
    }
    finish(node).await
}

/// Tells the tables of new pseudonyms, where they have not all been told.
///
/// # Errors
/// As [`rotate`].
pub async fn finish(node: &Node) -> Result<(usize, usize), Failure> {
    if !Rotations::read(&node.keys)?.is_under_way {
        return Ok((0, 0));
    }
    let mut evaluator = node.evaluator().await?;
    evaluator.catch_up().await?;
    let people = evaluator.rename().await?;
    let means = rename_means(node).await?;
    audit::note(node, audit::at_the_machine("person.rotate", String::new())).await?;
    notes::add(&node.keys.join(FILE), &Line::Told(node.clock.now()))?;
    Ok((people, means))
}

/// Tells of every means under its holder's new pseudonym, in the order of these.
async fn rename_means(node: &Node) -> Result<usize, Failure> {
    let mut newest: BTreeMap<String, MeansChanged> = BTreeMap::new();
    replay(&node.log, Topic::MeansChanges, |stored| {
        if let Event::MeansChanged(change) = stored.record.event {
            newest.insert(change.token.clone(), change);
        }
        Ok::<(), Failure>(())
    })
    .await?;
    let mut renamed: Vec<_> = newest.into_values().collect();
    for change in &mut renamed {
        let holder = change.person.as_deref().and_then(RecipientId::parse);
        let holder = holder.map(RecipientId::as_u128);
        let id = holder.or_else(|| Some(MeansToken::parse(&change.token)?.as_u128()));
        // It is nobody's registration any more.
        change.request_hash.clear();
        change.recipient = id.map(|id| node.vault.pseudonym(Purpose::Recipient, id).to_string());
    }
    renamed
        .sort_by(|one, other| (&one.recipient, &one.token).cmp(&(&other.recipient, &other.token)));
    let now = node.clock.now();
    let records = renamed.into_iter().map(|change| {
        let key = change.person.clone().unwrap_or_else(|| change.token.clone());
        let said = format!("{}/{}", change.token, change.recipient.as_deref().unwrap_or_default());
        person::record("rotation", &said, &key, now, Event::MeansChanged(change))
    });
    person::append(node, Topic::MeansChanges, records.collect()).await
}
