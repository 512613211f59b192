//! What supervisors and Prometheus ask.

use std::sync::Arc;

use authoriser::service::Handle;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use connectors::problem::Problem;
use tokio::sync::watch;

use crate::node::Node;

/// After how many seconds a node that is not ready may be asked again.
const REBUILT: u32 = 5;

/// What is looked at.
#[derive(Clone)]
pub struct Health {
    /// The node.
    pub node: Arc<Node>,
    /// Who decides, where that is here.
    pub authoriser: Option<Handle>,
    /// Whether all is up.
    pub ready: watch::Receiver<bool>,
}

/// The routes.
pub fn routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn readiness(State(health): State<Health>) -> Result<&'static str, Problem> {
    if *health.ready.borrow() {
        Ok("ready\n")
    } else {
        let detail = "the registers are being rebuilt from the streams";
        Err(Problem::unavailable(detail).again_in(REBUILT))
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    if let Some(authoriser) = &health.authoriser {
        authoriser.observe();
    }
    match health.node.exposition() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            error.to_string(),
        ),
    }
}
