//! Traces of authorisations, sent to a collector by OpenTelemetry (OTLP over HTTP, protobuf). Nobody who
//! listens can hold the node up: what waits is bounded, and what cannot be sent is said in the log.

use std::{collections::HashMap, time::Duration};

use ingest::traces;
use opentelemetry::{
    global::{self, BoxedTracer},
    trace::{SpanId, TraceId, TracerProvider as _},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider},
};
use serde::Deserialize;
use tokio::runtime::Handle;

use crate::failure::Failure;

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the end may take: one who says nothing is still given up first.
const LAST: Duration = Duration::from_secs(5);

/// Who is told of what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    url: String,
    key: String,
    per_million: u32,
}

/// Whoever sends; none where nobody listens.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Begins to tell.
    ///
    /// # Errors
    /// Where the address is none, or the share is more than all.
    pub fn begin(settings: &Settings) -> Result<Self, Failure> {
        if settings.url.is_empty() {
            return Ok(Self(None));
        }
        if settings.per_million > traces::ALL {
            return Err(Failure::setting("traces.per_million", "it is of a million at most"));
        }
        reqwest::Url::parse(&settings.url)
            .map_err(|error| Failure::setting("traces.url", error))?;
        let http = reqwest::Client::builder().timeout(PATIENCE).build();
        let http = http.map_err(|error| Failure::setting("traces.url", error))?;
        let authorised = |key| ("Authorization".to_owned(), format!("Bearer {key}"));
        let key = Some(&settings.key).filter(|key| !key.is_empty());
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client { http, runtime: Handle::current() })
            .with_endpoint(&settings.url)
            .with_protocol(Protocol::HttpBinary)
            .with_headers(key.map(authorised).into_iter().collect::<HashMap<_, _>>())
            .with_timeout(PATIENCE)
            .build();
        let exporter = exporter.map_err(|error| Failure::setting("traces.url", error))?;
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name("avis").build())
            .with_id_generator(Ids(RandomIdGenerator::default()))
            .with_batch_exporter(exporter)
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        let tracer = BoxedTracer::new(Box::new(provider.tracer("avis")));
        traces::begin(tracer, settings.per_million);
        Ok(Self(Some(provider)))
    }

    /// Sends what is left.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST));
        if let Ok(Err(reason)) = ended.await {
            tracing::warn!(%reason, "the last traces are not told");
        }
    }
}

/// The first span of a trace has the ids that follow from the authorisation, all others any.
#[derive(Debug)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        traces::first_ids().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        traces::first_ids().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Sends on the node's runtime: the exporter has a thread of its own, which has none.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move {
            let answer = http.execute(request.try_into()?).await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        let told = match sending.await? {
            Ok((status, _)) if !status.is_success() => Err(status.to_string()),
            Ok(told) => Ok(told),
            Err(error) => Err(error.without_url().to_string()),
        };
        let (status, bytes) = told.inspect_err(|reason| {
            tracing::warn!(reason, "traces are not told");
        })?;
        Ok(Response::builder().status(status).body(bytes)?)
    }
}
