//! Tables on real S3-compatible storage: what tables in a folder promise, and what several processes do
//! to each other.
//!
//! They run where `AVIS_TEST_S3` names an endpoint such as `http://127.0.0.1:8333`, with the keys that
//! `AVIS_TEST_S3_KEY` and `AVIS_TEST_S3_SECRET` say, or `avis` and `avis-secret`. The bucket `avis-test`
//! has to be there; each test takes a prefix of its own and removes its tables when it passes.

use std::{
    io::{Write, stderr},
    sync::Once,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{TimeDelta, Utc};
use futures::{StreamExt, future::join_all};
use serde_json::json;
use url::Url;
use warehouse::{
    error::WarehouseError,
    schema,
    session::Session,
    store::{self, S3},
    table::{
        Table,
        delta::{DeltaTable, remove},
        upkeep::Upkeep,
    },
    tail::Tails,
};

use crate::{
    table::{is_made_anew, keeps_the_contract, position, positions},
    world::{World, batch, cells},
};

const ENDPOINT: &str = "AVIS_TEST_S3";

/// A warehouse on the storage, or a loud word that there is none.
fn world(name: &str) -> Option<World> {
    static REGISTERED: Once = Once::new();
    let said = |variable: &str| std::env::var(variable).ok();
    let Some(endpoint) = said(ENDPOINT) else {
        // What a test that passes prints by `eprintln!` is not shown.
        let _ = writeln!(stderr(), "SKIPPED: {ENDPOINT} names no S3-compatible storage");
        return None;
    };
    REGISTERED.call_once(|| {
        let access_key = said("AVIS_TEST_S3_KEY").unwrap_or("avis".into());
        let secret_key = said("AVIS_TEST_S3_SECRET").unwrap_or("avis-secret".into());
        let region = "us-east-1".to_owned();
        store::register(S3 { endpoint, region, access_key, secret_key }).unwrap();
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    Some(World::at(Url::parse(&format!("s3://avis-test/t{now}-{name}")).unwrap()))
}

/// What is stored of which the name ends so.
async fn names(world: &World, end: &str) -> Vec<String> {
    let none: [(&str, &str); 0] = [];
    let store = deltalake::logstore::store_for(&world.url, none).unwrap();
    let all = store.list(None).map(|file| file.unwrap().location.to_string());
    all.filter(|name| std::future::ready(name.ends_with(end))).collect().await
}

async fn clear(world: &World, tables: &[&'static str]) {
    for table in tables {
        remove(&world.url, table).await.unwrap();
    }
    assert_eq!(names(world, "").await, [""; 0]);
}

fn token(token: &str) -> Vec<arrow::array::RecordBatch> {
    vec![batch("means", &[json!({"token": token})])]
}

const TOKENS: &str = "SELECT COUNT(token) AS n, COUNT(DISTINCT token) AS tokens FROM means";

#[tokio::test]
async fn the_storage_refuses_a_second_of_one_name() {
    let Some(world) = world("check") else { return };
    store::check(&world.url).await.unwrap();
    assert_eq!(names(&world, "").await, [""; 0]);
    // Nobody has registered such addresses.
    let refused = store::check(&Url::parse("s9://avis-test/here").unwrap()).await;
    assert!(matches!(refused, Err(WarehouseError::Storage { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_table_on_it_keeps_the_contract() {
    let Some(world) = world("contract") else { return };
    keeps_the_contract(&world.table("points_entries").await).await;
    let again = world.table("points_entries").await;
    assert_eq!(position(&again, "points_entries/0").await, Some(6));
    let sql = "SELECT COUNT(points) AS n, SUM(points) AS points FROM points_entries";
    assert_eq!(world.rows(sql).await, [["3", "21"]]);
    clear(&world, &["points_entries"]).await;
}

#[tokio::test]
async fn rows_land_through_a_tail_and_stay() {
    let Some(world) = world("tail") else { return };
    let tails = Tails::default();
    let tail = tails.of(schema::table("means").unwrap());
    let ask = async |tails: &Tails| {
        let session = Session::open_with(&world.url, tails).unwrap();
        cells(&session.rows("SELECT token FROM means ORDER BY token").await.unwrap())
    };
    assert_eq!(ask(&tails).await, [[""; 0]; 0]);
    let table = world.table("means").await.with_tail(&tail);
    let elsewhere = Tails::default();
    for (next, name) in (1..).zip(["A", "B", "C"]) {
        tail.append(&token(name), &positions(&[("means/0", next)])).unwrap();
        assert_eq!(ask(&tails).await.len(), usize::try_from(next).unwrap());
        // Another process sees what has landed.
        assert_eq!(ask(&elsewhere).await.len(), usize::try_from(next - 1).unwrap());
        assert_eq!(tail.land(&table).await.unwrap(), 1);
        assert_eq!(ask(&tails).await, ask(&elsewhere).await);
    }
    drop(table);
    assert_eq!(position(&world.table("means").await, "means/0").await, Some(3));
    assert_eq!(ask(&Tails::default()).await, [["A"], ["B"], ["C"]]);
    clear(&world, &["means"]).await;
}

#[tokio::test]
async fn whoever_comes_second_opens_what_is_there() {
    let Some(world) = world("making") else { return };
    let opened = join_all((0..4).map(|_| world.table("means"))).await;
    assert_eq!(names(&world, ".json").await, ["means/_delta_log/00000000000000000000.json"]);
    drop(opened);
    world.land("means", 1, &[json!({"token": "A"})]).await;
    assert_eq!(world.rows(TOKENS).await, [["1", "1"]]);
    clear(&world, &["means"]).await;
}

#[tokio::test]
async fn a_second_writer_loses_instead_of_doubling_rows() {
    let Some(world) = world("writers") else { return };
    let (first, second) = (world.table("means").await, world.table("means").await);
    let at = |next| positions(&[("means/0", next)]);
    first.commit(token("T-0"), &at(1)).await.unwrap();
    let lost = second.commit(token("T-0"), &at(1)).await;
    assert!(matches!(lost, Err(WarehouseError::Commit { table: "means", .. })), "{lost:?}");
    let lost = second.commit(token("T-0"), &at(1)).await;
    assert!(matches!(lost, Err(WarehouseError::Moved { table: "means" })), "{lost:?}");
    assert_eq!(world.rows(TOKENS).await, [["1", "1"]]);

    // Both go on at once, each at what it believes is next: of each row one attempt wins.
    let won = join_all([write(&first), write(&second)]).await;
    println!("of ten rows the writers wrote {won:?}");
    assert_eq!(won[0] + won[1], ROWS - 1);
    assert_eq!(world.rows(TOKENS).await, [[ROWS.to_string(), ROWS.to_string()]]);
    assert_eq!(position(&world.table("means").await, "means/0").await, Some(ROWS));
    clear(&world, &["means"]).await;
}

const ROWS: i64 = 10;

async fn write(table: &DeltaTable) -> i64 {
    let mut won = 0;
    loop {
        let next = position(table, "means/0").await.unwrap();
        if next >= ROWS {
            return won;
        }
        let at = positions(&[("means/0", next + 1)]);
        won += i64::from(table.commit(token(&format!("T-{next}")), &at).await.is_ok());
    }
}

#[tokio::test]
async fn a_table_that_is_looked_after_keeps_its_rows() {
    let Some(world) = world("upkeep") else { return };
    let upkeep = Upkeep { keep_log: Duration::ZERO, ..World::eager() };
    let table = world.table_with("benefit_lines", upkeep.clone()).await;
    let reader = Tails::default();
    let sum = "SELECT COUNT(line) AS n, SUM(amount) AS amount, \
        COUNT(DISTINCT source_offset) AS rows FROM benefit_lines";
    let ask = async || {
        let session = Session::open_with(&world.url, &reader).unwrap();
        cells(&session.rows(sum).await.unwrap())
    };
    let line = async |row: i64| {
        let rows = json!({"source_offset": row, "authorisation_id": format!("{row:08}"),
            "amount": "0.01", "date": format!("2025-01-{:02}", 1 + row % 2)});
        let at = positions(&[("benefit_lines/0", row + 1)]);
        table.commit(vec![batch("benefit_lines", &[rows])], &at).await.unwrap();
    };
    for row in 0..40 {
        line(row).await;
        if row % 10 == 3 {
            ask().await;
        }
    }
    let begun = world.session().await;
    let expected = [["40", "0.40", "40"]];
    let later = Utc::now() + TimeDelta::hours(7);
    let done = table.maintain(later).await.unwrap();
    assert_eq!((done.merged, done.written, done.checkpoint), (40, 2, true), "{done:?}");
    assert!(done.log_entries >= 40, "{done:?}");
    assert_eq!(cells(&begun.rows(sum).await.unwrap()), expected, "who had it open");
    assert_eq!(ask().await, expected, "who follows it");
    assert_eq!(world.rows(sum).await, expected, "who opens it");
    // What was merged away goes in time, and so does what nobody committed.
    assert_eq!(names(&world, "zstd.parquet").await.len(), 42);
    let done = table.maintain(Utc::now() + TimeDelta::days(8)).await.unwrap();
    assert_eq!(done.removed, 40, "{done:?}");
    assert_eq!(names(&world, "zstd.parquet").await.len(), 2);
    for expected in [expected, expected] {
        assert_eq!(ask().await, expected);
        assert_eq!(world.rows(sum).await, expected);
    }
    line(40).await;
    assert_eq!(ask().await, [["41", "0.41", "41"]]);
    let again = world.table_with("benefit_lines", upkeep).await;
    assert_eq!(position(&again, "benefit_lines/0").await, Some(41));
    clear(&world, &["benefit_lines"]).await;
}

#[tokio::test]
async fn a_table_on_it_is_removed_and_begins_anew() {
    let Some(world) = world("anew") else { return };
    is_made_anew(&world).await;
    clear(&world, &["means", "calls"]).await;
}

/// A file that is sent in several parts.
#[tokio::test]
async fn a_large_file_is_read_back() {
    let Some(world) = world("large") else { return };
    let mut random = 7_u64;
    let mut draw = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random >> 8
    };
    let rows: Vec<_> = (0..250_000_i64)
        .map(|row| json!({"token": format!("{:x}{:x}{:x}", draw(), draw(), draw()), "source_offset": row}))
        .collect();
    world.land("means", 250_000, &rows).await;
    let sql = "SELECT COUNT(DISTINCT token) AS n, SUM(source_offset) AS sum FROM means";
    assert_eq!(world.rows(sql).await, [["250000", "31249875000"]]);
    clear(&world, &["means"]).await;
}
