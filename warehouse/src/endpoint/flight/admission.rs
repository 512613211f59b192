//! Who calls: by a bearer token, or by name and password, which are exchanged for one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use tokio::time::Instant;
use tonic::{Request, Status};

use super::Came;
use crate::{
    access::Reader,
    endpoint::{Gate, postgres},
};

/// How long what a password was exchanged for holds.
const HOLDS: Duration = Duration::from_secs(12 * 60 * 60);
/// The most of them at once; the oldest go first.
const MOST: usize = 10_000;
/// How long one waits who was refused, so that nobody guesses quickly.
const REFUSED_AFTER: Duration = Duration::from_millis(300);

/// Who was let in.
#[derive(Debug)]
pub(super) struct Admission {
    gate: Arc<dyn Gate>,
    known: Mutex<HashMap<String, (Reader, Instant)>>,
}

impl Admission {
    pub(super) fn new(gate: Arc<dyn Gate>) -> Self {
        Self { gate, known: Mutex::default() }
    }

    /// Whoever a call's token names.
    pub(super) fn reader<T>(&self, request: &Request<T>) -> Result<Reader, Status> {
        let (scheme, token) = credentials(request)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Status::unauthenticated("a bearer token is wanted, or a handshake before"));
        }
        private(request)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((reader, until)) = known.get(token) {
            if *until > Instant::now() {
                return Ok(reader.clone());
            }
            known.remove(token);
        }
        drop(known);
        self.gate.bearer(token).map_err(Status::unauthenticated)
    }

    /// Exchanges a name and a password for a token of the connection; whoever has a token as the password
    /// goes on with that, for as long as it holds.
    pub(super) async fn handshake<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let (scheme, encoded) = credentials(request)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Status::unauthenticated("a handshake takes a name and a password"));
        }
        private(request)?;
        let plain = BASE64_STANDARD.decode(encoded).ok().and_then(|it| String::from_utf8(it).ok());
        let plain = plain.ok_or_else(|| Status::unauthenticated("no name and password"))?;
        let (name, password) = plain.split_once(':').unwrap_or((&plain, ""));
        let admitted = match self.gate.stored(name) {
            Some((stored, reader)) => {
                let salted = postgres::salted(password, &stored.salt);
                if is_same(&salted, &stored.salted) {
                    return self.keep(reader);
                }
                Err(format!("password authentication failed for user \"{name}\""))
            }
            None => self.gate.admit(name, password).map(|_| password.to_owned()),
        };
        if admitted.is_err() {
            tokio::time::sleep(REFUSED_AFTER).await;
        }
        admitted.map_err(Status::unauthenticated)
    }

    fn keep(&self, reader: Reader) -> Result<String, Status> {
        let mut bytes = [0; 32];
        let drawn = SystemRandom::new().fill(&mut bytes);
        drawn.map_err(|_| Status::internal("the operating system gives no randomness"))?;
        let token = BASE64_STANDARD.encode(bytes);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        known.retain(|_, (_, until)| *until > now);
        if known.len() >= MOST
            && let Some(oldest) = known.iter().min_by_key(|(_, (_, until))| *until)
        {
            let oldest = oldest.0.clone();
            known.remove(&oldest);
        }
        known.insert(token.clone(), (reader, now + HOLDS));
        Ok(token)
    }
}

/// Whether two secrets are the same; how long that takes tells nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"compared");
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

fn credentials<T>(request: &Request<T>) -> Result<(&str, &str), Status> {
    let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
    let parts = header.and_then(|header| header.split_once(' '));
    parts.ok_or_else(|| Status::unauthenticated("there is no authorization"))
}

/// Refuses what others on the way could read.
fn private<T>(request: &Request<T>) -> Result<(), Status> {
    let came = request.extensions().get::<Came>();
    if came.is_some_and(|came| came.is_private) {
        return Ok(());
    }
    Err(Status::unauthenticated("passwords and tokens are taken over TLS or on loopback only"))
}
