//! Recorded transactions under other rules.

use std::path::Path;

use serde_json::Value;

use crate::{avis, data, packaged, succeeded};

fn simulate(folder: &Path, registry: &Path) -> Value {
    let days = ["--from", "2024-12-01", "--to", "2025-12-31", "--format", "json"];
    let mut command = avis();
    command.arg("simulate").args(days).arg("--registry").arg(registry);
    let text = succeeded(&command.arg("--data").arg(folder).output().expect("run"));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_rules_of_then_give_what_happened_and_others_something_else() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("demo");
    // A grantor whose name a spreadsheet would work out.
    let named = packaged("registry.yaml.gz").join("\n").replace("City of Riga", "=City of Riga");
    let registry = place.path().join("named.yaml");
    std::fs::write(&registry, named).expect("written");
    let mut demo = avis();
    demo.args(["demo", "--json", "--registry"]).arg(&registry).arg("--out").arg(&folder);
    succeeded(&demo.output().expect("run"));
    a_report_has_no_formula(&folder);
    let same = simulate(&folder, &data("registry.yaml.gz"));
    assert!(same["records"].as_u64() > Some(1_000), "{same}");
    assert_eq!(same["differing"], 0, "{same}");
    let given = &same["instructions"]["family-basics"];
    assert_eq!(given["then"], given["now"]);
    assert!(given["then"]["cents"].as_i64() > Some(0), "{given}");
    let people = &given["then"]["recipients"];
    assert!(people.as_i64() >= Some(5) && people.as_i64() <= given["then"]["uses"].as_i64());
    let all = same["recipients"]["then"].as_i64().expect("a count");
    for names in ["instructions", "territories", "age_bands"] {
        for (name, sides) in same[names].as_object().expect("names") {
            let [then, now] = ["then", "now"].map(|side| &sides[side]["recipients"]);
            assert_eq!(then, now, "{names} {name}");
            // Few are not told of; whom something was given to is one of all.
            let is_told = |count: i64| count == 0 || (5..=all).contains(&count);
            assert!(then.is_null() || then.as_i64().is_some_and(is_told), "{names} {name}: {then}");
        }
    }
    // Nobody is of two age bands.
    let bands = same["age_bands"].as_object().expect("bands").values();
    let in_bands: i64 = bands.filter_map(|sides| sides["then"]["recipients"].as_i64()).sum();
    assert!((5..=all).contains(&in_bands), "{in_bands} of {all}");

    // Twice the discount, and nothing else: more of it is given, as far as its limit goes.
    let text = packaged("registry.yaml.gz").join("\n");
    let line = text.lines().find(|line| line.contains("\"family-basics\", benefit")).expect("it");
    let twice = line.replace("percent_off_bp: 1000", "percent_off_bp: 2000");
    let other = place.path().join("other.yaml");
    std::fs::write(&other, text.replace(line, &twice)).expect("written");
    let told = simulate(&folder, &other);
    let (then, now) = (
        &told["instructions"]["family-basics"]["then"]["cents"],
        &told["instructions"]["family-basics"]["now"]["cents"],
    );
    assert_eq!(*then, given["then"]["cents"]);
    assert!(now.as_i64() > then.as_i64(), "{told}");
    // What happened is the same people's, whatever is tried.
    assert_eq!(told["instructions"]["family-basics"]["then"]["recipients"], *people);
    assert!(told["instructions"]["family-basics"]["now"]["recipients"].as_i64() >= Some(5));
    assert!(told["differing"].as_i64() > Some(0));
    assert!(!told["most_changed"].as_array().expect("a list").is_empty());
}

fn a_report_has_no_formula(folder: &Path) {
    let days = ["--from", "2025-01-01", "--to", "2025-01-31", "--format", "csv", "--data"];
    let mut report = avis();
    report.args(["report", "use-per-grantor"]).args(days).arg(folder);
    let printed = succeeded(&report.output().expect("run"));
    let beside = std::fs::read_to_string(folder.join("reports/use-per-grantor.csv"));
    for text in [printed, beside.expect("a report")] {
        assert!(text.contains(",'=City of Riga,"), "{text}");
    }
}
