//! Columns that a table's file computes: read, filtered and joined by as those that records hold.

use std::sync::Arc;

use ingest::{
    log::{Log, model::ModelLog},
    record::Record,
    topic::Topic,
    wire::v1::Event,
};
use pipelines::{own, runner::Ends};

use crate::{
    history::{decided, household, record},
    landing::{self, Landing},
};

const QUERY: &str = "
CREATE TABLE decisions (
  authorisation_id TEXT, merchant_id TEXT, event_time TIMESTAMP NOT NULL,
  shop TEXT GENERATED ALWAYS AS (upper(merchant_id)) STORED
) WITH (connector = 'stream', topic = 'authorisations', type = 'source', format = 'json');
CREATE TABLE loud_sales WITH (
  connector = 'delta', path = 'loud_sales', type = 'sink', format = 'parquet'
);
INSERT INTO loud_sales
SELECT authorisation_id, shop FROM decisions WHERE shop = 'CORNER' AND merchant_id <> 'market'";

fn sale(name: &str, merchant: &str) -> Record {
    let at = "2025-03-04T09:00:00Z";
    let mut decided = decided(name, at, "captured");
    decided.merchant_id = merchant.into();
    record(name, household(0), at, Event::AuthorisationDecided(decided.into()))
}

#[tokio::test]
async fn a_stream_is_filtered_by_what_it_generates_and_landed() {
    for batch in [1, 1_024] {
        let pipeline = own::one("loud_sales", QUERY).await.expect("it plans");
        let (log, tables) = (Arc::new(ModelLog::default()), landing::tables());
        let sales = [sale("one", "corner"), sale("two", "market"), sale("three", "Corner")];
        log.append(Topic::Authorisations, &sales).await.expect("appended");
        let landing = Landing { batch, commit: batch as u64, refused: None };
        let (runner, _) = landing::runner(&log, &tables, vec![pipeline], &landing);
        runner.catch_up(&Ends::new()).await.expect("landed");
        let rows = landing::rows(&tables["loud_sales"]);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert!(rows.iter().all(|row| row.contains(r#""shop":"CORNER""#)), "{rows:?}");
        assert!(rows.iter().all(|row| !row.contains("two")), "{rows:?}");
    }
}
