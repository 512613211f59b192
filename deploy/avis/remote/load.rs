//! `avis load` into a running node: a file is sent as it is read, and held in memory nowhere.

use std::{
    collections::BTreeMap,
    io::{Error, Read},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use connectors::lines;
use indicatif::ProgressBar;
use reqwest::{Body, Method, RequestBuilder, header};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::{cli::SendArguments, client::Client, failure::Failure, progress::Progress};

pub(super) const NDJSON: &str = "application/x-ndjson";
/// Bytes of a file that are sent at once.
const PIECE: usize = 64 << 10;
/// Pieces that are read ahead.
const AHEAD: usize = 4;

/// What became of a file's lines.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) lines: u64,
    pub(super) taken: u64,
    pub(super) already_there: u64,
    refused: BTreeMap<String, u64>,
}

/// What is known of a file that is on its way.
#[derive(Debug, Default)]
struct Reading {
    lines: AtomicU64,
    failed: Mutex<Option<Error>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    pub(super) code: String,
}

/// The answer to one line.
#[derive(Debug, Deserialize)]
pub(super) struct LineAnswer {
    pub(super) status: u16,
    pub(super) problem: Option<Problem>,
}

/// The answer to events.
#[derive(Debug, Deserialize)]
struct Told {
    taken: u64,
    already_there: u64,
    older: u64,
    refused: Vec<Refused>,
    removed: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refused {
    pub(super) problem: Problem,
}

/// Sends files of offline transactions; each line is answered.
///
/// # Errors
/// Where a file cannot be read, or the node refuses it or lines of it for now.
pub async fn transactions(server: &str, arguments: &SendArguments) -> Result<(), Failure> {
    let (client, progress) = (Client::patient(server)?, Progress::new(false));
    for file in &arguments.files {
        let bar = progress.bar("transactions");
        let reading = Arc::new(Reading::default());
        let request = client.request(Method::POST, &["transactions:batch"], &[]);
        let sent = send(request, file, &reading)?;
        let answered = answers(&client, sent, &bar).await;
        let mut account = reading.outcome(file, answered)?;
        account.lines = reading.lines.load(Ordering::Acquire);
        bar.finish_and_clear();
        account.tell(file);
        let dealt_with = account.taken + account.refused.values().sum::<u64>();
        let left = account.lines.saturating_sub(dealt_with);
        if left > 0 {
            let file = file.display();
            let text = format!("{left} lines of {file} are not taken now: load it again later");
            return Err(Failure::Server(text));
        }
    }
    Ok(())
}

/// Sends files of events; whose each is, its type says.
///
/// # Errors
/// Where a file cannot be read or the node refuses it.
pub async fn events(server: &str, what: &str, arguments: &SendArguments) -> Result<(), Failure> {
    let (client, progress) = (Client::patient(server)?, Progress::new(false));
    let query: &[_] = if arguments.yes { &[("yes", "true")] } else { &[] };
    for file in &arguments.files {
        let bar = progress.bar(what);
        let reading = Arc::new(Reading::default());
        let request = client.request(Method::POST, &["events"], query);
        let sent = send(request, file, &reading)?;
        let told = reading.outcome(file, client.told::<Told>(sent).await)?;
        bar.finish_and_clear();
        let mut account = Account {
            lines: reading.lines.load(Ordering::Acquire),
            taken: told.taken,
            already_there: told.already_there + told.older,
            ..Account::default()
        };
        told.refused.into_iter().for_each(|of| account.refuse(of.problem.code));
        account.tell(file);
        if let Some(removed) = told.removed {
            println!("  {removed} people are not in the snapshot: removed");
        }
    }
    Ok(())
}

/// A request with a file as its body, which a thread reads.
fn send(
    request: RequestBuilder,
    file: &Path,
    reading: &Arc<Reading>,
) -> Result<RequestBuilder, Failure> {
    let (mut reader, reading) = (lines::open(file)?, Arc::clone(reading));
    let (pieces, receive) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut is_line = false;
        loop {
            let mut piece = vec![0; PIECE];
            let read = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let kind = error.kind();
                    *reading.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    // Half a file is not sent as if it were whole.
                    let _ = pieces.blocking_send(Err(Error::from(kind)));
                    return;
                }
            };
            piece.truncate(read);
            reading.count(&piece, &mut is_line);
            // Nobody receives where the node has answered before the end.
            if pieces.blocking_send(Ok(piece)).is_err() {
                return;
            }
        }
        reading.lines.fetch_add(u64::from(is_line), Ordering::AcqRel);
    });
    let body = futures::stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|piece: Result<Vec<u8>, Error>| (piece, receive))
    });
    Ok(request.header(header::CONTENT_TYPE, NDJSON).body(Body::wrap_stream(body)))
}

/// Reads the answers to transactions while these are sent.
async fn answers(
    client: &Client,
    request: RequestBuilder,
    bar: &ProgressBar,
) -> Result<Account, Failure> {
    let mut response = client.ask(request).await?;
    let (mut account, mut waiting) = (Account::default(), Vec::<u8>::new());
    while let Some(piece) = response.chunk().await.map_err(|error| client.failed(&error))? {
        waiting.extend_from_slice(&piece);
        let end = waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = waiting.drain(..end).collect();
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let answer: LineAnswer = serde_json::from_slice(line).map_err(|error| {
                Failure::Server(format!("{}: an answer cannot be read: {error}", client.shown()))
            })?;
            account.answer(answer);
            bar.inc(1);
        }
    }
    Ok(account)
}

impl Reading {
    /// Counts the lines that end in a piece; empty ones are none.
    fn count(&self, piece: &[u8], is_line: &mut bool) {
        let mut ended = 0;
        for byte in piece {
            match byte {
                b'\n' => ended += u64::from(std::mem::take(is_line)),
                byte => *is_line |= !byte.is_ascii_whitespace(),
            }
        }
        self.lines.fetch_add(ended, Ordering::AcqRel);
    }

    /// What came of a file; where it could not be read, that is why the rest failed.
    fn outcome<T>(&self, file: &Path, answer: Result<T, Failure>) -> Result<T, Failure> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failed {
            Some(source) => Err(Failure::Read { path: file.to_path_buf(), source }),
            None => answer,
        }
    }
}

impl Account {
    fn answer(&mut self, LineAnswer { status, problem }: LineAnswer) {
        match status {
            200 => self.taken += 1,
            // The node was too busy for it, or heard no more for too long: it is no dead letter.
            408 | 429 | 500..=599 => {}
            _ => self.refuse(problem.map(|of| of.code).unwrap_or_default()),
        }
    }

    pub(super) fn refuse(&mut self, code: String) {
        *self.refused.entry(code).or_default() += 1;
    }

    pub(super) fn tell(&self, file: &Path) {
        println!(
            "{}: {} lines, {} taken, {} already there, {} refused",
            file.display(),
            self.lines,
            self.taken,
            self.already_there,
            self.refused.values().sum::<u64>(),
        );
        for (code, count) in &self.refused {
            println!("  {code:<20} {count}");
        }
    }
}
