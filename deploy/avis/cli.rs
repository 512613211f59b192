//! The command line, as `contracts.md` fixes it. Each subcommand runs in the file of its name.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

mod keep;
mod people;
mod pipelines;
mod registers;
mod settle;
mod streams;

pub use keep::{BackupArguments, RestoreArguments, VerifyArguments};
pub use people::{AuditCommand, PersonCommand};
pub use pipelines::{ExportArguments, ExportTarget, PipelinesCommand, RestartArguments};
pub use registers::{LoadCommand, RegistryCommand, SendArguments};
pub use settle::SettleCommand;
pub use streams::{DeadLettersCommand, From, RecordFormat, StreamCommand, Which};

/// AVIS: the platform on which a country grants benefits.
#[derive(Debug, Parser)]
#[command(
    name = "avis",
    version,
    about,
    after_help = "Examples:\n  avis demo                         the main job on real baskets, to the cent\n  \
                  avis up --data avis-demo          serve what the demo left\n  \
                  avis sql \"SELECT grantor_id, SUM(amount) FROM benefit_lines GROUP BY grantor_id\""
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the main job to its end: load, decide, land, settle, publish, check the books.
    #[command(after_help = "Examples:\n  avis demo\n  avis demo --out /tmp/demo --json\n  \
                            avis demo --generate 1000000 --people 100000 --seed 7")]
    Demo(DemoArguments),
    /// Serve: answer terminals, decide, land tables; with a page to try the API.
    #[command(after_help = "Examples:\n  avis up --data avis-demo --dev\n  \
                            avis up --data /var/lib/avis --config avis.toml\n\n\
                            Settings and their defaults: avis config show")]
    Up(UpArguments),
    /// Ask the node that runs with these settings whether it is well; for supervisors.
    #[command(
        after_help = "Examples:\n  avis health --config /etc/avis/avis.toml\n  avis health --live"
    )]
    Health(HealthArguments),
    /// SQL over the warehouse's tables.
    #[command(
        after_help = "Example:\n  avis sql \"SELECT decision, COUNT(*) AS n FROM authorisations \
                            GROUP BY decision\" --format csv\n\n\
                            A running node is asked by psql (port 5433) or Flight SQL (port 50052)."
    )]
    Sql(SqlArguments),
    /// A report over some days.
    #[command(after_help = "Examples:\n  avis report --list\n  \
                            avis report use-per-instruction --from 2025-01-01 --to 2025-01-31\n  \
                            AVIS_TOKEN=… avis report --list --server http://[::1]:8080\n  \
                            avis report budgets --from 2025-01-01 --to 2025-01-31 --format xlsx > budgets.xlsx")]
    Report(ReportArguments),
    /// Close periods, export statements, prove that the books balance.
    #[command(
        subcommand,
        after_help = "Examples:\n  avis settle close --period 2025-01 --data avis-demo\n  \
                      avis settle export --period 2025-01 --out statements --data avis-demo"
    )]
    Settle(SettleCommand),
    /// What other rules would have done to recorded transactions.
    #[command(
        after_help = "Examples:\n  avis simulate --registry draft.yaml --from 2025-01-01 --to 2025-01-31 --data avis-demo\n  \
                      AVIS_TOKEN=… avis simulate --registry draft.yaml --from 2025-01-01 --to \
                      2025-01-31 --server http://[::1]:8080\n\n\
                      A running node plays them for administrators, one simulation at a time."
    )]
    Simulate(SimulateArguments),
    /// What is held of a person, and that it is forgotten.
    #[command(
        subcommand,
        after_help = "Example:\n  avis person export 010180-12345 --data avis-demo"
    )]
    Person(PersonCommand),
    /// Who read or changed what, and the proof that nobody rewrote it.
    #[command(subcommand, after_help = "Example:\n  avis audit verify --data avis-demo")]
    Audit(AuditCommand),
    /// Compare streams, tables, index, cache, statements, payment orders, trail and keys, and name every row
    /// or cent that drifts.
    #[command(after_help = "Examples:\n  avis verify --data avis-demo\n  \
                            avis verify --data avis-demo --json\n  \
                            AVIS_TOKEN=… avis verify --server http://[::1]:8080\n\n\
                            Exit 1 where anything drifts. Nothing is changed. Redis is asked \
                            where the settings say that counters are kept there.\n\n\
                            A running node compares what can be proved while it works: each table \
                            as one of its versions has it with the stream up to where that version \
                            has read it, the statements that have landed, the trail and the keys. \
                            Its index and the counters in Redis move meanwhile and are left out, \
                            which a note says: compare them in a stopped node's folder, or in a \
                            copy that was restored.")]
    Verify(VerifyArguments),
    /// Copy a node's streams up to one instant, running or stopped; its keys apart.
    #[command(after_help = "Examples:\n  avis backup /backup/avis --data /var/lib/avis\n  \
                            AVIS_TOKEN=… avis backup /backup/avis --server http://[::1]:8080\n\n\
                            Again into the same folder only what is new is copied.")]
    Backup(BackupArguments),
    /// Bring a node's folder back from a backup, as it was at an instant; then verify it.
    #[command(after_help = "Examples:\n  avis restore /backup/avis --data /var/lib/avis\n  \
                            avis restore /backup/avis --to 2025-01-15T12:00:00Z --data elsewhere")]
    Restore(RestoreArguments),
    /// The registry as a file: check it, show what would change, apply all of it or nothing.
    #[command(
        subcommand,
        after_help = "Examples:\n  avis registry diff registry.yaml --data avis-demo\n  \
                      AVIS_TOKEN=… avis registry apply registry.yaml --server http://[::1]:8080"
    )]
    Registry(RegistryCommand),
    /// Load files of people, means, memberships, transactions or events.
    #[command(
        subcommand,
        after_help = "Files are NDJSON: plain, .gz, .zst, or - for standard input.\n\nExamples:\n  \
                      avis load transactions baskets.ndjson.gz --data avis-demo\n  \
                      AVIS_TOKEN=… avis load events events.ndjson --server http://[::1]:8080"
    )]
    Load(LoadCommand),
    /// The open data sets.
    #[command(
        subcommand,
        after_help = "Example:\n  avis open-data publish --out open-data --data avis-demo"
    )]
    OpenData(OpenDataCommand),
    /// Look into the streams.
    #[command(
        subcommand,
        after_help = "Example:\n  avis stream tail authorisations --most 3 --data avis-demo"
    )]
    Stream(StreamCommand),
    /// What was refused, and why.
    #[command(
        subcommand,
        after_help = "Examples:\n  avis dead-letters list --data avis-demo\n  \
                      AVIS_TOKEN=… avis dead-letters replay --reason unknown_terminal --server http://[::1]:8080"
    )]
    DeadLetters(DeadLettersCommand),
    /// The SQL pipelines.
    #[command(
        subcommand,
        after_help = "Examples:\n  avis pipelines list\n  \
                      avis pipelines explain usage_by_minute"
    )]
    Pipelines(PipelinesCommand),
    /// Show and check settings.
    #[command(
        subcommand,
        after_help = "Examples:\n  avis config show > avis.toml\n  \
                      avis config check avis.toml"
    )]
    Config(ConfigCommand),
    /// Issue tokens.
    #[command(
        subcommand,
        after_help = "Example:\n  avis token issue --role terminal --subject T-000001 --data avis-data"
    )]
    Token(TokenCommand),
    /// Print completions for a shell.
    #[command(
        after_help = "Example:\n  avis completions bash > ~/.local/share/bash-completion/completions/avis"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where a stopped node's data lies.
#[derive(Debug, Args, Clone)]
pub struct Data {
    /// The folder of the node's data.
    #[arg(long = "data", value_name = "DIR", default_value = "avis-data", env = "AVIS_DATA", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// A file of settings; what it does not say is as `avis config show` shows.
    #[arg(long, value_name = "FILE", env = "AVIS_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// Whose data: those that lie in a stopped node's folder, or those of a node that runs.
#[derive(Debug, Args, Clone)]
pub struct Where {
    /// The folder of a stopped node's data [default: what `AVIS_DATA` says, or `avis-data`].
    #[arg(long = "data", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub folder: Option<PathBuf>,
    /// A file of settings; what it does not say is as `avis config show` shows.
    #[arg(long, value_name = "FILE", env = "AVIS_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Ask a running node instead; the token is taken from `AVIS_TOKEN`.
    #[arg(long, value_name = "URL", conflicts_with = "folder", value_hint = ValueHint::Url)]
    pub server: Option<String>,
}

impl Where {
    /// Where a stopped node's data lie. The environment is looked at here: a container says there
    /// where its node's data lie, and must not contradict who says `--server`.
    #[must_use]
    pub fn data(&self) -> Data {
        let said = || std::env::var_os("AVIS_DATA").filter(|said| !said.is_empty());
        let folder = self.folder.clone().or_else(|| said().map(Into::into));
        let folder = folder.unwrap_or_else(|| "avis-data".into());
        Data { folder, config: self.config.clone() }
    }
}

/// Arguments of `avis demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// The folder to write to; an interrupted run goes on where it was.
    #[arg(long, value_name = "DIR", default_value = "avis-demo", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// A registry file (YAML or JSON) instead of the packaged one.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub registry: Option<PathBuf>,
    /// A file of person changes instead of the packaged one.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub persons: Option<PathBuf>,
    /// A file of means instead of the packaged one.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub means: Option<PathBuf>,
    /// Files of baskets instead of the packaged one, in their order.
    #[arg(long, value_name = "FILE", num_args = 1.., value_hint = ValueHint::FilePath)]
    pub baskets: Vec<PathBuf>,
    /// Draw this many baskets from the real ones instead.
    #[arg(long, value_name = "N", conflicts_with = "baskets")]
    pub generate: Option<u64>,
    /// For this many generated people [default: a tenth of the baskets].
    #[arg(long, value_name = "N", requires = "generate")]
    pub people: Option<u64>,
    /// What the draw begins with.
    #[arg(long, value_name = "S", requires = "generate", default_value_t = 1)]
    pub seed: u64,
    /// A file of settings; what it does not say is as `avis config show` shows.
    #[arg(long, value_name = "FILE", env = "AVIS_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Print one JSON object as the last line, and nothing else on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `avis up`.
#[derive(Debug, Args)]
pub struct UpArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub data: Data,
    /// Print tokens to try things with, and take any transaction's time.
    #[arg(long)]
    pub dev: bool,
    /// Only this role; [roles] of the settings says where the others are.
    #[arg(long, value_enum)]
    pub role: Option<crate::role::Role>,
    /// Where HTTP listens, whatever the settings say.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<std::net::SocketAddr>,
    /// Where gRPC listens, whatever the settings say.
    #[arg(long, value_name = "ADDRESS")]
    pub grpc: Option<std::net::SocketAddr>,
    /// Where SQL by PostgreSQL's protocol listens, whatever the settings say.
    #[arg(long, value_name = "ADDRESS")]
    pub postgres: Option<std::net::SocketAddr>,
    /// Where SQL by Arrow Flight listens, whatever the settings say.
    #[arg(long, value_name = "ADDRESS")]
    pub flight: Option<std::net::SocketAddr>,
}

/// Arguments of `avis health`.
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// The file of settings that the node runs with.
    #[arg(long, value_name = "FILE", env = "AVIS_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where its HTTP listens, whatever the settings say.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<std::net::SocketAddr>,
    /// Only whether it lives; else whether it is ready, too.
    #[arg(long)]
    pub live: bool,
}

/// What `avis config` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum ConfigCommand {
    /// Every setting with its default and what it means.
    #[command(after_help = "Example:\n  avis config show > avis.toml")]
    Show,
    /// Every setting as a page in Markdown, with the name of its environment variable.
    #[command(after_help = "Example:\n  avis config reference > configuration.md")]
    Reference,
    /// Check a file of settings.
    #[command(after_help = "Example:\n  avis config check avis.toml")]
    Check {
        /// The file [default: that of `--config`].
        #[arg(value_hint = ValueHint::FilePath, required_unless_present = "config")]
        file: Option<PathBuf>,
        /// The file that a node runs with.
        #[arg(long, value_name = "FILE", env = "AVIS_CONFIG", value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
    },
}

/// What `avis token` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum TokenCommand {
    /// Store a password for SQL clients that cannot carry a token; it is read from standard input.
    #[command(
        after_help = "Example:\n  avis token password --user powerbi --role analyst --data avis-data < password.txt"
    )]
    Password {
        /// The name to log in with.
        #[arg(long)]
        user: String,
        /// What it may see: administrator, analyst, finance, grantor, merchant.
        #[arg(long)]
        role: String,
        /// The grantor or merchant that it acts for.
        #[arg(long, default_value = "")]
        organisation: String,
        #[command(flatten)]
        data: Data,
    },
    /// Issue a signed token; it is printed and kept nowhere. The node may run meanwhile.
    #[command(
        after_help = "Example:\n  avis token issue --role terminal --subject T-000001 --data avis-data"
    )]
    Issue {
        /// What the bearer may do: terminal, merchant, grantor, finance, ….
        #[arg(long)]
        role: String,
        /// Who it is: of a terminal its id.
        #[arg(long, required_unless_present = "person", conflicts_with = "person")]
        subject: Option<String>,
        /// A recipient's personal code, in place of the subject.
        #[arg(long, value_name = "CODE")]
        person: Option<String>,
        /// The organisation it acts for.
        #[arg(long, default_value = "")]
        organisation: String,
        /// For how many days it holds.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: u16,
        #[command(flatten)]
        data: Data,
    },
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// RFC 4180 with a header.
    Csv,
    /// An array of objects; money as decimal text.
    Json,
    /// Apache Parquet.
    Parquet,
    /// A workbook.
    Xlsx,
    /// A page with a picture.
    Html,
}

/// Arguments of `avis sql`.
#[derive(Debug, Args)]
pub struct SqlArguments {
    /// The query; one statement that reads.
    #[arg(allow_hyphen_values = true)]
    pub query: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub data: Data,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Arguments of `avis report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// The report's name.
    #[arg(required_unless_present = "list")]
    pub name: Option<String>,
    /// The first local day.
    #[arg(long, value_name = "D", required_unless_present = "list")]
    pub from: Option<NaiveDate>,
    /// The last local day.
    #[arg(long, value_name = "D", required_unless_present = "list")]
    pub to: Option<NaiveDate>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Show the reports there are.
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub at: Where,
}

/// Arguments of `avis simulate`.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// A registry file (YAML or JSON): the rules to try.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub registry: PathBuf,
    /// The first local day that is told of; limits are counted from the first record on.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub from: NaiveDate,
    /// The last local day that is told of.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub to: NaiveDate,
    /// How it is written: table or json.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub at: Where,
}

/// What `avis open-data` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum OpenDataCommand {
    /// Write the seven sets with their catalogue, and send them to a portal.
    #[command(
        after_help = "Examples:\n  avis open-data publish --out open-data --data avis-demo\n  \
                            AVIS_CKAN_TOKEN=… avis open-data publish --out open-data --ckan https://data.gov.lv/dati"
    )]
    Publish {
        /// The folder to write to.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: PathBuf,
        /// A portal that runs CKAN; the token comes from `AVIS_CKAN_TOKEN`.
        #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
        ckan: Option<String>,
        #[command(flatten)]
        data: Data,
    },
}
