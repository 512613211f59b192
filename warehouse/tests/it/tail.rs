//! Rows in memory and rows in the table: each is seen once, at any time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use serde_json::json;
use warehouse::{
    error::WarehouseError,
    schema,
    session::Session,
    table::{Positions, Table, delta::DeltaTable, model::ModelTable, upkeep::Upkeep},
    tail::{Bound, Tail, Tails},
};

use crate::world::{World, batch, cells};

fn positions(application: &str, next: i64) -> Positions {
    Positions::from([(application.to_owned(), next)])
}

/// A table that a tail serves.
async fn served(world: &World, tails: &Tails, name: &str) -> (DeltaTable, Tail) {
    let tail = tails.of(schema::table(name).unwrap());
    (world.table(name).await.with_tail(&tail), tail)
}

async fn ask(world: &World, tails: &Tails, sql: &str) -> Vec<Vec<String>> {
    let session = Session::open_with(&world.url, tails).unwrap();
    cells(&session.rows(sql).await.unwrap())
}

#[tokio::test]
async fn rows_are_seen_before_they_land_and_once_after() {
    let (world, tails) = (World::new(), Tails::default());
    let (table, tail) = served(&world, &tails, "means").await;
    let sql = "SELECT token FROM means WHERE token > 'B' ORDER BY token";
    assert_eq!(ask(&world, &tails, sql).await, [[""; 0]; 0]);

    let rows = [json!({"token": "A"}), json!({"token": "C"})];
    tail.append(&[batch("means", &rows)], &positions("means/0", 2)).unwrap();
    assert_eq!(ask(&world, &tails, sql).await, [["C"]]);
    let begun = Session::open_with(&world.url, &tails).unwrap();

    assert_eq!(tail.land(&table).await.unwrap(), 2);
    assert_eq!(tail.fill().rows, 0);
    tail.append(&[batch("means", &[json!({"token": "D"})])], &positions("means/0", 3)).unwrap();
    assert_eq!(ask(&world, &tails, sql).await, [["C"], ["D"]]);
    // A session that began before sees what it saw.
    assert_eq!(cells(&begun.rows(sql).await.unwrap()), [["C"]]);
    // Who reads the folder alone sees what has landed.
    assert_eq!(world.rows(sql).await, [["C"]]);
    let position = async |session: &Session| session.positions("means", "means", 1).await.unwrap();
    assert_eq!(position(&world.session().await).await, positions("means/0", 2));
    let now = Session::open_with(&world.url, &tails).unwrap();
    assert_eq!(position(&now).await, positions("means/0", 3));
    // Nothing new makes no commit.
    assert_eq!(tail.land(&table).await.unwrap(), 1);
    assert_eq!(tail.land(&table).await.unwrap(), 0);
}

#[tokio::test]
async fn the_current_state_has_the_tail() {
    let (world, tails) = (World::new(), Tails::default());
    let (persons, persons_tail) = served(&world, &tails, "persons").await;
    let (_, entitlements_tail) = served(&world, &tails, "entitlements").await;
    let person = |offset: i64| {
        batch(
            "persons",
            &[json!({"recipient": "A", "age_band": format!("{offset}"),
            "source_offset": offset})],
        )
    };
    let member = |group: &str, offset: i64| {
        let row = json!({"recipient": "A", "group_id": group, "source_offset": offset});
        batch("entitlements", &[row])
    };
    persons_tail.append(&[person(0)], &positions("persons/0", 1)).unwrap();
    persons_tail.land(&persons).await.unwrap();
    entitlements_tail.append(&[member("old", 0)], &Positions::new()).unwrap();
    let bands = "SELECT age_band FROM persons_current";
    let groups = "SELECT group_id FROM entitlements_current";
    assert_eq!(ask(&world, &tails, bands).await, [["0"]]);
    assert_eq!(ask(&world, &tails, groups).await, [["old"]]);
    persons_tail.append(&[person(1)], &positions("persons/0", 2)).unwrap();
    entitlements_tail.append(&[member("new", 1)], &Positions::new()).unwrap();
    assert_eq!(ask(&world, &tails, bands).await, [["1"]]);
    assert_eq!(ask(&world, &tails, groups).await, [["new"]]);
    // What does not fit is refused, and nothing of it is seen.
    let refused = persons_tail.append(&[member("x", 2)], &positions("persons/0", 9));
    assert!(matches!(refused, Err(WarehouseError::Rows { table: "persons", .. })));
    assert_eq!(ask(&world, &tails, bands).await, [["1"]]);
}

#[tokio::test]
async fn a_full_tail_says_so() {
    let tails = Tails::bounded(Bound { rows: 2, bytes: 1 << 20 });
    let tail = tails.of(schema::table("means").unwrap());
    let two = [batch("means", &[json!({"token": "A"}), json!({"token": "B"})])];
    assert!(!tail.append(&two, &Positions::new()).unwrap().over);
    assert!(tail.append(&two, &Positions::new()).unwrap().over);
    let model = ModelTable::new(schema::table("means").unwrap());
    assert_eq!(tail.land(&model).await.unwrap(), 4);
    assert!(!tail.fill().over);
    assert_eq!(model.rows().len(), 2);
    let small = Tails::bounded(Bound { rows: 100, bytes: 1 });
    let tail = small.of(schema::table("means").unwrap());
    assert!(tail.append(&two, &Positions::new()).unwrap().over);
}

#[tokio::test]
async fn a_pipeline_that_begins_again_doubles_nothing() {
    let (world, tails) = (World::new(), Tails::default());
    let (table, tail) = served(&world, &tails, "means").await;
    let token = |token: &str| [batch("means", &[json!({"token": token})])];
    tail.append(&token("A"), &positions("means/0", 1)).unwrap();
    tail.land(&table).await.unwrap();
    tail.append(&token("B"), &positions("means/0", 2)).unwrap();
    // The runner stopped; what was in memory is read and computed again.
    let (table, tail) = served(&world, &tails, "means").await;
    assert_eq!(ask(&world, &tails, "SELECT token FROM means").await, [["A"]]);
    let known = table.positions(&["means/0".to_owned()]).await.unwrap();
    assert_eq!(known, positions("means/0", 1));
    tail.append(&token("B"), &positions("means/0", 2)).unwrap();
    tail.land(&table).await.unwrap();
    assert_eq!(ask(&world, &tails, "SELECT token FROM means ORDER BY token").await, [["A"], ["B"]]);
}

/// However a landing is abandoned, a row that it may or may not have written is there once.
#[tokio::test]
async fn an_abandoned_landing_is_done_once_or_begun_again() {
    let (world, tails) = (World::new(), Tails::default());
    let (table, tail) = served(&world, &tails, "means").await;
    let asked = ["means/0".to_owned()];
    let (mut next, mut again, mut resumed) = (0_i64, 0, 0);
    let timed = async || {
        let began = Instant::now();
        (tail.land(&table).await, began.elapsed())
    };
    // How long a landing takes here, so that it is abandoned at every stage on any machine.
    let mut whole = Duration::from_millis(7);
    for round in 0..60_u32 {
        let row = json!({"token": format!("{next:04}"), "source_offset": next});
        tail.append(&[batch("means", &[row])], &positions("means/0", next + 1)).unwrap();
        next += 1;
        let patience = whole * (round % 20) / 16;
        match tokio::time::timeout(patience, timed()).await {
            Err(_) => resumed += 1,
            Ok((Ok(_), took)) => whole = took,
            Ok((Err(error), _)) => assert!(again > 0, "{error:?}"),
        }
        // What is seen is right at every moment, whatever has landed.
        let sql = "SELECT COUNT(token) AS n, COUNT(DISTINCT token) AS tokens FROM means";
        let expected = [[next.to_string(), next.to_string()]];
        assert_eq!(ask(&world, &tails, sql).await, expected, "round {round}");
        let (mut landed, mut took) = timed().await;
        if matches!(landed, Err(WarehouseError::Commit { .. })) {
            // The attempt went through after the table had been read again.
            (landed, took) = timed().await;
        }
        match landed {
            // It was not abandoned; nothing was left.
            Ok(0) => {}
            Ok(_) => whole = took,
            Err(WarehouseError::Moved { .. }) => {
                // The attempt had gone through: the pipeline begins at the table's positions.
                again += 1;
                let known = table.positions(&asked).await.unwrap();
                assert_eq!(known, positions("means/0", next));
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(world.rows(sql).await, expected, "round {round}");
    }
    println!("{resumed} landings were abandoned, {again} of them after their commit");
    assert!(resumed > 3);
}

/// Rows are appended and landed while tables are merged and many read: each row is seen once from
/// the moment it was appended, by every query, and none before.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_row_is_seen_once_at_any_time() {
    let (world, tails) = (Arc::new(World::new()), Tails::default());
    let tail = tails.of(schema::table("benefit_lines").unwrap());
    // The turns are told a time far ahead, at which days are closed; merged files stay all the same.
    let keep_removed = Duration::from_secs(1_000 * 86_400);
    let upkeep = Upkeep { small_files: 4, keep_removed, ..World::eager() };
    let upkeep = Upkeep { every: Duration::ZERO, ..upkeep };
    let table = world.table_with("benefit_lines", upkeep).await.with_tail(&tail);
    let appended = Arc::new(AtomicI64::new(0));
    let rows = scale() * 600;
    let readers: Vec<_> = (0..3)
        .map(|reader| {
            let (world, tails) = (Arc::clone(&world), tails.clone());
            let appended = Arc::clone(&appended);
            tokio::spawn(async move { read(reader, &world, &tails, &appended, rows).await })
        })
        .collect();
    let mut next = 0_i64;
    let mut random = 7_u64;
    while next < rows {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let count = 1 + i64::try_from((random >> 33) % 7).unwrap();
        let lines: Vec<_> = (next..next + count)
            .map(|row| {
                json!({"source_offset": row, "authorisation_id": format!("{row:08}"),
                       "date": format!("2025-01-{:02}", 1 + row % 3)})
            })
            .collect();
        next += count;
        let at = positions("benefit_lines/0", next);
        let fill = tail.append(&[batch("benefit_lines", &lines)], &at).unwrap();
        appended.store(next, Ordering::SeqCst);
        if fill.rows > 25 || (random >> 40).is_multiple_of(5) {
            tail.land(&table).await.unwrap();
            table.maintain(Utc::now() + TimeDelta::days(90)).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
    tail.land(&table).await.unwrap();
    appended.store(i64::MAX, Ordering::SeqCst);
    let mut read = 0;
    for reader in readers {
        read += reader.await.unwrap();
    }
    println!("{read} queries saw each of {next} rows once");
    let sql = "SELECT COUNT(DISTINCT source_offset) AS n, COUNT(line) AS m FROM benefit_lines";
    assert_eq!(world.rows(sql).await, [[next.to_string(), next.to_string()]]);
}

async fn read(reader: i64, world: &World, tails: &Tails, appended: &AtomicI64, rows: i64) -> usize {
    let sql = match reader % 2 {
        0 => {
            "SELECT COUNT(line) AS n, COUNT(DISTINCT source_offset) AS rows, \
              COALESCE(MAX(source_offset), -1) + 1 AS next FROM benefit_lines"
        }
        // As many queries do: what one day has, and the others.
        _ => {
            "SELECT COUNT(line) AS n, COUNT(DISTINCT source_offset) AS rows, \
              COALESCE(MAX(source_offset), -1) + 1 AS next FROM (\
              SELECT line, source_offset FROM benefit_lines WHERE date = DATE '2025-01-02' \
              UNION ALL SELECT line, source_offset FROM benefit_lines WHERE date <> DATE '2025-01-02')"
        }
    };
    let mut queries = 0;
    loop {
        let before = appended.load(Ordering::SeqCst);
        let seen = ask(world, tails, sql).await;
        queries += 1;
        let [count, distinct, next] = [0, 1, 2].map(|at| seen[0][at].parse::<i64>().unwrap());
        assert_eq!(count, distinct, "a row is there twice, or missing");
        assert_eq!(count, next, "a row is missing");
        if before == i64::MAX {
            assert!(count >= rows);
            return queries;
        }
        assert!(count >= before, "a row was appended and is not seen");
    }
}

fn scale() -> i64 {
    std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}
