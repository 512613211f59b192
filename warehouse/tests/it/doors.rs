//! Both doors to SQL, as clients find them: a server on loopback, and what goes over the wire.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{net::TcpListener, runtime::Handle, sync::watch};
use warehouse::{
    access::{Reader, View},
    endpoint::{Endpoint, Entry, Gate, Limits, Stored, flight, postgres},
    metrics::Metrics,
    session::Session,
    tail::Tails,
};

use crate::world::World;

mod bounds;
mod catalogues;
mod client;
mod copies;
mod drivers;
mod roles;
mod transactions;

/// Whoever names a role is in it; of a grantor or merchant the name says which: `grantor:riga`.
#[derive(Debug)]
struct Named;

fn reader(name: &str) -> Result<Reader, String> {
    let view = match name.split_once(':') {
        None if name == "administrator" => View::Everything,
        None if name == "analyst" => View::Analyst,
        None if name == "finance" => View::Finance,
        Some(("grantor", id)) => View::Grantor(id.into()),
        Some(("merchant", id)) => View::Merchant(id.into()),
        _ => return Err("nobody is called so".to_owned()),
    };
    Ok(Reader { name: name.into(), view })
}

impl Gate for Named {
    fn admit(&self, name: &str, _: &str) -> Result<Reader, String> {
        reader(name)
    }

    fn bearer(&self, token: &str) -> Result<Reader, String> {
        reader(token)
    }

    fn stored(&self, _: &str) -> Option<(Stored, Reader)> {
        None
    }
}

/// A server over a warehouse; it ends when it is dropped.
struct Doors {
    postgres: SocketAddr,
    flight: SocketAddr,
    /// Every statement of the query log, with how it ended.
    told: Arc<Mutex<Vec<(String, &'static str)>>>,
    _stop: watch::Sender<bool>,
}

impl Doors {
    async fn open(world: &World) -> Self {
        Self::within(world, Limits::default()).await
    }

    async fn within(world: &World, limits: Limits) -> Self {
        Self::on(world, limits, Handle::current()).await
    }

    /// Answers are computed elsewhere than the doors are served.
    async fn on(world: &World, limits: Limits, executor: Handle) -> Self {
        let (url, tails) = (world.url.clone(), Tails::default());
        let told: Arc<Mutex<Vec<_>>> = Arc::default();
        let log = Arc::clone(&told);
        let endpoint = Endpoint::new(
            Arc::new(move || Session::open_with(&url, &tails)),
            limits,
            Arc::new(move |entry: &Entry<'_>| {
                log.lock().unwrap().push((entry.statement.to_owned(), entry.outcome));
            }),
            Metrics::register(&prometheus::Registry::new()).unwrap(),
            executor,
        );
        let endpoint = endpoint.unwrap();
        let (stop, stopped) = watch::channel(false);
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (over_postgres, over_flight) = (listen().await.unwrap(), listen().await.unwrap());
        let addresses = (over_postgres.local_addr().unwrap(), over_flight.local_addr().unwrap());
        let gate: Arc<dyn Gate> = Arc::new(Named);
        tokio::spawn(postgres::serve(
            Arc::clone(&endpoint),
            Arc::clone(&gate),
            over_postgres,
            None,
            stopped.clone(),
        ));
        tokio::spawn(flight::serve(endpoint, gate, over_flight, None, stopped));
        Self { postgres: addresses.0, flight: addresses.1, told, _stop: stop }
    }
}
