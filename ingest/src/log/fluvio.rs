//! Streams on a Fluvio cluster, for more than one node.
//!
//! Fluvio acknowledges what it has not synced, so this node's own log stays in front of it as the
//! *outbox*: a record is synced there first and then published, and it is acknowledged when it came
//! back from Fluvio, where every replica then has it. What came back is kept in the *mirror*, from
//! which this node reads; offsets are Fluvio's, so every node means the same by them.
//!
//! The mirror can be made again from Fluvio. Fluvio's own faults are met in `reader` and
//! `publisher`.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::{oneshot, watch};

use self::{
    lane::Lane,
    start::{Start, begin},
};
use super::{
    Log, Pending,
    embedded::{self, EmbeddedLog},
};
use crate::{
    error::{ClusterError, LogError},
    metrics::{ClusterMetrics, Metrics},
    record::{Position, Record, Stored},
    topic::{Topic, partition_of},
};

mod connection;
mod lane;
mod marks;
mod publisher;
mod reader;
mod sent;
mod settings;
mod start;
mod topic;
mod topics;

pub use settings::{Cluster, Settings, Tls};
pub use topic::{TopicBatch, TopicReader};

/// The outbox's folder, the same as of a log that needs no cluster: its records are then published.
const OUTBOX: &str = "log";
/// Threads that read and publish, apart from those that decide.
const THREADS: usize = 2;

/// Streams on Fluvio, as one node has them.
#[derive(Debug)]
pub struct FluvioLog {
    outbox: Arc<EmbeddedLog>,
    mirror: Arc<EmbeddedLog>,
    lanes: Arc<Vec<Arc<Lane>>>,
    patience: Patience,
    /// Dropping it ends the tasks.
    stop: Option<oneshot::Sender<()>>,
    tasks: Option<JoinHandle<()>>,
}

impl FluvioLog {
    /// Opens the node's log in `folder`: connects, makes or checks the topics, and reads up to what
    /// Fluvio had at that moment.
    ///
    /// # Errors
    /// Where the folder cannot be opened, the cluster does not answer within the settings' time,
    /// or it is not one that this node can go on with.
    pub fn open(
        folder: &Path,
        settings: Settings,
        metrics: Metrics,
        cluster: ClusterMetrics,
    ) -> Result<Self, LogError> {
        let failed = |source: std::io::Error| LogError::Open {
            path: folder.to_path_buf(),
            source: Box::new(source),
        };
        let (metrics, read) = metrics.in_two().map_err(|source| LogError::Open {
            path: folder.to_path_buf(),
            source: Box::new(source),
        })?;
        // What was published goes from the outbox by itself.
        let own = embedded::Settings { keep: HashMap::new(), ..settings.local.clone() };
        let outbox = Arc::new(EmbeddedLog::open(&folder.join(OUTBOX), &own, metrics)?);
        let patience = Patience { limit: settings.append_timeout, cluster: settings.name() };
        let start = Start::open(folder, Arc::clone(&outbox), settings, read, cluster)?;
        let (mirror, lanes) = (Arc::clone(&start.mirror), Arc::clone(&start.lanes));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("fluvio")
            .enable_all()
            .build()
            .map_err(failed)?;
        let tasks = std::thread::Builder::new()
            .name("fluvio-tasks".into())
            .spawn(move || {
                runtime.block_on(async {
                    // Who opens waits for the answer.
                    let _ = ready.send(begin(start).await);
                    // Nothing is ever sent; it ends when the sender is dropped.
                    let _ = stopped.await;
                });
                // All tasks end here, and let go of the folder.
                drop(runtime);
            })
            .map_err(failed)?;
        let (stop, tasks) = (Some(stop), Some(tasks));
        let log = Self { outbox, mirror, lanes, patience, stop, tasks };
        let ended = || LogError::Stopped { sync_failed: false };
        started.recv().map_err(|_| ended())??;
        Ok(log)
    }

    async fn publish(&self, topic: Topic, records: &[Record]) -> Result<Vec<Position>, LogError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let partitions = topic.partitions();
        let mut waiting = HashMap::new();
        for record in records {
            let partition = partition_of(&record.key, partitions);
            if let Entry::Vacant(free) = waiting.entry(partition) {
                let lane = self.lane(topic, partition);
                lane.check()?;
                free.insert(lane.wait());
            }
        }
        let mut positions = self.outbox.append(topic, records).await?;
        let back = async {
            for position in &mut positions {
                let waiting = &waiting[&position.partition];
                position.offset = waiting.place(position.offset).await?;
            }
            Ok::<(), ClusterError>(())
        };
        self.patience.wait(back).await?;
        Ok(positions)
    }

    fn lane(&self, topic: Topic, partition: u32) -> &Arc<Lane> {
        let lane =
            self.lanes.iter().find(|lane| (lane.topic, lane.partition) == (topic, partition));
        lane.expect("every partition of every topic has a lane")
    }
}

/// How long whoever appends waits for which cluster.
#[derive(Debug)]
struct Patience {
    limit: Option<Duration>,
    cluster: String,
}

impl Patience {
    /// Waits for what the outbox has by now and the cluster may never take.
    async fn wait(
        &self,
        back: impl Future<Output = Result<(), ClusterError>>,
    ) -> Result<(), ClusterError> {
        let Some(limit) = self.limit else { return back.await };
        let late = |_| ClusterError::Unconfirmed {
            cluster: self.cluster.clone(),
            seconds: limit.as_secs(),
        };
        tokio::time::timeout(limit, back).await.map_err(late)?
    }
}

impl Drop for FluvioLog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(tasks) = self.tasks.take() {
            // Tasks that panicked have stopped already.
            let _ = tasks.join();
        }
    }
}

impl Log for FluvioLog {
    fn append<'a>(&'a self, topic: Topic, records: &'a [Record]) -> Pending<'a, Vec<Position>> {
        Box::pin(self.publish(topic, records))
    }

    fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        most: usize,
    ) -> Pending<'_, Vec<Stored>> {
        self.mirror.read(topic, partition, from, most)
    }

    fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        self.lane(topic, partition).check()?;
        self.mirror.end(topic, partition)
    }

    fn takes(&self) -> Result<(), LogError> {
        self.outbox.takes()?;
        self.mirror.takes()
    }

    fn start(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
        self.mirror.start(topic, partition)
    }

    fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64> {
        self.mirror.at(topic, partition, instant)
    }

    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions()
    }

    fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.mirror.subscribe(topic)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn who_appends_is_told_in_time_which_cluster_gives_nothing_back() {
        let limit = Some(Duration::from_millis(1));
        let patience = Patience { limit, cluster: "fluvio.example:9003".into() };
        assert_eq!(patience.wait(ready(Ok(()))).await, Ok(()));
        let error = patience.wait(pending()).await.expect_err("nothing comes back");
        assert!(error.to_string().contains("fluvio.example:9003"), "{error}");
        // It is in the outbox: to append it again would be to tell it twice.
        assert!(!error.retry());
    }
}
