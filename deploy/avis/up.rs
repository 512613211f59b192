//! `avis up`: serves, all roles in one process on embedded engines, or one role with the others elsewhere.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use authoriser::{
    authorise::Authoriser,
    refresh::Registers,
    service::{self, Running},
};
use chrono::TimeDelta;
use connectors::{
    access::{Identity, Role},
    terminal::{grpc, http::Door},
};
use ingest::{clock::SystemClock, heartbeat::Heartbeats};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use warehouse::{
    endpoint::flight::tails,
    store,
    tail::{Follower, Source},
};

use self::{
    doors::{GRACE, Listening, close, open},
    health::Health,
    landing::Landing,
};
use crate::{
    audit::{self, Auditor},
    background::{self, Background},
    cli::UpArguments,
    config::{Cache, Config},
    failure::Failure,
    gate::Keeper,
    health::notify,
    node::Node,
    person,
    role::Roles,
    rotation,
    routes::{self, Deciding},
    settlement,
    sql::{self, Doors},
    tls,
    traces::Traces,
};

mod dev;
mod doors;
mod health;
mod landing;
mod tasks;

/// How long what was decided may take until the streams have it, once nobody asks any more.
const APPENDING: Duration = Duration::from_secs(30);
/// How long a token holds by which one role asks another.
const OWN_TOKENS: TimeDelta = TimeDelta::hours(1);

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
    let roles = Roles::of(arguments.role, &config)?;
    let traces = Traces::begin(&config.traces)?;
    // Before anything that takes long: unheard, it would end the process.
    let hangup = signal(SignalKind::hangup())?;
    let (folder, clock) = (&arguments.data.folder, Arc::new(SystemClock));
    let node = Arc::new(Node::open_as(roles, folder, &config, clock)?);
    let mut told = pin!(told_to_stop());
    if roles.lands() || roles.tells() {
        tokio::select! {
            checked = store::check(node.warehouse()) => checked?,
            () = &mut told => return Ok(()),
        }
    }
    let listening = Listening::open(&config, roles).await?;
    // For as long as the process lives; what it serves ends with the doors.
    tokio::spawn(listening.tls.clone().follow(hangup, Arc::clone(&node.metrics().vitals)));
    println!("data     {}", folder.display());
    let (ready, is_ready) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let work = serve(&node, &config, arguments.dev, listening, (ready, is_ready), stopped);
    let mut work = pin!(work);
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = &mut told => {
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
    is_dev: bool,
    listening: Listening,
    (ready, is_ready): (watch::Sender<bool>, watch::Receiver<bool>),
    mut stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let (roles, tokens) = (node.roles, node.tokens());
    let (auditor, told) = Auditor::new();
    let (deciding, mut running) = decide(node, config, is_dev, &auditor).await?;
    let mut registers = Registers::new()?;
    if roles.registers() && deciding.is_none() {
        registers.refresh(&node.log).await?;
    }
    let people = deciding.as_ref().map_or(registers.people(), |of| of.handle.people());
    let (people, door) = (Arc::clone(people), deciding.as_ref().map(|of| of.door.clone()));
    let parts = deciding.as_ref().map(|of| of.handle.parts().clone());
    let authoriser = deciding.as_ref().map(|of| of.handle.clone());
    let health = health::routes(Health { node: Arc::clone(node), authoriser, ready: is_ready });
    let place = config.checkpoints()?;
    let mut auditing = tokio::spawn(audit::keep(Arc::clone(node), place, told));
    if roles.registers() {
        // Before anybody is let in: what was cut off is finished on what stood then.
        person::forget(node).await?;
        rotation::finish(node).await?;
    }
    let answers = roles.tells().then(|| sql::answering(config)).transpose()?;
    let answering = answers.as_ref().map(|answers| answers.handle().clone());
    let (routes, registrar) =
        routes::all(node, config, (deciding, answering), people, &auditor, health).await?;
    listening.tell();
    let Listening { http, grpc, postgres, flight, tls } = listening;
    let mut inside = vec![tokio::spawn(open((http, tls.http), routes, stop.clone()))];
    if let Some((grpc, door)) = grpc.zip(door) {
        inside.push(tokio::spawn(open((grpc, tls.grpc), grpc::routes(door).await?, stop.clone())));
    }
    let background = Background::start("avis-land", background::cores())?;
    let behind = background.handle();
    let mut asking = JoinSet::new();
    // Terminals are inside already: what they add from here on is proved the next time.
    let landed = settlement::ends(&node.log)?;
    let mut landing = None;
    if roles.lands() {
        let mut evaluator = node.evaluator().await?;
        evaluator.catch_up().await?;
        landing = Some(Landing::begin(node, config, behind, &stop).await?);
        asking.spawn(tasks::evaluate(evaluator, Arc::clone(node)));
        let heartbeats = Heartbeats::new(Arc::clone(&node.log), Arc::clone(&node.clock));
        asking.spawn(async { Ok(heartbeats.run().await?) });
    }
    let mut sql = None;
    match (postgres, flight, answers) {
        (Some(postgres), Some(flight), Some(answers)) => {
            settle(node, config, landed, behind, &stop, &mut asking).await?;
            let doors = (postgres, flight);
            let auditor = auditor.clone();
            sql = Some(Doors::open(node, config, doors, tls.sql, auditor, answers, &stop)?);
        }
        (_, Some(flight), _) => {
            let gate = Arc::new(Keeper::open(&node.keys, &node.vault, tokens.clone())?);
            let (tails, metrics) = (node.tails.clone(), node.metrics().warehouse.clone());
            let told = tails::serve(tails, gate, metrics, flight, tls.sql, stop.clone());
            inside.push(tokio::spawn(async { Ok(told.await?) }));
        }
        _ => {}
    }
    // Whoever tells of deeds from now on has it.
    drop(auditor);
    if !roles.registers() {
        asking.spawn(tasks::forget(Arc::clone(node)));
    } else if is_dev {
        let registry = connectors::registry::view(&node.log).await?.registry();
        dev::print_tokens(&tokens, &registry)?;
    }
    let _ = ready.send(true);
    node.metrics().vitals.ready();
    println!("ready");
    notify("READY=1");
    if let Some(parts) = parts {
        asking.spawn_on(tasks::hold_to_limits(parts), behind);
    }
    if roles.registers() {
        // It reads all people, and nobody waits for it.
        asking.spawn_on(tasks::watch_gaps(Arc::clone(node)), behind);
    }
    let follows_people = roles.registers() && !roles.decides();
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        ended = ended(&mut running) => return ended,
        ended = landed_last(&mut landing, node) => return ended,
        ended = tasks::follow_people(registers, node), if follows_people => return ended,
        Some(ended) = asking.join_next() => return ended?,
        () = tokens.follow_issuer() => {}
        // Nobody who tells the audit trail outlives it.
        () = async move { registrar.follow().await } => {}
        ended = &mut auditing => return ended?,
    }
    // Whoever sends people here hears that it is over before a door closes.
    let _ = ready.send(false);
    asking.shutdown().await;
    // The doors first, so that what was let in is answered; then what was answered is landed.
    for door in inside {
        close(door).await?;
    }
    if let Some(sql) = sql {
        sql.close().await?;
    }
    // Whoever does not hang up is not waited for.
    if let Ok(ended) = tokio::time::timeout(GRACE, auditing).await {
        ended??;
    }
    if let Some(running) = running {
        match tokio::time::timeout(APPENDING, running.stop()).await {
            Ok(stopped) => stopped?,
            // As after a crash: none of it was answered, and terminals ask again by its keys.
            Err(_) => tracing::warn!("what was decided last is on no stream yet, and is given up"),
        }
    }
    match landing {
        Some(landing) => landing.end(node).await,
        None => Ok(()),
    }
}

/// Starts the authoriser over the configured cache, where baskets are decided here.
async fn decide(
    node: &Arc<Node>,
    config: &Config,
    is_dev: bool,
    auditor: &Auditor,
) -> Result<(Option<Deciding>, Option<Running>), Failure> {
    if !node.roles.decides() {
        return Ok((None, None));
    }
    let (parts, bounds) = (node.parts().await?, config.bounds(is_dev));
    let (handle, running) = match config.authoriser.cache {
        Cache::Embedded => {
            let authoriser = Authoriser::embedded(parts, config.settings()).await?;
            service::start(authoriser, bounds)?
        }
        Cache::Redis | Cache::RedisCluster => {
            let (settings, redis) = (config.settings(), config.redis()?);
            let (authoriser, _) = Authoriser::over_redis(parts, settings, redis).await?;
            service::start(authoriser, bounds)?
        }
    };
    let (vault, tokens, settings) = (node.vault.clone(), node.tokens(), config.doors());
    let (metrics, streams) = (node.loading.metrics.clone(), node.loading.streams.clone());
    let door = Door::new(handle.clone(), vault, tokens, metrics, streams, settings);
    let auditor = auditor.clone();
    // Before it is shared: the stream's door is the same.
    let door = door.audited(Arc::new(move |deed| auditor.tell(deed)));
    Ok((Some(Deciding { handle, door }), Some(running)))
}

/// Brings statements up to the stream and proves the books, and goes on with both. Where pipelines are apart
/// both wait until these have landed what they need.
async fn settle(
    node: &Arc<Node>,
    config: &Config,
    landed: Vec<u64>,
    behind: &runtime::Handle,
    stop: &watch::Receiver<bool>,
    asking: &mut JoinSet<Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut first_proof = tasks::PROVED_EVERY;
    if node.roles.lands() {
        let first = tasks::settle_first(Arc::clone(node), landed, stop.clone());
        behind.spawn(first).await??;
    } else {
        // So that the operator's own tables are known.
        node.planned().await?;
        first_proof = Duration::ZERO;
        let follower = follower(node, config)?;
        asking.spawn(async {
            follower.run().await;
            Ok(())
        });
    }
    asking.spawn_on(tasks::summarise(Arc::clone(node), stop.clone()), behind);
    asking.spawn_on(tasks::settle(Arc::clone(node)), behind);
    asking.spawn_on(tasks::prove(Arc::clone(node), first_proof), behind);
    Ok(())
}

/// Who copies the rows that have not landed from the process that lands them.
fn follower(node: &Node, config: &Config) -> Result<Follower, Failure> {
    let roles = &config.roles;
    let wrong = |error| Failure::setting("roles.pipelines", error);
    let tokens = node.tokens();
    let identity = Identity {
        role: Role::Administrator,
        organisation: "".into(),
        subject: "warehouse".into(),
    };
    let clock = Arc::clone(&node.clock);
    // One that cannot be signed is refused over there, and that is told.
    let token = move || tokens.issue(&identity, clock.now() + OWN_TOKENS).unwrap_or_default();
    let source = Source {
        address: roles.pipelines.parse().map_err(wrong)?,
        token: Box::new(token),
        trust: tls::trusted(&roles.authority)?,
    };
    Ok(Follower::new(&node.tails, source, &node.metrics().registry)?)
}

/// Waits until the authoriser ends by itself; where there is none, for ever.
async fn ended(running: &mut Option<Running>) -> Result<(), Failure> {
    match running {
        Some(running) => Ok(running.ended().await?),
        None => pending().await,
    }
}

/// Waits until the pipelines end by themselves; where there are none, for ever.
async fn landed_last(landing: &mut Option<Landing>, node: &Node) -> Result<(), Failure> {
    match landing {
        Some(landing) => landing.ended(node).await,
        None => pending().await,
    }
}

async fn told_to_stop() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
