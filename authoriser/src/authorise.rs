//! The decision loop: one at a time, in order of arrival, appended before anybody hears of it.
//!
//! **Invariant:** what an answer says is on the stream and synced before it is given. The cache moves
//! first, in memory; where the append fails the loop ends and the node starts anew from the stream,
//! so a movement without a record cannot outlive the process.

use std::{collections::HashMap, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use domain::{
    authorisation::Status,
    basket::{Mode, Request},
    decision::Decision,
    id::{AuthorisationId, RecordId},
    identification_means::MeansStatus,
    invariant,
    merchant::Category,
    period::LocalTime,
};
use ingest::{
    clock::Clock,
    log::{Log, replay},
    record::{Record, Stored, outside_id},
    topic::Topic,
    vault::{Purpose, Vault},
    wire::v1::{self, Event},
};

use crate::{
    cache::{Cache, Reserved},
    error::AuthoriserError,
    metrics::Metrics,
    publish::{self, Facts},
    refresh::{Presented, Registers},
    rules, upload,
};

/// What a key was used for: the same body again is the same request.
#[derive(Clone, Debug)]
struct Claim {
    body_hash: Vec<u8>,
}

/// Decides, over one cache.
#[derive(Debug)]
pub struct Authoriser<C> {
    log: Arc<dyn Log>,
    vault: Vault,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    registers: Registers,
    cache: C,
    /// By the hash of terminal and key.
    claims: HashMap<RecordId, Claim>,
    uploads_next: u64,
}

/// What became of some uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Decided and on the stream.
    pub decided: usize,
    /// Passed over: a key that came again.
    pub passed_over: usize,
    /// The latest instant that was decided.
    pub latest: Option<DateTime<Utc>>,
}

impl<C: Cache> Authoriser<C> {
    /// An authoriser whose registers, counters and keys are rebuilt from the streams.
    ///
    /// # Errors
    /// Where a stream cannot be read or holds what this version did not write.
    pub async fn open(
        log: Arc<dyn Log>,
        vault: Vault,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        cache: C,
    ) -> Result<Self, AuthoriserError> {
        let registers = Registers::new()?;
        let claims = HashMap::new();
        let mut authoriser =
            Self { log, vault, clock, metrics, registers, cache, claims, uploads_next: 0 };
        authoriser.registers.refresh(&authoriser.log).await?;
        authoriser.rebuild().await?;
        Ok(authoriser)
    }

    /// The registers that decisions look things up in.
    #[must_use]
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Reads what is new of rules, means and entitlements.
    ///
    /// # Errors
    /// Where a stream cannot be read.
    pub async fn refresh(&mut self) -> Result<(), AuthoriserError> {
        self.registers.refresh(&self.log).await
    }

    /// Decides at most `most` uploads, in the order of their stream, and appends the decisions in
    /// one batch; nothing to decide gives zeros.
    ///
    /// # Errors
    /// Where a stream or the cache fails; this authoriser must not be used any more then.
    pub async fn decide_uploads(&mut self, most: usize) -> Result<Progress, AuthoriserError> {
        let topic = Topic::TerminalTransactions;
        let uploads = self.log.read(topic, 0, self.uploads_next, most).await?;
        let Some(last) = uploads.last() else { return Ok(Progress::default()) };
        self.registers.refresh(&self.log).await?;
        let next = last.position.offset + 1;
        let mut records = Vec::with_capacity(uploads.len());
        for stored in &uploads {
            let Event::TransactionUploaded(upload) = &stored.record.event else { continue };
            records.extend(self.decide_upload(stored, upload).await?);
        }
        let progress = Progress {
            decided: records.len(),
            passed_over: uploads.len() - records.len(),
            latest: records.iter().map(|record: &Record| record.event_time).max(),
        };
        if !records.is_empty() {
            self.log.append(Topic::Authorisations, records).await?;
        }
        self.uploads_next = next;
        Ok(progress)
    }

    async fn decide_upload(
        &mut self,
        stored: &Stored,
        upload: &v1::TransactionUploaded,
    ) -> Result<Option<Record>, AuthoriserError> {
        let claimed = outside_id(&upload.terminal_id, &upload.idempotency_key);
        if self.claims.contains_key(&claimed) {
            return Ok(None);
        }
        let Some(request) = upload::request(upload) else { return Ok(None) };
        let id = AuthorisationId::from_u128(claimed.as_u128());
        let next = stored.position.offset + 1;
        let decided = self.decide(id, &request, upload.body_hash.clone(), Some(next)).await?;
        let Some(event) = decided else { return Ok(None) };
        self.claims.insert(claimed, Claim { body_hash: upload.body_hash.clone() });
        Ok(Some(self.record(claimed, &request, event)))
    }

    /// Decides one request and moves the cache. `None` where the terminal is not in the registry.
    async fn decide(
        &mut self,
        id: AuthorisationId,
        request: &Request,
        body_hash: Vec<u8>,
        uploads_next: Option<u64>,
    ) -> Result<Option<v1::AuthorisationDecided>, AuthoriserError> {
        let started = Instant::now();
        let rules = Arc::clone(self.registers.rules());
        let Some(terminal) = rules.terminal(&request.terminal) else { return Ok(None) };
        let local = LocalTime::of(request.occurred_at);
        let presented = self.registers.present(request.means, request.occurred_at, local.date);
        let decision = self.evaluate(id, &rules, terminal, request, &presented).await?;
        debug_assert_eq!(invariant::decision(&decision), Ok(()));
        let site = rules.site(terminal);
        let pseudonym = presented.recipient.as_ref().map(|recipient| {
            self.vault.pseudonym(Purpose::Recipient, recipient.id.as_u128()).to_string()
        });
        let category =
            |line| rules.category(terminal, line).map_or("", Category::as_str).to_owned();
        let facts = Facts {
            id,
            request,
            body_hash,
            day: local.date,
            merchant: site.merchant.as_str(),
            place: site.place.as_str(),
            territory: site.territory.as_str(),
            status: match request.mode {
                Mode::Reserve => Status::Reserved,
                Mode::Sale | Mode::Offline => Status::Captured,
            },
            expires_at: None,
            recipient: presented.recipient.as_ref(),
            pseudonym,
            categories: request.lines.iter().map(category).collect(),
            excess: rules::excess(&rules, request, &decision),
            registry_version: self.registers.registry_version(),
            uploads_next,
        };
        self.metrics.decided(decision.outcome, started.elapsed());
        Ok(Some(publish::decided(&facts, &decision)))
    }

    /// Reads, decides and moves until nothing changed in between; with one decision loop over the
    /// embedded cache that is at once.
    async fn evaluate(
        &mut self,
        id: AuthorisationId,
        rules: &rules::RuleSet,
        terminal: rules::TerminalIndex,
        request: &Request,
        presented: &Presented,
    ) -> Result<Decision, AuthoriserError> {
        let input = rules::Input {
            terminal,
            lines: &request.lines,
            instant: request.occurred_at,
            recipient: presented.recipient.as_ref(),
            means_status: presented.status,
            declined: presented.declined,
            points: request.spend_points,
        };
        let wanted = rules.wanted(&input);
        let household = presented.recipient.as_ref().map(|recipient| recipient.household);
        loop {
            let wanted = crate::cache::Wanted { household, ..wanted.clone() };
            self.cache.load(&[wanted]).await?;
            let decision = rules::evaluate(rules, &input, &self.cache);
            let recipient = presented.recipient.as_ref().map(|recipient| recipient.id);
            let movements = publish::movements(&decision, recipient);
            let record = RecordId::from_u128(id.as_u128());
            let operation = crate::cache::Operation {
                id: record,
                authorisation: id,
                step: 0,
                household,
                movements,
            };
            self.cache.stage(operation);
            match self.cache.commit().await?.as_slice() {
                [Reserved::Conflict] => {}
                _ => return Ok(decision),
            }
        }
    }

    fn record(&self, id: RecordId, request: &Request, event: v1::AuthorisationDecided) -> Record {
        let key = event.household_id.clone().unwrap_or_else(|| request.terminal.to_string());
        Record {
            id,
            key,
            source: request.terminal.to_string(),
            sequence: 0,
            event_time: request.occurred_at,
            // Nothing is recorded before it happened, however a terminal's clock runs.
            recorded_at: self.clock.now().max(request.occurred_at),
            event: Event::AuthorisationDecided(event),
        }
    }

    /// Applies the whole stream to an empty cache. Movements are sums, so the order between
    /// partitions does not matter.
    async fn rebuild(&mut self) -> Result<(), AuthoriserError> {
        let log = Arc::clone(&self.log);
        let mut moved = Vec::new();
        let mut next = 0;
        let claims = &mut self.claims;
        replay(&log, Topic::Authorisations, |stored| {
            let broken = || AuthoriserError::Record { offset: stored.position.offset };
            let id = AuthorisationId::from_u128(stored.record.id.as_u128());
            match &stored.record.event {
                Event::AuthorisationDecided(event) => {
                    moved.push((id, publish::movements_of(event).ok_or_else(broken)?));
                    next = next.max(event.uploads_next.unwrap_or(0));
                    let key = outside_id(&event.terminal_id, &event.idempotency_key);
                    claims.insert(key, Claim { body_hash: event.body_hash.clone() });
                }
                Event::AuthorisationChanged(event) => {
                    moved.push((id, publish::movements_of_change(event).ok_or_else(broken)?));
                }
                _ => {}
            }
            Ok::<(), AuthoriserError>(())
        })
        .await?;
        for (authorisation, movements) in moved {
            let id = RecordId::from_u128(authorisation.as_u128());
            let household = None;
            let operation =
                crate::cache::Operation { id, authorisation, step: 0, household, movements };
            self.cache.stage(operation);
            self.cache.commit().await?;
        }
        self.uploads_next = next;
        Ok(())
    }

    /// Tells every partition of `authorisations` that does not know it yet that time has come so far,
    /// so that windows close.
    ///
    /// # Errors
    /// Where the stream cannot be appended to.
    pub async fn heartbeat(&self, until: DateTime<Utc>) -> Result<(), AuthoriserError> {
        let topic = Topic::Authorisations;
        let partitions = self.log.partitions(topic);
        let mut silent = Vec::new();
        for partition in 0..partitions {
            let last = self.log.end(topic, partition)?.saturating_sub(1);
            let last = self.log.read(topic, partition, last, 1).await?;
            let told = last.first().is_some_and(|last| last.record.event_time >= until);
            silent.extend((!told).then_some(partition));
        }
        let records = silent.into_iter().map(|partition| {
            let key = ingest::topic::key_for(partition, partitions);
            Record {
                id: outside_id("heartbeat", &format!("{partition}/{}", until.timestamp_micros())),
                key,
                source: "authoriser".into(),
                sequence: 0,
                event_time: until,
                recorded_at: self.clock.now(),
                event: Event::Heartbeat(v1::Heartbeat { until: until.timestamp_micros() }),
            }
        });
        let records: Vec<_> = records.collect();
        if !records.is_empty() {
            self.log.append(topic, records).await?;
        }
        Ok(())
    }

    /// Whether a key was used before, and for the same body.
    #[must_use]
    pub fn claimed(&self, terminal: &str, key: &str, body_hash: &[u8]) -> Option<bool> {
        let claim = self.claims.get(&outside_id(terminal, key))?;
        Some(claim.body_hash == body_hash)
    }
}

/// A basket without a means, as the rule engine sees it.
impl Presented {
    /// Nobody in particular.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self { status: MeansStatus::None, recipient: None, declined: None }
    }
}
