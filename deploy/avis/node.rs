//! One node's parts, put together: the streams, the keys, the tables, and who works on them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use authoriser::{authorise::Parts, claims::Claims, fence::Fence, index::Index};
use chrono::NaiveDate;
use connectors::{
    access::{TerminalKeys, Tokens},
    known::Known,
    load::Context,
};
use ingest::{
    clock::Clock,
    log::{
        Log,
        embedded::EmbeddedLog,
        fluvio::{self, FluvioLog},
    },
    metrics::ClusterMetrics,
    vault::Vault,
};
use pipelines::{
    catalogue,
    entitlements::Evaluator,
    error::PipelineError,
    folder::FolderTable,
    own,
    pipeline::Pipeline,
    runner::{Beside, Runner, check},
    settlements::Settlements,
    states::States,
    summary::Summary,
};
use prometheus::{Registry, TextEncoder};
use url::Url;
use warehouse::{
    error::WarehouseError,
    schema,
    session::Session,
    settlement::kept,
    table::{self, Table, delta::DeltaTable, upkeep::Upkeep},
    tail::Tails,
};

use crate::{
    config::{Config, LogEngine, Pipelines},
    failure::Failure,
    person,
    role::Roles,
    rotation::Rotations,
    token_key,
    vitals::Vitals,
};

/// Lies in a folder while a restore into it is not finished.
pub const UNFINISHED: &str = "restore-unfinished";
/// How long a command waits for a cluster to take what it appends: longer than what is in doubt is published
/// anew. Whoever asks a node that serves has a deadline of their own.
const APPENDING: Duration = Duration::from_secs(180);

/// A node over a folder: `log`, `keys`, `index` and `warehouse` lie in it. Of one that has one role the keys, and
/// what goes with them, lie in the folder of another, and the tables are elsewhere.
#[derive(Debug)]
pub struct Node {
    /// Its folder.
    pub folder: PathBuf,
    /// Its roles.
    pub roles: Roles,
    /// The folder that the keys lie in, with who was erased, and when pseudonyms rotated.
    pub keys: PathBuf,
    /// Its streams.
    pub log: Arc<dyn Log>,
    /// Its keys.
    pub vault: Vault,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// What loading needs.
    pub loading: Context,
    /// What its streams hold already, for whoever takes what other systems send.
    pub known: Known,
    /// Who brings settlements into their tables, for whoever has the turn to; the tables are open since
    /// the last one.
    pub settling: tokio::sync::Mutex<Option<Settlements>>,
    /// The local days on which recipients got other pseudonyms, as of the start.
    rotated: Vec<NaiveDate>,
    tokens: Tokens,
    /// The keys of terminals that sign their own tokens.
    pub terminal_keys: Arc<TerminalKeys>,
    /// Where the tables are.
    root: Url,
    /// The rows that have not landed in its tables.
    pub tails: Tails,
    landing: Pipelines,
    retention: BTreeMap<String, u32>,
    metrics: Metrics,
}

/// The metrics of all parts.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where all are registered.
    pub registry: Registry,
    ingest: ingest::metrics::Metrics,
    connectors: connectors::metrics::Metrics,
    /// Those of decisions and of their cache.
    pub authoriser: authoriser::metrics::Metrics,
    pipelines: pipelines::metrics::Metrics,
    /// Those of the tables and the doors to them.
    pub warehouse: warehouse::metrics::Metrics,
    /// The node's own.
    pub vitals: Arc<Vitals>,
}

impl Metrics {
    /// Registers the metrics of every part.
    ///
    /// # Errors
    /// Never in practice: the registry is new.
    pub fn new(folder: &Path) -> Result<Self, Failure> {
        let registry = Registry::new();
        Ok(Self {
            ingest: ingest::metrics::Metrics::register(&registry)?,
            connectors: connectors::metrics::Metrics::register(&registry)?,
            authoriser: authoriser::metrics::Metrics::register(&registry)?,
            pipelines: pipelines::metrics::Metrics::register(&registry)?,
            warehouse: warehouse::metrics::Metrics::register(&registry)?,
            vitals: Arc::new(Vitals::register(&registry, folder)?),
            registry,
        })
    }
}

impl Metrics {
    /// The streams, where the settings say that they are.
    fn log(
        &self,
        folder: &Path,
        config: &Config,
        append_timeout: Option<Duration>,
    ) -> Result<Arc<dyn Log>, Failure> {
        let (own, metrics) = (config.embedded()?, self.ingest.clone());
        Ok(match config.log.engine {
            LogEngine::Embedded => Arc::new(EmbeddedLog::open(&folder.join("log"), &own, metrics)?),
            LogEngine::Fluvio => {
                let cluster = ClusterMetrics::register(&self.registry)?;
                let settings = fluvio::Settings { append_timeout, ..config.fluvio()? };
                Arc::new(FluvioLog::open(folder, settings, metrics, cluster)?)
            }
        })
    }
}

/// Refuses a folder into which a restore was cut off.
///
/// # Errors
/// Where it was.
pub fn is_finished(folder: &Path) -> Result<(), Failure> {
    if folder.join(UNFINISHED).exists() {
        let folder = folder.display();
        let text = format!("a restore into {folder} was cut off; run `avis restore` again");
        return Err(Failure::State(text));
    }
    Ok(())
}

impl Node {
    /// Opens a node's folder for a command, and makes it where there is none.
    ///
    /// # Errors
    /// Where another process has it, or it cannot be read.
    pub fn open(folder: &Path, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        Self::opened(Roles::ALL, folder, config, clock, Some(APPENDING))
    }

    /// As [`open`](Self::open), to serve, with some roles alone.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where the keys of another role are not there.
    pub fn open_as(
        roles: Roles,
        folder: &Path,
        config: &Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        Self::opened(roles, folder, config, clock, None)
    }

    fn opened(
        roles: Roles,
        folder: &Path,
        config: &Config,
        clock: Arc<dyn Clock>,
        append_timeout: Option<Duration>,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)
            .map_err(|source| Failure::Folder { path: folder.to_path_buf(), source })?;
        is_finished(folder)?;
        let metrics = Metrics::new(folder)?;
        // The log first: its lock says in words that another process has the folder.
        let log = metrics.log(folder, config, append_timeout)?;
        let elsewhere = roles.keys_elsewhere(folder, config);
        let vault = match &elsewhere {
            Some(keys) => Vault::follow(&keys.join("keys"))?,
            None => Vault::open(&folder.join("keys"))?,
        };
        if elsewhere.is_none() {
            token_key::keep(folder, &vault)?;
        }
        let keys = elsewhere.unwrap_or_else(|| folder.to_path_buf());
        person::forget_keys(&keys, &vault)?;
        let rotations = Rotations::read(&keys)?;
        vault.set_rotations(rotations.count());
        let loading = Context {
            log: Arc::clone(&log),
            vault: vault.clone(),
            clock: Arc::clone(&clock),
            metrics: metrics.connectors.clone(),
            streams: metrics.ingest.clone(),
        };
        let root = config.warehouse(folder)?;
        let (folder, tails) = (folder.to_path_buf(), Tails::default());
        let (landing, retention) = (config.pipelines, config.retention.clone());
        let settling = tokio::sync::Mutex::default();
        let rotated = rotations.days();
        let terminal_keys = Arc::<TerminalKeys>::default();
        let terminals = Arc::clone(&terminal_keys);
        let tokens = Tokens::beside(&vault, Arc::clone(&clock), config.issuer(), terminals);
        Ok(Self {
            folder,
            roles,
            keys,
            log,
            vault,
            clock,
            loading,
            known: Known::default(),
            settling,
            rotated,
            tokens,
            terminal_keys,
            root,
            tails,
            landing,
            retention,
            metrics,
        })
    }

    /// How often recipients had got other pseudonyms by the start.
    #[must_use]
    pub fn rotations(&self) -> u32 {
        u32::try_from(self.rotated.len()).unwrap_or(u32::MAX)
    }

    /// The tokens of this node.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.tokens.clone()
    }

    /// The metrics of all parts.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The text that Prometheus reads, as of now.
    ///
    /// # Errors
    /// Never in practice: what is registered can be written.
    pub fn exposition(&self) -> Result<String, prometheus::Error> {
        self.metrics.vitals.observe();
        for (table, fill) in self.tails.fills() {
            self.metrics.warehouse.waiting(table, fill.rows);
        }
        TextEncoder::new().encode_to_string(&self.metrics.registry.gather())
    }

    /// What an authoriser works over; the index is brought up to the stream's end.
    ///
    /// # Errors
    /// Where a stream or the index cannot be read.
    pub async fn parts(&self) -> Result<Parts, Failure> {
        let index = Index::open(&self.folder.join("index"), &self.log).await?;
        Ok(Parts {
            log: Arc::clone(&self.log),
            vault: self.vault.clone(),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.authoriser.clone(),
            claims: Claims::over(Arc::clone(&index)),
            fence: Fence::new(0),
            index,
        })
    }

    /// The evaluation of groups, where it was.
    ///
    /// # Errors
    /// Where a stream cannot be read.
    pub async fn evaluator(&self) -> Result<Evaluator, Failure> {
        let (log, clock) = (Arc::clone(&self.log), Arc::clone(&self.clock));
        Ok(Evaluator::open(log, self.vault.clone(), clock).await?)
    }

    /// The shipped pipelines and the operator's own, with their tables and folders.
    ///
    /// # Errors
    /// Where a table cannot be opened.
    pub async fn pipelines(&self) -> Result<Runner, Failure> {
        let mut lines = Vec::new();
        for pipeline in self.planned().await? {
            let table: Arc<dyn Table> = match self.filled(&pipeline).await {
                Ok(Some(folder)) => Arc::new(folder),
                Ok(None) => Arc::new(self.table(&pipeline.name).await?),
                // As of a file that does not plan: a node does not stop for it.
                Err(error) => {
                    let pipeline = &pipeline.name;
                    tracing::error!(pipeline, %error, "a pipeline of your own is left out");
                    continue;
                }
            };
            lines.push((pipeline, table));
        }
        let (log, clock) = (Arc::clone(&self.log), Arc::clone(&self.clock));
        let metrics = self.metrics.pipelines.clone();
        let late = match self.landing.keep_late {
            true => Some(Arc::new(self.table("late_rows").await?) as Arc<dyn Table>),
            false => None,
        };
        let beside = Beside { states: Arc::new(self.states()), tails: &self.tails, late };
        Ok(Runner::new(log, clock, metrics, self.landing.runner(), beside, lines)?)
    }

    /// The folder that a pipeline fills, where it fills one. One that is ahead of the streams, as where
    /// these come from a backup, is nothing to go on with.
    async fn filled(&self, pipeline: &Pipeline) -> Result<Option<FolderTable>, PipelineError> {
        let Some(folder) = FolderTable::of(pipeline)? else { return Ok(None) };
        check(self.log.as_ref(), &self.states(), pipeline, &folder).await?;
        Ok(Some(folder))
    }

    /// The shipped pipelines and those of the operator's own that run.
    ///
    /// # Errors
    /// Where a shipped file does not plan.
    pub async fn planned(&self) -> Result<Vec<Pipeline>, Failure> {
        let mut planned = catalogue::shipped().await?;
        planned.extend(own::all(&own_folder(&self.folder)).await);
        Ok(planned)
    }

    async fn table(&self, name: &str) -> Result<DeltaTable, Failure> {
        let schema =
            schema::table(name).ok_or_else(|| Failure::NoTable { pipeline: name.to_owned() })?;
        let keep_days = self.keeps_days(name);
        // Late rows are in no stream by themselves: a pipeline that is past them tells of none again.
        let only_copy = name == "late_rows";
        let upkeep = Upkeep { keep_days, only_copy, ..Upkeep::default() };
        let metrics = self.metrics.warehouse.clone();
        let table = DeltaTable::open_with(&self.root, schema, metrics, upkeep).await?;
        Ok(table.with_tail(&self.tails.of(schema)))
    }

    /// For how many days a table keeps its rows; none where it keeps them for ever.
    #[must_use]
    pub fn keeps_days(&self, table: &str) -> Option<u32> {
        self.retention.get(table).copied().filter(|days| *days > 0)
    }

    /// Where pipelines keep what they gather.
    #[must_use]
    pub fn states(&self) -> States {
        States::Folder(self.folder.join("pipelines"))
    }

    /// A table without rows, whatever it held before.
    ///
    /// # Errors
    /// Where the old one cannot be removed or the new one not be made.
    pub async fn table_anew(&self, name: &str) -> Result<DeltaTable, Failure> {
        let schema =
            schema::table(name).ok_or_else(|| Failure::NoTable { pipeline: name.to_owned() })?;
        table::delta::remove(&self.root, schema.name).await?;
        self.table(name).await
    }

    /// The shipped summaries with their tables.
    ///
    /// # Errors
    /// Where a table cannot be opened.
    pub async fn summaries(&self) -> Result<Vec<Summary>, Failure> {
        let mut summaries = Vec::new();
        for (name, query) in catalogue::SUMMARIES {
            summaries.push(Summary::new(name, query, Arc::new(self.table(name).await?)));
        }
        Ok(summaries)
    }

    /// Who brings the stream of settlements into its tables.
    ///
    /// # Errors
    /// Where a table cannot be opened.
    pub async fn settlements(&self) -> Result<Settlements, Failure> {
        let (statements, lines) = (self.table(kept::STATEMENTS), self.table(kept::LINES));
        let (statements, lines) = (Arc::new(statements.await?), Arc::new(lines.await?));
        Ok(Settlements::new(Arc::clone(&self.log), statements, lines))
    }

    /// The address of the tables.
    #[must_use]
    pub const fn warehouse(&self) -> &Url {
        &self.root
    }

    /// The same as people write it: a folder's path, or an address.
    #[must_use]
    pub fn warehouse_shown(&self) -> String {
        match self.root.to_file_path() {
            Ok(folder) if self.root.scheme() == "file" => {
                folder.components().collect::<PathBuf>().display().to_string()
            }
            _ => self.root.as_str().trim_end_matches('/').to_owned(),
        }
    }

    /// A session over the tables as they are now, with the rows that have not landed yet.
    ///
    /// # Errors
    /// Where there is no memory for queries.
    pub fn session(&self) -> Result<Session, Failure> {
        Ok(self.tables()?.rotated(self.rotated.clone())?)
    }

    /// A session over the tables as their newest commits have them now, whoever writes meanwhile.
    ///
    /// # Errors
    /// Where a table that is there cannot be read.
    pub async fn landed(&self) -> Result<Session, Failure> {
        Ok(Session::open(&self.root).await?.rotated(self.rotated.clone())?)
    }

    /// As [`session`](Self::session), for who asks the warehouse alone.
    ///
    /// # Errors
    /// Where there is no memory for queries.
    pub fn tables(&self) -> Result<Session, WarehouseError> {
        Session::open_with(&self.root, &self.tails)
    }
}

/// Where the operator's own pipelines lie, `<table>.sql` each.
#[must_use]
pub fn own_folder(folder: &Path) -> PathBuf {
    folder.join("sql")
}
