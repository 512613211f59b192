//! What was appended enters the index, behind the answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ingest::record::Stored;
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use super::Place;
use crate::{
    authorise::{Marks, Parts},
    error::AuthoriserError,
};

/// Batches that enter the index together; it may be behind by so many more.
const ENTERED_AT_ONCE: usize = 64;
/// How long the index then waits for more: what enters together is cheaper, and nobody waits for
/// it.
const BETWEEN_ENTRIES: Duration = Duration::from_millis(10);

/// Batches with their numbers.
type Batches = mpsc::Receiver<(u64, Vec<Stored>)>;
/// Where they are sent, and whoever enters them.
type Entering = (mpsc::Sender<(u64, Vec<Stored>)>, JoinHandle<Result<(), AuthoriserError>>);

/// Starts whoever enters what is sent.
pub(super) fn start(parts: &Parts, marks: &Marks, place: Place) -> Entering {
    let (entries, entered) = mpsc::channel(ENTERED_AT_ONCE);
    let (parts, indexed) = (parts.clone(), Arc::clone(&marks.indexed));
    let entering = match place {
        Place::Apart => tokio::task::spawn_blocking(move || enter(&parts, entered, &indexed)),
        Place::InTurns => tokio::spawn(enter_in_turns(parts, entered, indexed)),
    };
    (entries, entering)
}

/// Enters what was appended into the index, as much at once as has come.
fn enter(parts: &Parts, mut entered: Batches, indexed: &AtomicU64) -> Result<(), AuthoriserError> {
    let mut batches = Vec::new();
    while entered.blocking_recv_many(&mut batches, ENTERED_AT_ONCE) > 0 {
        let (sequence, stored) = together(&mut batches);
        if !parts.index.apply(&stored)? {
            Handle::current().block_on(parts.index.catch_up(&parts.log))?;
        }
        indexed.store(sequence, Ordering::Release);
        std::thread::sleep(BETWEEN_ENTRIES);
    }
    Ok(())
}

/// The same in turns with the other parts.
async fn enter_in_turns(
    parts: Parts,
    mut entered: Batches,
    indexed: Arc<AtomicU64>,
) -> Result<(), AuthoriserError> {
    let mut batches = Vec::new();
    while entered.recv_many(&mut batches, ENTERED_AT_ONCE).await > 0 {
        let (sequence, stored) = together(&mut batches);
        if !parts.index.apply(&stored)? {
            parts.index.catch_up(&parts.log).await?;
        }
        indexed.store(sequence, Ordering::Release);
        parts.clock.sleep(BETWEEN_ENTRIES).await;
    }
    Ok(())
}

/// All that has come as one batch, with the newest number.
fn together(batches: &mut Vec<(u64, Vec<Stored>)>) -> (u64, Vec<Stored>) {
    let sequence = batches.last().map_or(0, |(sequence, _)| *sequence);
    (sequence, batches.drain(..).flat_map(|(_, stored)| stored).collect())
}
