//! Arrow Flight SQL: for ADBC and JDBC drivers; answers go out as Arrow, batch by batch.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Server, server::Connected};

use super::{ACCEPT_AGAIN, Endpoint, Gate};
use crate::metrics::{Metrics, Ongoing};

mod about;
mod actions;
mod admission;
mod keys;
mod prepared;
mod service;
pub mod tails;

use service::Service;

/// How long an encrypted connection may take to be agreed upon.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often somebody silent is asked whether they are there, and how long they may take to say so:
/// the place of whoever is gone is free again.
const ASKED_EVERY: Duration = Duration::from_secs(20);
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// How somebody came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    /// Whether nobody on the way can read along.
    pub(super) is_private: bool,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One connection; its place is free again when it is gone.
struct Link {
    io: Box<dyn Io>,
    came: Came,
    _place: Place,
}

/// A connection's place among those that are taken, and in what operators see.
type Place = (OwnedSemaphorePermit, Ongoing);

impl Connected for Link {
    type ConnectInfo = Came;

    fn connect_info(&self) -> Came {
        self.came
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Answers calls until told to stop.
///
/// # Errors
/// Where the server fails.
pub async fn serve(
    endpoint: Arc<Endpoint>,
    gate: Arc<dyn Gate>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(endpoint.limits.connections));
    let metrics = endpoint.metrics.clone();
    let service = FlightServiceServer::new(Service::new(endpoint, gate));
    Calls { listener, tls, places, metrics }.answer(service, stop).await
}

/// Where calls come in.
struct Calls {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl Calls {
    /// Has them answered until told to stop.
    async fn answer<S: FlightService>(
        self,
        service: FlightServiceServer<S>,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let (links, arrived) = mpsc::channel(16);
        let accepting =
            tokio::spawn(accept(self.listener, self.tls, self.places, links, self.metrics));
        let served = Server::builder()
            .http2_keepalive_interval(Some(ASKED_EVERY))
            .http2_keepalive_timeout(Some(ANSWERED_WITHIN))
            .add_service(service)
            .serve_with_incoming(ReceiverStream::new(arrived));
        let ended = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            ended = served => ended,
        };
        accepting.abort();
        ended.map_err(io::Error::other)
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    links: mpsc::Sender<io::Result<Link>>,
    metrics: Metrics,
) {
    loop {
        let Ok((socket, from)) = listener.accept().await else {
            // It went away before it was let in, or there is no room for it: that may pass.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.turned_away("flight");
            continue;
        };
        let place = (place, metrics.connected("flight"));
        let (tls, links) = (tls.clone(), links.clone());
        tokio::spawn(async move {
            let agreed = tokio::time::timeout(HANDSHAKE, link(socket, from, tls, place)).await;
            if let Ok(Ok(link)) = agreed {
                // A server that is gone wants no more.
                let _ = links.send(Ok(link)).await;
            }
        });
    }
}

async fn link(
    socket: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    place: Place,
) -> io::Result<Link> {
    socket.set_nodelay(true)?;
    let is_private = tls.is_some() || from.ip().is_loopback();
    let io: Box<dyn Io> = match tls {
        Some(tls) => Box::new(tls.accept(socket).await?),
        None => Box::new(socket),
    };
    Ok(Link { io, came: Came { is_private }, _place: place })
}
