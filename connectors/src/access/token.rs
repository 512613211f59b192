//! Signed tokens (JWT, RFC 7519): our own, HS256 under a key that only the node's vault has; those that
//! terminals sign themselves; and those of an outside issuer, where there is one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use domain::person_code::PersonCode;
use ingest::{clock::Clock, vault::Vault};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{oidc::Issuer, terminal_key::TerminalKeys};

/// What a token lets its bearer do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A terminal; its subject is the terminal's id.
    Terminal,
    /// A merchant's staff.
    Merchant,
    /// A grantor's staff.
    Grantor,
    /// An issuer of means.
    Issuer,
    /// Who runs the platform.
    Administrator,
    /// Who watches it.
    Operator,
    /// Who benefits are for.
    Recipient,
    /// Who pays.
    Finance,
    /// Who asks the tables.
    Analyst,
    /// A remote official.
    Official,
    /// A customer service centre.
    Centre,
    /// A system that sends events.
    Source,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 12] = [
        Self::Terminal,
        Self::Merchant,
        Self::Grantor,
        Self::Issuer,
        Self::Administrator,
        Self::Operator,
        Self::Recipient,
        Self::Finance,
        Self::Analyst,
        Self::Official,
        Self::Centre,
        Self::Source,
    ];

    /// The word in tokens and on the command line.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Merchant => "merchant",
            Self::Grantor => "grantor",
            Self::Issuer => "issuer",
            Self::Administrator => "administrator",
            Self::Operator => "operator",
            Self::Recipient => "recipient",
            Self::Finance => "finance",
            Self::Analyst => "analyst",
            Self::Official => "official",
            Self::Centre => "centre",
            Self::Source => "source",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

/// Whoever a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What they may do.
    pub role: Role,
    /// For whom they act; empty for nobody in particular.
    pub organisation: Arc<str>,
    /// Who they are.
    pub subject: Arc<str>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    role: Role,
    #[serde(default)]
    org: String,
    sub: String,
    iss: String,
    iat: i64,
    exp: i64,
    /// A recipient's personal code, by which the subject is found; none where `sub` is the internal id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<String>,
}

/// What a token says that holds.
#[derive(Debug)]
pub(super) struct Said {
    /// Until when, in seconds since 1970.
    pub(super) expires: i64,
    pub(super) identity: Identity,
    /// Where the subject is to be found by it: a recipient's personal code.
    pub(super) person: Option<String>,
}

/// The subject of a token whose person is not known here: it is nobody's id.
const NOBODY: &str = "nobody";
/// How electronic identities (ETSI EN 319 412-1) write a personal code of this country.
const NATIONAL: &str = "PNOLV-";
const ISSUER: &str = "avis";
/// Tokens whose signature was checked and is not checked again until they expire.
const MOST_KNOWN: usize = 65_536;
/// The longest token that is looked at.
const LONGEST: usize = 4_096;

/// Issues and verifies tokens.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    sign: EncodingKey,
    verify: DecodingKey,
    clock: Arc<dyn Clock>,
    /// Who knows people by their codes.
    people: Option<Vault>,
    issuer: Option<Arc<Issuer>>,
    terminals: Arc<TerminalKeys>,
    known: Mutex<Known>,
}

/// Tokens whose signature was checked, by their hash: until when they hold, and whom they name.
#[derive(Default)]
struct Known {
    tokens: HashMap<[u8; 32], (i64, Identity)>,
    /// Of the terminals' and the issuer's keys under which they were checked.
    generation: u64,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// The tokens of a node.
    #[must_use]
    pub fn of(vault: &Vault, clock: Arc<dyn Clock>) -> Self {
        Self::beside(vault, clock, None, Arc::default())
    }

    /// The key that signs a node's tokens.
    #[must_use]
    pub fn key(vault: &Vault) -> [u8; 32] {
        vault.secret_for("tokens")
    }

    /// The tokens that a key signs; those that name people by their codes do not hold here.
    #[must_use]
    pub fn signed_by(key: &[u8; 32], clock: Arc<dyn Clock>) -> Self {
        Self::with(key, None, clock, None, Arc::default())
    }

    /// The tokens of a node, of an outside issuer, and of terminals with keys of their own.
    #[must_use]
    pub fn beside(
        vault: &Vault,
        clock: Arc<dyn Clock>,
        issuer: Option<Arc<Issuer>>,
        terminals: Arc<TerminalKeys>,
    ) -> Self {
        Self::with(&Self::key(vault), Some(vault.clone()), clock, issuer, terminals)
    }

    fn with(
        key: &[u8; 32],
        people: Option<Vault>,
        clock: Arc<dyn Clock>,
        issuer: Option<Arc<Issuer>>,
        terminals: Arc<TerminalKeys>,
    ) -> Self {
        Self(Arc::new(Inner {
            sign: EncodingKey::from_secret(key),
            verify: DecodingKey::from_secret(key),
            clock,
            people,
            issuer,
            terminals,
            known: Mutex::default(),
        }))
    }

    /// Fetches the outside issuer's keys, again and again; for ever waiting where there is none.
    pub async fn follow_issuer(&self) {
        match &self.0.issuer {
            Some(issuer) => issuer.follow().await,
            None => std::future::pending().await,
        }
    }

    /// A token that holds until `expires`.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub fn issue(
        &self,
        identity: &Identity,
        expires: DateTime<Utc>,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        self.sign(identity, None, expires)
    }

    /// A recipient's token by their personal code, which a node of this key finds when it is used.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub fn issue_to(
        &self,
        person: &PersonCode,
        expires: DateTime<Utc>,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let (role, nobody) = (Role::Recipient, Arc::<str>::from(NOBODY));
        let identity = Identity { role, organisation: "".into(), subject: nobody };
        self.sign(&identity, Some(person.expose()), expires)
    }

    fn sign(
        &self,
        identity: &Identity,
        person: Option<String>,
        expires: DateTime<Utc>,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            role: identity.role,
            org: identity.organisation.to_string(),
            sub: identity.subject.to_string(),
            iss: ISSUER.into(),
            iat: self.0.clock.now().timestamp(),
            exp: expires.timestamp(),
            person,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0.sign)
    }

    /// Whom a token names; `None` where it is neither ours nor the issuer's, is damaged or has expired.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Identity> {
        if token.len() > LONGEST {
            return None;
        }
        let now = self.0.clock.now().timestamp();
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        if let Some((expires, identity)) = self.known().tokens.get(&hash) {
            return (*expires > now).then(|| identity.clone());
        }
        let generation = self.generation();
        let outside = || self.0.issuer.as_ref()?.verify(token, now);
        let terminal = || {
            let (expires, identity) = self.0.terminals.verify(token, now)?;
            Some(Said { expires, identity, person: None })
        };
        let Said { expires, mut identity, person } =
            self.own(token).or_else(terminal).or_else(outside)?;
        if expires <= now {
            return None;
        }
        if let Some(person) = person.filter(|_| identity.role == Role::Recipient) {
            let Some(subject) = self.subject(&person)? else {
                // Not remembered: the register may tell of the person any moment.
                identity.subject = NOBODY.into();
                return Some(identity);
            };
            identity.subject = subject;
        }
        let mut known = self.known();
        if known.tokens.len() >= MOST_KNOWN {
            known.tokens.clear();
        }
        // What was checked under keys that are others meanwhile is checked again.
        if known.generation == generation {
            known.tokens.insert(hash, (expires, identity.clone()));
        }
        Some(identity)
    }

    /// Whether a token holds that a terminal has signed with a key of its own.
    pub(super) fn is_signed_by(&self, terminal: &str, token: &str) -> bool {
        let now = self.0.clock.now().timestamp();
        let signed = self.0.terminals.verify(token, now);
        signed.is_some_and(|(_, identity)| *identity.subject == *terminal)
    }

    /// Whether there is an outside issuer of whom no key is known yet, so that nobody can say whether its
    /// tokens hold.
    pub(super) fn awaits_issuer(&self) -> bool {
        self.0.issuer.as_ref().is_some_and(|issuer| issuer.is_unknown())
    }

    /// Whom a token of ours names, and until when.
    fn own(&self, token: &str) -> Option<Said> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        // Our clock is not the library's: the demo's and the tests' stands elsewhere.
        validation.validate_exp = false;
        let claims =
            jsonwebtoken::decode::<Claims>(token, &self.0.verify, &validation).ok()?.claims;
        let identity = Identity {
            role: claims.role,
            organisation: claims.org.into(),
            subject: claims.sub.into(),
        };
        Some(Said { expires: claims.exp, identity, person: claims.person })
    }

    /// The internal id of whoever has a personal code, `Some(None)` of whom nobody here knows; none where
    /// that cannot be said.
    fn subject(&self, person: &str) -> Option<Option<Arc<str>>> {
        let code = person.strip_prefix(NATIONAL).unwrap_or(person);
        let Ok(code) = PersonCode::parse(code) else { return Some(None) };
        let known = self.0.people.as_ref()?.find(&code);
        Some(known.map(|id| id.to_string().into()))
    }

    /// Rises whenever keys of others than ours change.
    fn generation(&self) -> u64 {
        let issuer = self.0.issuer.as_ref().map_or(0, |issuer| issuer.generation());
        issuer + self.0.terminals.generation()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation();
        if known.generation != generation {
            // A key that was revoked, or is no longer published, vouches for nothing any more.
            known.tokens.clear();
            known.generation = generation;
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use ingest::clock::ManualClock;

    use super::*;

    fn tokens(clock: &Arc<ManualClock>) -> (tempfile::TempDir, Tokens) {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
        (folder, Tokens::of(&vault, clock))
    }

    #[test]
    fn a_recipient_is_found_by_the_code_that_a_token_names() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(start));
        // As at the machine, beside a node that runs.
        let signing = Tokens::signed_by(&Tokens::key(&vault), Arc::clone(&clock));
        let node = Tokens::of(&vault, clock);
        let code = PersonCode::parse("326180-33995").expect("a code");
        let token = signing.issue_to(&code, start + TimeDelta::hours(1)).expect("a token");
        let subject = |token: &str| node.verify(token).map(|identity| identity.subject.to_string());
        assert_eq!(subject(&token).as_deref(), Some(NOBODY));
        let id = vault.enrol(&[code]).expect("enrolled")[0];
        assert_eq!(subject(&token), Some(id.to_string()), "as soon as the register has told");
        assert_eq!(subject(&token), Some(id.to_string()), "and remembered");
        assert_eq!(signing.verify(&token), None, "a key alone knows nobody");
        // Only a recipient's subject is looked up.
        let identity =
            Identity { role: Role::Finance, organisation: "".into(), subject: "f".into() };
        let code = Some("326180-33995".to_owned());
        let token = node.sign(&identity, code, start + TimeDelta::hours(1)).expect("a token");
        assert_eq!(subject(&token).as_deref(), Some("f"));
    }

    #[test]
    fn a_token_holds_until_it_expires_and_only_here() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");
        let clock = Arc::new(ManualClock::at(start));
        let (_kept, ours) = tokens(&clock);
        let (_other, theirs) = tokens(&clock);
        let identity =
            Identity { role: Role::Terminal, organisation: "corner".into(), subject: "T-1".into() };
        let token = ours.issue(&identity, start + TimeDelta::hours(1)).expect("a token");
        assert_eq!(ours.verify(&token), Some(identity));
        assert_eq!(theirs.verify(&token), None, "another node's key");
        let (head, rest) = token.split_once('.').expect("three parts");
        assert_eq!(ours.verify(&format!("{head}.x{rest}")), None, "damaged");
        let (claims, _) = rest.split_once('.').expect("three parts");
        // {"alg":"none"}
        assert_eq!(ours.verify(&format!("eyJhbGciOiJub25lIn0.{claims}.")), None, "unsigned");
        clock.advance_to(start + TimeDelta::hours(1));
        assert_eq!(ours.verify(&token), None, "expired");
    }
}
