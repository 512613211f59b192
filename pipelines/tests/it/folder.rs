//! Folders of files: read in the order of names, and filled so that each row is in one file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use ingest::{
    clock::ManualClock,
    log::{Log, model::ModelLog},
};
use pipelines::{
    config,
    files::{self, Settings, Written},
    folder::FolderTable,
    metrics::Metrics,
    own,
    pipeline::Pipeline,
    runner::{self, Beside, Ends, Runner},
    states::States,
};
use prometheus::Registry;
use warehouse::{
    error::WarehouseError,
    table::{Positions, Table},
    tail::Tails,
};

use crate::{history, landing};

const COLUMNS: &str = "at TIMESTAMP NOT NULL, shop TEXT, cents BIGINT";

fn table(name: &str, columns: &str, path: &Path, options: &str) -> String {
    let path = path.display();
    format!("CREATE TABLE {name} {columns} WITH (path = '{path}', {options});")
}

async fn run(text: &str, batch: usize) -> Result<Written, String> {
    let settings = Settings { batch, ..Settings::default() };
    let written = files::run("case", text, settings).await.map_err(|error| error.to_string())?;
    Ok(written[0].clone())
}

/// The files of a folder that anybody sees, below it.
fn seen(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true if path.ends_with("__in_progress") => {}
                true => folders.push(path),
                false => files.push(path.strip_prefix(folder).expect("below").to_owned()),
            }
        }
    }
    files.sort();
    files
}

/// All lines of a folder's files, in the order of their text.
fn lines(folder: &Path) -> Vec<String> {
    let text = |file: &PathBuf| fs::read_to_string(folder.join(file)).expect("text");
    let texts: Vec<String> = seen(folder).iter().map(text).collect();
    let mut lines: Vec<String> =
        texts.iter().flat_map(|text| text.lines()).map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

fn names(folder: &Path) -> Vec<String> {
    seen(folder).iter().map(|file| file.display().to_string()).collect()
}

#[tokio::test]
async fn a_folder_is_read_in_the_order_of_names_and_filled_with_whole_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir_all(from.join("deeper")).expect("a folder");
    for (name, shop, cents) in [("b.json", "b", 2), ("a.json", "a", 1), ("deeper/c.json", "c", 4)] {
        let line = format!(r#"{{"at":"2025-03-01T10:00:00","shop":"{shop}","cents":{cents}}}"#);
        fs::write(from.join(name), line).expect("written");
    }
    let source = table(
        "sales",
        &format!("({COLUMNS})"),
        &from,
        "connector = 'filesystem', format = 'json', type = 'source'",
    );
    let sink = "connector = 'filesystem', format = 'json', type = 'sink'";
    let query = "INSERT INTO out SELECT shop, cents FROM sales;";
    let text = source.clone() + &table("out", "", &to, sink) + query;
    assert_eq!(run(&text, 1).await.expect("it runs").lines, 2);
    assert_eq!(names(&to), ["00000-000.json"]);
    let written = fs::read_to_string(to.join("00000-000.json")).expect("text");
    // As on a cluster, not what lies deeper.
    assert_eq!(written, "{\"shop\":\"a\",\"cents\":1}\n{\"shop\":\"b\",\"cents\":2}\n");
    let again = run(&text, 1).await.expect_err("no row is written twice");
    assert!(again.contains("has what an earlier run wrote"), "{again}");
    assert_eq!(lines(&to).len(), 2);

    let options = "connector = 'filesystem', format = 'json', type = 'sink', \
                   'partitioning.fields' = [shop], 'filename.prefix' = 'sales'";
    let by_shop = folder.path().join("by_shop");
    let text = source.clone() + &table("out", "", &by_shop, options) + query;
    run(&text, 1_024).await.expect("it runs");
    assert_eq!(names(&by_shop), ["shop=a/sales-00000-000.json", "shop=b/sales-00000-001.json"]);

    let small = folder.path().join("small");
    let options = "connector = 'filesystem', format = 'json', type = 'sink', \
                   'rolling_policy.file_size' = '1'";
    run(&(source.clone() + &table("out", "", &small, options) + query), 1).await.expect("it runs");
    assert_eq!(names(&small), ["00000-000.json", "00000-001.json"]);

    let others = run(&(source.clone() + &table("out", "", &from, sink) + query), 1).await;
    assert!(others.expect_err("a folder of others").contains("holds files that no pipeline wrote"));
    let options = "connector = 'filesystem', format = 'json', type = 'sink', \
                   'partitioning.fields' = [colour]";
    let unknown = run(&(source + &table("out", "", &to, options) + query), 1).await;
    assert!(unknown.expect_err("no such column").contains("partitioning.fields names colour"));
}

#[tokio::test]
async fn a_line_may_be_a_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from.log"), folder.path().join("to"));
    fs::write(&from, "GET /a\n\n{\"b\": 1}\n").expect("written");
    let source = "connector = 'single_file', format = 'raw_string', type = 'source'";
    let sink = "connector = 'filesystem', format = 'json', type = 'sink'";
    let text = table("logs", "(value TEXT)", &from, source)
        + &table("out", "", &to, sink)
        + "INSERT INTO out SELECT value FROM logs;";
    run(&text, 2).await.expect("it runs");
    let wanted = [r#"{"value":""}"#, r#"{"value":"GET /a"}"#, r#"{"value":"{\"b\": 1}"}"#];
    assert_eq!(lines(&to), wanted);
    let sink = sink.replace("'json'", "'raw_string'");
    let text = table("logs", "(value TEXT)", &from, source)
        + &table("out", "(value TEXT)", &to, &sink)
        + "INSERT INTO out SELECT value FROM logs;";
    let refused = run(&text, 2).await.expect_err("a sink of texts");
    assert!(
        refused.contains("format = 'raw_string' (write format = 'json') of table out"),
        "{refused}"
    );
}

#[tokio::test]
async fn parquet_is_written_and_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, parquet) = (folder.path().join("from.json"), folder.path().join("parquet"));
    let to = folder.path().join("to.json");
    let sales = "{\"at\":\"2025-03-01T10:00:00.500\",\"shop\":\"a\",\"cents\":1}\n\
                 {\"at\":\"2025-03-01T10:00:01\",\"shop\":null,\"cents\":2}\n";
    fs::write(&from, sales).expect("written");
    let columns = format!("({COLUMNS})");
    let line = "connector = 'single_file', format = 'json', type =";
    for compression in ["zstd", "snappy", "uncompressed"] {
        let folder = parquet.with_extension(compression);
        let sink = format!(
            "connector = 'filesystem', format = 'parquet', 'parquet.compression' = '{compression}', \
             type = 'sink'"
        );
        let text = table("sales", &columns, &from, &format!("{line} 'source'"))
            + &table("out", "", &folder, &sink)
            + "INSERT INTO out SELECT at, shop, cents FROM sales;";
        run(&text, 1).await.expect("it runs");
        assert_eq!(names(&folder), ["00000-000.parquet"]);
        let source = "connector = 'filesystem', format = 'parquet', type = 'source'";
        let text = table("sales", &columns, &folder, source)
            + &table("out", "", &to, &format!("{line} 'sink'"))
            + "INSERT INTO out SELECT at, shop, cents FROM sales;";
        run(&text, 1).await.expect("it runs");
        assert_eq!(fs::read_to_string(&to).expect("text"), sales, "{compression}");
    }
}

#[tokio::test]
async fn a_table_that_is_named_twice_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from.json"), folder.path().join("to"));
    let sales = r#"{"at":"2025-03-01T10:00:00","shop":"a","cents":1}
                   {"at":"2025-03-01T10:00:01","shop":"a","cents":2}"#;
    fs::write(&from, sales).expect("written");
    let text =
        table(
            "sales",
            &format!("({COLUMNS}, WATERMARK FOR at)"),
            &from,
            "connector = 'single_file', format = 'json', type = 'source'",
        ) + &table("out", "", &to, "connector = 'filesystem', format = 'json', type = 'sink'")
            + "INSERT INTO out SELECT a.cents AS one, b.cents AS other \
           FROM sales a JOIN sales b ON a.shop = b.shop;";
    for batch in [1, 1_024] {
        let _ = fs::remove_dir_all(&to);
        run(&text, batch).await.expect("it runs");
        let row = |one, other| format!(r#"{{"one":{one},"other":{other}}}"#);
        assert_eq!(lines(&to), [row(1, 1), row(1, 2), row(2, 1), row(2, 2)], "{batch}");
    }
}

fn feed(folder: &Path) -> String {
    let options = "connector = 'filesystem', format = 'json', type = 'sink', \
                   'partitioning.fields' = [merchant_id]";
    table("feed", "", folder, options)
        + "INSERT INTO feed SELECT authorisation_id, merchant_id FROM authorisation_records \
           WHERE type = 'authorisation_decided';"
}

async fn planned(folder: &Path) -> Pipeline {
    own::one("feed", &feed(folder)).await.expect("it plans")
}

fn opened(pipeline: &Pipeline) -> Result<FolderTable, String> {
    let opened = FolderTable::of(pipeline).map_err(|error| error.to_string())?;
    opened.ok_or_else(|| "no folder".to_owned())
}

/// Starts anew from what the folder says, and lands up to some offsets.
async fn land(log: &Arc<ModelLog>, folder: &Path, commit: u64, ends: &Ends) {
    let pipeline = planned(folder).await;
    let table: Arc<dyn Table> = Arc::new(opened(&pipeline).expect("it is opened"));
    let metrics = Metrics::register(&Registry::new()).expect("fresh metrics");
    let clock = Arc::new(ManualClock::at(DateTime::<Utc>::UNIX_EPOCH));
    let tails = Tails::default();
    let beside = Beside { states: Arc::new(States::default()), tails: &tails, late: None };
    let settings =
        config::Settings { commit_records: commit, batch_records: 3, ..Default::default() };
    let read: Arc<dyn Log> = Arc::clone(log) as _;
    let lines = vec![(pipeline, table)];
    let runner = Runner::new(read, clock, metrics, settings, beside, lines).expect("it fits");
    runner.catch_up(ends).await.expect("landed");
}

#[tokio::test]
async fn each_row_is_in_one_file_however_often_a_node_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = history::log().await;
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    land(&log, &whole, 1_000_000, &Ends::new()).await;
    let wanted = lines(&whole);
    assert!(!wanted.is_empty());
    for part in [30, 60, 60, 100] {
        land(&log, &pieces, 3, &landing::part(&log, part)).await;
        // As a power cut may leave it: a file is not at its place, and one is begun that no commit has.
        let hidden = pieces.join("__in_progress");
        let last = fs::read_to_string(hidden.join("commit.json")).expect("a commit");
        let last: serde_json::Value = serde_json::from_str(&last).expect("JSON");
        for file in last["files"].as_array().expect("files") {
            let [name, place] = [0_usize, 1].map(|at| file[at].as_str().expect("a name"));
            fs::rename(pieces.join(place), hidden.join(name)).expect("moved back");
        }
        fs::write(hidden.join("09999-000.json"), "{\"half\":").expect("written");
    }
    opened(&planned(&pieces).await).expect("it is opened");
    assert_eq!(lines(&pieces), wanted);
    assert!(names(&pieces).iter().all(|name| name.starts_with("merchant_id=")));
    let hidden = fs::read_dir(pieces.join("__in_progress")).expect("a folder");
    assert_eq!(hidden.count(), 2, "only the commit is left, and the lock");
}

#[tokio::test]
async fn a_folder_has_one_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = planned(folder.path()).await;
    let table = opened(&pipeline).expect("opened");
    let refused = opened(&pipeline).expect_err("it is open");
    assert!(refused.contains("is being filled already"), "{refused}");
    let reached = Positions::from([("feed/0".to_owned(), 7)]);
    table.commit(Vec::new(), &reached).await.expect("committed");

    // Somebody whom no lock keeps out.
    let commit = folder.path().join("__in_progress/commit.json");
    let text = fs::read_to_string(&commit).expect("a commit");
    let other = text.replace("\"number\":1", "\"number\":2").replace(":7", ":9");
    fs::write(&commit, &other).expect("written");
    let moved = table.commit(Vec::new(), &reached).await.expect_err("another wrote");
    assert!(matches!(moved, WarehouseError::Moved { .. }), "{moved}");
    assert_eq!(fs::read_to_string(&commit).expect("a commit"), other);
    let positions = table.positions(&["feed/0".to_owned()]).await.expect("positions");
    assert_eq!(positions, Positions::from([("feed/0".to_owned(), 9)]));
    table.commit(Vec::new(), &reached).await.expect("it knows where it is");

    drop(table);
    let named = feed(folder.path()).replace("feed", "second");
    let second = own::one("second", &named).await.expect("it plans");
    let refused = opened(&second).expect_err("the folder of another");
    assert!(refused.contains("is the folder of another pipeline, feed"), "{refused}");
}

#[tokio::test]
async fn a_folder_that_is_ahead_of_its_streams_is_not_gone_on_with() {
    let (folder, log) = (tempfile::tempdir().expect("a folder"), ModelLog::default());
    let pipeline = planned(folder.path()).await;
    let table = opened(&pipeline).expect("opened");
    let states = States::default();
    runner::check(&log, &states, &pipeline, &table).await.expect("it is new");
    let reached = Positions::from([("feed/0".to_owned(), 7)]);
    table.commit(Vec::new(), &reached).await.expect("committed");
    let refused = runner::check(&log, &states, &pipeline, &table).await.expect_err("it is ahead");
    assert!(refused.to_string().contains("the log is older than the table"), "{refused}");
}

#[tokio::test]
async fn a_value_too_long_for_a_folder_leaves_no_commit_that_cannot_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from.json"), folder.path().join("to"));
    let text = table(
        "sales",
        &format!("({COLUMNS})"),
        &from,
        "connector = 'single_file', format = 'json', type = 'source'",
    ) + &table(
        "out",
        "",
        &to,
        "connector = 'filesystem', format = 'json', type = 'sink', \
         'partitioning.fields' = [shop]",
    ) + "INSERT INTO out SELECT shop, cents FROM sales;";
    let sale = |shop: &str| format!(r#"{{"at":"2025-03-01T10:00:00","shop":"{shop}","cents":1}}"#);
    fs::write(&from, sale(&"s".repeat(256))).expect("written");
    run(&text, 1).await.expect_err("no disk has such a name");
    assert!(names(&to).is_empty() && !to.join("__in_progress/commit.json").exists());
    fs::write(&from, sale("s")).expect("written");
    run(&text, 1).await.expect("the folder is as good as new");
    assert_eq!(names(&to), ["shop=s/00000-000.json"]);
}

#[tokio::test]
async fn a_node_reads_streams_and_fills_what_stays() {
    let text = feed(Path::new("feed"));
    let refused = own::one("feed", &text).await.expect_err("a relative path").to_string();
    assert!(refused.contains("begins at no root"), "{refused}");
    let files = "CREATE TABLE lines (authorisation_id TEXT, merchant_id TEXT, type TEXT) WITH (
                   connector = 'single_file', path = '/x', format = 'json', type = 'source');";
    let text = files.to_owned() + &feed(Path::new("/x")).replace("authorisation_records", "lines");
    let refused = own::one("feed", &text).await.expect_err("no stream").to_string();
    assert!(
        refused.contains("lines is single_file: a node reads connector = 'stream'"),
        "{refused}"
    );
}
