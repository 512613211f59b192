//! The one thread that writes.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use fjall::{Database, OwnedWriteBatch, PersistMode};

use super::{
    Sync,
    ends::Ends,
    gathering::{End, Gathering, Group, Job, Place, Placed, Replace, refuse},
    streams::Streams,
};
use crate::{error::LogError, metrics::Metrics, topic::Topic};

/// What the thread owns.
pub(super) struct Writer {
    pub gathering: Arc<Gathering>,
    pub streams: Arc<Streams>,
    pub database: Database,
    pub ends: Ends,
    pub sync: Sync,
    pub metrics: Metrics,
}

impl Writer {
    /// Writes until nothing more comes.
    pub(super) fn run(mut self) {
        for (topic, partition, end) in self.streams.ends() {
            self.metrics.ends_at(topic, partition, end);
        }
        let gathering = Arc::clone(&self.gathering);
        // Also where it panics: nobody waits for what is not written then.
        let _last = Last(&gathering);
        while let Some(job) = gathering.next() {
            match job {
                Job::Append(group) => self.write(group),
                Job::Replace(replace) => self.replace(replace),
            }
        }
        // What it was told not to sync it has then, for the next start.
        if let Err(error) = self.database.persist(PersistMode::SyncAll) {
            tracing::warn!(%error, "the log is not synced at its end");
        }
        if let Err(error) = self.ends.sync() {
            tracing::warn!(%error, "the log's ends are not synced; its records are");
        }
    }

    /// Writes a group as one atomic batch with one sync, then shows and acknowledges it.
    fn write(&mut self, group: Group) {
        // It was taken before a write failed; what stands before it may be missing.
        if let Err(refused) = self.streams.goes_on() {
            self.metrics.not_written(refused.code(), group.appends.len());
            return group.refuse(&refused);
        }
        let (started, ends) = (Instant::now(), group.ends());
        let (rows, appends) = group.packed();
        let mut batch = self.batch();
        for (topic, (key, value)) in rows {
            batch.insert(&self.streams.stream(topic).blocks, key, value);
        }
        let written = batch.commit();
        let records = appends.iter().map(|append| append.positions.len()).sum();
        self.metrics.synced(started.elapsed(), records);
        if let Err(error) = written {
            return self.stop(appends, &error);
        }
        if let Err(error) = self.note(&ends) {
            return self.stop(appends, &fjall::Error::Io(error));
        }
        self.acknowledge(appends);
    }

    fn batch(&self) -> OwnedWriteBatch {
        let batch = self.database.batch();
        match self.sync {
            Sync::Always => batch.durability(Some(PersistMode::SyncData)),
            Sync::Never => batch,
        }
    }

    /// Notes the ends beside the store, and then shows what is durable to readers.
    fn note(&mut self, ends: &HashMap<Place, End>) -> std::io::Result<()> {
        let now = self.streams.ends().map(|(topic, partition, end)| {
            (topic, partition, ends.get(&(topic, partition)).map_or(end, |(end, _)| *end))
        });
        self.ends.write(now)?;
        let _showing = self.streams.showing();
        for ((topic, partition), (end, latest)) in ends {
            let known = self.streams.stream(*topic).partition(*partition);
            known.latest.store(*latest, Ordering::Release);
            known.end.store(*end, Ordering::Release);
            self.metrics.ends_at(*topic, *partition, *end);
        }
        Ok(())
    }

    fn acknowledge(&self, appends: Vec<Placed>) {
        let mut appended: HashMap<Topic, usize> = HashMap::new();
        for append in &appends {
            *appended.entry(append.topic).or_default() += append.positions.len();
        }
        // Told before it is answered, so that who has the answer has also been told.
        for (topic, records) in appended {
            self.metrics.appended(topic, records);
            let grown = &self.streams.stream(topic).grown;
            grown.send_modify(|count| *count += records as u64);
        }
        for append in appends {
            // Who does not wait any more needs no answer; the records are there all the same.
            let _ = append.reply.send(Ok(append.positions));
        }
    }

    /// Puts rows in the place of others. What a crash undoes is done again.
    fn replace(&self, replace: Replace) {
        let Replace { topic, partition, removed, put, start, reply } = replace;
        let bytes = put.iter().map(|(_, value)| value.len()).sum();
        // What only goes makes room, also where nothing is taken any more for want of it.
        let may = if put.is_empty() { self.streams.lets_go() } else { self.streams.takes(bytes) };
        let done = may.map_err(LogError::from).and_then(|()| {
            let stream = self.streams.stream(topic);
            // Synced, as what is appended behind it is: a journal is torn at its end alone.
            let mut batch = self.batch();
            for key in removed {
                batch.remove(&stream.blocks, key);
            }
            for (key, value) in put {
                batch.insert(&stream.blocks, key, value);
            }
            if let Some(start) = start {
                // Nobody begins to read what is about to go.
                stream.partition(partition).start.store(start, Ordering::Release);
            }
            batch.commit().map_err(|source| {
                self.metrics.failed(&source);
                self.streams.stop();
                LogError::Engine { attempted: "shorten", topic, source }
            })
        });
        // Who does not wait any more will look again.
        let _ = reply.send(done);
    }

    fn stop(&self, appends: Vec<Placed>, error: &fjall::Error) {
        self.metrics.failed(error);
        self.streams.stop();
        refuse(appends, &self.streams.stopped());
    }
}

/// What the thread does at last.
struct Last<'a>(&'a Gathering);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{
        super::{EmbeddedLog, Settings},
        *,
    };
    use crate::log::Log;

    #[test]
    fn one_that_panics_leaves_a_log_that_says_that_it_takes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
        let log = EmbeddedLog::open(folder.path(), &Settings::default(), metrics).expect("a log");
        assert!(log.takes().is_ok());
        let died = catch_unwind(AssertUnwindSafe(|| {
            let _last = Last(&log.gathering);
            panic!("as one may");
        }));
        assert!(died.is_err() && log.takes().is_err());
    }
}
