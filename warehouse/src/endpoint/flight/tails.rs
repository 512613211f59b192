//! Rows that have not landed, for a process of ours that has the tables' readers.

use std::{io, pin::Pin, sync::Arc};

use arrow_flight::{
    Ticket,
    flight_service_server::{FlightService, FlightServiceServer},
    sql::{Any, SqlInfo, server::FlightSqlService},
};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};

use super::{Calls, admission::Admission};
use crate::{
    access::View,
    endpoint::Gate,
    metrics::Metrics,
    tail::{
        Tails,
        change::{TICKET, messages},
    },
};

/// Processes that follow, at once.
const FOLLOWERS: usize = 16;

/// Tells whoever sees everything of each change of the tails, until told to stop.
///
/// # Errors
/// Where the server fails.
pub async fn serve(
    tails: Tails,
    gate: Arc<dyn Gate>,
    metrics: Metrics,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(FOLLOWERS));
    let service = Service { tails, admission: Admission::new(gate), stop: stop.clone() };
    let calls = Calls { listener, tls, places, metrics };
    calls.answer(FlightServiceServer::new(service), stop).await
}

struct Service {
    tails: Tails,
    admission: Admission,
    stop: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    async fn do_get_fallback(
        &self,
        request: Request<Ticket>,
        asked: Any,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let reader = self.admission.reader(&request)?;
        if reader.view != View::Everything {
            return Err(Status::permission_denied(
                "rows that have not landed are not for this role",
            ));
        }
        if asked.type_url != TICKET {
            return Err(Status::unimplemented("here is nothing but what has not landed"));
        }
        let changes = stream::unfold(self.tails.watch(), |mut watch| async {
            watch.next().await.map(|change| (change, watch))
        });
        let mut stop = self.stop.clone();
        // Whoever follows is not left with what nobody tells any more.
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        let told = changes.take_until(stopped.boxed()).flat_map(messages).map_err(Status::from);
        let told: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(told);
        Ok(Response::new(told))
    }

    async fn register_sql_info(&self, _id: i32, _info: &SqlInfo) {}
}
