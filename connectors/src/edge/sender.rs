//! Who sends a body: known before it is read, and not slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::{
    access::{self, Tokens},
    problem::Problem,
};

/// How long a body may bring no byte: longer than routes wait that say more of what was taken.
const IDLE: Duration = Duration::from_secs(40);
/// How long a body may take that is read as a whole.
const WHOLE: Duration = Duration::from_secs(300);

/// How slow a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    idle: Duration,
    whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { idle: IDLE, whole: WHOLE }
    }
}

/// Refuses whoever sends a body without a valid token, before it is read. A terminal's key may be enrolled
/// by a code alone.
pub async fn known_first(State(tokens): State<Tokens>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_asked = path.starts_with("/v1/") && !request.body().is_end_stream();
    let is_key = path.starts_with("/v1/terminals/") && path.contains("/keys/");
    if is_asked
        && !is_key
        && let Err(problem) = access::identity(&tokens, request.headers())
    {
        return problem.into_response();
    }
    next.run(request).await
}

/// Goes on with a request whose body ends where its sender is too slow.
pub(super) async fn not_slow(
    State(patience): State<Patience>,
    request: Request,
    next: Next,
) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let slow = Arc::new(AtomicBool::new(false));
    let (head, body) = request.into_parts();
    let body = bounded(body, patience, comes_as_lines(&head.headers), Arc::clone(&slow));
    let response = next.run(Request::from_parts(head, body)).await;
    // The framework calls it cut off; a route that reads by itself has said what it took.
    if slow.load(Ordering::Relaxed) && super::is_bare_refusal(&response) {
        let status = StatusCode::REQUEST_TIMEOUT;
        let detail = "no byte came for long, or the whole took too long";
        return Problem::new(status, "slow_sender", "The body is too slow", detail).into_response();
    }
    response
}

/// Whether a body is dealt with line by line, for as long as lines come.
fn comes_as_lines(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/x-ndjson"))
}

fn bounded(body: Body, patience: Patience, lines: bool, slow: Arc<AtomicBool>) -> Body {
    let last = (!lines).then(|| Instant::now() + patience.whole);
    let pieces = stream::unfold(body.into_data_stream(), move |mut pieces| {
        let (slow, until) = (Arc::clone(&slow), Instant::now() + patience.idle);
        async move {
            let until = last.map_or(until, |last| last.min(until));
            match tokio::time::timeout_at(until, pieces.next()).await {
                Ok(piece) => piece.map(|piece| (piece, pieces)),
                Err(late) => {
                    slow.store(true, Ordering::Relaxed);
                    Some((Err(axum::Error::new(late)), pieces))
                }
            }
        }
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Bytes, middleware, routing::post};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A server of one route, asked with a head and then some parts of a body, each after a pause.
    async fn told(head: &str, parts: &[&str], pause: Duration) -> String {
        let patience =
            Patience { idle: Duration::from_millis(400), whole: Duration::from_millis(900) };
        let routes = Router::new()
            .route("/", post(async |body: Bytes| body.len().to_string()))
            .layer(middleware::from_fn_with_state(patience, not_slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let head = format!("POST / HTTP/1.1\r\nhost: avis\r\nconnection: close\r\n{head}\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        for part in parts {
            tokio::time::sleep(pause).await;
            if stream.write_all(part.as_bytes()).await.is_err() {
                break;
            }
        }
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told).await;
        String::from_utf8_lossy(&told).into_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_sends_nothing_or_too_slowly_is_told_so_and_lines_may_take_their_time() {
        let soon = Duration::from_millis(150);
        let silent = told("content-length: 3\r\n", &[], soon).await;
        assert!(silent.starts_with("HTTP/1.1 408") && silent.contains("slow_sender"), "{silent}");
        let whole = told("content-length: 3\r\n", &["a", "bc"], soon).await;
        assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with('3'), "{whole}");
        let (long, parts) = ("content-length: 12\r\n", ["a"; 12]);
        let slow = told(long, &parts, soon).await;
        assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
        let lines = format!("{long}content-type: application/x-ndjson\r\n");
        let lines = told(&lines, &parts, soon).await;
        assert!(lines.starts_with("HTTP/1.1 200") && lines.ends_with("12"), "{lines}");
    }
}
