//! A folder that a pipeline fills with files: `connector = 'filesystem'`.
//!
//! A commit's files are written and synced aside, in `__in_progress`. Then `commit.json` there, which
//! names them and says how far the streams have been read, takes the place of the one before: that is the
//! commit. Last, each file is renamed to where it belongs. Whoever opens the folder after a crash renames
//! what a commit names and removes what none does, so a file appears whole, and each row in one file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use ingest::folder::{Claim, IN_USE, Unclaimed, claim, sync};
use serde::{Deserialize, Serialize};
use warehouse::{error::WarehouseError, table::Positions};

use crate::{
    dialect::{
        Connector,
        connector::{FileSink, Filesystem, local},
    },
    error::PipelineError,
    pipeline::Pipeline,
};
use encode::{Encoder, Form};

mod encode;
mod partition;
mod table;

pub use table::FolderTable;

/// Where files are that no commit has; a cluster names it so, too.
const ASIDE: &str = "__in_progress";
/// What says which files there are.
const COMMIT: &str = "commit.json";
/// So many files are written at once, at the most: then one ends and another begins in its place.
const MOST_OPEN: usize = 128;
/// So many bytes has a name at the most.
const LONGEST_NAME: usize = 255;

/// A folder that a pipeline fills.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    form: Form,
    sink: FileSink,
    columns: SchemaRef,
    known: Commit,
    /// Held for as long as the folder is filled from here.
    _claim: Option<Claim>,
}

/// The newest commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Commit {
    /// Whose folder it is.
    pipeline: String,
    /// How many commits there were.
    number: u64,
    /// How far streams have been read.
    positions: Positions,
    /// Its files: the name aside, and the place below the folder.
    files: Vec<(String, String)>,
}

/// Files of a commit that is being written.
pub(crate) struct Aside {
    number: u64,
    /// The file of each partition that is written to, its place aside and its name there.
    open: BTreeMap<String, (PathBuf, Encoder)>,
    files: Vec<(String, String)>,
}

impl Folder {
    /// A pipeline's folder, at its newest commit. It is made where it is not there.
    ///
    /// # Errors
    /// Where it holds anything else than what this pipeline wrote, or cannot be used.
    pub(crate) fn open(pipeline: &Pipeline) -> Result<Self, PipelineError> {
        let wrong =
            |reason: String| PipelineError::Definition { file: pipeline.name.clone(), reason };
        let sink = match &pipeline.sink.connector {
            Connector::Filesystem(Filesystem::Sink(sink)) => sink.clone(),
            other => return Err(wrong(format!("{} is no folder", other.name()))),
        };
        let format = pipeline.sink.format.as_ref();
        let form = format.and_then(|format| Form::of(format, &pipeline.output));
        let form = form.ok_or_else(|| wrong("a folder holds JSON or Parquet".into()))?;
        let path = PathBuf::from(local(&sink.path));
        let columns = Arc::clone(&pipeline.output);
        let known = Commit { pipeline: pipeline.name.clone(), ..Commit::default() };
        let mut folder = Self { path, form, sink, columns, known, _claim: None };
        let opened = folder.begin_again();
        let found = opened.map_err(|source| PipelineError::Table {
            pipeline: pipeline.name.clone(),
            attempted: "open",
            source: folder.failed(source),
        })?;
        let shown = folder.path.display();
        match found {
            Found::Ours => Ok(folder),
            Found::Others(whose) => {
                Err(wrong(format!("{shown} is the folder of another pipeline, {whose}")))
            }
            Found::InUse => Err(wrong(format!("{shown} is being filled already, from elsewhere"))),
            Found::Files => Err(wrong(format!(
                "{shown} holds files that no pipeline wrote: name an empty folder"
            ))),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many commits there were.
    pub(crate) const fn commits(&self) -> u64 {
        self.known.number
    }

    /// How far streams have been read by the newest commit, which is read again.
    ///
    /// # Errors
    /// Where it cannot be read, or not be brought to its end.
    pub(crate) fn positions(&mut self) -> Result<&Positions, WarehouseError> {
        let settled = self.settle();
        settled.map_err(|source| self.failed(source))?;
        Ok(&self.known.positions)
    }

    /// Reads the newest commit again and brings it to its end.
    fn settle(&mut self) -> io::Result<()> {
        if let Some(commit) = self.read()? {
            // Whoever made it may have died before it was on the disk. Its files are not to be seen
            // before: a power cut would leave them, and another commit would have the same rows.
            sync(&self.path.join(ASIDE))?;
            self.place(&commit)?;
            self.known = commit;
        }
        Ok(())
    }

    /// Begins a commit.
    ///
    /// # Errors
    /// Where the folder cannot be read, or has another commit than is known here: what that one has
    /// aside still would be written over.
    pub(crate) fn begin(&self) -> Result<Aside, WarehouseError> {
        self.check_still()?;
        Ok(Aside { number: self.known.number, open: BTreeMap::new(), files: Vec::new() })
    }

    fn check_still(&self) -> Result<(), WarehouseError> {
        let current = self.read().map_err(|source| self.failed(source))?;
        match current.map_or(0, |commit| commit.number) == self.known.number {
            true => Ok(()),
            false => Err(WarehouseError::Moved { table: "of files" }),
        }
    }

    /// Writes rows aside.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub(crate) fn write(
        &self,
        aside: &mut Aside,
        rows: &RecordBatch,
    ) -> Result<(), WarehouseError> {
        self.write_each(aside, rows).map_err(|source| self.failed(source))
    }

    fn write_each(&self, aside: &mut Aside, rows: &RecordBatch) -> io::Result<()> {
        for (partition, rows) in partition::split(&self.sink.partitioning.fields, rows)? {
            if !aside.open.contains_key(&partition) {
                self.begin_file(aside, &partition)?;
            }
            let Some((_, encoder)) = aside.open.get_mut(&partition) else { continue };
            encoder.write(&rows)?;
            let is_full = self.sink.rolling.file_size.is_some_and(|most| encoder.bytes() >= most);
            if is_full && let Some(ended) = aside.open.remove(&partition) {
                end(ended)?;
            }
        }
        Ok(())
    }

    fn begin_file(&self, aside: &mut Aside, partition: &str) -> io::Result<()> {
        if aside.open.len() >= MOST_OPEN
            && let Some((_, ended)) = aside.open.pop_first()
        {
            end(ended)?;
        }
        let name = self.name(aside.number, aside.files.len());
        // The disk takes no longer one, and that would come out after the commit, which could never end.
        if partition.split('/').chain([name.as_str()]).any(|part| part.len() > LONGEST_NAME) {
            return Err(io::Error::other("a value is too long for the name of a folder"));
        }
        let path = self.path.join(ASIDE).join(&name);
        let encoder = self.form.begin(File::create(&path)?, &self.columns)?;
        let place = match partition {
            "" => name.clone(),
            partition => format!("{partition}/{name}"),
        };
        aside.files.push((name, place));
        aside.open.insert(partition.to_owned(), (path, encoder));
        Ok(())
    }

    /// A file's name: the commit's number, and its own in there.
    fn name(&self, commit: u64, file: usize) -> String {
        let naming = &self.sink.naming;
        let prefix = naming.prefix.as_ref().map(|prefix| format!("{prefix}-")).unwrap_or_default();
        let suffix = naming.suffix.as_deref().unwrap_or_else(|| self.form.suffix());
        format!("{prefix}{commit:05}-{file:03}.{suffix}")
    }

    /// Lets what was written aside appear, and notes how far streams have been read.
    ///
    /// # Errors
    /// Where it cannot be written, or somebody else wrote: then it is there as a whole or not at all, and
    /// whoever writes begins again at the folder's positions.
    pub(crate) fn commit(
        &mut self,
        aside: Aside,
        positions: &Positions,
    ) -> Result<(), WarehouseError> {
        self.check_still()?;
        self.put(aside, positions).map_err(|source| self.failed(source))
    }

    fn put(&mut self, aside: Aside, positions: &Positions) -> io::Result<()> {
        aside.open.into_values().try_for_each(end)?;
        let mut next = self.known.clone();
        next.positions.extend(positions.iter().map(|(id, next)| (id.clone(), *next)));
        (next.number, next.files) = (next.number + 1, aside.files);
        let hidden = self.path.join(ASIDE);
        // Their names are on the disk before the commit that has them.
        sync(&hidden)?;
        let bytes = serde_json::to_vec(&next).map_err(io::Error::other)?;
        let (part, whole) = (hidden.join("commit.part"), hidden.join(COMMIT));
        fs::write(&part, bytes)?;
        sync(&part)?;
        fs::rename(&part, &whole)?;
        sync(&hidden)?;
        self.place(&next)?;
        self.known = next;
        Ok(())
    }

    /// Renames what a commit names and is aside still.
    fn place(&self, commit: &Commit) -> io::Result<()> {
        let mut changed = BTreeSet::new();
        for (name, place) in &commit.files {
            let (from, to) = (self.path.join(ASIDE).join(name), self.path.join(place));
            if from.try_exists()? {
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::rename(&from, &to)?;
            } else if !to.try_exists()? {
                // Somebody has taken it.
                continue;
            }
            // Also of one that was renamed before: whoever did may have died before this.
            let within = to.ancestors().skip(1).take_while(|of| of.starts_with(&self.path));
            changed.extend(within.map(Path::to_owned));
        }
        // On the disk before the next commit, which does not name them any more.
        for folder in changed {
            match sync(&folder) {
                // Somebody has taken the files, and the folder with them.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    fn read(&self) -> io::Result<Option<Commit>> {
        match fs::read(self.path.join(ASIDE).join(COMMIT)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks what is there, and brings it to order where it is ours.
    fn begin_again(&mut self) -> io::Result<Found> {
        let hidden = self.path.join(ASIDE);
        if self.read()?.is_none() {
            fs::create_dir_all(&self.path)?;
            for entry in fs::read_dir(&self.path)? {
                if entry?.file_name() != ASIDE {
                    return Ok(Found::Files);
                }
            }
        }
        match claim(&hidden) {
            Ok(claim) => self._claim = Some(claim),
            Err(Unclaimed::InUse) => return Ok(Found::InUse),
            Err(Unclaimed::Failed(error)) => return Err(error),
        }
        if let Some(commit) = self.read()? {
            if commit.pipeline != self.known.pipeline {
                return Ok(Found::Others(commit.pipeline));
            }
            self.settle()?;
        }
        for entry in fs::read_dir(&hidden)? {
            let entry = entry?;
            if entry.file_name() != COMMIT && entry.file_name() != IN_USE {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Found::Ours)
    }

    fn failed(&self, source: io::Error) -> WarehouseError {
        WarehouseError::Folder { path: self.path.clone(), source }
    }
}

/// What lies in a folder.
enum Found {
    Ours,
    Others(String),
    /// Of whom is not known: another process, or another part of this one, fills it.
    InUse,
    Files,
}

/// Ends a file that is aside.
fn end((path, encoder): (PathBuf, Encoder)) -> io::Result<()> {
    encoder.end()?;
    sync(&path)
}
