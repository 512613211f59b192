//! What a terminal shows: a token that it was given, or tokens that it signs under a key of its own.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::ClientError;
use crate::{
    access::terminal_key::{AUDIENCE, kid},
    terminal::enrolment::proof,
};

/// How long a token that the terminal signs holds, in seconds.
const SECONDS: i64 = 600;

/// What a terminal shows.
#[derive(Clone)]
pub enum Credential {
    /// A token that it was given.
    Token(String),
    /// A key of its own.
    Key(Key),
}

/// A terminal's own key; keep it where nobody else reads.
#[derive(Clone)]
pub struct Key {
    /// Its name.
    pub id: String,
    /// The key (Ed25519) as PKCS #8.
    pub pkcs8: Vec<u8>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::Key(key) => write!(f, "{key:?}"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key {}", self.id)
    }
}

impl Credential {
    /// A token to show now.
    pub(super) fn token(&self, terminal: &str) -> Result<String, ClientError> {
        match self {
            Self::Token(token) => Ok(token.clone()),
            Self::Key(key) => {
                let kid = Some(kid(terminal, &key.id));
                let header = Header { kid, ..Header::new(Algorithm::EdDSA) };
                let now = Utc::now().timestamp();
                let claims =
                    json!({"sub": terminal, "aud": AUDIENCE, "iat": now, "exp": now + SECONDS});
                let signed =
                    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&key.pkcs8));
                signed.map_err(|_| ClientError::Key)
            }
        }
    }
}

impl Key {
    /// A new key. Keep it where it survives before it is enrolled: it is told nobody.
    ///
    /// # Errors
    /// Where the operating system gives no randomness.
    pub fn generate(id: &str) -> Result<Self, ClientError> {
        let drawn = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let pkcs8 = drawn.map_err(|_| ClientError::Random)?.as_ref().to_vec();
        Ok(Self { id: id.to_owned(), pkcs8 })
    }
}

/// Enrols a key with the code that the merchant was given. Where the answer was lost it may be asked again,
/// with the same key.
///
/// # Errors
/// Where the server refuses or does not answer.
pub async fn enrol(
    server: &str,
    terminal: &str,
    key: &Key,
    code: &str,
    timeout: Duration,
) -> Result<(), ClientError> {
    let pair = Ed25519KeyPair::from_pkcs8(&key.pkcs8).map_err(|_| ClientError::Key)?;
    let public_key = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let proof = pair.sign(proof(terminal, &key.id, &public_key).as_bytes());
    let proof = URL_SAFE_NO_PAD.encode(proof.as_ref());
    let http = reqwest::Client::builder().timeout(timeout).build()?;
    let response = http
        .put(format!("{server}/v1/terminals/{terminal}/keys/{}", key.id))
        .json(&json!({"public_key": public_key, "proof": proof, "code": code}))
        .send()
        .await?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let problem = response.json().await.unwrap_or(Value::Null);
    Err(ClientError::Refused { status: status.as_u16(), problem })
}
