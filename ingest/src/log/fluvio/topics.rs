//! The topics of the cluster: made where they are missing, and refused where they cannot be ours.

use std::time::Duration;

use fluvio::{
    Fluvio, FluvioAdmin,
    metadata::{
        partition::PartitionSpec,
        topic::{CleanupPolicy, SegmentBasedPolicy, TopicSpec},
    },
};

use super::{connection::Connection, settings::Settings};
use crate::{error::ClusterError, topic::Topic};

/// A controller needs a moment to give a new topic's partitions to data nodes.
const PROVISIONED_PAUSE: Duration = Duration::from_millis(200);

/// Sees to it that every stream has its topic.
pub(super) async fn prepare(
    connection: &Connection,
    client: &Fluvio,
    settings: &Settings,
) -> Result<(), ClusterError> {
    let admin = client.admin().await;
    let there = connection.within("list the topics", Box::pin(admin.all::<TopicSpec>())).await?;
    for topic in Topic::ALL {
        match there.iter().find(|found| found.name == settings.topic(topic)) {
            Some(found) => check(topic, &found.spec, settings)?,
            None => create(connection, &admin, topic, settings).await?,
        }
    }
    provisioned(connection, &admin, settings).await
}

/// How many partitions a topic has, whoever made it.
pub(super) async fn partitions(
    connection: &Connection,
    client: &Fluvio,
    topic: &str,
) -> Result<u32, ClusterError> {
    let admin = client.admin().await;
    let there = connection.within("list the topics", Box::pin(admin.all::<TopicSpec>())).await?;
    let found = there.iter().find(|found| found.name == topic);
    let found = found.ok_or_else(|| connection.missing(topic))?;
    Ok(found.spec.replicas().partitions())
}

fn check(topic: Topic, spec: &TopicSpec, settings: &Settings) -> Result<(), ClusterError> {
    let (found, wanted) = (spec.replicas().partitions(), topic.partitions());
    if found != wanted {
        return Err(ClusterError::Partitions { topic, found, wanted });
    }
    let (found, wanted) =
        (spec.replicas().replication_factor().unwrap_or_default(), settings.replication);
    if found < wanted {
        return Err(ClusterError::Replicas { topic, found, wanted });
    }
    let (found, wanted) = (u64::from(spec.retention_secs()), settings.retention.as_secs());
    if found < wanted {
        // Not refused: who keeps a cluster may know what is read in time.
        tracing::warn!(%topic, found, wanted, "the topic keeps records for less than is asked");
    }
    Ok(())
}

async fn create(
    connection: &Connection,
    admin: &FluvioAdmin,
    topic: Topic,
    settings: &Settings,
) -> Result<(), ClusterError> {
    let mut spec = TopicSpec::new_computed(topic.partitions(), settings.replication, None);
    let retention = u32::try_from(settings.retention.as_secs()).unwrap_or(u32::MAX);
    let policy = SegmentBasedPolicy { time_in_seconds: retention };
    spec.set_cleanup_policy(CleanupPolicy::Segment(policy));
    let made = Box::pin(admin.create(settings.topic(topic), false, spec));
    match connection.within("create a topic", made).await {
        // Two nodes that start at once; what the other one made is checked by the next attempt.
        Err(error) if error.to_string().contains("already exists") => Ok(()),
        made => made,
    }
}

/// Waits until every partition has a leader.
async fn provisioned(
    connection: &Connection,
    admin: &FluvioAdmin,
    settings: &Settings,
) -> Result<(), ClusterError> {
    let wanted: usize = Topic::ALL.iter().map(|topic| topic.partitions() as usize).sum();
    let until_all = async {
        loop {
            let listed = admin.all::<PartitionSpec>().await;
            let partitions = listed.map_err(|error| error.to_string())?;
            let ours = partitions.iter().filter(|found| {
                let topic = found.name.rsplit_once('-').map_or("", |(topic, _)| topic);
                let ours = topic.strip_prefix(&settings.prefix).and_then(Topic::parse);
                ours.is_some() && found.status.is_online()
            });
            if ours.count() >= wanted {
                return Ok::<_, String>(());
            }
            tokio::time::sleep(PROVISIONED_PAUSE).await;
        }
    };
    connection.within("wait for the partitions", Box::pin(until_all)).await
}
