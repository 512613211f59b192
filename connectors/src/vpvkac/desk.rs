//! The desk: one turn after the other is decided, put on the stream and synced, and then told.
//!
//! It has two boards. Turns are decided on one, which is ahead by what is being synced; whoever
//! reads sees the other, which moves only by what is on the stream. Of all nodes over the same
//! streams one has the desk.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
    time::Duration,
};

use chrono::TimeDelta;
use domain::{
    id::{CallId, Pseudonym, RecordId},
    period::LocalTime,
};
use ingest::{
    clock::Clock,
    error::LogError,
    log::{Log, next_batch},
    record::{Record, ulid},
    register::registry::RegistryView,
    topic::Topic,
    vault::Vault,
    wire::v1::{Event, ServiceEvent},
};
use ring::rand::SystemRandom;
use tokio::sync::Mutex;

use super::{
    board::{Board, PREFIX},
    call::Call,
    decide::{Decision, Refusal, Rules, SOURCE, is_due},
    live::Live,
    roster::Roster,
};
use crate::{error::ConnectorError, metrics::Metrics, problem::Problem, registry};

/// Of the stream so much is read at the start, from its newest record back: longer than anything
/// on the board lasts.
const READ_BACK: TimeDelta = TimeDelta::hours(48);
/// How often it is looked whether something has lapsed, and what has changed is told.
const BEAT: Duration = Duration::from_millis(250);

/// What is configured of the desk.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How calls are given.
    pub rules: Rules,
    /// The address of a meeting: `{room}` is what nobody can guess, `{role}` is `moderator` for the
    /// centre and `guest` for the official.
    pub meeting: String,
    /// How many may listen to the board at once.
    pub listeners: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let meeting = "https://meet.example.lv/{room}".into();
        Self { rules: Rules::default(), meeting, listeners: 12_000 }
    }
}

/// The desk of calls.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Arc<dyn Log>,
    vault: Vault,
    clock: Arc<dyn Clock>,
    settings: Settings,
    random: SystemRandom,
    turn: Mutex<Turn>,
    seen: RwLock<Board>,
    roster: RwLock<Arc<Roster>>,
    live: Live,
    metrics: Metrics,
}

/// What the one who decides has.
#[derive(Debug)]
struct Turn {
    board: Board,
    /// Whether the stream may hold what the board does not: it is read before the next turn.
    lost: bool,
}

/// Whose address of a meeting it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// The centre's specialist, who leads.
    Moderator,
    /// The official.
    Guest,
}

impl Desk {
    /// Opens the desk over a node's streams, as they stand; it works until its last holder drops it.
    ///
    /// # Errors
    /// Where the streams cannot be read.
    pub async fn open(
        log: Arc<dyn Log>,
        vault: Vault,
        clock: Arc<dyn Clock>,
        settings: Settings,
        metrics: Metrics,
    ) -> Result<Self, ConnectorError> {
        let view = registry::view(&log).await?;
        let roster = Arc::new(Roster::of(&view.registry(), view.version()));
        let live = Live::new(settings.listeners);
        let inner = Arc::new(Inner {
            log,
            vault,
            clock,
            settings,
            random: SystemRandom::new(),
            turn: Mutex::new(Turn { board: Board::default(), lost: true }),
            seen: RwLock::default(),
            roster: RwLock::new(roster),
            live,
            metrics,
        });
        let board = inner.read_back(None).await?;
        *inner.seen_mut() = board;
        // A node with a full disk opens, too; it says so when it is asked for a call.
        if let Err(error) = inner.turn(|_| Ok(())).await {
            tracing::warn!(error = error.message().detail, "the desk of calls cannot work yet");
        }
        // Who listens from now on has the whole board once, and then changes.
        inner.publish();
        tokio::spawn(beat(Arc::downgrade(&inner), view));
        Ok(Self(inner))
    }

    /// Decides one turn; answers when it is on the stream. It is ended though nobody waits for it.
    ///
    /// # Errors
    /// Why not, or that it cannot be now.
    pub async fn decide<T: Send + 'static>(
        &self,
        turn: impl FnOnce(&mut Decision<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Problem> {
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move { inner.turn(turn).await }).await.map_err(|_| away())?
    }

    /// The board as it is on the stream.
    pub fn board(&self) -> RwLockReadGuard<'_, Board> {
        self.0.seen()
    }

    /// The registry as the desk knows it.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.0.roster()
    }

    /// How calls are given.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.0.settings.rules
    }

    /// Who listens to the board.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// A keyed hash of somebody of a centre's staff.
    #[must_use]
    pub fn staff(&self, name: &str) -> String {
        Pseudonym::from_u128(self.0.vault.hash("staff", name)).to_string()
    }

    /// Where a call's people meet. The room follows from the call by a key that only the node has, so
    /// that nobody who reads of a call can walk in.
    #[must_use]
    pub fn address(&self, call: &Call, seat: Seat) -> String {
        let room = self.0.vault.hash("meeting", &call.first.to_string());
        let seat = match seat {
            Seat::Moderator => "moderator",
            Seat::Guest => "guest",
        };
        let meeting = &self.0.settings.meeting;
        meeting.replace("{room}", &format!("{room:032x}")).replace("{role}", seat)
    }
}

impl Inner {
    fn seen(&self) -> RwLockReadGuard<'_, Board> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen_mut(&self) -> RwLockWriteGuard<'_, Board> {
        self.seen.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn turn<T>(
        &self,
        decide: impl FnOnce(&mut Decision<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Problem> {
        let mut turn = self.turn.lock().await;
        self.log.takes().map_err(|error| refused(&error))?;
        if turn.lost {
            self.find(&mut turn).await.map_err(|error| refused(&error))?;
        }
        // Until all is well: a turn that does not come to its end leaves the board ahead.
        turn.lost = true;
        let (now, roster) = (self.clock.now(), self.roster());
        let rules = self.settings.rules;
        let mut decision = Decision::at(now, &mut turn.board, &roster, rules, &self.random);
        let decided = decide(&mut decision);
        let records = decision.into_records();
        if !records.is_empty() {
            let appended = self.log.append(Topic::ServiceEvents, &records).await;
            appended.map_err(|error| refused(&error))?;
            self.tell(&records);
        }
        turn.lost = false;
        Ok(decided?)
    }

    /// Lets everybody see what is on the stream now.
    fn tell(&self, records: &[Record]) {
        let mut seen = self.seen_mut();
        records.iter().for_each(|record| seen.apply(record));
        self.live.changed(records, &seen);
        records.iter().for_each(|record| self.count(record, &seen));
    }

    /// Tells operators what a call has done.
    fn count(&self, record: &Record, board: &Board) {
        let Event::ServiceEvent(event) = &record.event else { return };
        let kind = event.event_type.strip_prefix(PREFIX).and_then(|kind| kind.split_once('.'));
        let Some(("call", step)) = kind else { return };
        self.metrics.stepped(step);
        let id = event.call_id.as_deref().and_then(CallId::parse);
        if let ("accepted", Some(call)) = (step, id.and_then(|id| board.call(id))) {
            let waited = record.event_time - call.requested_at;
            self.metrics.taken_after(waited.to_std().unwrap_or_default());
        }
    }

    /// Tells operators how the board stands.
    fn observe(&self) {
        self.metrics.board(&self.seen());
        self.metrics.listening(self.live.listeners(), self.settings.listeners);
    }

    /// Tells whoever listens what has changed.
    fn publish(&self) {
        let roster = self.roster();
        self.live.publish(&self.seen(), &roster);
    }

    /// Finds out what the stream holds, after an append of which nobody knows what became. A record
    /// is appended first: what was on its way before it is on the stream by then, or never will be.
    async fn find(&self, turn: &mut Turn) -> Result<(), LogError> {
        let now = self.clock.now();
        let opened = Record {
            id: RecordId::from_u128(ulid(now, &self.random)),
            key: SOURCE.into(),
            source: SOURCE.into(),
            sequence: 0,
            event_time: now,
            recorded_at: now,
            event: Event::ServiceEvent(ServiceEvent {
                event_type: format!("{PREFIX}desk.opened"),
                date: LocalTime::of(now).date.to_string(),
                ..ServiceEvent::default()
            }),
        };
        let places = self.log.append(Topic::ServiceEvents, &[opened]).await?;
        let before = places.first().map(|place| (place.partition, place.offset));
        turn.board = self.read_back(before).await?;
        turn.lost = false;
        self.seen_mut().clone_from(&turn.board);
        self.live.renewed();
        Ok(())
    }

    /// The board as the stream has it, of the last days before its newest record; where that is
    /// given, before the record that stands there.
    async fn read_back(&self, before: Option<(u32, u64)>) -> Result<Board, LogError> {
        const TOPIC: Topic = Topic::ServiceEvents;
        let mut ours: Vec<Record> = Vec::new();
        for partition in 0..self.log.partitions(TOPIC) {
            let end = self.log.end(TOPIC, partition)?;
            let end = before.filter(|(of, _)| *of == partition).map_or(end, |(_, at)| at.min(end));
            let Some(last) = end.checked_sub(1) else { continue };
            let newest = self.log.read(TOPIC, partition, last, 1).await?;
            let Some(newest) = newest.first() else { continue };
            let bound = newest.record.recorded_at - READ_BACK;
            let first = self.log.at(TOPIC, partition, bound).await?;
            let mut offsets = first.max(self.log.start(TOPIC, partition)?)..end;
            while let Some(batch) = next_batch(&self.log, TOPIC, partition, &mut offsets).await? {
                ours.extend(batch.into_iter().map(|stored| stored.record).filter(is_ours));
            }
        }
        ours.sort_by_key(|record| record.sequence);
        let mut board = Board::default();
        ours.iter().for_each(|record| board.apply(record));
        Ok(board)
    }

    /// Takes what is new in the registry; whether anything was.
    async fn follow(&self, view: &mut RegistryView) -> Result<bool, LogError> {
        let news = registry::news(&self.log, view.version()).await?;
        let is_new = !news.is_empty();
        if is_new {
            view.apply(&news);
            let roster = Arc::new(Roster::of(&view.registry(), view.version()));
            *self.roster.write().unwrap_or_else(PoisonError::into_inner) = roster;
            self.live.renewed();
        }
        Ok(is_new)
    }

    /// Whether a turn is due though nobody asks.
    fn is_due(&self) -> bool {
        let lost = self.turn.try_lock().is_ok_and(|turn| turn.lost);
        lost || is_due(&self.seen(), self.settings.rules, self.clock.now())
    }
}

/// Looks after the desk while anybody holds it.
async fn beat(desk: Weak<Inner>, mut view: RegistryView) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Said once, not four times a second.
    let mut well = true;
    loop {
        beats.tick().await;
        let Some(desk) = desk.upgrade() else { return };
        let followed = desk.follow(&mut view).await;
        let changed = matches!(followed, Ok(true));
        let trouble = followed.err().map(|error| error.to_string());
        let turned = if changed || desk.is_due() {
            let all = |decision: &mut Decision<'_>| {
                decision.distribute_all();
                Ok(())
            };
            desk.turn(all).await
        } else {
            Ok(())
        };
        let trouble = trouble.or_else(|| turned.err().map(|error| error.message().detail.clone()));
        if let Some(error) = trouble.as_ref().filter(|_| well) {
            tracing::error!(error, "the desk of calls does not go on");
        }
        well = trouble.is_none();
        desk.publish();
        desk.observe();
    }
}

fn is_ours(record: &Record) -> bool {
    matches!(&record.event, Event::ServiceEvent(event) if event.desk.is_some())
}

fn refused(error: &LogError) -> Problem {
    tracing::debug!(%error, "a turn of the desk was not taken");
    away()
}

fn away() -> Problem {
    Problem::unavailable("calls are not given now; ask again with the same key")
}
