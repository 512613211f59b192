//! Keys: of each person's data, and of the hashes by which people and means are known.
//!
//! The vault is a file of its own with a backup of its own. A person's internal id is random and is
//! found from the personal code by a keyed hash; what the streams hold of a person is encrypted
//! under that person's key, so destroying the key erases the person, from backups too. What leads
//! from the code to the id goes as well: of what is kept under the id nobody can tell whose it was,
//! and who is enrolled again gets another one.
//!
//! One process enrols and erases; others may follow what it writes.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use domain::{
    id::{HouseholdId, MeansToken, PersonToken, Pseudonym, RecipientId},
    identification_means::MeansKind,
    person_code::PersonCode,
};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use self::{
    people::People,
    slots::{Enrolled, Slots},
};
use crate::{record::first_u128, spread};

pub mod copy;
mod follow;
mod people;
mod slots;

/// The vault cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The disk failed.
    #[error("cannot {attempted} in the vault")]
    Store {
        /// What was attempted.
        attempted: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("another process has the vault")]
    InUse,
    /// There is none to be followed.
    #[error("there is no vault yet: the role connectors makes it at its first start")]
    Absent,
    /// Another process has it, and this one follows.
    #[error("these keys belong to another process: the role connectors enrols and erases")]
    ReadOnly,
    /// In the place of what this process follows is something else.
    #[error("the vault was replaced or cut off while it was followed: start this process again")]
    Replaced,
    /// It is of an earlier version, which kept it in another form.
    #[error(
        "the vault is of an earlier version: `avis backup` with that one, then `avis restore` with this"
    )]
    Earlier,
    /// What was synced is not there any more.
    #[error("the vault is damaged at slot {slot}: restore it from a copy of the keys")]
    Broken {
        /// The place in the file, in slots.
        slot: u64,
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
        matches!(self, Self::InUse)
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
/// What whoever is new gets: an id and a key.
const FRESH: usize = 16 + SECRET;
const OFFLINE_SALT: &str = "offline salt";

/// Keys and keyed hashes. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    /// Held while people are enrolled or erased: of two who enrol the same person the second
    /// finds the first one's id. Where another process writes, held while its news are read.
    slots: Mutex<Slots>,
    /// Whether another process writes.
    follows: bool,
    /// Whether following failed last: it is logged once, and not at every look-up.
    astray: AtomicBool,
    people: RwLock<People>,
    secret: [u8; SECRET],
    /// The key under the offline salt.
    offline: hmac::Key,
    /// How often recipients have got other pseudonyms.
    rotations: AtomicU32,
    random: SystemRandom,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// Opens the vault in `folder`, and makes it with fresh secrets where there is none.
    ///
    /// # Errors
    /// Where another process has it, it is damaged or of an earlier version, the disk fails, or the
    /// operating system gives no randomness.
    pub fn open(folder: &Path) -> Result<Self, VaultError> {
        let random = SystemRandom::new();
        let (slots, secret, people) = Slots::open(folder, || {
            let mut secret = [0; SECRET];
            random.fill(&mut secret).map_err(|_| VaultError::Randomness)?;
            Ok(secret)
        })?;
        Ok(Self::of(slots, secret, people))
    }

    fn of(slots: Slots, secret: [u8; SECRET], people: People) -> Self {
        let offline = hmac::Key::new(hmac::HMAC_SHA256, &derived(&secret, OFFLINE_SALT));
        let inner = Inner {
            follows: slots.is_followed(),
            slots: Mutex::new(slots),
            astray: AtomicBool::new(false),
            people: RwLock::new(people),
            secret,
            offline,
            rotations: AtomicU32::new(0),
            random: SystemRandom::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The internal id of a person, if enrolled.
    #[must_use]
    pub fn find(&self, code: &PersonCode) -> Option<RecipientId> {
        self.find_listed(self.person_token(code))
    }

    /// The internal id of a person whom a list names, if enrolled.
    #[must_use]
    pub fn find_listed(&self, token: PersonToken) -> Option<RecipientId> {
        // What went wrong, if anything, was logged.
        self.look(|people| people.id(token)).ok().flatten()
    }

    /// The internal ids of people, in the order given; who has none gets one, and a key. What is
    /// new is synced before it is answered, so that no record is ever sealed under a lost key.
    ///
    /// # Errors
    /// Where the disk or the randomness fails, or the vault is another process's and somebody is
    /// new; nobody is enrolled then.
    pub fn enrol(&self, codes: &[PersonCode]) -> Result<Vec<RecipientId>, VaultError> {
        let tokens = spread::map(codes.iter().collect(), |code| self.person_token(code));
        let mut random = vec![0; codes.len() * FRESH];
        self.inner.random.fill(&mut random).map_err(|_| VaultError::Randomness)?;
        let mut slots = self.slots();
        self.catch_up(&mut slots)?;
        let (mut fresh, mut people) = (HashMap::new(), Vec::new());
        let mut ids = Vec::with_capacity(codes.len());
        for (token, random) in tokens.into_iter().zip(random.as_chunks::<FRESH>().0) {
            let found = fresh.get(&token).copied();
            ids.push(found.or_else(|| self.people().id(token)).unwrap_or_else(|| {
                let person = enrolled(token, random);
                fresh.insert(token, person.id);
                people.push(person);
                person.id
            }));
        }
        if people.is_empty() {
            return Ok(ids);
        }
        slots.append(&people)?;
        self.put(&people);
        Ok(ids)
    }

    fn put(&self, people: &[Enrolled]) {
        let mut known = self.people_mut();
        people.iter().for_each(|person| known.put(person));
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn people(&self) -> RwLockReadGuard<'_, People> {
        self.inner.people.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn people_mut(&self) -> RwLockWriteGuard<'_, People> {
        self.inner.people.write().unwrap_or_else(PoisonError::into_inner)
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
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + MAX_TAG_LEN);
        sealed.extend_from_slice(&[0; NONCE_LEN]);
        sealed.extend_from_slice(plain);
        let (nonce, cipher) =
            sealed.split_first_chunk_mut::<NONCE_LEN>().ok_or(VaultError::Damaged)?;
        self.inner.random.fill(nonce).map_err(|_| VaultError::Randomness)?;
        let (nonce, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(whose.to_be_bytes()));
        let tag = key.seal_in_place_separate_tag(nonce, aad, cipher);
        sealed.extend_from_slice(tag.map_err(|_| VaultError::Randomness)?.as_ref());
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
    /// Where the vault is another process's, or the disk fails; the keys may then still be there.
    pub fn destroy(&self, people: &[RecipientId]) -> Result<(), VaultError> {
        let slots = self.slots();
        slots.destroy(&people.iter().copied().collect::<HashSet<_>>())?;
        let mut known = self.people_mut();
        people.iter().for_each(|person| known.destroy(*person));
        Ok(())
    }

    /// Destroys what leads from people's codes to their ids, and their keys: whoever has the code
    /// finds nobody, and is somebody new when enrolled again.
    ///
    /// # Errors
    /// As [`destroy`](Self::destroy).
    pub fn unlink(&self, people: &[RecipientId]) -> Result<(), VaultError> {
        let slots = self.slots();
        slots.unlink(&people.iter().copied().collect::<HashSet<_>>())?;
        self.forget(people);
        Ok(())
    }

    /// Those of some people whom a code still leads to.
    #[must_use]
    pub fn linked(&self, people: &BTreeSet<RecipientId>) -> Vec<RecipientId> {
        self.people().linked(people)
    }

    /// Whether a person has no key: erased, or never enrolled.
    #[must_use]
    pub fn is_erased(&self, person: RecipientId) -> bool {
        let lives = self.look(|people| people.key(person).map(|key| key.bytes().is_some()));
        !lives.ok().flatten().unwrap_or(false)
    }

    /// A person as a list names them: a keyed hash of the personal code.
    #[must_use]
    pub fn person_token(&self, code: &PersonCode) -> PersonToken {
        PersonToken::from_u128(self.keyed("person code", code.expose().as_bytes()))
    }

    /// The token of a means: a keyed hash of kind and value.
    #[must_use]
    pub fn means_token(&self, kind: MeansKind, value: &str) -> MeansToken {
        MeansToken::from_u128(self.keyed("means", named(kind, value).as_bytes()))
    }

    /// The salt of [`offline_hash`](Self::offline_hash), which terminals have.
    #[must_use]
    pub fn offline_salt(&self) -> [u8; 32] {
        self.secret_for(OFFLINE_SALT)
    }

    /// A means as terminals know it offline: the first eight bytes, big-endian, of HMAC-SHA-256
    /// (RFC 2104) under the salt over kind, a zero byte and value. It is never 0.
    #[must_use]
    pub fn offline_hash(&self, kind: MeansKind, value: &str) -> u64 {
        let tag = hmac::sign(&self.inner.offline, named(kind, value).as_bytes());
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
        derived(&self.inner.secret, purpose)
    }

    fn keyed(&self, purpose: &str, bytes: &[u8]) -> u128 {
        let mut hasher = blake3::Hasher::new_keyed(&self.inner.secret);
        hasher.update(&(purpose.len() as u64).to_le_bytes());
        hasher.update(purpose.as_bytes());
        hasher.update(bytes);
        first_u128(&hasher.finalize())
    }

    fn key(&self, person: RecipientId) -> Result<LessSafeKey, VaultError> {
        let key = self.look_closely(|people| people.key(person).map(|key| key.bytes().copied()))?;
        let key = key.flatten().ok_or(VaultError::NoKey)?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| VaultError::Damaged)?;
        Ok(LessSafeKey::new(key))
    }
}

/// A means as its hashes are made of it.
fn named(kind: MeansKind, value: &str) -> String {
    [kind.code(), "\0", value].concat()
}

/// Somebody new, by random bytes.
fn enrolled(token: PersonToken, random: &[u8; FRESH]) -> Enrolled {
    let (mut id, mut key) = ([0; 16], [0; SECRET]);
    id.copy_from_slice(&random[..16]);
    key.copy_from_slice(&random[16..]);
    Enrolled { token, id: RecipientId::from_u128(u128::from_be_bytes(id)), key: Some(key) }
}

fn derived(secret: &[u8; SECRET], purpose: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(b"derived secret");
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
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
        assert_eq!(vault.find(&again), Some(ids[1]));
        assert_eq!(vault.means_token(MeansKind::CardUid, "04A2"), token);
    }

    #[test]
    fn whoever_is_enrolled_twice_at_once_has_one_id() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let codes: Vec<_> = (0..200).map(|of| code(&format!("320000-{of:05}"))).collect();
        let enrol = || vault.enrol(&codes).expect("ids");
        let ids = std::thread::scope(|scope| {
            [(); 4].map(|()| scope.spawn(enrol)).map(|one| one.join().expect("enrolled"))
        });
        assert!(ids.iter().all(|one| *one == ids[0]));
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

    #[test]
    fn nothing_leads_from_the_code_of_an_erased_person_to_what_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let (gone, stays) = (code("326180-33995"), code("322360-67989"));
        let ids = vault.enrol(&[gone.clone(), stays.clone()]).expect("ids");
        let token = vault.person_token(&gone).as_u128().to_be_bytes();
        let kept = || std::fs::read(folder.path().join("vault")).expect("the file");
        let has_token = || kept().windows(16).any(|bytes| bytes == token);
        let pseudonym = vault.pseudonym(Purpose::Recipient, ids[0].as_u128());
        let both = BTreeSet::from([ids[0], ids[1]]);
        // While the key alone is gone, lists can still be asked for the person.
        vault.destroy(&ids[..1]).expect("destroyed");
        assert_eq!(vault.find(&gone), Some(ids[0]));
        assert!(has_token() && vault.linked(&both).len() == 2);
        vault.unlink(&ids[..1]).expect("unlinked");
        assert!(!has_token());
        assert_eq!(vault.linked(&both), [ids[1]]);
        // Again, by the same process and by the next one.
        vault.unlink(&ids[..1]).expect("unlinked");
        drop(vault);
        let vault = Vault::open(folder.path()).expect("a vault");
        assert_eq!((vault.find(&gone), vault.find(&stays)), (None, Some(ids[1])));
        assert!(vault.is_erased(ids[0]) && !has_token());
        let mut copy = Vec::new();
        assert_eq!(vault.copy(&mut copy).expect("copied"), 1);
        assert!(!copy.windows(16).any(|bytes| bytes == token), "a copy of the keys");
        // What is recorded stays under the pseudonym that it had, and whoever comes back has another.
        let again = vault.enrol(std::slice::from_ref(&gone)).expect("an id")[0];
        assert!(again != ids[0] && !vault.is_erased(again) && vault.is_erased(ids[0]));
        assert_eq!(vault.pseudonym(Purpose::Recipient, ids[0].as_u128()), pseudonym);
        assert_ne!(vault.pseudonym(Purpose::Recipient, again.as_u128()), pseudonym);
        drop(vault);
        let vault = Vault::open(folder.path()).expect("a vault");
        assert_eq!(vault.enrol(&[gone, stays]).expect("ids"), [again, ids[1]]);
    }
}
