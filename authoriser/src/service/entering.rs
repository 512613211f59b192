//! What was appended enters the index, behind the answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ingest::{clock::Clock, record::Stored};
use tokio::{sync::mpsc, task::JoinHandle};

use super::Place;
use crate::{
    authorise::{Marks, Parts},
    error::AuthoriserError,
    index::Index,
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
    let (index, indexed) = (Arc::clone(&parts.index), Arc::clone(&marks.indexed));
    let entering = match place {
        Place::Apart => tokio::task::spawn_blocking(move || enter(&index, entered, &indexed)),
        Place::InTurns => {
            let clock = Arc::clone(&parts.clock);
            tokio::spawn(enter_in_turns(index, entered, indexed, clock))
        }
    };
    (entries, entering)
}

/// Enters what was appended into the index, as much at once as has come.
fn enter(index: &Index, mut entered: Batches, indexed: &AtomicU64) -> Result<(), AuthoriserError> {
    let mut batches = Vec::new();
    while entered.blocking_recv_many(&mut batches, ENTERED_AT_ONCE) > 0 {
        enter_all(index, &mut batches, indexed)?;
        std::thread::sleep(BETWEEN_ENTRIES);
    }
    Ok(())
}

/// The same in turns with the other parts.
async fn enter_in_turns(
    index: Arc<Index>,
    mut entered: Batches,
    indexed: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
) -> Result<(), AuthoriserError> {
    let mut batches = Vec::new();
    while entered.recv_many(&mut batches, ENTERED_AT_ONCE).await > 0 {
        enter_all(&index, &mut batches, &indexed)?;
        clock.sleep(BETWEEN_ENTRIES).await;
    }
    Ok(())
}

fn enter_all(
    index: &Index,
    batches: &mut Vec<(u64, Vec<Stored>)>,
    indexed: &AtomicU64,
) -> Result<(), AuthoriserError> {
    let sequence = batches.last().map_or(0, |(sequence, _)| *sequence);
    let stored: Vec<Stored> = batches.drain(..).flat_map(|(_, stored)| stored).collect();
    index.apply(&stored)?;
    indexed.store(sequence, Ordering::Release);
    Ok(())
}
