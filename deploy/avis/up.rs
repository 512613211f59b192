//! `avis up`: serves, all roles in one process on embedded engines.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use authoriser::{
    authorise::Authoriser,
    service::{self, Handle, Running},
};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use chrono::{TimeDelta, Utc};
use connectors::{
    access::{Identity, Role, Tokens},
    edge,
    terminal::{grpc, http::Door},
};
use domain::registry::Registry;
use ingest::{clock::SystemClock, heartbeat::Heartbeats, topic::Topic};
use pipelines::{
    entitlements::Evaluator,
    error::PipelineError,
    runner::{Ends, Runner},
    settlements,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use warehouse::{endpoint::DATABASE, error::WarehouseError};

use crate::{
    audit::{self, Auditor},
    background::{self, Background},
    cli::UpArguments,
    config::{Cache, Config},
    failure::Failure,
    health::notify,
    lineage::Lineage,
    node::Node,
    person, rotation, routes, settlement,
    sql::Doors,
    tls,
    traces::Traces,
};

/// How long nothing may come before new people and rules are looked for anyway.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often a closing that came too early is looked at again.
const SETTLED_EVERY: Duration = Duration::from_secs(5);
/// How often summaries are asked again: they read whole tables.
const SUMMARISED_EVERY: Duration = Duration::from_secs(300);
/// How often the books are proved again, and how much longer than that took is waited at least: the
/// proof reads the whole stream.
const PROVED_EVERY: Duration = Duration::from_secs(3_600);
const PROVED_SPARINGLY: u32 = 50;
/// How long a proof waits for rows that are not in the tables yet.
const PROVED_SOON: Duration = Duration::from_secs(5);
/// How long a door waits for those who are still inside.
const GRACE: Duration = Duration::from_secs(5);
/// How long landing may take after that.
const LANDING: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what there is for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the tokens of `--dev` hold.
const DEV_TOKENS: TimeDelta = TimeDelta::days(30);

#[derive(Clone)]
struct Health {
    node: Arc<Node>,
    authoriser: Handle,
    ready: watch::Receiver<bool>,
}

/// Where the node listens.
struct Listening {
    http: TcpListener,
    grpc: TcpListener,
    postgres: TcpListener,
    flight: TcpListener,
    tls: tls::Doors,
}

impl Listening {
    /// Opens every door, for which somebody may have to be told that others can read along.
    async fn open(config: &Config) -> Result<Self, Failure> {
        let tls = tls::Doors::open(config)?;
        for (door, address, is_secured) in [
            ("http", config.http.address, tls.http.is_some()),
            ("grpc", config.grpc.address, tls.grpc.is_some()),
            ("postgres", config.postgres.address, tls.sql.is_some()),
            ("flight", config.flight.address, tls.sql.is_some()),
        ] {
            if !is_secured && !address.ip().is_loopback() {
                tracing::warn!(door, %address, "[tls] gives this door no certificate, so whoever is on the way reads along");
            }
        }
        Ok(Self {
            http: listen(config.http.address).await?,
            grpc: listen(config.grpc.address).await?,
            postgres: listen(config.postgres.address).await?,
            flight: listen(config.flight.address).await?,
            tls,
        })
    }

    /// Prints where it listens.
    fn tell(&self) {
        let secured = |tls: &Option<TlsAcceptor>, yes, no| if tls.is_some() { yes } else { no };
        let scheme = secured(&self.tls.http, "https", "http");
        println!(
            "http     {scheme}://{}/ /openapi.json /healthz /readyz /metrics",
            address(&self.http)
        );
        println!("grpc     {}{}", address(&self.grpc), secured(&self.tls.grpc, " (TLS)", ""));
        let mode = secured(&self.tls.sql, " (TLS)", "");
        println!("sql      postgres://{}/{DATABASE}{mode}", address(&self.postgres));
        let scheme = secured(&self.tls.sql, "grpc+tls", "grpc");
        println!("flight   {scheme}://{}", address(&self.flight));
    }
}

/// Serves until told to stop.
///
/// # Errors
/// Where an address is taken or a part of the node fails.
pub async fn run(arguments: UpArguments) -> Result<(), Failure> {
    let mut config = Config::load(arguments.data.config.as_deref(), std::env::vars())?;
    config.http.address = arguments.http.unwrap_or(config.http.address);
    config.grpc.address = arguments.grpc.unwrap_or(config.grpc.address);
    config.postgres.address = arguments.postgres.unwrap_or(config.postgres.address);
    config.flight.address = arguments.flight.unwrap_or(config.flight.address);
    config.check()?;
    let traces = Traces::begin(&config.traces)?;
    // Before anything that takes long: unheard, it would end the process.
    let hangup = signal(SignalKind::hangup())?;
    let node = Arc::new(Node::open(&arguments.data.folder, &config, Arc::new(SystemClock))?);
    let listening = Listening::open(&config).await?;
    // For as long as the process lives; what it serves ends with the doors.
    tokio::spawn(listening.tls.clone().follow(hangup, Arc::clone(&node.metrics().vitals)));
    println!("data     {}", arguments.data.folder.display());
    let (ready, is_ready) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let work = serve(&node, &config, arguments.dev, listening, (ready, is_ready), stopped);
    let mut work = std::pin::pin!(work);
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = told_to_stop() => {
            tracing::info!("stopping");
            notify("STOPPING=1");
            // Readers that are gone need no word.
            let _ = stop.send(true);
            work.await
        }
    };
    traces.end().await;
    ended
}

/// Brings everything up, opens the doors, and works until told to stop.
async fn serve(
    node: &Arc<Node>,
    config: &Config,
    dev: bool,
    listening: Listening,
    (ready, is_ready): (watch::Sender<bool>, watch::Receiver<bool>),
    mut stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let (handle, mut deciding) = decide(node, config, dev).await?;
    let tokens = node.tokens();
    let door = Door::new(
        handle.clone(),
        node.vault.clone(),
        tokens.clone(),
        node.loading.metrics.clone(),
        config.doors(),
    );
    let authoriser = handle.clone();
    let health = Health { node: Arc::clone(node), authoriser, ready: is_ready };
    let (auditor, told) = Auditor::new();
    let mut auditing = tokio::spawn(audit::keep(Arc::clone(node), told));
    // Before anybody is let in: what was cut off is finished on what stood then.
    person::forget(node).await?;
    rotation::finish(node).await?;
    let (routes, registrar) =
        routes::all(node, config, &handle, door.clone(), &auditor, health_routes(health)).await?;
    listening.tell();
    let Listening { http, grpc, postgres, flight, tls } = listening;
    let over_http = tokio::spawn(open((http, tls.http), routes, stop.clone()));
    let over_grpc = tokio::spawn(open((grpc, tls.grpc), grpc::routes(door).await?, stop.clone()));
    let mut evaluator = node.evaluator().await?;
    evaluator.catch_up().await?;
    let runner = Arc::new(node.pipelines().await?);
    let background = Background::start("avis-land", background::cores())?;
    let behind = background.handle();
    behind.spawn(catch_up(Arc::clone(node), Arc::clone(&runner))).await??;
    let sql = Doors::open(node, config, (postgres, flight), tls.sql, auditor, &stop)?;
    if dev {
        let registry = connectors::registry::view(&node.log).await?.registry();
        print_tokens(&tokens, &registry)?;
    }
    let _ = ready.send(true);
    node.metrics().vitals.ready();
    println!("ready");
    notify("READY=1");
    let mut lineage = Lineage::of(node, config, &runner)?;
    let (last, landed) = watch::channel(false);
    let lands = Arc::clone(&runner);
    let mut landing = behind.spawn(async move { lands.run(landed).await });
    let mut asking = JoinSet::new();
    asking.spawn_on(summarise(Arc::clone(node)), behind);
    asking.spawn_on(settle(Arc::clone(node)), behind);
    asking.spawn_on(prove(Arc::clone(node)), behind);
    let heartbeats = Heartbeats::new(Arc::clone(&node.log), Arc::clone(&node.clock));
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        ended = deciding.ended() => return Ok(ended?),
        ended = evaluate(evaluator, node) => return ended,
        ended = heartbeats.run() => return Ok(ended?),
        Some(ended) = asking.join_next() => return ended?,
        ended = &mut landing => {
            let ended = ended?.map_err(Failure::from);
            has_ended(lineage, node, ended.as_ref().err()).await;
            return ended;
        }
        () = follow(&mut lineage, node) => {}
        () = tokens.follow_issuer() => {}
        // Nobody who tells the audit trail outlives it.
        () = async move { registrar.follow().await } => {}
        ended = &mut auditing => return ended?,
    }
    // Whoever sends people here hears that it is over before a door closes.
    let _ = ready.send(false);
    asking.shutdown().await;
    // The doors first, so that what was let in is answered; then what was answered is landed.
    close(over_http).await?;
    close(over_grpc).await?;
    sql.close().await?;
    // Whoever does not hang up is not waited for.
    if let Ok(ended) = tokio::time::timeout(GRACE, auditing).await {
        ended??;
    }
    deciding.stop().await?;
    // It is still there: it was not the one that ended.
    let _ = last.send(true);
    let ended = landing.await?.map_err(Failure::from);
    if ended.is_ok() {
        land_the_rest(&runner).await?;
    }
    has_ended(lineage, node, ended.as_ref().err()).await;
    ended
}

/// Lands what is on the streams, and proves the books.
async fn catch_up(node: Arc<Node>, runner: Arc<Runner>) -> Result<(), Failure> {
    // Terminals are inside already: what they add from here on is proved the next time.
    let landed = settlement::ends(&node.log)?;
    runner.catch_up(&runner.ends()?).await?;
    settlement::follow(&node).await?;
    let proof = settlement::prove(&node.log, &node.session()?, &landed).await?;
    node.metrics().vitals.proved(proof.difference_cents(), node.clock.now());
    proof.balanced()
}

/// Lands what was answered and not read by then: a reader stops where it is. What takes longer is landed
/// by the next start.
async fn land_the_rest(runner: &Runner) -> Result<(), Failure> {
    match tokio::time::timeout(LANDING, runner.catch_up(&Ends::default())).await {
        Ok(landed) => Ok(landed?),
        Err(_) => {
            tracing::warn!("what was answered last is landed at the next start");
            Ok(())
        }
    }
}

/// Tells whoever keeps a catalogue of data how far the pipelines are; where nobody does, it never ends.
async fn follow(lineage: &mut Option<Lineage>, node: &Node) {
    match lineage {
        Some(lineage) => lineage.follow(node).await,
        None => std::future::pending().await,
    }
}

/// Tells them that the pipelines have ended.
async fn has_ended(lineage: Option<Lineage>, node: &Node, failed: Option<&Failure>) {
    if let Some(lineage) = lineage {
        lineage.end(node, failed).await;
    }
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
}

/// Opens a door until told to stop; what was let in is answered.
async fn open(
    (listener, tls): (TcpListener, Option<TlsAcceptor>),
    routes: Router,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let slowest = edge::Slowest::default();
    let Some(tls) = tls else {
        let plain = axum::serve::ListenerExt::tap_io(listener, |stream| {
            // An answer is one write; waiting for more would only delay it.
            let _ = stream.set_nodelay(true);
        });
        edge::serve(edge::Patient::new(plain, PATIENCE), routes, slowest, stop).await;
        return Ok(());
    };
    let secured = edge::Patient::new(edge::Secured::new(listener, tls)?, PATIENCE);
    edge::serve(secured, routes, slowest, stop).await;
    Ok(())
}

/// Waits until a door is closed, but not for ever: a stream may stay open as long as its terminal
/// likes, and finds its answers again by their keys.
async fn close(mut door: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    match tokio::time::timeout(GRACE, &mut door).await {
        Ok(closed) => closed?,
        Err(_) => {
            door.abort();
            Ok(())
        }
    }
}

/// Starts the authoriser over the configured cache.
async fn decide(
    node: &Arc<Node>,
    config: &Config,
    dev: bool,
) -> Result<(Handle, Running), Failure> {
    let (parts, bounds) = (node.parts().await?, config.bounds(dev));
    match config.authoriser.cache {
        Cache::Embedded => {
            let authoriser = Authoriser::embedded(parts, config.settings()).await?;
            Ok(service::start(authoriser, bounds)?)
        }
        Cache::Redis | Cache::RedisCluster => {
            let (settings, redis) = (config.settings(), config.redis());
            let (authoriser, _) = Authoriser::over_redis(parts, settings, redis).await?;
            Ok(service::start(authoriser, bounds)?)
        }
    }
}

/// Tokens to try things with: one of a terminal of every merchant, and one of every role.
fn print_tokens(tokens: &Tokens, registry: &Registry) -> Result<(), Failure> {
    let expires = Utc::now() + DEV_TOKENS;
    for merchant in &registry.merchants {
        let places: Vec<_> =
            registry.places.iter().filter(|place| place.merchant == merchant.id).collect();
        let terminal = registry
            .terminals
            .iter()
            .find(|terminal| places.iter().any(|place| place.id == terminal.place));
        let Some(terminal) = terminal else { continue };
        let identity = Identity {
            role: Role::Terminal,
            organisation: merchant.id.as_str().into(),
            subject: terminal.id.as_str().into(),
        };
        println!("token    terminal {} {}", terminal.id, tokens.issue(&identity, expires)?);
    }
    let organisations = [
        (Role::Administrator, Some(String::new())),
        (Role::Operator, Some(String::new())),
        (Role::Analyst, Some(String::new())),
        (Role::Finance, Some(String::new())),
        (Role::Source, Some(String::new())),
        (Role::Merchant, registry.merchants.first().map(|merchant| merchant.id.to_string())),
        (Role::Grantor, registry.grantors.first().map(|grantor| grantor.id.to_string())),
        (Role::Issuer, registry.issuers.first().map(|issuer| issuer.id.to_string())),
        (Role::Centre, registry.centres.first().map(|centre| centre.id.to_string())),
    ];
    for (role, organisation) in organisations {
        let Some(organisation) = organisation else { continue };
        let identity =
            Identity { role, organisation: organisation.as_str().into(), subject: "dev".into() };
        println!("token    {} {organisation} {}", role.code(), tokens.issue(&identity, expires)?);
    }
    if let Some(official) = registry.officials.first() {
        let identity = Identity {
            role: Role::Official,
            organisation: official.institution.as_str().into(),
            subject: official.id.as_str().into(),
        };
        println!("token    official {} {}", official.id, tokens.issue(&identity, expires)?);
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|source| Failure::Listen { address, source })
}

fn health_routes(health: Health) -> Router {
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
    health.authoriser.observe();
    match health.node.exposition() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            error.to_string(),
        ),
    }
}

/// Evaluates groups again whenever people or rules change.
async fn evaluate(mut evaluator: Evaluator, node: &Node) -> Result<(), Failure> {
    let mut people = node.log.subscribe(Topic::PersonChanges);
    let mut lists = node.log.subscribe(Topic::Memberships);
    loop {
        let told = match evaluator.catch_up().await {
            Ok(_) => evaluator.renew().await,
            failed => failed,
        };
        match told {
            // It goes on when the disk has room again.
            Err(PipelineError::Log(error)) if error.nothing_written() => {
                tracing::error!(%error, "memberships are not evaluated");
            }
            done => {
                done?;
            }
        }
        // Whether people changed or not, they are looked at again.
        tokio::select! {
            _ = people.changed() => {}
            _ = lists.changed() => {}
            () = tokio::time::sleep(LONGEST_PAUSE) => {}
        }
    }
}

/// Follows the stream of settlements into its tables; a closing whose lines are still landing comes the
/// next time.
async fn settle(node: Arc<Node>) -> Result<(), Failure> {
    let mut grown = node.log.subscribe(Topic::Settlements);
    let mut told = None;
    loop {
        let end = node.log.end(Topic::Settlements, 0)?;
        match settlement::follow(&node).await {
            Err(Failure::Pipeline(error)) if settlements::is_early(&error) => {}
            done => {
                done?;
                if told.replace(end) != Some(end) {
                    settlement::tell(&node).await?;
                }
            }
        }
        let _ = tokio::time::timeout(SETTLED_EVERY, grown.changed()).await;
    }
}

/// Proves the books again now and then, while the node serves. A cent that differs is told and not
/// guessed away: the node goes on, since what it decides does not depend on statements.
async fn prove(node: Arc<Node>) -> Result<(), Failure> {
    let mut pause = PROVED_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let (began, ends) = (Instant::now(), settlement::ends(&node.log)?);
        let proof = loop {
            match settlement::prove(&node.log, &node.session()?, &ends).await {
                Err(Failure::Warehouse(WarehouseError::NotLanded { .. })) => {
                    tokio::time::sleep(PROVED_SOON).await;
                }
                done => break done,
            }
        };
        pause = PROVED_EVERY.max(began.elapsed().saturating_mul(PROVED_SPARINGLY));
        match proof {
            Ok(proof) => {
                node.metrics().vitals.proved(proof.difference_cents(), node.clock.now());
                if let Err(error) = proof.balanced() {
                    tracing::error!(%error, "the books do not balance");
                }
            }
            Err(error) => tracing::error!(%error, "the books could not be proved"),
        }
    }
}

/// Asks the summaries again now and then. One that fails is asked the next time: its table stays as
/// it is.
async fn summarise(node: Arc<Node>) -> Result<(), Failure> {
    let summaries = node.summaries().await?;
    loop {
        for summary in &summaries {
            if let Err(error) = summary.refresh(&node.session()?, node.clock.now()).await {
                tracing::error!(%error, "a summary is not up to date");
            }
        }
        tokio::time::sleep(SUMMARISED_EVERY).await;
    }
}

async fn told_to_stop() {
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
