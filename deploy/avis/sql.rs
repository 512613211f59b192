//! The doors to SQL: a runtime of their own at a low priority, so that an analyst never slows a till.

use std::sync::Arc;

use ingest::audit::Deed;
use tokio::{net::TcpListener, runtime::Runtime, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use warehouse::endpoint::{Endpoint, Entry, Gate, flight, postgres};

use crate::{audit::Auditor, config::Config, failure::Failure, gate::Keeper, node::Node};

/// How much lower than the rest the threads of statements stand.
const NICE: i32 = 10;
/// How much of a statement stands in the audit trail.
const LONGEST: usize = 4_096;

/// The open doors.
pub struct Doors {
    // Dropped in the background: a statement may be in the middle of something.
    runtimes: Vec<Runtime>,
    doors: [JoinHandle<Result<(), Failure>>; 2],
}

impl Doors {
    /// Opens both doors; they close when told to stop.
    ///
    /// # Errors
    /// Where the passwords cannot be read, or no threads are to be had.
    pub fn open(
        node: &Arc<Node>,
        config: &Config,
        (over_postgres, over_flight): (TcpListener, TcpListener),
        secured: Option<TlsAcceptor>,
        auditor: Auditor,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let (doors, answers) =
            (runtime("avis-doors", 1)?, runtime("avis-sql", config.sql.threads)?);
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
        let gate: Arc<dyn Gate> = Arc::new(Keeper::open(&node.folder, &node.vault, node.tokens())?);
        let postgres = postgres::serve(
            Arc::clone(&endpoint),
            Arc::clone(&gate),
            over_postgres,
            secured.clone(),
            stop.clone(),
        );
        let flight = flight::serve(endpoint, gate, over_flight, secured, stop.clone());
        let open = [
            doors.spawn(async move { Ok(postgres.await?) }),
            doors.spawn(async move { Ok(flight.await?) }),
        ];
        Ok(Self { runtimes: vec![doors, answers], doors: open })
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

impl Drop for Doors {
    fn drop(&mut self) {
        for runtime in self.runtimes.drain(..) {
            runtime.shutdown_background();
        }
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

fn runtime(name: &str, threads: u32) -> Result<Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let threads = if threads == 0 { cores / 2 } else { threads as usize };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(name)
        .on_thread_start(|| {
            // Of the calling thread alone, as Linux has it; where that is refused all are equal.
            let _ = rustix::process::setpriority_process(None, NICE);
        })
        .enable_all()
        .build();
    Ok(runtime?)
}
