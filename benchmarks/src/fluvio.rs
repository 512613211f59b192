//! Appends through Fluvio, acknowledged when every replica has them and this node can read them,
//! beside what the client alone produces: acknowledged by every replica too, the same objects, and
//! not read back. Only where `AVIS_TEST_FLUVIO` names a cluster's controller.
//!
//! The client is measured twice: a task per partition that sends without end and waits at its end,
//! and as many producers as ours, each of which waits for every batch, as ours do.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fluvio::{
    Fluvio, FluvioClusterConfig, Isolation, RecordKey, TopicProducerConfigBuilder,
    TopicProducerPool, metadata::topic::TopicSpec,
};
use ingest::{
    log::{
        Log,
        fluvio::{FluvioLog, Settings},
    },
    metrics::{ClusterMetrics, Metrics},
    record::{Position, Record},
    topic::{Topic, partition_of},
    wire::published,
};

use crate::{append::record, outcome::Skipped};

type Error = Box<dyn std::error::Error + Send + Sync>;

const CLUSTER: &str = "AVIS_TEST_FLUVIO";
const TOPIC: Topic = Topic::Authorisations;
/// They take turns: the machine is not the same from second to second.
const TURN: Duration = Duration::from_secs(3);
const TURNS: u64 = 4;
/// Records of one append.
const BATCH: u64 = 500;

/// Prints two rows for a few producers and for many.
pub async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let Ok(cluster) = std::env::var(CLUSTER) else {
        return Err(Skipped::because(format!("{CLUSTER} names no Fluvio cluster")));
    };
    for producers in [8, 64] {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let settings = Settings { prefix: format!("b{now}-"), ..Settings::of(&cluster) };
        let folder = tempfile::tempdir()?;
        let registry = prometheus::Registry::new();
        let (metrics, counted) =
            (Metrics::register(&registry)?, ClusterMetrics::register(&registry)?);
        let replication = settings.replication;
        let log: Arc<dyn Log> =
            Arc::new(FluvioLog::open(folder.path(), settings, metrics, counted)?);
        // Of its own, so that our reader does not read it too.
        let client = alone(&cluster, &format!("alone-{now}"), replication).await;
        let client = client.map_err(|error| error.to_string())?;
        let (mut ours, mut free, mut waiting) = (0.0, 0.0, 0.0);
        for turn in 0..TURNS {
            ours += appended(&log, producers, turn).await;
            free += produced(&client, turn).await.map_err(|error| error.to_string())?;
            let turned = produced_waiting(&client, producers, turn).await;
            waiting += turned.map_err(|error| error.to_string())?;
        }
        let what = format!("append through Fluvio, {producers} producers");
        let [ours, free, waiting] = [ours, free, waiting].map(|rates| rates / TURNS as f64);
        crate::row(&what, ours, "its client alone, which does not wait", free);
        crate::row(&what, ours, "its client alone, as many which wait", waiting);
    }
    Ok(())
}

/// A producer for each partition of a topic like ours.
async fn alone(
    cluster: &str,
    topic: &str,
    replication: u32,
) -> Result<Vec<Arc<TopicProducerPool>>, Error> {
    let client = Fluvio::connect_with_config(&FluvioClusterConfig::new(cluster)).await?;
    let spec = TopicSpec::new_computed(TOPIC.partitions(), replication, None);
    client.admin().await.create(topic.to_owned(), false, spec).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut producers = Vec::new();
    for partition in 0..TOPIC.partitions() {
        let config = TopicProducerConfigBuilder::default()
            .set_specific_partitioner(partition)
            .batch_size(900 << 10)
            .linger(Duration::from_millis(5))
            .isolation(Isolation::ReadCommitted)
            .build()?;
        producers.push(Arc::new(client.topic_producer_with_config(topic, config).await?));
    }
    Ok(producers)
}

/// Records acknowledged a second.
async fn appended(log: &Arc<dyn Log>, producers: u64, turn: u64) -> f64 {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let log = Arc::clone(log);
        tasks.spawn(async move {
            let mut acknowledged = 0;
            while started.elapsed() < TURN {
                if log.append(TOPIC, &batch(producer, turn, acknowledged)).await.is_err() {
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

/// Records that the client produces a second; the last one's answer is waited for.
async fn produced(client: &[Arc<TopicProducerPool>], turn: u64) -> Result<f64, Error> {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (partition, producer) in (0..).zip(client) {
        let producer = Arc::clone(producer);
        tasks.spawn(async move {
            let (mut sent, mut last) = (0, None);
            while started.elapsed() < TURN {
                last = send(&producer, batch(partition, turn, sent)).await?;
                sent += BATCH;
            }
            producer.flush().await?;
            if let Some(last) = last {
                last.wait().await?;
            }
            Ok::<_, Error>(sent)
        });
    }
    rate(tasks, started).await
}

/// The same by producers that wait for each batch.
async fn produced_waiting(
    client: &[Arc<TopicProducerPool>],
    producers: u64,
    turn: u64,
) -> Result<f64, Error> {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..producers {
        let partition = partition_of(&number.to_string(), TOPIC.partitions());
        let producer = Arc::clone(&client[partition as usize]);
        tasks.spawn(async move {
            let mut sent = 0;
            while started.elapsed() < TURN {
                if let Some(last) = send(&producer, batch(number, turn, sent)).await? {
                    last.wait().await?;
                }
                sent += BATCH;
            }
            Ok::<_, Error>(sent)
        });
    }
    rate(tasks, started).await
}

async fn send(
    producer: &TopicProducerPool,
    records: Vec<Record>,
) -> Result<Option<fluvio::ProduceOutput>, Error> {
    let mut last = None;
    for record in records {
        // A client of its own makes its objects too.
        let object = published::encode("", Position { partition: 0, offset: 0 }, &record)
            .unwrap_or_default();
        last = Some(producer.send(RecordKey::from(record.key), object).await?);
    }
    Ok(last)
}

async fn rate(
    tasks: tokio::task::JoinSet<Result<u64, Error>>,
    started: Instant,
) -> Result<f64, Error> {
    let mut sent = 0;
    for ended in tasks.join_all().await {
        sent += ended?;
    }
    Ok(sent as f64 / started.elapsed().as_secs_f64())
}

fn batch(producer: u64, turn: u64, from: u64) -> Vec<Record> {
    let from = (turn << 32) + from;
    (from..from + BATCH).map(|number| record(&producer.to_string(), number)).collect()
}
