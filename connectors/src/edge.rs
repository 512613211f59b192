//! What every answer of ours has: the request's id, a problem for what is refused, and a count.

mod answers;
pub(crate) mod body;
mod deadline;
mod keyed;
pub mod page;
mod patience;
mod secured;
mod sender;
mod serve;
mod turn;

pub use answers::Answers;
pub use deadline::{Deadline, detached, while_wanted};
pub use keyed::keyed;
pub use patience::Patient;
pub use secured::Secured;
pub use sender::known_first;
pub use serve::{Slowest, serve};
pub use turn::{Sending, Turn};

use std::{borrow::Cow, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use ring::rand::{SecureRandom, SystemRandom};
use tracing::Instrument;
use utoipa::{OpenApi as _, openapi::OpenApi};

use crate::{
    metrics::{Asked, Metrics},
    problem::Problem,
    terminal::openapi::Description,
};

/// The header by which a request is found in logs; a caller's own is kept, and logged if it is long
/// enough (`LEAST_LOGGED`). A problem's `instance` names it as the log does.
pub const REQUEST_ID: &str = "x-request-id";
/// The longest request id of a caller's.
const LONGEST_ID: usize = 64;
/// The shortest request id that is logged: longer than a person's code or a card's number, which somebody
/// might take for an id.
const LEAST_LOGGED: usize = 20;
/// The methods that are told apart.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
/// The route of a path that there is not.
const NO_ROUTE: &str = "none";
const PAGE: &str = include_str!("edge/try.html");

/// Puts the description, that of `beside` in it, the page to try it and what every answer has around
/// some routes.
pub fn around(routes: Router, beside: OpenApi, metrics: Metrics) -> Router {
    let mut description = Description::openapi();
    description.merge(beside);
    let description = description.to_json().unwrap_or_default();
    let describe =
        move || async move { ([(header::CONTENT_TYPE, "application/json")], description.clone()) };
    routes
        .route("/openapi.json", get(describe))
        .route("/", get(|| async { Html(PAGE) }))
        .fallback(|| async { Problem::no_path() })
        .layer(middleware::from_fn_with_state(sender::Patience::default(), sender::not_slow))
        .layer(middleware::from_fn_with_state(metrics, answer))
}

async fn answer(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let named = HeaderValue::from_str(&id).ok();
    if let Some(named) = &named {
        // So that a process to which it is handed on calls it the same.
        request.headers_mut().insert(REQUEST_ID, named.clone());
    }
    let (method, head) = (method(request.method()), request.method() == Method::HEAD);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let to = request.uri().clone();
    let (started, answering) = (Instant::now(), metrics.came("http"));
    let logged = logged(&id);
    let span = tracing::error_span!("request", id = &*logged);
    let mut response = next.run(request).instrument(span).await;
    if is_bare_refusal(&response) && !head {
        response = refusal(response);
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = problem.of(&logged).body();
    }
    let next = response.extensions_mut().remove::<page::Next>();
    if let Some(link) = next.and_then(|next| page::link(&to, &next)) {
        response.headers_mut().insert(header::LINK, link);
    }
    drop(answering);
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let asked = Asked { protocol: "http", method, route };
    metrics.answered(asked, response.status().as_u16().into(), started.elapsed());
    if let Some(named) = named {
        response.headers_mut().insert(REQUEST_ID, named);
    }
    response
}

/// A method's name, of those that there are: a caller may send any word.
fn method(of: &Method) -> &'static str {
    METHODS.into_iter().find(|known| of == known).unwrap_or("other")
}

fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let fits = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(plain)
    };
    if let Some(id) = given.filter(fits) {
        return id.to_owned();
    }
    fresh_id()
}

fn fresh_id() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness the id is of no use, but the answer is.
    let _ = SystemRandom::new().fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// How logs and problems name a request: by its id, or by one of our own where that may be somebody's.
fn logged(id: &str) -> Cow<'_, str> {
    if id.len() < LEAST_LOGGED { fresh_id().into() } else { id.into() }
}

/// Whether it is a refusal of the framework's, which knows no problem details.
fn is_bare_refusal(response: &Response) -> bool {
    let refused = response.status().is_client_error() || response.status().is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE);
    refused && kind.is_none_or(|kind| kind != "application/problem+json")
}

fn refusal(response: Response) -> Response {
    let status = response.status();
    let (code, title) = match status {
        StatusCode::NOT_FOUND => ("not_found", "Not found"),
        StatusCode::NOT_ACCEPTABLE => ("not_acceptable", "Not in this form"),
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "The body is too large"),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "Not this method"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "Not this media type"),
        StatusCode::SERVICE_UNAVAILABLE => ("not_ready", "Not available now"),
        _ if status.is_server_error() => ("internal", "Internal error"),
        _ => ("bad_request", "The request is not valid"),
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let detail = status.canonical_reason().unwrap_or("refused").to_lowercase();
    let mut problem = Problem::new(status, code, title, detail).into_response();
    if let Some(allow) = allow {
        problem.headers_mut().insert(header::ALLOW, allow);
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_there_is_not_is_no_label() {
        assert_eq!([Method::PUT, Method::TRACE].map(|of| method(&of)), ["PUT", "other"]);
        let word = Method::from_bytes(b"010180-12346").expect("a word");
        assert_eq!(method(&word), "other");
    }

    #[test]
    fn an_id_that_may_be_somebodys_is_not_logged() {
        for somebodys in ["010180-12346", "01018012346", "04A2B3C4D5E6F7", "4751290000000000000"] {
            let named = logged(somebodys);
            assert!(named.len() >= LEAST_LOGGED && !named.contains(somebodys), "{named}");
        }
        let generated = "0192f3a4-5b6c-7d8e-9f00-112233445566";
        assert_eq!(logged(generated), generated);
    }
}
