//! Appends records while their maker makes the next ones.

use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};

use super::Log;
use crate::{error::LogError, record::Record, topic::Topic};

/// Appends batches to one stream, one after the other. Whoever makes them waits for the batch before
/// only, so that work and disk overlap; [`settle`](Self::settle) waits for all. What is on its way
/// when it is dropped goes on.
pub struct Appender {
    log: Arc<dyn Log>,
    topic: Topic,
    /// What is not known to be on the stream.
    unsettled: Arc<Vec<Record>>,
    appending: Option<JoinHandle<Result<(), LogError>>>,
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unsettled = self.unsettled.len();
        f.debug_struct("Appender")
            .field("topic", &self.topic)
            .field("unsettled", &unsettled)
            .finish()
    }
}

impl Appender {
    /// Of a stream, with nothing on its way.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, topic: Topic) -> Self {
        Self { log, topic, unsettled: Arc::default(), appending: None }
    }

    /// Sends records on their way, once those before them are on the stream.
    ///
    /// # Errors
    /// Where those before them are not: then these are not taken.
    pub async fn append(&mut self, records: Vec<Record>) -> Result<(), LogError> {
        self.settle().await?;
        if !records.is_empty() {
            self.unsettled = Arc::new(records);
            self.begin();
        }
        Ok(())
    }

    /// Waits until all that was taken is on the stream. What an earlier call could not append is
    /// appended again, as it was, unless it comes to the stream by itself.
    ///
    /// # Errors
    /// Where the stream fails.
    pub async fn settle(&mut self) -> Result<(), LogError> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        // A caller that went away while it waited has left it going on.
        let appending = match self.appending.as_mut() {
            Some(appending) => appending,
            None => self.begin(),
        };
        let done = appending.await;
        self.appending = None;
        match done.map_err(JoinError::try_into_panic) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                if error.is_unconfirmed() {
                    self.unsettled = Arc::default();
                }
                return Err(error);
            }
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(Err(_)) => return Err(LogError::Stopped { sync_failed: false }),
        }
        self.unsettled = Arc::default();
        Ok(())
    }

    fn begin(&mut self) -> &mut JoinHandle<Result<(), LogError>> {
        let (log, topic) = (Arc::clone(&self.log), self.topic);
        let records = Arc::clone(&self.unsettled);
        let appending = async move { log.append(topic, &records).await.map(drop) };
        self.appending.insert(tokio::spawn(appending))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use tokio::sync::watch;

    use super::*;
    use crate::{
        error::ClusterError,
        log::{
            Pending,
            model::{Fault, ModelLog},
        },
        record::{Position, Stored, outside_id},
        wire::v1::{Event, ServiceEvent},
    };

    fn record(name: &str) -> Record {
        Record {
            id: outside_id("test", name),
            key: name.into(),
            source: "test".into(),
            sequence: 0,
            event_time: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
            event: Event::ServiceEvent(ServiceEvent::default()),
        }
    }

    const TOPIC: Topic = Topic::Entitlements;

    async fn keys(log: &ModelLog) -> Vec<String> {
        let read = log.read(TOPIC, 0, 0, 100).await.expect("read");
        read.into_iter().map(|stored| stored.record.key).collect()
    }

    #[tokio::test]
    async fn the_next_batch_is_taken_while_one_is_on_its_way_and_no_more() {
        let model = Arc::new(ModelLog::default());
        let mut appender = Appender::new(model.clone(), TOPIC);
        model.hold(true);
        appender.append(vec![record("1")]).await.expect("taken");
        {
            let mut second = std::pin::pin!(appender.append(vec![record("2")]));
            assert!(futures::poll!(&mut second).is_pending(), "the first is not on the stream");
        }
        // Who went away meanwhile has taken nothing with it.
        model.hold(false);
        appender.append(vec![record("2")]).await.expect("taken");
        appender.settle().await.expect("appended");
        assert_eq!(keys(&model).await, ["1", "2"]);
    }

    #[tokio::test]
    async fn what_failed_is_appended_again_before_anything_else() {
        let model = Arc::new(ModelLog::default());
        let mut appender = Appender::new(model.clone(), TOPIC);
        model.die_at(0, Fault::Before);
        appender.append(vec![record("1")]).await.expect("taken");
        appender.append(vec![record("2")]).await.expect_err("the first is not on the stream");
        appender.settle().await.expect_err("still not");
        model.revive();
        appender.append(vec![record("2")]).await.expect("taken");
        appender.settle().await.expect("appended");
        assert_eq!(keys(&model).await, ["1", "2"]);
    }

    /// A log that has what it is given, and does not say so in time.
    #[derive(Debug, Default)]
    struct Silent(ModelLog);

    impl Log for Silent {
        fn append<'a>(&'a self, topic: Topic, records: &'a [Record]) -> Pending<'a, Vec<Position>> {
            Box::pin(async move {
                self.0.append(topic, records).await?;
                let cluster = "fluvio.example:9003".into();
                Err(LogError::from(ClusterError::Unconfirmed { cluster, seconds: 180 }))
            })
        }

        fn read(
            &self,
            topic: Topic,
            partition: u32,
            from: u64,
            most: usize,
        ) -> Pending<'_, Vec<Stored>> {
            self.0.read(topic, partition, from, most)
        }

        fn end(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
            self.0.end(topic, partition)
        }

        fn start(&self, topic: Topic, partition: u32) -> Result<u64, LogError> {
            self.0.start(topic, partition)
        }

        fn at(&self, topic: Topic, partition: u32, instant: DateTime<Utc>) -> Pending<'_, u64> {
            self.0.at(topic, partition, instant)
        }

        fn partitions(&self, topic: Topic) -> u32 {
            self.0.partitions(topic)
        }

        fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
            self.0.subscribe(topic)
        }
    }

    #[tokio::test]
    async fn what_comes_to_the_stream_by_itself_is_not_appended_again() {
        let silent = Arc::new(Silent::default());
        let mut appender = Appender::new(silent.clone(), TOPIC);
        appender.append(vec![record("1")]).await.expect("taken");
        appender.settle().await.expect_err("nobody says that it is on the stream");
        appender.settle().await.expect("there is nothing to append");
        assert_eq!(keys(&silent.0).await, ["1"]);
    }
}
