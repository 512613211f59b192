//! A register of people for tests: changes in, memberships out.

use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::{id::RecipientId, period::start_of_day, person_code::PersonCode};
use ingest::{
    clock::{Clock, ManualClock},
    document::Json,
    log::{Log, model::ModelLog, replay},
    record::{Record, outside_id},
    register::{entitlements::Entitlements, people},
    topic::Topic,
    vault::Vault,
    wire::v1::{Event, MembershipChanged, PersonChanged, RegistryChanged},
};
use pipelines::{entitlements::Evaluator, error::PipelineError};
use serde_json::Value;

pub struct Register {
    pub log: Arc<dyn Log>,
    /// The same, to let it fail.
    pub model: Arc<ModelLog>,
    pub vault: Vault,
    _folder: tempfile::TempDir,
}

/// The n-th person's code, of the form that carries no date.
pub fn code(number: u32) -> PersonCode {
    PersonCode::parse(&format!("3261{:02}-{:05}", number % 100, 30_000 + number)).expect("a code")
}

pub fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

impl Register {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let model = Arc::new(ModelLog::default());
        Self { log: Arc::<ModelLog>::clone(&model), model, vault, _folder: folder }
    }

    /// The internal id of the n-th person.
    pub fn id(&self, number: u32) -> RecipientId {
        self.vault.enrol(&[code(number)]).expect("an id")[0]
    }

    /// Appends a change of the n-th person; `Null` takes the person out of the register.
    pub async fn change(&self, number: u32, sequence: u64, at: DateTime<Utc>, attributes: Value) {
        let id = self.id(number);
        let sealed = match &attributes {
            Value::Null => Vec::new(),
            attributes => {
                let attributes = Json::from(attributes);
                people::seal(&self.vault, id, &code(number), &attributes, "E-1").expect("sealed")
            }
        };
        let event = Event::PersonChanged(PersonChanged {
            person: id.to_string(),
            person_sequence: sequence,
            sealed,
            removed: attributes.is_null(),
            snapshot: false,
        });
        self.append(Topic::PersonChanges, &format!("{number}/{sequence}"), at, event).await;
    }

    /// Appends a group's condition.
    pub async fn group(&self, id: &str, condition: &str, at: DateTime<Utc>) {
        let document = serde_json::json!({
            "id": id, "name": { "lv": id, "en": id }, "where": condition,
        });
        let event = Event::RegistryChanged(RegistryChanged {
            kind: "groups".into(),
            id: id.into(),
            document: document.to_string(),
            changed_by: String::new(),
        });
        self.append(Topic::RegistryChanges, &format!("{id} {condition}"), at, event).await;
    }

    /// Appends a group that is a list.
    pub async fn list(&self, id: &str, at: DateTime<Utc>) {
        let name = serde_json::json!({ "lv": id, "en": id });
        let document = serde_json::json!({ "id": id, "name": name, "members": [] });
        let event = Event::RegistryChanged(RegistryChanged {
            kind: "groups".into(),
            id: id.into(),
            document: document.to_string(),
            changed_by: String::new(),
        });
        self.append(Topic::RegistryChanges, id, at, event).await;
    }

    /// Appends that the n-th person is on a group's list, or no longer.
    pub async fn member(
        &self,
        group: &str,
        number: u32,
        from: NaiveDate,
        until: Option<NaiveDate>,
        removed: bool,
        at: DateTime<Utc>,
    ) {
        let event = MembershipChanged {
            group_id: group.into(),
            person: Some(self.id(number).to_string()),
            token: None,
            from: from.to_string(),
            until: until.map(|until| until.to_string()),
            removed,
        };
        let name = format!("{}/{from}/{}", event.member(), at.timestamp_micros());
        self.append(Topic::Memberships, &name, at, Event::MembershipChanged(event)).await;
    }

    async fn append(&self, topic: Topic, name: &str, at: DateTime<Utc>, event: Event) {
        let record = Record {
            id: outside_id("register", name),
            key: name.into(),
            source: "register".into(),
            sequence: 0,
            event_time: at,
            recorded_at: at,
            event,
        };
        self.log.append(topic, &[record]).await.expect("appended");
    }

    pub async fn evaluator(&self) -> Result<Evaluator, PipelineError> {
        self.evaluator_at(DateTime::UNIX_EPOCH).await
    }

    /// An evaluator whose clock stands at `now`.
    pub async fn evaluator_at(&self, now: DateTime<Utc>) -> Result<Evaluator, PipelineError> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now));
        Evaluator::open(Arc::clone(&self.log), self.vault.clone(), clock).await
    }

    /// Evaluates all that is new, as a node does that has just started.
    pub async fn evaluate(&self) -> usize {
        self.evaluator().await.expect("opened").catch_up().await.expect("evaluated")
    }

    /// What the stream of entitlements says.
    pub async fn entitlements(&self) -> Entitlements {
        let mut entitlements = Entitlements::default();
        let told: Result<(), PipelineError> = replay(&self.log, Topic::Entitlements, |stored| {
            entitlements.apply(&stored);
            Ok(())
        })
        .await;
        told.expect("read");
        entitlements
    }

    /// The groups of the n-th person on a day, as known at its end.
    pub async fn groups(&self, number: u32, day: NaiveDate) -> Vec<String> {
        let end = start_of_day(day.checked_add_days(Days::new(1)).expect("a day"));
        let entitlements = self.entitlements().await;
        let known = entitlements.at(self.id(number), end);
        let days = known.into_iter().flat_map(|known| known.groups);
        let mut groups: Vec<_> =
            days.filter(|days| days.contains(day)).map(|days| days.group.to_string()).collect();
        groups.sort();
        groups
    }
}
