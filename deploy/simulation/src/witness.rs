//! Whoever watches: each record that becomes durable, each answer, each commit of rows. What has to
//! hold is looked at there and then, and once more when all is quiet.
//!
//! It shares nothing with what it watches but the vocabulary, and where it asks what a decision
//! should have been, the rule engine, over sums of its own.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::array::RecordBatch;
use authoriser::{
    cache::Movements,
    history::History,
    publish,
    reply::Reply,
    rules::{self, Counters, Input, RuleSet},
};
use domain::{
    basket::Request,
    id::{BenefitId, GroupId, HouseholdId, RecipientId, TerminalId},
    identification_means::MeansStatus,
    limit::CounterKey,
    recipient::Recipient,
};
use ingest::{
    record::{Position, Stored},
    topic::Topic,
    wire::v1::{self, Event},
};

use crate::{
    country::{Ask, Asked},
    time::Time,
};

pub mod books;
mod lines;
mod sums;

pub use sums::local_day;

use lines::Lines;
use sums::Sums;

/// Counters and points as the stream's own records move them.
#[derive(Debug, Default)]
pub struct Book {
    counters: HashMap<CounterKey, i64>,
    points: HashMap<(RecipientId, BenefitId), i64>,
}

impl Counters for Book {
    fn used(&self, key: &CounterKey) -> i64 {
        self.counters.get(key).copied().unwrap_or(0)
    }

    fn points(&self, recipient: RecipientId, benefit: &BenefitId) -> i64 {
        self.points.get(&(recipient, benefit.clone())).copied().unwrap_or(0)
    }
}

impl Book {
    fn moves(&mut self, movements: Movements) {
        for moved in movements.counters {
            *self.counters.entry(moved.key).or_default() += moved.change;
        }
        for (who, benefit, change) in movements.points {
            *self.points.entry((who, benefit)).or_default() += change;
        }
    }
}

/// What was asked, by terminal, key and the hash of the body.
type Bodies = HashMap<(String, String, Vec<u8>), Request>;

#[derive(Debug, Default)]
struct Witness {
    time: Time,
    /// The rules, once they are known, by which decisions are decided again.
    rules: Option<RuleSet>,
    book: Book,
    sums: Sums,
    lives: HashMap<String, History>,
    /// Where the record of each terminal's key stands.
    keys: HashMap<(String, String), Position>,
    asked: Bodies,
    /// What a terminal's key and body were answered with: an authorisation, and how many changes.
    answers: HashMap<(String, String, String), (String, usize)>,
    uploads: Vec<(String, String)>,
    lines: Lines,
    faults: Vec<String>,
    trace: Vec<String>,
    counts: Counts,
}

/// How much happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that became durable.
    pub records: u64,
    /// Answers that terminals could have got.
    pub answers: u64,
    /// Rows that landed.
    pub rows: u64,
    /// Times a process died.
    pub deaths: u64,
}

/// The witness. A clone is the same.
#[derive(Clone, Debug)]
pub struct Watching(Arc<Mutex<Witness>>);

impl Watching {
    /// A witness that has seen nothing.
    #[must_use]
    pub fn begin(time: Time) -> Self {
        Self(Arc::new(Mutex::new(Witness { time, ..Witness::default() })))
    }

    /// The rules by which everything is decided.
    pub fn rules(&self, rules: RuleSet) {
        self.witness().rules = Some(rules);
    }

    /// Somebody asks.
    pub fn asks(&self, ask: &Ask) {
        let mut witness = self.witness();
        let Some(request) = ask.request() else { return };
        let key = (ask.terminal.to_owned(), ask.key.clone(), ask.body().to_vec());
        witness.asked.insert(key, request);
    }

    /// Records became durable.
    pub fn stored(&self, topic: Topic, stored: &[Stored]) {
        let mut witness = self.witness();
        for one in stored {
            witness.counts.records += 1;
            witness.record(topic, one);
        }
    }

    /// An answer was given that its terminal may hear.
    pub fn answered(&self, ask: &Ask, reply: &Reply) {
        let mut witness = self.witness();
        witness.counts.answers += 1;
        witness.answer(ask, reply);
    }

    /// Rows entered a table.
    pub fn landed(&self, table: &str, rows: &[RecordBatch]) {
        let mut witness = self.witness();
        witness.counts.rows += rows.iter().map(|rows| rows.num_rows() as u64).sum::<u64>();
        if let Err(fault) = witness.lines.land(table, rows) {
            witness.fault(fault);
        }
    }

    /// A process died.
    pub fn died(&self, how: &str) {
        let mut witness = self.witness();
        witness.counts.deaths += 1;
        witness.tell(how.to_owned());
    }

    /// Something happened.
    pub fn tell(&self, what: impl Into<String>) {
        self.witness().tell(what.into());
    }

    /// Something is wrong.
    pub fn fault(&self, what: impl Into<String>) {
        self.witness().fault(what.into());
    }

    /// Whether something was found wrong.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.witness().faults.is_empty()
    }

    /// How much happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.witness().counts
    }

    /// What was found wrong, and all that happened.
    #[must_use]
    pub fn told(&self) -> (Vec<String>, Vec<String>) {
        let witness = self.witness();
        (witness.faults.clone(), witness.trace.clone())
    }

    /// Looks at what must hold once all is quiet: the index is given as it counts.
    pub fn closes(&self, index: &[(CounterKey, i64)]) {
        let mut witness = self.witness();
        witness.close(index);
    }

    fn witness(&self) -> MutexGuard<'_, Witness> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness {
    fn tell(&mut self, what: String) {
        let now = self.time.now().as_micros();
        self.trace.push(format!("{:>6}.{:06} {what}", now / 1_000_000, now % 1_000_000));
    }

    fn fault(&mut self, what: String) {
        self.tell(format!("WRONG: {what}"));
        self.faults.push(what);
    }

    fn record(&mut self, topic: Topic, stored: &Stored) {
        let at = stored.position;
        match &stored.record.event {
            Event::AuthorisationDecided(event) => {
                let what = format!(
                    "decided {}/{} {} {}: {} off, {} points",
                    event.terminal_id,
                    event.idempotency_key,
                    event.mode,
                    event.status,
                    event.benefit_cents,
                    event.points_earned
                );
                self.tell(format!("{topic} {}/{} {what}", at.partition, at.offset));
                self.takes_key(&event.terminal_id, &event.idempotency_key, at);
                self.decided(event, at);
                let history = History::of(event.clone());
                if self.lives.insert(event.authorisation_id.clone(), history).is_some() {
                    self.fault(format!("{what} is on the stream a second time"));
                }
            }
            Event::AuthorisationChanged(event) => {
                let (of, what) = (&event.authorisation_id, &event.transition);
                let by = format!("{}/{}", event.terminal_id, event.idempotency_key);
                self.tell(format!("{topic} {}/{} {what} of {of} by {by}", at.partition, at.offset));
                if !event.idempotency_key.is_empty() {
                    self.takes_key(&event.terminal_id, &event.idempotency_key, at);
                }
                self.changed(event, at);
                if let Some(history) = self.lives.get_mut(of) {
                    history.changes.push(event.clone());
                }
            }
            Event::KeyBlocked(event) => {
                let (by, undone) = (&event.idempotency_key, &event.reversed_key);
                self.tell(format!("{topic} {}/{} {by} blocks {undone}", at.partition, at.offset));
                self.takes_key(&event.terminal_id, by, at);
                self.takes_key(&event.terminal_id, undone, at);
            }
            Event::TransactionUploaded(event) => {
                self.tell(format!("{topic} {} {}", event.terminal_id, event.idempotency_key));
                self.uploads.push((event.terminal_id.clone(), event.idempotency_key.clone()));
            }
            Event::PeriodClosed(event) => {
                self.tell(format!("{topic} {} up to {:?}", event.period, event.end_offsets));
            }
            _ => {}
        }
    }

    /// A key makes one record, ever.
    fn takes_key(&mut self, terminal: &str, key: &str, at: Position) {
        let before = self.keys.insert((terminal.to_owned(), key.to_owned()), at);
        if let Some(before) = before {
            let places = format!("{before:?} and {at:?}");
            self.fault(format!("{terminal}/{key} made two records, at {places}"));
        }
    }

    fn decided(&mut self, event: &v1::AuthorisationDecided, at: Position) {
        self.decides_again(event);
        match publish::movements_of(event) {
            Some(movements) => self.book.moves(movements),
            None => self.fault(format!("the movements at {at:?} cannot be read")),
        }
        if event.status == "captured" {
            let given = (event.merchant_id.as_str(), event.occurred_at);
            self.lines.given(at, given, &event.lines);
        }
        if let Err(fault) = self.sums.decided(event) {
            self.fault(fault);
        }
    }

    fn changed(&mut self, event: &v1::AuthorisationChanged, at: Position) {
        let Some(history) = self.lives.get(&event.authorisation_id).cloned() else {
            return self.fault(format!("{at:?} changes what was never decided"));
        };
        let before = history.status();
        let fits = match event.transition.as_str() {
            "capture" | "void" | "expire" => before.code() == "reserved",
            "refund" => matches!(before.code(), "captured" | "partially_refunded"),
            _ => false,
        };
        if !fits || event.step != history.next_step() {
            let steps = format!("step {} where {} comes", event.step, history.next_step());
            let what = &event.transition;
            self.fault(format!("{what} at {at:?} of what is {}, {steps}", before.code()));
        }
        let early = history.decided.expires_at.is_some_and(|ends| event.occurred_at < ends);
        if event.transition == "expire" && early {
            self.fault(format!("{} expired before its time", event.authorisation_id));
        }
        match publish::movements_of_change(event) {
            Some(movements) => self.book.moves(movements),
            None => self.fault(format!("the movements at {at:?} cannot be read")),
        }
        // A capture counts for its reservation's day, a refund for its own.
        let given_at = match event.transition.as_str() {
            "capture" => Some(history.decided.occurred_at),
            "refund" => Some(event.occurred_at),
            _ => None,
        };
        if let Some(given_at) = given_at {
            self.lines.given(at, (event.merchant_id.as_str(), given_at), &event.lines);
        }
        if let Err(fault) = self.sums.changed(&history, event) {
            self.fault(fault);
        }
    }

    /// Decides the basket again, on what the stream before it says.
    fn decides_again(&mut self, event: &v1::AuthorisationDecided) {
        let key = (&event.terminal_id, &event.idempotency_key, &event.body_hash);
        let request = self.asked.get(&(key.0.clone(), key.1.clone(), key.2.clone()));
        let Some(request) = request else {
            return self.fault(format!("nobody asked for {}/{}", key.0, key.1));
        };
        let Some(rules) = &self.rules else { return };
        let terminal = TerminalId::new(&event.terminal_id).ok();
        let Some(terminal) = terminal.and_then(|terminal| rules.terminal(&terminal)) else {
            return self.fault(format!("{} is no terminal", event.terminal_id));
        };
        let recipient = recipient(event);
        let valid = if recipient.is_some() { MeansStatus::Valid } else { MeansStatus::None };
        let input = Input {
            terminal,
            lines: &request.lines,
            instant: request.occurred_at,
            recipient: recipient.as_ref(),
            means_status: valid,
            declined: None,
            points: request.spend_points,
        };
        let again = rules::evaluate(rules, &input, &self.book);
        let found = (event.benefit_cents, event.points_earned, event.points_spent);
        let expected = (again.benefit().cents(), again.points_earned(), again.points_spent());
        if found != expected {
            let of = format!("{}/{}", key.0, key.1);
            self.fault(format!(
                "{of} gave {found:?} (cents, points earned and spent), where the stream before it \
                 leaves {expected:?}"
            ));
        }
    }

    fn answer(&mut self, ask: &Ask, reply: &Reply) {
        let of = format!("{}/{}", ask.terminal, ask.key);
        let history = match reply {
            Reply::Authorisation(history) => history,
            Reply::Blocked(blocked) => {
                let key = (ask.terminal.to_owned(), blocked.reversed_key.clone());
                if !self.keys.contains_key(&key) {
                    self.fault(format!("{of} was told of a block that is not on the stream"));
                }
                return self.tell(format!("answered {of}: blocked"));
            }
        };
        let id = history.decided.authorisation_id.clone();
        let changes = history.changes.len();
        self.tell(format!("answered {of}: {id} is {}", history.status().code()));
        let durable = self.lives.get(&id).is_some_and(|stands| {
            stands.decided == history.decided
                && stands.changes.get(..changes) == Some(history.changes.as_slice())
        });
        if !durable {
            self.fault(format!("{of} was answered with what is not on the stream"));
        }
        // A reversal with nothing to undo says how things stand, and leaves its key free.
        let own = history.changes.last().is_some_and(|last| last.idempotency_key == ask.key);
        if matches!(ask.what, Asked::Reverse(_)) && !own {
            return;
        }
        if !self.keys.contains_key(&(ask.terminal.to_owned(), ask.key.clone())) {
            self.fault(format!("{of} was answered, and its key is not on the stream"));
        }
        let key = (ask.terminal.to_owned(), ask.key.clone(), ask.said());
        let first = self.answers.entry(key).or_insert_with(|| (id.clone(), changes)).clone();
        if first != (id, changes) {
            self.fault(format!("{of} was answered in two ways"));
        }
    }

    fn close(&mut self, index: &[(CounterKey, i64)]) {
        let mut wrong = Vec::new();
        for (terminal, key) in std::mem::take(&mut self.uploads) {
            if !self.keys.contains_key(&(terminal.clone(), key.clone())) {
                wrong.push(format!("the upload {terminal}/{key} was never decided"));
            }
        }
        let answered: HashSet<_> =
            self.answers.keys().map(|(terminal, key, _)| (terminal, key)).collect();
        for (terminal, key) in answered {
            if !self.keys.contains_key(&(terminal.clone(), key.clone())) {
                wrong.push(format!("{terminal}/{key} was answered and is gone"));
            }
        }
        for (id, history) in &self.lives {
            if history.status().code() == "reserved" {
                wrong.push(format!("{id} is reserved for ever"));
            }
        }
        let kept: BTreeMap<_, _> = index.iter().cloned().collect();
        for (key, used) in &self.book.counters {
            let found = kept.get(key).copied().unwrap_or(0);
            if found != *used {
                wrong.push(format!("the index has {found} of {key:?}, the stream {used}"));
            }
        }
        wrong.extend(self.lines.missing());
        wrong.sort();
        wrong.into_iter().for_each(|fault| self.fault(fault));
    }
}

fn recipient(event: &v1::AuthorisationDecided) -> Option<Recipient> {
    Some(Recipient {
        id: event.recipient_id.as_deref().and_then(RecipientId::parse)?,
        household: event.household_id.as_deref().and_then(HouseholdId::parse)?,
        groups: vec![GroupId::new("family").ok()?],
    })
}
