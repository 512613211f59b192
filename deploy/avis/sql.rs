//! The doors to SQL: in the background, so that an analyst never slows a till.

use std::sync::Arc;

use ingest::audit::Deed;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use warehouse::endpoint::{Endpoint, Entry, Gate, flight, postgres};

use crate::{
    audit::Auditor,
    background::{self, Background},
    config::Config,
    failure::Failure,
    gate::Keeper,
    node::Node,
};

/// How much of a statement stands in the audit trail.
const LONGEST: usize = 4_096;

/// The threads that answer what tables are asked.
///
/// # Errors
/// Where none are to be had.
pub fn answering(config: &Config) -> Result<Background, Failure> {
    let threads = match config.sql.threads {
        0 => background::cores() / 2,
        threads => threads as usize,
    };
    Background::start("avis-sql", threads)
}

/// The open doors.
pub struct Doors {
    // A statement may be in the middle of something when these end.
    _threads: [Background; 2],
    doors: [JoinHandle<Result<(), Failure>>; 2],
}

impl Doors {
    /// Opens both doors, behind which these threads answer; they close when told to stop.
    ///
    /// # Errors
    /// Where the passwords cannot be read, or no threads are to be had.
    pub fn open(
        node: &Arc<Node>,
        config: &Config,
        (over_postgres, over_flight): (TcpListener, TcpListener),
        secured: Option<TlsAcceptor>,
        auditor: Auditor,
        answers: Background,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let doors = Background::start("avis-doors", 1)?;
        let tables = Arc::clone(node);
        let open = Arc::new(move || tables.tables());
        let tell = Arc::new(move |entry: &Entry<'_>| auditor.tell(asked(entry)));
        let endpoint = Endpoint::new(
            open,
            config.sql.limits(),
            tell,
            node.metrics().warehouse.clone(),
            answers.handle().clone(),
        )?;
        let gate: Arc<dyn Gate> = Arc::new(Keeper::open(&node.keys, &node.vault, node.tokens())?);
        let postgres = postgres::serve(
            Arc::clone(&endpoint),
            Arc::clone(&gate),
            over_postgres,
            secured.clone(),
            stop.clone(),
        );
        let flight = flight::serve(endpoint, gate, over_flight, secured, stop.clone());
        let open = [
            doors.handle().spawn(async move { Ok(postgres.await?) }),
            doors.handle().spawn(async move { Ok(flight.await?) }),
        ];
        Ok(Self { _threads: [doors, answers], doors: open })
    }

    /// Waits until the doors are closed; statements that run are given up.
    ///
    /// # Errors
    /// Where a door failed.
    pub async fn close(mut self) -> Result<(), Failure> {
        for door in &mut self.doors {
            door.await??;
        }
        Ok(())
    }
}

/// A statement in the audit trail: whose, on what, never with a value.
fn asked(entry: &Entry<'_>) -> Deed {
    Deed {
        actor: entry.reader.name.to_string(),
        role: entry.reader.view.code().into(),
        action: "sql.query",
        object: entry.statement.chars().take(LONGEST).collect(),
        outcome: entry.outcome.into(),
    }
}
