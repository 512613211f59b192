//! Arrows between packages: one way, and no others than the design draws.

use std::collections::{BTreeMap, BTreeSet};

use crate::{files, root, text};

/// Who may depend on whom. `authoriser` reaches neither DataFusion nor Delta.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("ingest", &["domain"]),
    ("warehouse", &["domain"]),
    ("authoriser", &["domain", "ingest"]),
    ("connectors", &["authoriser", "domain", "ingest"]),
    ("pipelines", &["domain", "ingest", "warehouse"]),
    ("avis", &["authoriser", "connectors", "domain", "ingest", "pipelines", "warehouse"]),
    ("benchmarks", &["authoriser", "connectors", "domain", "ingest", "pipelines", "warehouse"]),
    ("peers", &["authoriser", "domain"]),
    ("fuzz", &["authoriser", "connectors", "domain", "ingest", "pipelines", "warehouse"]),
    ("simulation", &["authoriser", "domain", "ingest", "pipelines", "warehouse"]),
    ("tidy", &[]),
];

/// Packages that must build and be reasoned about without the query engine and the table format.
const WITHOUT_QUERY_ENGINE: &[&str] = &["domain", "ingest", "authoriser", "connectors"];

type Manifest = toml::Table;

fn manifests() -> BTreeMap<String, Manifest> {
    let members = files("Cargo.toml").into_iter().filter(|path| path.parent() != Some(&root()));
    let parsed = members.map(|path| {
        let manifest: Manifest = text(&path).parse().expect("a manifest");
        let name = manifest["package"]["name"].as_str().expect("a name").to_owned();
        (name, manifest)
    });
    parsed.collect()
}

fn dependencies(manifest: &Manifest, table: &str) -> BTreeMap<String, toml::Value> {
    let found = manifest.get(table).and_then(toml::Value::as_table).cloned().unwrap_or_default();
    found.into_iter().collect()
}

#[test]
fn packages_depend_as_the_design_draws() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    let manifests = manifests();
    assert_eq!(
        manifests.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        allowed.keys().copied().collect(),
        "a package has no line in ARROWS, or a line has no package"
    );
    for (name, manifest) in &manifests {
        for dependency in dependencies(manifest, "dependencies").keys() {
            let ours = allowed.contains_key(dependency.as_str());
            let drawn = allowed[name.as_str()].contains(dependency.as_str());
            assert!(!ours || drawn, "{name} → {dependency} is not an arrow of the design");
        }
    }
}

#[test]
fn the_authoriser_stands_without_the_query_engine() {
    let manifests = manifests();
    for name in WITHOUT_QUERY_ENGINE {
        for dependency in dependencies(&manifests[*name], "dependencies").keys() {
            let heavy = ["datafusion", "deltalake", "arrow", "parquet"];
            assert!(!heavy.contains(&dependency.as_str()), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn versions_and_features_stand_in_the_root_alone() {
    for (name, manifest) in manifests() {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (dependency, value) in dependencies(&manifest, table) {
                let plain = value.as_table().is_some_and(|table| {
                    table.len() == 1 && table.get("workspace") == Some(&toml::Value::Boolean(true))
                });
                assert!(plain, "{name}: {dependency} says more than `workspace = true`");
            }
        }
        let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(inherits, Some(&toml::Value::Boolean(true)), "{name} has lints of its own");
    }
}

#[test]
fn the_libraries_of_the_warehouse_move_together() {
    let lock: Manifest = text(&root().join("Cargo.lock")).parse().expect("a lock file");
    let packages = lock["package"].as_array().expect("packages");
    for library in ["arrow", "parquet", "datafusion", "deltalake"] {
        let versions = packages.iter().filter(|package| package["name"].as_str() == Some(library));
        assert_eq!(versions.count(), 1, "{library} is locked in more than one version");
    }
}
