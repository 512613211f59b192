//! Keys: of each person's data, and of the hashes by which people and means are known.
//!
//! The vault is a store of its own with a backup of its own. A person's internal id is random and is
//! found from the personal code by a keyed hash; what the streams hold of a person is encrypted
//! under that person's key, so destroying the key erases the person, from backups too.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use domain::{
    id::{HouseholdId, MeansToken, PersonToken, Pseudonym, RecipientId},
    identification_means::MeansKind,
    person_code::PersonCode,
};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use crate::{first_start, record::first_u128, spread};

pub mod copy;

/// The vault cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store failed.
    #[error("cannot {attempted} in the vault")]
    Store {
        /// What was attempted.
        attempted: &'static str,
        /// What the store said.
        #[source]
        source: fjall::Error,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Randomness,
    /// The person was erased, or never known.
    #[error("no key of this person: erased, or never enrolled")]
    NoKey,
    /// What was sealed does not open: damaged, or sealed under another key.
    #[error("sealed data does not open: damaged, or from another node's vault")]
    Damaged,
}

impl VaultError {
    /// Whether another process has the vault.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        matches!(self, Self::Store { source: fjall::Error::Locked, .. })
    }
}

/// What a pseudonym is for; different purposes cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A recipient in the warehouse's tables.
    Recipient,
    /// A user of the portal.
    PortalUser,
    /// A specialist or official of a centre.
    Staff,
}

const SECRET: usize = 32;

/// Keys and keyed hashes. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    /// From the keyed hash of a personal code to internal id and key.
    people: Keyspace,
    /// From internal id to key.
    keys: Keyspace,
    /// Keys of those who were enrolled last: what is told of them is sealed next.
    newest: RwLock<HashMap<RecipientId, [u8; SECRET]>>,
    secret: [u8; SECRET],
    /// How often recipients have got other pseudonyms.
    rotations: AtomicU32,
    random: SystemRandom,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

fn store(attempted: &'static str) -> impl Fn(fjall::Error) -> VaultError {
    move |source| VaultError::Store { attempted, source }
}

impl Vault {
    /// Opens the vault in `folder`, and makes it with fresh secrets where there is none. The caller
    /// alone has the folder.
    ///
    /// # Errors
    /// Where the store cannot be opened or the operating system gives no randomness.
    pub fn open(folder: &Path) -> Result<Self, VaultError> {
        let finished = first_start::finish(folder).map_err(fjall::Error::Io);
        finished.map_err(store("finish the first start"))?;
        let database = Database::builder(folder).open().map_err(store("open the keys"))?;
        let space = |name: &str| {
            database.keyspace(name, KeyspaceCreateOptions::default).map_err(store("open the keys"))
        };
        let (people, keys, node) = (space("people")?, space("keys")?, space("node")?);
        let random = SystemRandom::new();
        let secret = match node.get("secret").map_err(store("read the node's secret"))? {
            Some(kept) => kept.as_ref().try_into().map_err(|_| VaultError::Damaged)?,
            None => {
                let mut secret = [0; SECRET];
                random.fill(&mut secret).map_err(|_| VaultError::Randomness)?;
                node.insert("secret", secret).map_err(store("keep the node's secret"))?;
                database.persist(PersistMode::SyncAll).map_err(store("sync the keys"))?;
                secret
            }
        };
        let (newest, rotations) = (RwLock::default(), AtomicU32::new(0));
        let inner = Inner { database, people, keys, newest, secret, rotations, random };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The internal id of a person, if enrolled.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn find(&self, code: &PersonCode) -> Result<Option<RecipientId>, VaultError> {
        self.find_listed(self.person_token(code))
    }

    /// The internal id of a person whom a list names, if enrolled.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn find_listed(&self, token: PersonToken) -> Result<Option<RecipientId>, VaultError> {
        let hash = token.as_u128().to_be_bytes();
        let found = self.inner.people.get(hash).map_err(store("find a person"))?;
        Ok(found
            .and_then(|id| id.as_ref().try_into().ok())
            .map(|id| RecipientId::from_u128(u128::from_be_bytes(id))))
    }

    /// The internal ids of people, in the order given; who has none gets one, and a key. What is
    /// new is synced before it is answered, so that no record is ever sealed under a lost key.
    ///
    /// # Errors
    /// Where the store or the randomness fails; nobody is enrolled then.
    pub fn enrol(&self, codes: &[PersonCode]) -> Result<Vec<RecipientId>, VaultError> {
        let mut ids = Vec::with_capacity(codes.len());
        let mut batch = self.inner.database.batch();
        let mut fresh: HashMap<[u8; 16], RecipientId> = HashMap::new();
        let mut newest = HashMap::new();
        let found = spread::map(codes.iter().collect(), |code| {
            let token = self.person_token(code);
            (token.as_u128().to_be_bytes(), self.find_listed(token))
        });
        for (hash, found) in found {
            let id = match fresh.get(&hash).copied().or(found?) {
                Some(id) => id,
                None => {
                    let mut bytes = [0; 16 + SECRET];
                    self.inner.random.fill(&mut bytes).map_err(|_| VaultError::Randomness)?;
                    let (id, key) = bytes.split_at(16);
                    batch.insert(&self.inner.people, hash, id);
                    batch.insert(&self.inner.keys, id, key);
                    let id: [u8; 16] = id.try_into().map_err(|_| VaultError::Randomness)?;
                    let id = RecipientId::from_u128(u128::from_be_bytes(id));
                    let key = key.try_into().map_err(|_| VaultError::Randomness)?;
                    newest.insert(id, key);
                    fresh.insert(hash, id);
                    id
                }
            };
            ids.push(id);
        }
        if !fresh.is_empty() {
            // Before anybody may destroy one of them.
            *self.inner.newest.write().unwrap_or_else(PoisonError::into_inner) = newest;
            batch.commit().map_err(store("enrol people"))?;
            self.inner.database.persist(PersistMode::SyncAll).map_err(store("sync the keys"))?;
        }
        Ok(ids)
    }

    /// Encrypts what is known of a person under that person's key.
    ///
    /// # Errors
    /// Where the person has no key or the randomness fails.
    pub fn seal(&self, person: RecipientId, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.seal_with(&self.key(person)?, person.as_u128(), plain)
    }

    /// Encrypts under the node's own key what may hold personal data of nobody in particular.
    ///
    /// # Errors
    /// Where the randomness fails.
    pub fn seal_for_node(&self, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.seal_with(&self.node_key()?, 0, plain)
    }

    /// Decrypts what [`seal_for_node`](Self::seal_for_node) sealed.
    ///
    /// # Errors
    /// Where the bytes are damaged or another node's.
    pub fn unseal_for_node(&self, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        unseal_with(&self.node_key()?, 0, sealed)
    }

    fn seal_with(
        &self,
        key: &LessSafeKey,
        whose: u128,
        plain: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        self.inner.random.fill(&mut nonce).map_err(|_| VaultError::Randomness)?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(whose.to_be_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| VaultError::Randomness)?;
        sealed.splice(0..0, nonce);
        Ok(sealed)
    }

    fn node_key(&self) -> Result<LessSafeKey, VaultError> {
        let key = blake3::derive_key("avis node payloads", &self.inner.secret);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| VaultError::Damaged)?;
        Ok(LessSafeKey::new(key))
    }

    /// Decrypts what was sealed for a person.
    ///
    /// # Errors
    /// Where the person was erased or the bytes are damaged.
    pub fn unseal(&self, person: RecipientId, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        unseal_with(&self.key(person)?, person.as_u128(), sealed)
    }

    /// Destroys people's keys: what the streams hold of them can never be read again.
    ///
    /// # Errors
    /// Where the store fails; the keys may then still be there.
    pub fn destroy(&self, people: &[RecipientId]) -> Result<(), VaultError> {
        for person in people {
            let id = person.as_u128().to_be_bytes();
            self.inner.keys.remove(id).map_err(store("destroy a key"))?;
        }
        self.inner.newest.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.inner.database.persist(PersistMode::SyncAll).map_err(store("sync the keys"))
    }

    /// Whether a person was enrolled and erased since.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn is_erased(&self, person: RecipientId) -> Result<bool, VaultError> {
        let id = person.as_u128().to_be_bytes();
        Ok(self.inner.keys.get(id).map_err(store("read a key"))?.is_none())
    }

    /// A person as a list names them: a keyed hash of the personal code.
    #[must_use]
    pub fn person_token(&self, code: &PersonCode) -> PersonToken {
        PersonToken::from_u128(self.keyed("person code", code.expose().as_bytes()))
    }

    /// The token of a means: a keyed hash of kind and value.
    #[must_use]
    pub fn means_token(&self, kind: MeansKind, value: &str) -> MeansToken {
        let text = format!("{}\0{value}", kind.code());
        MeansToken::from_u128(self.keyed("means", text.as_bytes()))
    }

    /// The salt of [`offline_hash`](Self::offline_hash), which terminals have.
    #[must_use]
    pub fn offline_salt(&self) -> [u8; 32] {
        self.secret_for("offline salt")
    }

    /// A means as terminals know it offline: the first eight bytes, big-endian, of HMAC-SHA-256
    /// (RFC 2104) under the salt over kind, a zero byte and value. It is never 0.
    #[must_use]
    pub fn offline_hash(&self, kind: MeansKind, value: &str) -> u64 {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, &self.offline_salt());
        let tag = hmac::sign(&salt, format!("{}\0{value}", kind.code()).as_bytes());
        let first = tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        first.max(1)
    }

    /// The household of a family, by a keyed hash of the register's family id.
    #[must_use]
    pub fn household(&self, family_id: &str) -> HouseholdId {
        HouseholdId::from_u128(self.keyed("household", family_id.as_bytes()))
    }

    /// Says how often recipients have got other pseudonyms; whoever opens the vault knows.
    pub fn set_rotations(&self, times: u32) {
        self.inner.rotations.store(times, Ordering::Release);
    }

    /// An internal id as it stands in tables from now on.
    #[must_use]
    pub fn pseudonym(&self, purpose: Purpose, id: u128) -> Pseudonym {
        self.pseudonym_after(purpose, id, self.rotations(purpose))
    }

    /// All that an internal id has stood for in tables, the newest first.
    pub fn pseudonyms(&self, purpose: Purpose, id: u128) -> impl Iterator<Item = Pseudonym> + '_ {
        let all = (0..=self.rotations(purpose)).rev();
        all.map(move |rotations| self.pseudonym_after(purpose, id, rotations))
    }

    fn rotations(&self, purpose: Purpose) -> u32 {
        match purpose {
            Purpose::Recipient => self.inner.rotations.load(Ordering::Acquire),
            // Users of the portal are counted over a quarter, staff over a month.
            Purpose::PortalUser | Purpose::Staff => 0,
        }
    }

    fn pseudonym_after(&self, purpose: Purpose, id: u128, rotations: u32) -> Pseudonym {
        let purpose = match purpose {
            Purpose::Recipient => "pseudonym recipient",
            Purpose::PortalUser => "pseudonym portal user",
            Purpose::Staff => "pseudonym staff",
        };
        let mut named = id.to_be_bytes().to_vec();
        if rotations > 0 {
            named.extend(rotations.to_be_bytes());
        }
        Pseudonym::from_u128(self.keyed(purpose, &named))
    }

    /// A keyed hash of a text for a purpose of the caller's.
    #[must_use]
    pub fn hash(&self, purpose: &str, text: &str) -> u128 {
        self.keyed(purpose, text.as_bytes())
    }

    /// A secret of this node for a purpose, which tells nothing of the node's own.
    #[must_use]
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.inner.secret);
        hasher.update(b"derived secret");
        hasher.update(purpose.as_bytes());
        *hasher.finalize().as_bytes()
    }

    fn keyed(&self, purpose: &str, bytes: &[u8]) -> u128 {
        let mut hasher = blake3::Hasher::new_keyed(&self.inner.secret);
        hasher.update(&(purpose.len() as u64).to_le_bytes());
        hasher.update(purpose.as_bytes());
        hasher.update(bytes);
        first_u128(&hasher.finalize())
    }

    fn key(&self, person: RecipientId) -> Result<LessSafeKey, VaultError> {
        let usable = |key: &[u8]| {
            let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| VaultError::Damaged)?;
            Ok(LessSafeKey::new(key))
        };
        let newest = self.inner.newest.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = newest.get(&person) {
            return usable(key);
        }
        drop(newest);
        let id = person.as_u128().to_be_bytes();
        usable(&self.inner.keys.get(id).map_err(store("read a key"))?.ok_or(VaultError::NoKey)?)
    }
}

fn unseal_with(key: &LessSafeKey, whose: u128, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (nonce, cipher) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Damaged)?;
    let mut plain = cipher.to_vec();
    let aad = Aad::from(whose.to_be_bytes());
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut plain)
        .map_err(|_| VaultError::Damaged)?
        .len();
    plain.truncate(length);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> PersonCode {
        PersonCode::parse(text).expect("a code")
    }

    #[test]
    fn a_person_keeps_the_id_across_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, again) = (code("326180-33995"), code("322360-67989"));
        let vault = Vault::open(folder.path()).expect("a vault");
        let ids = vault.enrol(&[first.clone(), again.clone(), first.clone()]).expect("ids");
        assert_eq!(ids[0], ids[2]);
        assert_ne!(ids[0], ids[1]);
        let token = vault.means_token(MeansKind::CardUid, "04A2");
        drop(vault);
        let vault = Vault::open(folder.path()).expect("a vault");
        assert_eq!(vault.enrol(&[first]).expect("ids"), [ids[0]]);
        assert_eq!(vault.find(&again).expect("a look-up"), Some(ids[1]));
        assert_eq!(vault.means_token(MeansKind::CardUid, "04A2"), token);
    }

    #[test]
    fn a_first_start_that_was_cut_off_begins_again() {
        let steps: [&[&str]; 4] =
            [&[], &["lock"], &["lock", "0.jnl"], &["lock", "0.jnl", "version"]];
        for left in steps {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(folder.path().join("keyspaces")).expect("a folder");
            for name in left {
                std::fs::write(folder.path().join(name), "").expect("a file");
            }
            let vault = Vault::open(folder.path()).expect("a vault");
            let ids = vault.enrol(&[code("326180-33995")]).expect("ids");
            drop(vault);
            let vault = Vault::open(folder.path()).expect("a vault");
            assert_eq!(vault.enrol(&[code("326180-33995")]).expect("ids"), ids, "{left:?}");
        }
    }

    #[test]
    fn pseudonyms_of_recipients_rotate_and_are_known_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let first = vault.pseudonym(Purpose::Recipient, 7);
        let user = vault.pseudonym(Purpose::PortalUser, 7);
        vault.set_rotations(1);
        let second = vault.pseudonym(Purpose::Recipient, 7);
        assert_ne!(first, second);
        assert_eq!(vault.pseudonyms(Purpose::Recipient, 7).collect::<Vec<_>>(), [second, first]);
        assert_eq!(vault.pseudonym(Purpose::PortalUser, 7), user);
    }

    #[test]
    fn a_destroyed_key_opens_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let ids = vault.enrol(&[code("326180-33995"), code("322360-67989")]).expect("ids");
        let sealed = vault.seal(ids[0], b"attributes").expect("sealed");
        assert_eq!(vault.unseal(ids[0], &sealed).expect("plain"), b"attributes");
        assert!(matches!(vault.unseal(ids[1], &sealed), Err(VaultError::Damaged)));
        vault.destroy(&ids[..1]).expect("destroyed");
        assert!(matches!(vault.unseal(ids[0], &sealed), Err(VaultError::NoKey)));
    }
}
