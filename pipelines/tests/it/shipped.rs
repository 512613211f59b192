//! The shipped files: what they plan, and what they land, whole and in pieces.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use ingest::{log::Log, log::model::ModelLog, wire::Flat};
use pipelines::{catalogue, runner::Ends};
use warehouse::schema;

use crate::{
    history,
    landing::{self, Landing},
};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn stems(name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder(name)).expect(name);
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    entries.filter_map(|entry| stem(entry.expect("an entry").path())).collect()
}

#[test]
fn every_file_is_compiled_in() {
    let names = |files: &[(&str, &str)]| -> BTreeSet<String> {
        files.iter().map(|(name, _)| (*name).to_owned()).collect()
    };
    assert_eq!(stems("sql/sources"), names(catalogue::SOURCES));
    assert_eq!(stems("sql/tables"), names(catalogue::TABLES));
    assert_eq!(stems("sql/summaries"), names(catalogue::SUMMARIES));
}

#[tokio::test]
async fn every_pipeline_makes_what_its_table_holds() {
    let planned = catalogue::shipped().await.expect("shipped files plan");
    let mut filled: BTreeSet<&str> =
        planned.iter().map(|pipeline| pipeline.name.as_str()).collect();
    filled.extend(catalogue::SUMMARIES.iter().map(|(name, _)| *name));
    filled.insert("late_rows");
    // Closings fill these; `settlements` tests them.
    filled.extend(["settlement_statements", "settlement_lines"]);
    let held: BTreeSet<&str> = schema::TABLES.iter().map(|table| table.name).collect();
    assert_eq!(filled, held, "a table without a pipeline, or the reverse");
    for pipeline in &planned {
        let table = schema::table(&pipeline.name).expect("a table");
        pipeline.check(&table.arrow()).expect("the table's columns");
    }
}

/// The answer in `tests/golden/<pipeline>/<file>`; `UPDATE_GOLDEN=1` writes it anew.
pub fn golden(pipeline: &str, file: &str, lines: &[String]) {
    let path = folder("tests/golden").join(pipeline).join(file);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, &text).expect("a golden");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{} (UPDATE_GOLDEN=1 writes it anew)", path.display());
}

/// What a pipeline reads, as whoever reads along sees it.
async fn flat(log: &Arc<ModelLog>, topic: ingest::topic::Topic) -> Vec<String> {
    let mut lines = Vec::new();
    for partition in 0..log.partitions(topic) {
        for stored in log.read(topic, partition, 0, 1_024).await.expect("records") {
            lines.push(serde_json::to_string(&Flat::new(&stored)).expect("JSON"));
        }
    }
    lines
}

#[tokio::test]
async fn whole_streams_land_as_the_goldens_say() {
    let log = history::log().await;
    let tables = landing::tables();
    landing::land(&log, &tables, &Landing::WHOLE, &Ends::new()).await.expect("landed");
    for pipeline in catalogue::shipped().await.expect("shipped files plan") {
        let mut input = Vec::new();
        for topic in pipeline.topics() {
            input.extend(flat(&log, topic).await);
        }
        golden(&pipeline.name, "input.jsonl", &input);
        let rows = landing::rows(&tables[&pipeline.name]);
        assert!(!rows.is_empty(), "{} lands nothing of the history", pipeline.name);
        golden(&pipeline.name, "expected.jsonl", &rows);
    }
}

#[tokio::test]
async fn stopped_and_restored_lands_the_same() {
    let log = history::log().await;
    let whole = landing::tables();
    landing::land(&log, &whole, &Landing::WHOLE, &Ends::new()).await.expect("landed");
    for stop in [0, 10, 25, 50, 75, 90, 100] {
        for (batch, commit) in [(1_024, 1_000_000), (3, 4), (1, 1)] {
            let landing = Landing { batch, commit, refused: None };
            let tables = landing::tables();
            let ends = landing::part(&log, stop);
            landing::land(&log, &tables, &landing, &ends).await.expect("landed");
            landing::land(&log, &tables, &landing, &Ends::new()).await.expect("landed");
            for (name, table) in tables.iter() {
                let told = format!("{name}, stopped at {stop} %, batches of {batch}");
                assert_eq!(landing::rows(table), landing::rows(&whole[name]), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_refused_commit_loses_and_doubles_nothing() {
    let log = history::log().await;
    let whole = landing::tables();
    landing::land(&log, &whole, &Landing::WHOLE, &Ends::new()).await.expect("landed");
    for refused in 0..6 {
        let tables = landing::tables();
        let failing = Landing { batch: 2, commit: 2, refused: Some(refused) };
        let failed = landing::land(&log, &tables, &failing, &Ends::new()).await;
        assert!(refused > 0 || failed.is_err(), "the first commit is refused");
        let landing = Landing { batch: 2, commit: 2, refused: None };
        landing::land(&log, &tables, &landing, &Ends::new()).await.expect("landed");
        for (name, table) in tables.iter() {
            let told = format!("{name}, commit {refused} refused");
            assert_eq!(landing::rows(table), landing::rows(&whole[name]), "{told}");
        }
    }
}

#[tokio::test]
async fn serving_lands_what_comes_and_stops_when_told() {
    let log = Arc::new(ModelLog::default());
    let tables = landing::tables();
    let planned = catalogue::shipped().await.expect("shipped files plan");
    let (runner, registry) = landing::runner(&log, &tables, planned, &Landing::WHOLE);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(async move { runner.run(stopped).await });
    history::append(&log).await;
    // What was appended before the stop is read before it is obeyed, or after the restart below.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    stop.send(true).expect("somebody listens");
    serving.await.expect("a task").expect("it served");
    let whole = landing::tables();
    landing::land(&log, &whole, &Landing::WHOLE, &Ends::new()).await.expect("landed");
    landing::land(&log, &tables, &Landing::WHOLE, &Ends::new()).await.expect("landed");
    for (name, table) in tables.iter() {
        assert_eq!(landing::rows(table), landing::rows(&whole[name]), "{name}");
    }
    assert!(landing::metric(&registry, pipelines::metrics::LAG, "authorisations") < 1.0);
}

#[tokio::test]
async fn a_table_ahead_of_its_stream_is_an_operators() {
    let log = history::log().await;
    let tables = landing::tables();
    landing::land(&log, &tables, &Landing::WHOLE, &Ends::new()).await.expect("landed");
    let empty = Arc::new(ModelLog::default());
    let refused = landing::land(&empty, &tables, &Landing::WHOLE, &Ends::new()).await;
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("the log is older than the table"), "{refused}");
}
