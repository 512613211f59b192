//! Who is listed in a group, in the registry's file or by a grantor's own system: nobody's code
//! lies in the folder, the list works, and whoever is erased is on no list, and somebody new when told
//! of again.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use crate::{
    avis, succeeded,
    talk::{Talk, token},
    up::Server,
};

const CODE: &str = "326180-33995";
const OTHER: &str = "322360-67989";

fn registry() -> Value {
    let name = json!({"lv": "Draugi", "en": "Friends"});
    json!({
        "grantors": [{"id": "riga", "name": "Rīga", "kind": "municipality"}],
        "groups": [
            {"id": "friends", "grantor": "riga", "name": name, "members": [CODE, OTHER]},
            {"id": "told", "grantor": "riga", "name": name, "members": []}],
    })
}

fn person(code: &str) -> Value {
    json!({"specversion": "1.0", "id": format!("dagr-{code}"), "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "time": "2025-01-01T00:00:00Z",
        "data": {"person": code, "sequence": 1, "attributes": {"birth_date": "1950-03-01",
            "territory": "LV0001000", "status": "alive"}}})
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    succeeded(&avis().args(arguments).arg("--data").arg(folder).output().expect("run"))
}

/// Loads some lines of a kind.
fn load(folder: &Path, kind: &str, lines: &[Value]) {
    let file = folder.with_extension(kind);
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n")).expect("written");
    run(folder, &["load", kind, file.to_str().expect("text")]);
}

/// What a stream holds, as text.
fn stream(folder: &Path, name: &str) -> String {
    run(folder, &["stream", "tail", name, "--from", "earliest", "--most", "1000"])
}

/// The registry's groups, as they are exported.
fn exported(folder: &Path) -> Value {
    serde_json::from_str(&run(folder, &["registry", "export", "-"])).expect("JSON")
}

/// Whom the register has told of, by internal id.
fn people(folder: &Path) -> BTreeSet<String> {
    let told = stream(folder, "person-changes");
    let lines = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.map(|line| line["person"].as_str().expect("an id").to_owned()).collect()
}

/// Nobody's code lies in a file of the folder, in whatever way it is written, nor in what is read
/// of it.
fn names_nobody(folder: &Path) {
    let forms = [CODE, OTHER].map(|code| [code.to_owned(), code.replace('-', "")]).concat();
    let mut texts = Vec::new();
    files(folder, &mut texts);
    for name in ["registry-changes", "memberships", "entitlements", "person-changes", "audit"] {
        texts.push((format!("the stream {name}"), stream(folder, name).into_bytes()));
    }
    texts.push(("the export".into(), exported(folder).to_string().into_bytes()));
    for (name, bytes) in &texts {
        let has = |form: &&String| bytes.windows(form.len()).any(|of| of == form.as_bytes());
        assert_eq!(forms.iter().find(has), None, "{name}");
    }
}

fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push((path.display().to_string(), std::fs::read(&path).expect("a file")));
        }
    }
}

#[test]
fn a_listed_person_lies_nowhere_by_code_and_is_taken_off_when_erased() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("data");
    let file = place.path().join("registry.json");
    std::fs::write(&file, registry().to_string()).expect("written");
    let file = file.to_str().expect("text");
    let apply = |file: &str| run(&folder, &["registry", "apply", file]);
    assert_eq!(apply(file), "3 entries changed\n");
    // The register tells of them later than the list does.
    load(&folder, "persons", &[person(CODE), person(OTHER)]);
    let listed = |code: &str| json!({"group": "told", "person": code, "from": "2025-01-01"});
    load(&folder, "memberships", &[listed(CODE), listed(OTHER)]);
    let evaluated = stream(&folder, "entitlements");
    assert!(evaluated.contains("friends") && evaluated.contains("told"), "{evaluated}");
    assert_eq!(exported(&folder)["groups"][0]["members"].as_array().map(Vec::len), Some(2));
    names_nobody(&folder);
    // The file again, and what was exported, change nothing.
    assert_eq!(run(&folder, &["registry", "diff", file]), "");
    let again = place.path().join("exported.yaml");
    run(&folder, &["registry", "export", again.to_str().expect("text")]);
    for same in [file, again.to_str().expect("text")] {
        assert_eq!(apply(same), "0 entries changed\n");
    }

    run(&folder, &["person", "erase", CODE, "--yes"]);
    let friends = exported(&folder)["groups"][0].clone();
    assert_eq!(friends["members"].as_array().map(Vec::len), Some(1), "{friends}");
    let told = stream(&folder, "memberships");
    let removed = told.lines().filter(|line| line.contains("\"removed\":true")).count();
    assert_eq!(removed, 1, "{told}");
    // Whoever lists them again lists a code that leads to nobody, until the register tells of it.
    assert_eq!(apply(file), "1 entries changed\n");
    assert_eq!(apply(again.to_str().expect("text")), "0 entries changed\n");
    let before = people(&folder);
    assert_eq!(before.len(), 2);
    let mut back = person(CODE);
    back["id"] = json!("dagr-again");
    back["data"]["sequence"] = json!(2);
    load(&folder, "persons", &[back]);
    let after = people(&folder);
    assert!(after.len() == 3 && after.is_superset(&before), "the same code, somebody new");
    names_nobody(&folder);
    on_a_node_that_runs(&folder);
    names_nobody(&folder);
}

/// A node that starts on it erases nobody again; over the wire the same holds.
fn on_a_node_that_runs(folder: &Path) {
    let server = Server::start_with(folder, &[("AVIS__REGISTRY__APPROVAL", "false")]);
    server.wait_until_ready();
    let anna = Talk::new(&server, &token(folder, "grantor", "riga", "anna"));
    let friends = anna.get("/v1/groups/friends");
    let mut next = friends.clone();
    next["members"] = json!([CODE, OTHER]);
    assert_eq!(anna.put("/v1/groups/friends", &next), friends);
    next["id"] = json!("others");
    let others = anna.put("/v1/groups/others", &next);
    assert_eq!(others["members"], friends["members"]);
    let olga = Talk::new(&server, &token(folder, "administrator", "", "olga"));
    let hidden = olga.get("/v1/groups/others");
    assert_eq!((hidden.get("members"), &hidden["members_count"]), (None, &json!(2)));
    server.stop();
}
