//! PostgreSQL's wire protocol: for psql, DBeaver, Grafana, Metabase, drivers and DuckDB.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pgwire::{
    api::{
        PgWireServerHandlers,
        auth::{StartupHandler, sasl::scram},
        cancel::CancelHandler,
        query::{ExtendedQueryHandler, SimpleQueryHandler},
    },
    messages::{cancel::CancelRequest, startup::SecretKey},
    tokio::process_socket,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

use super::{ACCEPT_AGAIN, Endpoint, Gate};

mod connection;
mod copy;
mod failure;
mod parameters;
pub(crate) mod settings;
mod startup;

use connection::{Connection, Extended};
use startup::Startup;

/// Connections beside those that have a place: whoever cannot stay is told so and not only hung up on,
/// and whoever only comes to cancel a statement, which may free a place, does that.
const BESIDE: usize = 16;
/// How long one of those takes at most.
const BESIDE_WITHIN: Duration = Duration::from_secs(5);

/// A password as SCRAM stores it (RFC 5802).
pub(super) fn salted(password: &str, salt: &[u8]) -> Vec<u8> {
    scram::gen_salted_password(password, salt, scram::SCRAM_ITERATIONS)
}

/// Statements that can be cancelled: by the number and the secret that their connection was given.
#[derive(Debug, Default)]
pub(crate) struct Cancels {
    running: Mutex<HashMap<i32, (SecretKey, watch::Sender<u64>)>>,
}

impl Cancels {
    fn add(&self, number: i32, secret: SecretKey) -> watch::Sender<u64> {
        let (sender, _) = watch::channel(0);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(number, (secret, sender.clone()));
        sender
    }

    fn remove(&self, number: i32) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}

#[async_trait::async_trait]
impl CancelHandler for Cancels {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((secret, sender)) = running.get(&request.pid)
            && secret.eq_value(&request.secret_key)
        {
            sender.send_modify(|asked| *asked += 1);
        }
    }
}

/// What one connection is handled by.
struct Handlers {
    connection: Arc<Connection>,
    startup: Arc<Startup>,
    cancels: Arc<Cancels>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.connection)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(Extended(Arc::clone(&self.connection)))
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.startup)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::clone(&self.cancels)
    }
}

/// Answers connections until told to stop; those that are open then are dropped.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    endpoint: Arc<Endpoint>,
    gate: Arc<dyn Gate>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(endpoint.limits.connections));
    let beside = Arc::new(Semaphore::new(BESIDE));
    let cancels = Arc::new(Cancels::default());
    let mut open = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            // It went away before it was let in, or there is no room for it: that may pass.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let stays = Arc::clone(&places).try_acquire_owned().ok();
        let full = stays.is_none().then(|| endpoint.metrics.clone());
        let Some(place) = stays.or_else(|| Arc::clone(&beside).try_acquire_owned().ok()) else {
            endpoint.metrics.turned_away("postgres");
            continue;
        };
        let is_full = full.is_some();
        let place = (place, (!is_full).then(|| endpoint.metrics.connected("postgres")));
        let connection = Arc::new(Connection::new(Arc::clone(&endpoint)));
        let startup = Startup::new(
            Arc::clone(&gate),
            Arc::clone(&connection),
            Arc::clone(&cancels),
            tls.is_some(),
            full,
        );
        let handlers = Handlers {
            connection: Arc::clone(&connection),
            startup: Arc::new(startup),
            cancels: Arc::clone(&cancels),
        };
        let (tls, cancels) = (tls.clone(), Arc::clone(&cancels));
        open.spawn(async move {
            let answered = Box::pin(process_socket(socket, tls, handlers));
            // A client that goes away in the middle of a word is no fault either.
            if is_full {
                let _ = tokio::time::timeout(BESIDE_WITHIN, answered).await;
            } else {
                let _ = answered.await;
            }
            connection.gone(&cancels);
            drop(place);
        });
        while open.try_join_next().is_some() {}
    }
    open.abort_all();
    Ok(())
}
