//! What a pipeline file may say: everything else is refused with the construct named.

use pipelines::planner;

const SOURCE: (&str, &str) = (
    "records",
    "CREATE TABLE records (
       at TIMESTAMP NOT NULL, recorded_at TIMESTAMP(6) NOT NULL, kind TEXT, cents BIGINT,
       lines STRUCT<item TEXT, benefits STRUCT<cents BIGINT>[]>[],
       WATERMARK FOR at AS at - INTERVAL '1 minute'
     ) WITH (connector = 'stream', topic = 'means-changes', format = 'json', type = 'source');",
);

fn file(query: &str) -> String {
    format!(
        "CREATE TABLE out WITH (connector = 'delta', path = 'out', type = 'sink', \
         format = 'parquet'); INSERT INTO out {query};"
    )
}

async fn planned(query: &str) -> Result<Vec<String>, String> {
    let planned = planner::plan(&[SOURCE], &[("out", &file(query))]).await;
    let planned = planned.map_err(|error| error.to_string())?;
    let columns = planned[0].output.fields().iter();
    Ok(columns.map(|field| format!("{} {}", field.name(), field.data_type())).collect())
}

#[tokio::test]
async fn money_is_exact() {
    let planned = planned(
        "SELECT CAST(cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS amount FROM records",
    );
    assert_eq!(planned.await.as_deref(), Ok(["amount Decimal128(18, 2)".to_owned()].as_slice()));
}

#[tokio::test]
async fn one_unnest_per_projection_nests_in_subqueries() {
    let planned = planned(
        "SELECT item, benefit.cents AS cents FROM (
           SELECT line.item AS item, UNNEST(line.benefits) AS benefit FROM (
             SELECT UNNEST(lines) AS line FROM records WHERE kind = 'x') AS a) AS b",
    );
    assert_eq!(planned.await, Ok(vec!["item Utf8".into(), "cents Int64".into()]));
}

#[tokio::test]
async fn views_by_with_and_union_all_run() {
    assert!(planned("WITH a AS (SELECT cents FROM records) SELECT cents FROM a").await.is_ok());
    let both = "SELECT cents FROM records UNION ALL SELECT cents + 1 AS cents FROM records";
    assert!(planned(both).await.is_ok());
}

#[tokio::test]
async fn what_a_stream_cannot_do_is_refused_by_name() {
    let cases = [
        ("SELECT kind, COUNT(*) AS n FROM records GROUP BY kind", "its rows are updated"),
        ("SELECT DISTINCT cents FROM records", "its rows are updated"),
        ("SELECT a.cents FROM records AS a, records AS b", "needs an equality of both sides"),
        (
            "SELECT a.cents FROM records AS a LEFT JOIN records AS b ON a.kind = b.kind",
            "can't handle non-inner joins without windows",
        ),
        ("SELECT cents FROM records ORDER BY cents", "ORDER BY is not currently supported"),
        ("SELECT cents FROM records LIMIT 1", "LIMIT is not currently supported"),
        (
            "SELECT SUM(cents) OVER (PARTITION BY kind) AS s FROM records",
            "Window functions require already windowed input",
        ),
        (
            "SELECT UNNEST(lines) AS a, UNNEST(make_array(cents)) AS b FROM records",
            "more than one UNNEST per projection",
        ),
        (
            "SELECT cents FROM records WHERE cents IN (SELECT cents FROM records)",
            "can't handle non-inner joins without windows",
        ),
    ];
    for (query, construct) in cases {
        let refused = planned(query).await.expect_err(query);
        assert!(refused.starts_with("out: ") && refused.contains(construct), "{query}: {refused}");
    }
}

#[tokio::test]
async fn what_is_wrong_says_so() {
    let cases = [
        ("SELECT cents FROM elsewhere", "out: there is no source elsewhere"),
        (
            "SELECT tumble(INTERVAL '1 month') AS w, COUNT(*) AS n FROM records GROUP BY w",
            "out: cannot plan its query: Error during planning: tumble() cannot have months, which \
             differ in length: use days",
        ),
        (
            "SELECT get_city(kind) AS city FROM records",
            "out: cannot plan its query: Error during planning: no such function 'get_city' \
             (functions in Rust are added by udf::add before planning; async and Python ones do \
             not run here)",
        ),
    ];
    for (query, wrong) in cases {
        assert_eq!(planned(query).await.expect_err(query), wrong);
    }
    let unplanned = planned("SELECT colour FROM records").await.expect_err("no such column");
    assert!(unplanned.starts_with("out: cannot plan its query"), "{unplanned}");
}

#[tokio::test]
async fn what_is_filled_is_not_read() {
    for (declared, refused) in [
        ("out", "can't select from out: it is a sink"),
        ("m", "can't select from the memory table m: nothing is inserted into it"),
    ] {
        let text = file(&format!("SELECT a FROM {declared}"));
        let text =
            "CREATE TABLE m (a INT); ".to_owned() + &text.replace("out WITH", "out (a INT) WITH");
        let wrong = planner::plan(&[SOURCE], &[("out", &text)]).await.expect_err(declared);
        assert!(wrong.to_string().contains(refused), "{wrong}");
    }
}

#[tokio::test]
async fn a_memory_table_is_filled_with_all_its_columns() {
    for (made, told) in [
        ("cents", "INSERT INTO m makes 1 columns, but it has 2"),
        ("cents, kind, cents AS more", "INSERT INTO m makes 3 columns, but it has 2"),
    ] {
        let text =
            format!("CREATE TABLE m (a INT, b TEXT); INSERT INTO m SELECT {made} FROM records; ")
                + &file("SELECT a FROM m");
        let refused = planner::plan(&[SOURCE], &[("out", &text)]).await.expect_err(made);
        assert!(refused.to_string().contains(told), "{refused}");
    }
}

#[tokio::test]
async fn a_memory_table_is_read_below_the_insert_that_fills_it() {
    let fills = "INSERT INTO m SELECT cents FROM records; ";
    let reads = file("SELECT a FROM m");
    let of_its_own = file("WITH m AS (SELECT cents AS a FROM records) SELECT a FROM m");
    let of_view = "CREATE VIEW v AS SELECT a FROM m; ".to_owned() + &file("SELECT a FROM v");
    let into =
        |table| format!("INSERT INTO {table} reads the memory table m, which an INSERT above");
    for (statements, refused) in [
        (fills.to_owned() + &reads, None),
        (of_its_own + fills, None),
        (reads.clone() + fills, Some(into("out"))),
        ("INSERT INTO m SELECT a FROM m; ".to_owned() + &reads, Some(into("m"))),
        (fills.to_owned() + &of_view, Some("the view v reads the memory table m, and".into())),
        (of_view + fills, Some("the view v reads the memory table m, and".into())),
    ] {
        let text = "CREATE TABLE m (a BIGINT); ".to_owned() + &statements;
        let planned = planner::plan(&[SOURCE], &[("out", &text)]).await;
        let told = planned.err().map(|error| error.to_string());
        assert_eq!(told.is_some(), refused.is_some(), "{text}: {told:?}");
        let told = told.unwrap_or_default();
        assert!(told.contains(&refused.unwrap_or_default()), "{text}: {told}");
    }
}

#[tokio::test]
async fn a_tumble_may_be_said_in_each_way_that_the_dialect_has() {
    for width in ["INTERVAL '1 minute'", "INTERVAL '1' MINUTE", "'60 seconds'", "'1 minutes'"] {
        let query = format!(
            "SELECT w.start AS start, w.\"end\" AS until, n FROM (SELECT tumble({width}) AS w, \
             COUNT(*) AS n FROM records GROUP BY w) AS a"
        );
        let columns = planned(&query).await.expect(width);
        assert_eq!(columns, ["start Timestamp(ns)", "until Timestamp(ns)", "n Int64"], "{width}");
    }
}

#[tokio::test]
async fn a_file_names_one_table() {
    let two = file("SELECT cents FROM records") + "INSERT INTO out SELECT cents FROM records;";
    assert!(
        planner::plan(&[SOURCE], &[("out", &two)]).await.is_ok(),
        "inserts are brought together"
    );
    let other = file("SELECT cents FROM records");
    let wrong = planner::plan(&[SOURCE], &[("other", &other)]).await.expect_err("another name");
    assert_eq!(wrong.to_string(), "other: file, sink, path and INSERT name different tables");
}

#[tokio::test]
async fn event_time_is_declared_and_never_null() {
    let source = |columns: &str| {
        format!(
            "CREATE TABLE records ({columns}) WITH (connector = 'stream', \
             topic = 'means-changes', format = 'json', type = 'source');"
        )
    };
    for (columns, wrong) in [
        ("at TIMESTAMP, WATERMARK FOR at", "records: WATERMARK FOR at, which may be NULL"),
        ("at TEXT NOT NULL, WATERMARK FOR at", "records: WATERMARK FOR at: no TIMESTAMP"),
        ("at TIMESTAMP NOT NULL, WATERMARK FOR then", "records: WATERMARK FOR then: no column"),
    ] {
        let refused = planner::plan(&[("records", &source(columns))], &[]).await;
        assert_eq!(refused.expect_err(columns).to_string(), wrong);
    }
    let bytes = planner::plan(&[("records", &source("at TIMESTAMP, receipt BYTEA"))], &[]).await;
    let bytes = bytes.expect_err("no record has bytes").to_string();
    assert!(bytes.contains("the type Binary of records.receipt"), "{bytes}");
    let windowed = file(
        "SELECT n FROM (SELECT tumble('1 minute') AS w, COUNT(*) AS n FROM records GROUP BY w) AS a",
    );
    for columns in ["at TIMESTAMP NOT NULL, kind TEXT", "event_time TEXT, kind TEXT"] {
        let plain = source(columns);
        let refused = planner::plan(&[("records", &plain)], &[("out", &windowed)]).await;
        let refused = refused.expect_err("no watermark").to_string();
        let told = "records declares no WATERMARK FOR, and no event_time TIMESTAMP";
        assert!(refused.contains(told), "{refused}");
    }
    let generated = "told TEXT, event_time TIMESTAMP GENERATED ALWAYS AS (CAST(told AS TIMESTAMP))";
    let planned = planner::plan(&[("records", &source(generated))], &[("out", &windowed)]).await;
    assert!(planned.is_ok(), "{planned:?}");
}

/// A file that reads its own table of lines.
fn over_lines(columns: &str, query: &str) -> String {
    format!(
        "CREATE TABLE s ({columns}) WITH (connector = 'single_file', path = 'x', type = 'source', \
         format = 'json'); CREATE TABLE out WITH (connector = 'single_file', path = 'y', \
         type = 'sink', format = 'json'); INSERT INTO out {query};"
    )
}

#[tokio::test]
async fn what_a_table_computes_is_checked_whether_it_is_read_or_not() {
    for (columns, wrong) in [
        ("a INT, t TEXT, WATERMARK FOR t", "WATERMARK FOR t: no TIMESTAMP"),
        ("a INT, WATERMARK FOR nope", "WATERMARK FOR nope: no column"),
        (
            "a INT, at TIMESTAMP, WATERMARK FOR at AS a",
            "WATERMARK FOR at AS Int32, which is no TIMESTAMP",
        ),
        (
            "a INT, at TIMESTAMP, until TIMESTAMP, WATERMARK FOR at AS until",
            "WATERMARK FOR at AS an expression that may be NULL (declare what it reads NOT NULL",
        ),
        ("a INT, g INT GENERATED ALWAYS AS (nope)", "column g: Schema error: No field named nope"),
    ] {
        let text = over_lines(columns, "SELECT a FROM s");
        let refused = planner::standalone(&[], "mine", &text).await.expect_err(columns).to_string();
        assert!(refused.starts_with(&format!("mine: table s: {wrong}")), "{columns}: {refused}");
    }
    for columns in [
        "a INT, at TIMESTAMP, WATERMARK FOR at",
        "a INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 seconds'",
        "a INT, at TIMESTAMP NOT NULL, until TIMESTAMP, \
         WATERMARK FOR at AS COALESCE(until, at - INTERVAL '5 minutes')",
        "a INT, told TEXT NOT NULL, at TIMESTAMP GENERATED ALWAYS AS (CAST(told AS TIMESTAMP)), \
         WATERMARK FOR at AS CAST(told AS TIMESTAMP) - INTERVAL '5 seconds'",
    ] {
        let text = over_lines(columns, "SELECT a FROM s");
        let planned = planner::standalone(&[], "mine", &text).await;
        assert!(planned.is_ok(), "{columns}: {planned:?}");
    }
}

#[tokio::test]
async fn a_window_over_a_stream_without_heartbeats_is_warned_of() {
    let windowed = "SELECT n FROM (SELECT tumble('1 minute') AS w, COUNT(*) AS n FROM records GROUP BY w) AS a";
    let timed = SOURCE.1.replace("means-changes", "authorisations");
    for (source, query, warned) in [
        (SOURCE.1, windowed, true),
        (SOURCE.1, "SELECT kind FROM records", false),
        (timed.as_str(), windowed, false),
    ] {
        let text = file(query);
        let planned = planner::plan(&[(SOURCE.0, source)], &[("out", &text)]).await;
        let planned = planned.expect("it plans").remove(0);
        let warning = "the stream means-changes has no heartbeats";
        assert_eq!(planned.warnings().iter().any(|text| text.contains(warning)), warned, "{query}");
        assert_eq!(planned.to_string().contains(warning), warned, "{query}");
    }
}

#[tokio::test]
async fn columns_are_those_that_a_sink_declares_by_their_places() {
    let sink = |columns: &str| {
        format!(
            "CREATE TABLE out ({columns}) WITH (connector = 'delta', path = 'out', type = 'sink', \
             format = 'parquet'); INSERT INTO out SELECT cents, kind FROM records;"
        )
    };
    let text = sink("amount INT, what TEXT");
    let planned = planner::plan(&[SOURCE], &[("out", &text)]).await.expect("cast");
    let columns = planned[0].output.fields().iter();
    let columns: Vec<_> = columns.map(|field| field.name().as_str()).collect();
    assert_eq!(columns, ["amount", "what"]);
    let text = sink("amount INT");
    let refused = planner::plan(&[SOURCE], &[("out", &text)]).await.expect_err("another number");
    assert_eq!(refused.to_string(), "out: makes 2 columns, but out has 1");
}
