//! The registry: as a file, read, checked whole, and applied whole or not at all; and entry by entry, over
//! HTTP, by those whose entries they are.

pub mod draft;
pub mod http;
mod list;
pub mod listed;
pub mod openapi;
pub mod registrar;
pub mod rights;
mod standing;
mod versions;

use std::sync::Arc;

use authoriser::rules::analyse;
use chrono::{DateTime, Utc};
use domain::registry::Registry;
use ingest::{
    dead_letter::Reason,
    document::{Fault, Json},
    error::LogError,
    log::{Log, next_batch},
    record::{Record, Stored, outside_id},
    register::registry::{self, RegistryView},
    topic::Topic,
    wire::v1::{Event, RegistryChanged},
};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::error::ConnectorError;

/// A registry file that has no fault.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file as JSON, with texts for people in both languages and whom it lists by keyed hashes.
    pub value: Value,
    /// What it describes.
    pub registry: Registry,
}

/// Checks of group conditions, which need the query engine: given a condition, what is wrong.
pub type ConditionCheck<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a registry file, YAML or JSON (which is YAML, too). `naming` says what is kept of whom it
/// lists.
///
/// # Errors
/// Where it does not parse, or every fault of it at once.
pub fn read(
    text: &str,
    origin: &str,
    condition: ConditionCheck<'_>,
    naming: listed::Naming<'_>,
) -> Result<Document, ConnectorError> {
    let mut value =
        parse(text).map_err(|reason| ConnectorError::Syntax { origin: origin.into(), reason })?;
    listed::name(&mut value, naming);
    let (registry, faults) = check(&value, condition);
    if faults.is_empty() {
        return Ok(Document { value: translated(&value), registry });
    }
    Err(ConnectorError::Registry { origin: origin.into(), faults })
}

/// What can be read of a whole registry, and every fault of it: of form, of reference, of instructions
/// beside each other, and of conditions.
pub fn check(value: &Value, condition: ConditionCheck<'_>) -> (Registry, Vec<Fault>) {
    let decoded = registry::decode_all(value);
    let analysed = analyse::faults(&decoded.registry).into_iter().map(|fault| Fault {
        reason: Reason::InvalidValue,
        path: decoded.in_document(&fault.path),
        message: fault.message,
    });
    // What an instruction names is looked for above, in the whole document.
    let analysed = analysed.filter(|fault| !fault.message.starts_with("no "));
    let mut faults = decoded.faults.clone();
    faults.extend(analysed);
    for (at, group) in decoded.registry.groups.iter().enumerate() {
        if let domain::recipient::Membership::Where(text) = &group.members
            && let Some(message) = condition(text)
        {
            let path = decoded.in_document(&format!("/groups/{at}/where"));
            faults.push(Fault { reason: Reason::InvalidValue, path, message });
        }
    }
    (decoded.registry, faults)
}

/// A registry as JSON, from YAML or JSON (which is YAML, too).
///
/// # Errors
/// What the parser said, with line and column.
pub fn parse(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        let read = Json::parse(text.as_bytes()).map(Value::from);
        return read.map_err(|error| error.to_string());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// A registry as YAML, which [`parse`] reads as the same.
///
/// # Errors
/// What the writer said.
pub fn yaml(document: &Value) -> Result<String, String> {
    serde_saphyr::to_string(document).map_err(|error| error.to_string())
}

/// What the registry's stream has from an offset on.
pub(crate) async fn news(log: &Arc<dyn Log>, from: u64) -> Result<Vec<Stored>, LogError> {
    let topic = Topic::RegistryChanges;
    let end = log.end(topic, 0)?;
    let mut offsets = from.max(log.start(topic, 0)?)..end;
    let mut news = Vec::new();
    while let Some(read) = next_batch(log, topic, 0, &mut offsets).await? {
        news.extend(read);
    }
    Ok(news)
}

/// The registry as the stream has it.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn view(log: &Arc<dyn Log>) -> Result<RegistryView, ConnectorError> {
    let mut view = RegistryView::default();
    view.apply(&news(log, 0).await?);
    Ok(view)
}

/// The registry, kept as new as its stream, once for all who look things up in it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Current(Arc<Mutex<RegistryView>>);

impl Current {
    /// The registry as it is now.
    ///
    /// # Errors
    /// Where the stream cannot be read.
    pub async fn registry(&self, log: &Arc<dyn Log>) -> Result<Arc<Registry>, ConnectorError> {
        let mut view = self.0.lock().await;
        let news = news(log, view.version()).await?;
        if !news.is_empty() {
            view.apply(&news);
        }
        Ok(view.registry())
    }
}

/// The records of changes of the registry that has this version.
fn records(
    version: u64,
    changes: impl Iterator<Item = RegistryChanged>,
    now: DateTime<Utc>,
) -> Vec<Record> {
    let record = |(version, change): (u64, RegistryChanged)| Record {
        id: outside_id("registry", &version.to_string()),
        key: "registry".into(),
        source: "registry".into(),
        sequence: version,
        event_time: now,
        recorded_at: now,
        event: Event::RegistryChanged(change),
    };
    (version..).zip(changes).map(record).collect()
}

/// Applies a document: everything that differs is appended as one batch, whole or not at all.
/// Answers what changed.
///
/// # Errors
/// Where the stream cannot be read or appended to.
pub async fn apply(
    log: &Arc<dyn Log>,
    document: &Document,
    now: DateTime<Utc>,
) -> Result<Vec<RegistryChanged>, ConnectorError> {
    let view = view(log).await?;
    let changes = view.changes_to(&document.value);
    let records = records(view.version(), changes.iter().cloned(), now);
    if !records.is_empty() {
        log.append(Topic::RegistryChanges, &records).await?;
    }
    Ok(changes)
}

/// The document with every text for people in both languages: one text for both may be written, and
/// readers of the stream find one form.
fn translated(document: &Value) -> Value {
    let mut document = document.clone();
    let lists = document.as_object_mut().into_iter().flat_map(|lists| lists.values_mut());
    lists.filter_map(Value::as_array_mut).flatten().for_each(translate);
    document
}

/// An entry's texts for people in both languages.
fn translate(entry: &mut Value) {
    for name in ["name", "label"] {
        if let Some(text) = entry.get_mut(name).filter(|text| text.is_string()) {
            *text = serde_json::json!({"lv": text.clone(), "en": text.clone()});
        }
    }
}
