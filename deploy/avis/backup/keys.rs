//! Copies of the keys: apart from the records, readable by their owner alone, and for thirty days.

use std::{
    fs::{self, OpenOptions},
    io::{BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use ingest::backup;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{failure::Failure, node::Node, person};

/// How long a copy is kept: whoever was erased is in no copy after that.
const KEPT: TimeDelta = TimeDelta::days(30);
const ENDING: &str = "keys";
/// What a copy ends with until it is whole.
const PART: &str = "part";
/// How a copy's name says when it was made.
const NAMED: &str = "%Y%m%dT%H%M%S%6fZ";

/// A copy that was made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Copied {
    /// Where it lies, on the node's machine.
    pub file: String,
    /// People whose keys are in it.
    pub people: u64,
}

/// A copy's first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// By what the vault is known.
    keys: String,
    taken_at: DateTime<Utc>,
    /// Who was erased by then, so that older keys bring nobody back.
    erasures: String,
}

/// Copies a node's keys into a folder, and removes the copies that are too old.
///
/// # Errors
/// Where the vault cannot be read or the folder not be written.
pub fn copy(node: &Node, folder: &Path) -> Result<Copied, Failure> {
    let failed = |source| Failure::Folder { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let now = node.clock.now();
    let path = folder.join(format!("{}.{ENDING}", now.format(NAMED)));
    let part = path.with_extension(PART);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(&part);
    let mut file = BufWriter::new(file.map_err(failed)?);
    let list = node.keys.join(person::ERASURES);
    let erasures =
        if list.is_file() { fs::read_to_string(&list).map_err(failed)? } else { String::new() };
    let head = Head { keys: node.vault.name(), taken_at: now, erasures };
    let head = serde_json::to_string(&head).map_err(std::io::Error::from)?;
    writeln!(file, "{head}").map_err(failed)?;
    let people = node.vault.copy(&mut file)?;
    let file = file.into_inner().map_err(|error| failed(error.into()))?;
    file.sync_all().map_err(failed)?;
    fs::rename(&part, &path).map_err(failed)?;
    backup::sync(folder)?;
    forget_old(folder, now)?;
    Ok(Copied { file: path.display().to_string(), people })
}

/// Removes copies that are older than they are kept.
fn forget_old(folder: &Path, now: DateTime<Utc>) -> Result<(), Failure> {
    let failed = |source| Failure::Folder { path: folder.to_owned(), source };
    for (taken_at, path) in copies(folder)? {
        if taken_at < now - KEPT {
            fs::remove_file(&path).map_err(failed)?;
        }
    }
    // What was cut off holds keys, too.
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == PART) {
            fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(backup::sync(folder)?)
}

/// The copies in a folder, the oldest first.
fn copies(folder: &Path) -> Result<Vec<(DateTime<Utc>, PathBuf)>, Failure> {
    let failed = |source| Failure::Folder { path: folder.to_owned(), source };
    let mut copies = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let of_ours = path.extension().is_some_and(|ending| ending == ENDING);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let taken_at = NaiveDateTime::parse_from_str(&stem, NAMED);
        if let (true, Ok(taken_at)) = (of_ours, taken_at) {
            copies.push((taken_at.and_utc(), path));
        }
    }
    copies.sort();
    Ok(copies)
}

/// The newest copy of a vault's keys: what is read of it, and who was erased by then, as lines.
///
/// # Errors
/// Where there is none in the folder.
pub fn newest(from: &Path, keys: &str) -> Result<(impl Read, String), Failure> {
    let found = if from.is_file() {
        vec![(DateTime::default(), from.to_owned())]
    } else if from.is_dir() {
        copies(from)?
    } else {
        Vec::new()
    };
    for (_, path) in found.into_iter().rev() {
        let file =
            fs::File::open(&path).map_err(|source| Failure::Read { path: path.clone(), source })?;
        let mut file = BufReader::new(file);
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut file, &mut line);
        read.map_err(|source| Failure::Read { path, source })?;
        if let Ok(head) = serde_json::from_str::<Head>(&line)
            && head.keys == keys
        {
            return Ok((file, head.erasures));
        }
    }
    Err(Failure::State(format!(
        "there is no copy of this backup's keys ({keys}) in {}; say where with --keys",
        from.display()
    )))
}
