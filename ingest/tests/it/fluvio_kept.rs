//! What is let go of where streams are on Fluvio: by the cluster, and by a node's outbox; and what a
//! node says of its ends.

use std::{collections::HashMap, path::Path, time::Duration};

use fluvio::{
    Fluvio, FluvioAdmin, FluvioClusterConfig, Offset,
    consumer::ConsumerConfigExtBuilder,
    metadata::topic::{CleanupPolicy, SegmentBasedPolicy, TopicSpec, TopicStorageConfig},
};
use futures::StreamExt;
use ingest::{
    error::{ClusterError, LogError},
    log::{
        embedded::Sync,
        fluvio::{Settings, TopicReader},
        partition,
    },
    metrics::{END_OFFSET, FLUVIO_STOPPED},
};
use prometheus::Registry;

use crate::{
    engines::{KEEPS, LET_GO, fills, has_let_go},
    fluvio::{TOPIC, append, check, cluster, everything, open, open_counted, settings, wait_for},
};

const KEY: &str = "producer-0";
/// The least that our batches fit in.
const SEGMENT_BYTES: u32 = 2 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_evicted_is_an_alarm_and_never_skipped() {
    let Some(cluster) = cluster() else { return };
    // No cluster keeps less.
    let settings = Settings {
        retention: Duration::from_secs(10),
        silence: Duration::from_secs(1),
        ..settings(&cluster, "evicted")
    };
    small_topic(&cluster, &settings).await;
    let (away, busy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("one"));
    let (log, _) = open(away.path(), &settings).expect("a log");
    append(&log, KEY, 0, 10).await;
    let partition = partition(&*log, TOPIC, KEY);
    // It notes how far it is when nothing comes for a while.
    tokio::time::sleep(settings.silence * 3).await;
    drop(log);
    let (log, _) = open(busy.path(), &settings).expect("a log");
    append(&log, KEY, 10, 6_000).await;
    let first = evicted(&cluster, &settings, partition).await;
    assert!(first > 10, "{first}");
    // For a node that was away, again when it tries again, and for one that never was there.
    let fresh = tempfile::tempdir().expect("a folder");
    for (folder, kept) in [(&away, 10), (&away, 10), (&fresh, 0)] {
        refused(folder.path(), &settings, kept).await;
    }
    // Who reads the topic as somebody else's begins with what is left.
    let name = format!("{}{TOPIC}", settings.prefix);
    let mut reader = TopicReader::open(settings, &name, 1_000).await.expect("a topic");
    let mut begins = None;
    while let Some(batch) = reader.next().await.expect("a batch") {
        if batch.partition == partition {
            begins.get_or_insert(batch.first);
        }
    }
    assert!(begins.is_some_and(|begins| i64::try_from(begins).is_ok_and(|begins| begins >= first)));
    // Who has read it goes on.
    append(&log, KEY, 6_000, 6_100).await;
    check(&log, 6_100).await;
}

/// The node says what is missing, and its mirror stays as it is.
async fn refused(folder: &Path, settings: &Settings, kept: u64) {
    let registry = Registry::new();
    let error = match open_counted(folder, settings, &registry) {
        Err(error) => error,
        // Found by the reader, which ends before or after the opening does.
        Ok((log, _)) => log.append(TOPIC, &[crate::record(KEY, 0)]).await.expect_err("evicted"),
    };
    let LogError::Cluster(ClusterError::Evicted { wanted, first, .. }) = error else {
        panic!("{error}");
    };
    assert!(wanted == kept && first > kept && !error.retry(), "{error}");
    assert_eq!(gauge(&registry, FLUVIO_STOPPED, &[TOPIC.name()]), Some(1.0));
    let mirror = crate::open(&folder.join("mirror"), Sync::Never).expect("a mirror");
    let ends = (0..mirror.partitions(TOPIC)).map(|number| mirror.end(TOPIC, number));
    assert_eq!(ends.map(|end| end.expect("an end")).sum::<u64>(), kept);
}

/// A topic of small segments that are kept for a moment.
async fn small_topic(cluster: &str, settings: &Settings) {
    let admin = FluvioAdmin::connect_with_config(&FluvioClusterConfig::new(cluster)).await;
    let mut spec = TopicSpec::new_computed(TOPIC.partitions(), settings.replication, None);
    let time_in_seconds = u32::try_from(settings.retention.as_secs()).expect("a moment");
    spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds }));
    spec.set_storage(TopicStorageConfig {
        segment_size: Some(SEGMENT_BYTES),
        ..TopicStorageConfig::default()
    });
    let name = format!("{}{TOPIC}", settings.prefix);
    admin.expect("a cluster").create(name, false, spec).await.expect("a topic");
}

/// The first offset that the cluster has, once it let go of the first segment.
async fn evicted(cluster: &str, settings: &Settings, partition: u32) -> i64 {
    let client = Fluvio::connect_with_config(&FluvioClusterConfig::new(cluster)).await;
    let client = client.expect("a cluster");
    for _ in 0..120 {
        let config = ConsumerConfigExtBuilder::default()
            .topic(format!("{}{TOPIC}", settings.prefix))
            .partition(partition)
            .offset_start(Offset::beginning())
            .build()
            .expect("settings");
        let mut records = client.consumer_with_config(config).await.expect("records");
        if let Some(Ok(record)) = records.next().await
            && record.offset() > 0
        {
            return record.offset();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("nothing is evicted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_is_trimmed_and_nothing_is_lost() {
    let Some(cluster) = cluster() else { return };
    let settings =
        Settings { outbox_kept: Duration::from_secs(1), ..settings(&cluster, "trimmed") };
    let folder = tempfile::tempdir().expect("a folder");
    let outbox = folder.path().join("log");
    let (mut sent, mut start) = (0, 0);
    for _ in 0..3 {
        let (log, _) = open(folder.path(), &settings).expect("a log");
        let partition = partition(&*log, TOPIC, KEY);
        // While it is trimmed it goes on.
        for _ in 0..6 {
            append(&log, KEY, sent, sent + 1_000).await;
            sent += 1_000;
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        drop(log);
        let kept = crate::open(&outbox, Sync::Always).expect("an outbox");
        let (before, end) = (start, kept.end(TOPIC, partition).expect("an end"));
        start = kept.start(TOPIC, partition).expect("a start");
        assert_eq!(end, sent);
        assert!(start > before && start < end, "{before} {start} {end}");
        let left = kept.read(TOPIC, partition, start, 100_000).await.expect("read");
        println!("of {end} records {} are left, {} bytes", left.len(), bytes(&outbox));
        assert_eq!(left.len() as u64, end - start);
    }
    // All of it is there, for a node that lost its mirror and what it had noted, and for another.
    std::fs::remove_dir_all(folder.path().join("mirror")).expect("removed");
    std::fs::remove_dir_all(folder.path().join("mirror-marks")).expect("removed");
    let (log, _) = open(folder.path(), &settings).expect("a log");
    check(&log, sent).await;
    append(&log, KEY, sent, sent + 100).await;
    let other = tempfile::tempdir().expect("a folder");
    let (other, _) = open(other.path(), &settings).expect("a log");
    check(&other, sent + 100).await;
}

/// Fluvio itself lets go of whole segments, by age alone and not sooner than ten seconds (see above).
/// What a node reads is its mirror, which does what the settings say.
#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_lets_go() {
    let Some(cluster) = cluster() else { return };
    for (name, keep) in ["age", "bytes"].into_iter().zip(KEEPS) {
        let mut settings = settings(&cluster, name);
        let folder = tempfile::tempdir().expect("a folder");
        let (log, _) = open(folder.path(), &settings).expect("a log");
        fills(&*log).await;
        drop(log);
        // Told only now, so that the first look finds all of it.
        settings.local.keep = HashMap::from([(LET_GO, keep)]);
        settings.local.keep_every = Duration::from_millis(20);
        let (log, _) = open(folder.path(), &settings).expect("a log again");
        let begun = std::time::Instant::now();
        while log.start(LET_GO, 0).expect("a start") == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing goes");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        has_let_go(&log, keep).await;
    }
}

fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one"));
    entries
        .map(|entry| {
            let known = entry.metadata().expect("metadata");
            if known.is_dir() { bytes(&entry.path()) } else { known.len() }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_that_is_told_is_the_one_that_readers_see() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(&cluster, "ends");
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let registries = [Registry::new(), Registry::new()];
    let logs = [0, 1].map(|node| {
        open_counted(folders[node].path(), &settings, &registries[node]).expect("a log").0
    });
    append(&logs[0], KEY, 0, 700).await;
    append(&logs[1], "producer-1", 0, 300).await;
    for (log, registry) in logs.iter().zip(&registries) {
        wait_for(log, 1_000).await;
        let told = (0..log.partitions(TOPIC)).map(|partition| {
            gauge(registry, END_OFFSET, &[&partition.to_string(), TOPIC.name()]).expect("told")
        });
        let ends = (0..log.partitions(TOPIC)).map(|partition| log.end(TOPIC, partition));
        let ends: Vec<_> = ends.map(|end| end.expect("an end") as f64).collect();
        assert_eq!(told.collect::<Vec<_>>(), ends);
        assert_eq!(everything(log).await.len(), 1_000);
    }
}

/// What a gauge says, by the values of its labels in the order of their names.
fn gauge(registry: &Registry, name: &str, labels: &[&str]) -> Option<f64> {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name)?;
    let found = family.get_metric().iter().find(|metric| {
        metric.get_label().iter().map(|label| label.value()).eq(labels.iter().copied())
    })?;
    Some(found.get_gauge().get_value())
}
