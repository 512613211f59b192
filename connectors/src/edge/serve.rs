//! Answers whoever comes in at a door. As `axum::serve` does it, which waits for ever for a request
//! whose head does not end.

use std::{pin::pin, time::Duration};

use axum::{Router, serve::Listener};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::sync::watch;

/// How slow the other end of a connection may be.
#[derive(Clone, Copy, Debug)]
pub struct Slowest {
    /// How long the head of a request may take, the pause before it included: longer than proxies keep
    /// a connection that nobody uses.
    pub head: Duration,
    /// After how long a silent connection of HTTP/2 is asked whether somebody is there, and how long the
    /// answer may take.
    pub ping: Duration,
}

impl Default for Slowest {
    fn default() -> Self {
        Self { head: Duration::from_secs(75), ping: Duration::from_secs(30) }
    }
}

/// Serves until told to stop, and then until what was let in is answered.
pub async fn serve(
    listener: impl Listener,
    routes: Router,
    slowest: Slowest,
    stop: watch::Receiver<bool>,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(slowest.head);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(slowest.ping);
    http2.keep_alive_timeout(slowest.ping);
    let (served, mut all_served) = watch::channel(());
    {
        let (mut listener, mut stopped) = (listener, pin!(told(stop.clone())));
        loop {
            let io = tokio::select! {
                (io, _) = listener.accept() => TokioIo::new(io),
                () = &mut stopped => break,
            };
            let (builder, service) = (builder.clone(), TowerToHyperService::new(routes.clone()));
            let (stop, served) = (stop.clone(), served.clone());
            tokio::spawn(async move {
                let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
                let done = tokio::select! {
                    done = connection.as_mut() => done,
                    () = told(stop) => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = done {
                    tracing::trace!(%error, "a connection ended before its time");
                }
                drop(served);
            });
        }
    }
    drop(served);
    // It fails once nobody is left who could send.
    while all_served.changed().await.is_ok() {}
}

/// Returns once told to stop; a sender that is gone has stopped, too.
async fn told(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::{sleep, timeout},
    };

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    struct Door {
        address: std::net::SocketAddr,
        stop: watch::Sender<bool>,
        serving: tokio::task::JoinHandle<()>,
    }

    async fn door(head: Duration) -> Door {
        let routes = Router::new().route("/", get(|| async { "here" })).route(
            "/late",
            get(|| async {
                sleep(Duration::from_millis(500)).await;
                "late"
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let slowest = Slowest { head, ..Slowest::default() };
        let serving = tokio::spawn(serve(listener, routes, slowest, stopped));
        Door { address, stop, serving }
    }

    async fn connected(door: &Door, said: &str) -> TcpStream {
        let mut stream = TcpStream::connect(door.address).await.expect("connected");
        stream.write_all(said.as_bytes()).await.expect("sent");
        stream
    }

    /// Everything until the connection ends.
    async fn answered(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        // An end that comes as an error is an end.
        let _ = timeout(WAIT, stream.read_to_end(&mut answer)).await.expect("it ends");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_given_up() {
        let door = door(Duration::from_millis(600)).await;
        let mut slow = connected(&door, "GET / HTTP/1.1\r\nhost: avis\r\n").await;
        let dripping = async {
            for _ in 0..200 {
                sleep(Duration::from_millis(100)).await;
                if slow.write_all(b"x").await.is_err() {
                    return;
                }
            }
            panic!("it is waited for");
        };
        timeout(WAIT, dripping).await.expect("given up");
        let mut prompt = connected(&door, "GET / HTTP/1.1\r\nhost: avis\r\n\r\n").await;
        let answer = answered(&mut prompt).await;
        assert!(answer.ends_with("here"), "{answer}");
    }

    #[tokio::test]
    async fn who_was_let_in_is_answered_before_it_ends() {
        let door = door(WAIT).await;
        let mut asked = connected(&door, "GET /late HTTP/1.1\r\nhost: avis\r\n\r\n").await;
        let mut idle = connected(&door, "").await;
        sleep(Duration::from_millis(200)).await;
        door.stop.send(true).expect("told");
        let answer = answered(&mut asked).await;
        assert!(answer.ends_with("late"), "{answer}");
        assert_eq!(answered(&mut idle).await, "");
        timeout(WAIT, door.serving).await.expect("it ends").expect("served");
        assert!(TcpStream::connect(door.address).await.is_err());
    }
}
