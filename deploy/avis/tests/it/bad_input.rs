//! Bad input: a clear error that names what and where, and nothing lost or half done.

use std::io::Write;

use crate::{avis, data, sql, succeeded};

/// Ten faults of different kinds, each at a place of its own.
const TEN_FAULTS: &str = r#"
grantors:
- {id: "riga", kind: "municipality", iban: "LV58RIKO0000002013131", reg_no: "90000000002"}
- {id: "shop", kind: "merchant", colour: "red"}
merchants:
- {id: "shop", vat_no: "40003000001"}
places:
- {id: "P-1", merchant: "shop", territory: "LV0001"}
- {id: "P-2", merchant: "nobody", territory: "LV0001000"}
terminals:
- {id: "T-1", place: "P-2", kind: "till"}
- {id: "T-1", place: "P-2", kind: "till"}
groups:
- {id: "seniors", where: "age(birth_date) >="}
benefits:
- {id: "B-1", grantor: "shop", kind: "discount"}
instructions:
- {id: "one", benefit: "B-1", version: 1, valid: {from: "2025-01-01", to: null}, priority: 1, recipients: {everyone: true}, effect: {percent_off_bp: 20000}, funding: {grantor_bp: 10000}}
- {id: "two", benefit: "B-1", version: 1, valid: {from: "2025-13-01", to: null}, priority: 2, recipients: {everyone: true}, effect: {percent_off_bp: 100}, funding: {grantor_bp: 10000}}
- {id: "three", benefit: "B-1", version: 1, valid: {from: "2025-01-01", to: null}, priority: 3, recipients: {everyone: true}, effect: {percent_off_bp: 100}, stacking: exclusive_all, funding: {grantor_bp: 10000}}
"#;

#[test]
fn a_registry_with_ten_faults_is_refused_with_ten_paths() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (folder.path().join("registry.yaml"), folder.path().join("demo"));
    std::fs::write(&file, TEN_FAULTS).expect("written");
    let output = avis().args(["demo", "--registry"]).arg(&file).arg("--out").arg(&out).output();
    let output = output.expect("run");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    let paths = [
        "/grantors/0/iban",
        "/grantors/1/colour",
        "/merchants/0/vat_no",
        "/places/0/territory",
        "/places/1/merchant",
        "/terminals/1",
        "/groups/0/where",
        "/instructions/0/effect/percent_off_bp",
        "/instructions/1/valid/from",
        "/instructions/2/stacking",
    ];
    for path in paths {
        let named =
            told.lines().filter(|line| line.trim().starts_with(&format!("{path}:"))).count();
        assert_eq!(named, 1, "{path} in:\n{told}");
    }
    assert!(told.contains("10 faults"), "{told}");
    let streams = avis().args(["stream", "list", "--data"]).arg(&out).output().expect("run");
    let listed = succeeded(&streams);
    let registry = listed.lines().find(|line| line.starts_with("registry-changes"));
    let words: Vec<_> = registry.expect("the stream").split_whitespace().collect();
    assert_eq!(words, ["registry-changes", "0", "0", "0"], "nothing was changed");
}

#[test]
fn broken_transactions_are_dead_letters_and_the_good_ones_land() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (folder.path().join("baskets.ndjson"), folder.path().join("demo"));
    let good = |key: &str, change: &str| {
        format!(
            r#"{{"terminal_id":"T-000330","occurred_at":"2025-01-05T12:00:00+02:00","idempotency_key":"{key}","mode":"offline","lines":[{{"line":1,"item":"x","category":"pastry","quantity":1,"unit_price_cents":50{change}}}]}}"#
        )
    };
    let mut text = std::fs::File::create(&file).expect("a file");
    writeln!(text, "{}", good("k-1", "")).expect("written");
    writeln!(text, "{{\"terminal_id\": ").expect("written");
    writeln!(text, "{}", good("k-3", "").replace("T-000330", "T-nobody")).expect("written");
    writeln!(text, "{}", good("k-4", "").replace(r#""quantity":1"#, r#""quantity":-1"#))
        .expect("written");
    writeln!(text, "{}", good("k-5", "").replace(r#""quantity":1"#, r#""quantity":"one""#))
        .expect("written");
    writeln!(text, "{}", good("k-6", "").replace(":50", ":900000000000000000")).expect("written");
    writeln!(text, "{}", good("k-7", r#","colour":"red""#)).expect("written");
    writeln!(text, "{}", "x".repeat(10 << 20)).expect("written");
    writeln!(text, "{}", good("k-1", "").replace(":50", ":51")).expect("written");
    writeln!(text, "{}", good("k-10", "")).expect("written");
    drop(text);
    for _ in 0..2 {
        let output =
            avis().args(["demo", "--json", "--baskets"]).arg(&file).arg("--out").arg(&out).output();
        succeeded(&output.expect("run"));
        let decided = sql(&out, "SELECT COUNT(*) FROM authorisations");
        assert_eq!(decided, ["2"], "the good ones land, once");
        let letters =
            sql(&out, "SELECT origin_line, reason FROM dead_letters ORDER BY origin_line");
        let expected = [
            "2,malformed_json",
            "3,unknown_terminal",
            "4,invalid_quantity",
            "5,wrong_type",
            "6,overflow",
            "7,unknown_field",
            "8,line_too_long",
            "9,duplicate_key",
        ];
        assert_eq!(letters, expected);
    }
    let listed = avis().args(["dead-letters", "list", "--data"]).arg(&out).output().expect("run");
    let listed = succeeded(&listed);
    assert!(listed.contains("/lines/0/quantity"), "the place is named:\n{listed}");
    assert!(!listed.contains("nobody"), "the value is not");
}

#[test]
fn a_wrong_use_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let output =
        avis().args(["settle", "check", "--data"]).arg(folder.path()).output().expect("run");
    assert_eq!(output.status.code(), Some(1), "the command is right, the folder is not");
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no node's data"));
    let published = folder.path().join("published");
    let published = published.to_str().expect("text");
    for command in [
        &["sql", "SELECT COUNT(*) FROM benefit_lines"][..],
        &["report", "use-per-benefit", "--from", "2025-01-01", "--to", "2025-01-31"][..],
        &["open-data", "publish", "--out", published][..],
    ] {
        let output = avis().args(command).arg("--data").arg(folder.path()).output().expect("run");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
        assert!(told.contains("holds no node's data"), "{command:?}: {told}");
    }
    assert!(!folder.path().join("published").exists(), "empty sets are not published");
    let node = folder.path().join("node");
    std::fs::create_dir_all(node.join("log")).expect("a folder");
    let nowhere = node.join("nowhere/registry.yaml");
    let output = avis().args(["registry", "export"]).arg(nowhere).arg("--data").arg(&node).output();
    let told = String::from_utf8_lossy(&output.expect("run").stderr).into_owned();
    assert!(told.contains("cannot write") && told.contains("registry.yaml"), "{told}");
    assert!(data("baskets.ndjson.gz").is_file());
    let both = ["settle", "list", "--server", "http://[::1]:1", "--data", "somewhere"];
    assert_eq!(avis().args(both).output().expect("run").status.code(), Some(2));
    let nobody = ["report", "--list", "--server", "http://[::1]:1"];
    let output = avis().args(nobody).output().expect("run");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("AVIS_TOKEN"));
    let output = avis().args(nobody).env("AVIS_TOKEN", "x").output().expect("run");
    assert_eq!(output.status.code(), Some(1), "nobody is there");
}

/// The commands below one, each with all that names it.
fn commands(of: &[String], help: &str) -> Vec<Vec<String>> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // A description that goes on in the next line is indented further.
    let named = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let named = named.filter(|name| !name.is_empty() && *name != "help");
    let below = named.map(|name| {
        let mut command = of.to_vec();
        command.push(name.to_owned());
        command
    });
    below.collect()
}

#[test]
fn every_command_has_an_example() {
    let (mut waiting, mut seen) = (vec![Vec::<String>::new()], 0);
    while let Some(command) = waiting.pop() {
        let output = avis().args(&command).arg("--help").output().expect("run");
        let help = succeeded(&output);
        let example = format!("avis {}", command.join(" "));
        let (_, examples) = help.split_once("Example").unwrap_or_default();
        assert!(examples.contains(example.trim()), "{example} has no example:\n{help}");
        seen += 1;
        waiting.extend(commands(&command, &help));
    }
    assert!(seen > 50, "only {seen} commands were found");
}

#[test]
fn whoever_reads_may_stop_reading() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = avis().args(["report", "--list"]).stdout(writer).output().expect("run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{}: {told}", output.status);
}
