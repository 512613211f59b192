//! What another role's process answers: handed on as it comes, and answered as that one answers, so that
//! whoever asks needs one address.

use std::{path::Path, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
    routing::any,
};
use connectors::problem::Problem;
use reqwest::{Certificate, Client, redirect::Policy};
use url::Url;
use utoipa::openapi::OpenApi;

use crate::failure::Failure;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the other one may say nothing: longer than a report takes there.
const SILENT: Duration = Duration::from_secs(330);
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
            .read_timeout(SILENT)
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

    /// Every path of a description, led to the process at an address.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn routes(&self, setting: &str, to: &str, of: &OpenApi) -> Result<Router, Failure> {
        let to = Url::parse(to).map_err(|error| Failure::setting(setting, error))?;
        if !matches!(to.scheme(), "http" | "https") || to.host().is_none() {
            return Err(Failure::setting(
                setting,
                "an address that begins with http:// or https://",
            ));
        }
        let mut routes = Router::new();
        for path in of.paths.paths.keys().filter(|path| path.starts_with("/v1/")) {
            routes = routes.route(path, any(hand_on));
        }
        Ok(routes.with_state(Led { client: self.0.clone(), to }))
    }
}

#[derive(Clone)]
struct Led {
    client: Client,
    to: Url,
}

async fn hand_on(State(led): State<Led>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut to = led.to.clone();
    to.set_path(head.uri.path());
    to.set_query(head.uri.query());
    let body = reqwest::Body::wrap_stream(body.into_data_stream());
    let asked = led.client.request(head.method, to).headers(of_the_request(head.headers));
    match asked.body(body).send().await {
        Ok(told) => {
            let (status, headers) = (told.status(), of_the_request(told.headers().clone()));
            (status, headers, Body::from_stream(told.bytes_stream())).into_response()
        }
        Err(error) => {
            let address = led.to.as_str();
            let error: &dyn std::error::Error = &error.without_url();
            tracing::warn!(error, address, "a request could not be handed on");
            let detail = "another part of the installation does not answer; ask again, with the same \
                          key where there is one";
            Problem::unavailable(detail).into_response()
        }
    }
}

fn of_the_request(mut headers: HeaderMap) -> HeaderMap {
    for name in &OF_THE_CONNECTION {
        headers.remove(name);
    }
    headers
}
