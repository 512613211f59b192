//! What is held of somebody, that it is forgotten, and who asked.

use std::path::Path;

use serde_json::Value;

use crate::{avis, packaged, packaged_baskets, sql, succeeded};

fn export(folder: &Path, person: &str) -> Value {
    let command = ["person", "export", person, "--data"];
    let text = succeeded(&avis().args(command).arg(folder).output().expect("run"));
    serde_json::from_str(&text).expect("JSON")
}

fn audit(folder: &Path, arguments: &[&str]) -> std::process::Output {
    avis().arg("audit").args(arguments).arg("--data").arg(folder).output().expect("run")
}

/// Whether any file under a folder has some bytes.
fn stands_somewhere(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return stands_somewhere(&path, bytes);
        }
        let content = std::fs::read(&path).expect("a file");
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn a_person_is_told_what_is_held_and_then_forgotten() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("demo");
    let baskets = place.path().join("some.ndjson");
    let some: Vec<_> = packaged_baskets().into_iter().take(2_000).collect();
    std::fs::write(&baskets, some.join("\n")).expect("written");
    let mut demo = avis();
    demo.args(["demo", "--json", "--baskets"]).arg(&baskets).arg("--out").arg(&folder);
    succeeded(&demo.output().expect("run"));

    let codes = packaged("persons.ndjson.gz").into_iter().filter_map(|line| {
        let change: Value = serde_json::from_str(&line).expect("JSON");
        Some(change["data"]["person"].as_str()?.to_owned())
    });
    let has_bought = |code: &String| {
        let held = export(&folder, code);
        held["transactions"].as_array().is_some_and(|all| !all.is_empty())
    };
    let person = codes.take(50).find(has_bought).expect("one of fifty has bought something");
    let held = export(&folder, &person);
    assert!(
        held["attributes"].is_object() && !held["means"].as_array().expect("a list").is_empty()
    );
    assert!(!stands_somewhere(&folder, person.as_bytes()), "a personal code in the clear");

    everybody_gets_another_pseudonym(&folder, &person, &held);
    let sums = "SELECT recipient, COUNT(*), SUM(amount) FROM benefit_lines \
                GROUP BY recipient ORDER BY recipient";
    let blocked = || -> usize {
        let blocked = "SELECT COUNT(*) FROM means_current WHERE blocked";
        sql(&folder, blocked)[0].parse().expect("a number")
    };
    let (before, blocked_before) = (sql(&folder, sums), blocked());
    let unsure = ["person", "erase", &person, "--data"];
    let unsure = avis().args(unsure).arg(&folder).output().expect("run");
    assert_eq!(unsure.status.code(), Some(2), "without --yes");
    let erase = ["person", "erase", &person, "--yes", "--data"];
    let told = succeeded(&avis().args(erase).arg(&folder).output().expect("run"));
    assert!(told.starts_with("erased"), "{told}");
    // Whoever has the code finds nothing any more, the operator included.
    let unknown = [&erase[..], &["person", "export", &person, "--data"]];
    for command in unknown {
        let output = avis().args(command).arg(&folder).output().expect("run");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty());
    }
    let means = held["means"].as_array().expect("a list");
    let usable = means.iter().filter(|of| of["blocked"] == false).count();
    assert!(usable > 0, "{held}");
    assert_eq!(blocked(), blocked_before + usable);
    assert_eq!(sql(&folder, sums), before, "what is recorded stays, to the cent");

    the_trail_tells_and_cannot_be_rewritten(place.path(), &folder);
}

/// Nothing is counted twice, what happened keeps its figures, and the person still gets everything; also
/// where a rotation was cut off.
fn everybody_gets_another_pseudonym(folder: &Path, person: &str, held: &Value) {
    let report = || {
        let days = ["--from", "2024-12-01", "--to", "2025-12-31", "--format", "csv", "--data"];
        let mut command = avis();
        command.args(["report", "use-per-age-band"]).args(days);
        vec![succeeded(&command.arg(folder).output().expect("run"))]
    };
    let known = "SELECT COUNT(*), COUNT(DISTINCT municipality) FROM persons_current";
    let means = "SELECT COUNT(*), COUNT(DISTINCT recipient) FROM means_current";
    let now = || [sql(folder, known), sql(folder, means), report()];
    let before = now();
    let rotate = || {
        let rotate = ["person", "rotate", "--yes", "--data"];
        let told = succeeded(&avis().args(rotate).arg(folder).output().expect("run"));
        assert!(told.contains("another pseudonym"), "{told}");
        export(folder, person)
    };
    for cut_off in [false, true] {
        let rotations = folder.join("rotations.ndjson");
        if cut_off {
            let begun = std::fs::read_to_string(&rotations).expect("rotations");
            let line = begun.lines().next().expect("a line");
            std::fs::write(&rotations, format!("{begun}{line}\n")).expect("written");
        }
        let told = rotate();
        assert_eq!(told["transactions"], held["transactions"]);
        assert_eq!(told["means"], held["means"]);
        assert_eq!(now(), before, "cut off: {cut_off}");
        let lines = std::fs::read_to_string(&rotations).expect("rotations").lines().count();
        assert_eq!(lines, if cut_off { 4 } else { 2 });
        for table in ["persons_current", "means_current"] {
            let both = format!(
                "SELECT COUNT(*) FROM {table} JOIN authorisations \
                 ON authorisations.recipient = {table}.recipient"
            );
            assert_eq!(sql(folder, &both), ["0"], "{table}");
        }
    }
}

fn the_trail_tells_and_cannot_be_rewritten(place: &Path, folder: &Path) {
    let key = succeeded(&audit(folder, &["key"]));
    let checkpoint = succeeded(&audit(folder, &["checkpoint"]));
    let kept = place.join("checkpoints.ndjson");
    std::fs::write(&kept, &checkpoint).expect("written");
    let file = kept.to_str().expect("text");
    let verify = ["verify", "--checkpoints", file, "--key", key.trim()];
    let told = succeeded(&audit(folder, &verify));
    assert!(told.contains("vouched for by 1 checkpoints"), "{told}");
    let deeds = avis()
        .args(["stream", "tail", "audit", "--from", "earliest", "--most", "1000", "--data"])
        .arg(folder)
        .output();
    let deeds = succeeded(&deeds.expect("run"));
    assert!(deeds.contains("person.export") && deeds.contains("person.erase"), "{deeds}");

    // A checkpoint of another past does not fit, and neither does one that somebody else signed.
    let mut other: Value = serde_json::from_str(&checkpoint).expect("JSON");
    other["size"] = 1.into();
    std::fs::write(&kept, other.to_string()).expect("written");
    let refused = audit(folder, &verify);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("not what it was"), "{told}");
}
