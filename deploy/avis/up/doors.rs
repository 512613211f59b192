//! Where a process listens: the doors of its roles, and no others.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use connectors::edge;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use warehouse::endpoint::DATABASE;

use crate::{config::Config, failure::Failure, role::Roles, tls};

/// How long a door waits for those who are still inside.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long a client may take nothing of what there is for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the node listens.
pub struct Listening {
    /// The API, health and metrics.
    pub http: TcpListener,
    /// Terminals that stream, where baskets are decided here.
    pub grpc: Option<TcpListener>,
    /// SQL, where tables are asked here.
    pub postgres: Option<TcpListener>,
    /// SQL likewise; of pipelines apart the rows that have not landed.
    pub flight: Option<TcpListener>,
    /// Their encryption.
    pub tls: tls::Doors,
}

impl Listening {
    /// Opens the doors of some roles, of which somebody may have to be told that others can read along.
    ///
    /// # Errors
    /// Where an address is taken, or a certificate cannot be used.
    pub async fn open(config: &Config, roles: Roles) -> Result<Self, Failure> {
        let tls = tls::Doors::open(config)?;
        let doors = [
            ("http", config.http.address, tls.http.is_some(), true),
            ("grpc", config.grpc.address, tls.grpc.is_some(), roles.decides()),
            ("postgres", config.postgres.address, tls.sql.is_some(), roles.tells()),
            ("flight", config.flight.address, tls.sql.is_some(), roles.tells() || roles.lands()),
        ];
        for (door, address, is_secured, is_open) in doors {
            if is_open && !is_secured && !address.ip().is_loopback() {
                tracing::warn!(door, %address, "[tls] gives this door no certificate, so whoever is on the way reads along");
            }
        }
        let [_, grpc, postgres, flight] = doors.map(|(_, address, _, is_open)| (address, is_open));
        Ok(Self {
            http: listen(config.http.address).await?,
            grpc: listen_where(grpc).await?,
            postgres: listen_where(postgres).await?,
            flight: listen_where(flight).await?,
            tls,
        })
    }

    /// Prints where it listens.
    pub fn tell(&self) {
        let secured = |tls: &Option<TlsAcceptor>, yes, no| if tls.is_some() { yes } else { no };
        let scheme = secured(&self.tls.http, "https", "http");
        println!(
            "http     {scheme}://{}/ /openapi.json /healthz /readyz /metrics",
            address(&self.http)
        );
        if let Some(grpc) = &self.grpc {
            println!("grpc     {}{}", address(grpc), secured(&self.tls.grpc, " (TLS)", ""));
        }
        if let Some(postgres) = &self.postgres {
            let mode = secured(&self.tls.sql, " (TLS)", "");
            println!("sql      postgres://{}/{DATABASE}{mode}", address(postgres));
        }
        if let Some(flight) = &self.flight {
            let scheme = secured(&self.tls.sql, "grpc+tls", "grpc");
            println!("flight   {scheme}://{}", address(flight));
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|source| Failure::Listen { address, source })
}

async fn listen_where(
    (address, is_open): (SocketAddr, bool),
) -> Result<Option<TcpListener>, Failure> {
    if is_open { listen(address).await.map(Some) } else { Ok(None) }
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
}

/// Opens a door until told to stop; what was let in is answered.
///
/// # Errors
/// Where its certificate cannot be used.
pub async fn open(
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
///
/// # Errors
/// Where the door failed.
pub async fn close(mut door: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    match tokio::time::timeout(GRACE, &mut door).await {
        Ok(closed) => closed?,
        Err(_) => {
            door.abort();
            Ok(())
        }
    }
}
