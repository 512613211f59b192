//! The shipped files: what they plan, and what they land, whole and in pieces.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use arrow::{array::RecordBatch, json::ReaderBuilder};
use domain::decision::SkipReason;
use ingest::{
    log::{Log, model::ModelLog},
    record::Record,
    topic::Topic,
    wire::{
        Flat,
        v1::{AuthorisationDecided, Event},
    },
};
use pipelines::{
    catalogue,
    decode::{self, Decoder},
    runner::Ends,
};
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

/// Queries see the tables of one stream at one set of offsets, so the warehouse has to know which these
/// are, and by which names their commits tell them.
#[tokio::test]
async fn the_warehouse_knows_which_stream_each_table_is_made_of() {
    for pipeline in catalogue::shipped().await.expect("shipped files plan") {
        let table = schema::table(&pipeline.name).expect("a table");
        let streams: Vec<_> = pipeline.topics().into_iter().map(Topic::name).collect();
        assert_eq!(streams, Vec::from_iter(table.stream()), "{}", table.name);
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
async fn flat(log: &Arc<ModelLog>, topic: Topic) -> Vec<String> {
    let mut lines = Vec::new();
    for partition in 0..log.partitions(topic) {
        for stored in log.read(topic, partition, 0, 1_024).await.expect("records") {
            lines.push(serde_json::to_string(&Flat::new(&stored)).expect("JSON"));
        }
    }
    lines
}

#[tokio::test]
async fn records_decode_as_the_engine_reads_their_json() {
    let log = history::log().await;
    let planned = catalogue::shipped().await.expect("shipped files plan");
    let planned: Vec<_> = planned.iter().collect();
    let topics: BTreeSet<Topic> = planned.iter().flat_map(|pipeline| pipeline.topics()).collect();
    for topic in topics {
        let columns = decode::union(&planned, topic).expect("columns");
        let mut decoder = Decoder::new(topic, Arc::clone(&columns)).expect("a decoder");
        for partition in 0..log.partitions(topic) {
            let records = log.read(topic, partition, 0, 1_024).await.expect("records");
            let line = |stored| serde_json::to_string(&Flat::new(stored)).expect("JSON") + "\n";
            let text: String = records.iter().map(line).collect();
            let reader = ReaderBuilder::new(Arc::clone(&columns)).build(text.as_bytes());
            let read = reader.expect("a reader").next().transpose().expect("rows of JSON");
            let read = read.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&columns)));
            assert_eq!(decoder.decode(&records).expect("rows"), read, "{topic:?} {partition}");
        }
    }
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

/// The reasons stand in the order in which instructions are refused, so the last one is the nearest.
#[tokio::test]
async fn a_decision_that_gave_nothing_tells_what_came_nearest_to_giving() {
    let all = SkipReason::ALL.map(SkipReason::code);
    let at = "2025-03-03T09:00:00Z";
    let decided = |name: &str, decision: &str, reasons: &[&str]| {
        let skipped = |reason: &&str| history::skipped("i", reason);
        let event = AuthorisationDecided {
            decision: decision.into(),
            instructions: reasons.iter().map(skipped).collect(),
            ..history::decided(name, at, "captured")
        };
        history::record(name, history::household(0), at, Event::AuthorisationDecided(event.into()))
    };
    let mut records = vec![
        decided("-", "no_benefit", &[]),
        decided("?", "no_benefit", &["weather"]),
        decided("+", "approved", &all),
    ];
    let mut expected = vec![("-", None), ("?", None), ("+", None)];
    for (place, nearest) in all.into_iter().enumerate() {
        // The nearest one stands first here, and last there.
        let mut reasons = all[..=place].to_vec();
        if place % 2 == 0 {
            reasons.reverse();
        }
        records.push(decided(nearest, "no_benefit", &reasons));
        expected.push((nearest, Some(nearest)));
    }
    let (log, tables) = (Arc::new(ModelLog::default()), landing::tables());
    log.append(Topic::Authorisations, &records).await.expect("appended");
    landing::land(&log, &tables, &Landing::WHOLE, &Ends::new()).await.expect("landed");
    let rows = landing::rows(&tables["authorisations"]);
    assert_eq!(rows.len(), expected.len());
    for (name, reason) in expected {
        let id = format!("{{\"authorisation_id\":\"{name}\",");
        let row = rows.iter().find(|row| row.starts_with(&id)).expect(name);
        let row: serde_json::Value = serde_json::from_str(row).expect("JSON");
        assert_eq!(row["no_benefit_reason"].as_str(), reason, "{name}");
    }
}

/// People who are at a till at the same time: an accumulator of `COUNT(DISTINCT)` for each would take
/// three times the memory that a pipeline may, and room for thousands of rows for each few that wait
/// twice as much.
const PEOPLE: u32 = 30_000;

/// A use of each of them within five minutes from `from` on.
fn uses(from: &str, territory: &str) -> Vec<Record> {
    let from = history::at(from);
    let used = |person: u32| {
        let at = from + chrono::TimeDelta::milliseconds(i64::from(person) * 10);
        let at = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let name = format!("{person} in {territory}");
        let used = AuthorisationDecided {
            decision: "approved".into(),
            recipient: Some(format!("person-{person}")),
            territory: territory.into(),
            ..history::decided(&name, &at, "captured")
        };
        let key = history::household(person % Topic::Authorisations.partitions());
        history::record(&name, key, &at, Event::AuthorisationDecided(used.into()))
    };
    (0..PEOPLE).map(used).collect()
}

#[tokio::test]
async fn everybody_is_at_a_till_at_once() {
    let log = Arc::new(ModelLog::default());
    let tables = landing::tables();
    let heartbeats = |until| {
        let partitions = 0..Topic::Authorisations.partitions();
        partitions.map(|partition| history::heartbeat(partition, until)).collect::<Vec<_>>()
    };
    let came =
        [uses("2025-03-03T09:00:00Z", "LV0001000"), uses("2025-03-03T09:05:00Z", "LV0002000")];
    // First all rows wait for time to pass them, then all sessions are open, then they are over.
    let steps =
        [came.concat(), heartbeats("2025-03-03T09:10:01Z"), heartbeats("2025-03-03T10:00:00Z")];
    for records in steps {
        log.append(Topic::Authorisations, &records).await.expect("appended");
        let planned = catalogue::shipped().await.expect("shipped files plan");
        let anomalies = planned.into_iter().filter(|pipeline| pipeline.name == "anomalies");
        // A few rows at a time, as they come to a node.
        let landing = Landing { batch: 16, ..Landing::WHOLE };
        let (runner, _) = landing::runner(&log, &tables, anomalies.collect(), &landing);
        runner.catch_up(&Ends::new()).await.expect("landed");
    }
    let rows = landing::rows(&tables["anomalies"]);
    let distant = |row: &&String| row.contains(r#""observed":1,"compared":2"#);
    assert_eq!(rows.iter().filter(distant).count(), rows.len(), "{:?}", rows.first());
    assert_eq!(rows.len(), PEOPLE as usize);
}
