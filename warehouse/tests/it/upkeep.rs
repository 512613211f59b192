//! What the writer does in its own turn: fewer files, a short log, nothing left over.

use std::{path::Path, time::Duration};

use chrono::{TimeDelta, Utc};
use serde_json::json;
use warehouse::{
    session::Session,
    table::{
        Positions, Table,
        delta::DeltaTable,
        upkeep::{Maintained, Upkeep},
    },
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
    let upkeep = World::eager();
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

#[tokio::test]
async fn a_table_of_many_commits_stays_small() {
    let world = World::new();
    let upkeep = Upkeep { every: Duration::ZERO, small_files: 16, ..Upkeep::default() };
    let table = world.table_with("benefit_lines", upkeep).await;
    let commits = 1_000_i64;
    let mut clock = Utc::now();
    let mut total = Maintained::default();
    for row in 0..commits {
        line(&table, row).await;
        if row % 20 == 0 {
            clock += TimeDelta::minutes(5);
            let done = table.maintain(clock).await.unwrap();
            total.merged += done.merged;
            total.log_entries += done.log_entries;
        }
    }
    let done = table.maintain(clock + TimeDelta::days(3)).await.unwrap();
    let folder = world.folder.path().join("benefit_lines");
    let (data, log) = (count(&folder, ".parquet"), count(&folder.join("_delta_log"), ".json"));
    println!("{commits} commits: {data} files, {log} log entries; {total:?}, then {done:?}");
    assert!(data < 60, "{data} files");
    assert!(log < 150, "{log} log entries");
    let n = commits.to_string();
    assert_eq!(world.rows(SUM).await, [[n.as_str(), "10.00", n.as_str()]]);
}
