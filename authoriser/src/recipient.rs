//! What is known of one recipient beside decisions: what is used, and what was decided.
//!
//! It is asked of the index, brought up to the stream's end first, so whoever was answered finds it
//! there. No decision waits for it, and no counter moves.

use std::sync::Arc;

use domain::{
    id::{BenefitId, RecipientId},
    limit::{CounterKey, Limit},
};
use ingest::{error::LogError, record::Position, topic::Topic, wire::v1::Event};

use crate::{
    command::Refusal,
    error::AuthoriserError,
    history::History,
    index::{Index, Place},
    service::Handle,
};

/// Authorisations of one recipient, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Each as it stands now.
    pub authorisations: Vec<History>,
    /// Where the next page begins; none after the last.
    pub next: Option<Place>,
}

impl Handle {
    /// What is left of limits, each with its counter; below zero where more was used than a later
    /// version allows.
    ///
    /// # Errors
    /// Where stream or index cannot be read.
    pub async fn left(
        &self,
        limits: impl IntoIterator<Item = (Limit, Option<CounterKey>)>,
    ) -> Result<Vec<(Limit, i64)>, Refusal> {
        let index = self.current().await.map_err(away)?;
        let left = limits.into_iter().map(|(limit, counter)| {
            let used = counter.map_or(Ok(0), |counter| index.counter(&counter))?;
            Ok::<_, AuthoriserError>((limit, limit.max.saturating_sub(used)))
        });
        left.collect::<Result<_, _>>().map_err(away)
    }

    /// A recipient's points under every benefit where they ever moved; negative after some refunds.
    ///
    /// # Errors
    /// Where stream or index cannot be read.
    pub async fn points(&self, of: RecipientId) -> Result<Vec<(BenefitId, i64)>, Refusal> {
        let index = self.current().await.map_err(away)?;
        let points = index.points(Some(of)).map_err(away)?.into_iter();
        Ok(points.map(|(_, benefit, points)| (benefit, points)).collect())
    }

    /// A page of a recipient's authorisations, the newest first; of what the stream has let go of
    /// nothing is told.
    ///
    /// # Errors
    /// Where stream or index cannot be read.
    pub async fn authorisations(
        &self,
        of: RecipientId,
        before: Option<Place>,
        most: usize,
    ) -> Result<Page, Refusal> {
        self.page(of, before, most).await.map_err(away)
    }

    async fn page(
        &self,
        of: RecipientId,
        before: Option<Place>,
        most: usize,
    ) -> Result<Page, AuthoriserError> {
        let index = self.current().await?;
        let places = index.authorisations(of, before, most)?;
        let next = places.last().copied().filter(|_| places.len() == most);
        let mut authorisations = Vec::with_capacity(places.len());
        for place in places {
            authorisations.extend(self.history(&index, place.position).await?);
        }
        Ok(Page { authorisations, next })
    }

    /// The index at the stream's end.
    async fn current(&self) -> Result<Arc<Index>, AuthoriserError> {
        let parts = self.parts();
        parts.index.reach(&parts.log).await?;
        Ok(Arc::clone(&parts.index))
    }

    async fn history(
        &self,
        index: &Index,
        place: Position,
    ) -> Result<Option<History>, AuthoriserError> {
        let Some(Event::AuthorisationDecided(decided)) = self.event(place).await? else {
            return Ok(None);
        };
        let mut history = History::of(decided);
        for place in index.changes(history.id())? {
            if let Some(Event::AuthorisationChanged(change)) = self.event(place).await? {
                history.changes.push(change);
            }
        }
        Ok(Some(history))
    }

    async fn event(&self, at: Position) -> Result<Option<Event>, AuthoriserError> {
        let log = &self.parts().log;
        match log.read(Topic::Authorisations, at.partition, at.offset, 1).await {
            Ok(read) => Ok(read.into_iter().next().map(|stored| stored.record.event)),
            Err(LogError::Gone { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn away(error: AuthoriserError) -> Refusal {
    tracing::error!(%error, "what is known of a recipient cannot be looked up");
    Refusal::Away
}
