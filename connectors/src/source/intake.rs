//! From messages to records: each goes to the connector of its type, and what is not on the stream
//! yet is appended before anybody is told.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::TimeDelta;
use domain::id::{RecipientId, RecordId};
use ingest::{
    dead_letter::{DeadLetter, Reason},
    record::Record,
    register::sequences::{Gap, Order},
    topic::Topic,
    wire::v1::Event,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Door, Route,
    answer::{MissingChanges, RefusedEvent, Told},
};
use crate::{
    connector::{Again, Refusal},
    dagr::snapshot::Snapshot,
    error::ConnectorError,
    json,
    lines::Line,
    load::{Account, Taking},
    problem::Problem,
};

/// Where events come by, as dead letters say it.
const ORIGIN: &str = "/v1/events";
/// The most gaps that one answer tells; all are listed.
const MOST_GAPS: usize = 1_000;
/// The longest id of an event that is given back, in bytes; longer ones are refused anyway.
const LONGEST_ID: usize = 256;
/// What a source's clock may be ahead of ours. An event that has not happened would end the windows of all
/// others of its stream, which then come too late.
const AHEAD: TimeDelta = TimeDelta::minutes(10);
/// Snapshots that are finished at once.
static SNAPSHOTS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(1);

/// How a message's place is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// From 0, in a batch.
    Indices,
    /// From 1, in lines.
    Lines,
}

/// Takes the messages of one request, some at a time, in their order.
#[derive(Debug)]
pub(super) struct Intake<'a> {
    door: &'a Door,
    /// Whose events may come; none for all.
    own: Option<Route>,
    places: Places,
    snapshot: Arc<Mutex<Snapshot>>,
    told: Told,
}

/// What becomes of one message.
enum Fate {
    Taken(Option<(RecipientId, Gap)>),
    AlreadyThere,
    Older,
    Refused(Refusal),
}

/// What tells whose a message is, whatever else is wrong with it.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
}

/// A message with its id, and whose it is.
struct Routed {
    id: Option<String>,
    route: Result<Route, Refusal>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(door: &'a Door, own: Option<Route>, places: Places) -> Self {
        let (snapshot, told) = (Arc::default(), Told::default());
        Self { door, own, places, snapshot, told }
    }

    /// How many were refused so far.
    pub(super) fn refused(&self) -> usize {
        self.told.refused.len()
    }

    /// Takes some messages: when it answers, each is on its stream, known to be there already, or a
    /// dead letter.
    ///
    /// # Errors
    /// Where a stream or the vault fails; messages sent again are known again.
    pub(super) async fn take(&mut self, lines: Vec<Line>) -> Result<(), Problem> {
        let routed: Vec<_> = lines.iter().map(|line| self.route(line)).collect();
        let lines = Arc::new(lines);
        let refused = |of: &Routed| of.route.as_ref().err().cloned().map(Fate::Refused);
        let mut fates: Vec<Option<Fate>> = routed.iter().map(refused).collect();
        for route in Route::ALL {
            let of = |(at, routed): (usize, &Routed)| (routed.route == Ok(route)).then_some(at);
            let own: Vec<usize> = routed.iter().enumerate().filter_map(of).collect();
            if own.is_empty() {
                continue;
            }
            let translated = self.translate(route, &lines, &own).await?;
            let told = self.append(route, translated).await?;
            for (at, fate) in own.into_iter().zip(told) {
                fates[at] = Some(fate);
            }
        }
        self.tell(&lines, routed, fates).await
    }

    /// Refuses a body that has no messages.
    ///
    /// # Errors
    /// Where the stream or the vault fails.
    pub(super) async fn refuse(&mut self, body: &[u8], refusal: Refusal) -> Result<(), Problem> {
        let line = Line { number: 0, bytes: body.to_vec(), length: body.len() as u64 };
        self.letters(vec![(&line, self.name(None), &refusal)]).await
    }

    /// Says what became of all; a whole snapshot removes who is not in it.
    ///
    /// # Errors
    /// Where the snapshot is cut, or removes more than 1 % without `yes`, or a stream fails.
    pub(super) async fn finish(mut self, yes: bool) -> Result<Told, Problem> {
        let snapshot = {
            let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *snapshot)
        };
        if snapshot.has_begun() {
            let mut account = Account::default();
            if self.refused() > 0 {
                account.refused.insert(Reason::InvalidValue, self.refused() as u64);
            }
            // It looks at all people.
            let _turn = SNAPSHOTS.acquire().await;
            let context = &self.door.context;
            let (log, clock) = (&context.log, &*context.clock);
            let removed = snapshot.finish(log, clock, &account, yes).await?;
            self.told.removed = Some(removed as u64);
        }
        Ok(self.told)
    }

    /// Whose a message is; of a source that sends its own only, its connector tells every fault.
    fn route(&self, line: &Line) -> Routed {
        if let Some(refusal) = line.too_long() {
            return Routed { id: None, route: Err(refusal) };
        }
        let peek = serde_json::from_slice::<Peek<'_>>(&line.bytes).ok();
        let text = |raw: Option<&RawValue>| serde_json::from_str::<Cow<'_, str>>(raw?.get()).ok();
        let (id, kind) = peek.map_or((None, None), |of| (text(of.id), text(of.kind)));
        let id = id.filter(|id| id.len() <= LONGEST_ID).map(Cow::into_owned);
        let of_type = kind.as_deref().and_then(Route::of_type);
        let route = match (self.own, of_type) {
            (Some(own), Some(of)) if of != own => {
                Err(Refusal::new(Reason::UnknownType, "/type: is not of this source"))
            }
            (Some(own), _) => Ok(own),
            (None, Some(of)) => Ok(of),
            (None, None) => Err(nobodys(&line.bytes, kind.is_some())),
        };
        Routed { id, route }
    }

    /// Translates a route's messages, away from those who wait for answers.
    async fn translate(
        &self,
        route: Route,
        lines: &Arc<Vec<Line>>,
        own: &[usize],
    ) -> Result<Vec<Result<Record, Refusal>>, Problem> {
        let mut connector = self.door.connector(route, &self.snapshot).await?;
        let (lines, own) = (Arc::clone(lines), own.to_vec());
        let translated = tokio::task::spawn_blocking(move || {
            let messages = own.iter().filter_map(|at| lines.get(*at));
            let messages: Vec<&[u8]> = messages.map(|line| line.bytes.as_slice()).collect();
            connector.translate(&messages)
        });
        translated.await.map_err(Problem::stopping)
    }

    /// Appends what the stream does not have; one fate each, in order.
    async fn append(
        &mut self,
        route: Route,
        translated: Vec<Result<Record, Refusal>>,
    ) -> Result<Vec<Fate>, Problem> {
        let context = &self.door.context;
        let mut stream = self.door.known.stream(&context.log, route.topic(), known_by).await?;
        let (mut records, mut fates) = (Vec::new(), Vec::with_capacity(translated.len()));
        let latest = context.clock.now() + AHEAD;
        for message in translated {
            let record = match message {
                Ok(record) if record.event_time > latest => {
                    let detail = "/time: has not come yet; the source's clock is ahead";
                    fates.push(Fate::Refused(Refusal::new(Reason::InvalidValue, detail)));
                    continue;
                }
                Ok(record) => record,
                Err(refusal) => {
                    fates.push(Fate::Refused(refusal));
                    continue;
                }
            };
            match stream.seen(Again::Refuse, record.id, &record) {
                Taking::AlreadyThere => fates.push(Fate::AlreadyThere),
                Taking::Refused(refusal) => fates.push(Fate::Refused(refusal)),
                Taking::Taken => {
                    let fate = match &record.event {
                        Event::PersonChanged(change) => {
                            let order = stream.order(change, record.recorded_at);
                            in_order(&change.person, order)
                        }
                        _ => Fate::Taken(None),
                    };
                    if matches!(fate, Fate::Taken(_)) {
                        stream.note(record.id, &record);
                        records.push(record);
                    }
                    fates.push(fate);
                }
            }
        }
        stream.append(&records).await?;
        context.metrics.taken(route.name(), records.len() as u64);
        Ok(fates)
    }

    /// Counts what became of messages; those refused become dead letters.
    async fn tell(
        &mut self,
        lines: &[Line],
        routed: Vec<Routed>,
        fates: Vec<Option<Fate>>,
    ) -> Result<(), Problem> {
        let metrics = &self.door.context.metrics;
        let mut refused = Vec::new();
        for ((line, Routed { id, route }), fate) in lines.iter().zip(routed).zip(fates) {
            let name = self.name(route.as_ref().ok().copied());
            // One fate for each message is what a connector promises.
            let none = || Fate::Refused(Refusal::new(Reason::InvalidValue, "not translated"));
            match fate.unwrap_or_else(none) {
                Fate::Taken(gap) => {
                    self.told.taken += 1;
                    if let Some((person, gap)) = gap
                        && self.told.gaps.len() < MOST_GAPS
                    {
                        self.told.gaps.push(MissingChanges::of(person, &gap, id));
                    }
                }
                Fate::AlreadyThere => {
                    self.told.already_there += 1;
                    metrics.already_there(name);
                }
                Fate::Older => {
                    self.told.older += 1;
                    metrics.older(name);
                }
                Fate::Refused(refusal) => refused.push((line, name, id, refusal)),
            }
        }
        let letters = refused.iter().map(|(line, name, _, refusal)| (*line, *name, refusal));
        self.letters(letters.collect()).await?;
        let places = self.places;
        let told = refused.into_iter().map(|(line, _, id, refusal)| RefusedEvent {
            index: (places == Places::Indices).then(|| line.number.saturating_sub(1)),
            line: (places == Places::Lines).then_some(line.number),
            id,
            problem: Problem::from(refusal).message().clone(),
        });
        self.told.refused.extend(told);
        Ok(())
    }

    /// Keeps what is refused. The same from the same place is kept once.
    async fn letters(&self, refused: Vec<(&Line, &'static str, &Refusal)>) -> Result<(), Problem> {
        if refused.is_empty() {
            return Ok(());
        }
        let context = &self.door.context;
        let topic = Topic::DeadLetters;
        let mut stream = self.door.known.stream(&context.log, topic, known_by).await?;
        let mut letters = Vec::new();
        for (line, connector, refusal) in refused {
            let letter = DeadLetter {
                connector,
                reason: refusal.reason,
                detail: refusal.detail.clone(),
                origin: ORIGIN,
                line: line.number,
                payload: &line.bytes,
                payload_bytes: line.length,
            };
            let sealed = letter.record(&context.vault, context.clock.now());
            let record = sealed.map_err(ConnectorError::from)?;
            context.metrics.refused(connector);
            context.streams.refused(connector, refusal.reason);
            if stream.seen(Again::Refuse, record.id, &record) == Taking::Taken {
                stream.note(record.id, &record);
                letters.push(record);
            }
        }
        Ok(stream.append(&letters).await?)
    }

    /// The connector's name for metrics and dead letters.
    fn name(&self, route: Option<Route>) -> &'static str {
        route.or(self.own).map_or("source", Route::name)
    }
}

/// An event is known by its source and its id, whatever its type.
pub(super) fn known_by(record: &Record) -> RecordId {
    record.id
}

/// Why a message is nobody's.
fn nobodys(message: &[u8], has_type: bool) -> Refusal {
    if has_type {
        let detail = "/type: is no event of the register, a service centre or the portal";
        return Refusal::new(Reason::UnknownType, detail);
    }
    let missing = || Refusal::new(Reason::MissingField, "type is missing, or is no text");
    json::message(message).err().unwrap_or_else(missing)
}

fn in_order(person: &str, order: Order) -> Fate {
    match order {
        Order::Next | Order::Fills => Fate::Taken(None),
        Order::After(gap) => Fate::Taken(RecipientId::parse(person).map(|id| (id, gap))),
        Order::Older => Fate::Older,
    }
}
