//! `avis backup`: copies a node's streams up to one cut, running or stopped, and its keys apart.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use ingest::{
    backup::{
        Backup,
        manifest::{Last, Manifest},
    },
    log::next_batch,
    topic::Topic,
    wire,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    audit,
    cli::BackupArguments,
    commands::node,
    failure::Failure,
    node::{Node, own_folder},
    person,
    progress::Progress,
    rotation,
};
use client::Client;

mod client;
pub mod keys;
pub mod server;

/// What is copied beside the streams, where it is there.
const NOTES: [&str; 4] = [person::ERASURES, rotation::FILE, audit::CHECKPOINTS, "sql-passwords"];

/// One instant of a node: up to where each partition goes, and what lies beside the streams.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Cut {
    /// When it was made.
    #[schema(value_type = String)]
    taken_at: DateTime<Utc>,
    /// By what the node's keys are known.
    keys: String,
    /// The partitions of every stream.
    streams: Vec<Part>,
    /// What lies beside the streams: erasures, rotations, checkpoints, own pipelines.
    notes: Vec<Beside>,
}

/// A partition of a stream.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
struct Part {
    /// The stream's name.
    stream: String,
    /// The partition.
    partition: u32,
    /// The first offset that is left.
    start: u64,
    /// The offset after the last.
    end: u64,
}

/// A small file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
struct Beside {
    /// What it is called.
    name: String,
    /// Its bytes, in base64.
    bytes: String,
}

/// Whose streams are copied.
#[derive(Debug)]
enum Source {
    /// A stopped node's, which this process has to itself meanwhile.
    Stopped(Box<Node>),
    /// A running node's.
    Running(Client),
}

/// `avis backup`.
///
/// # Errors
/// Where something cannot be read or written; the backup before this one holds then.
pub async fn run(arguments: BackupArguments) -> Result<(), Failure> {
    let (started, progress) = (Instant::now(), Progress::new(false));
    let source = match &arguments.server {
        Some(server) => Source::Running(Client::of(server)?),
        None => Source::Stopped(Box::new(node(&arguments.data)?)),
    };
    let bar = progress.bar("records");
    let (manifest, copied) = copy(&source, &arguments.backup, &bar).await?;
    bar.finish_and_clear();
    let speed = copied as f64 / started.elapsed().as_secs_f64().max(0.001);
    println!(
        "{}: {} records as of {}, {copied} of them new, {speed:.0} a second",
        arguments.backup.display(),
        manifest.records(),
        manifest.taken_at.to_rfc3339(),
    );
    if arguments.no_keys {
        println!("the keys are not copied: without them the backup cannot be restored");
        return Ok(());
    }
    // After the cut, so that whoever is in its records has a key.
    let copied = match &source {
        Source::Running(client) => client.keys().await?,
        Source::Stopped(node) => {
            let folder = arguments.keys.unwrap_or_else(|| beside(&arguments.backup));
            let copied = keys::copy(node, &folder)?;
            let object = format!("{} records", manifest.records());
            audit::note(node, audit::at_the_machine("backup", object)).await?;
            copied
        }
    };
    println!("the keys of {} people are in {}; keep that apart", copied.people, copied.file);
    Ok(())
}

/// Where the keys of a backup lie unless it is said: beside its folder, never in it.
#[must_use]
pub fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push("-keys");
    PathBuf::from(name)
}

/// Copies what is new; answers the manifest, and how many records were new.
async fn copy(
    source: &Source,
    folder: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<(Manifest, u64), Failure> {
    let cut = source.cut()?;
    let cut = match cut {
        Some(cut) => cut,
        None => source.ask().await?,
    };
    let mut backup = Backup::open(folder)?;
    let keys = &backup.manifest().keys;
    if !keys.is_empty() && *keys != cut.keys {
        let text = format!("{} is a backup of another node", folder.display());
        return Err(Failure::State(text));
    }
    let mut copied = 0;
    for part in &cut.streams {
        let topic = Topic::parse(&part.stream).ok_or_else(|| {
            Failure::State(format!("the node has a stream {}, unknown here", part.stream))
        })?;
        copied += copy_part(source, &mut backup, topic, part, bar).await?;
    }
    let notes = cut.notes.iter().map(|note| {
        let bytes = BASE64_STANDARD.decode(&note.bytes);
        let wrong = |_| Failure::State(format!("the node told {} in no base64", note.name));
        Ok((note.name.clone(), bytes.map_err(wrong)?))
    });
    let notes = notes.collect::<Result<Vec<_>, Failure>>()?;
    Ok((backup.finish(cut.taken_at, &cut.keys, &notes)?, copied))
}

/// Copies what a partition has new; how many records that is.
async fn copy_part(
    source: &Source,
    backup: &mut Backup,
    topic: Topic,
    part: &Part,
    bar: &indicatif::ProgressBar,
) -> Result<u64, Failure> {
    let wrong = |reason: String| ingest::backup::BackupError::Stream {
        topic,
        partition: part.partition,
        reason,
    };
    let from = backup.end(topic, part.partition).unwrap_or(part.start);
    if from > part.end {
        let text = format!(
            "the backup goes up to {from} and the stream to {}: it was restored to an earlier \
             instant; begin a backup in another folder",
            part.end
        );
        return Err(wrong(text).into());
    }
    if from < part.start {
        let text = format!(
            "the stream has let go of what stands before {}, and the backup goes up to {from}: \
             begin a backup in another folder",
            part.start
        );
        return Err(wrong(text).into());
    }
    if !goes_on(source, backup, topic, part).await? {
        let text = "its records are not those that were backed up: another history; begin a backup \
                    in another folder";
        return Err(wrong(text.into()).into());
    }
    let (mut writer, mut segments) = (backup.segment(topic, part.partition, from)?, Vec::new());
    let (mut copied, mut last) = (0, None);
    let mut full = None;
    source
        .each((topic, part.partition, from, part.end), |offset, bytes| {
            let record = wire::decode(bytes)
                .map_err(|error| wrong(format!("the record {offset} cannot be read: {error}")))?;
            if writer.is_full() {
                let next = backup.segment(topic, part.partition, offset)?;
                let ended = std::mem::replace(&mut writer, next).finish(offset)?;
                full = ended;
            }
            segments.extend(full.take());
            writer.push(offset, record.recorded_at, bytes)?;
            last = Some(Last::of(offset, bytes));
            copied += 1;
            bar.inc(1);
            Ok(())
        })
        .await?;
    segments.extend(writer.finish(part.end)?);
    backup.take((topic, part.partition), (part.start, part.end), segments, last);
    Ok(copied)
}

/// Whether a partition still has the last record that was backed up; one that is gone was replaced.
async fn goes_on(
    source: &Source,
    backup: &Backup,
    topic: Topic,
    part: &Part,
) -> Result<bool, Failure> {
    let known = backup.manifest().stream(topic, part.partition);
    let known = known.and_then(|of| of.last.clone()).filter(|last| last.offset >= part.start);
    let Some(last) = known else { return Ok(true) };
    let mut same = true;
    let at = (topic, part.partition, last.offset, last.offset + 1);
    source
        .each(at, |offset, bytes| {
            same &= Last::of(offset, bytes) == last;
            Ok(())
        })
        .await?;
    Ok(same)
}

impl Source {
    /// The cut of a stopped node; none of a running one, which is asked.
    fn cut(&self) -> Result<Option<Cut>, Failure> {
        match self {
            Self::Stopped(node) => cut(node).map(Some),
            Self::Running(_) => Ok(None),
        }
    }

    async fn ask(&self) -> Result<Cut, Failure> {
        match self {
            Self::Stopped(node) => cut(node),
            Self::Running(client) => client.cut().await,
        }
    }

    /// Tells the records of a partition from an offset to before another.
    async fn each(
        &self,
        (topic, partition, from, end): (Topic, u32, u64, u64),
        mut each: impl FnMut(u64, &[u8]) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        match self {
            Self::Running(client) if from < end => {
                client.records((topic, partition, from, end), each).await
            }
            Self::Running(_) => Ok(()),
            Self::Stopped(node) => {
                let (log, mut offsets) = (&node.log, from..end);
                while let Some(batch) = next_batch(log, topic, partition, &mut offsets).await? {
                    for stored in batch.iter().filter(|of| of.position.offset < end) {
                        each(stored.position.offset, &wire::encode(&stored.record))?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// One instant of a node.
///
/// # Errors
/// Where the log is stopped, or a file beside it cannot be read.
pub fn cut(node: &Node) -> Result<Cut, Failure> {
    // The checkpoints before the trail that they vouch for.
    let notes = notes(node)?;
    let taken_at = node.clock.now();
    let log = Arc::clone(&node.log);
    let streams = log.cut()?.into_iter().map(|(topic, partition, end)| {
        let start = log.start(topic, partition)?.min(end);
        Ok(Part { stream: topic.name().to_owned(), partition, start, end })
    });
    let streams = streams.collect::<Result<_, Failure>>()?;
    Ok(Cut { taken_at, keys: node.vault.name(), streams, notes })
}

/// What goes with the keys lies where these lie, own pipelines in the node's folder.
fn notes(node: &Node) -> Result<Vec<Beside>, Failure> {
    let with_keys = NOTES.iter().map(|name| ((*name).to_owned(), node.keys.join(name)));
    let mut files: Vec<(String, PathBuf)> = with_keys.collect();
    if let Ok(own) = std::fs::read_dir(own_folder(&node.folder)) {
        for entry in own {
            let entry = entry?;
            let name = format!("sql/{}", entry.file_name().to_string_lossy());
            files.push((name, entry.path()));
        }
    }
    files.sort();
    let mut notes = Vec::new();
    for (name, path) in files {
        if path.is_file() {
            let bytes = std::fs::read(&path).map_err(|source| Failure::Read { path, source })?;
            notes.push(Beside { name, bytes: BASE64_STANDARD.encode(bytes) });
        }
    }
    Ok(notes)
}
