//! `Idempotency-Key` of requests whose effect is known by no key of its own: the second time, its answer
//! is that of the first.
//!
//! What decides a basket, registers a means or asks for a call keeps the key with its effect, in the same
//! record. The other requests change nothing the second time by their nature, or would be refused then;
//! here only their answers are kept, after the effect is durable. A request of which a crash took the
//! answer is asked anew.

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, Request, State},
    http::{Method, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use blake3::{Hash, Hasher};

use super::answers::{Answer, Answers};
use crate::{
    access::{self, Identity, Tokens},
    problem::Problem,
    terminal::http::{IDEMPOTENCY_KEY, idempotency_key},
};

/// An answer that is longer is not kept.
const LONGEST: usize = 1 << 20;

#[derive(Clone, Debug)]
struct Keys {
    tokens: Tokens,
    answers: Answers,
}

/// Lets every `POST` of some routes take an `Idempotency-Key`. A key belongs to whoever sent it. What is
/// refused has changed nothing, and is forgotten with its key.
pub fn keyed<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    tokens: Tokens,
    answers: Answers,
) -> Router<S> {
    routes.layer(middleware::from_fn_with_state(Keys { tokens, answers }, once))
}

async fn once(State(keys): State<Keys>, request: Request, next: Next) -> Result<Response, Problem> {
    if request.method() != Method::POST || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return Ok(next.run(request).await);
    }
    let identity = access::identity(&keys.tokens, request.headers())?;
    let key = idempotency_key(request.headers())?;
    let name = name(&identity, key.as_str());
    let (head, body) = request.into_parts();
    let whole = Request::from_parts(head.clone(), body);
    let body = match Bytes::from_request(whole, &()).await {
        Ok(body) => body,
        Err(refused) => return Ok(refused.into_response()),
    };
    let asked = asked(key.as_str(), &head, &body);
    let _turn = keys.answers.turn(name).await;
    match keys.answers.find(name) {
        Some(answer) if answer.asked == asked => return Ok(answer.response()),
        Some(_) => return Err(authoriser::command::Refusal::KeyReused.into()),
        None => {}
    }
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    // What may not be stored shows somebody's data, and changes nothing.
    let shows = response.headers().get(header::CACHE_CONTROL).is_some_and(|of| of == "no-store");
    if shows || !response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let lost = |_| Problem::unavailable("the answer was lost; ask again with the same key");
    let body = to_bytes(body, usize::MAX).await.map_err(lost)?;
    if body.len() <= LONGEST {
        let (status, kind) = (head.status, head.headers.get(header::CONTENT_TYPE).cloned());
        let at = keys.answers.now();
        keys.answers.keep(name, Answer { asked, at, status, kind, body: body.clone() }).await;
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

/// Who asks, and under which key.
fn name(identity: &Identity, key: &str) -> Hash {
    let (organisation, subject) = (&*identity.organisation, &*identity.subject);
    hash(&[identity.role.code(), organisation, subject, key].map(str::as_bytes))
}

/// What is asked. A body may say no more than whom it is about, and what few bodies there can be is found out
/// from their hash: the caller's key, which is kept nowhere, is in it.
fn asked(key: &str, head: &Parts, body: &[u8]) -> Hash {
    let to = head.uri.path_and_query().map_or("", |to| to.as_str());
    hash(&[key.as_bytes(), to.as_bytes(), body])
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_not_found_out_from_its_hash_without_the_key() {
        let request =
            axum::http::Request::post("/v1/persons:erase").body(Body::empty()).expect("a request");
        let (head, body) = (request.into_parts().0, b"{\"person\":\"010180-12346\"}");
        assert_eq!(asked("k", &head, body), asked("k", &head, body));
        assert_ne!(asked("k", &head, body), asked("l", &head, body));
    }
}
