//! A topic of a real Fluvio cluster that is read as one of somebody else is: by its name, to its end.

use std::collections::HashSet;

use ingest::{
    error::ClusterError,
    log::fluvio::{Settings, TopicReader},
};

use crate::fluvio::{TOPIC, append, cluster, flood, open, records, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_read_whole_up_to_where_it_ended_when_it_was_opened() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(&cluster, "topic");
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path(), &settings).expect("a log");
    flood(&log, records()).await;
    let name = format!("{}{TOPIC}", settings.prefix);
    // The client skips records at the end of fetches: the smaller they are, the more often.
    let small = Settings { fetch_bytes: 1 << 20, ..settings };
    let mut reader = TopicReader::open(small, &name, 1_000).await.expect("a topic");
    append(&log, "later", 0, 10).await;
    let mut ends = vec![0; reader.partitions()];
    let mut found = HashSet::new();
    while let Some(batch) = reader.next().await.expect("a batch") {
        let end = &mut ends[batch.partition as usize];
        assert_eq!(batch.first, *end, "partition {}", batch.partition);
        assert!(batch.values.len() <= 1_000);
        *end += batch.values.len() as u64;
        for value in &batch.values {
            let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
            found.insert((value["key"].to_string(), value["sequence"].as_u64()));
        }
    }
    // Later records are not of it, and the publisher may have sent one of before twice.
    assert_eq!(found.len() as u64, records());
    assert!(found.iter().all(|(key, _)| key.starts_with("\"producer-")));
    assert!(ends.iter().sum::<u64>() >= records());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_named() {
    let Some(cluster) = cluster() else { return };
    let opened = TopicReader::open(Settings::of(&cluster), "nobodys-topic", 1).await;
    let error = opened.map(drop).expect_err("no topic");
    let wanted = ClusterError::NoTopic { topic: "nobodys-topic".into(), cluster };
    assert_eq!(error, wanted);
    assert!(!error.retry());
}
