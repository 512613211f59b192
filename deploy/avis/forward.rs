//! What another role's process answers: handed on as it comes, and answered as that one answers, so that
//! whoever asks needs one address.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    BoxError, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use connectors::{
    edge::{Sending, Turn},
    problem::Problem,
};
use futures::{Stream, stream};
use reqwest::{Certificate, Client, redirect::Policy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;
use utoipa::openapi::OpenApi;

use crate::failure::Failure;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses: less than the door at its other end keeps it.
const KEPT: Duration = Duration::from_secs(60);
/// The most requests that are handed on to one address at once.
const AT_ONCE: usize = 4_096;
/// What is said of one connection, and not of the request (RFC 9110, 7.6.1).
const OF_THE_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whoever hands on.
#[derive(Clone, Debug)]
pub struct Forward(Client);

impl Forward {
    /// One that trusts whoever everybody trusts, and an authority of one's own where there is one.
    ///
    /// # Errors
    /// Where the authority's file cannot be read.
    pub fn new(authority: &Path) -> Result<Self, Failure> {
        let wrong = |error: reqwest::Error| Failure::setting("roles.authority", error);
        let mut client = Client::builder()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(KEPT)
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .no_proxy();
        if !authority.as_os_str().is_empty() {
            let text = std::fs::read(authority)
                .map_err(|source| Failure::Read { path: authority.to_path_buf(), source })?;
            for certificate in Certificate::from_pem_bundle(&text).map_err(wrong)? {
                client = client.add_root_certificate(certificate);
            }
        }
        Ok(Self(client.build().map_err(wrong)?))
    }

    /// Every path of a description, led to the process at an address. It is given up where it says
    /// nothing for so long.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn routes(
        &self,
        setting: &str,
        to: &str,
        of: &OpenApi,
        silent: Duration,
    ) -> Result<Router, Failure> {
        let led = self.led(setting, to, silent)?;
        let mut routes = Router::new();
        for path in of.paths.paths.keys().filter(|path| path.starts_with("/v1/")) {
            routes = routes.route(path, any(hand_on));
        }
        Ok(routes.with_state(led))
    }

    fn led(&self, setting: &str, to: &str, silent: Duration) -> Result<Led, Failure> {
        let to = Url::parse(to).map_err(|error| Failure::setting(setting, error))?;
        let is_web = matches!(to.scheme(), "http" | "https") && to.host().is_some();
        // A path of its own would be lost: that of the request takes its place.
        if !is_web || to.path() != "/" {
            let text = "an address that begins with http:// or https:// and has no path";
            return Err(Failure::setting(setting, text));
        }
        let room = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Led { client: self.0.clone(), to, silent, room })
    }
}

#[derive(Clone)]
struct Led {
    client: Client,
    to: Url,
    silent: Duration,
    room: Arc<Semaphore>,
}

impl Led {
    /// Where a request goes; nowhere where its path would arrive as another one, which may be
    /// another route's.
    fn target(&self, of: &Uri) -> Option<Url> {
        let mut to = self.to.clone();
        to.set_path(of.path());
        to.set_query(of.query());
        (to.path() == of.path()).then_some(to)
    }
}

async fn hand_on(State(led): State<Led>, request: Request) -> Response {
    let Ok(room) = Arc::clone(&led.room).try_acquire_owned() else {
        let detail = "another part of the installation is asked too much at once; ask again";
        return Problem::unavailable(detail).into_response();
    };
    let (head, body) = request.into_parts();
    let Some(to) = led.target(&head.uri) else { return Problem::no_path().into_response() };
    let turn = Arc::new(Turn::default());
    let sending = Sending::of(body, &turn);
    let asked = led.client.request(head.method, to).headers(of_the_request(head.headers));
    let asked = asked.body(reqwest::Body::wrap_stream(sending));
    match in_time(&turn, led.silent, asked.send()).await {
        Ok(told) => {
            let (status, headers) = (told.status(), of_the_request(told.headers().clone()));
            let pieces = Body::from_stream(pieces(told, turn, led.silent, room));
            (status, headers, pieces).into_response()
        }
        // No more is said, as by a route that reads a body itself: `edge` says what was wrong.
        Err(_) if turn.is_cut() => StatusCode::BAD_REQUEST.into_response(),
        Err(error) => {
            let address = led.to.as_str();
            tracing::warn!(error = &*error, address, "a request could not be handed on");
            let detail = "another part of the installation does not answer; ask again, with the same \
                          key where there is one";
            Problem::unavailable(detail).into_response()
        }
    }
}

/// What is answered, as it comes. Only at its end there is room for another request.
fn pieces(
    told: reqwest::Response,
    turn: Arc<Turn>,
    silent: Duration,
    room: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, BoxError>> {
    stream::try_unfold((told, room), move |(mut told, room)| {
        let turn = Arc::clone(&turn);
        async move {
            let piece = in_time(&turn, silent, told.chunk()).await;
            piece.map(|piece| piece.map(|piece| (piece, (told, room))))
        }
    })
}

/// What another process tells, unless it says nothing for too long while it is its turn.
async fn in_time<T>(
    turn: &Turn,
    silent: Duration,
    told: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, BoxError> {
    let told = turn.in_time(silent, told).await?;
    told.map_err(|error| error.without_url().into())
}

fn of_the_request(mut headers: HeaderMap) -> HeaderMap {
    for name in &OF_THE_CONNECTION {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests;
