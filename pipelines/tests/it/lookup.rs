//! Lookup joins: rows meet what a register says when they are read.

use std::sync::Arc;

use ingest::{
    log::{Log, model::ModelLog},
    topic::Topic,
    wire::v1::{Event, RegistryChanged},
};
use pipelines::{own, runner::Ends};

use crate::{
    history::{self, decided, household, record},
    landing::{self, Landing},
};

const QUERY: &str = "
CREATE TEMPORARY TABLE merchants (
  kind TEXT, id TEXT, document STRUCT<name STRUCT<en TEXT>>
) WITH (connector = 'stream', topic = 'registry-changes', format = 'json');
CREATE TABLE named_sales WITH (
  connector = 'delta', path = 'named_sales', type = 'sink', format = 'parquet'
);
INSERT INTO named_sales
SELECT authorisation_id, document['name']['en'] AS merchant
FROM authorisation_records
LEFT JOIN merchants ON merchants.id = merchant_id AND merchants.kind = 'merchants'
WHERE type = 'authorisation_decided'";

async fn land(log: &Arc<ModelLog>, tables: &landing::Tables, batch: usize) -> Vec<String> {
    let pipeline = own::one("named_sales", QUERY).await.expect("it plans");
    let landing = Landing { batch, commit: batch as u64, refused: None };
    let (runner, _) = landing::runner(log, tables, vec![pipeline], &landing);
    runner.catch_up(&Ends::new()).await.expect("landed");
    landing::rows(&tables["named_sales"])
}

fn renamed(name: &str) -> Vec<ingest::record::Record> {
    let document = format!(r#"{{"id":"market","name":{{"lv":"Tirgus","en":"{name}"}}}}"#);
    let (kind, id, changed_by) = ("merchants".into(), "market".into(), String::new());
    let event = RegistryChanged { kind, id, document, changed_by };
    let at = "2025-03-04T08:00:00Z";
    vec![record(name, "merchants".into(), at, Event::RegistryChanged(event))]
}

fn sale(name: &str, merchant: &str) -> Vec<ingest::record::Record> {
    let at = "2025-03-04T09:00:00Z";
    let mut decided = decided(name, at, "captured");
    decided.merchant_id = merchant.into();
    vec![record(name, household(0), at, Event::AuthorisationDecided(decided.into()))]
}

#[tokio::test]
async fn rows_meet_the_newest_row_of_the_table_also_after_a_restart() {
    own::one("named_sales", QUERY).await.expect("it plans");
    for batch in [1, 3, 1_024] {
        let (log, tables) = (history::log().await, landing::tables());
        let before = land(&log, &tables, batch).await;
        assert!(!before.is_empty());
        assert!(before.iter().all(|row| row.contains(r#""merchant":"Market""#)), "{before:?}");
        log.append(Topic::RegistryChanges, &renamed("Bazaar")).await.expect("appended");
        log.append(Topic::Authorisations, &sale("after", "market")).await.expect("appended");
        log.append(Topic::Authorisations, &sale("elsewhere", "corner")).await.expect("appended");
        let after = land(&log, &tables, batch).await;
        assert_eq!(after.len(), before.len() + 2);
        let row = |id: &str| after.iter().find(|row| row.contains(id)).expect("a row").clone();
        assert!(row("after").contains("Bazaar"), "{}", row("after"));
        assert!(!row("elsewhere").contains("merchant\""), "{}", row("elsewhere"));
        assert!(row("\"sale\"").contains("Market"), "what was said is not said again");
    }
}

#[tokio::test]
async fn a_lookup_table_stands_on_the_right_of_a_join_only() {
    let alone = QUERY.replace(
        "SELECT authorisation_id, document['name']['en'] AS merchant
FROM authorisation_records
LEFT JOIN merchants ON merchants.id = merchant_id AND merchants.kind = 'merchants'
WHERE type = 'authorisation_decided'",
        "SELECT id AS authorisation_id, kind AS merchant FROM merchants",
    );
    let refused = own::one("named_sales", &alone).await.expect_err("refused").to_string();
    assert!(refused.contains("can only stand on the right of a join"), "{refused}");
    let right = QUERY.replace("LEFT JOIN", "RIGHT JOIN");
    let right = right.replace("WHERE type = 'authorisation_decided'", "");
    let refused = own::one("named_sales", &right).await.expect_err("refused").to_string();
    assert!(refused.contains("an inner or a left join"), "{refused}");
}

#[tokio::test]
async fn a_table_with_a_key_is_looked_up_by_it() {
    let keyed = QUERY.replace("id TEXT", "id TEXT PRIMARY KEY");
    own::one("named_sales", &keyed).await.expect("it plans");
    let on = "merchants ON merchants.id = merchant_id AND merchants.kind = 'merchants'";
    let renamed = keyed.replace(on, "merchants AS m ON m.id = merchant_id");
    own::one("named_sales", &renamed).await.expect("it plans");
    for other in ["merchants.kind", "upper(merchants.id)"] {
        let by_other = keyed.replace(on, &format!("merchants ON {other} = merchant_id"));
        let refused = own::one("named_sales", &by_other).await.expect_err(other).to_string();
        let told = "the right-side of a look-up join condition must be a PRIMARY KEY column, but '";
        assert!(refused.contains(&format!("{told}{other}' is not")), "{refused}");
    }
}
