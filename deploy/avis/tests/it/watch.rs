//! What operators watch: the metrics of a running node are those of the table, and no others.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{avis, succeeded, up::Server};

/// Every metric: its name, type and labels, when it is there, what it means (as its HELP says), what to do.
const TABLE: &str = include_str!("../../../prometheus/metrics.csv");
/// The names that are fixed for the outside.
const FIXED: [&str; 13] = [
    "avis_authoriser_decision_duration_seconds decision",
    "avis_authoriser_decisions_total decision",
    "avis_ingest_appended_total stream",
    "avis_ingest_sync_duration_seconds ",
    "avis_ingest_dead_letters_total source reason",
    "avis_pipelines_lag_records pipeline",
    "avis_pipelines_freshness_seconds table",
    "avis_pipelines_late_records_total pipeline",
    "avis_warehouse_commit_duration_seconds table",
    "avis_warehouse_live_files table",
    "avis_cache_request_duration_seconds backend operation",
    "avis_connectors_requests_total connector status",
    "avis_books_difference_cents ",
];

/// How often it was told how long a decision took to be visible.
const VISIBLE: &str = r#"avis_pipelines_visible_duration_seconds_count{pipeline="authorisations"}"#;

/// A metric as a node tells it.
#[derive(Debug, Default)]
struct Told {
    kind: String,
    help: String,
    labels: Vec<String>,
    samples: Vec<(String, f64)>,
}

fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("one").push(letter),
        }
    }
    fields
}

/// The labels of a sample, but for a histogram's bounds. Their values are of closed sets, and have neither
/// commas nor equals signs; a route has braces.
fn labels(sample: &str) -> Vec<String> {
    let Some((_, rest)) = sample.split_once('{') else { return Vec::new() };
    let (inside, _) = rest.rsplit_once('}').expect("an end");
    let pairs = inside.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(label, _)| label.to_owned()).filter(|label| label != "le").collect()
}

fn told(text: &str) -> BTreeMap<String, Told> {
    let mut metrics: BTreeMap<String, Told> = BTreeMap::new();
    let (_, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut current = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a text");
            current = name.to_owned();
            help.clone_into(&mut metrics.entry(current.clone()).or_default().help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            kind.clone_into(&mut metrics.entry(name.to_owned()).or_default().kind);
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            assert!(sample.starts_with(&current), "{sample} stands below {current}");
            let metric = metrics.get_mut(&current).expect("a type stands before");
            metric.labels = labels(sample);
            metric.samples.push((sample.to_owned(), value.parse().expect("a number")));
        }
    }
    metrics
}

fn value(metrics: &BTreeMap<String, Told>, sample: &str) -> f64 {
    let name = sample.split('{').next().expect("a name");
    let plain = name.strip_suffix("_count").unwrap_or(name);
    let metric = metrics.get(name).or_else(|| metrics.get(plain)).expect(name);
    metric.samples.iter().find(|(known, _)| known == sample).map_or(f64::NAN, |(_, value)| *value)
}

fn token(folder: &Path, role: &str, subject: &str, organisation: &str) -> String {
    let mut command = avis();
    command.args(["token", "issue", "--role", role, "--subject", subject]);
    command.args(["--organisation", organisation, "--data"]).arg(folder);
    succeeded(&command.output().expect("run")).trim().to_owned()
}

/// A basket that is decided, one whose terminal is not there, and an event that nobody can read.
fn ask(server: &Server, folder: &Path) {
    let now = chrono::Utc::now().to_rfc3339();
    let basket = |terminal: &str| {
        json!({"terminal_id": terminal, "occurred_at": now, "mode": "sale",
            "lines": [{"line": 1, "item": "x", "quantity": 1, "unit_price_cents": 100}]})
    };
    let terminal = "T-000012";
    let bearer = token(folder, "terminal", terminal, "corner");
    let (path, key) = ("/v1/authorisations", "Idempotency-Key: 1\r\n");
    assert_eq!(server.ask(&bearer, "POST", path, key, &basket(terminal)).0, 200);
    let stranger = token(folder, "terminal", "T-nobody", "corner");
    let refused = server.ask(&stranger, "POST", path, key, &basket("T-nobody")).0;
    assert!((400..500).contains(&refused), "{refused}");
    let source = token(folder, "source", "dagr", "dagr");
    let event = json!({"specversion": "1.0", "id": "1", "source": "/dagr",
        "type": "lv.dagr.person.changed", "data": {"sequence": 1}});
    let json = "Content-Type: application/cloudevents+json\r\n";
    server.ask(&source, "POST", "/v1/events", json, &event);
}

#[test]
fn metrics_are_those_of_the_table() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("demo");
    let arguments = ["demo", "--generate", "500", "--people", "100", "--json", "--out"];
    succeeded(&avis().args(arguments).arg(&folder).output().expect("run"));
    let server = Server::start(&folder);
    server.wait_until_ready();
    ask(&server, &folder);
    let metrics = once_visible(&server);
    let mut table = BTreeMap::new();
    for line in TABLE.lines().skip(1) {
        let row: [String; 6] = fields(line).try_into().expect("six columns");
        let [name, kind, labels, when, meaning, act] = row;
        assert!(!act.is_empty(), "{name}: what to do is not said");
        table.insert(name, (kind, labels, when, meaning));
    }
    for fixed in FIXED {
        let (name, labels) = fixed.split_once(' ').expect("two words");
        assert_eq!(table[name].1, labels, "{name}");
    }
    let mut faults = Vec::new();
    for (name, (kind, labels, when, meaning)) in &table {
        let Some(told) = metrics.get(name) else {
            if when == "always" || when == "first" {
                faults.push(format!("{name} is not there"));
            }
            continue;
        };
        let mut labels: Vec<_> = labels.split_whitespace().collect();
        labels.sort_unstable();
        let mut known = told.labels.clone();
        known.sort_unstable();
        if (&told.kind, &told.help) != (kind, meaning) || known != labels {
            faults.push(format!("{name}: {kind} {labels:?} {meaning}; the node says {told:?}"));
        }
    }
    let unknown = metrics.keys().filter(|name| !table.contains_key(*name));
    faults.extend(unknown.map(|name| format!("{name} is not in deploy/prometheus/metrics.csv")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    figures_are_right(&metrics);
    server.stop();
}

/// The metrics once what was decided is visible to a query: the answer does not wait for that.
fn once_visible(server: &Server) -> BTreeMap<String, Told> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let metrics = told(&server.get("/metrics").1);
        let mut samples = metrics.values().flat_map(|metric| &metric.samples);
        let visible = samples.any(|(sample, value)| sample == VISIBLE && *value > 0.0);
        if visible || Instant::now() > deadline {
            return metrics;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn figures_are_right(metrics: &BTreeMap<String, Told>) {
    let is = |sample: &str, expected: f64| {
        let seen = value(metrics, sample);
        assert!((seen - expected).abs() < 1e-9, "{sample} is {seen}, not {expected}");
    };
    is(r#"avis_authoriser_decision_duration_seconds_count{decision="no_benefit"}"#, 1.0);
    is(r#"avis_authoriser_decisions_total{decision="no_benefit"}"#, 1.0);
    let unknown = r#"{command="authorise",reason="unknown_terminal"}"#;
    is(&format!("avis_authoriser_refusals_total{unknown}"), 1.0);
    is(r#"avis_ingest_dead_letters_total{reason="missing_field",source="dagr"}"#, 1.0);
    is(r#"avis_authoriser_refusals_total{command="authorise",reason="busy"}"#, 0.0);
    is(r#"avis_ingest_appended_total{stream="authorisations"}"#, 1.0);
    is("avis_books_difference_cents", 0.0);
    is("avis_node_ready", 1.0);
    is("avis_authoriser_queue_limit_requests", 4_096.0);
    let above = |sample: &str| assert!(value(metrics, sample) > 0.0, "{sample} is not above 0");
    above(r#"avis_connectors_requests_total{connector="http",status="200"}"#);
    let route = r#"method="POST",protocol="http",route="/v1/authorisations""#;
    for status in ["2xx", "4xx"] {
        let sample = "avis_connectors_request_duration_seconds_count";
        is(&format!(r#"{sample}{{{route},status="{status}"}}"#), 1.0);
    }
    above("avis_authoriser_busy_seconds_total");
    above("avis_authoriser_registry_offset");
    above("avis_ingest_sync_duration_seconds_count");
    above(VISIBLE);
    above(r#"avis_warehouse_live_files{table="benefit_lines"}"#);
    above("avis_disk_free_bytes");
    above("avis_process_cpu_seconds_total");
    above("avis_process_resident_memory_bytes");
}
