//! A process that appends until it is killed, and says what was acknowledged.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ingest::{
    log::{
        Log,
        embedded::{EmbeddedLog, Settings, Sync},
    },
    topic::Topic,
};

use crate::{RESERVE_BYTES, open, open_with, record};

const FOLDER: &str = "AVIS_TEST_CHILD_FOLDER";
const WITHOUT_SYNC: &str = "AVIS_TEST_CHILD_WITHOUT_SYNC";
pub const PRODUCERS: usize = 8;
pub const TOPIC: Topic = Topic::Authorisations;
const OTHER: Topic = Topic::Audit;

pub fn key(producer: usize) -> String {
    format!("producer-{producer}")
}

/// The child's part: nothing, unless this process was started as the child.
#[tokio::test(flavor = "multi_thread")]
async fn appends_until_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let sync = if std::env::var(WITHOUT_SYNC).is_ok() { Sync::Never } else { Sync::Always };
    let settings = Settings { sync, reserve_bytes: RESERVE_BYTES, ..Settings::default() };
    let log = Arc::new(open_with(Path::new(&folder), &settings).expect("a log"));
    let mut producers = tokio::task::JoinSet::new();
    producers.spawn(lets_go(Arc::clone(&log)));
    for producer in 0..PRODUCERS {
        let log: Arc<dyn Log> = log.clone();
        producers.spawn(async move {
            let key = key(producer);
            let mut next = next_number(&log, &key).await;
            loop {
                log.append(TOPIC, &[record(&key, next), record(&key, next + 1)])
                    .await
                    .expect("appended");
                next += 2;
                // What is printed was acknowledged.
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nacknowledged {producer} {next}").expect("heard");
                out.flush().expect("heard");
            }
        });
    }
    producers.join_next().await;
}

/// Lets go of another stream's records all the time, which is in the same journal.
async fn lets_go(log: Arc<EmbeddedLog>) {
    loop {
        let appended = log.append(OTHER, &[record("other", 0)]).await.expect("appended");
        log.trim(OTHER, appended[0].partition, appended[0].offset).await.expect("let go of");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// After a restart a producer goes on after what the log holds of it.
async fn next_number(log: &Arc<dyn Log>, key: &str) -> u64 {
    let partition = ingest::log::partition(&**log, TOPIC, key);
    let mut next = 0;
    let mut from = 0;
    loop {
        let read = log.read(TOPIC, partition, from, 1_024).await.expect("read");
        let Some(last) = read.last() else { return next };
        from = last.position.offset + 1;
        let of_key = read.iter().filter(|stored| stored.record.key == key);
        next = next.max(of_key.map(|stored| stored.record.sequence + 1).max().unwrap_or(0));
    }
}

/// A running child, and what it has acknowledged per producer so far. It is killed with the test.
pub struct Running {
    child: Child,
    acknowledged: Arc<Vec<AtomicU64>>,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn start(folder: &Path, without_sync: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "child::appends_until_killed", "--nocapture"]);
        command.env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::null());
        if without_sync {
            command.env(WITHOUT_SYNC, "1");
        }
        let mut child = command.spawn().expect("a child");
        let out = child.stdout.take().expect("its output");
        let acknowledged: Arc<Vec<AtomicU64>> =
            Arc::new((0..PRODUCERS).map(|_| AtomicU64::new(0)).collect());
        let heard = Arc::clone(&acknowledged);
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let mut words = line.split_whitespace();
                if words.next() != Some("acknowledged") {
                    continue;
                }
                let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
                if let [producer, next] = numbers[..] {
                    let producer = usize::try_from(producer).expect("small");
                    heard[producer].fetch_max(next, Ordering::SeqCst);
                }
            }
        });
        Self { child, acknowledged, listener: Some(listener) }
    }

    /// Waits until every producer has been acknowledged something.
    pub fn until_acknowledged(&self) {
        let begun = std::time::Instant::now();
        while self.heard().contains(&0) {
            assert!(begun.elapsed().as_secs() < 60, "the child acknowledges nothing");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Stops the child for a while, or lets it go on.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.expect("kill").success());
    }

    pub fn heard(&self) -> Vec<u64> {
        self.acknowledged.iter().map(|next| next.load(Ordering::SeqCst)).collect()
    }

    /// `kill -9`, and everything that had been acknowledged until then.
    pub fn kill(mut self) -> Vec<u64> {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        let listener = self.listener.take().expect("one kill");
        listener.join().expect("heard to the end");
        self.heard()
    }
}

/// How many records each producer has in the log, once it is checked that they are all there, once,
/// in order and as they were sent.
///
/// # Errors
/// Where the log does not open or a record cannot be read.
pub async fn found(folder: &Path) -> Result<Vec<u64>, ingest::error::LogError> {
    let log = open(folder, Sync::Always)?;
    let mut found = Vec::new();
    for producer in 0..PRODUCERS {
        let key = key(producer);
        let partition = ingest::log::partition(&*log, TOPIC, &key);
        let (mut next, mut from) = (0, 0);
        loop {
            let read = log.read(TOPIC, partition, from, 1_024).await?;
            let Some(last) = read.last() else { break };
            from = last.position.offset + 1;
            for stored in read.into_iter().filter(|stored| stored.record.key == key) {
                assert_eq!(stored.record, record(&key, next), "a hole, a double or another record");
                next += 1;
            }
        }
        found.push(next);
    }
    Ok(found)
}
