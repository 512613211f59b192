//! How long whoever asks is kept waiting: in time there is an answer, and what was begun goes on.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use super::turn::{Sending, Turn};
use crate::problem::Problem;

/// How long a request waits for us, once what it brings is there.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// One that changes something: the streams have to take it.
    pub changing: Duration,
    /// One that reads, or tries what a change would do.
    pub reading: Duration,
}

impl Deadline {
    /// Where every route reads, or tries what a change would do, whatever its method.
    #[must_use]
    pub fn of_reading(self) -> Self {
        Self { changing: self.reading, ..self }
    }

    fn of(self, method: &Method) -> Duration {
        let reads = [Method::GET, Method::HEAD].contains(method);
        if reads { self.reading } else { self.changing }
    }
}

/// Goes on with a request whose caller has hung up, or is told that it takes too long: what it began to
/// write is written by then, and whoever comes next must find it done, or not begun.
pub async fn detached(State(deadline): State<Deadline>, request: Request, next: Next) -> Response {
    let (within, turn) = (deadline.of(request.method()), Arc::new(Turn::default()));
    let (head, body) = request.into_parts();
    let body = match body.is_end_stream() {
        true => body,
        false => Body::from_stream(Sending::of(body, &turn)),
    };
    let request = Request::from_parts(head, body);
    let mut work = tokio::spawn(next.run(request).in_current_span());
    match turn.in_time(within, &mut work).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::unavailable("the request could not be finished").into_response(),
        Err(_) => Problem::late().into_response(),
    }
}

/// Ends a request whose caller has hung up, or is told that it takes too long: it only reads, and nobody
/// finds done what it has computed.
pub async fn while_wanted(
    State(deadline): State<Deadline>,
    request: Request,
    next: Next,
) -> Response {
    let within = deadline.of(request.method());
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::late().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::{
        Router,
        body::Bytes,
        middleware,
        routing::{get, post},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::Notify,
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(60);

    /// Streams that take nothing until they are told to.
    #[derive(Default)]
    struct Held {
        begun: Notify,
        take: Notify,
        taken: AtomicBool,
        told: Notify,
    }

    async fn append(State(held): State<Arc<Held>>) -> &'static str {
        held.take.notified().await;
        held.taken.store(true, Ordering::SeqCst);
        held.told.notify_one();
        "taken"
    }

    /// Tells when nobody works on a request any more.
    struct Ended(Arc<Held>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.told.notify_one();
        }
    }

    async fn read(State(held): State<Arc<Held>>) -> &'static str {
        let _ended = Ended(Arc::clone(&held));
        held.begun.notify_one();
        held.take.notified().await;
        "read"
    }

    async fn answered(mut stream: TcpStream) -> String {
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told).await;
        String::from_utf8_lossy(&told).into_owned()
    }

    async fn connected(routes: Router) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        TcpStream::connect(address).await.expect("connected")
    }

    async fn asked(routes: Router, parts: &[&str], pause: Duration) -> String {
        let mut stream = connected(routes).await;
        for part in parts {
            stream.write_all(part.as_bytes()).await.expect("sent");
            tokio::time::sleep(pause).await;
        }
        answered(stream).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_too_long_is_told_so_and_what_was_begun_goes_on() {
        let held = Arc::new(Held::default());
        let deadline = Deadline { changing: SOON, reading: LONG };
        let routes = Router::new()
            .route("/", post(append))
            .layer(middleware::from_fn_with_state(deadline, detached))
            .with_state(Arc::clone(&held));
        let head = "POST / HTTP/1.1\r\nhost: avis\r\nconnection: close\r\n\r\n";
        let told = asked(routes, &[head], Duration::ZERO).await;
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("\"late\""), "{told}");
        assert!(told.to_lowercase().contains("retry-after: 1"), "{told}");
        assert!(!held.taken.load(Ordering::SeqCst), "it waits");
        held.take.notify_one();
        tokio::time::timeout(LONG, held.told.notified()).await.expect("it goes on");
        assert!(held.taken.load(Ordering::SeqCst));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_body_that_takes_its_time_is_not_what_is_waited_for() {
        // Less than all its pauses, and more than a busy machine pauses.
        let deadline = Deadline { changing: SOON * 4, reading: SOON * 4 };
        let routes = Router::new()
            .route("/", post(async |body: Bytes| body.len().to_string()))
            .layer(middleware::from_fn_with_state(deadline, detached));
        let head =
            "POST / HTTP/1.1\r\nhost: avis\r\nconnection: close\r\ncontent-length: 3\r\n\r\n";
        let told = asked(routes, &[head, "a", "b", "c"], SOON * 2).await;
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with('3'), "{told}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_only_reads_ends_with_whoever_asks() {
        let held = Arc::new(Held::default());
        let routes = |reading| {
            Router::new()
                .route("/", get(read))
                .layer(middleware::from_fn_with_state(
                    Deadline { changing: LONG, reading },
                    while_wanted,
                ))
                .with_state(Arc::clone(&held))
        };
        let head = "GET / HTTP/1.1\r\nhost: avis\r\nconnection: close\r\n\r\n";
        let told = asked(routes(SOON), &[head], Duration::ZERO).await;
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("\"late\""), "{told}");
        let ended = || tokio::time::timeout(LONG, held.told.notified());
        ended().await.expect("it ends when that is told");
        held.begun.notified().await;
        let mut stream = connected(routes(LONG * 2)).await;
        stream.write_all(head.as_bytes()).await.expect("sent");
        held.begun.notified().await;
        drop(stream);
        ended().await.expect("it ends when nobody waits");
    }

    #[test]
    fn what_only_reads_may_take_longer() {
        let deadline = Deadline { changing: SOON, reading: LONG };
        assert_eq!([Method::GET, Method::HEAD].map(|of| deadline.of(&of)), [LONG, LONG]);
        assert_eq!([Method::POST, Method::PUT].map(|of| deadline.of(&of)), [SOON, SOON]);
        assert_eq!(deadline.of_reading().of(&Method::POST), LONG);
    }
}
