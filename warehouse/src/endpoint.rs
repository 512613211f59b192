//! SQL for whoever may ask: one meaning behind two doors, PostgreSQL's wire protocol and Flight SQL.
//!
//! A statement is read-only by a list of what is allowed ([`statement`]), sees the tables through its
//! reader's eyes ([`access`](crate::access)), and runs within bounds: time, memory, rows. It sees one
//! state of all tables; within a transaction every statement sees the same one.
//!
//! **Invariant:** no statement, through either door, changes a table, a setting of the node or a file, or
//! reads a file or the network.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
        SchemaProvider,
        information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider},
    },
    execution::{
        SessionState, SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::SessionContext,
    sql::sqlparser::{
        ast::Statement, dialect::PostgreSqlDialect, parser::ParserError, tokenizer::Tokenizer,
    },
};
use datafusion_pg_catalog::{
    pg_catalog::{
        PgCatalogSchemaProvider, PgCatalogStaticTables, context::EmptyContextProvider,
        setup_pg_catalog,
    },
    sql::PostgresCompatibilityParser,
};

use crate::{
    access::{Reader, View},
    error::WarehouseError,
    metrics::Metrics,
    nesting,
    session::Session,
};
use information::Information;
use memory::Memory;
use names::Names;
use statement::Asked;
use tokio::runtime::Handle;

pub mod flight;
mod functions;
mod information;
mod memory;
mod names;
pub mod postgres;
mod rewrite;
mod running;
pub(crate) mod statement;
mod stopping;
mod wide;

/// What clients see the database called.
pub const DATABASE: &str = "avis";
/// How long a door waits after a connection that it could not take.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// The schema that the tables are in.
const SCHEMA: &str = "public";

/// The bounds of a statement.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long one may run.
    pub timeout: Duration,
    /// What one may keep in memory; beyond, it spills to disk or fails.
    pub memory_bytes: usize,
    /// What all of them may keep in memory together.
    pub all_memory_bytes: usize,
    /// What one may spill to disk.
    pub spill_bytes: u64,
    /// Rows that one may answer with, to readers who are not finance or administrators; 0 is any.
    pub rows: u64,
    /// Connections at once, of each door.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            memory_bytes: 512 << 20,
            all_memory_bytes: 2 << 30,
            spill_bytes: 4 << 30,
            rows: 10_000_000,
            connections: 100,
        }
    }
}

/// Who is let in.
pub trait Gate: Send + Sync + std::fmt::Debug + 'static {
    /// The reader that a name and a token stand for.
    ///
    /// # Errors
    /// Why not, in words that may be told to whoever knocks.
    fn admit(&self, name: &str, token: &str) -> Result<Reader, String>;

    /// The reader that a token stands for.
    ///
    /// # Errors
    /// Why not.
    fn bearer(&self, token: &str) -> Result<Reader, String>;

    /// The stored password of a role, if it has one, and the reader it stands for.
    fn stored(&self, name: &str) -> Option<(Stored, Reader)>;
}

/// A password as it is stored (RFC 5802): salted and hashed, so that nobody reads it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The salt.
    pub salt: Vec<u8>,
    /// The salted password.
    pub salted: Vec<u8>,
}

impl Stored {
    /// A password for storing, under a salt.
    #[must_use]
    pub fn of(password: &str, salt: Vec<u8>) -> Self {
        let salted = postgres::salted(password, &salt);
        Self { salt, salted }
    }
}

/// Gives the tables as they are now.
pub type Open = Arc<dyn Fn() -> Result<Session, WarehouseError> + Send + Sync>;

/// What was asked, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// By whom.
    pub reader: &'a Reader,
    /// The statement without its values.
    pub statement: &'a str,
    /// `answered`, or why not.
    pub outcome: &'static str,
}

/// Is told every statement when it has ended.
pub type Tell = Arc<dyn Fn(&Entry<'_>) + Send + Sync>;

/// What both doors share.
pub struct Endpoint {
    open: Open,
    limits: Limits,
    memory: Memory,
    tell: Tell,
    metrics: Metrics,
    /// The threads that compute answers.
    executor: Handle,
    /// PostgreSQL's functions and types beside ours.
    base: SessionState,
    statics: Arc<PgCatalogStaticTables>,
    /// `pg_catalog` by what a view shows; identifiers stay as long as the node runs.
    catalogues: Mutex<HashMap<String, Arc<dyn SchemaProvider>>>,
    parser: PostgresCompatibilityParser,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint over tables; answers are computed on the threads of `executor`.
    ///
    /// # Errors
    /// Where PostgreSQL's catalogue cannot be made.
    pub fn new(
        open: Open,
        limits: Limits,
        tell: Tell,
        metrics: Metrics,
        executor: Handle,
    ) -> Result<Arc<Self>, WarehouseError> {
        let mut state = crate::session::template()?;
        let catalog = &mut state.config_mut().options_mut().catalog;
        catalog.default_catalog = DATABASE.to_owned();
        catalog.default_schema = SCHEMA.to_owned();
        // The engine's own would stand before ours.
        catalog.information_schema = false;
        let context = SessionContext::new_with_state(state);
        context.register_catalog(DATABASE, Arc::new(MemoryCatalogProvider::new()));
        setup_pg_catalog(&context, DATABASE, EmptyContextProvider)
            .map_err(|error| WarehouseError::Query(*error))?;
        functions::register(&context);
        metrics.limited(limits.connections);
        Ok(Arc::new(Self {
            open,
            memory: Memory::new(limits.memory_bytes, limits.all_memory_bytes),
            limits,
            tell,
            metrics,
            executor,
            base: context.state(),
            statics: Arc::new(PgCatalogStaticTables::try_new()?),
            catalogues: Mutex::default(),
            parser: PostgresCompatibilityParser::new(),
        }))
    }

    /// The tables as a reader sees them now, for one statement or one transaction.
    pub(crate) fn context(&self, reader: &Reader) -> Result<SessionContext, WarehouseError> {
        let tables = (self.open)()?.restricted(&reader.view);
        let as_of = tables.as_of();
        let tables: Arc<dyn SchemaProvider> = Arc::new(tables);
        let pg_catalog = self.pg_catalog(&reader.view)?;
        let schemas = [(SCHEMA, tables), ("pg_catalog", pg_catalog)];
        // The engine tells of a list without it, which would hold itself otherwise.
        let engine = InformationSchemaProvider::new(catalogues(schemas.clone())?);
        let information: Arc<dyn SchemaProvider> =
            Arc::new(Information::new(Arc::new(engine), &reader.view));
        let list = catalogues(schemas.into_iter().chain([(INFORMATION_SCHEMA, information)]))?;
        let spill = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::OsTmpDirectory)
            .with_max_temp_directory_size(self.limits.spill_bytes);
        let runtime = RuntimeEnvBuilder::from_runtime_env(self.base.runtime_env())
            .with_memory_pool(self.memory.share())
            .with_disk_manager_builder(spill)
            .build_arc()?;
        let state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_catalog_list(list)
            .with_runtime_env(runtime)
            .build();
        let context = SessionContext::new_with_state(state);
        context.register_udtf("as_of", as_of);
        functions::reader(&context, &reader.name);
        Ok(context)
    }

    /// The statements of a text.
    pub(crate) fn parse(&self, text: &str) -> Result<Vec<Statement>, ParserError> {
        parse(&self.parser, text)
    }

    fn pg_catalog(&self, view: &View) -> Result<Arc<dyn SchemaProvider>, WarehouseError> {
        // Every grantor sees the same names, and every merchant.
        let mut known = self.catalogues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(view.code()) {
            return Ok(Arc::clone(known));
        }
        let names = Names::of(view);
        let statics = Arc::clone(&self.statics);
        let made = PgCatalogSchemaProvider::try_new(names, statics, EmptyContextProvider)?;
        let made: Arc<dyn SchemaProvider> = Arc::new(made);
        known.insert(view.code().to_owned(), Arc::clone(&made));
        Ok(made)
    }

    /// The most rows that a reader may be answered with; none is any number.
    pub(crate) fn rows(&self, reader: &Reader) -> Option<u64> {
        let bound = !matches!(reader.view, View::Everything | View::Finance);
        (bound && self.limits.rows > 0).then_some(self.limits.rows)
    }
}

/// The one catalogue, with some schemas.
fn catalogues(
    schemas: impl IntoIterator<Item = (&'static str, Arc<dyn SchemaProvider>)>,
) -> Result<Arc<dyn CatalogProviderList>, WarehouseError> {
    let catalog = MemoryCatalogProvider::new();
    for (name, schema) in schemas {
        catalog.register_schema(name, schema)?;
    }
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(DATABASE.to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}

fn parse(parser: &PostgresCompatibilityParser, text: &str) -> Result<Vec<Statement>, ParserError> {
    // What is no SQL at all, the parser says better.
    if let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize() {
        nesting::check(&tokens).map_err(ParserError::ParserError)?;
    }
    let mut statements = parser.parse(text)?;
    rewrite::rewrite(&mut statements);
    Ok(statements)
}

/// What would be planned of a text at either door, where every statement of it is let through.
///
/// # Errors
/// Why the text is no SQL, or which of it may not be asked.
pub fn planned(text: &str) -> Result<Vec<Statement>, String> {
    static PARSER: LazyLock<PostgresCompatibilityParser> =
        LazyLock::new(PostgresCompatibilityParser::new);
    let mut planned = Vec::new();
    for statement in parse(&PARSER, text).map_err(|error| error.to_string())? {
        match statement::asked(statement).map_err(|refused| refused.text)? {
            Asked::Query(statement) | Asked::Copy(statement, _) | Asked::Declare(_, statement) => {
                planned.push(*statement);
            }
            _ => {}
        }
    }
    Ok(planned)
}
