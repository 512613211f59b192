//! `avis up`: serves, all roles in one process on embedded engines.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use ingest::{clock::SystemClock, topic::Topic};
use prometheus::TextEncoder;
use tokio::{net::TcpListener, sync::watch};

use crate::{cli::UpArguments, failure::Failure, node::Node, settlement};

/// Uploads decided between two appends.
const DECIDED_AT_ONCE: usize = 512;
/// How long nothing may come before new people and rules are looked for anyway.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct Health {
    node: Arc<Node>,
    ready: watch::Receiver<bool>,
}

/// Serves until told to stop.
///
/// # Errors
/// Where the address is taken or a part of the node fails.
pub async fn run(arguments: UpArguments) -> Result<(), Failure> {
    let node = Arc::new(Node::open(&arguments.data.folder, Arc::new(SystemClock))?);
    let (ready, is_ready) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let listener = listen(arguments.http).await?;
    let address = listener.local_addr().unwrap_or(arguments.http);
    println!("data     {}", arguments.data.folder.display());
    println!("http     http://{address}/healthz /readyz /metrics");
    let health = Health { node: Arc::clone(&node), ready: is_ready };
    let mut asked = stopped.clone();
    let server = axum::serve(listener, routes(health)).with_graceful_shutdown(async move {
        // A sender that is gone has stopped, too.
        let _ = asked.wait_for(|stop| *stop).await;
    });
    let server = tokio::spawn(server.into_future());
    let work = work(&node, ready, stopped);
    let mut work = std::pin::pin!(work);
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = told_to_stop() => {
            tracing::info!("stopping");
            // Readers that are gone need no word.
            let _ = stop.send(true);
            work.await
        }
    };
    let _ = stop.send(true);
    server.await??;
    ended
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|source| Failure::Listen { address, source })
}

fn routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn readiness(State(health): State<Health>) -> impl IntoResponse {
    if *health.ready.borrow() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the registers are being rebuilt from the streams\n")
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    let families = health.node.metrics().registry.gather();
    match TextEncoder::new().encode_to_string(&families) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Evaluates groups, decides uploads and lands streams until told to stop.
async fn work(
    node: &Node,
    ready: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let runner = node.pipelines().await?;
    let mut evaluator = node.evaluator().await?;
    let mut authoriser = node.authoriser().await?;
    runner.catch_up(&runner.ends()?).await?;
    let proof = settlement::prove(&node.log, &node.session().await?).await?;
    node.metrics().books.set(proof.difference_cents());
    proof.balanced()?;
    let _ = ready.send(true);
    println!("ready");
    let deciding = async {
        let mut growth = node.log.subscribe(Topic::TerminalTransactions);
        while !*stop.borrow() {
            evaluator.catch_up().await?;
            let decided = authoriser.decide_uploads(DECIDED_AT_ONCE).await?;
            if decided.decided + decided.passed_over == 0 {
                let changed = growth.changed();
                // Whether it changed or not, it is looked at again.
                let _ = tokio::time::timeout(LONGEST_PAUSE, changed).await;
            }
        }
        Ok::<(), Failure>(())
    };
    let (deciding, landing) = tokio::join!(deciding, runner.run(stop.clone()));
    deciding?;
    Ok(landing?)
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
