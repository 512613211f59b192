//! A terminal's own keys: enrolled with a code that its merchant was given, changed by the terminal itself,
//! and revoked. They lie on the registry's stream under a kind of their own.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ingest::wire::v1::RegistryChanged;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub mod http;

/// The list's name on the stream; what follows the registry alone passes it over.
pub const LIST: &str = "terminal_keys";
/// Keys of a terminal that are not revoked, at most: the one in use and the next.
pub const MOST_KEYS: usize = 2;

/// A terminal's keys, and the code with which the next one is enrolled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The merchant whose terminal it is; of another's the keys hold no more.
    #[serde(default)]
    pub merchant: String,
    /// The keys, revoked ones too.
    pub keys: Vec<Key>,
    /// The code, where one is given out.
    pub code: Option<Code>,
}

/// A key of a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its name, of the terminal's choice.
    pub id: String,
    /// The public key (Ed25519), base64url without padding.
    pub public_key: String,
    /// Since when it holds.
    #[schema(value_type = String, format = DateTime)]
    pub since: DateTime<Utc>,
    /// Since when it holds no more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A code that was given out; itself it is kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Its keyed hash, in hexadecimal.
    pub hash: String,
    /// Until when it is taken.
    pub expires: DateTime<Utc>,
}

impl Enrolled {
    /// The keys that hold.
    pub fn holding(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| key.revoked_at.is_none())
    }
}

/// What a terminal signs with a new key to show that it has it.
#[must_use]
pub fn proof(terminal: &str, key: &str, public_key: &str) -> String {
    format!("avis terminal key\n{terminal}\n{key}\n{public_key}\n")
}

/// Whether the new key itself has signed [`proof`]; both in base64url.
#[must_use]
pub fn is_proved(terminal: &str, key: &str, public_key: &str, signature: &str) -> bool {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let (Some(public), Some(signature)) = (bytes(public_key), bytes(signature)) else {
        return false;
    };
    let text = proof(terminal, key, public_key);
    UnparsedPublicKey::new(&ED25519, public).verify(text.as_bytes(), &signature).is_ok()
}

/// The keys of all terminals, as the stream has them.
#[derive(Debug, Default)]
pub struct Enrolments(BTreeMap<String, Enrolled>);

impl Enrolments {
    /// Takes a change of the stream.
    pub fn apply(&mut self, change: &RegistryChanged) {
        if change.kind != LIST {
            return;
        }
        match serde_json::from_str(&change.document) {
            Ok(enrolled) => self.0.insert(change.id.clone(), enrolled),
            Err(_) => self.0.remove(&change.id),
        };
    }

    /// What is known of a terminal.
    #[must_use]
    pub fn of(&self, terminal: &str) -> Option<&Enrolled> {
        self.0.get(terminal)
    }

    /// The terminals that something is known of.
    pub fn terminals(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
