//! `avis registry` and `avis load` on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::Where;

/// What `avis registry` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum RegistryCommand {
    /// Apply all of a file, or nothing where it has a fault.
    #[command(after_help = "Examples:\n  avis registry apply registry.yaml --data avis-demo\n  \
                            AVIS_TOKEN=… avis registry apply registry.yaml --server http://[::1]:8080")]
    Apply {
        /// The file (YAML or JSON).
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Of a running node: also where more than 1 % of the entries would go.
        #[arg(long, requires = "server")]
        yes: bool,
        #[command(flatten)]
        at: Where,
    },
    /// Check a file and show what it would change: `+` is new, `~` changes, `-` goes.
    #[command(after_help = "Examples:\n  avis registry diff registry.yaml --data avis-demo\n  \
                            AVIS_TOKEN=… avis registry diff registry.yaml --server http://[::1]:8080")]
    Diff {
        /// The file (YAML or JSON).
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        at: Where,
    },
    /// Write the registry as one file: YAML where its name ends in `.yaml`, else JSON.
    #[command(after_help = "Examples:\n  avis registry export registry.yaml --data avis-demo\n  \
                            AVIS_TOKEN=… avis registry export - --server http://[::1]:8080")]
    Export {
        /// The file to write, or `-`.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        at: Where,
    },
}

/// What `avis load` loads.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants' texts are the command line's help")]
pub enum LoadCommand {
    /// Person changes (CloudEvents of DAGR).
    #[command(after_help = "Examples:\n  avis load persons persons.ndjson.gz --data avis-demo\n  \
                            AVIS_TOKEN=… avis load persons snapshot.ndjson --server http://[::1]:8080")]
    Persons(SendArguments),
    /// Identification means.
    #[command(after_help = "Examples:\n  avis load means means.ndjson.gz --data avis-demo\n  \
                AVIS_TOKEN=… avis load means means.ndjson.gz --server http://[::1]:8080\n\n\
                      A running node takes them from their issuer, and all from administrators.")]
    Means(SendArguments),
    /// Members of groups, as grantors' own systems list them.
    #[command(
        after_help = "Examples:\n  avis load memberships members.ndjson --data avis-demo\n  \
                AVIS_TOKEN=… avis load memberships members.ndjson --server http://[::1]:8080\n\n\
                      A running node takes them from the grantor whose groups they are of."
    )]
    Memberships(SendArguments),
    /// Offline transactions.
    #[command(
        after_help = "Examples:\n  avis load transactions baskets.ndjson.gz --data avis-demo\n  \
                AVIS_TOKEN=… avis load transactions some.ndjson --server http://[::1]:8080\n\n\
                      A running node takes them from terminals and merchants, each their own."
    )]
    Transactions(SendArguments),
    /// Service-centre and portal events (CloudEvents).
    #[command(after_help = "Examples:\n  avis load events events.ndjson.gz --data avis-demo\n  \
                            AVIS_TOKEN=… avis load events events.ndjson --server http://[::1]:8080")]
    Events(SendArguments),
}

/// Files to load, or to send to a running node.
#[derive(Debug, Args)]
pub struct SendArguments {
    /// The files, in their order.
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Take a snapshot of people that removes more than 1 % of them.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub at: Where,
}
