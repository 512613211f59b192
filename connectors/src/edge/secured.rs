//! An encrypted door: connections are agreed upon beside each other, so that nobody who dawdles
//! holds up the rest, and only those that are agreed upon come in.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long an encrypted connection may take to be agreed upon.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that are being agreed upon at once; more wait before the door.
const AT_ONCE: usize = 4_096;
/// Connections that are agreed upon and not yet served.
const AGREED: usize = 64;
/// How long the door waits after a connection that it could not take.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A listener whose connections are encrypted; whoever speaks plainly is not answered.
#[derive(Debug)]
pub struct Secured {
    address: SocketAddr,
    arrived: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    accepting: JoinHandle<()>,
}

impl Secured {
    /// Over a listener.
    ///
    /// # Errors
    /// Where the listener has no address.
    pub fn new(listener: TcpListener, tls: TlsAcceptor) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (agreed, arrived) = mpsc::channel(AGREED);
        let accepting = tokio::spawn(accept(listener, tls, agreed));
        Ok(Self { address, arrived, accepting })
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.arrived.recv().await {
            Some(connection) => connection,
            // Nobody comes any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    agreed: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((socket, from)) = listener.accept().await else {
            // It went away before it was let in, or there is no room for it: that may pass.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let (tls, agreed) = (tls.clone(), agreed.clone());
        tokio::spawn(async move {
            let handshake = tokio::time::timeout(HANDSHAKE, shake(socket, &tls)).await;
            drop(place);
            match handshake {
                // A server that is gone wants no more.
                Ok(Ok(stream)) => drop(agreed.send((stream, from)).await),
                Ok(Err(error)) => tracing::debug!(%error, "a connection was not agreed upon"),
                Err(_) => tracing::debug!("a connection took too long to be agreed upon"),
            }
        });
    }
}

async fn shake(socket: TcpStream, tls: &TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    // An answer is one write; waiting for more would only delay it.
    socket.set_nodelay(true)?;
    tls.accept(socket).await
}
