//! Settings: the defaults compiled in, a file over them, the environment over both.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use authoriser::{authorise, service::Bounds};
use chrono::TimeDelta;
use connectors::{
    access::oidc::{self, Issuer},
    edge,
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
use toml::Table;
use warehouse::{endpoint::Limits, open_data::Publisher};

use crate::{failure::Failure, lineage, traces};

mod elsewhere;
mod layers;
mod reference;

pub use elsewhere::{Redis, Roles, Tables};
pub use reference::markdown;

/// Every default.
pub const DEFAULT: &str = include_str!("config/default.toml");

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where HTTP listens, and how long it lets wait.
    pub http: Http,
    /// Where gRPC listens.
    pub grpc: Listening,
    /// Encryption of all doors.
    pub tls: Tls,
    /// The streams.
    pub log: Log,
    /// The cluster that has them, where one does.
    pub fluvio: Fluvio,
    /// Decisions.
    pub authoriser: Authoriser,
    /// The shared cache.
    pub redis: Redis,
    /// Where the tables are.
    pub tables: Tables,
    /// The other roles, where they are apart.
    pub roles: Roles,
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
    /// Backups.
    pub backup: Backup,
    /// The audit trail.
    audit: Audit,
    /// To whom lineage is told.
    pub lineage: lineage::Settings,
    /// To whom traces are told.
    pub traces: traces::Settings,
}

/// Where a running node puts what `avis backup --server` asks it to copy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The folder of copies of its keys; none where it is empty.
    keys: PathBuf,
}

impl Backup {
    /// The folder, where there is one.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        (!self.keys.as_os_str().is_empty()).then(|| self.keys.clone())
    }
}

/// The audit trail.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Audit {
    /// Where its checkpoints are put outside; nowhere where it is empty.
    checkpoints: String,
}

/// An address.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// Host and port.
    pub address: SocketAddr,
}

/// HTTP.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Host and port.
    pub address: SocketAddr,
    changing_seconds: u32,
    reading_seconds: u32,
}

impl Http {
    /// How long a request waits.
    #[must_use]
    pub fn deadline(&self) -> edge::Deadline {
        edge::Deadline {
            changing: Duration::from_secs(self.changing_seconds.into()),
            reading: Duration::from_secs(self.reading_seconds.into()),
        }
    }
}

/// Encryption of all doors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    certificate: String,
    key: String,
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
    all_memory_mib: u32,
    spill_mib: u32,
    most_rows: u64,
    connections: u32,
    /// Threads that answer statements and make reports; 0 is half of the cores.
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
    person_claim: String,
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
    decided_at_once: u32,
    offline_uses_per_card_and_day: u32,
    offline_cents_per_card_and_day: u32,
}

/// Calls from service centres to remote officials.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// Whether this node has the desk.
    pub desk: bool,
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
            layers::merge(&mut table, over, &mut Vec::new())
                .map_err(|reason| fault(&origin, reason))?;
        }
        layers::environment(&mut table, environment)
            .map_err(|(name, reason)| fault(&name, reason))?;
        table.try_into().map_err(|error: toml::de::Error| fault("configuration", error.to_string()))
    }

    /// Whether what is said goes together.
    ///
    /// # Errors
    /// With what does not.
    pub fn check(&self) -> Result<(), Failure> {
        self.embedded()?;
        self.fluvio()?;
        self.redis.check()?;
        self.calls.settings()?;
        self.tls.files()?;
        self.sql.tls()?;
        self.checkpoints()?;
        Ok(())
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
    /// Where one replica is asked for, encryption is given by half, or as [`embedded`](Self::embedded).
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
            local: self.embedded()?,
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

    /// What others call the place where the streams are, if that is a cluster.
    #[must_use]
    pub fn cluster(&self) -> Option<String> {
        let is_cluster = self.log.engine == LogEngine::Fluvio;
        is_cluster.then(|| format!("fluvio://{}", self.fluvio.endpoint))
    }

    /// The outside issuer of tokens, where there is one.
    #[must_use]
    pub fn issuer(&self) -> Option<Arc<Issuer>> {
        let of = self.oidc.clone();
        let settings = oidc::Settings {
            issuer: of.issuer,
            audience: of.audience,
            keys: of.keys,
            role_claim: of.role_claim,
            organisation_claim: of.organisation_claim,
            person_claim: of.person_claim,
        };
        (!settings.issuer.is_empty()).then(|| Issuer::new(settings))
    }

    /// What the doors for terminals are told.
    #[must_use]
    pub const fn doors(&self) -> http::Settings {
        http::Settings {
            per_second: self.terminals.requests_per_second,
            at_once: self.terminals.requests_at_once,
            decided_at_once: self.terminals.decided_at_once as usize,
            caps: Caps {
                uses: self.terminals.offline_uses_per_card_and_day,
                cents: self.terminals.offline_cents_per_card_and_day,
            },
            patience: http::PATIENCE,
        }
    }
}

impl Calls {
    /// How calls are given.
    ///
    /// # Errors
    /// Where the address of a meeting has no place for its room.
    pub fn settings(&self) -> Result<desk::Settings, Failure> {
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
            all_memory_bytes: (self.all_memory_mib as usize) << 20,
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
        pair("sql.tls_certificate, sql.tls_key", &self.tls_certificate, &self.tls_key)
    }
}

impl Tls {
    /// The files of the certificate and its key, where the doors are encrypted.
    ///
    /// # Errors
    /// Where one of the two is missing.
    pub fn files(&self) -> Result<Option<(&Path, &Path)>, Failure> {
        pair("tls.certificate, tls.key", &self.certificate, &self.key)
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

/// A certificate's file and its key's.
fn pair<'a>(
    named: &str,
    certificate: &'a str,
    key: &'a str,
) -> Result<Option<(&'a Path, &'a Path)>, Failure> {
    match (certificate, key) {
        ("", "") => Ok(None),
        ("", _) | (_, "") => {
            let text = format!("{named}: both a certificate and its key are given, or none");
            Err(Failure::Usage(text))
        }
        (certificate, key) => Ok(Some((Path::new(certificate), Path::new(key)))),
    }
}

#[cfg(test)]
mod tests;
