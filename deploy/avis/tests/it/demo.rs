//! The main job on the packaged data.

use std::process::Stdio;

use crate::{avis, check_lines, check_summary, sql, succeeded};

/// What the demo may keep in memory at most, in KiB: its tables land once or twice, and each may have 64 MiB of
/// rows waiting.
const MOST_MEMORY_KIB: u64 = 800 * 1_024;

#[test]
fn the_demo_meets_every_published_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("demo");
    let child = avis().args(["demo", "--json", "--out"]).arg(&out).stdout(Stdio::piped()).spawn();
    let child = child.expect("run");
    let peak = std::thread::spawn({
        let status = format!("/proc/{}/status", child.id());
        move || {
            let mut peak = 0;
            while let Ok(text) = std::fs::read_to_string(&status) {
                let line = text.lines().find(|line| line.starts_with("VmHWM"));
                let Some(line) = line else { break };
                let kib = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
                peak = kib.unwrap_or(0).max(peak);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            peak
        }
    });
    check_summary(&succeeded(&child.wait_with_output().expect("run")));
    check_lines(&out);
    let peak: u64 = peak.join().expect("watched");
    println!("peak memory {} MiB", peak / 1_024);
    assert!((1..MOST_MEMORY_KIB).contains(&peak), "{peak} KiB");

    // Again on the same folder: nothing twice, the same files.
    let statements = out.join("settlements/statements-2025-01.json");
    let before = std::fs::read(&statements).expect("statements");
    let again = avis().args(["demo", "--json", "--out"]).arg(&out).output().expect("run");
    check_summary(&succeeded(&again));
    check_lines(&out);
    assert_eq!(std::fs::read(&statements).expect("statements"), before);
    files_and_tables_are_there(&out);
    commands_read_what_it_left(&out);
}

fn files_and_tables_are_there(out: &std::path::Path) {
    let sets = [
        "benefit-classifier",
        "means-issuers",
        "ids-terminals",
        "identification-means",
        "e-services",
        "remote-official-usage",
        "contact-points",
    ];
    for set in sets {
        let text = std::fs::read_to_string(out.join(format!("open-data/{set}.csv"))).expect(set);
        assert!(text.lines().count() > 1, "{set} has no row");
    }
    for file in
        ["index.html", "reports/use-per-instruction.html", "settlements/statements-2025-01.csv"]
    {
        assert!(out.join(file).is_file(), "{file}");
    }
    let minutes = sql(out, "SELECT SUM(authorisations), SUM(total) FROM usage_by_minute");
    assert_eq!(minutes, ["23160,799292.32"], "every minute's window has closed");
    let persons = sql(out, "SELECT COUNT(*) FROM persons_current");
    assert_eq!(persons, ["4075"]);
    let lines = sql(out, "SELECT COUNT(*), SUM(total), SUM(benefit) FROM transaction_lines");
    assert_eq!(lines, ["224230,799292.32,14209.07"]);
}

fn commands_read_what_it_left(out: &std::path::Path) {
    let run = |arguments: &[&str]| {
        succeeded(&avis().args(arguments).arg("--data").arg(out).output().expect("run"))
    };
    assert!(run(&["settle", "check"]).contains("the books balance: 30 statements"));
    let report = run(&[
        "report",
        "use-per-instruction",
        "--from",
        "2025-01-01",
        "--to",
        "2025-01-31",
        "--format",
        "csv",
    ]);
    assert!(report.contains("school-milk"), "{report}");
    let streams = run(&["stream", "list"]);
    let transactions = streams.lines().find(|line| line.starts_with("terminal-transactions"));
    let words: Vec<_> = transactions.expect("the stream").split_whitespace().collect();
    assert_eq!(words, ["terminal-transactions", "0", "0", "23160"]);
    let refused = avis().args(["sql", "DROP TABLE authorisations", "--data"]).arg(out).output();
    assert_eq!(refused.expect("run").status.code(), Some(1));
}

#[test]
fn generated_baskets_run_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("demo");
    let arguments =
        ["demo", "--generate", "2000", "--people", "300", "--seed", "3", "--json", "--out"];
    let summary = succeeded(&avis().args(arguments).arg(&out).output().expect("run"));
    let summary: serde_json::Value =
        serde_json::from_str(summary.lines().last().expect("a line")).expect("JSON");
    assert_eq!(summary["transactions"], 2_000);
    assert_eq!(summary["books_balance"], true);
    // Centres in proportion: forty services, of which calls that were not taken never complete.
    let centres = sql(
        &out,
        "SELECT (SELECT COUNT(*) FROM services) + COUNT(CASE WHEN abandoned THEN 1 END), \
         COUNT(*) > 0, COUNT(rating) > 0, (SELECT COUNT(subsidy) > 0 FROM centre_quality) FROM calls",
    );
    assert_eq!(centres, ["40,true,true,true"]);
}
