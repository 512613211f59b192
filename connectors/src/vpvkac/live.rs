//! The board as it is told to whoever looks on: server-sent events.
//!
//! A message is encoded once and shared by all who listen. What changes within a beat is one
//! message, so that a thousand calls a minute are two messages a second. Who is too slow to take
//! them is cut off, and comes again with the id of the last that it took.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use domain::id::{CallId, OfficialId};
use futures::{Stream, stream};
use ingest::{record::Record, wire::v1::Event};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::{answer::BoardState, board::Board, call::Matter, roster::Roster};

/// Messages that a listener may be behind before it is cut off.
const BEHIND: usize = 64;
/// Messages that are told again to a listener who comes back.
const REMEMBERED: usize = 256;
/// How long nothing is said before a heartbeat.
const QUIET: Duration = Duration::from_secs(15);

/// Who listens, and what was told. Whoever holds the board's lock may take ours, never the reverse.
#[derive(Debug)]
pub struct Live {
    told: Mutex<Told>,
    sender: broadcast::Sender<Bytes>,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Told {
    officials: BTreeSet<OfficialId>,
    matters: BTreeSet<Matter>,
    /// Everything has to be told anew.
    whole: bool,
    /// The id of the last message.
    id: String,
    /// The last messages with their ids.
    messages: VecDeque<(String, Bytes)>,
    /// The whole board as of the last message, once somebody has asked.
    snapshot: Option<Bytes>,
    last: Instant,
}

/// What a listener waits on.
struct Listening {
    first: VecDeque<Bytes>,
    next: broadcast::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Live {
    /// Nobody listens yet; so many may.
    #[must_use]
    pub fn new(listeners: usize) -> Self {
        let told = Told {
            officials: BTreeSet::new(),
            matters: BTreeSet::new(),
            whole: true,
            id: String::new(),
            messages: VecDeque::new(),
            snapshot: None,
            last: Instant::now(),
        };
        let places = Arc::new(Semaphore::new(listeners));
        Self { told: Mutex::new(told), sender: broadcast::Sender::new(BEHIND), places }
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Notes whom and what some records are about.
    pub fn changed(&self, records: &[Record], board: &Board) {
        let mut told = self.told();
        for record in records {
            let Event::ServiceEvent(event) = &record.event else { continue };
            let official = event.official_id.as_deref().and_then(|id| OfficialId::new(id).ok());
            if event.event_type.contains(".official.") {
                told.officials.extend(official);
            }
            let call = event.call_id.as_deref().and_then(CallId::parse);
            let call = call.and_then(|id| board.call(id));
            told.matters.extend(call.map(|call| call.matter.clone()));
        }
    }

    /// The board is to be told anew: the registry has changed, or it was read again.
    pub fn renewed(&self) {
        self.told().whole = true;
    }

    /// Tells what has changed since the last message, or that we are still here.
    pub fn publish(&self, board: &Board, roster: &Roster) {
        let mut told = self.told();
        if told.whole {
            told.id = id(board, roster);
            let message = message("snapshot", &told.id, &BoardState::whole(board, roster));
            (told.whole, told.snapshot) = (false, Some(message.clone()));
            told.officials.clear();
            told.matters.clear();
            told.send(&self.sender, message);
        } else if !told.officials.is_empty() || !told.matters.is_empty() {
            let officials = std::mem::take(&mut told.officials);
            let matters = std::mem::take(&mut told.matters);
            let officials = officials.iter().filter_map(|id| roster.official(id.as_str()));
            let state = BoardState::some(officials, matters.iter(), board);
            told.id = id(board, roster);
            let message = message("changes", &told.id, &state);
            told.snapshot = None;
            told.send(&self.sender, message);
        } else if told.last.elapsed() >= QUIET {
            told.last = Instant::now();
            // Nobody may be there to hear it.
            let _ = self.sender.send(Bytes::from_static(b": still here\n\n"));
        }
    }

    /// Listens: the whole board and then each change; or, for who says which message was the last
    /// taken, what came after it, where that is still known. `None` where too many listen.
    pub fn listen(
        &self,
        last: Option<&str>,
        board: &Board,
        roster: &Roster,
    ) -> Option<impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<>> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut told = self.told();
        let first = match told.after(last) {
            Some(missed) => missed,
            None => VecDeque::from([told.snapshot(board, roster)]),
        };
        // Under the same lock, so that nothing is told in between.
        let listening = Listening { first, next: self.sender.subscribe(), _place: place };
        drop(told);
        Some(stream::unfold(listening, next))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next message of a listener. Who is too far behind hears no more.
async fn next(mut listening: Listening) -> Option<(Result<Bytes, std::io::Error>, Listening)> {
    if let Some(message) = listening.first.pop_front() {
        return Some((Ok(message), listening));
    }
    let message = listening.next.recv().await.ok()?;
    Some((Ok(message), listening))
}

impl Told {
    fn send(&mut self, sender: &broadcast::Sender<Bytes>, message: Bytes) {
        self.last = Instant::now();
        self.messages.push_back((self.id.clone(), message.clone()));
        if self.messages.len() > REMEMBERED {
            self.messages.pop_front();
        }
        // Nobody may be there to hear it.
        let _ = sender.send(message);
    }

    /// What came after a message; `None` where that is not known.
    fn after(&self, last: Option<&str>) -> Option<VecDeque<Bytes>> {
        let last = last?;
        let at = self.messages.iter().rposition(|(id, _)| id == last)?;
        Some(self.messages.iter().skip(at + 1).map(|(_, message)| message.clone()).collect())
    }

    fn snapshot(&mut self, board: &Board, roster: &Roster) -> Bytes {
        let whole = || message("snapshot", &id(board, roster), &BoardState::whole(board, roster));
        self.snapshot.get_or_insert_with(whole).clone()
    }
}

/// Which records of the two streams a message has seen.
fn id(board: &Board, roster: &Roster) -> String {
    format!("{}-{}", board.number(), roster.version())
}

fn message(kind: &str, id: &str, state: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(state).unwrap_or_default();
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n").into()
}
