//! Transport of files: lines are read and translated on a thread of their own, and appended in
//! batches, each acknowledged before the next is sent.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use ingest::{
    clock::Clock,
    dead_letter::{DeadLetter, Reason},
    deduplication::{Deduplication, Known},
    log::Log,
    record::Record,
    topic::Topic,
    vault::Vault,
};
use tokio::sync::mpsc;

use crate::{
    connector::{Again, Connector, Refusal},
    error::ConnectorError,
    lines::{Line, Lines},
    metrics::Metrics,
};

/// Lines translated and appended at once.
const BATCH: usize = 512;
/// Batches that may wait for the log; more make the reader wait.
const WAITING: usize = 2;
/// How many records of a stream are remembered for knowing what comes again.
const REMEMBERED: usize = 4_000_000;

/// What loading needs of the node.
#[derive(Clone, Debug)]
pub struct Context {
    /// The streams.
    pub log: Arc<dyn Log>,
    /// Keys and keyed hashes.
    pub vault: Vault,
    /// The present instant.
    pub clock: Arc<dyn Clock>,
    /// The connectors' metrics.
    pub metrics: Metrics,
    /// The streams' metrics.
    pub streams: ingest::metrics::Metrics,
}

/// What became of the lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Lines read.
    pub lines: u64,
    /// Appended.
    pub taken: u64,
    /// Not new: the stream has them.
    pub already_there: u64,
    /// Refused, by reason; each is a dead letter.
    pub refused: BTreeMap<Reason, u64>,
}

impl Account {
    /// How many were refused.
    #[must_use]
    pub fn refused_in_all(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// Loads every line of `reader` through a connector. `progress` hears of lines as they are
/// acknowledged.
///
/// # Errors
/// Where the reader, the streams or the vault fail; what was acknowledged stays, and loading the
/// same file again goes on where it was.
pub async fn load<C: Connector>(
    context: &Context,
    mut connector: C,
    reader: impl Read + Send + 'static,
    origin: &str,
    mut progress: impl FnMut(u64),
) -> Result<Account, ConnectorError> {
    let topic = connector.topic();
    let known = Deduplication::of(&context.log, topic, REMEMBERED).await?;
    let letters = Deduplication::of(&context.log, Topic::DeadLetters, REMEMBERED).await?;
    let name = connector.name();
    let mut loader = Loader {
        context,
        known,
        letters,
        origin,
        name,
        again: connector.again(),
        account: Account::default(),
    };
    let (send, mut receive) = mpsc::channel(WAITING);
    let translating = std::thread::spawn(move || translate_all(&mut connector, reader, &send));
    while let Some(batch) = receive.recv().await {
        let lines = loader.append(batch?, topic).await?;
        progress(lines);
    }
    translating.join().map_err(|_| ConnectorError::Stopped { origin: origin.into() })?;
    Ok(loader.account)
}

/// A line with its identity and what it was translated to.
type Translated = (Line, Result<(domain::id::RecordId, Record), Refusal>);

fn translate_all<C: Connector>(
    connector: &mut C,
    reader: impl Read,
    send: &mpsc::Sender<Result<Vec<Translated>, ConnectorError>>,
) {
    let mut lines = Lines::new(reader);
    loop {
        let batch: Result<Vec<Line>, _> = lines.by_ref().take(BATCH).collect();
        let batch = batch.map_err(|source| ConnectorError::Read { path: "-".into(), source });
        let translated = match batch {
            Ok(lines) if lines.is_empty() => return,
            Ok(lines) => Ok(translate(connector, lines)),
            Err(error) => Err(error),
        };
        let failed = translated.is_err();
        // A receiver that is gone has met an error of its own.
        if send.blocking_send(translated).is_err() || failed {
            return;
        }
    }
}

fn translate<C: Connector>(connector: &mut C, lines: Vec<Line>) -> Vec<Translated> {
    let messages: Vec<&[u8]> = lines.iter().map(|line| line.bytes.as_slice()).collect();
    let translated = connector.translate(&messages);
    let pairs = lines.into_iter().zip(translated).map(|(line, translated)| {
        if line.is_too_long() {
            let detail =
                format!("{} bytes; the most is {}", line.length, crate::lines::LONGEST_LINE);
            return (line, Err(Refusal::new(Reason::LineTooLong, detail)));
        }
        let identified = translated.map(|record| (connector.identity(&record), record));
        (line, identified)
    });
    pairs.collect()
}

struct Loader<'a> {
    context: &'a Context,
    known: Deduplication,
    letters: Deduplication,
    origin: &'a str,
    name: &'static str,
    again: Again,
    account: Account,
}

impl Loader<'_> {
    async fn append(
        &mut self,
        batch: Vec<Translated>,
        topic: Topic,
    ) -> Result<u64, ConnectorError> {
        let lines = batch.len() as u64;
        let (mut records, mut letters) = (Vec::with_capacity(batch.len()), Vec::new());
        for (line, translated) in batch {
            self.account.lines += 1;
            match translated {
                Ok((identity, record)) => match self.known.known(identity, &record.event) {
                    Known::Same => self.account.already_there += 1,
                    Known::Different if self.again == Again::Refuse => {
                        let detail = "the key was used before for something else";
                        let refusal = Refusal::new(Reason::DuplicateKey, detail);
                        letters.extend(self.refuse(&line, &refusal)?);
                    }
                    Known::New | Known::Different => {
                        self.known.note(identity, &record.event);
                        records.push(record);
                    }
                },
                Err(refusal) => letters.extend(self.refuse(&line, &refusal)?),
            }
        }
        self.account.taken += records.len() as u64;
        self.context.metrics.taken(self.name, records.len() as u64);
        if !letters.is_empty() {
            self.context.log.append(Topic::DeadLetters, letters).await?;
        }
        if !records.is_empty() {
            self.context.log.append(topic, records).await?;
        }
        Ok(lines)
    }

    fn refuse(&mut self, line: &Line, refusal: &Refusal) -> Result<Option<Record>, ConnectorError> {
        *self.account.refused.entry(refusal.reason).or_default() += 1;
        let letter = DeadLetter {
            connector: self.name,
            reason: refusal.reason,
            detail: refusal.detail.clone(),
            origin: self.origin,
            line: line.number,
            payload: &line.bytes,
            payload_bytes: line.length,
        };
        let record = letter.record(&self.context.vault, self.context.clock.now())?;
        if self.letters.known(record.id, &record.event) != Known::New {
            return Ok(None);
        }
        self.letters.note(record.id, &record.event);
        self.context.metrics.refused(self.name);
        self.context.streams.refused(self.name, refusal.reason);
        Ok(Some(record))
    }
}
