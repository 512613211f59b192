//! Transport of files: lines are read and translated on a thread of their own, and appended in
//! batches, each acknowledged before the next is sent and while the next is made.

use std::{collections::BTreeMap, io::Read, path::PathBuf, sync::Arc};

use domain::id::RecordId;
use ingest::{
    clock::Clock,
    dead_letter::{DeadLetter, Reason},
    deduplication::{Deduplication, Known, Said},
    log::{Log, appender::Appender},
    record::Record,
    spread,
    topic::Topic,
    vault::Vault,
    wire::v1::Event,
};
use tokio::sync::mpsc;

use crate::{
    connector::{Again, Connector, Refusal},
    error::ConnectorError,
    lines::{Line, Lines},
    metrics::Metrics,
};

/// Lines translated and appended at once, at most: a batch costs two syncs, as long as a thousand lines.
const BATCH: usize = 8_192;
/// The bytes of lines after which a batch is not filled further; with it a file of the longest
/// lines stays within a few of them in memory.
const BATCH_BYTES: usize = 4 << 20;
/// Batches that may wait for the log; more make the reader wait.
const WAITING: usize = 1;
/// How many records of a stream are remembered for knowing what comes again; of means those of a nation.
const REMEMBERED: usize = 4_000_000;
const REMEMBERED_MEANS: usize = 8_000_000;

const fn remembered(topic: Topic) -> usize {
    match topic {
        Topic::MeansChanges => REMEMBERED_MEANS,
        _ => REMEMBERED,
    }
}

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

    /// Adds what became of other lines.
    pub fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.taken += other.taken;
        self.already_there += other.already_there;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
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
    let known = Deduplication::of(&context.log, topic, remembered(topic), |record| {
        connector.identity(record)
    })
    .await?;
    let letters =
        Deduplication::of(&context.log, Topic::DeadLetters, REMEMBERED, |letter| letter.id).await?;
    let name = connector.name();
    let mut loader = Loader {
        context,
        appender: Appender::new(Arc::clone(&context.log), topic),
        known,
        letters,
        origin,
        name,
        again: connector.again(),
        account: Account::default(),
    };
    let (send, mut receive) = mpsc::channel(WAITING);
    let path = PathBuf::from(origin);
    let translating = std::thread::spawn(move || {
        translate_all(&mut connector, reader, &send)
            .map_err(|source| ConnectorError::Read { path, source })
    });
    let appended = loader.append_all(&mut receive, &mut progress).await;
    // Whatever failed, nothing is left on its way.
    loader.appender.settle().await?;
    progress(appended?);
    translating.join().map_err(|_| ConnectorError::Stopped { origin: origin.into() })??;
    Ok(loader.account)
}

/// What becomes of a message that was translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taking {
    /// It is on its stream.
    Taken,
    /// The stream had it.
    AlreadyThere,
    /// It is refused as before, or for another reason.
    Refused(Refusal),
}

/// Translates refused messages again, and appends what is taken now; one answer each, in order.
///
/// # Errors
/// Where the streams fail; then nothing of it is taken.
pub async fn replay<C: Connector>(
    context: &Context,
    mut connector: C,
    messages: &[&[u8]],
) -> Result<Vec<Taking>, ConnectorError> {
    let topic = connector.topic();
    let identity = |record: &Record| connector.identity(record);
    let mut known = Deduplication::of(&context.log, topic, remembered(topic), identity).await?;
    let (mut records, mut answers) = (Vec::new(), Vec::new());
    for translated in connector.translate(messages) {
        answers.push(match translated {
            Err(refusal) => Taking::Refused(refusal),
            Ok(mut record) => {
                let (id, said) = (connector.identity(&record), Said::of(&record.event));
                known.keep_blocked(id, &mut record.event);
                let (again, vault) = (connector.again(), &context.vault);
                let place = take(&mut known, again, vault, (id, said), &record.event);
                records.extend((place == Taking::Taken).then_some(record));
                place
            }
        });
    }
    if !records.is_empty() {
        context.log.append(topic, &records).await?;
    }
    context.metrics.taken(connector.name(), records.len() as u64);
    Ok(answers)
}

/// Whether a record goes to its stream, by what the stream has; one that does is noted.
fn take(
    known: &mut Deduplication,
    again: Again,
    vault: &Vault,
    (id, said): (RecordId, Said),
    event: &Event,
) -> Taking {
    match (known.known(id, said), again) {
        (Known::Same, _) => Taking::AlreadyThere,
        // Told of as somebody's else, it would tell who was erased.
        (Known::Different, _) if known.blocked_holder(id).is_some_and(|of| vault.is_erased(of)) => {
            Taking::Refused(Refusal::new(
                Reason::UnknownPerson,
                "the means of somebody forgotten stays blocked",
            ))
        }
        (Known::Different, Again::Refuse) => Taking::Refused(Refusal::new(
            Reason::DuplicateKey,
            "the key was used before for something else",
        )),
        (Known::New, _) | (Known::Different, Again::Changes) => {
            known.note(id, said, event);
            Taking::Taken
        }
    }
}

/// A line with what it was translated to: the record, its identity and what it says.
type Translated = (Line, Result<(Record, RecordId, Said), Refusal>);

/// What was read before an error has been handed on.
fn translate_all<C: Connector>(
    connector: &mut C,
    reader: impl Read,
    send: &mpsc::Sender<Vec<Translated>>,
) -> std::io::Result<()> {
    let mut lines = Lines::new(reader);
    loop {
        let (batch, after) = next_batch(&mut lines);
        // A receiver that is gone has met an error of its own.
        if !batch.is_empty() && send.blocking_send(translate(connector, batch)).is_err() {
            return Ok(());
        }
        match after {
            After::More => {}
            After::End => return Ok(()),
            After::Broken(error) => return Err(error),
        }
    }
}

/// What comes after a batch of lines.
enum After {
    More,
    End,
    Broken(std::io::Error),
}

fn next_batch(lines: &mut Lines<impl Read>) -> (Vec<Line>, After) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        match lines.next() {
            Some(Ok(line)) => {
                bytes += line.bytes.len();
                batch.push(line);
            }
            Some(Err(error)) => return (batch, After::Broken(error)),
            None => return (batch, After::End),
        }
    }
    (batch, After::More)
}

fn translate<C: Connector>(connector: &mut C, lines: Vec<Line>) -> Vec<Translated> {
    let whole = lines.iter().filter(|line| !line.is_too_long());
    let messages: Vec<&[u8]> = whole.map(|line| line.bytes.as_slice()).collect();
    let mut translated = connector.translate(&messages).into_iter();
    let pairs = lines.into_iter().map(|line| {
        if let Some(refusal) = line.too_long() {
            return (line, Err(refusal));
        }
        // One answer for each message is what a connector promises.
        let none = || Err(Refusal::new(Reason::InvalidValue, "not translated"));
        (line, translated.next().unwrap_or_else(none))
    });
    let connector = &*connector;
    spread::map(pairs.collect(), |(line, record)| {
        let identified = record.map(|record| {
            let (id, said) = (connector.identity(&record), Said::of(&record.event));
            (record, id, said)
        });
        (line, identified)
    })
}

struct Loader<'a> {
    context: &'a Context,
    appender: Appender,
    known: Deduplication,
    letters: Deduplication,
    origin: &'a str,
    name: &'static str,
    again: Again,
    account: Account,
}

impl Loader<'_> {
    /// Appends batches as they come. How many lines of them are not acknowledged yet.
    async fn append_all(
        &mut self,
        batches: &mut mpsc::Receiver<Vec<Translated>>,
        progress: &mut impl FnMut(u64),
    ) -> Result<u64, ConnectorError> {
        let mut unsettled = 0;
        while let Some(batch) = batches.recv().await {
            let lines = self.append(batch).await?;
            progress(std::mem::replace(&mut unsettled, lines));
        }
        Ok(unsettled)
    }

    /// Sends what is new of a batch to its stream, once the batch before is there; how many lines it had.
    async fn append(&mut self, batch: Vec<Translated>) -> Result<u64, ConnectorError> {
        let lines = batch.len() as u64;
        let (mut records, mut letters) = (Vec::with_capacity(batch.len()), Vec::new());
        for (line, translated) in batch {
            self.account.lines += 1;
            match translated {
                Ok((mut record, id, said)) => {
                    self.known.keep_blocked(id, &mut record.event);
                    let (again, vault) = (self.again, &self.context.vault);
                    match take(&mut self.known, again, vault, (id, said), &record.event) {
                        Taking::Taken => records.push(record),
                        Taking::AlreadyThere => {
                            self.account.already_there += 1;
                            self.context.metrics.already_there(self.name);
                        }
                        Taking::Refused(refusal) => {
                            letters.extend(self.refuse(&line, &refusal)?);
                        }
                    }
                }
                Err(refusal) => letters.extend(self.refuse(&line, &refusal)?),
            }
        }
        self.account.taken += records.len() as u64;
        self.context.metrics.taken(self.name, records.len() as u64);
        if !letters.is_empty() {
            self.context.log.append(Topic::DeadLetters, &letters).await?;
        }
        self.appender.append(records).await?;
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
        let said = Said::of(&record.event);
        if self.letters.known(record.id, said) != Known::New {
            return Ok(None);
        }
        self.letters.note(record.id, said, &record.event);
        self.context.metrics.refused(self.name);
        self.context.streams.refused(self.name, refusal.reason);
        Ok(Some(record))
    }
}
