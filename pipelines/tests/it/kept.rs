//! What a flow keeps: how much of it there is after many commits, and that it says the same.

use std::sync::Arc;

use arrow::{array::RecordBatch, json::ReaderBuilder, util::pretty::pretty_format_batches};
use datafusion::common::ScalarValue;
use pipelines::{
    dataflow::{Flow, state::State},
    pipeline::Pipeline,
    planner,
};

use crate::flow::Case;

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
    planned_with("", query).await
}

async fn planned_with(setting: &str, query: &str) -> Pipeline {
    let text = format!("{setting}{TABLES}{query};");
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
    read(pipeline, source, &sales.into_iter().map(line).collect::<String>())
}

/// Rows of a source, each a line of JSON.
fn read(pipeline: &Pipeline, source: usize, text: &str) -> RecordBatch {
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

/// How many batches a state has.
fn parts(state: &State) -> usize {
    state.nodes.iter().map(|node| node.parts.len()).sum()
}

/// The rows that come out in the end.
async fn ended(mut flow: Flow) -> Vec<String> {
    lines(&flow.end(0).await.expect("ended"))
}

/// Rows in the order of their text.
fn lines(rows: &[RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(rows).expect("a table").to_string();
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn an_open_window_takes_no_more_for_being_saved_often() {
    let pipeline = planned(BY_HOUR).await;
    let (mut kept, mut whole) = (start(&pipeline), start(&pipeline));
    let mut first = None;
    for commit in 0..200 {
        let rows = came(&pipeline, commit);
        whole.take(0, 0, rows.clone()).await.expect("taken");
        kept.take(0, 0, rows).await.expect("taken");
        let state = kept.save().expect("a state");
        let written = state.encode(pipeline.query).expect("bytes").len();
        let (least, few) = *first.get_or_insert((kept.size(), written));
        assert!(parts(&state) <= 4, "commit {commit}: {} parts", parts(&state));
        assert!(kept.size() <= 4 * least, "commit {commit}: {} of {least}", kept.size());
        assert!(written <= 4 * few, "commit {commit}: {written} of {few}");
        if commit % 50 == 20 {
            kept = restored(&pipeline, &state);
        }
    }
    // What came since the last commit counts as well.
    let rows = came(&pipeline, 200);
    whole.take(0, 0, rows.clone()).await.expect("taken");
    kept.take(0, 0, rows).await.expect("taken");
    let rows = ended(kept).await;
    assert!(rows.len() > SHOPS, "{rows:?}");
    assert_eq!(rows, ended(whole).await);
}

#[tokio::test]
async fn states_that_were_never_merged_are_read() {
    let pipeline = planned(BY_HOUR).await;
    let mut whole = start(&pipeline);
    // A window's state was written once for each commit.
    let mut written: Option<State> = None;
    for commit in 0..50 {
        let mut flow = start(&pipeline);
        for flow in [&mut flow, &mut whole] {
            flow.take(0, 0, came(&pipeline, commit)).await.expect("taken");
        }
        let state = flow.save().expect("a state");
        let Some(written) = &mut written else {
            written = Some(state);
            continue;
        };
        for (all, one) in written.nodes.iter_mut().zip(state.nodes) {
            all.parts.extend(one.parts);
        }
    }
    let mut flow = restored(&pipeline, &written.expect("a state"));
    assert!(parts(&flow.save().expect("a state")) <= 4);
    assert_eq!(ended(flow).await, ended(whole).await);
}

#[tokio::test]
async fn a_hops_first_and_last_value_are_of_the_rows_that_came_first_and_last() {
    let line = |minute| format!(r#"{{"at":"2025-03-01T10:0{minute}:00Z","cents":{minute}}}"#);
    let lines: Vec<String> = (0..6).map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let columns = "at TIMESTAMP NOT NULL, cents BIGINT, WATERMARK FOR at";
    let query = "SELECT earliest, latest FROM (
      SELECT hop(INTERVAL '1 minute', INTERVAL '3 minutes') AS w,
             FIRST_VALUE(cents) AS earliest, LAST_VALUE(cents) AS latest
      FROM sales GROUP BY w)";
    let row = |(first, last)| format!(r#"{{"earliest":{first},"latest":{last}}}"#);
    let wanted = [(0, 0), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5), (5, 5)].map(row);
    assert_eq!(Case::new().source("sales", columns, &lines).rows(query).await, wanted);
}

/// How many rows a state has under a name.
fn under(state: &State, wanted: &str) -> usize {
    let parts = state.nodes.iter().flat_map(|node| &node.parts);
    parts.filter(|(name, _)| name == wanted).map(|(_, rows)| rows.num_rows()).sum()
}

#[tokio::test]
async fn a_key_is_let_go_of_when_no_row_has_touched_it_for_the_time_to_live() {
    let query = "SELECT shop, SUM(cents) AS cents FROM sales GROUP BY shop";
    let pipeline = planned_with("SET updating_ttl = INTERVAL '10 minutes';", query).await;
    let minute = |minute: usize, shop| sales(&pipeline, 0, [(minute * 60, shop, 1)]);
    for restarts in [false, true] {
        let mut flow = start(&pipeline);
        // What comes, and how many keys live after it.
        for (came, live) in [
            (minute(0, 0), 1),
            (minute(0, 1), 2),
            (minute(5, 2), 3),
            // This one's time goes on, also where an older row comes last.
            (minute(6, 1), 3),
            (minute(3, 1), 3),
            // The first one's ten minutes are over only after this instant.
            (minute(10, 3), 4),
            (minute(11, 3), 3),
            (minute(15, 3), 3),
            // Of two whose time is over by now one has changed, which has not been said yet.
            (sales(&pipeline, 0, [(20 * 60, 3, 1), (5 * 60, 2, 1)]), 2),
            (minute(20, 3), 2),
            (minute(21, 3), 1),
        ] {
            flow.take(0, 0, came).await.expect("taken");
            flow.flush().await.expect("flushed");
            let state = flow.save().expect("a state");
            assert_eq!(under(&state, "keys 0"), live);
            if restarts {
                flow = restored(&pipeline, &state);
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_was_saved_is_a_few_bytes_and_gathers_on() {
    // A COUNT(DISTINCT text) takes kilobytes before it has counted anything.
    let query = "SELECT shop, COUNT(*) AS n, LAST_VALUE(cents) AS latest,
                        COUNT(DISTINCT CAST(cents AS TEXT)) AS amounts FROM sales GROUP BY shop";
    let pipeline = planned(query).await;
    let (mut kept, mut whole) = (start(&pipeline), start(&pipeline));
    for commit in 0..12 {
        let rows = came(&pipeline, commit);
        whole.take(0, 0, rows.clone()).await.expect("taken");
        kept.take(0, 0, rows).await.expect("taken");
        let said = kept.flush().await.expect("flushed");
        assert_eq!(said, whole.flush().await.expect("flushed"), "commit {commit}");
        let state = kept.save().expect("a state");
        assert_eq!(under(&state, "keys 0"), SHOPS);
        // What was told of a key, three values, counts beside its bytes.
        let each = 3 * size_of::<ScalarValue>()..1_024;
        assert!(each.contains(&(kept.size() / SHOPS)), "commit {commit}: {} bytes", kept.size());
        if commit % 5 == 3 {
            kept = restored(&pipeline, &state);
        }
    }
}

#[tokio::test]
async fn a_joins_rows_are_kept_for_the_time_to_live_also_over_restarts() {
    let query = "SELECT one.cents AS one, other.cents AS other
      FROM sales one JOIN sales other ON one.shop = other.shop";
    let pipeline = planned_with("SET updating_ttl = INTERVAL '10 minutes';", query).await;
    let (mut kept, mut whole) = (start(&pipeline), start(&pipeline));
    let (mut made, mut wanted) = (Vec::new(), Vec::new());
    for minute in 0..60 {
        for source in [0, 1] {
            // Some at once, of which a few are an older one's neighbours, and some alone.
            let shops = 0..if minute % 4 == 0 { 3 } else { 1 };
            let rows = shops.map(|shop| (minute * 60 - shop * minute, shop, minute));
            let rows = sales(&pipeline, source, rows);
            wanted.extend(whole.take(source, 0, rows.clone()).await.expect("taken"));
            made.extend(kept.take(source, 0, rows).await.expect("taken"));
            let state = kept.save().expect("a state");
            let side = format!("side {source}");
            // Eleven minutes, and the one that is under way: of each a row, of three two more.
            assert!(under(&state, &side) <= 12 + 3 * 2, "{}", under(&state, &side));
            kept = restored(&pipeline, &state);
        }
    }
    // The first shop's row of a minute meets those of ten minutes before, and that of the minute
    // itself. The other two have a row each fourth minute, which meets those of the two before.
    let rows: usize = made.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, (2 * 545 + 60) + 2 * (2 * 27 + 15));
    assert_eq!(lines(&made), lines(&wanted));
}

#[tokio::test]
async fn a_join_takes_memory_for_its_keys_and_no_more_for_coming_in_small_batches() {
    let query = "SELECT one.cents AS one, other.cents AS other
      FROM sales one JOIN sales other ON one.shop = other.shop";
    let pipeline = planned(query).await;
    let (mut whole, mut single) = (start(&pipeline), start(&pipeline));
    let rows = came(&pipeline, 0);
    whole.take(0, 0, rows.clone()).await.expect("taken");
    for row in 0..SHOPS {
        single.take(0, 0, rows.slice(row, 1)).await.expect("taken");
    }
    let (whole, single) = (whole.size(), single.size());
    assert!(whole > SHOPS * 100, "{whole} bytes");
    assert!(single < 2 * whole, "{single} bytes of {whole}");
}

#[tokio::test]
async fn a_looked_up_row_is_let_go_of_when_a_newer_one_has_replaced_it() {
    let table = "CREATE TEMPORARY TABLE merchants (id TEXT, kind TEXT)
      WITH (connector = 'stream', topic = 'registry-changes', format = 'json');";
    let query = "SELECT cents, kind FROM sales JOIN merchants ON merchants.id = shop";
    let pipeline = planned_with(table, query).await;
    let mut sources = pipeline.blueprint.sources.iter();
    let merchants = sources.position(|source| source.table == "merchants").expect("it is read");
    let mut flow = start(&pipeline);
    for change in 0..200 {
        let line = |shop| format!("{{\"id\":\"shop {shop}\",\"kind\":\"kind {change}\"}}\n");
        let changed = read(&pipeline, merchants, &(0..100).map(line).collect::<String>());
        flow.take(merchants, 0, changed).await.expect("taken");
        assert!(flow.size() < 256 * 1_024, "change {change}: {} bytes", flow.size());
        if change % 50 == 49 {
            let state = flow.save().expect("a state");
            assert_eq!(under(&state, "rows 0"), 100);
            assert!(flow.size() < 100 * 128, "change {change}: {} bytes", flow.size());
            flow = restored(&pipeline, &state);
        }
    }
    let sold = sales(&pipeline, 1 - merchants, [(0, 7, 1), (0, 100, 2)]);
    let made = lines(&flow.take(1 - merchants, 0, sold).await.expect("taken"));
    let kinds: Vec<_> = made.iter().filter(|line| line.contains("kind 1")).collect();
    assert!(kinds.len() == 1 && kinds[0].contains("kind 199"), "{made:?}");
}
