//! `avis restore`: a node's folder from a backup, as it was at an instant.

use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use domain::id::RecipientId;
use ingest::{
    backup::{
        self, BackupError,
        manifest::{Manifest, Note},
        segment,
    },
    clock::SystemClock,
    log::embedded::EmbeddedLog,
    record::{Position, Stored},
    topic::Topic,
    vault::Vault,
    wire,
};
use warehouse::{session, store};

use crate::{
    audit,
    backup::{beside, keys},
    cli::RestoreArguments,
    commands::land,
    config::{Config, LogEngine},
    failure::Failure,
    node::{Node, UNFINISHED},
    person::{self, Erasure},
    progress::Progress,
    rotation, settlement, verify,
};
use cut::Cuts;

mod cut;

/// Records that are appended with one sync.
const TOGETHER: usize = 8_192;
/// Their bytes at most.
const TOGETHER_BYTES: usize = 16 << 20;

/// `avis restore`.
///
/// # Errors
/// Where the backup is damaged, its keys are not there, the folder is not empty, or what was restored is
/// not what it has to be.
pub async fn run(arguments: RestoreArguments) -> Result<(), Failure> {
    let (started, progress) = (Instant::now(), Progress::new(false));
    let folder = &arguments.data.folder;
    let config = Config::load(arguments.data.config.as_deref(), std::env::vars())?;
    require_no_tables(&config, folder).await?;
    let manifest = backup::read(&arguments.backup)?;
    let instant = arguments.to.unwrap_or(DateTime::<Utc>::MAX_UTC);
    check(&arguments.backup, &manifest, &progress)?;
    let from = arguments.keys.clone().unwrap_or_else(|| beside(&arguments.backup));
    let (mut copy, forgotten) = keys::newest(&from, &manifest.keys)?;
    let notes = read_notes(&arguments.backup, &manifest)?;
    let erasures = erasures(&notes, &forgotten, arguments.erasures.as_deref())?;
    begin(folder)?;

    let cuts = Cuts::find(&arguments.backup, &manifest, arguments.to)?;
    let records = streams(&arguments.backup, &manifest, &cuts, folder, &config, &progress).await?;
    put_notes(folder, notes, &erasures, instant)?;
    let without: BTreeSet<RecipientId> =
        erasures.iter().filter_map(|of| RecipientId::parse(&of.person)).collect();
    Vault::restore(&folder.join("keys"), &mut copy, &without)?;
    end(folder)?;
    let seconds = started.elapsed().as_secs_f64();
    let speed = records as f64 / seconds.max(0.001);
    println!(
        "{records} records are back in {} after {seconds:.1} s: {speed:.0} a second",
        folder.display()
    );
    println!("{} people who were erased are forgotten again", without.len());

    if arguments.streams_only || config.log.engine != LogEngine::Embedded {
        println!("`avis up` makes index and tables again when it starts the next time");
        return Ok(());
    }
    rebuild(folder, &config, &arguments, &progress).await
}

/// Refuses tables that are elsewhere and would stay as they are: they are of another history than
/// that which comes back.
async fn require_no_tables(config: &Config, folder: &Path) -> Result<(), Failure> {
    let (tables, own) = (config.warehouse(folder)?, session::folder(folder)?);
    if tables.as_str().starts_with(own.as_str()) || store::is_empty(&tables).await? {
        return Ok(());
    }
    let text = format!(
        "{tables} has tables, and a restore overwrites nothing: name an empty `tables.location` for \
         the restored node"
    );
    Err(Failure::State(text))
}

/// Whether every file is what the manifest says.
fn check(folder: &Path, manifest: &Manifest, progress: &Progress) -> Result<(), Failure> {
    let bar = progress.bar("checked files");
    for segment in manifest.streams.iter().flat_map(|stream| &stream.segments) {
        segment::check(folder, segment)?;
        bar.inc(1);
    }
    for Note { file, bytes, checksum, .. } in &manifest.notes {
        segment::checked(&folder.join(file), *bytes, checksum)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Takes an empty folder, or one in which a restore was cut off, and says in it that it is not whole.
fn begin(folder: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::Folder { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let marker = folder.join(UNFINISHED);
    if !marker.exists() && fs::read_dir(folder).map_err(failed)?.next().is_some() {
        let text = format!(
            "{} is not empty, and a restore overwrites nothing: name another folder with --data",
            folder.display()
        );
        return Err(Failure::State(text));
    }
    backup::write(&marker, b"a restore into this folder was cut off; run it again\n")?;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path == marker {
            continue;
        }
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(failed)?;
    }
    Ok(())
}

/// The folder is a node's from here on.
fn end(folder: &Path) -> Result<(), Failure> {
    backup::sync(folder)?;
    let marker = folder.join(UNFINISHED);
    fs::remove_file(&marker).map_err(|source| Failure::Folder { path: marker, source })?;
    Ok(backup::sync(folder)?)
}

/// Writes every record at the offset that it had, up to the cuts; how many those are.
async fn streams(
    from: &Path,
    manifest: &Manifest,
    cuts: &Cuts,
    folder: &Path,
    config: &Config,
    progress: &Progress,
) -> Result<u64, Failure> {
    // Nothing goes of what is just coming back.
    let settings =
        ingest::log::embedded::Settings { keep: Default::default(), ..config.embedded()? };
    let metrics = ingest::metrics::Metrics::register(&prometheus::Registry::new())?;
    let log = EmbeddedLog::open(&folder.join("log"), &settings, metrics)?;
    let bar = progress.bar("records");
    let mut records = 0;
    for (topic, stream) in cut::streams(manifest)? {
        let (partition, end) = (stream.partition, cuts.of(topic, stream.partition));
        for segment in stream.segments.iter().filter(|segment| segment.first < end) {
            let (sender, mut batches) = tokio::sync::mpsc::channel(2);
            let (folder, segment) = (from.to_owned(), segment.clone());
            let reader = tokio::task::spawn_blocking(move || {
                read(&folder, &segment, (topic, partition, end), &sender)
            });
            while let Some(batch) = batches.recv().await {
                log.append_at(topic, &batch).await?;
                records += batch.len() as u64;
                bar.inc(batch.len() as u64);
            }
            reader.await??;
        }
    }
    bar.finish_and_clear();
    Ok(records)
}

fn read(
    folder: &Path,
    segment: &backup::manifest::Segment,
    (topic, partition, end): (Topic, u32, u64),
    to: &tokio::sync::mpsc::Sender<Vec<Stored>>,
) -> Result<(), Failure> {
    let (mut batch, mut size) = (Vec::new(), 0);
    let gone = || Failure::State("the restore was given up".into());
    segment::each(folder, segment, |offset, bytes| {
        if offset >= end {
            return Ok::<_, Failure>(false);
        }
        let record = decoded(topic, partition, offset, bytes)?;
        batch.push(Stored { position: Position { partition, offset }, record });
        size += bytes.len();
        if batch.len() == TOGETHER || size >= TOGETHER_BYTES {
            size = 0;
            to.blocking_send(std::mem::take(&mut batch)).map_err(|_| gone())?;
        }
        Ok(true)
    })?;
    if batch.is_empty() { Ok(()) } else { to.blocking_send(batch).map_err(|_| gone()) }
}

/// A record of a backup.
///
/// # Errors
/// Where this version cannot read it.
fn decoded(
    topic: Topic,
    partition: u32,
    offset: u64,
    bytes: &[u8],
) -> Result<ingest::record::Record, BackupError> {
    wire::decode(bytes).map_err(|error| BackupError::Stream {
        topic,
        partition,
        reason: format!("the record {offset} cannot be read: {error}"),
    })
}

/// The small files of a backup.
fn read_notes(folder: &Path, manifest: &Manifest) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let read = |note: &Note| {
        // What a node never wrote is not put anywhere else by a manifest that was made up.
        let parts = Path::new(&note.name).components();
        let inside = parts.into_iter().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !inside {
            return Err(Failure::State(format!("the backup names a file {}", note.name)));
        }
        let path = folder.join(&note.file);
        let bytes = fs::read(&path).map_err(|source| Failure::Read { path, source })?;
        Ok((note.name.clone(), bytes))
    };
    manifest.notes.iter().map(read).collect()
}

/// Everybody who was erased, by what any of the lists says: whoever is on one is forgotten again.
fn erasures(
    notes: &[(String, Vec<u8>)],
    of_keys: &str,
    list: Option<&Path>,
) -> Result<Vec<Erasure>, Failure> {
    let kept = notes.iter().find(|(name, _)| name == person::ERASURES);
    let mut text = kept.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
    let text = text.get_or_insert_default();
    for more in [of_keys.to_owned(), list_of(list)?] {
        text.push('\n');
        text.push_str(&more);
    }
    let mut seen = BTreeSet::new();
    let erasures = text.lines().filter_map(|line| serde_json::from_str::<Erasure>(line).ok());
    Ok(erasures.filter(|erasure| seen.insert(erasure.person.clone())).collect())
}

/// A list that somebody names. One of anything else would have everybody remembered, so each line is looked
/// at; one that was cut off has nothing done behind it.
fn list_of(list: Option<&Path>) -> Result<String, Failure> {
    let Some(path) = list else { return Ok(String::new()) };
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    for (number, line) in (1_usize..).zip(text.lines()) {
        let is_one = match serde_json::from_str::<Erasure>(line) {
            Ok(erasure) => RecipientId::parse(&erasure.person).is_some(),
            Err(error) => error.is_eof(),
        };
        if !is_one {
            let text = format!(
                "{}, line {number}: this is no erasure as a node lists them in {}",
                path.display(),
                person::ERASURES
            );
            return Err(Failure::State(text));
        }
    }
    Ok(text)
}

fn put_notes(
    folder: &Path,
    notes: Vec<(String, Vec<u8>)>,
    erasures: &[Erasure],
    instant: DateTime<Utc>,
) -> Result<(), Failure> {
    for (name, bytes) in notes {
        let bytes = match name.as_str() {
            person::ERASURES => continue,
            rotation::FILE => rotation::until(&String::from_utf8_lossy(&bytes), instant).into(),
            _ => bytes,
        };
        backup::write(&folder.join(&name), &bytes)?;
    }
    if erasures.is_empty() {
        return Ok(());
    }
    let lines = erasures.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let lines = lines.map_err(io::Error::from)?.join("\n") + "\n";
    Ok(backup::write(&folder.join(person::ERASURES), lines.as_bytes())?)
}

/// Makes index and tables again from the streams, forgets who was erased, and verifies it all.
async fn rebuild(
    folder: &Path,
    config: &Config,
    arguments: &RestoreArguments,
    progress: &Progress,
) -> Result<(), Failure> {
    let started = Instant::now();
    let node = Node::open(folder, config, Arc::new(SystemClock))?;
    let bar = progress.bar("rebuilding");
    person::forget(&node).await?;
    rotation::finish(&node).await?;
    node.evaluator().await?.catch_up().await?;
    node.parts().await?;
    land(&node).await?;
    settlement::follow(&node).await?;
    let to = arguments.to.map_or_else(|| "its end".into(), |to| to.to_rfc3339());
    audit::note(&node, audit::at_the_machine("restore", format!("to {to}"))).await?;
    bar.finish_and_clear();
    println!("index and tables are made again after {:.1} s", started.elapsed().as_secs_f64());
    // What lies in Redis was counted by the node that was backed up, not by this copy.
    let findings = verify::all(&node, verify::Of::Stopped(None), progress).await?;
    findings.tell(false)?;
    match findings.count() {
        0 => Ok(()),
        drifts => Err(Failure::Drift { drifts }),
    }
}
