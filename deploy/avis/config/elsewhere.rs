//! What may be elsewhere than in the node's folder and process: the tables, and the other roles.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;
use warehouse::{session::folder, store};

use super::Config;
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
    /// The address of the tables of a node over a folder; storage that is reached over the network is
    /// ready to be used by then.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn warehouse(&self, node: &Path) -> Result<Url, Failure> {
        let tables = &self.tables;
        if tables.location.is_empty() {
            return Ok(folder(&node.join("warehouse"))?);
        }
        if Path::new(&tables.location).is_absolute() {
            return Ok(folder(Path::new(&tables.location))?);
        }
        let wrong = || {
            let text = "an absolute path, or s3://bucket/prefix";
            Failure::setting("tables.location", text)
        };
        let location = Url::parse(&tables.location).map_err(|_| wrong())?;
        if location.scheme() != "s3" || location.host_str().is_none() {
            return Err(wrong());
        }
        store::register(store::S3 {
            endpoint: tables.endpoint.clone(),
            region: tables.region.clone(),
            access_key: tables.access_key.clone(),
            secret_key: tables.secret_key.clone(),
        })?;
        Ok(location)
    }
}
