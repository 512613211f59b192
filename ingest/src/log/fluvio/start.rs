//! The way from a folder and an address to running readers and publishers.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use ring::rand::SystemRandom;

use super::{
    connection::{Connection, Pauses},
    lane::Lane,
    marks::MarkFile,
    publisher::Publisher,
    reader::Reader,
    settings::Settings,
    topics,
};
use crate::{
    clock::{Clock, SystemClock},
    error::{ClusterError, LogError},
    folder,
    log::{
        Log,
        embedded::{self, EmbeddedLog, Sync},
    },
    metrics::{ClusterMetrics, Metrics},
    record::ulid,
    topic::Topic,
};

const MIRROR: &str = "mirror";
const MARKS: &str = "mirror-marks";
/// The file with the outbox's name.
const NAME: &str = "outbox";

/// What the tasks begin with.
pub(super) struct Start {
    pub mirror: Arc<EmbeddedLog>,
    pub lanes: Arc<Vec<Arc<Lane>>>,
    settings: Arc<Settings>,
    metrics: ClusterMetrics,
    /// The outbox's name on Fluvio.
    name: Arc<str>,
    marks: PathBuf,
    outbox: Arc<EmbeddedLog>,
}

impl Start {
    pub(super) fn open(
        folder: &Path,
        outbox: Arc<EmbeddedLog>,
        settings: Settings,
        read: Metrics,
        metrics: ClusterMetrics,
    ) -> Result<Self, LogError> {
        let failed = |source: io::Error| LogError::Open {
            path: folder.to_path_buf(),
            source: Box::new(source),
        };
        let name: Arc<str> = outbox_name(folder).map_err(failed)?.into();
        let mirror = Arc::new(open_mirror(&folder.join(MIRROR), &settings.local, &read)?);
        let marks = folder.join(MARKS);
        fs::create_dir_all(&marks).map_err(failed)?;
        let mut lanes = Vec::new();
        for topic in Topic::ALL {
            for partition in 0..topic.partitions() {
                let end = mirror.end(topic, partition)?;
                let mark = MarkFile::of(&marks, topic, partition).read(end);
                let back = mark.outboxes.get(&*name).copied().unwrap_or(0);
                lanes.push(Arc::new(Lane::new(topic, partition, mark.next, back)));
            }
        }
        let (lanes, settings) = (Arc::new(lanes), Arc::new(settings));
        Ok(Self { mirror, lanes, settings, metrics, name, marks, outbox })
    }

    fn connection(&self) -> Arc<Connection> {
        Arc::new(Connection::new(Arc::clone(&self.settings), Some(self.metrics.clone())))
    }

    fn reader(&self, lane: &Arc<Lane>, connection: &Arc<Connection>) -> Result<Reader, LogError> {
        let marks = MarkFile::of(&self.marks, lane.topic, lane.partition);
        let mark = marks.read(self.mirror.end(lane.topic, lane.partition)?);
        Ok(Reader {
            lane: Arc::clone(lane),
            mirror: Arc::clone(&self.mirror),
            connection: Arc::clone(connection),
            settings: Arc::clone(&self.settings),
            metrics: self.metrics.clone(),
            outbox: Arc::clone(&self.name),
            marked: mark.next,
            mark,
            marks,
            behind: None,
        })
    }

    fn publisher(&self, lane: &Arc<Lane>, connection: &Arc<Connection>) -> Publisher {
        Publisher {
            lane: Arc::clone(lane),
            streams: Arc::clone(&self.outbox),
            connection: Arc::clone(connection),
            settings: Arc::clone(&self.settings),
            metrics: self.metrics.clone(),
            outbox: Arc::clone(&self.name),
            back: VecDeque::new(),
        }
    }

    /// Sees to the topics, and says where each partition ends.
    async fn ends(&self, connection: &Connection) -> Result<Vec<u64>, ClusterError> {
        let client = connection.client().await?;
        let asked = async {
            topics::prepare(connection, &client, &self.settings).await?;
            let mut ends = Vec::with_capacity(self.lanes.len());
            for lane in self.lanes.iter() {
                let (topic, partition) = (lane.topic, lane.partition);
                let name = self.settings.topic(topic);
                let end = connection.end(&client, &name, partition).await?.unwrap_or(0);
                let kept = self.mirror.end(topic, partition).unwrap_or(0);
                if end < kept {
                    return Err(ClusterError::Behind { topic, partition, read: kept });
                }
                ends.push(end);
            }
            Ok(ends)
        };
        let answer = asked.await;
        if answer.is_err() {
            connection.give_up(&client).await;
        }
        answer
    }
}

/// Connects, starts the tasks, and waits until the mirror is as far as Fluvio was.
pub(super) async fn begin(start: Start) -> Result<(), LogError> {
    let limit = start.settings.open_timeout;
    // One connection to read by and one to publish by: neither waits for the other's bytes.
    let (reading, publishing) = (start.connection(), start.connection());
    let mut pauses = Pauses::new(start.settings.longest_pause);
    let begun = Instant::now();
    let ends = loop {
        match Box::pin(start.ends(&reading)).await {
            Ok(ends) => break ends,
            // A leader that just started may know for a while of less than it has.
            Err(error)
                if (error.retry() || matches!(error, ClusterError::Behind { .. }))
                    && begun.elapsed() < limit =>
            {
                tracing::warn!(%error, "Fluvio is not ready; the node waits");
                pauses.pause().await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    for lane in start.lanes.iter() {
        tokio::spawn(start.reader(lane, &reading)?.run());
        tokio::spawn(start.publisher(lane, &publishing).run());
    }
    for (lane, end) in start.lanes.iter().zip(ends) {
        loop {
            let next = *lane.next.borrow();
            if next >= end {
                break;
            }
            // As long as it goes on it may take its time.
            let read = tokio::time::timeout(limit, lane.until(&lane.next, next + 1)).await;
            read.map_err(|_| ClusterError::Late {
                attempted: "bring the records up to its end",
                cluster: start.settings.name(),
                seconds: limit.as_secs(),
            })??;
        }
        // All that Fluvio has of this outbox came back: one that was replaced by an older copy ends
        // before that, and its next records would be taken for those.
        let (topic, partition) = (lane.topic, lane.partition);
        let (end, published) = (start.outbox.end(topic, partition)?, *lane.back.borrow());
        if published > end {
            return Err(ClusterError::OutboxBehind { topic, partition, end, published }.into());
        }
    }
    Ok(())
}

/// The mirror, made anew where the power took some of it: all of it is on Fluvio.
fn open_mirror(
    folder: &Path,
    local: &embedded::Settings,
    metrics: &Metrics,
) -> Result<EmbeddedLog, LogError> {
    let open = || {
        // It can be made again, so it is not synced.
        let settings = embedded::Settings { sync: Sync::Never, ..local.clone() };
        EmbeddedLog::open(folder, &settings, metrics.clone())
    };
    match open() {
        Err(error @ (LogError::Damaged { .. } | LogError::DamagedJournal { .. })) => {
            tracing::warn!(%error, "the mirror is made again from Fluvio");
            fs::remove_dir_all(folder).map_err(|source| LogError::Open {
                path: folder.to_path_buf(),
                source: Box::new(source),
            })?;
            open()
        }
        opened => opened,
    }
}

/// The outbox's name: a ULID, given once and for ever. Beside the outbox, so that a copy of one
/// without the other is noticed.
fn outbox_name(folder: &Path) -> io::Result<String> {
    let path = folder.join(NAME);
    match fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let fresh = ulid(SystemClock.now(), &SystemRandom::new());
    let name = domain::id::RecordId::from_u128(fresh).to_string();
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    // Else a power cut could give the outbox another name, under which all is published again.
    folder::sync(folder)?;
    Ok(name)
}
