//! A new pipeline of an operator's own over streams that others have landed already.

use std::{sync::Arc, time::Duration};

use ingest::{
    log::{Log, model::ModelLog},
    record::Record,
    topic::Topic,
    wire::v1::{Event, Heartbeat},
};
use pipelines::{catalogue, own, pipeline::Pipeline, runner::Ends};
use tokio::{sync::watch, time::timeout};
use warehouse::table::Table;

use crate::{
    history::{household, micros, record},
    landing::{self, Landing, Tables},
};

const SHIPPED: &str = "authorisations";
const OWN: &str = "own_sales";
const QUERY: &str = "
CREATE TABLE own_sales WITH (
  connector = 'delta', path = 'own_sales', type = 'sink', format = 'parquet'
);
INSERT INTO own_sales
SELECT authorisation_id, merchant_id FROM authorisation_records
WHERE type = 'authorisation_decided'";
/// More than a pipeline may be behind the others and still be read with them.
const MANY: u32 = 70_000;

fn told(number: u32) -> Record {
    let at = "2025-03-03T09:00:00Z";
    let event = Event::Heartbeat(Heartbeat { until: micros(at) });
    record(&format!("told {number}"), household(0), at, event)
}

/// A stream that is long, and tables for both pipelines.
async fn world() -> (Arc<ModelLog>, Tables) {
    // A table of one's own is known once its pipeline is planned.
    own().await;
    let log = Arc::new(ModelLog::default());
    let records: Vec<_> = (0..MANY).map(told).collect();
    log.append(Topic::Authorisations, &records).await.expect("appended");
    (log, landing::tables())
}

async fn own() -> Pipeline {
    own::one(OWN, QUERY).await.expect("it plans")
}

async fn shipped() -> Pipeline {
    let shipped = catalogue::shipped().await.expect("shipped files plan");
    shipped.into_iter().find(|pipeline| pipeline.name == SHIPPED).expect("it is shipped")
}

async fn next(tables: &Tables, name: &str) -> Option<i64> {
    let asked = [format!("{name}/0")];
    let found = tables[name].positions(&asked).await.expect("positions");
    found.get(&asked[0]).copied()
}

#[tokio::test]
async fn a_start_does_not_wait_for_a_new_table_of_ones_own() {
    let (log, tables) = world().await;
    let (runner, _) = landing::runner(&log, &tables, vec![shipped().await], &Landing::WHOLE);
    runner.catch_up(&Ends::new()).await.expect("landed");
    log.append(Topic::Authorisations, &[told(MANY)]).await.expect("appended");
    let both = vec![shipped().await, own().await];
    let (runner, _) = landing::runner(&log, &tables, both, &Landing::WHOLE);
    runner.catch_up_abreast().await.expect("landed");
    let all = Some(i64::from(MANY) + 1);
    assert_eq!([next(&tables, SHIPPED).await, next(&tables, OWN).await], [all, None]);

    let (stop, stopped) = watch::channel(false);
    let caught_up = async {
        while next(&tables, OWN).await != all {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.send(true).expect("it runs");
    };
    let running = async { tokio::join!(runner.run(stopped), caught_up) };
    let (ran, ()) = timeout(Duration::from_secs(60), running).await.expect("it catches up");
    ran.expect("landed");
}

#[tokio::test]
async fn a_start_waits_for_a_table_of_the_platform() {
    let (log, tables) = world().await;
    let (runner, _) = landing::runner(&log, &tables, vec![own().await], &Landing::WHOLE);
    runner.catch_up(&Ends::new()).await.expect("landed");
    let both = vec![shipped().await, own().await];
    let (runner, _) = landing::runner(&log, &tables, both, &Landing::WHOLE);
    runner.catch_up_abreast().await.expect("landed");
    assert_eq!(next(&tables, SHIPPED).await, Some(i64::from(MANY)));
}
