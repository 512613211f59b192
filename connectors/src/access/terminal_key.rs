//! Tokens that terminals sign themselves (EdDSA, RFC 8037), under keys that were enrolled. Such a token is
//! short-lived, and a revoked key vouches for nothing from the next request on.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode_header};
use serde::Deserialize;

use super::{Identity, Role};

/// For whom such a token is.
pub const AUDIENCE: &str = "avis";
/// How long such a token may hold, in seconds.
pub const LONGEST: i64 = 3_600;
/// What a terminal's clock may differ from ours, in seconds; requests themselves allow ten minutes.
const LEEWAY: i64 = 600;

/// The keys of all terminals that are enrolled and not revoked.
#[derive(Debug, Default)]
pub struct TerminalKeys {
    keys: RwLock<HashMap<String, (String, DecodingKey)>>,
    generation: AtomicU64,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    iat: i64,
    exp: i64,
}

/// The name of a terminal's key, as tokens have it in `kid`; no id has a `#`.
#[must_use]
pub fn kid(terminal: &str, key: &str) -> String {
    format!("{terminal}#{key}")
}

impl TerminalKeys {
    /// These are the keys now: each by its [`kid`], with the public key in base64url.
    pub fn set(&self, keys: impl Iterator<Item = (String, String)>) {
        let keys = keys.filter_map(|(kid, public)| {
            let key = DecodingKey::from_ed_components(&public).ok()?;
            Some((kid, (public, key)))
        });
        let keys: HashMap<_, _> = keys.collect();
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = |(kid, (public, _)): (&String, &(String, DecodingKey))| {
            known.get(kid).is_some_and(|(known, _)| known == public)
        };
        if keys.len() == known.len() && keys.iter().all(is_known) {
            return;
        }
        *known = keys;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Rises whenever the keys change.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Which terminal has signed a token, and until when it holds, in seconds since 1970.
    pub(super) fn verify(&self, token: &str, now: i64) -> Option<(i64, Identity)> {
        let kid = decode_header(token).ok().filter(|header| header.alg == Algorithm::EdDSA)?.kid?;
        let (terminal, _) = kid.split_once('#')?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["aud", "exp", "sub"]);
        // Our clock is not the library's.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &keys.get(&kid)?.1, &validation).ok()?;
        let Claims { sub, iat, exp } = claims.claims;
        let is_short = exp.checked_sub(iat).is_some_and(|held| held <= LONGEST);
        let holds = exp > now && iat <= now + LEEWAY && is_short && sub == terminal;
        let identity =
            Identity { role: Role::Terminal, organisation: "".into(), subject: terminal.into() };
        holds.then_some((exp, identity))
    }
}
