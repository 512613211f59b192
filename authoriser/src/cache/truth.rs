//! What the streams say a counter is: that from which a lost cache is built again.

use std::{fmt, sync::Arc};

use domain::{
    id::{BenefitId, RecipientId},
    limit::{CounterKey, Holder},
};
use ingest::{
    error::LogError,
    log::{Log, Pending},
    topic::Topic,
};

use crate::{error::AuthoriserError, index::Index};

/// Sums over the `authorisations` stream, as of its end at the call: every record whose append had
/// ended before the call is in.
pub trait Truth: Send + Sync + fmt::Debug + 'static {
    /// All counters of a recipient or household that ever moved and may still be asked for.
    fn counters_of(&self, holder: Holder) -> Pending<'_, Vec<(CounterKey, i64)>>;

    /// The recipient's points, under every benefit where they ever moved.
    fn points_of(&self, recipient: RecipientId) -> Pending<'_, Vec<(BenefitId, i64)>>;

    /// What is used of a limit across all recipients.
    fn budget(&self, key: &CounterKey) -> Pending<'_, i64>;
}

/// The truth as the index has it, brought up to the stream's end at each question.
#[derive(Debug)]
pub struct Indexed {
    index: Arc<Index>,
    log: Arc<dyn Log>,
}

impl Indexed {
    /// The truth over an index of this stream.
    #[must_use]
    pub fn over(index: Arc<Index>, log: Arc<dyn Log>) -> Arc<Self> {
        Arc::new(Self { index, log })
    }

    async fn current(&self) -> Result<&Index, LogError> {
        self.index.catch_up(&self.log).await.map_err(failed)?;
        Ok(&self.index)
    }
}

impl Truth for Indexed {
    fn counters_of(&self, holder: Holder) -> Pending<'_, Vec<(CounterKey, i64)>> {
        Box::pin(async move { self.current().await?.counters(holder).map_err(failed) })
    }

    fn points_of(&self, recipient: RecipientId) -> Pending<'_, Vec<(BenefitId, i64)>> {
        Box::pin(async move {
            let points = self.current().await?.points(Some(recipient)).map_err(failed)?;
            Ok(points.into_iter().map(|(_, benefit, points)| (benefit, points)).collect())
        })
    }

    fn budget(&self, key: &CounterKey) -> Pending<'_, i64> {
        let key = key.clone();
        Box::pin(async move { self.current().await?.counter(&key).map_err(failed) })
    }
}

/// What the index could not do, as the log's readers are told.
fn failed(error: AuthoriserError) -> LogError {
    match error {
        AuthoriserError::Log(error) => error,
        AuthoriserError::Index(source) => LogError::Engine {
            attempted: "read the index of",
            topic: Topic::Authorisations,
            source,
        },
        _ => LogError::Stopped { sync_failed: false },
    }
}
