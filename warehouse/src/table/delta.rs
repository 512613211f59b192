//! A table as Delta Lake keeps it: Parquet files, and a log of whole commits; in a folder, or on
//! [storage](crate::store) that others write and read, too.

use std::{io, path::PathBuf, time::Instant};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use deltalake::{
    DeltaTableBuilder, DeltaTableError, TableProperty,
    kernel::{Action, engine::arrow_conversion::TryIntoKernel, transaction::CommitProperties},
    logstore::{commit_uri_from_version, store_for},
    operations::create::CreateBuilder,
    protocol::DeltaOperation,
};
use futures::StreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use super::{
    Pending, Positions, Table, fit,
    upkeep::{Maintained, Upkeep},
};
use crate::{
    error::WarehouseError,
    metrics::Metrics,
    schema,
    tail::{Landing, Tail},
};
use files::Files;
use log::{Log, append};

mod compact;
mod damage;
mod evolve;
mod files;
mod log;
mod maintain;
mod remove;
mod sync;
mod vacuum;

pub use remove::remove;

/// A Delta table and its one writer.
#[derive(Debug)]
pub struct DeltaTable {
    schema: &'static schema::Table,
    address: Url,
    upkeep: Upkeep,
    /// What is told of new versions, so that readers go over to them in one step.
    tail: Option<Tail>,
    metrics: Metrics,
    /// One commit, or one turn of upkeep, at a time.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing after a failure or an abandoned commit: what is there is read before the next one.
    held: Option<Held>,
    /// The positions that the writer goes by: those it asked for, and those it committed.
    known: Positions,
    /// When upkeep is next due, and when vacuum is.
    due: DateTime<Utc>,
    vacuum_due: DateTime<Utc>,
    /// What commits have written since the table was synced; nothing where that is not known.
    unsynced: Option<Vec<PathBuf>>,
}

/// The table as its one writer knows it: where its log ends, and how its files are written. It does
/// not grow with the table.
#[derive(Debug)]
struct Held {
    log: Log,
    files: Files,
    live_files: usize,
    /// The version of the log's last checkpoint that the writer knows of.
    checkpoint: u64,
}

impl DeltaTable {
    /// Opens the table below the warehouse's address, and makes it where there is none. Columns
    /// that the schema has and the table lacks are added.
    ///
    /// A table in a folder may be as a power cut leaves it. Without its newest commits it goes on from
    /// those before; one that lacks another commit, or of which a file is missing or cut, is removed
    /// and begins anew: it is made again from the streams. Other storage has a file whole or not at
    /// all, so what is missing there is an error.
    ///
    /// # Errors
    /// Where it can be neither opened nor made, or a column was changed or removed.
    pub fn open<'a>(
        root: &'a Url,
        schema: &'static schema::Table,
        metrics: Metrics,
    ) -> Pending<'a, Self> {
        Self::open_with(root, schema, metrics, Upkeep::default())
    }

    /// As [`open`](Self::open), with rules of its own for the table's upkeep.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with<'a>(
        root: &'a Url,
        schema: &'static schema::Table,
        metrics: Metrics,
        upkeep: Upkeep,
    ) -> Pending<'a, Self> {
        Box::pin(async move {
            let open = |source| WarehouseError::Open { table: schema.name, source };
            let address = address(root, schema.name)?;
            let folder = folder(&address);
            if let Some(folder) = &folder {
                damage::cut_empty_entries(folder, schema.name);
            }
            let mut found = load(&address).await;
            if let Some(folder) = folder
                && damage::is_damaged(&folder, &found)
            {
                tracing::warn!(table = schema.name, "the table is damaged; it is made again");
                // What cannot be removed cannot be opened either, and that is said below.
                let _ = std::fs::remove_dir_all(&folder);
                found = load(&address).await;
            }
            let mut table = match found {
                Ok(table) => table,
                Err(DeltaTableError::NotATable(_)) => {
                    create(&address, schema, &upkeep).await.map_err(open)?
                }
                Err(source) => return Err(open(source)),
            };
            let mut evolved = evolve::evolve(&table, schema).await;
            if let Err(WarehouseError::Open { .. }) = evolved {
                // Another process may have opened it at the same time and added the same columns.
                table = load(&address).await.map_err(open)?;
                evolved = evolve::evolve(&table, schema).await;
            }
            if evolved? {
                table = load(&address).await.map_err(open)?;
            }
            let held = Held::of(&table, schema, &upkeep).await.map_err(open)?;
            metrics.opened(schema.name, held.log.version(), held.live_files);
            let state = State { held: Some(held), ..State::default() };
            let (tail, state) = (None, Mutex::new(state));
            Ok(Self { schema, address, upkeep, tail, metrics, state })
        })
    }

    /// Tells a tail of every version from now on; rows that it may hold are forgotten, for whoever
    /// writes this table begins at its positions.
    #[must_use]
    pub fn with_tail(mut self, tail: &Tail) -> Self {
        if let Some(held) = &self.state.get_mut().held {
            tail.attach(held.log.version(), &Positions::new());
        }
        self.tail = Some(tail.clone());
        self
    }

    async fn append(
        &self,
        rows: Vec<RecordBatch>,
        positions: &Positions,
        landing: Option<Landing<'_>>,
    ) -> Result<(), WarehouseError> {
        let rows: Vec<_> = rows
            .iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| fit(batch, self.schema))
            .collect::<Result<_, _>>()?;
        let count = rows.iter().map(RecordBatch::num_rows).sum();
        let mut state = self.state.lock().await;
        let started = Instant::now();
        let mut held = self.take(&mut state, Some(positions)).await?;
        let commit = |source| WarehouseError::Commit { table: self.schema.name, source };
        let added = held.files.write(rows).await.map_err(commit)?;
        let files = added.len();
        let written: Vec<String> = added.iter().map(|add| add.path.clone()).collect();
        let actions = added.into_iter().map(Action::Add).collect();
        self.enter(&mut held, actions, append(), positions).await.map_err(commit)?;
        held.live_files += files;
        state.known.extend(positions.iter().map(|(id, next)| (id.clone(), *next)));
        match (landing, &self.tail) {
            (Some(landing), _) => landing.done(Some(held.log.version())),
            (None, Some(tail)) => tail.moved(held.log.version()),
            (None, None) => {}
        }
        self.metrics.committed(self.schema.name, started.elapsed(), count);
        self.metrics.stands(self.schema.name, held.log.version(), held.live_files);
        self.wrote(&mut state, &held, &written);
        let checkpoint = held.checkpoint;
        self.shorten_neglected_log(&mut held).await;
        if held.checkpoint != checkpoint {
            state.unsynced = None;
        }
        state.held = Some(held);
        Ok(())
    }

    /// Adds an entry to the log.
    async fn enter(
        &self,
        held: &mut Held,
        actions: Vec<Action>,
        operation: DeltaOperation,
        positions: &Positions,
    ) -> Result<(), DeltaTableError> {
        self.harden().await?;
        held.log.append(actions, operation, positions).await
    }

    /// Brings what was written to the disk, where nothing could make it again.
    async fn harden(&self) -> io::Result<()> {
        match folder(&self.address).filter(|_| self.upkeep.only_copy) {
            Some(folder) => bring(folder, None).await,
            None => Ok(()),
        }
    }

    /// Notes the files of a commit and its entry, where somebody has the table synced.
    fn wrote(&self, state: &mut State, held: &Held, files: &[String]) {
        let (Some(unsynced), Some(folder)) = (&mut state.unsynced, folder(&self.address)) else {
            return;
        };
        let paths = files.iter().map(|path| match deltalake::Path::from_url_path(path) {
            Ok(path) => folder.join(path.to_string()),
            Err(_) => folder.join(path),
        });
        unsynced.extend(paths);
        unsynced.push(folder.join(format!("_delta_log/{:020}.json", held.log.version())));
    }

    async fn bring_to_disk(&self) -> Result<(), WarehouseError> {
        let Some(folder) = folder(&self.address) else { return Ok(()) };
        let mut state = self.state.lock().await;
        let synced = bring(folder.clone(), state.unsynced.take()).await;
        synced.map_err(|source| WarehouseError::Write { path: folder, source })?;
        state.unsynced = Some(Vec::new());
        Ok(())
    }

    /// What the writer knows, which is nothing until it is put back. Where it is not known, the
    /// table is read again, and positions that somebody else moved, or an attempt of ours that
    /// went through unseen, end in an error: going on would write rows twice.
    async fn take(
        &self,
        state: &mut MutexGuard<'_, State>,
        positions: Option<&Positions>,
    ) -> Result<Held, WarehouseError> {
        if let Some(held) = state.held.take() {
            return Ok(held);
        }
        state.unsynced = None;
        let open = |source| WarehouseError::Open { table: self.schema.name, source };
        let table = load(&self.address).await.map_err(open)?;
        let applications = positions.iter().flat_map(|positions| positions.keys());
        for application in state.known.keys().chain(applications) {
            let there = position(&table, application).await.map_err(open)?;
            if there != state.known.get(application).copied() {
                return Err(WarehouseError::Moved { table: self.schema.name });
            }
        }
        let held = Held::of(&table, self.schema, &self.upkeep).await.map_err(open)?;
        if let Some(tail) = &self.tail {
            tail.moved(held.log.version());
        }
        Ok(held)
    }

    async fn read_positions(&self, applications: &[String]) -> Result<Positions, WarehouseError> {
        let open = |source| WarehouseError::Open { table: self.schema.name, source };
        let mut state = self.state.lock().await;
        let unknown = applications.iter().any(|id| !state.known.contains_key(id));
        if state.held.is_none() || unknown {
            let table = load(&self.address).await.map_err(open)?;
            let again = state.held.is_none();
            if again {
                state.known.clear();
            }
            for application in applications {
                let found = position(&table, application).await.map_err(open)?;
                state.known.extend(found.map(|at| (application.clone(), at)));
            }
            let held = Held::of(&table, self.schema, &self.upkeep).await.map_err(open)?;
            if let (true, Some(tail)) = (again, &self.tail) {
                tail.attach(held.log.version(), &state.known);
            }
            state.held = Some(held);
        }
        let known = |id: &String| Some((id.clone(), *state.known.get(id)?));
        Ok(applications.iter().filter_map(known).collect())
    }
}

/// Syncs files below a folder; all where it is not known which.
async fn bring(folder: PathBuf, known: Option<Vec<PathBuf>>) -> io::Result<()> {
    let syncing = tokio::task::spawn_blocking(move || {
        let files = known.map_or_else(|| sync::all(&folder), Ok)?;
        sync::sync(&folder, &files)
    });
    syncing.await.map_err(io::Error::other).and_then(|synced| synced)
}

impl Table for DeltaTable {
    fn schema(&self) -> &'static schema::Table {
        self.schema
    }

    fn is_remote(&self) -> bool {
        folder(&self.address).is_none()
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        Box::pin(self.read_positions(applications))
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        Box::pin(self.append(rows, positions, None))
    }

    fn land<'a>(
        &'a self,
        rows: Vec<RecordBatch>,
        positions: &'a Positions,
        landing: Landing<'a>,
    ) -> Pending<'a, ()> {
        Box::pin(self.append(rows, positions, Some(landing)))
    }

    fn sync(&self) -> Pending<'_, ()> {
        Box::pin(self.bring_to_disk())
    }

    fn maintain(&self, now: DateTime<Utc>) -> Pending<'_, Maintained> {
        Box::pin(self.look_after(now))
    }
}

impl Held {
    async fn of(
        table: &deltalake::DeltaTable,
        schema: &'static schema::Table,
        upkeep: &Upkeep,
    ) -> Result<Self, DeltaTableError> {
        let log = Log::of(table)?;
        let checkpoint = log.checkpoint().await?.unwrap_or(0);
        let live_files = table.snapshot()?.log_data().num_files();
        let files = Files::of(table, schema, upkeep.file_bytes)?;
        Ok(Self { log, files, live_files, checkpoint })
    }
}

/// The position that a table's newest commit has of an application.
pub(crate) async fn position(
    table: &deltalake::DeltaTable,
    application: &str,
) -> Result<Option<i64>, DeltaTableError> {
    table.snapshot()?.transaction_version(table.log_store().as_ref(), application).await
}

/// The address of a table below the warehouse's.
pub(crate) fn address(root: &Url, table: &str) -> Result<Url, WarehouseError> {
    let mut root = root.clone();
    if !root.path().ends_with('/') {
        root.set_path(&format!("{}/", root.path()));
    }
    root.join(&format!("{table}/")).map_err(|_| WarehouseError::Address(root.to_string()))
}

/// The folder that an address names, if it names one.
fn folder(address: &Url) -> Option<PathBuf> {
    // A bucket may be called as this machine is.
    if address.scheme() == "file" { address.to_file_path().ok() } else { None }
}

/// A table as its newest commit has it.
pub(crate) async fn load(address: &Url) -> Result<deltalake::DeltaTable, DeltaTableError> {
    load_at(address, None).await
}

/// A table as one of its commits has it, or the newest.
pub(crate) async fn load_at(
    address: &Url,
    version: Option<u64>,
) -> Result<deltalake::DeltaTable, DeltaTableError> {
    let log = "_delta_log";
    let is_there = match folder(address) {
        Some(folder) => folder.join(log).is_dir(),
        // Asked first, for the library logs an error of its own where there is none.
        None => {
            let store = store_for(address, std::iter::empty::<(&str, &str)>())?;
            store.list(Some(&deltalake::Path::from(log))).next().await.transpose()?.is_some()
        }
    };
    if !is_there {
        return Err(DeltaTableError::NotATable(address.to_string()));
    }
    let builder = DeltaTableBuilder::from_url(address.clone())?;
    match version {
        Some(version) => builder.with_version(version).load().await,
        None => builder.load().await,
    }
}

/// A table as its newest commit up to an instant has it.
pub(crate) async fn load_as_of(
    address: &Url,
    instant: DateTime<Utc>,
) -> Result<deltalake::DeltaTable, DeltaTableError> {
    let mut table = load_at(address, None).await?;
    table.load_with_datetime(instant).await?;
    // Before its oldest entry the log gives that entry, which is not what was.
    let version = table.version().unwrap_or(0);
    if entry(&table, version).await?.last_modified <= instant {
        return Ok(table);
    }
    Err(match version {
        0 => DeltaTableError::NotATable(address.to_string()),
        _ => DeltaTableError::Generic(format!("its state of {instant} is not kept any longer")),
    })
}

/// What the storage knows of the entry that made a version: when it was put there, and which of all
/// that were ever put under its name it is.
pub(crate) async fn entry(
    table: &deltalake::DeltaTable,
    version: u64,
) -> Result<ObjectMeta, DeltaTableError> {
    Ok(table.object_store().head(&commit_uri_from_version(Some(version))).await?)
}

async fn create(
    address: &Url,
    schema: &'static schema::Table,
    upkeep: &Upkeep,
) -> Result<deltalake::DeltaTable, DeltaTableError> {
    let columns: deltalake::kernel::StructType = schema.arrow().as_ref().try_into_kernel()?;
    let partitions: &[&str] = if schema.by_date { &["date"] } else { &[] };
    let checkpoints = upkeep.checkpoint_commits.to_string();
    // Other writers, where there are any, keep statistics as we do.
    let indexed = schema.indexed().join(",");
    let created = CreateBuilder::new()
        .with_location(address.as_str())
        .with_table_name(schema.name)
        .with_comment(schema.about)
        .with_columns(columns.fields().cloned())
        .with_partition_columns(partitions.iter().copied())
        .with_configuration_property(TableProperty::CheckpointInterval, Some(checkpoints))
        .with_configuration_property(TableProperty::DataSkippingStatsColumns, Some(indexed))
        // Where somebody comes first, the table is theirs; it is not made a second time on top.
        .with_commit_properties(CommitProperties::default().with_max_retries(0))
        .await;
    match created {
        Ok(table) => Ok(table),
        // Another process made it meanwhile, or an attempt of ours went through unseen.
        Err(error) => load(address).await.map_err(|_| error),
    }
}
