//! What a command can fail with, and the exit code it ends with.

use std::{fmt::Display, path::PathBuf};

/// A command failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's text says what it is")]
pub enum Failure {
    #[error("cannot use the folder {}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}", path.display())]
    Bank { path: PathBuf, source: Box<warehouse::error::WarehouseError> },
    #[error(transparent)]
    Log(#[from] ingest::error::LogError),
    #[error(transparent)]
    Vault(#[from] ingest::vault::VaultError),
    #[error(transparent)]
    Connector(#[from] connectors::error::ConnectorError),
    #[error(transparent)]
    Authoriser(#[from] authoriser::error::AuthoriserError),
    #[error("cannot compare the counters in Redis")]
    Redis(#[from] authoriser::cache::CacheError),
    #[error(transparent)]
    Pipeline(#[from] pipelines::error::PipelineError),
    #[error(transparent)]
    Warehouse(#[from] warehouse::error::WarehouseError),
    #[error(transparent)]
    Backup(#[from] ingest::backup::BackupError),
    #[error(transparent)]
    Keys(#[from] ingest::vault::copy::CopyError),
    #[error("{0}")]
    Server(String),
    #[error("cannot sign a token")]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("cannot describe the gRPC service")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("cannot register the metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("the pipeline {pipeline} has no table in the warehouse's schema")]
    NoTable { pipeline: String },
    #[error("{faults} of {files} files would not run")]
    Invalid { faults: usize, files: usize },
    #[error("a part of the node ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("the books differ by {cents} cents:\n{list}")]
    Books { cents: i64, list: String },
    #[error("not all that was there can be read:\n  {0}")]
    Lost(String),
    #[error("the audit trail is not what it was:\n  {0}")]
    Audit(String),
    #[error("{url}: {reason}")]
    Health { url: String, reason: String },
    #[error("{drifts} rows or cents drift")]
    Drift { drifts: u64 },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    State(String),
    #[error("cannot listen on {address}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// A setting that cannot be used.
    pub fn setting(key: &str, text: impl Display) -> Self {
        Self::Usage(format!("{key}: {text}"))
    }

    /// 2 for a wrong use: of the command's arguments, or of settings. Else 1, where what was asked meets
    /// something that does not allow it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
