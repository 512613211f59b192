//! What answers look up beside the authoriser: the registry's names, and consents; views of their
//! streams, read on at each question.

use std::sync::Arc;

use domain::registry::Registry;
use ingest::{
    error::LogError,
    log::{Log, READ_BATCH},
    register::consents::Consents,
    topic::Topic,
};
use tokio::sync::{Mutex, MutexGuard};

use super::names::Names;
use crate::{error::ConnectorError, registry::Current};

/// The views of one node.
#[derive(Debug)]
pub(super) struct Registers {
    log: Arc<dyn Log>,
    registry: Current,
    /// Of the registry that they were made from.
    names: Mutex<(Arc<Registry>, Arc<Names>)>,
    consents: Mutex<ConsentsSoFar>,
}

/// The consents as far as they were read. Whoever holds them is the only one who appends.
#[derive(Debug, Default)]
pub(super) struct ConsentsSoFar {
    pub(super) consents: Consents,
    /// Where reading goes on in each partition.
    next: Vec<u64>,
}

impl Registers {
    pub(super) fn over(log: Arc<dyn Log>, registry: Current) -> Self {
        Self { log, registry, names: Mutex::default(), consents: Mutex::default() }
    }

    /// The registry's names as of now.
    pub(super) async fn names(&self) -> Result<Arc<Names>, ConnectorError> {
        let mut known = self.names.lock().await;
        let now = self.registry.registry(&self.log).await?;
        let (of, names) = &mut *known;
        if !Arc::ptr_eq(of, &now) {
            *names = Arc::new(Names::of(Arc::clone(&now)));
            *of = now;
        }
        Ok(Arc::clone(names))
    }

    /// Everybody's consents as of now, for one at a time.
    pub(super) async fn consents(&self) -> Result<MutexGuard<'_, ConsentsSoFar>, LogError> {
        let mut known = self.consents.lock().await;
        let topic = Topic::Consents;
        for partition in 0..self.log.partitions(topic) {
            let start = self.log.start(topic, partition)?;
            let place = usize::try_from(partition).unwrap_or(usize::MAX);
            let ConsentsSoFar { consents, next } = &mut *known;
            if next.len() <= place {
                next.push(start);
            }
            let Some(next) = next.get_mut(place) else { break };
            loop {
                let read = self.log.read(topic, partition, *next, READ_BATCH).await?;
                let Some(last) = read.last() else { break };
                *next = last.position.offset + 1;
                read.iter().for_each(|stored| consents.apply(stored));
            }
        }
        Ok(known)
    }
}
