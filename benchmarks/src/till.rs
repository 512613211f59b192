//! A node with a shop whose terminals ask: everything of the real one, in one process.

use std::{net::SocketAddr, sync::Arc};

use authoriser::{
    authorise::{Authoriser, Parts, Settings},
    cache::redis::RedisSettings,
    claims::Claims,
    fence::Fence,
    index::Index,
    metrics::Metrics,
    service::{self, Bounds, Handle, Running},
};
use axum::Router;
use chrono::{TimeDelta, Utc};
use connectors::{
    access::{Identity, Role, Tokens},
    edge,
    issuer::MeansFiles,
    load::{self, Context},
    registry as registries,
    terminal::{
        grpc,
        http::{self, Door},
    },
};
use domain::id::IssuerId;
use ingest::{
    clock::{Clock, SystemClock},
    log::{
        Log,
        embedded::{self, EmbeddedLog},
    },
    vault::Vault,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Terminals that ask.
pub const TERMINALS: usize = 64;
/// Cards that are shown.
pub const CARDS: usize = 10_000;

const REGISTRY: &str = include_str!("till/registry.yaml");

/// A node at work.
#[derive(Debug)]
pub struct Till {
    /// Where HTTP is asked.
    pub http: SocketAddr,
    /// Where gRPC is asked.
    pub grpc: SocketAddr,
    /// Asks it in process.
    pub handle: Handle,
    /// A token of each terminal.
    pub tokens: Vec<String>,
    running: Running,
    _folder: TempDir,
}

impl Till {
    /// Opens a shop with its counters in memory.
    pub async fn open() -> Result<Self> {
        Self::over(None, &registry()).await
    }

    /// Opens one that gives so many units of milk a day and recipient, counted in memory.
    pub async fn rationed(units: u32) -> Result<Self> {
        let plenty = "measure: units, max: 1000000";
        let rationed = registry().replace(plenty, &format!("measure: units, max: {units}"));
        Self::over(None, &rationed).await
    }

    /// Opens a shop with its counters in Redis.
    pub async fn over_redis(redis: RedisSettings) -> Result<Self> {
        Self::over(Some(redis), &registry()).await
    }

    async fn over(redis: Option<RedisSettings>, registry: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let prometheus = prometheus::Registry::new();
        let streams = ingest::metrics::Metrics::register(&prometheus)?;
        let log = EmbeddedLog::open(
            &folder.path().join("log"),
            &embedded::Settings::default(),
            streams.clone(),
        )?;
        let log: Arc<dyn Log> = Arc::new(log);
        let vault = Vault::open(&folder.path().join("keys"))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = connectors::metrics::Metrics::register(&prometheus)?;
        let context = Context {
            log: Arc::clone(&log),
            vault: vault.clone(),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            streams,
        };
        fill(&context, registry).await?;
        let index = Index::open(&folder.path().join("index"), &log).await?;
        let parts = Parts {
            log,
            vault: vault.clone(),
            clock: Arc::clone(&clock),
            metrics: Metrics::register(&prometheus)?,
            claims: Claims::over(Arc::clone(&index)),
            fence: Fence::new(0),
            index,
        };
        let (settings, bounds) = (Settings::default(), Bounds::default());
        let (handle, running) = match redis {
            None => service::start(Authoriser::embedded(parts, settings).await?, bounds)?,
            Some(redis) => {
                service::start(Authoriser::over_redis(parts, settings, redis).await?.0, bounds)?
            }
        };
        let issuing = Tokens::of(&vault, clock);
        let tokens = (0..TERMINALS).map(|n| token(&issuing, n)).collect::<Result<_>>()?;
        // As often as they like: what is measured is how fast it goes.
        let settings =
            http::Settings { per_second: u32::MAX, at_once: u32::MAX, ..Default::default() };
        let streams = context.streams.clone();
        let door =
            Door::new(handle.clone(), vault.clone(), issuing, metrics.clone(), streams, settings);
        let http =
            serve(edge::around(http::routes(door.clone()), Default::default(), metrics)).await?;
        let grpc = serve(grpc::routes(door).await?).await?;
        Ok(Self { http, grpc, handle, tokens, running, _folder: folder })
    }

    /// Closes it.
    pub async fn close(self) -> Result<()> {
        drop(self.handle);
        Ok(self.running.stop().await?)
    }
}

/// Serves routes on a free port.
pub async fn serve(routes: Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // Where it cannot be set, answers only wait longer.
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

/// A terminal's id.
pub fn terminal(number: usize) -> String {
    format!("T{number}")
}

fn token(tokens: &Tokens, number: usize) -> Result<String> {
    let identity = Identity {
        role: Role::Terminal,
        organisation: "shop".into(),
        subject: terminal(number).into(),
    };
    Ok(tokens.issue(&identity, Utc::now() + TimeDelta::hours(1))?)
}

/// The registry of the shop, with its terminals.
pub fn registry() -> String {
    let mut text = REGISTRY.to_owned();
    text.push_str("terminals:\n");
    for number in 0..TERMINALS {
        text.push_str(&format!("- {{id: {}, place: P1, kind: till}}\n", terminal(number)));
    }
    text
}

/// A card that stands without a person, as a line of a file of means.
pub fn means(card: usize) -> String {
    format!(
        "{{\"person\":null,\"issuer\":\"city-card\",\"kind\":\"card_uid\",\"value\":\"{card}\",\
         \"valid_from\":\"2020-01-01\",\"valid_to\":null}}\n"
    )
}

async fn fill(context: &Context, registry: &str) -> Result<()> {
    let document = registries::read(registry, "registry", &|_| None, &|_| None)?;
    registries::apply(&context.log, &document, context.clock.now()).await?;
    let connector = MeansFiles {
        issuers: [IssuerId::new("city-card")?].into(),
        vault: context.vault.clone(),
        clock: Arc::clone(&context.clock),
    };
    let lines: String = (0..CARDS).map(means).collect();
    let reader = Box::new(std::io::Cursor::new(lines.into_bytes()));
    load::load(context, connector, reader, "means", |_| ()).await?;
    Ok(())
}
