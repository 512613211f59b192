//! `avis`: the one binary of the platform; every role is a subcommand.

mod audit;
mod background;
mod backup;
mod books;
mod cli;
mod client;
mod commands;
mod config;
mod confirm;
mod dead_letters;
mod demo;
mod failure;
mod forward;
mod gate;
mod health;
mod lineage;
mod node;
mod notes;
mod person;
mod pipelines;
mod progress;
mod pull;
mod remote;
mod restore;
mod role;
mod rotation;
mod routes;
mod settle;
mod settlement;
mod simulate;
mod sources;
mod sql;
mod stream;
mod tls;
mod token_key;
mod traces;
mod up;
mod verify;
mod vitals;

use std::{error::Error, io::IsTerminal, process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser};

use cli::{Cli, Command, OpenDataCommand};
use failure::Failure;

/// How long work is waited for, once all is done, that nobody waits for.
const LAST: Duration = Duration::from_secs(5);

/// Keeps memory flat under long-running writers, where the system's allocator grows.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    end_with_the_reader();
    let cli = Cli::parse();
    if let Err(failure) = logs() {
        tell(&failure);
        return ExitCode::from(failure.exit_code());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(cli.command));
            // Whatever counts was waited for; a disk that does not answer keeps nobody from stopping.
            runtime.shutdown_timeout(LAST);
            ended
        }
        Err(source) => Err(Failure::Output(source)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            tell(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Whoever reads our output may have seen enough, as `head` has: `println!` panics then, which is
/// nobody's fault.
fn end_with_the_reader() {
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout: Broken pipe") {
            std::process::exit(0);
        }
        former(panic);
    }));
}

/// What is logged, on standard error: `AVIS_LOG` says what, `AVIS_LOG_FORMAT` how.
fn logs() -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AVIS_LOG");
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter.unwrap_or_else(|_| "warn,avis=info".into()));
    match std::env::var("AVIS_LOG_FORMAT").as_deref() {
        Ok("json") => logs.json().flatten_event(true).init(),
        Ok("text") | Err(_) => logs.init(),
        Ok(other) => {
            let text = format!("AVIS_LOG_FORMAT is {other:?}: say text or json");
            return Err(Failure::Usage(text));
        }
    }
    Ok(())
}

/// The failure and what it came from, each once.
fn tell(failure: &Failure) {
    let mut told = failure.to_string();
    eprintln!("avis: {told}");
    let mut source = failure.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !told.contains(&text) {
            eprintln!("  because: {text}");
        }
        told = text;
        source = cause.source();
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Up(arguments) => up::run(arguments).await,
        Command::Health(arguments) => health::run(arguments).await,
        Command::Sql(arguments) => commands::sql(arguments).await,
        Command::Report(arguments) => commands::report(arguments).await,
        Command::Settle(command) => settle::run(command).await,
        Command::Simulate(arguments) => simulate::run(arguments).await,
        Command::Person(command) => person::run(command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Backup(arguments) => backup::run(arguments).await,
        Command::Restore(arguments) => restore::run(arguments).await,
        Command::Verify(arguments) => verify::run(arguments).await,
        Command::Registry(command) => commands::registry_command(command).await,
        Command::Load(command) => commands::load_command(command).await,
        Command::OpenData(OpenDataCommand::Publish { out, ckan, data }) => {
            commands::publish(&out, ckan.as_deref(), &data).await
        }
        Command::Stream(command) => stream::run(command).await,
        Command::DeadLetters(command) => dead_letters::run(command).await,
        Command::Pipelines(command) => pipelines::run(command).await,
        Command::Config(command) => commands::config(command),
        Command::Token(command) => commands::token(command),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "avis", &mut std::io::stdout());
            Ok(())
        }
    }
}
