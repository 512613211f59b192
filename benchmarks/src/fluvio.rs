//! Appends through Fluvio, acknowledged when every replica has them and this node can read them,
//! beside what the client alone produces. Only where `AVIS_TEST_FLUVIO` names a cluster's
//! controller.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fluvio::{Fluvio, FluvioClusterConfig, Isolation, RecordKey, TopicProducerConfigBuilder};
use ingest::{
    log::{
        Log,
        fluvio::{FluvioLog, Settings},
    },
    metrics::{ClusterMetrics, Metrics},
    record::Record,
    topic::Topic,
    wire::published,
};

use crate::append::record;

const CLUSTER: &str = "AVIS_TEST_FLUVIO";
const TOPIC: Topic = Topic::Authorisations;
const FOR: Duration = Duration::from_secs(10);
/// Records of one append.
const BATCH: u64 = 500;

/// Prints a row for a few producers and for many.
pub async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let Ok(cluster) = std::env::var(CLUSTER) else {
        eprintln!("SKIPPED: {CLUSTER} names no Fluvio cluster");
        return Ok(());
    };
    for producers in [8, 64] {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let settings = Settings { prefix: format!("b{now}-"), ..Settings::of(&cluster) };
        let folder = tempfile::tempdir()?;
        let registry = prometheus::Registry::new();
        let (metrics, counted) =
            (Metrics::register(&registry)?, ClusterMetrics::register(&registry)?);
        let log = FluvioLog::open(folder.path(), settings.clone(), metrics, counted)?;
        let rate = appended(Arc::new(log), producers).await;
        let limit = produced(&cluster, &settings.prefix).await?;
        crate::row(
            &format!("append through Fluvio, {producers} producers"),
            rate,
            "its client alone, a producer per partition",
            limit,
        );
    }
    Ok(())
}

/// Records acknowledged a second.
async fn appended(log: Arc<dyn Log>, producers: u64) -> f64 {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let mut acknowledged = 0;
            while started.elapsed() < FOR {
                if log.append(TOPIC, &batch(producer, acknowledged)).await.is_err() {
                    break;
                }
                acknowledged += BATCH;
            }
            acknowledged
        });
    }
    let acknowledged: u64 = tasks.join_all().await.into_iter().sum();
    acknowledged as f64 / started.elapsed().as_secs_f64()
}

/// Records that the client produces a second, the same objects, acknowledged by every replica.
async fn produced(cluster: &str, prefix: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let client = Fluvio::connect_with_config(&FluvioClusterConfig::new(cluster)).await?;
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for partition in 0..TOPIC.partitions() {
        let config = TopicProducerConfigBuilder::default()
            .set_specific_partitioner(partition)
            .batch_size(900 << 10)
            .linger(Duration::from_millis(5))
            .isolation(Isolation::ReadCommitted)
            .build()?;
        let topic = format!("{prefix}{TOPIC}");
        let producer = client.topic_producer_with_config(topic, config).await?;
        tasks.spawn(async move {
            let mut sent = 0;
            while started.elapsed() < FOR {
                for record in batch(u64::from(partition), sent) {
                    // A client of its own makes its objects too.
                    let object = published::encode("", 0, &record).unwrap_or_default();
                    producer.send(RecordKey::from(record.key), object).await?;
                }
                sent += BATCH;
            }
            producer.flush().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(sent)
        });
    }
    let mut sent = 0;
    for ended in tasks.join_all().await {
        sent += ended.map_err(|error| error.to_string())?;
    }
    Ok(sent as f64 / started.elapsed().as_secs_f64())
}

fn batch(producer: u64, from: u64) -> Vec<Record> {
    (from..from + BATCH).map(|number| record(&producer.to_string(), number)).collect()
}
