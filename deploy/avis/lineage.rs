//! OpenLineage events: which table is made of which streams, for whoever keeps a catalogue of data.
//!
//! A pipeline is a job that streams, and its run lasts as long as the node serves. It begins, says now and
//! then how many rows it has added and which version its table has, and ends (the events of
//! <https://openlineage.io/spec/2-0-2/OpenLineage.json>). No value of any row is told, and nobody who
//! listens can hold a pipeline up: what cannot be sent is said in the log, and the next event says more.

use std::{
    collections::HashMap,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use arrow::datatypes::Schema;
use chrono::{DateTime, SecondsFormat, Utc};
use ingest::record::outside_id;
use pipelines::{catalogue, pipeline::Pipeline, runner::Runner};
use serde::Deserialize;
use serde_json::{Value, json};
use warehouse::metrics::{ROWS, VERSION};

use crate::{
    config::Config,
    failure::Failure,
    node::{self, Node},
};

const PRODUCER: &str = concat!("urn:avis:", env!("CARGO_PKG_VERSION"));
const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
/// How long whoever listens may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// To whom lineage is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    url: String,
    key: String,
    path: PathBuf,
    namespace: String,
    every_seconds: u32,
}

/// Tells of the pipelines of a node.
#[derive(Debug)]
pub struct Lineage {
    settings: Settings,
    http: reqwest::Client,
    jobs: Vec<Job>,
    metrics: prometheus::Registry,
    /// Rows that each table had been given in this process when somebody was last told.
    told: HashMap<String, u64>,
}

/// A pipeline that runs.
#[derive(Debug)]
struct Job {
    table: String,
    run: String,
    described: Value,
    inputs: Vec<Value>,
    output: Value,
}

/// Why somebody is told now.
#[derive(Clone, Copy, Debug)]
enum What<'a> {
    Begins,
    GoesOn,
    Ends,
    Fails(&'a str),
}

impl What<'_> {
    const fn code(self) -> &'static str {
        match self {
            Self::Begins => "START",
            Self::GoesOn => "RUNNING",
            Self::Ends => "COMPLETE",
            Self::Fails(_) => "FAIL",
        }
    }
}

impl Lineage {
    /// What there is to tell of the pipelines of a runner; none where nobody listens.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn of(node: &Node, config: &Config, runner: &Runner) -> Result<Option<Self>, Failure> {
        let settings = config.lineage.clone();
        let (no_url, no_path) = (settings.url.is_empty(), settings.path.as_os_str().is_empty());
        if no_url && no_path {
            return Ok(None);
        }
        if !no_url {
            reqwest::Url::parse(&settings.url)
                .map_err(|error| Failure::setting("lineage.url", error))?;
        }
        if settings.every_seconds == 0 {
            return Err(Failure::setting("lineage.every_seconds", "it has to be 1 at least"));
        }
        let http = reqwest::Client::builder().timeout(PATIENCE).build();
        let http = http.map_err(|error| Failure::setting("lineage.url", error))?;
        let now = node.clock.now();
        let job = |pipeline: &Pipeline| Job::of(pipeline, node, config, now);
        let jobs = runner.pipelines().map(job).collect();
        let metrics = node.metrics().registry.clone();
        Ok(Some(Self { settings, http, jobs, metrics, told: HashMap::new() }))
    }

    /// Tells that the pipelines begin, and then how far they are, for as long as they run.
    pub async fn follow(&mut self, node: &Node) {
        self.tell(What::Begins, node.clock.now()).await;
        let every = Duration::from_secs(self.settings.every_seconds.into());
        loop {
            tokio::time::sleep(every).await;
            self.tell(What::GoesOn, node.clock.now()).await;
        }
    }

    /// Tells that the pipelines end: as they should, or by a failure.
    pub async fn end(mut self, node: &Node, failed: Option<&Failure>) {
        let reason = failed.map(ToString::to_string);
        let what = reason.as_deref().map_or(What::Ends, What::Fails);
        self.tell(what, node.clock.now()).await;
    }

    async fn tell(&mut self, what: What<'_>, now: DateTime<Utc>) {
        let (rows, versions) = (self.counted(ROWS), self.counted(VERSION));
        let of = |counts: &HashMap<String, u64>, job: &Job| counts.get(&job.table).copied();
        let event = |job: &Job| {
            let more = of(&rows, job).unwrap_or(0) - of(&self.told, job).unwrap_or(0);
            job.event(what, now, more, of(&versions, job))
        };
        let events: Vec<_> = self.jobs.iter().map(event).collect();
        self.told = rows;
        if let Err(reason) = self.send(&events).await {
            let event = what.code();
            tracing::warn!(event, reason, "lineage is not told");
        }
    }

    async fn send(&self, events: &[Value]) -> Result<(), String> {
        if !self.settings.path.as_os_str().is_empty() {
            append(&self.settings.path, events).map_err(|error| error.to_string())?;
        }
        if self.settings.url.is_empty() {
            return Ok(());
        }
        for event in events {
            let mut request = self.http.post(&self.settings.url).json(event);
            if !self.settings.key.is_empty() {
                request = request.bearer_auth(&self.settings.key);
            }
            let answer = request.send().await.and_then(reqwest::Response::error_for_status);
            answer.map_err(|error| error.without_url().to_string())?;
        }
        Ok(())
    }

    /// What a metric says of each table.
    fn counted(&self, metric: &str) -> HashMap<String, u64> {
        let families = self.metrics.gather();
        let of = families.iter().filter(|family| family.name() == metric);
        let counts = of.flat_map(|family| family.get_metric()).filter_map(|one| {
            let table = one.get_label().iter().find(|label| label.name() == "table")?;
            let value = one.get_counter().get_value() + one.get_gauge().get_value();
            Some((table.value().to_owned(), value as u64))
        });
        counts.collect()
    }
}

fn append(path: &Path, events: &[Value]) -> std::io::Result<()> {
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    file.write_all(lines.as_bytes())
}

impl Job {
    fn of(pipeline: &Pipeline, node: &Node, config: &Config, now: DateTime<Utc>) -> Self {
        let table = pipeline.name.clone();
        let namespace = &config.lineage.namespace;
        // One run of a job is told from another by when it began.
        let began = now.to_rfc3339_opts(SecondsFormat::Nanos, true);
        let run = uuid(outside_id(&format!("{namespace}/{table}"), &began).as_u128());
        let job_type =
            json!({"processingType": "STREAMING", "integration": "AVIS", "jobType": "PIPELINE"});
        let mut facets = json!({"jobType": facet("2-0-4/JobTypeJobFacet", job_type)});
        if let Some(query) = text(&table, &node.folder) {
            facets["sql"] =
                facet("1-1-0/SQLJobFacet", json!({"query": query, "dialect": "arroyo"}));
        }
        let described = json!({"namespace": namespace, "name": table, "facets": facets});
        let streams = config.cluster().unwrap_or_else(|| namespace.clone());
        let input = |input: &pipelines::pipeline::Input| {
            let schema = facet("1-2-0/SchemaDatasetFacet", fields(&input.columns));
            let name = input.topic()?.name();
            Some(json!({"namespace": streams, "name": name, "facets": {"schema": schema}}))
        };
        let mut inputs: Vec<_> = pipeline.inputs.iter().filter_map(input).collect();
        inputs.dedup_by(|one, other| one["name"] == other["name"]);
        // As OpenLineage names them: a bucket is a namespace of its own.
        let (shown, root) = (node.warehouse_shown(), node.warehouse());
        let (home, root) = match root.host_str() {
            Some(bucket) if root.scheme() != "file" => {
                (format!("{}://{bucket}", root.scheme()), root.path().trim_matches('/').to_owned())
            }
            _ => ("file".to_owned(), shown),
        };
        let schema = facet("1-2-0/SchemaDatasetFacet", fields(&pipeline.output));
        let (home, name) = match pipeline.folder() {
            Some(folder) => ("file".to_owned(), folder.display().to_string()),
            None => (home, format!("{root}/{table}")),
        };
        let output = json!({"namespace": home, "name": name, "facets": {"schema": schema}});
        Self { table, run, described, inputs, output }
    }

    fn event(&self, what: What<'_>, now: DateTime<Utc>, rows: u64, version: Option<u64>) -> Value {
        let engine = json!({"version": env!("CARGO_PKG_VERSION"), "name": "AVIS"});
        let mut run = json!({"runId": self.run, "facets":
            {"processing_engine": facet("1-1-1/ProcessingEngineRunFacet", engine)}});
        if let What::Fails(reason) = what {
            let failure = json!({"message": reason, "programmingLanguage": "Rust"});
            run["facets"]["errorMessage"] = facet("1-0-1/ErrorMessageRunFacet", failure);
        }
        let mut output = self.output.clone();
        if let Some(version) = version {
            let version = json!({"datasetVersion": version.to_string()});
            output["facets"]["version"] = facet("1-0-1/DatasetVersionDatasetFacet", version);
        }
        let rows = json!({"rowCount": rows});
        let statistics = facet("1-0-2/OutputStatisticsOutputDatasetFacet", rows);
        output["outputFacets"] = json!({"outputStatistics": statistics});
        json!({"eventType": what.code(), "eventTime": now.to_rfc3339_opts(SecondsFormat::Millis, true),
            "producer": PRODUCER, "schemaURL": EVENT, "run": run, "job": self.described,
            "inputs": self.inputs, "outputs": [output]})
    }
}

/// A facet with where it is described.
fn facet(schema: &str, mut content: Value) -> Value {
    let name = schema.rsplit('/').next().unwrap_or_default();
    content["_producer"] = PRODUCER.into();
    content["_schemaURL"] =
        format!("https://openlineage.io/spec/facets/{schema}.json#/$defs/{name}").into();
    content
}

fn fields(schema: &Schema) -> Value {
    let fields = schema.fields().iter();
    let field = |field: &std::sync::Arc<arrow::datatypes::Field>| json!({"name": field.name(), "type": field.data_type().to_string()});
    json!({"fields": fields.map(field).collect::<Vec<_>>()})
}

/// The file of a pipeline, shipped or an operator's own.
fn text(name: &str, folder: &Path) -> Option<String> {
    let shipped = catalogue::TABLES.iter().find(|(known, _)| *known == name);
    let own =
        || std::fs::read_to_string(node::own_folder(folder).join(name).with_extension("sql")).ok();
    shipped.map(|(_, text)| (*text).to_owned()).or_else(own)
}

/// A UUID of version 8 (RFC 9562): of 122 bits of one's own.
fn uuid(bits: u128) -> String {
    let bits = bits & !(0xF << 76) & !(0b11 << 62) | (0x8 << 76) | (0b10 << 62);
    let text = format!("{bits:032x}");
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_uuid_of_ones_own() {
        assert_eq!(uuid(0), "00000000-0000-8000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}
