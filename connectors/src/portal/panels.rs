//! Items of clients' workspaces, which merchants' applications put there: a title, a text, a link, how the
//! matter stands and until when. What an item says is sealed under its client's key; whom it is for is
//! known by an internal id alone.
//!
//! **Invariant:** a merchant learns nothing of whom an item is for. It names somebody by a means or a
//! personal code and is answered alike whether they are known here or not; a record is appended either way.

pub mod http;
mod request;

use std::sync::Arc;

use chrono::NaiveDate;
use domain::{
    id::{EServiceId, PanelId, RecipientId, RecordId},
    period::LocalTime,
};
use ingest::{
    clock::Clock,
    error::LogError,
    log::{Log, READ_BATCH},
    record::{Record, ulid},
    register::panels::Panels,
    topic::Topic,
    vault::{Vault, VaultError},
    wire::v1::{Event, PanelChanged},
};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use utoipa::ToSchema;

use crate::{error::ConnectorError, problem::Problem, terminal::wire::Text};

const TOPIC: Topic = Topic::PortalEvents;
/// Days that an item may last.
pub(crate) const LONGEST_DAYS: u32 = 366;

/// Whether a body says an item as it has to.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn check(body: &[u8], vault: &Vault, today: NaiveDate) -> Result<(), Problem> {
    request::panel(body, vault, today, 0).map(|_| ())
}

/// The items of one node's streams, and one change at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PanelBook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Arc<dyn Log>,
    vault: Vault,
    clock: Arc<dyn Clock>,
    random: SystemRandom,
    so_far: Mutex<SoFar>,
}

/// The items as far as they were read.
#[derive(Debug, Default)]
struct SoFar {
    panels: Panels,
    /// Where reading goes on in each partition.
    next: Vec<u64>,
}

/// What an item says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saying {
    pub(crate) title: Text,
    pub(crate) text: Option<Text>,
    pub(crate) link: Option<String>,
    pub(crate) state: PanelState,
    pub(crate) due: Option<NaiveDate>,
    /// When it was put, in microseconds.
    pub(crate) put_at: i64,
}

/// How the matter of an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PanelState {
    /// There is nothing to do.
    Information,
    /// The client has to do something.
    ActionNeeded,
    /// The merchant is at it.
    InProgress,
    /// It is done.
    Done,
}

/// An item that a merchant puts.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) id: PanelId,
    pub(crate) e_service: EServiceId,
    /// None where whoever was named is not known here.
    pub(crate) person: Option<RecipientId>,
    pub(crate) saying: Saying,
    pub(crate) until: NaiveDate,
    /// The keyed hash of what was asked.
    pub(crate) request_hash: Vec<u8>,
}

/// An item as its client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) id: PanelId,
    pub(crate) e_service: EServiceId,
    pub(crate) until: NaiveDate,
    pub(crate) dismissed: bool,
    /// Where it stands: of two the later is the newer.
    pub(crate) offset: u64,
    pub(crate) saying: Saying,
}

impl PanelState {
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("information", Self::Information),
        ("action_needed", Self::ActionNeeded),
        ("in_progress", Self::InProgress),
        ("done", Self::Done),
    ];
}

impl PanelBook {
    /// The items of a node's streams; they are read when they are first asked for.
    #[must_use]
    pub fn over(log: Arc<dyn Log>, vault: Vault, clock: Arc<dyn Clock>) -> Self {
        let (random, so_far) = (SystemRandom::new(), Mutex::default());
        Self(Arc::new(Inner { log, vault, clock, random, so_far }))
    }

    /// The item of an e-service that its merchant calls so. The name goes no further: a careless one may
    /// be a personal code.
    pub(crate) fn id(&self, e_service: &EServiceId, name: &str) -> PanelId {
        PanelId::from_u128(self.0.vault.hash("panel", &format!("{e_service}\0{name}")))
    }

    /// The local day.
    pub(crate) fn today(&self) -> NaiveDate {
        LocalTime::of(self.0.clock.now()).date
    }

    /// Puts an item in the place of the one before; the same again changes nothing, so that what a client
    /// has put away stays away. Whether anything was changed.
    pub(crate) async fn put(&self, put: &Put) -> Result<bool, ConnectorError> {
        let so_far = self.so_far().await?;
        let same = so_far.panels.get(put.id).is_some_and(|there| {
            there.request_hash == put.request_hash && there.person == put.person
        });
        if same {
            return Ok(false);
        }
        let saying = serde_json::to_vec(&put.saying).unwrap_or_default();
        let sealed = match put.person {
            Some(person) => self.0.vault.seal(person, &saying)?,
            // As much work, and as long on the stream, for nobody.
            None => self.0.vault.seal_for_node(&saying)?,
        };
        self.append(PanelChanged {
            panel: put.id.to_string(),
            e_service_id: put.e_service.to_string(),
            person: put.person.map(|id| id.to_string()).unwrap_or_default(),
            sealed,
            request_hash: put.request_hash.clone(),
            until: put.until.to_string(),
            dismissed: false,
        })
        .await?;
        Ok(true)
    }

    /// Takes an item away; whether it was there.
    pub(crate) async fn withdraw(
        &self,
        id: PanelId,
        e_service: &EServiceId,
    ) -> Result<bool, ConnectorError> {
        let so_far = self.so_far().await?;
        if so_far.panels.get(id).is_none() {
            return Ok(false);
        }
        let (panel, e_service_id) = (id.to_string(), e_service.to_string());
        self.append(PanelChanged { panel, e_service_id, ..PanelChanged::default() }).await?;
        Ok(true)
    }

    /// Puts an item of a person's away; whether there is one.
    pub(crate) async fn dismiss(
        &self,
        person: RecipientId,
        id: PanelId,
    ) -> Result<bool, ConnectorError> {
        let so_far = self.so_far().await?;
        let own = so_far.panels.get(id).filter(|panel| panel.person == Some(person));
        let Some(own) = own else { return Ok(false) };
        if !own.dismissed {
            self.append(PanelChanged {
                panel: id.to_string(),
                e_service_id: own.e_service.to_string(),
                person: person.to_string(),
                dismissed: true,
                ..PanelChanged::default()
            })
            .await?;
        }
        Ok(true)
    }

    /// What a person is shown, the newest first.
    pub(crate) async fn shown(&self, person: RecipientId) -> Result<Vec<Shown>, ConnectorError> {
        let mut held = self.held(person).await?;
        held.retain(|item| !item.dismissed);
        Ok(held)
    }

    /// All that is held of a person, for whoever asks what is: also what they have put away.
    ///
    /// # Errors
    /// Where the stream or the vault cannot be read.
    pub async fn export(&self, person: RecipientId) -> Result<Value, ConnectorError> {
        let held = self.held(person).await?;
        let told = held.into_iter().map(|item| {
            json!({"e_service": item.e_service.as_str(), "until": item.until,
                "dismissed": item.dismissed, "says": item.saying})
        });
        Ok(told.collect())
    }

    async fn held(&self, person: RecipientId) -> Result<Vec<Shown>, ConnectorError> {
        let mut places = Vec::new();
        {
            let so_far = self.so_far().await?;
            for panel in so_far.panels.of(person) {
                let e_service = panel.e_service.clone();
                places.push((panel.place, panel.id, e_service, panel.until, panel.dismissed));
            }
        }
        places.sort_unstable_by_key(|(place, ..)| std::cmp::Reverse(*place));
        let mut held = Vec::new();
        for ((partition, offset), id, e_service, until, dismissed) in places {
            if let Some(saying) = self.saying(person, partition, offset).await? {
                held.push(Shown { id, e_service, until, dismissed, offset, saying });
            }
        }
        Ok(held)
    }

    /// What an item says; none where it cannot be read any more.
    async fn saying(
        &self,
        person: RecipientId,
        partition: u32,
        offset: u64,
    ) -> Result<Option<Saying>, ConnectorError> {
        let read = self.0.log.read(TOPIC, partition, offset, 1).await?;
        let found = read.into_iter().find(|stored| stored.position.offset == offset);
        let Some(Event::PanelChanged(change)) = found.map(|stored| stored.record.event) else {
            return Ok(None);
        };
        match self.0.vault.unseal(person, &change.sealed) {
            Ok(plain) => Ok(serde_json::from_slice(&plain).ok()),
            // Whoever was erased meanwhile.
            Err(VaultError::NoKey) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn append(&self, change: PanelChanged) -> Result<(), ConnectorError> {
        let Inner { log, clock, random, .. } = &*self.0;
        let now = clock.now();
        let record = Record {
            id: RecordId::from_u128(ulid(now, random)),
            key: change.panel.clone(),
            source: "portal".into(),
            sequence: 0,
            event_time: now,
            recorded_at: now,
            event: Event::PanelChanged(change),
        };
        log.append(TOPIC, &[record]).await?;
        Ok(())
    }

    /// The items as of now, for one at a time.
    async fn so_far(&self) -> Result<MutexGuard<'_, SoFar>, LogError> {
        let Inner { log, clock, .. } = &*self.0;
        let now = clock.now();
        let mut known = self.0.so_far.lock().await;
        // Nothing older is shown.
        let bound = now - chrono::TimeDelta::days(i64::from(LONGEST_DAYS) + 2);
        for partition in 0..log.partitions(TOPIC) {
            let place = usize::try_from(partition).unwrap_or(usize::MAX);
            let SoFar { panels, next } = &mut *known;
            if next.len() <= place {
                next.push(log.at(TOPIC, partition, bound).await?);
            }
            let Some(next) = next.get_mut(place) else { break };
            *next = (*next).max(log.start(TOPIC, partition)?);
            loop {
                let read = log.read(TOPIC, partition, *next, READ_BATCH).await?;
                let Some(last) = read.last() else { break };
                *next = last.position.offset + 1;
                read.iter().for_each(|stored| panels.apply(stored));
            }
        }
        known.panels.expire(LocalTime::of(now).date);
        Ok(known)
    }
}
