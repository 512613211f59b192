//! What a role sees: through every door, and however a statement is put, its own rows and no others.

use serde_json::json;

use super::{
    Doors,
    client::{Answer, Client, Refusal},
    drivers::{self, Driver},
};
use crate::world::{World, cells};

/// Statements of one value, and what it is for a grantor that has one of two lines.
const OWN: [(&str, &str); 17] = [
    ("SELECT SUM(amount) AS v FROM benefit_lines", "10.00"),
    ("SELECT COUNT(*) AS v FROM public.benefit_lines", "1"),
    ("SELECT COUNT(*) AS v FROM avis.public.benefit_lines", "1"),
    ("SELECT MIN(grantor_id) || MAX(grantor_id) AS v FROM benefit_lines", "rigariga"),
    // Whose it was is nobody's business but the analysts'.
    ("SELECT COUNT(recipient) AS v FROM benefit_lines", "0"),
    ("SELECT COUNT(*) AS v FROM benefit_lines WHERE recipient = 'R2'", "0"),
    ("SELECT COUNT(*) AS v FROM benefit_lines WHERE grantor_id = 'other' OR amount > 15", "0"),
    (
        "SELECT COUNT(*) AS v FROM benefit_lines AS a JOIN benefit_lines AS b ON a.line = b.line",
        "1",
    ),
    (
        "SELECT COUNT(b.grantor_id) AS v FROM benefit_lines AS a \
         LEFT JOIN benefit_lines AS b ON a.grantor_id <> b.grantor_id",
        "0",
    ),
    ("SELECT COUNT(*) AS v FROM (SELECT grantor_id FROM benefit_lines) AS lines", "1"),
    ("WITH lines AS (SELECT grantor_id FROM benefit_lines) SELECT COUNT(*) AS v FROM lines", "1"),
    (
        "SELECT COUNT(*) AS v FROM registry_grantors \
         WHERE entry_id IN (SELECT grantor_id FROM benefit_lines)",
        "1",
    ),
    (
        "SELECT COUNT(*) AS v FROM registry_grantors AS g \
         WHERE EXISTS (SELECT 1 FROM benefit_lines AS l WHERE l.grantor_id = g.entry_id)",
        "1",
    ),
    (
        "SELECT COUNT(*) AS v FROM (SELECT grantor_id FROM benefit_lines \
         UNION ALL SELECT grantor_id FROM settlement_statements) AS lines",
        "2",
    ),
    ("SELECT COUNT(*) AS v FROM settlement_statements_current", "1"),
    ("SELECT COUNT(*) AS v FROM as_of('benefit_lines', '2100-01-01T00:00:00Z')", "1"),
    ("SELECT COUNT(iban) AS v FROM registry_grantors_current", "0"),
];

/// Names of what it does not see are in no catalogue.
const UNSEEN: [&str; 5] = [
    "SELECT COUNT(*) AS v FROM information_schema.tables WHERE table_name LIKE 'persons%'",
    "SELECT COUNT(*) AS v FROM information_schema.columns WHERE table_name = 'persons'",
    "SELECT COUNT(*) AS v FROM information_schema.views WHERE table_name = 'persons'",
    "SELECT COUNT(*) AS v FROM pg_catalog.pg_class WHERE relname = 'persons'",
    "SELECT COUNT(*) AS v FROM pg_catalog.pg_attribute WHERE attname = 'municipality'",
];

/// What it may not ask at all.
const REFUSED: [&str; 4] = [
    "SELECT recipient FROM persons",
    "SELECT recipient FROM persons_current",
    "SELECT recipient FROM as_of('persons', '2100-01-01T00:00:00Z')",
    "SELECT COUNT(*) FROM benefit_lines AS l JOIN means AS m ON l.recipient = m.recipient",
];

/// A grantor's line and statement beside another's.
async fn filled() -> World {
    let world = World::new();
    let line = |grantor: &str, amount: &str, recipient: &str| json!({"grantor_id": grantor, "amount": amount, "recipient": recipient});
    let lines = [line("riga", "10.00", "R1"), line("other", "20.00", "R2")];
    world.land("benefit_lines", 2, &lines).await;
    let statement = |grantor: &str| json!({"grantor_id": grantor});
    world.land("settlement_statements", 2, &[statement("riga"), statement("other")]).await;
    let entry = |id: &str| json!({"entry_id": id, "iban": "LV80BANK0000435195001"});
    world.land("registry_grantors", 2, &[entry("riga"), entry("other")]).await;
    world
}

/// A statement's one value, through every door and in every form that there is.
async fn everywhere(
    client: &mut Client,
    driver: &mut Driver,
    sql: &str,
) -> Vec<(&'static str, String)> {
    let failed = |refusal: Refusal| -> Answer { panic!("{sql}: {refusal:?}") };
    let simple = client.ask(sql).await.unwrap_or_else(failed);
    let bound = client.bound(sql, &[]).await.unwrap_or_else(failed);
    let copied = client.ask(&format!("COPY ({sql}) TO STDOUT")).await.unwrap_or_else(failed);
    let copied = String::from_utf8(copied.copied).unwrap();
    client.ask("BEGIN").await.unwrap_or_else(failed);
    client.ask(&format!("DECLARE pages CURSOR FOR {sql}")).await.unwrap_or_else(failed);
    let fetched = client.ask("FETCH ALL FROM pages").await.unwrap_or_else(failed);
    client.ask("COMMIT").await.unwrap_or_else(failed);
    let flight = drivers::ask(driver, sql).await.unwrap();
    let prepared = drivers::prepared(driver, sql).await.unwrap();
    vec![
        ("simple", simple.value().to_owned()),
        ("bound", bound.value().to_owned()),
        ("copy", copied.trim_end().to_owned()),
        ("cursor", fetched.value().to_owned()),
        ("flight", cells(&flight)[0][0].clone()),
        ("flight, prepared", cells(&prepared)[0][0].clone()),
    ]
}

#[tokio::test]
async fn a_grantor_sees_its_own_rows_through_every_door() {
    let world = filled().await;
    let doors = Doors::open(&world).await;
    let mut client = Client::connect(doors.postgres, "grantor:riga").await.unwrap();
    let mut driver = drivers::connect(doors.flight, "grantor:riga").await;
    let none = UNSEEN.map(|sql| (sql, "0"));
    for (sql, wanted) in OWN.into_iter().chain(none) {
        for (door, value) in everywhere(&mut client, &mut driver, sql).await {
            assert_eq!(value, wanted, "{door}: {sql}");
        }
    }
    for sql in REFUSED {
        assert!(client.ask(sql).await.is_err(), "{sql}");
        assert!(client.bound(sql, &[]).await.is_err(), "{sql}");
        assert!(client.ask(&format!("COPY ({sql}) TO STDOUT")).await.is_err(), "{sql}");
        assert!(drivers::ask(&mut driver, sql).await.is_err(), "{sql}");
        assert!(drivers::prepared(&mut driver, sql).await.is_err(), "{sql}");
    }
    let refusal = client.ask(REFUSED[0]).await.unwrap_err();
    assert_eq!(refusal.code, "42P01", "as if there were none: {refusal:?}");
}

#[tokio::test]
async fn what_a_grantor_does_not_see_is_there_for_an_administrator() {
    let world = filled().await;
    let doors = Doors::open(&world).await;
    let mut client = Client::connect(doors.postgres, "administrator").await.unwrap();
    for (sql, wanted) in [
        ("SELECT SUM(amount) AS v FROM benefit_lines", "30.00"),
        ("SELECT COUNT(recipient) AS v FROM benefit_lines", "2"),
        ("SELECT COUNT(*) AS v FROM settlement_statements_current", "2"),
        ("SELECT COUNT(iban) AS v FROM registry_grantors_current", "2"),
        ("SELECT COUNT(*) AS v FROM information_schema.tables WHERE table_name = 'persons'", "1"),
        ("SELECT COUNT(*) AS v FROM pg_catalog.pg_class WHERE relname = 'persons'", "1"),
    ] {
        assert_eq!(client.ask(sql).await.unwrap().value(), wanted, "{sql}");
    }
}
