//! What the streams say a counter is: that from which a lost cache is built again.

use std::fmt;

use domain::{
    id::{BenefitId, RecipientId},
    limit::{CounterKey, Holder},
};
use ingest::log::Pending;

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
