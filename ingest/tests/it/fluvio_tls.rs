//! Encrypted connections to a real cluster, and the profiles of Fluvio's own configuration.
//!
//! They run where `AVIS_TEST_FLUVIO_TLS` says `host:port`, the name in the cluster's certificate, and
//! the files of authority, certificate and key in PEM, with commas between.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use ingest::{
    error::LogError,
    log::fluvio::{Cluster, Settings, Tls},
};

use crate::{
    fluvio::{append, check, cluster, open, settings},
    tell,
};

const TLS: &str = "AVIS_TEST_FLUVIO_TLS";
/// The child's part of the test of profiles: profile and prefix.
const CHILD: &str = "AVIS_TEST_FLUVIO_PROFILE";
const KEY: &str = "producer-0";

/// The cluster, or a loud word that there is none.
fn encrypted() -> Option<(String, Tls)> {
    let Ok(said) = std::env::var(TLS) else {
        tell(&format!("SKIPPED: {TLS} names no Fluvio cluster with TLS"));
        return None;
    };
    let parts: Vec<_> = said.split(',').collect();
    let [endpoint, domain, authority, certificate, key] = parts[..] else {
        panic!("{TLS} is endpoint,domain,authority,certificate,key");
    };
    let tls = Tls {
        domain: domain.into(),
        authority: authority.into(),
        certificate: certificate.into(),
        key: key.into(),
    };
    Some((endpoint.into(), tls))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_connection_brings_records_there_and_back() {
    let Some((endpoint, tls)) = encrypted() else { return };
    let settings = Settings { tls: Some(tls), ..settings(&endpoint, "tls") };
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path(), &settings).expect("a log");
    append(&log, KEY, 0, 1_000).await;
    let other = tempfile::tempdir().expect("a folder");
    let (other, _) = open(other.path(), &settings).expect("a log");
    check(&other, 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_trusted_is_refused_in_time() {
    let Some((endpoint, tls)) = encrypted() else { return };
    // Our own certificate has signed nobody's.
    let stranger = Tls { authority: tls.certificate.clone(), ..tls.clone() };
    let renamed = Tls { domain: "elsewhere.example".into(), ..tls.clone() };
    let missing = Tls { authority: PathBuf::from("no-such-file.pem"), ..tls.clone() };
    for (what, tls) in [
        ("another authority", Some(stranger)),
        ("another name", Some(renamed)),
        ("no file", Some(missing)),
        ("no encryption", None),
    ] {
        refused(what, &Settings { tls, ..Settings::of(&endpoint) });
    }
    if let Some(plain) = cluster() {
        refused("none there", &Settings { tls: Some(tls), ..Settings::of(&plain) });
    }
}

fn refused(what: &str, settings: &Settings) {
    let settings = Settings {
        open_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(2),
        longest_pause: Duration::from_secs(1),
        ..settings.clone()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let error = open(folder.path(), &settings).map(drop).expect_err(what);
    let took = begun.elapsed();
    println!("{what}, after {took:.1?}: {error}");
    assert!(took < Duration::from_secs(10), "{what}: {took:?}");
    let Cluster::Endpoint(endpoint) = &settings.cluster else { panic!("an endpoint") };
    assert!(matches!(error, LogError::Cluster(_)), "{what}: {error}");
    let word = if settings.tls.is_some() { "with TLS" } else { "without TLS" };
    let text = error.to_string();
    assert!(text.contains(endpoint) && text.contains(word), "{what}: {error}");
}

/// The child's part: nothing, unless this process was started as the child.
#[tokio::test(flavor = "multi_thread")]
async fn opens_by_profile() {
    let Ok(said) = std::env::var(CHILD) else { return };
    let (profile, prefix) = said.split_once(',').expect("profile and prefix");
    let settings = Settings {
        cluster: Cluster::Profile(profile.into()),
        prefix: prefix.into(),
        ..Settings::of("")
    };
    let folder = tempfile::tempdir().expect("a folder");
    match open(folder.path(), &settings) {
        Ok((log, _)) => append(&log, KEY, 0, 10).await,
        Err(error) => panic!("refused: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_fluvios_own_configuration_is_taken() {
    if let Some(plain) = cluster() {
        by_profile(&settings(&plain, "profile"));
    }
    if let Some((endpoint, tls)) = encrypted() {
        by_profile(&Settings { tls: Some(tls), ..settings(&endpoint, "tls-profile") });
    }
}

/// What was appended by a profile stands where the profile says.
fn by_profile(settings: &Settings) {
    let home = tempfile::tempdir().expect("a folder");
    profile(home.path(), settings);
    let child = |profile: &str| {
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "fluvio_tls::opens_by_profile", "--nocapture"])
            .env("HOME", home.path())
            .env(CHILD, format!("{profile},{}", settings.prefix))
            .output()
            .expect("a child")
    };
    let done = child("ours");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path(), settings).expect("a log");
    let ends = (0..log.partitions(crate::fluvio::TOPIC))
        .map(|partition| log.end(crate::fluvio::TOPIC, partition).expect("an end"));
    assert_eq!(ends.sum::<u64>(), 10);
    let unknown = child("unknown");
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && said.contains("unknown"), "{said}");
}

/// Writes a configuration of which another profile is the current one.
fn profile(home: &Path, settings: &Settings) {
    let Cluster::Endpoint(endpoint) = &settings.cluster else { panic!("an endpoint") };
    let encryption = settings.tls.as_ref().map_or_else(
        || "tls_policy = \"disabled\"".to_owned(),
        |tls| {
            format!(
                "tls_policy = \"verified\"\ntls_source = \"files\"\n[cluster.ours.tls.certs]\n\
                 domain = {:?}\nkey = {:?}\ncert = {:?}\nca_cert = {:?}",
                tls.domain, tls.key, tls.certificate, tls.authority,
            )
        },
    );
    let text = format!(
        "version = \"2.0\"\ncurrent_profile = \"other\"\n\
         [profile.other]\ncluster = \"other\"\n[profile.ours]\ncluster = \"ours\"\n\
         [cluster.other]\nendpoint = \"127.0.0.1:1\"\n\
         [cluster.other.tls]\ntls_policy = \"disabled\"\n\
         [cluster.ours]\nendpoint = {endpoint:?}\n[cluster.ours.tls]\n{encryption}\n"
    );
    std::fs::create_dir(home.join(".fluvio")).expect("a folder");
    std::fs::write(home.join(".fluvio/config"), text).expect("written");
}
