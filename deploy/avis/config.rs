//! Settings: the defaults compiled in, a file over them, the environment over both.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use authoriser::{authorise, cache::redis::RedisSettings, service::Bounds};
use chrono::TimeDelta;
use connectors::{
    access::oidc::{self, Issuer},
    portal::login::Baskets,
    terminal::{http, kit::Caps},
    vpvkac::{decide::Rules, desk},
};
use ingest::{
    log::{Keep, embedded, fluvio},
    topic::Topic,
};
use pipelines::config as runner;
use serde::Deserialize;
use toml::{Table, Value};
use warehouse::{endpoint::Limits, open_data::Publisher};

use crate::failure::Failure;

/// Every default.
pub const DEFAULT: &str = include_str!("config/default.toml");
/// What environment variables of settings begin with.
const PREFIX: &str = "AVIS__";

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where HTTP listens.
    pub http: Listening,
    /// Where gRPC listens.
    pub grpc: Listening,
    /// The streams.
    pub log: Log,
    /// The cluster that has them, where one does.
    pub fluvio: Fluvio,
    /// Decisions.
    pub authoriser: Authoriser,
    /// The shared cache.
    pub redis: Redis,
    /// Landing.
    pub pipelines: Pipelines,
    /// Days of rows that tables keep, by name; 0 is all.
    pub retention: BTreeMap<String, u32>,
    /// SQL by PostgreSQL's wire protocol.
    pub postgres: Listening,
    /// SQL by Arrow Flight.
    pub flight: Listening,
    /// What statements may take.
    pub sql: Sql,
    /// Who publishes open data.
    pub open_data: OpenData,
    /// An outside issuer of tokens.
    oidc: Oidc,
    /// The portal.
    pub portal: Portal,
    /// The registry.
    pub registry: Registry,
    /// Terminals.
    pub terminals: Terminals,
    /// Calls to remote officials.
    pub calls: Calls,
}

/// An address.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// Host and port.
    pub address: SocketAddr,
}

/// The streams.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Where they are.
    pub engine: LogEngine,
    reserve_mib: u64,
    keep: HashMap<String, KeepOf>,
}

/// Where the streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogEngine {
    /// In the node's folder.
    Embedded,
    /// On a Fluvio cluster.
    Fluvio,
}

/// What a stream lets go of; 0 is never.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepOf {
    age_days: u32,
    size_mib: u64,
    replaced_days: u32,
}

/// A Fluvio cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fluvio {
    endpoint: String,
    profile: String,
    topic_prefix: String,
    replication: u32,
    retention_days: u32,
    tls_domain: String,
    tls_authority: String,
    tls_certificate: String,
    tls_key: String,
}

/// Decisions.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authoriser {
    hold_minutes: u32,
    clock_minutes: u32,
    horizon_days: u32,
    /// Where counters are kept.
    pub cache: Cache,
}

/// Where counters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cache {
    /// In memory.
    Embedded,
    /// In one Redis.
    Redis,
    /// In a Redis Cluster.
    RedisCluster,
}

/// The shared cache.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Its addresses.
    pub urls: Vec<String>,
    /// So many replicas must have what was reserved.
    pub replicas: u32,
    /// Whether one without its append-only file is taken.
    pub allow_volatile: bool,
}

/// Landing.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipelines {
    commit_seconds: u32,
    commit_records: u32,
    state_mib: u32,
    /// Whether late rows are kept.
    pub keep_late: bool,
}

/// What statements may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    timeout_seconds: u32,
    memory_mib: u32,
    spill_mib: u32,
    most_rows: u64,
    connections: u32,
    /// Threads that answer statements; 0 is half of the cores.
    pub threads: u32,
    tls_certificate: String,
    tls_key: String,
}

/// Who publishes open data, and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenData {
    base: String,
    files: String,
    publisher_lv: String,
    publisher_en: String,
    homepage: String,
    contact: String,
    licence: String,
    /// Whose the sets are on a portal.
    pub ckan_organisation: String,
}

/// An outside issuer of tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Oidc {
    issuer: String,
    audience: String,
    keys: String,
    role_claim: String,
    organisation_claim: String,
}

/// The portal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Portal {
    /// The means of identity that each basket of e-services allows.
    pub baskets: Baskets,
}

/// The registry.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Whether a second person approves what decides about money.
    pub approval: bool,
}

/// Terminals.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terminals {
    requests_per_second: u32,
    requests_at_once: u32,
    offline_uses_per_card_and_day: u32,
    offline_cents_per_card_and_day: u32,
}

/// Calls from service centres to remote officials.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    offer_seconds: u32,
    meeting: String,
    listeners: u32,
}

impl Config {
    /// The defaults, what a file changes, and what the environment changes.
    ///
    /// # Errors
    /// Where the file cannot be read, or a key is unknown or of the wrong type.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let fault = |origin: &str, reason: String| {
            Failure::Usage(format!("{origin}: {}", reason.trim_end()))
        };
        let mut table: Table = DEFAULT
            .parse()
            .map_err(|error: toml::de::Error| fault("defaults", error.to_string()))?;
        if let Some(file) = file {
            let origin = file.display().to_string();
            let text =
                std::fs::read_to_string(file).map_err(|error| fault(&origin, error.to_string()))?;
            let over: Table =
                text.parse().map_err(|error: toml::de::Error| fault(&origin, error.to_string()))?;
            merge(&mut table, over, &mut Vec::new()).map_err(|reason| fault(&origin, reason))?;
        }
        for (name, value) in environment {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let path = path.to_ascii_lowercase();
            let over = nested(&path, &value);
            merge(&mut table, over, &mut Vec::new()).map_err(|reason| fault(&name, reason))?;
        }
        table.try_into().map_err(|error: toml::de::Error| fault("configuration", error.to_string()))
    }

    /// How the embedded log is kept.
    ///
    /// # Errors
    /// Where a register would let go of states that an upload may still ask for.
    pub fn embedded(&self) -> Result<embedded::Settings, Failure> {
        let days = |days: u32| (days > 0).then(|| TimeDelta::days(days.into()));
        let mut keep = HashMap::new();
        for (name, of) in &self.log.keep {
            let Some(topic) = Topic::parse(name) else { continue };
            if (1..=self.authoriser.horizon_days).contains(&of.replaced_days) {
                let text = format!(
                    "log.keep.{name}.replaced_days: {} is not longer than authoriser.horizon_days",
                    of.replaced_days
                );
                return Err(Failure::Usage(text));
            }
            let bytes = (of.size_mib > 0).then_some(of.size_mib << 20);
            let (age, replaced) = (days(of.age_days), days(of.replaced_days));
            keep.insert(topic, Keep { age, bytes, replaced });
        }
        keep.retain(|_, keep| *keep != Keep::default());
        let reserve_bytes = self.log.reserve_mib << 20;
        Ok(embedded::Settings { reserve_bytes, keep, ..embedded::Settings::default() })
    }

    /// Which Fluvio, and what is asked of it.
    ///
    /// # Errors
    /// Where one replica is asked for, or encryption is given by half.
    pub fn fluvio(&self) -> Result<fluvio::Settings, Failure> {
        let Fluvio { endpoint, profile, topic_prefix, .. } = self.fluvio.clone();
        if self.fluvio.replication < 2 {
            let text =
                "fluvio.replication: Fluvio does not sync, so at least 2 data nodes keep a record";
            return Err(Failure::Usage(text.into()));
        }
        let cluster = match profile.is_empty() {
            true => fluvio::Cluster::Endpoint(endpoint.clone()),
            false => fluvio::Cluster::Profile(profile),
        };
        let days = u64::from(self.fluvio.retention_days);
        Ok(fluvio::Settings {
            cluster,
            tls: self.fluvio.tls()?,
            prefix: topic_prefix,
            replication: self.fluvio.replication,
            retention: Duration::from_secs(days * 24 * 60 * 60),
            ..fluvio::Settings::of(&endpoint)
        })
    }

    /// What the authoriser is told.
    #[must_use]
    pub fn settings(&self) -> authorise::Settings {
        authorise::Settings { hold: TimeDelta::minutes(self.authoriser.hold_minutes.into()) }
    }

    /// The bounds of time; `--dev` lifts them.
    #[must_use]
    pub fn bounds(&self, lifted: bool) -> Bounds {
        let online = TimeDelta::minutes(self.authoriser.clock_minutes.into());
        Bounds { online: (!lifted).then_some(online), horizon_days: self.authoriser.horizon_days }
    }

    /// Which Redis, and what is asked of it.
    #[must_use]
    pub fn redis(&self) -> RedisSettings {
        RedisSettings {
            urls: self.redis.urls.clone(),
            cluster: self.authoriser.cache == Cache::RedisCluster,
            replicas: self.redis.replicas,
            allow_volatile: self.redis.allow_volatile,
            ..RedisSettings::default()
        }
    }

    /// The outside issuer of tokens, where there is one.
    #[must_use]
    pub fn issuer(&self) -> Option<Arc<Issuer>> {
        let Oidc { issuer, audience, keys, role_claim, organisation_claim } = self.oidc.clone();
        let settings = oidc::Settings { issuer, audience, keys, role_claim, organisation_claim };
        (!settings.issuer.is_empty()).then(|| Issuer::new(settings))
    }

    /// What the doors for terminals are told.
    #[must_use]
    pub const fn doors(&self) -> http::Settings {
        http::Settings {
            per_second: self.terminals.requests_per_second,
            at_once: self.terminals.requests_at_once,
            caps: Caps {
                uses: self.terminals.offline_uses_per_card_and_day,
                cents: self.terminals.offline_cents_per_card_and_day,
            },
        }
    }
}

impl Calls {
    /// How calls are given.
    ///
    /// # Errors
    /// Where the address of a meeting has no place for its room.
    pub fn desk(&self) -> Result<desk::Settings, Failure> {
        if !self.meeting.starts_with("https://") || !self.meeting.contains("{room}") {
            let text = "calls.meeting: it has to begin with https:// and hold {room}";
            return Err(Failure::Usage(text.into()));
        }
        let offer = TimeDelta::seconds(self.offer_seconds.max(1).into());
        Ok(desk::Settings {
            rules: Rules { offer, ..Rules::default() },
            meeting: self.meeting.clone(),
            listeners: self.listeners as usize,
        })
    }
}

impl Pipelines {
    /// How pipelines read and land.
    #[must_use]
    pub fn runner(&self) -> runner::Settings {
        runner::Settings {
            commit_interval: Duration::from_secs(self.commit_seconds.into()),
            commit_records: u64::from(self.commit_records).max(1),
            state_bytes: (self.state_mib as usize) << 20,
            ..runner::Settings::default()
        }
    }
}

impl OpenData {
    /// Who publishes.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher {
            base: self.base.trim_end_matches('/').to_owned(),
            files: self.files.trim_end_matches('/').to_owned(),
            name: [self.publisher_lv.clone(), self.publisher_en.clone()],
            homepage: self.homepage.clone(),
            contact: self.contact.clone(),
            licence: self.licence.clone(),
        }
    }
}

impl Sql {
    /// The bounds of a statement.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: Duration::from_secs(self.timeout_seconds.into()),
            memory_bytes: (self.memory_mib as usize) << 20,
            spill_bytes: u64::from(self.spill_mib) << 20,
            rows: self.most_rows,
            connections: self.connections as usize,
        }
    }

    /// The files of the certificate and its key, where statements are encrypted.
    ///
    /// # Errors
    /// Where one of the two is missing.
    pub fn tls(&self) -> Result<Option<(&Path, &Path)>, Failure> {
        match (self.tls_certificate.as_str(), self.tls_key.as_str()) {
            ("", "") => Ok(None),
            ("", _) | (_, "") => {
                let text = "sql.tls_…: both a certificate and its key are given, or none";
                Err(Failure::Usage(text.into()))
            }
            (certificate, key) => Ok(Some((Path::new(certificate), Path::new(key)))),
        }
    }
}

impl Fluvio {
    /// The controller, as host:port.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the topics' names begin with.
    #[must_use]
    pub fn topic_prefix(&self) -> &str {
        &self.topic_prefix
    }

    fn tls(&self) -> Result<Option<fluvio::Tls>, Failure> {
        let all = [&self.tls_domain, &self.tls_authority, &self.tls_certificate, &self.tls_key];
        if all.iter().all(|given| given.is_empty()) {
            return Ok(None);
        }
        if all.iter().any(|given| given.is_empty()) {
            let text = "fluvio.tls_…: all four are given, or none";
            return Err(Failure::Usage(text.into()));
        }
        Ok(Some(fluvio::Tls {
            domain: self.tls_domain.clone(),
            authority: self.tls_authority.clone().into(),
            certificate: self.tls_certificate.clone().into(),
            key: self.tls_key.clone().into(),
        }))
    }
}

/// A value at a path of the environment: `authoriser__hold_minutes`. Text that is no TOML value is
/// text.
fn nested(path: &str, value: &str) -> Table {
    let parsed: Option<Table> = format!("value = {value}").parse().ok();
    let value = parsed
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut inner = value;
    for key in path.split("__").collect::<Vec<_>>().into_iter().rev() {
        inner = Value::Table(Table::from_iter([(key.to_owned(), inner)]));
    }
    match inner {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

/// Puts a table over another; a key that the other does not have is refused by its path.
fn merge(table: &mut Table, over: Table, path: &mut Vec<String>) -> Result<(), String> {
    for (key, value) in over {
        path.push(key.clone());
        match (table.get_mut(&key), value) {
            (None, _) => return Err(format!("unknown key {}", path.join("."))),
            (Some(Value::Table(known)), Value::Table(over)) => merge(known, over, path)?,
            (Some(known), value) => *known = value,
        }
        path.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<Config, Failure> {
        Config::load(None, [(name.to_owned(), value.to_owned())].into_iter())
    }

    #[test]
    fn the_environment_goes_before_the_defaults() {
        let config = with("AVIS__AUTHORISER__HOLD_MINUTES", "5").expect("settings");
        assert_eq!(config.settings().hold, TimeDelta::minutes(5));
        let config = with("AVIS__AUTHORISER__CACHE", "redis-cluster").expect("settings");
        assert_eq!(config.authoriser.cache, Cache::RedisCluster);
    }

    #[test]
    fn every_stream_says_what_it_keeps() {
        let config = Config::load(None, std::iter::empty()).expect("settings");
        let mut named: Vec<_> = config.log.keep.keys().map(String::as_str).collect();
        let mut streams = Topic::ALL.map(Topic::name);
        named.sort_unstable();
        streams.sort_unstable();
        assert_eq!(named, streams);
        assert!(config.embedded().expect("settings").keep.is_empty(), "all of it");
        let days = with("AVIS__LOG__KEEP__MEANS-CHANGES__REPLACED_DAYS", "400").expect("settings");
        let keep = days.embedded().expect("settings").keep;
        assert_eq!(keep[&Topic::MeansChanges].replaced, Some(TimeDelta::days(400)));
        let short = with("AVIS__LOG__KEEP__MEANS-CHANGES__REPLACED_DAYS", "40").expect("settings");
        let told = short.embedded().expect_err("too short").to_string();
        assert!(told.starts_with("log.keep.means-changes.replaced_days"), "{told}");
    }

    #[test]
    fn a_cluster_keeps_two_of_each_record_at_least() {
        let told = |name, value| {
            with(name, value).expect("settings").fluvio().expect_err("a fault").to_string()
        };
        assert!(told("AVIS__FLUVIO__REPLICATION", "1").starts_with("fluvio.replication"));
        assert!(told("AVIS__FLUVIO__TLS_DOMAIN", "avis.lv").starts_with("fluvio.tls"));
    }

    #[test]
    fn what_is_unknown_or_wrong_is_named() {
        let told = |name, value| with(name, value).expect_err("a fault").to_string();
        assert!(told("AVIS__AUTHORISER__HOLD", "5").contains("unknown key authoriser.hold"));
        assert!(told("AVIS__AUTHORISER__HOLD_MINUTES", "soon").contains("hold_minutes"));
    }
}
