//! Tokens of an outside issuer (OpenID Connect Core 1.0), under keys that it publishes (JWKS, RFC 7517).
//!
//! The keys are kept in memory and fetched again every hour, and when a token names one that is not
//! known. While the issuer is away those that are known go on holding.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode_header,
    jwk::{AlgorithmParameters, Jwk, JwkSet},
};
use serde_json::Value;
use tokio::sync::Notify;

use super::{Identity, Role, token::Said};

/// How often keys are fetched anyway.
const EVERY: Duration = Duration::from_secs(3_600);
/// How soon keys are fetched again, however many tokens name unknown ones.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a fetch may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest answer that is read of an issuer.
const LARGEST: usize = 1 << 20;
/// What the issuer's clock may differ from ours, in seconds.
const LEEWAY: i64 = 60;

/// Whose tokens hold beside ours, and how they say what their bearer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The issuer, as its tokens name it.
    pub issuer: String,
    /// For whom its tokens must be.
    pub audience: String,
    /// Where its keys are; empty where its discovery document says so.
    pub keys: String,
    /// The claim with the role: a word or a list with one word of ours; dots lead into objects.
    pub role_claim: String,
    /// The claim with the organisation.
    pub organisation_claim: String,
    /// The claim with a recipient's personal code; empty where their subject is our internal id.
    pub person_claim: String,
}

/// An outside issuer.
#[derive(Debug)]
pub struct Issuer {
    settings: Settings,
    keys: RwLock<HashMap<String, (Jwk, DecodingKey)>>,
    generation: AtomicU64,
    wanted: Notify,
}

/// Why the keys of an issuer could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// It did not answer, or not well.
    #[error("cannot fetch {url}")]
    Fetch {
        /// The address.
        url: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// What it answered is too long, or not what it must be.
    #[error("{url} does not answer {what}")]
    Answer {
        /// The address.
        url: String,
        /// What it must answer.
        what: &'static str,
    },
}

impl Issuer {
    /// An issuer, of whom no key is known yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            keys: RwLock::default(),
            generation: AtomicU64::default(),
            wanted: Notify::new(),
        })
    }

    /// Whom a token names, until when, in seconds since 1970; `None` where it does not hold.
    pub(super) fn verify(&self, token: &str, now: i64) -> Option<Said> {
        let header = decode_header(token).ok()?;
        if !is_asymmetric(header.alg) {
            return None;
        }
        let kid = header.kid?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let Some((_, key)) = keys.get(&kid) else {
            self.wanted.notify_one();
            return None;
        };
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        // Our clock is not the library's.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let claims = jsonwebtoken::decode::<Value>(token, key, &validation).ok()?.claims;
        let expires = claims["exp"].as_i64().filter(|expires| *expires > now)?;
        if claims["nbf"].as_i64().is_some_and(|from| from > now + LEEWAY) {
            return None;
        }
        let organisation = at(&claims, &self.settings.organisation_claim).and_then(Value::as_str);
        let identity = Identity {
            role: role(at(&claims, &self.settings.role_claim)?)?,
            organisation: organisation.unwrap_or_default().into(),
            subject: claims["sub"].as_str().filter(|subject| !subject.is_empty())?.into(),
        };
        let person = match self.settings.person_claim.as_str() {
            "" => None,
            // A recipient without the claim is nobody.
            claim => {
                Some(at(&claims, claim).and_then(Value::as_str).unwrap_or_default().to_owned())
            }
        };
        Some(Said { expires, identity, person })
    }

    /// Whether none of its keys is known yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Rises whenever the keys change.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Fetches the keys, again and again.
    pub async fn follow(&self) {
        loop {
            if let Err(error) = self.fetch().await {
                // Those that are known go on holding.
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the issuer's keys could not be fetched");
            }
            tokio::time::sleep(AGAIN).await;
            let _ = tokio::time::timeout(EVERY, self.wanted.notified()).await;
        }
    }

    /// Fetches the keys once; whether they are others than before.
    ///
    /// # Errors
    /// Where the issuer does not answer, or not well.
    pub async fn fetch(&self) -> Result<bool, IssuerError> {
        let mut url = self.settings.keys.clone();
        if url.is_empty() {
            let base = self.settings.issuer.trim_end_matches('/');
            let discovery = format!("{base}/.well-known/openid-configuration");
            let found = fetch(&discovery).await?;
            let keys = found["jwks_uri"].as_str().map(str::to_owned);
            let what = "where its keys are (jwks_uri)";
            url = keys.ok_or(IssuerError::Answer { url: discovery, what })?;
        }
        let found = fetch(&url).await?;
        let set: JwkSet = serde_json::from_value(found)
            .map_err(|_| IssuerError::Answer { url, what: "a set of keys" })?;
        let keys: HashMap<_, _> = set.keys.iter().filter_map(usable).collect();
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = |(kid, (key, _)): (&String, &(Jwk, DecodingKey))| {
            known.get(kid).is_some_and(|(known, _)| known == key)
        };
        if keys.len() == known.len() && keys.iter().all(is_known) {
            return Ok(false);
        }
        *known = keys;
        self.generation.fetch_add(1, Ordering::Release);
        Ok(true)
    }
}

const fn is_asymmetric(algorithm: Algorithm) -> bool {
    !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

/// A key by which signatures are verified. One that both sides would have to know is none.
fn usable(key: &Jwk) -> Option<(String, (Jwk, DecodingKey))> {
    if matches!(key.algorithm, AlgorithmParameters::OctetKey(_)) {
        return None;
    }
    let usable = DecodingKey::from_jwk(key).ok()?;
    Some((key.common.key_id.clone()?, (key.clone(), usable)))
}

async fn fetch(url: &str) -> Result<Value, IssuerError> {
    let failed = |source| IssuerError::Fetch { url: url.to_owned(), source };
    let client = reqwest::Client::builder().timeout(DEADLINE).build().map_err(failed)?;
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let mut answer = answer.map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(IssuerError::Answer { url: url.to_owned(), what: "within a mebibyte" });
        }
        bytes.extend_from_slice(&chunk);
    }
    let read = serde_json::from_slice(&bytes);
    read.map_err(|_| IssuerError::Answer { url: url.to_owned(), what: "JSON" })
}

/// The value at a path of names joined by dots. A name that has dots of its own is tried whole first.
fn at<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    claims.get(path).or_else(|| path.split('.').try_fold(claims, |inside, name| inside.get(name)))
}

/// The one role of ours that a claim names; with several nobody can say which is meant.
fn role(claim: &Value) -> Option<Role> {
    let list = claim.as_array().map_or(std::slice::from_ref(claim), Vec::as_slice);
    let mut roles = list.iter().filter_map(Value::as_str).filter_map(Role::parse);
    let role = roles.next()?;
    roles.next().is_none().then_some(role)
}
