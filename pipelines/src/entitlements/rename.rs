//! Everybody told of again under a new pseudonym.

use std::collections::BTreeMap;

use domain::id::RecipientId;
use ingest::{
    topic::Topic,
    vault::Purpose,
    wire::v1::{EntitlementEvaluated, Event},
};

use super::{APPENDED_AT_ONCE, Evaluator, Telling};
use crate::error::PipelineError;

impl Evaluator {
    /// After recipients have got other pseudonyms: takes what stands under the former ones out of what
    /// holds now, and tells of everybody under the new ones. Answers how many people that were.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub fn rename(&mut self) -> Telling<'_> {
        Box::pin(async move {
            let mut former = self.former().await?;
            while !former.is_empty() {
                let later = former.split_off(former.len().min(APPENDED_AT_ONCE));
                self.append(former).await?;
                former = later;
            }
            let now = self.clock.now();
            self.affected.extend(self.people.iter().map(|(id, _)| (id, now)));
            self.tell().await
        })
    }

    /// The last record under each former pseudonym that still stands: as it was told, so that what
    /// happened under it keeps its age band; of nobody, so that no register takes it for news; in the
    /// order of the pseudonyms, so that no place tells who became whom.
    async fn former(&self) -> Result<Vec<EntitlementEvaluated>, PipelineError> {
        let mut standing: BTreeMap<String, EntitlementEvaluated> = BTreeMap::new();
        let mut next = 0;
        while let Some(batch) = self.read(Topic::Entitlements, &mut next).await? {
            for stored in batch {
                let Event::EntitlementEvaluated(event) = stored.record.event else { continue };
                if event.removed {
                    standing.remove(&event.recipient);
                } else if self.is_former(&event) {
                    let told = EntitlementEvaluated { groups: Vec::new(), ..event };
                    standing.insert(told.recipient.clone(), told);
                }
            }
        }
        let known_from = self.clock.now().timestamp_micros();
        let last = standing.into_values().map(|told| EntitlementEvaluated {
            person: String::new(),
            known_from,
            removed: true,
            changes_next: None,
            memberships_next: None,
            person_sequence: 0,
            ..told
        });
        Ok(last.collect())
    }

    fn is_former(&self, event: &EntitlementEvaluated) -> bool {
        let Some(person) = RecipientId::parse(&event.person) else { return false };
        let pseudonym = self.vault.pseudonym(Purpose::Recipient, person.as_u128());
        pseudonym.to_string() != event.recipient
    }
}
