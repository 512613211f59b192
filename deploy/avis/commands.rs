//! The commands on a stopped node's data, one function each.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::TimeDelta;
use connectors::{
    access::{Identity, Role},
    lines,
    load::{self, Account},
    registry,
};
use domain::{period::LocalTime, registry::Kind};
use ingest::{
    clock::{Clock, SystemClock},
    log::{Log, embedded::StoppedLog},
    vault::Vault,
};
use pipelines::{groups, own};
use warehouse::{
    error::WarehouseError,
    export::{self, Csv},
    open_data::{self, ckan::Portal},
    report::{REPORTS, Report},
    session::{Rows, Session},
};

use crate::{
    audit,
    cli::{
        ConfigCommand, Data, Format, LoadCommand, RegistryCommand, ReportArguments, SqlArguments,
        TokenCommand,
    },
    config::{self, Config},
    failure::Failure,
    gate,
    node::{Node, is_finished, own_folder},
    person,
    progress::Progress,
    remote,
    role::Roles,
    rotation::Rotations,
    sources::Sources,
    token_key,
};

fn open(data: &Data) -> Result<Node, Failure> {
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    Node::open(&data.folder, &config, Arc::new(SystemClock))
}

/// Opens a stopped node's data, or over a cluster what it has.
///
/// # Errors
/// Where there is none, or another process has it.
pub fn node(data: &Data) -> Result<Node, Failure> {
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    if config.cluster().is_none() {
        has_streams(data)?;
    }
    Node::open(&data.folder, &config, Arc::new(SystemClock))
}

fn has_streams(data: &Data) -> Result<(), Failure> {
    if data.folder.join("log").is_dir() {
        return Ok(());
    }
    let folder = data.folder.display();
    let text = format!(
        "{folder} holds no node's data; run `avis demo --out {folder}` or `avis up --data {folder}` first"
    );
    Err(Failure::State(text))
}

/// The streams of a stopped node, of which nothing is changed, or over a cluster what the node has;
/// and what of them is damaged as a whole.
///
/// # Errors
/// As [`node`].
pub fn streams(data: &Data) -> Result<(Arc<dyn Log>, Vec<String>), Failure> {
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    if config.cluster().is_some() {
        return Ok((node(data)?.log, Vec::new()));
    }
    has_streams(data)?;
    is_finished(&data.folder)?;
    let log = StoppedLog::open(&data.folder.join("log"))?;
    let damages = log.damages().iter().map(|damage| match std::error::Error::source(damage) {
        Some(source) => format!("{damage}: {source}"),
        None => damage.to_string(),
    });
    let damages = damages.collect();
    Ok((Arc::new(log), damages))
}

/// Tables can be read while a node runs on the same folder.
async fn session(data: &Data) -> Result<Session, Failure> {
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    let tables = config.warehouse(&data.folder)?;
    // In a folder that is no node's, as where it is misspelt, every table would be empty.
    if tables.scheme() == "file" && tables.to_file_path().is_ok_and(|tables| !tables.exists()) {
        has_streams(data)?;
    }
    let session = Session::open(&tables).await?;
    let keys = Roles::ALL.keys_elsewhere(&data.folder, &config);
    let keys = keys.as_deref().unwrap_or(&data.folder);
    Ok(session.rotated(Rotations::read(keys)?.days())?)
}

/// Rows on standard output.
///
/// # Errors
/// Where they have no such form, or nobody reads.
pub fn print(rows: &Rows, format: Format) -> Result<(), Failure> {
    let format = match format {
        Format::Table => export::Format::Table,
        Format::Csv => export::Format::Csv(Csv::FILE),
        Format::Json => export::Format::Json,
        Format::Parquet => export::Format::Parquet,
        Format::Xlsx => export::Format::Xlsx,
        Format::Html => return Err(Failure::Usage("html is a format of reports only".into())),
    };
    written(rows, format)
}

fn written(rows: &Rows, format: export::Format) -> Result<(), Failure> {
    Ok(std::io::stdout().lock().write_all(&rows.bytes(format)?)?)
}

/// `avis sql`.
///
/// # Errors
/// Where the query is refused or fails.
pub async fn sql(arguments: SqlArguments) -> Result<(), Failure> {
    // So that the operator's own tables are known.
    own::all(&own_folder(&arguments.data.folder)).await;
    let rows = session(&arguments.data).await?.rows(&arguments.query).await?;
    print(&rows, arguments.format)
}

/// `avis report`.
///
/// # Errors
/// Where there is no such report or it fails.
pub async fn report(arguments: ReportArguments) -> Result<(), Failure> {
    let server = arguments.at.server.as_deref();
    if arguments.list {
        if let Some(server) = server {
            return remote::report::list(server).await;
        }
        for report in REPORTS {
            tell_report(report.name, report.title_en, report.title_lv);
        }
        return Ok(());
    }
    let missing = || Failure::Usage("a report needs a name, --from and --to".into());
    let name = arguments.name.as_deref().ok_or_else(missing)?;
    let (from, to) = arguments.from.zip(arguments.to).ok_or_else(missing)?;
    if let Some(server) = server {
        return remote::report::one(server, name, (from, to), arguments.format).await;
    }
    let report = Report::named(name)?;
    let rows = report.rows(&session(&arguments.at.data()).await?, from, to).await?;
    match arguments.format {
        Format::Html => {
            println!("{}", report.html(&rows, from, to)?);
            Ok(())
        }
        // Reports are opened in spreadsheets; what `avis sql` answers is read by tools.
        Format::Csv => written(&rows, export::Format::Csv(Csv::SPREADSHEET)),
        format => print(&rows, format),
    }
}

/// A line of the list of reports.
pub fn tell_report(name: &str, title_en: &str, title_lv: &str) {
    println!("{name:<28} {title_en} / {title_lv}");
}

/// Whether these settings are of roles in processes of their own, which may run now.
///
/// # Errors
/// Where the settings have a fault.
pub fn are_apart(data: &Data) -> Result<bool, Failure> {
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    Ok(!config.roles.connectors.is_empty())
}

/// As [`land`], of a stopped node. Beside roles apart the tables are left as they are: there a
/// folder's lock says nothing of the one process that may write them, the role pipelines, which
/// lands by itself.
///
/// # Errors
/// As [`land`].
pub async fn land_alone(node: &Node, data: &Data) -> Result<(), Failure> {
    if are_apart(data)? { Ok(()) } else { land(node).await }
}

/// Brings the tables up to the streams' ends.
///
/// # Errors
/// Where a stream cannot be read or a table not be written.
pub async fn land(node: &Node) -> Result<(), Failure> {
    let runner = node.pipelines().await?;
    Ok(runner.catch_up(&runner.ends()?).await?)
}

/// `avis registry`.
///
/// # Errors
/// Where the file has faults or the stream cannot be used.
pub async fn registry_command(command: RegistryCommand) -> Result<(), Failure> {
    match command {
        RegistryCommand::Apply { file, yes, at } => match &at.server {
            Some(server) => remote::registry::apply(server, &file, yes).await,
            None => apply(&file, &at.data()).await,
        },
        RegistryCommand::Diff { file, at } => match &at.server {
            Some(server) => remote::registry::diff(server, &file).await,
            None => diff(&file, &at.data()).await,
        },
        RegistryCommand::Export { file, at } => {
            let is_yaml = file.extension().is_some_and(|of| of == "yaml" || of == "yml");
            match &at.server {
                Some(server) => remote::registry::export(server, &file, is_yaml).await,
                None => export_registry(&file, is_yaml, &at.data()).await,
            }
        }
    }
}

async fn apply(file: &Path, data: &Data) -> Result<(), Failure> {
    let node = open(data)?;
    let document = document(file, &node.vault)?;
    let changes = registry::apply(&node.log, &document, node.clock.now()).await?;
    node.evaluator().await?.catch_up().await?;
    let object = format!("{} entries", changes.len());
    audit::note(&node, audit::at_the_machine("registry.apply", object)).await?;
    println!("{} entries changed", changes.len());
    Ok(())
}

async fn diff(file: &Path, data: &Data) -> Result<(), Failure> {
    let node = node(data)?;
    let document = document(file, &node.vault)?;
    let view = registry::view(&node.log).await?;
    for change in view.changes_to(&document.value) {
        let kind = Kind::of_list(&change.kind);
        let stands = kind.is_some_and(|kind| view.entry(kind, &change.id).is_some());
        let what = match (stands, change.document.is_empty()) {
            (false, _) => "+",
            (true, false) => "~",
            (true, true) => "-",
        };
        println!("{what} {}/{}", change.kind, change.id);
    }
    Ok(())
}

async fn export_registry(file: &Path, is_yaml: bool, data: &Data) -> Result<(), Failure> {
    let view = registry::view(&node(data)?.log).await?;
    let text = match is_yaml {
        true => registry::yaml(&view.document()).map_err(Failure::State)?,
        false => serde_json::to_string_pretty(&view.document()).map_err(std::io::Error::from)?,
    };
    keep(file, &text)
}

/// Writes a text to a file, or `-` to standard output.
///
/// # Errors
/// Where it cannot be written.
pub fn keep(file: &Path, text: &str) -> Result<(), Failure> {
    if file.as_os_str() == "-" {
        println!("{text}");
        return Ok(());
    }
    let failed = |source| WarehouseError::Write { path: file.to_path_buf(), source };
    Ok(std::fs::write(file, text).map_err(failed)?)
}

/// A registry file, read and checked; whom it lists is named by the vault's keyed hashes.
///
/// # Errors
/// Where it cannot be read or has faults.
pub fn document(file: &Path, vault: &Vault) -> Result<registry::Document, Failure> {
    let naming = |written: &str| registry::listed::member(vault, written);
    Ok(registry::read(&text(file)?, &file.display().to_string(), &groups::check, &naming)?)
}

/// The text of a file, however it is packed.
///
/// # Errors
/// Where it cannot be read.
pub fn text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::Read::read_to_string(&mut lines::open(file)?, &mut text);
    read.map_err(|source| Failure::Read { path: file.to_path_buf(), source })?;
    Ok(text)
}

/// `avis load`.
///
/// # Errors
/// Where a file cannot be read or a stream not be used.
pub async fn load_command(command: LoadCommand) -> Result<(), Failure> {
    let (files, server, what) = match &command {
        LoadCommand::Persons(of) => (&of.files, of.at.server.as_deref(), "persons"),
        LoadCommand::Means(of) => (&of.files, of.at.server.as_deref(), "means"),
        LoadCommand::Memberships(of) => (&of.files, of.at.server.as_deref(), "memberships"),
        LoadCommand::Transactions(of) => (&of.files, of.at.server.as_deref(), "transactions"),
        LoadCommand::Events(of) => (&of.files, of.at.server.as_deref(), "events"),
    };
    match (server, &command) {
        (Some(server), LoadCommand::Transactions(of)) => {
            return remote::load::transactions(server, of).await;
        }
        (Some(server), LoadCommand::Persons(of) | LoadCommand::Events(of)) => {
            return remote::load::events(server, what, of).await;
        }
        (Some(server), LoadCommand::Memberships(of)) => {
            return remote::members::load(server, &of.files).await;
        }
        (Some(server), LoadCommand::Means(of)) => {
            return remote::means::load(server, &of.files).await;
        }
        (None, _) => {}
    }
    let node = match &command {
        LoadCommand::Persons(of)
        | LoadCommand::Means(of)
        | LoadCommand::Memberships(of)
        | LoadCommand::Transactions(of)
        | LoadCommand::Events(of) => node(&of.at.data())?,
    };
    let progress = Progress::new(false);
    for file in files {
        let bar = progress.bar(what);
        let loaded = load_file(&node, &command, file, &bar).await;
        // What came before it was cut off is on the stream, too.
        let object = loaded.as_ref().map_or_else(
            |_| "cut off".to_owned(),
            |account| format!("{} of {} lines", account.taken, account.lines),
        );
        let noted = audit::note(&node, audit::at_the_machine(action(&command), object)).await;
        let account = loaded?;
        noted?;
        bar.finish_and_clear();
        tell(file, &account);
    }
    Ok(())
}

/// What loading is called in the audit trail.
const fn action(command: &LoadCommand) -> &'static str {
    match command {
        LoadCommand::Persons(_) => "load.persons",
        LoadCommand::Means(_) => "load.means",
        LoadCommand::Memberships(_) => "load.memberships",
        LoadCommand::Transactions(_) => "load.transactions",
        LoadCommand::Events(_) => "load.events",
    }
}

async fn load_file(
    node: &Node,
    command: &LoadCommand,
    file: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<Account, Failure> {
    let (reader, origin) = (lines::open(file)?, file.display().to_string());
    let sources = Sources::of(node, registry::view(&node.log).await?.registry());
    let (loading, told) = (&node.loading, |lines| bar.inc(lines));
    Ok(match command {
        LoadCommand::Persons(of) => {
            let account = sources.load_persons(node, reader, &origin, of.yes, told).await?;
            node.evaluator().await?.catch_up().await?;
            account
        }
        LoadCommand::Means(_) => {
            load::load(loading, sources.means(), reader, &origin, told).await?
        }
        LoadCommand::Memberships(_) => {
            let lists = sources.memberships();
            let account = load::load(loading, lists, reader, &origin, told).await?;
            node.evaluator().await?.catch_up().await?;
            account
        }
        LoadCommand::Transactions(_) => {
            load::load(loading, sources.transactions(), reader, &origin, told).await?
        }
        LoadCommand::Events(_) => sources.load_events(node, reader, &origin, told).await?,
    })
}

fn tell(file: &Path, account: &Account) {
    println!(
        "{}: {} lines, {} taken, {} already there, {} refused",
        file.display(),
        account.lines,
        account.taken,
        account.already_there,
        account.refused_in_all(),
    );
    for (reason, count) in &account.refused {
        println!("  {:<20} {count}", reason.code());
    }
}

/// `avis open-data publish`.
///
/// # Errors
/// Where a query or a file fails.
pub async fn publish(out: &Path, ckan: Option<&str>, data: &Data) -> Result<(), Failure> {
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    let publisher = config.open_data.publisher();
    let today = LocalTime::of(SystemClock.now()).date;
    let session = session(data).await?;
    let published = open_data::publish(&session, &publisher, today, out).await?;
    for file in &published {
        let state = if file.is_new { "written" } else { "unchanged" };
        println!("{:<40} {:>8} rows {:>10} bytes  {state}", file.file, file.rows, file.bytes);
    }
    println!("catalogue.ttl, catalogue.jsonld");
    let Some(address) = ckan else { return Ok(()) };
    let token = std::env::var("AVIS_CKAN_TOKEN");
    let token = token.map_err(|_| Failure::Usage("AVIS_CKAN_TOKEN is not set".into()))?;
    let portal = Portal::new(address, &token, &config.open_data.ckan_organisation)?;
    let sent = portal.send(&publisher, &published, out).await?;
    println!(
        "{address}: {} datasets made, {} files sent, {} unchanged",
        sent.made, sent.files, sent.unchanged
    );
    Ok(())
}

/// `avis config`.
///
/// # Errors
/// Where a file has a fault.
pub fn config(command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show => {
            print!("{}", config::DEFAULT);
            Ok(())
        }
        ConfigCommand::Reference => {
            print!("{}", config::markdown());
            Ok(())
        }
        ConfigCommand::Check { file, config } => {
            let missing = || Failure::Usage("say which file: FILE, --config or AVIS_CONFIG".into());
            let file = file.or(config).ok_or_else(missing)?;
            Config::load(Some(&file), std::env::vars())?.check()?;
            println!("{}: fine", file.display());
            Ok(())
        }
    }
}

/// The folder of the role that has the keys, where that is not this one: keys of its own would be
/// nobody's.
fn keys_elsewhere(data: &Data) -> Result<Option<PathBuf>, Failure> {
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    Ok(Roles::ALL.keys_elsewhere(&data.folder, &config))
}

/// `avis token`.
///
/// # Errors
/// Where the role is unknown or the node's keys cannot be opened.
pub fn token(command: TokenCommand) -> Result<(), Failure> {
    let parsed = |role: &str| {
        let known = Role::ALL.map(Role::code).join(", ");
        let unknown = || Failure::Usage(format!("there is no role {role}; known are {known}"));
        Role::parse(role).ok_or_else(unknown)
    };
    match command {
        TokenCommand::Password { user, role, organisation, data } => {
            let role = parsed(&role)?;
            let mut password = String::new();
            std::io::stdin().read_line(&mut password)?;
            let (folder, vault) = match keys_elsewhere(&data)? {
                Some(folder) => {
                    let vault = Vault::follow(&folder.join("keys"))?;
                    (folder, vault)
                }
                None => (data.folder.clone(), Vault::open(&data.folder.join("keys"))?),
            };
            let password = password.trim_end_matches(['\r', '\n']);
            gate::store(&folder, &vault, &user, (role, &organisation), password)?;
            println!("{user} may log in when the node starts the next time");
            Ok(())
        }
        TokenCommand::Issue { role, subject, person, organisation, days, data } => {
            let role = parsed(&role)?;
            let clock = Arc::new(SystemClock);
            let expires = clock.now() + TimeDelta::days(days.into());
            let tokens = match keys_elsewhere(&data)? {
                Some(folder) => token_key::followed(&folder, clock)?,
                None => token_key::tokens(&data.folder, clock)?,
            };
            let token = match person {
                Some(_) if role != Role::Recipient => {
                    let text = "--person is for --role recipient";
                    return Err(Failure::Usage(text.into()));
                }
                Some(code) => tokens.issue_to(&person::code(&code)?, expires)?,
                None => {
                    let (organisation, subject) =
                        (organisation.into(), subject.unwrap_or_default());
                    let subject = subject.into();
                    tokens.issue(&Identity { role, organisation, subject }, expires)?
                }
            };
            println!("{token}");
            Ok(())
        }
    }
}
