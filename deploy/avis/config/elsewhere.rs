//! What may be elsewhere than in the node's folder and process: the tables, the shared cache, and
//! the other roles.

use std::path::{Path, PathBuf};

use authoriser::cache::redis::RedisSettings;
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use url::Url;
use warehouse::{session::folder, store};

use super::{Cache, Config};
use crate::failure::Failure;

/// Where the tables are.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    /// An address; in the node's folder where it is empty.
    pub location: String,
    endpoint: String,
    region: String,
    access_key: String,
    secret_key: String,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("location", &self.location).finish_non_exhaustive()
    }
}

/// The shared cache.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    urls: Vec<String>,
    authority: PathBuf,
    replicas: u32,
    allow_volatile: bool,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("replicas", &self.replicas).finish_non_exhaustive()
    }
}

impl Redis {
    /// Whether the addresses go together, and the authority with them.
    ///
    /// # Errors
    /// With what does not.
    pub fn check(&self) -> Result<(), Failure> {
        let all = |scheme: &str| self.urls.iter().all(|url| url.starts_with(scheme));
        let is_encrypted = all("rediss://");
        if self.urls.is_empty() || !(is_encrypted || all("redis://")) {
            let text = "addresses, all of redis://, or all of rediss://";
            return Err(Failure::setting("redis.urls", text));
        }
        if !is_encrypted && !self.authority.as_os_str().is_empty() {
            let text = "nothing is encrypted: redis.urls begins with redis://";
            return Err(Failure::setting("redis.authority", text));
        }
        Ok(())
    }

    /// Who has signed the nodes' certificates, where one is named.
    fn authority(&self) -> Result<Option<Vec<u8>>, Failure> {
        if self.authority.as_os_str().is_empty() {
            return Ok(None);
        }
        let wrong = |error: &dyn std::fmt::Display| Failure::setting("redis.authority", error);
        let pem = std::fs::read(&self.authority).map_err(|error| wrong(&error))?;
        let first = CertificateDer::pem_slice_iter(&pem).next();
        first.ok_or_else(|| wrong(&"no certificate is in it"))?.map_err(|error| wrong(&error))?;
        Ok(Some(pem))
    }
}

/// Where the other roles are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// The folder of `connectors`, which has the keys.
    pub connectors: String,
    /// The HTTP address of `authoriser`.
    pub authoriser: String,
    /// The HTTP address of `warehouse`.
    pub warehouse: String,
    /// The Flight address of `pipelines`.
    pub pipelines: String,
    /// Whose certificates are trusted, beside those that everybody trusts.
    pub authority: PathBuf,
}

impl Config {
    /// Which Redis, and what is asked of it.
    ///
    /// # Errors
    /// Where the authority's certificate cannot be read.
    pub fn redis(&self) -> Result<RedisSettings, Failure> {
        Ok(RedisSettings {
            urls: self.redis.urls.clone(),
            authority: self.redis.authority()?,
            cluster: self.authoriser.cache == Cache::RedisCluster,
            replicas: self.redis.replicas,
            allow_volatile: self.redis.allow_volatile,
            ..RedisSettings::default()
        })
    }

    /// The address of the tables of a node over a folder; storage that is reached over the network is
    /// ready to be used by then.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn warehouse(&self, node: &Path) -> Result<Url, Failure> {
        match self.tables.location.as_str() {
            "" => Ok(folder(&node.join("warehouse"))?),
            location => self.place("tables.location", location),
        }
    }

    /// Where checkpoints of the audit trail are put outside, if they are.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn checkpoints(&self) -> Result<Option<Url>, Failure> {
        match self.audit.checkpoints.as_str() {
            "" => Ok(None),
            place => self.place("audit.checkpoints", place).map(Some),
        }
    }

    /// The address of a folder, or of storage that is reached over the network, as it is said
    /// somewhere; it is ready to be used by then.
    ///
    /// # Errors
    /// Where it is none.
    pub fn place(&self, said: &str, place: &str) -> Result<Url, Failure> {
        if Path::new(place).is_absolute() {
            return Ok(folder(Path::new(place))?);
        }
        let wrong = || Failure::setting(said, "an absolute path, or s3://bucket/prefix");
        let location = Url::parse(place).map_err(|_| wrong())?;
        if location.scheme() != "s3" || location.host_str().is_none() {
            return Err(wrong());
        }
        let tables = &self.tables;
        store::register(store::S3 {
            endpoint: tables.endpoint.clone(),
            region: tables.region.clone(),
            access_key: tables.access_key.clone(),
            secret_key: tables.secret_key.clone(),
        })?;
        Ok(location)
    }
}
