//! Answers of requests that changed something, by the keys under which they were asked: kept for a
//! day, through a restart where there is a file for them.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use blake3::Hash;
use chrono::{DateTime, TimeDelta, Utc};
use ingest::{clock::Clock, vault::Vault};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::error::ConnectorError;

/// How long an answer is kept, unless there are too many.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// The most answers that are kept, and their bytes; the oldest go first.
const MOST: usize = 50_000;
const MOST_BYTES: usize = 64 << 20;

/// An answer, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The hash of what was asked.
    pub(super) asked: Hash,
    pub(super) at: DateTime<Utc>,
    pub(super) status: StatusCode,
    /// Its content type, where it has a content.
    pub(super) kind: Option<HeaderValue>,
    pub(super) body: Bytes,
}

impl Answer {
    /// What is told again.
    pub(super) fn response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        if let Some(kind) = self.kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    }
}

/// Answers by the names of their requests: who asked, and under which key.
#[derive(Clone, Debug)]
pub struct Answers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    book: Mutex<Book>,
    /// Where answers outlive the process; nowhere in memory alone.
    notes: Option<Mutex<Notes>>,
    /// Whose turn it is under a name, of those that are being decided.
    turns: Mutex<HashMap<Hash, Turns>>,
}

type Turns = Arc<tokio::sync::Mutex<()>>;

#[derive(Debug, Default)]
struct Book {
    answers: HashMap<Hash, Answer>,
    /// When each was given, the oldest first.
    order: VecDeque<(DateTime<Utc>, Hash)>,
    /// Of all bodies.
    bytes: usize,
}

/// The file of answers: one a line, sealed under the node's key, for one may say what only its caller
/// may know.
#[derive(Debug)]
struct Notes {
    path: PathBuf,
    vault: Vault,
    /// None until it is written anew: at the start, and after a write that failed.
    file: Option<File>,
    lines: usize,
    /// When it was written anew.
    renewed: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    asked: String,
    at: DateTime<Utc>,
    status: u16,
    kind: Option<String>,
    body: String,
}

impl Answers {
    /// In memory alone.
    #[must_use]
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self::over(clock, Book::default(), None)
    }

    /// As a file has them, which is made with the first.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(
        path: PathBuf,
        vault: Vault,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectorError> {
        let mut book = Book::default();
        let failed = |source| ConnectorError::Read { path: path.clone(), source };
        match File::open(&path) {
            Ok(file) => {
                let since = clock.now() - KEPT;
                for line in BufReader::new(file).split(b'\n') {
                    // One that was cut off was told to nobody.
                    let noted = read(&vault, &line.map_err(failed)?);
                    if let Some((name, answer)) = noted.filter(|(_, answer)| answer.at > since) {
                        book.put(name, answer);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let notes = Notes { path, vault, file: None, lines: 0, renewed: clock.now() };
        Ok(Self::over(clock, book, Some(Mutex::new(notes))))
    }

    fn over(clock: Arc<dyn Clock>, book: Book, notes: Option<Mutex<Notes>>) -> Self {
        Self(Arc::new(Inner { clock, book: Mutex::new(book), notes, turns: Mutex::default() }))
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// The turn of a request, once those before it under the same name are answered.
    pub(super) async fn turn(&self, name: Hash) -> Turn<'_> {
        let turns = Arc::clone(self.turns().entry(name).or_default());
        let mut turn = Turn { answers: self, name, held: None, turns: None };
        let waiting = Arc::clone(&turns).lock_owned();
        turn.turns = Some(turns);
        turn.held = Some(waiting.await);
        turn
    }

    pub(super) fn find(&self, name: Hash) -> Option<Answer> {
        let since = self.now() - KEPT;
        self.0.book().answers.get(&name).filter(|answer| answer.at > since).cloned()
    }

    /// Keeps an answer before it is told. One that the disk does not take is told all the same: what it
    /// answers is done.
    pub(super) async fn keep(&self, name: Hash, answer: Answer) {
        self.0.book().put(name, answer.clone());
        if self.0.notes.is_none() {
            return;
        }
        let inner = Arc::clone(&self.0);
        let noted = tokio::task::spawn_blocking(move || inner.note(name, &answer)).await;
        if let Ok(Err(error)) = noted {
            tracing::warn!(%error, "the answer under a key is not kept through a restart");
        }
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<Hash, Turns>> {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, name: Hash, answer: &Answer) -> io::Result<()> {
        let Some(notes) = &self.notes else { return Ok(()) };
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        // What is not kept any more stays in the file for a day at most, as long as answers come.
        let is_fresh = notes.lines < 2 * MOST && notes.renewed > answer.at - KEPT;
        match notes.file.take().filter(|_| is_fresh) {
            Some(file) => notes.add(file, name, answer),
            None => {
                let all = self.book().all();
                notes.renew(&all, answer.at)
            }
        }
    }
}

impl Book {
    fn put(&mut self, name: Hash, answer: Answer) {
        let since = answer.at - KEPT;
        self.bytes += answer.body.len();
        self.order.push_back((answer.at, name));
        if let Some(before) = self.answers.insert(name, answer) {
            self.bytes -= before.body.len();
        }
        while let Some((at, oldest)) = self.order.front().copied() {
            if at > since && self.answers.len() <= MOST && self.bytes <= MOST_BYTES {
                return;
            }
            self.order.pop_front();
            // Under the same name something may have been asked anew since.
            if self.answers.get(&oldest).is_some_and(|answer| answer.at == at)
                && let Some(gone) = self.answers.remove(&oldest)
            {
                self.bytes -= gone.body.len();
            }
        }
    }

    /// All of them, the oldest first.
    fn all(&self) -> Vec<(Hash, Answer)> {
        let standing = self.order.iter().filter_map(|(at, name)| {
            let answer = self.answers.get(name).filter(|answer| answer.at == *at)?;
            Some((*name, answer.clone()))
        });
        standing.collect()
    }
}

impl Notes {
    fn add(&mut self, mut file: File, name: Hash, answer: &Answer) -> io::Result<()> {
        file.write_all(written(&self.vault, name, answer)?.as_bytes())?;
        file.sync_data()?;
        self.file = Some(file);
        self.lines += 1;
        Ok(())
    }

    /// Writes the file anew: whoever reads it sees the old one or the new one.
    fn renew(&mut self, all: &[(Hash, Answer)], at: DateTime<Utc>) -> io::Result<()> {
        let fresh = self.path.with_extension("fresh");
        let mut file = File::create(&fresh)?;
        for (name, answer) in all {
            file.write_all(written(&self.vault, *name, answer)?.as_bytes())?;
        }
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        (self.lines, self.renewed) = (all.len(), at);
        self.file = Some(file);
        Ok(())
    }
}

fn written(vault: &Vault, name: Hash, answer: &Answer) -> io::Result<String> {
    let kind = answer.kind.as_ref().and_then(|kind| kind.to_str().ok());
    let line = Line {
        name: name.to_string(),
        asked: answer.asked.to_string(),
        at: answer.at,
        status: answer.status.as_u16(),
        kind: kind.map(str::to_owned),
        body: STANDARD_NO_PAD.encode(&answer.body),
    };
    let sealed = vault.seal_for_node(&serde_json::to_vec(&line)?).map_err(io::Error::other)?;
    Ok(STANDARD_NO_PAD.encode(sealed) + "\n")
}

fn read(vault: &Vault, line: &[u8]) -> Option<(Hash, Answer)> {
    let plain = vault.unseal_for_node(&STANDARD_NO_PAD.decode(line).ok()?).ok()?;
    let line: Line = serde_json::from_slice(&plain).ok()?;
    let answer = Answer {
        asked: Hash::from_hex(line.asked).ok()?,
        at: line.at,
        status: StatusCode::from_u16(line.status).ok()?,
        kind: line.kind.and_then(|kind| HeaderValue::from_str(&kind).ok()),
        body: STANDARD_NO_PAD.decode(line.body).ok()?.into(),
    };
    Some((Hash::from_hex(line.name).ok()?, answer))
}

/// Whose turn it is under a name, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    answers: &'a Answers,
    name: Hash,
    held: Option<OwnedMutexGuard<()>>,
    turns: Option<Turns>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut turns = self.answers.turns();
        drop(self.turns.take());
        // Whoever waits for the same has it, too.
        if turns.get(&self.name).is_some_and(|of| Arc::strong_count(of) == 1) {
            turns.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use ingest::clock::ManualClock;

    use super::*;

    fn noon() -> DateTime<Utc> {
        "2025-06-02T09:00:00Z".parse().expect("an instant")
    }

    fn answer(at: DateTime<Utc>, body: &'static str) -> Answer {
        let asked = blake3::hash(b"asked");
        let kind = Some(HeaderValue::from_static("application/json"));
        Answer {
            asked,
            at,
            status: StatusCode::CREATED,
            kind,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn named(name: &str) -> Hash {
        blake3::hash(name.as_bytes())
    }

    #[tokio::test]
    async fn what_was_told_is_told_again_after_a_restart_and_kept_for_a_day() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(&folder.path().join("keys")).expect("a vault");
        let clock = Arc::new(ManualClock::at(noon()));
        let path = folder.path().join("answers");
        let open = || {
            let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
            Answers::open(path.clone(), vault.clone(), clock).expect("opened")
        };
        let (first, second) = (answer(noon(), "{\"a\":1}"), answer(noon(), ""));
        let answers = open();
        answers.keep(named("a"), first.clone()).await;
        answers.keep(named("b"), second.clone()).await;
        let mut file = fs::read(&path).expect("a file");
        assert!(!file.windows(5).any(|of| of == b"{\"a\":"), "it is sealed");
        // The third is cut off.
        file.extend_from_slice(&file.clone()[..40]);
        fs::write(&path, &file).expect("written");
        for _ in 0..2 {
            let answers = open();
            assert_eq!(answers.find(named("a")), Some(first.clone()));
            assert_eq!(answers.find(named("b")), Some(second.clone()));
            assert_eq!(answers.find(named("c")), None);
            answers.keep(named("d"), answer(noon(), "d")).await;
        }
        clock.advance_to(noon() + KEPT);
        assert_eq!(answers.find(named("a")), None, "a day has gone");
        let lines = || fs::read_to_string(&path).expect("a file").lines().count();
        let answers = open();
        answers.keep(named("e"), answer(noon() + KEPT, "e")).await;
        assert_eq!(lines(), 1, "and so have their lines");
        answers.keep(named("f"), answer(noon() + KEPT, "f")).await;
        assert_eq!(lines(), 2);
        clock.advance_to(noon() + KEPT * 2);
        answers.keep(named("g"), answer(noon() + KEPT * 2, "g")).await;
        assert_eq!(lines(), 1, "without a restart, too");
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many() {
        let mut book = Book::default();
        for at in 0..=MOST {
            book.put(named(&at.to_string()), answer(noon(), "x"));
        }
        assert_eq!((book.answers.len(), book.bytes, book.order.len()), (MOST, MOST, MOST));
        assert!(!book.answers.contains_key(&named("0")) && book.answers.contains_key(&named("1")));
        // Asked anew a day later, it is the only one.
        book.put(named("1"), answer(noon() + KEPT, "xy"));
        assert_eq!((book.answers.len(), book.bytes, book.order.len()), (1, 2, 1));
    }

    #[tokio::test]
    async fn nobody_who_is_done_is_remembered_as_waiting() {
        let answers = Answers::in_memory(Arc::new(ManualClock::at(noon())));
        let first = answers.turn(named("a")).await;
        let mut second = Box::pin(answers.turn(named("a")));
        assert!(futures::poll!(second.as_mut()).is_pending(), "the first is being decided");
        let other = answers.turn(named("b")).await;
        drop(first);
        drop(second.await);
        drop(other);
        assert!(answers.turns().is_empty());
        let held = answers.turn(named("a")).await;
        let mut given_up = Box::pin(answers.turn(named("a")));
        assert!(futures::poll!(given_up.as_mut()).is_pending());
        drop(held);
        drop(given_up);
        assert!(answers.turns().is_empty());
    }
}
