//! SQL over the tables.

use serde_json::json;
use warehouse::{access::View, schema::TABLES};

use crate::world::{World, batch, cells, loose};

#[tokio::test]
async fn tables_that_nobody_made_are_empty() {
    let world = World::new();
    for table in TABLES {
        let sql = format!(
            "SELECT COUNT(source) AS n FROM (SELECT 1 AS source FROM {}) AS rows",
            table.name
        );
        assert_eq!(world.rows(&sql).await, [["0"]], "{}", table.name);
    }
    assert_eq!(world.rows("SELECT recipient FROM entitlements_current").await, [[""; 0]; 0]);
}

#[tokio::test]
async fn the_names_of_tables_can_be_asked_for() {
    let world = World::new();
    world.land("means", 1, &[json!({"token": "T"})]).await;
    let sql = "SELECT table_name FROM information_schema.tables \
        WHERE table_schema = 'public' AND table_name LIKE 'means%' ORDER BY table_name";
    assert_eq!(world.rows(sql).await, [["means"], ["means_current"]]);
    let sql = "SELECT data_type FROM information_schema.columns \
        WHERE table_name = 'means' AND column_name = 'token'";
    assert_eq!(world.rows(sql).await, [["Utf8View"]]);
}

#[tokio::test]
async fn what_is_hidden_is_missing_even_where_it_has_to_be_there() {
    let world = World::new();
    world.land("means", 1, &[json!({"token": "T"})]).await;
    let session = world.session().await.seen_by(&View::Analyst).unwrap();
    for sql in [
        "SELECT DISTINCT token FROM means",
        "SELECT token FROM means WHERE token IS NULL GROUP BY token",
        "SELECT token FROM means_current",
    ] {
        assert_eq!(cells(&session.rows(sql).await.unwrap()), [[""]], "{sql}");
    }
}

/// On a machine with one core there is one part anyway.
#[tokio::test]
async fn a_query_gathers_its_groups_in_one_part() {
    let world = World::new();
    world.land("means", 1, &[json!({"token": "T"})]).await;
    let plan = world.rows("EXPLAIN SELECT token, COUNT(kind) AS n FROM means GROUP BY token").await;
    let plan = plan.concat().concat();
    assert!(plan.contains("Aggregate") && !plan.contains("Repartition"), "{plan}");
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let world = World::new();
    world.land("means", 1, &[json!({"token": "T"})]).await;
    let session = world.session().await;
    for sql in [
        "CREATE TABLE t AS SELECT 1 AS one",
        "DROP TABLE means",
        "INSERT INTO means SELECT token FROM means",
        "COPY (SELECT token FROM means) TO '/tmp/out.csv'",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN ANALYZE INSERT INTO means SELECT token FROM means",
    ] {
        let nothing: Vec<(&str, datafusion::scalar::ScalarValue)> = Vec::new();
        assert!(session.query(sql, nothing).await.is_err(), "{sql}");
    }
    assert_eq!(world.rows("SELECT token FROM means").await, [["T"]]);
}

#[tokio::test]
async fn the_current_state_is_the_newest_that_is_not_removed() {
    let world = World::new();
    let grantor = |id: &str, name: &str, removed: bool, offset: i64| json!({"entry_id": id, "name_lv": name, "removed": removed, "source_offset": offset});
    let rows = [
        grantor("riga", "old", false, 0),
        grantor("gone", "was", false, 1),
        grantor("riga", "new", false, 2),
        grantor("gone", "was", true, 3),
    ];
    world.land("registry_grantors", 4, &rows).await;
    let sql = "SELECT entry_id, name_lv FROM registry_grantors_current";
    assert_eq!(world.rows(sql).await, [["riga", "new"]]);
}

#[tokio::test]
async fn a_person_is_in_the_groups_of_the_newest_evaluation_only() {
    let world = World::new();
    let person =
        |recipient: &str, offset: i64| json!({"recipient": recipient, "source_offset": offset});
    let member = |recipient: &str, group: &str, offset: i64| json!({"recipient": recipient, "group_id": group, "source_offset": offset});
    world
        .land("persons", 4, &[person("A", 0), person("B", 1), person("A", 2), person("B", 3)])
        .await;
    let groups = [member("A", "seniors", 0), member("B", "seniors", 1), member("A", "staff", 2)];
    world.land("entitlements", 4, &groups).await;
    let sql = "SELECT recipient, group_id FROM entitlements_current ORDER BY recipient, group_id";
    assert_eq!(world.rows(sql).await, [["A", "staff"]]);
}

#[tokio::test]
async fn rows_beside_the_tables_are_seen_by_one_session_only() {
    let world = World::new();
    let session = world.session().await;
    let rows = |token: &str| loose(batch("means", &[json!({"token": token})]));
    let first = session.with_rows("extra", rows("one")).unwrap();
    let second = session.with_rows("extra", rows("two")).unwrap();
    let nothing = || -> Vec<(&str, datafusion::scalar::ScalarValue)> { Vec::new() };
    let sql = "SELECT token FROM extra";
    assert_eq!(cells(&first.query(sql, nothing()).await.unwrap()), [["one"]]);
    assert_eq!(cells(&second.query(sql, nothing()).await.unwrap()), [["two"]]);
    assert!(session.query(sql, nothing()).await.is_err());
}

/// An error must not tell of a row that the reader does not see, wherever the optimiser would have put
/// the reader's own condition.
#[tokio::test]
async fn conditions_are_never_evaluated_on_rows_of_others() {
    let world = World::new();
    let sale = |offset: i64| {
        let merchant = if offset % 10 == 0 { "other" } else { "own" };
        let receipt = if merchant == "own" { "7" } else { "SECRET" };
        json!({"source_offset": offset, "authorisation_id": format!("A{offset}"),
            "merchant_id": merchant, "receipt_number": receipt, "date": "2025-01-02"})
    };
    world.land("authorisations", 1_000, &(0..1_000).map(sale).collect::<Vec<_>>()).await;
    let session = world.session().await;
    let session = session.seen_by(&View::Merchant("own".into())).unwrap();
    let ask = |sql: &'static str| session.rows(sql);
    let counted = ask("SELECT COUNT(*) FROM authorisations WHERE CAST(receipt_number AS INT) = 7");
    assert_eq!(cells(&counted.await.unwrap()), [["900"]]);
    let plain = ask("SELECT COUNT(*) FROM authorisations WHERE date = DATE '2025-01-02'");
    assert_eq!(cells(&plain.await.unwrap()), [["900"]]);
    let told = ask("EXPLAIN ANALYZE SELECT receipt_number FROM authorisations").await.unwrap();
    let told = format!("{:?}", cells(&told));
    assert!(!told.contains(".parquet") && !told.contains("1000"), "{told}");
}
