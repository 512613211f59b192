//! Redis behind certificates of an authority made here: it is taken by them, and by nobody else's.

use std::{path::PathBuf, process::Command, sync::Arc};

use authoriser::{
    cache::{
        CacheError,
        redis::{RedisSettings, RedisShared},
    },
    fence::Fence,
    metrics::Metrics,
};
use tempfile::TempDir;

use super::{
    Shop, kept, of_cluster,
    server::{Cluster, Server, Setup},
    settings,
    stream::Stream,
};
use crate::cache::holds;

/// A folder with an authority and the certificate that it signed, for loopback.
#[derive(Debug)]
pub struct Authority(TempDir);

impl Authority {
    fn new() -> Arc<Self> {
        let authority = Self(tempfile::tempdir().expect("a folder"));
        let names = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
        std::fs::write(authority.path("names"), names).expect("written");
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        authority.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=redis \
             -keyout redis.key -out redis.csr",
        );
        authority.openssl(
            "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out redis.pem",
        );
        Arc::new(authority)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let ran = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> Vec<u8> {
        std::fs::read(self.path("ca.pem")).expect("a certificate")
    }

    /// How a node is told of its certificate.
    pub fn settings(&self) -> Vec<String> {
        let files = [
            ("--tls-cert-file", "redis.pem"),
            ("--tls-key-file", "redis.key"),
            ("--tls-ca-cert-file", "ca.pem"),
        ];
        let word = |(setting, name): (&str, &str)| {
            [setting.to_owned(), self.path(name).display().to_string()]
        };
        files.into_iter().flat_map(word).collect()
    }
}

fn encrypted() -> Setup {
    Setup { tls: Some(Authority::new()), ..kept() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_redis_holds() {
    let server = Server::start(encrypted());
    assert!(settings(&server).urls[0].starts_with("rediss://"));
    holds(&Shop::open(settings(&server)).await).await;
}

/// Every node is found by what another says of it, so each is asked encrypted at the right port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_cluster_holds() {
    let cluster = Cluster::of(encrypted());
    holds(&Shop::open(of_cluster(&cluster)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_others_signed_is_not_taken() {
    let server = Server::start(encrypted());
    for authority in [Some(Authority::new().pem()), None] {
        let settings = RedisSettings { authority, ..settings(&server) };
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("registered");
        let truth: Arc<Stream> = Arc::default();
        let opened = RedisShared::open(settings, Fence::new(1), truth, metrics).await;
        let refused = opened.expect_err("signed by somebody else");
        assert!(matches!(&refused, CacheError::Away { .. }), "{refused}");
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
}
