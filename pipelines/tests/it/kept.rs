//! What a flow keeps: how much of it there is after many commits, and that it says the same.

use std::sync::Arc;

use arrow::{array::RecordBatch, json::ReaderBuilder};
use pipelines::{
    dataflow::{Flow, state::State},
    pipeline::Pipeline,
    planner,
};

const TABLES: &str = "
CREATE TABLE sales (at TIMESTAMP NOT NULL, shop TEXT, cents BIGINT, WATERMARK FOR at)
WITH (connector = 'single_file', path = 'sales.json', format = 'json', type = 'source');
CREATE TABLE out
WITH (connector = 'single_file', path = 'out.json', format = 'debezium_json', type = 'sink');
INSERT INTO out ";

/// A window that is open for all commits of a test.
const BY_HOUR: &str = "SELECT shop, n, cents, earliest, latest FROM (
  SELECT tumble(INTERVAL '1 hour') AS hour, shop, COUNT(*) AS n, SUM(cents) AS cents,
         FIRST_VALUE(cents) AS earliest, LAST_VALUE(cents) AS latest
  FROM sales GROUP BY hour, shop)";

const SHOPS: usize = 300;

async fn planned(query: &str) -> Pipeline {
    let text = format!("{TABLES}{query};");
    planner::standalone(&[], "kept", &text).await.expect("it plans").remove(0)
}

fn start(pipeline: &Pipeline) -> Flow {
    let partitions = vec![1; pipeline.inputs.len()];
    Flow::start(&pipeline.blueprint, &partitions).expect("a flow")
}

/// Sales of a source, each with its second after ten, its shop and its cents.
fn sales(
    pipeline: &Pipeline,
    source: usize,
    sales: impl IntoIterator<Item = (usize, usize, usize)>,
) -> RecordBatch {
    let line = |(second, shop, cents): (usize, usize, usize)| {
        let at = format!("2025-03-01T10:{:02}:{:02}Z", second / 60, second % 60);
        format!("{{\"at\":\"{at}\",\"shop\":\"shop {shop}\",\"cents\":{cents}}}\n")
    };
    let text: String = sales.into_iter().map(line).collect();
    let columns = Arc::clone(&pipeline.blueprint.sources[source].columns);
    let mut reader = ReaderBuilder::new(columns).build(text.as_bytes()).expect("a reader");
    reader.next().expect("rows").expect("rows")
}

/// What comes before a commit: first of all shops, then of a third of them.
fn came(pipeline: &Pipeline, commit: usize) -> RecordBatch {
    let shops = (0..SHOPS).filter(|shop| commit == 0 || (shop + commit).is_multiple_of(3));
    sales(pipeline, 0, shops.map(|shop| (commit, shop, commit * SHOPS + shop)))
}

/// A flow of what another has written down.
fn restored(pipeline: &Pipeline, state: &State) -> Flow {
    let bytes = state.encode(pipeline.query).expect("bytes");
    let mut flow = start(pipeline);
    flow.load(State::decode(&bytes, pipeline.query).expect("a state")).expect("it fits");
    flow
}

#[tokio::test]
async fn what_is_taken_up_again_takes_the_memory_that_it_took() {
    for window in ["tumble(INTERVAL '1 hour')", "hop(INTERVAL '1 minute', INTERVAL '1 hour')"] {
        let pipeline = planned(&BY_HOUR.replace("tumble(INTERVAL '1 hour')", window)).await;
        let mut flow = start(&pipeline);
        for commit in [0, 60, 120] {
            flow.take(0, 0, came(&pipeline, commit)).await.expect("taken");
        }
        let state = flow.save().expect("a state");
        let (before, after) = (flow.size(), restored(&pipeline, &state).size());
        assert!(after <= 2 * before, "{window}: {after} bytes of {before}");
    }
}
