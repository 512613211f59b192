//! Tables that queries keep open: read once, then brought up to date by what the log has new.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    datasource::{TableProvider, empty::EmptyTable},
    execution::SessionState,
};
use deltalake::DeltaTableError;
use object_store::ObjectMeta;
use tokio::sync::Mutex;
use url::Url;

use super::{restricted::Moment, template};
use crate::{
    error::WarehouseError,
    schema,
    table::{
        Pending,
        delta::{address, entry, load_as_of, load_at},
    },
};

/// Versions after which a table is opened anew from its checkpoint: what is brought up to date step
/// by step keeps a piece of memory per step.
const STEPS: u64 = 100;

/// A table that is open, or none yet; one query at a time opens it.
type Slot = Arc<Mutex<Option<Reader>>>;

/// What the queries of a process keep of its tables.
pub(crate) struct Readers {
    state: std::sync::OnceLock<SessionState>,
    slots: std::sync::Mutex<BTreeMap<&'static str, Slot>>,
}

/// A table at a version.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) table: deltalake::DeltaTable,
    pub(crate) provider: Arc<dyn TableProvider>,
    version: u64,
    /// The version at which it was opened.
    opened: u64,
    /// The log's entry of the version. Where it is gone, or another one is under its name, the table
    /// may have been made anew.
    entry: Option<ObjectMeta>,
    address: Url,
}

impl Reader {
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Whether it is of the same table, and not of one that was made anew in its place.
    fn is_of(&self, other: &Self) -> bool {
        let id = |reader: &Self| Some(reader.table.snapshot().ok()?.metadata().id().to_owned());
        id(self) == id(other)
    }
}

impl Default for Readers {
    fn default() -> Self {
        Self { state: std::sync::OnceLock::new(), slots: std::sync::Mutex::default() }
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Readers {
    /// What every session begins with; they share one memory.
    pub(crate) fn state(&self) -> Result<&SessionState, WarehouseError> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        let state = template()?;
        Ok(self.state.get_or_init(|| state))
    }

    /// A table at a version, or at its newest; none where nobody has made it.
    pub(crate) fn at<'a>(
        &'a self,
        root: &'a Url,
        table: &'static schema::Table,
        version: Option<u64>,
    ) -> Pending<'a, Option<Reader>> {
        Box::pin(self.find(root, table, version))
    }

    async fn find(
        &self,
        root: &Url,
        table: &'static schema::Table,
        version: Option<u64>,
    ) -> Result<Option<Reader>, WarehouseError> {
        let address = address(root, table.name)?;
        let slot = self.slot(table.name);
        let mut slot = slot.lock().await;
        let open = |source| WarehouseError::Open { table: table.name, source };
        let known = slot.take().filter(|reader| reader.address == address);
        if let Some(known) = &known
            && version.is_some_and(|version| version <= known.version)
        {
            // A query that began before the newest commit does not hold up those after it.
            *slot = Some(known.clone());
            if version == Some(known.version) {
                return Ok(Some(known.clone()));
            }
            let older = load_at(&address, version).await.map_err(open)?;
            let older = self.reader(older, address).await?;
            if !older.is_of(known) {
                // The table was made anew and has fewer versions.
                *slot = Some(older.clone());
            }
            return Ok(Some(older));
        }
        let reader = match self.follow(known, version).await? {
            Some(reader) => reader,
            None => match load_at(&address, version).await {
                Ok(table) => self.reader(table, address).await?,
                Err(DeltaTableError::NotATable(_)) => return Ok(None),
                Err(source) => return Err(open(source)),
            },
        };
        *slot = Some(reader.clone());
        Ok(Some(reader))
    }

    /// A table as it was committed by a moment; empty before it was made.
    pub(super) async fn past(
        &self,
        root: &Url,
        table: &'static schema::Table,
        moment: Moment,
    ) -> Result<Arc<dyn TableProvider>, WarehouseError> {
        let address = address(root, table.name)?;
        let found = match moment {
            Moment::Version(version) => load_at(&address, Some(version)).await,
            Moment::Instant(instant) => load_as_of(&address, instant).await,
        };
        let found = match found {
            Ok(found) => found,
            Err(DeltaTableError::NotATable(_)) => {
                return Ok(Arc::new(EmptyTable::new(table.as_queried())));
            }
            Err(source) => return Err(WarehouseError::Open { table: table.name, source }),
        };
        Ok(self.reader(found, address).await?.provider)
    }

    /// Has a table opened anew when it is asked for next: another may be in its place, and have come
    /// to the version that is open.
    pub(crate) fn forget(&self, table: &str) {
        let mut slots = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Whoever is opening it goes on with the slot that it has.
        slots.remove(table);
    }

    fn slot(&self, table: &'static str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(slots.entry(table).or_default())
    }

    /// What is known, brought up to date; nothing where opening anew is better.
    async fn follow(
        &self,
        known: Option<Reader>,
        version: Option<u64>,
    ) -> Result<Option<Reader>, WarehouseError> {
        let Some(mut known) = known else { return Ok(None) };
        if version.is_some_and(|version| version > known.opened + STEPS) {
            return Ok(None);
        }
        let entry = entry(&known.table, known.version).await.ok();
        if entry.is_none() || entry != known.entry {
            return Ok(None);
        }
        if known.table.update_incremental(version).await.is_err() {
            // What it needed of the log may be covered by a checkpoint now.
            return Ok(None);
        }
        let newest = known.table.version().unwrap_or(known.version);
        if newest == known.version {
            return Ok(Some(known));
        }
        if newest > known.opened + STEPS {
            return Ok(None);
        }
        let reader = self.reader(known.table, known.address).await?;
        Ok(Some(Reader { opened: known.opened, ..reader }))
    }

    async fn reader(
        &self,
        table: deltalake::DeltaTable,
        address: Url,
    ) -> Result<Reader, WarehouseError> {
        let state = Arc::new(self.state()?.clone());
        let provider = table.table_provider().with_session(state).build().await?;
        let version = table.version().unwrap_or(0);
        let entry = entry(&table, version).await.ok();
        let provider = Arc::new(provider);
        Ok(Reader { table, provider, version, opened: version, entry, address })
    }
}
