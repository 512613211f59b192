//! What the writer does in its own turn: fewer files, a short log, nothing left over.

use std::{
    fs::File,
    io::{Write, stderr},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use domain::period::LocalTime;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};
use warehouse::{
    schema,
    session::Session,
    table::{Positions, Table, delta::DeltaTable, upkeep::Upkeep},
    tail::Tails,
};

use crate::world::{World, batch};

fn positions(next: i64) -> Positions {
    Positions::from([("benefit_lines/0".to_owned(), next)])
}

async fn line(table: &DeltaTable, row: i64) {
    let rows = json!({"source_offset": row, "authorisation_id": format!("{row:08}"), "amount": "0.01",
        "date": format!("2025-01-{:02}", 1 + row % 2)});
    table.commit(vec![batch("benefit_lines", &[rows])], &positions(row + 1)).await.unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            names.extend(files(&entry.path()));
        } else {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    names
}

fn count(folder: &Path, end: &str) -> usize {
    files(folder).iter().filter(|name| name.ends_with(end)).count()
}

const SUM: &str = "SELECT COUNT(line) AS n, SUM(amount) AS amount, \
    COUNT(DISTINCT source_offset) AS rows FROM benefit_lines";

#[tokio::test]
async fn closed_days_are_merged_once_and_rows_and_positions_stay() {
    let world = World::new();
    // As of a table that nothing could make again.
    let upkeep = Upkeep { only_copy: true, ..World::eager() };
    let table = world.table_with("benefit_lines", upkeep.clone()).await;
    for row in 0..12 {
        line(&table, row).await;
    }
    let session = world.session().await;
    let folder = world.folder.path().join("benefit_lines");
    let later = Utc::now() + TimeDelta::hours(7);
    let done = table.maintain(later).await.unwrap();
    assert_eq!((done.merged, done.written, done.checkpoint), (12, 2, true));
    // Merged files stay for those who opened the table before.
    assert_eq!(count(&folder, ".parquet"), 14 + 1);
    assert_eq!(cells(&session, SUM).await, [["12", "0.12", "12"]]);
    assert_eq!(world.rows(SUM).await, [["12", "0.12", "12"]]);
    // Once is enough.
    let again = table.maintain(later + TimeDelta::hours(1)).await.unwrap();
    assert_eq!((again.merged, again.removed), (0, 0));

    // The same writer goes on, and so does one that opens the table.
    line(&table, 12).await;
    drop(table);
    let table = world.table_with("benefit_lines", upkeep).await;
    let known = table.positions(&["benefit_lines/0".to_owned()]).await.unwrap();
    assert_eq!(known, positions(13));
    line(&table, 13).await;
    assert_eq!(world.rows(SUM).await, [["14", "0.14", "14"]]);

    // In the end nothing is left but what the table names.
    let done = table.maintain(Utc::now() + TimeDelta::days(8)).await.unwrap();
    assert_eq!(done.removed, 12);
    assert_eq!(world.rows(SUM).await, [["14", "0.14", "14"]]);
    assert_eq!(
        table.positions(&["benefit_lines/0".to_owned()]).await.unwrap(),
        positions(14),
        "after checkpoint, merge and vacuum"
    );
}

async fn cells(session: &Session, sql: &str) -> Vec<Vec<String>> {
    crate::world::cells(&session.rows(sql).await.unwrap())
}

#[tokio::test]
async fn what_was_never_committed_is_never_read_and_goes_in_time() {
    let world = World::new();
    let table = world.table_with("benefit_lines", World::eager()).await;
    line(&table, 0).await;
    let folder = world.folder.path().join("benefit_lines");
    let day = folder.join("date=2025-01-01");
    // As a killed process leaves it: a whole file that no commit names, and half of one.
    let whole = std::fs::read_dir(&day).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(&whole, day.join("part-orphan.parquet")).unwrap();
    std::fs::write(day.join("part-half.parquet#1"), b"PAR1").unwrap();
    std::fs::write(folder.join("_delta_log/00000000000000000009.json#1"), b"{").unwrap();
    assert_eq!(world.rows(SUM).await, [["1", "0.01", "1"]]);
    let table = {
        drop(table);
        world.table_with("benefit_lines", World::eager()).await
    };
    assert_eq!(table.maintain(Utc::now()).await.unwrap().removed, 0, "too young to be sure");
    let done = table.maintain(Utc::now() + TimeDelta::days(2)).await.unwrap();
    assert_eq!(done.removed, 3);
    assert_eq!(world.rows(SUM).await, [["1", "0.01", "1"]]);
    line(&table, 1).await;
    assert_eq!(world.rows(SUM).await, [["2", "0.02", "2"]]);
}

#[tokio::test]
async fn days_that_are_not_kept_go_and_the_others_stay() {
    let world = World::new();
    let upkeep = Upkeep { keep_days: Some(30), ..World::eager() };
    let table = world.table_with("benefit_lines", upkeep).await;
    for row in 0..6 {
        line(&table, row).await;
    }
    let days = world.rows("SELECT DISTINCT date FROM benefit_lines ORDER BY date").await;
    let newest: chrono::NaiveDate = days[days.len() - 1][0].parse().unwrap();
    let at = |days| (newest + TimeDelta::days(days)).and_hms_opt(12, 0, 0).unwrap().and_utc();
    let before = world.rows(SUM).await;
    assert_eq!(table.maintain(at(30)).await.unwrap().expired > 0, days.len() > 1);
    let kept = world.rows("SELECT DISTINCT date FROM benefit_lines").await;
    assert_eq!(kept, [[newest.to_string()]], "the last day that is kept");
    assert!(table.maintain(at(31)).await.unwrap().expired > 0);
    assert_eq!(world.rows(SUM).await[0][0], "0", "of {before:?}");
    // It goes on, and its positions are as they were.
    line(&table, 6).await;
    let known = table.positions(&["benefit_lines/0".to_owned()]).await.unwrap();
    assert_eq!(known, positions(7));
}

#[tokio::test]
async fn upkeep_that_fails_costs_no_rows_and_stops_no_commit() {
    let world = World::new();
    let table = world.table_with("benefit_lines", World::eager()).await;
    for row in 0..6 {
        line(&table, row).await;
    }
    // A file cannot be read for a while, so nothing can be merged.
    let day = world.folder.path().join("benefit_lines/date=2025-01-01");
    let file = std::fs::read_dir(&day).unwrap().next().unwrap().unwrap().path();
    let aside = world.folder.path().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    let later = Utc::now() + TimeDelta::hours(7);
    assert!(table.maintain(later).await.is_err());
    line(&table, 6).await;
    std::fs::rename(&aside, &file).unwrap();
    let done = table.maintain(later + TimeDelta::hours(7)).await.unwrap();
    assert_eq!((done.merged, done.written), (7, 2));
    assert_eq!(world.rows(SUM).await, [["7", "0.07", "7"]]);
}

#[tokio::test]
async fn a_second_writer_loses_even_when_the_log_was_shortened() {
    let world = World::new();
    let upkeep = Upkeep { keep_log: Duration::ZERO, ..World::eager() };
    let first = world.table_with("benefit_lines", upkeep.clone()).await;
    let second = world.table_with("benefit_lines", upkeep).await;
    for row in 0..6 {
        line(&first, row).await;
    }
    let done = first.maintain(Utc::now() + TimeDelta::hours(7)).await.unwrap();
    assert!(done.log_entries > 3, "{done:?}");
    let rows = || vec![batch("benefit_lines", &[json!({"amount": "1.00"})])];
    // The name that the second one would write under is free again, and still it loses.
    assert!(second.commit(rows(), &positions(1)).await.is_err());
    assert!(second.commit(rows(), &positions(1)).await.is_err(), "its positions are not its own");
    assert_eq!(world.rows(SUM).await, [["6", "0.06", "6"]]);
}

/// DuckDB and Polars, by the format's Python package, where the witness's environment is there.
#[tokio::test]
async fn others_read_what_was_merged() {
    let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.or_else(|_| std::env::var("HOME").map(|home| Path::new(&home).join(".cache")));
    let ready = cache.is_ok_and(|cache| cache.join("avis-witness/ready").exists());
    let world = World::new();
    for name in ["benefit_lines", "authorisations"] {
        let table = world.table_with(name, World::eager()).await;
        for part in 0..5_i64 {
            let row = |row: i64| {
                json!({"authorisation_id": format!("{:026}", part * 3_000 + row), "source_offset": row,
                       "date": format!("2025-01-{:02}", 1 + row % 2),
                       "recipient": format!("R{:05}", row % 700)})
            };
            let rows: Vec<_> = (0..3_600).map(row).collect();
            let at = Positions::from([(format!("{name}/0"), part)]);
            table.commit(vec![batch(name, &rows)], &at).await.unwrap();
        }
        let done = table.maintain(Utc::now() + TimeDelta::days(1)).await.unwrap();
        assert_eq!((done.merged, done.written), (10, 2));
        let newest = |day: &str| {
            let day = world.folder.path().join(name).join(day);
            let files = std::fs::read_dir(day).unwrap().map(|file| file.unwrap());
            files.max_by_key(|file| file.metadata().unwrap().modified().unwrap()).unwrap().path()
        };
        let file = File::open(newest("date=2025-01-02")).unwrap();
        let about = SerializedFileReader::new(file).unwrap().metadata().row_group(0).clone();
        assert_eq!(about.num_rows(), 9_000);
        for column in about.columns() {
            let looked_up = ["authorisation_id", "recipient", "terminal_id"];
            let filtered = looked_up.contains(&column.column_path().string().as_str());
            assert_eq!(column.bloom_filter_offset().is_some(), filtered, "{column:?}");
        }
        // A point look-up finds its row by the filters of the merged files.
        let id = format!("{:026}", 4 * 3_000 + 3_500);
        let sql = format!("SELECT COUNT(date) AS n FROM {name} WHERE authorisation_id = '{id}'");
        assert_eq!(world.rows(&sql).await, [["1"]]);
    }
    if !ready {
        // What a test that passes prints by `eprintln!` is not shown.
        let _ = writeln!(
            stderr(),
            "SKIPPED: there is no environment of the witness; deploy/ci/demo.sh makes it"
        );
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/witness/read_tables.py");
    let told = Command::new("python3").arg(script).arg(world.folder.path()).output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["equal"], json!(true), "{told}");
    assert_eq!(told["benefit_lines"]["polars"]["rows"], json!(18_000), "{told}");
    assert_eq!(told["benefit_lines"]["files"], json!(2), "{told}");
}

/// A day of commits in a minute: a table that is written every ten seconds and looked after every
/// five minutes. `AVIS_TEST_SCALE=10` makes it ten thousand commits; alone, it says what they cost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_many_commits_stays_small() {
    let (world, tails) = (World::new(), Tails::default());
    let tail = tails.of(schema::table("benefit_lines").unwrap());
    let long = Duration::from_secs(5);
    let upkeep = Upkeep {
        every: Duration::ZERO,
        keep_log: long,
        keep_removed: long,
        keep_orphans: long,
        vacuum_every: long,
        ..Upkeep::default()
    };
    let table = world.table_with("benefit_lines", upkeep).await.with_tail(&tail);
    let commits = 1_000 * scale();
    let today = LocalTime::of(Utc::now()).date;
    let (mut took, mut queries, mut turns) = (Vec::new(), Vec::new(), Vec::new());
    let (mut most_files, mut begun) = (0, 0);
    for row in 0..commits {
        let line = json!({"source_offset": row, "authorisation_id": format!("{row:08}"),
            "amount": "0.01", "date": today.to_string()});
        tail.append(&[batch("benefit_lines", &[line])], &positions(row + 1)).unwrap();
        let started = Instant::now();
        tail.land(&table).await.unwrap();
        took.push(started.elapsed());
        if row % 30 == 29 {
            let started = Instant::now();
            table.maintain(Utc::now()).await.unwrap();
            turns.push(started.elapsed());
            let started = Instant::now();
            let session = Session::open_with(&world.url, &tails).unwrap();
            let seen = cells(&session, SUM).await;
            queries.push(started.elapsed());
            assert_eq!(seen[0][2], (row + 1).to_string());
            most_files =
                most_files.max(count(&world.folder.path().join("benefit_lines"), ".parquet"));
        }
        if row == 300 {
            begun = resident();
        }
        if row % 1_000 == 999 && commits > 1_000 {
            println!("{} kB after {} commits", resident(), row + 1);
        }
    }
    let folder = world.folder.path().join("benefit_lines");
    let (data, log) = (count(&folder, ".parquet"), count(&folder.join("_delta_log"), ".json"));
    let started = Instant::now();
    drop(world.table("benefit_lines").await);
    let opened = started.elapsed();
    let half = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        (times[times.len() / 2], times[times.len() - 1])
    };
    let last = took.len() - 300;
    println!(
        "{commits} commits: the first 300 took {:?} (median, most), the last {:?}; a turn of upkeep \
         {:?}; a query {:?}; opening {opened:?}; {most_files} files at most, {data} and {log} log \
         entries at last; {begun} kB in memory, then {} kB",
        half(&took[..300]),
        half(&took[last..]),
        half(&turns),
        half(&queries),
        resident(),
    );
    assert!(most_files < 2_500, "{most_files} files");
    let n = commits.to_string();
    let amount = format!("{}.00", commits / 100);
    assert_eq!(world.rows(SUM).await, [[n.as_str(), amount.as_str(), n.as_str()]]);
}

/// What the process has in memory, in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn scale() -> i64 {
    std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}
