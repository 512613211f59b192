//! Settings: what goes before what, and what is refused.

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
    let days = with("AVIS__LOG__KEEP__MEANS_CHANGES__REPLACED_DAYS", "400").expect("settings");
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
fn redis_is_encrypted_by_all_addresses_or_by_none() {
    let config = |urls: &str, authority: &str| {
        let set = [("AVIS__REDIS__URLS", urls), ("AVIS__REDIS__AUTHORITY", authority)];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Config::load(None, set.into_iter()).expect("settings")
    };
    let told = |failed: Result<(), Failure>| failed.expect_err("a fault").to_string();
    let mixed = config(r#"["rediss://a:1", "redis://b:1"]"#, "");
    assert!(told(mixed.check()).starts_with("redis.urls"));
    assert!(told(config("a:1", "").check()).starts_with("redis.urls"));
    assert!(told(config("redis://a:1", "ca.pem").check()).starts_with("redis.authority"));
    let encrypted = config("rediss://a:1", "/nowhere/ca.pem");
    encrypted.check().expect("they go together");
    assert!(told(encrypted.redis().map(drop)).starts_with("redis.authority"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    let empty = config("rediss://a:1", &file.path().display().to_string());
    assert!(told(empty.redis().map(drop)).starts_with("redis.authority: no certificate"));
    assert!(config("rediss://a:1", "").redis().expect("settings").authority.is_none());
}

#[test]
fn what_is_unknown_or_wrong_is_named() {
    let told = |name, value| with(name, value).expect_err("a fault").to_string();
    assert!(told("AVIS__AUTHORISER__HOLD", "5").contains("unknown key authoriser.hold"));
    assert!(told("AVIS__AUTHORISER__HOLD_MINUTES", "soon").contains("hold_minutes"));
    let half = with("AVIS__TLS__KEY", "key.pem").expect("settings");
    assert!(half.check().expect_err("half").to_string().starts_with("tls.certificate"));
}
