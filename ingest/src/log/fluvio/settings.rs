//! How a node reaches its Fluvio cluster, and what it asks of it.

use std::{path::PathBuf, time::Duration};

use fluvio::config::{FluvioClusterConfig, TlsConfig, TlsPaths, TlsPolicy};

use crate::{error::ClusterError, log::embedded, topic::Topic};

/// Where the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// Its controller, as `host:port`.
    Endpoint(String),
    /// A profile of Fluvio's own configuration file, which also says what TLS it takes.
    Profile(String),
    /// The profile that is current in that file.
    Current,
}

/// Encrypted connections, on which both sides show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The name in the controller's certificate; a data node's has to be valid for its own name
    /// before this one, as `custom-spu-5001.fluvio.example`.
    pub domain: String,
    /// The certificate of the authority that the cluster's is signed by, in PEM.
    pub authority: PathBuf,
    /// Our certificate, in PEM.
    pub certificate: PathBuf,
    /// Our private key, in PEM.
    pub key: PathBuf,
}

/// What a node wants of its cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the cluster is.
    pub cluster: Cluster,
    /// Encryption where an endpoint is given; a profile brings its own.
    pub tls: Option<Tls>,
    /// What the names of our topics begin with, where several installations share a cluster.
    pub prefix: String,
    /// Data nodes that keep each record. A record is acknowledged when all of them have it.
    pub replication: u32,
    /// How long Fluvio keeps records. The streams are the truth, so this is not a cache's lifetime.
    pub retention: Duration,
    /// How long opening may take until the cluster answers and the topics are there.
    pub open_timeout: Duration,
    /// How long one request may take before the connection is given up.
    pub request_timeout: Duration,
    /// How long an append waits until it came back; without it as long as that takes, which is for whoever
    /// has a deadline of their own.
    pub append_timeout: Option<Duration>,
    /// After so long without a record it is asked whether there are any.
    pub silence: Duration,
    /// The longest pause between two attempts to reach the cluster.
    pub longest_pause: Duration,
    /// How long the outbox keeps what was published and read back: Fluvio does not sync, so what
    /// is younger may be lost with the power of all data nodes.
    pub outbox_kept: Duration,
    /// Bytes that one fetch may bring. The client loses the batch in which a fetch ends, so large
    /// fetches are read again less often.
    pub fetch_bytes: i32,
    /// Whether offsets that were skipped, and records that are missing in an outbox's sequence, are
    /// noticed. Off only in the test that shows what happens then.
    pub check_holes: bool,
    /// What stays free of this node's disk, and what its copy of the streams lets go of in time.
    pub local: embedded::Settings,
}

impl Settings {
    /// The settings for a controller at `host:port`, everything else as it should be.
    #[must_use]
    pub fn of(endpoint: &str) -> Self {
        Self::at(Cluster::Endpoint(endpoint.to_owned()))
    }

    /// The settings for a cluster, everything else as it should be.
    #[must_use]
    pub fn at(cluster: Cluster) -> Self {
        Self {
            cluster,
            tls: None,
            prefix: String::new(),
            replication: 2,
            retention: Duration::from_secs(10 * 365 * 24 * 60 * 60),
            open_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
            append_timeout: None,
            silence: Duration::from_secs(5),
            longest_pause: Duration::from_secs(10),
            outbox_kept: Duration::from_secs(600),
            fetch_bytes: 32 << 20,
            check_holes: true,
            local: embedded::Settings::default(),
        }
    }

    /// The cluster by name, for messages.
    pub(super) fn name(&self) -> String {
        match &self.cluster {
            Cluster::Endpoint(endpoint) => endpoint.clone(),
            Cluster::Profile(profile) => format!("profile {profile}"),
            Cluster::Current => "the current profile".to_owned(),
        }
    }

    /// The topic of a stream.
    pub(super) fn topic(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    /// The settings as the client takes them.
    pub(super) fn client(&self) -> Result<FluvioClusterConfig, ClusterError> {
        match &self.cluster {
            Cluster::Endpoint(endpoint) => {
                let client = FluvioClusterConfig::new(endpoint.clone());
                Ok(match &self.tls {
                    None => client,
                    Some(tls) => client.with_tls(policy(tls)),
                })
            }
            Cluster::Profile(profile) => {
                let unknown = |reason| ClusterError::Profile { profile: profile.clone(), reason };
                FluvioClusterConfig::load_with_profile(profile)
                    .map_err(|error| unknown(error.to_string()))?
                    .ok_or_else(|| unknown("there is none of this name".to_owned()))
            }
            Cluster::Current => {
                FluvioClusterConfig::load().map_err(|error| ClusterError::Profile {
                    profile: "that is current".to_owned(),
                    reason: error.to_string(),
                })
            }
        }
    }
}

fn policy(tls: &Tls) -> TlsPolicy {
    TlsPolicy::Verified(TlsConfig::Files(TlsPaths {
        domain: tls.domain.clone(),
        key: tls.key.clone(),
        cert: tls.certificate.clone(),
        ca_cert: tls.authority.clone(),
    }))
}
