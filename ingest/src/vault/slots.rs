//! Where the vault keeps people: a file of slots of one size, all of which is in memory as well.
//!
//! A person is looked up for every line that an issuer or the register sends, so that has to be one
//! access to memory; a general store took ten microseconds for it. And a key that is destroyed has
//! to be gone, and so has what leads from a code to an id: here both are written over where they
//! lie, in no store's older files.
//!
//! The first slot holds the node's secret, the second how many slots were synced. Each further one
//! holds whom a list names (16 bytes), the internal id (16), the key (32), a hash of these and the
//! state (7), and the state (1). It is written whole and synced before anybody hears of it. What a
//! power cut tears stands behind those that were synced, and is of nobody.
//!
//! One process writes the file. Others follow it: they believe the slots that it says were synced,
//! and no other, for those behind may be torn, or be taken back.

use std::{
    collections::HashSet,
    fs::{File, Metadata, OpenOptions},
    io::{self, BufWriter, Write},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
};

use domain::id::{PersonToken, RecipientId};

use super::{SECRET, VaultError, people::People};
use crate::folder::{self, Claim, Unclaimed};

pub(super) const NAME: &str = "vault";
const PART: &str = "vault.part";
/// What the file of a vault begins with.
const MAGIC: &[u8; 16] = b"avis vault 1\0\0\0\0";
/// A folder that a store of before has made.
pub(super) const EARLIER: &str = "keyspaces";
pub(super) const SLOT: usize = 72;
const KEY: Range<usize> = 32..64;
/// What stands in the place of a code's hash once nobody may be found by it.
pub(super) const UNLINKED: PersonToken = PersonToken::from_u128(0);
/// Hash and state: eight bytes that no disk tears.
const SEAL: Range<usize> = 64..72;
const STATE: usize = 71;
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
/// Torn, and of nobody.
const VOID: u8 = 3;
/// The slots that are of nobody: the secret's, and the one that says how many were synced.
const FIRST: u64 = 2;
/// Slots that are read at once.
const AT_ONCE: u64 = 8_192;
/// How often the number of those synced is read before it is taken for none: another process may
/// be writing it just then.
const LOOKS: usize = 16;

/// Somebody who is enrolled.
#[derive(Clone, Copy)]
pub(super) struct Enrolled {
    pub token: PersonToken,
    pub id: RecipientId,
    /// None once it is destroyed.
    pub key: Option<[u8; SECRET]>,
}

impl Enrolled {
    /// The same without a key.
    const fn without_key(self) -> Self {
        Self { key: None, ..self }
    }

    /// Whom no code leads to any more.
    const fn unlinked(self) -> Self {
        Self { token: UNLINKED, id: self.id, key: None }
    }

    fn slot(&self) -> [u8; SLOT] {
        let state = if self.key.is_some() { LIVE } else { DESTROYED };
        let (token, id) = (self.token.as_u128().to_be_bytes(), self.id.as_u128().to_be_bytes());
        slot(&token, &id, &self.key.unwrap_or_default(), state)
    }
}

fn slot(token: &[u8; 16], id: &[u8; 16], key: &[u8; SECRET], state: u8) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..16].copy_from_slice(token);
    slot[16..KEY.start].copy_from_slice(id);
    slot[KEY].copy_from_slice(key);
    slot[STATE] = state;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&slot[..KEY.end]).update(&[state]);
    slot[SEAL.start..STATE].copy_from_slice(&hasher.finalize().as_bytes()[..STATE - SEAL.start]);
    slot
}

/// What a slot holds.
enum Held {
    /// Somebody, with or without a key.
    Somebody(Enrolled),
    /// Somebody whose key is to be destroyed, or whom a code is not to lead to any more; what is to
    /// go lies there still.
    Leaving(Enrolled),
    Nobody,
    /// What was never written whole.
    Torn,
}

fn held(bytes: &[u8; SLOT]) -> Held {
    let sixteen = |at: usize| {
        let mut sixteen = [0; 16];
        sixteen.copy_from_slice(&bytes[at..at + 16]);
        u128::from_be_bytes(sixteen)
    };
    let (token, id) = (PersonToken::from_u128(sixteen(0)), RecipientId::from_u128(sixteen(16)));
    let mut key = [0; SECRET];
    key.copy_from_slice(&bytes[KEY]);
    let somebody = Enrolled { token, id, key: (bytes[STATE] == LIVE).then_some(key) };
    match bytes[STATE] {
        LIVE | DESTROYED if *bytes == somebody.slot() => Held::Somebody(somebody),
        // The seal comes first, and holds without what is to go.
        DESTROYED if bytes[SEAL] == somebody.slot()[SEAL] => Held::Leaving(somebody),
        DESTROYED if bytes[SEAL] == somebody.unlinked().slot()[SEAL] => {
            Held::Leaving(somebody.unlinked())
        }
        VOID if *bytes == void() => Held::Nobody,
        _ => Held::Torn,
    }
}

fn void() -> [u8; SLOT] {
    slot(&[0; 16], &[0; 16], &[0; SECRET], VOID)
}

/// How many slots were synced, with a hash of it.
fn synced(count: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&count.to_le_bytes());
    let hash = blake3::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&hash.as_bytes()[..8]);
    bytes
}

/// The file.
pub(super) struct Slots {
    file: File,
    /// How many slots there are, the first included; where it is followed, how many were read.
    count: u64,
    access: Access,
}

/// How this process has the file.
enum Access {
    /// It alone writes.
    Writes { _claim: Claim },
    /// Another writes the file that was at the path.
    Follows { path: PathBuf, file: (u64, u64) },
}

fn store(attempted: &'static str) -> impl Fn(io::Error) -> VaultError {
    move |source| VaultError::Store { attempted, source }
}

fn claim(folder: &Path) -> Result<Claim, VaultError> {
    folder::claim(folder).map_err(|unclaimed| match unclaimed {
        Unclaimed::InUse => VaultError::InUse,
        Unclaimed::Failed(source) => store("take the folder")(source),
    })
}

impl Slots {
    /// Opens the file in a folder, and makes it with a `fresh` secret where there is none; with the
    /// secret and the people in it.
    pub(super) fn open(
        folder: &Path,
        fresh: impl FnOnce() -> Result<[u8; SECRET], VaultError>,
    ) -> Result<(Self, [u8; SECRET], People), VaultError> {
        let claim = claim(folder)?;
        refuse_earlier(folder)?;
        let opened = store("open the file");
        let path = folder.join(NAME);
        if !path.try_exists().map_err(&opened)? {
            make(folder, &fresh()?, std::iter::empty()).map_err(store("make the file"))?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(&opened)?;
        // What a process that was killed had written is believed only once it is synced.
        file.sync_all().and_then(|()| folder::sync(folder)).map_err(&opened)?;
        let count = file.metadata().map_err(&opened)?.len() / SLOT as u64;
        let slots = Self { file, count, access: Access::Writes { _claim: claim } };
        let (secret, people) = slots.load()?;
        Ok((slots, secret, people))
    }

    /// Opens the file that another process writes, with the secret; nobody in it is read yet.
    pub(super) fn follow(folder: &Path) -> Result<(Self, [u8; SECRET]), VaultError> {
        refuse_earlier(folder)?;
        let path = folder.join(NAME);
        let opened = store("open the file");
        let file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => VaultError::Absent,
            _ => opened(source),
        })?;
        let access = Access::Follows { path, file: which(&file.metadata().map_err(&opened)?) };
        let slots = Self { file, count: FIRST, access };
        let secret = slots.secret()?;
        // That there are so many is all that is asked here.
        slots.told()?;
        Ok((slots, secret))
    }

    pub(super) fn is_followed(&self) -> bool {
        matches!(self.access, Access::Follows { .. })
    }

    fn require_own(&self) -> Result<(), VaultError> {
        if self.is_followed() { Err(VaultError::ReadOnly) } else { Ok(()) }
    }

    /// Makes the file of a vault in a folder that has none, whole or not at all.
    pub(super) fn create(
        folder: &Path,
        secret: &[u8; SECRET],
        people: impl Iterator<Item = Enrolled>,
    ) -> Result<(), VaultError> {
        let _claim = claim(folder)?;
        let made = folder.join(NAME).try_exists().and_then(|exists| match exists {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => make(folder, secret, people),
        });
        made.map_err(store("make the file"))
    }

    /// Reads everything, and ends what a crash left half done.
    fn load(&self) -> Result<([u8; SECRET], People), VaultError> {
        let (secret, told) = (self.secret()?, self.told()?);
        let (mut people, mut leaving, mut torn) = (People::default(), Vec::new(), Vec::new());
        self.each(FIRST..self.count, |at, slot| match held(slot) {
            Held::Somebody(person) => people.put(&person),
            Held::Leaving(person) => {
                people.put(&person);
                leaving.push((at, person.slot()));
            }
            Held::Nobody => {}
            Held::Torn => torn.push(at),
        })
        .map_err(store("read the file"))?;
        if let Some(slot) = torn.first().copied().filter(|at| *at < told) {
            return Err(VaultError::Broken { slot });
        }
        let length = self.file.metadata().map_err(store("read the file"))?.len();
        let is_whole = told == self.count && length == place(self.count);
        // One that was closed in order is left as it is.
        if !(is_whole && leaving.is_empty() && torn.is_empty()) {
            self.mend(&leaving, &torn).map_err(store("mend the file"))?;
        }
        Ok((secret, people))
    }

    fn secret(&self) -> Result<[u8; SECRET], VaultError> {
        let slot = self.slot(0)?;
        match held(&slot) {
            Held::Somebody(node) => node.key.filter(|_| slot.starts_with(MAGIC)),
            _ => None,
        }
        .ok_or(VaultError::Broken { slot: 0 })
    }

    /// How many slots were synced, as is noted; they are there.
    fn told(&self) -> Result<u64, VaultError> {
        let mut told = None;
        for _ in 0..LOOKS {
            told = synced_of(&self.slot(1)?);
            if told.is_some() {
                break;
            }
            thread::yield_now();
        }
        // Lower than any, where it is none.
        let told = told.unwrap_or(0);
        let there = self.file.metadata().map_err(store("read the file"))?.len() / SLOT as u64;
        if there < told { Err(VaultError::Broken { slot: there }) } else { Ok(told) }
    }

    fn slot(&self, at: u64) -> Result<[u8; SLOT], VaultError> {
        let mut slot = [0; SLOT];
        self.file.read_exact_at(&mut slot, place(at)).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => VaultError::Broken { slot: at },
            _ => store("read the file")(source),
        })?;
        Ok(slot)
    }

    /// Opens the file that is followed: only then a file system of several machines asks for its
    /// newest length, which it remembers for a while otherwise.
    pub(super) fn ask_anew(&self) -> Result<(), VaultError> {
        let Access::Follows { path, .. } = &self.access else { return Ok(()) };
        File::open(path).map(drop).map_err(store("look at the file"))
    }

    /// Hands over who was added since by the process that writes the file.
    pub(super) fn take_new(
        &mut self,
        secret: &[u8; SECRET],
        mut take: impl FnMut(&[Enrolled]),
    ) -> Result<(), VaultError> {
        let Access::Follows { path, file } = &self.access else { return Ok(()) };
        // One that is not there may come back, as does a disk that others have.
        let there = std::fs::metadata(path).map_err(store("look at the file"))?;
        if which(&there) != *file || there.len() < place(self.count) {
            return Err(VaultError::Replaced);
        }
        // A look-up of somebody unknown comes so far each time, and mostly no further.
        if there.len() == place(self.count) {
            return Ok(());
        }
        if self.secret()? != *secret {
            return Err(VaultError::Replaced);
        }
        let told = self.told()?;
        while self.count < told {
            let to = told.min(self.count + AT_ONCE);
            take(&self.people(self.count..to)?);
            self.count = to;
        }
        Ok(())
    }

    /// The people of some slots, all of which were synced. No code leads to one whose key is destroyed:
    /// the code goes next, and nobody would tell of that.
    fn people(&self, slots: Range<u64>) -> Result<Vec<Enrolled>, VaultError> {
        let (mut people, mut torn) = (Vec::new(), None);
        self.each(slots, |at, slot| match held(slot) {
            Held::Somebody(person) | Held::Leaving(person) => people.push(match person.key {
                Some(_) => person,
                None => person.unlinked(),
            }),
            Held::Nobody => {}
            Held::Torn => torn = torn.or(Some(at)),
        })
        .map_err(store("read the file"))?;
        torn.map_or(Ok(people), |slot| Err(VaultError::Broken { slot }))
    }

    fn mend(&self, leaving: &[(u64, [u8; SLOT])], torn: &[u64]) -> io::Result<()> {
        for (at, slot) in leaving {
            self.file.write_all_at(&slot[..SEAL.start], place(*at))?;
        }
        for at in torn {
            self.file.write_all_at(&void(), place(*at))?;
        }
        if !torn.is_empty() {
            tracing::warn!(people = torn.len(), "the vault was cut off while it enrolled people");
        }
        self.file.set_len(place(self.count))?;
        self.file.sync_data()?;
        self.note(self.count)
    }

    /// Notes how many slots are synced. It needs no sync of its own: a lower number holds as well.
    fn note(&self, count: u64) -> io::Result<()> {
        self.file.write_all_at(&synced(count), place(1))
    }

    /// Adds people, durably, or nobody.
    pub(super) fn append(&mut self, people: &[Enrolled]) -> Result<(), VaultError> {
        self.require_own()?;
        let bytes: Vec<u8> = people.iter().flat_map(Enrolled::slot).collect();
        let count = self.count + people.len() as u64;
        let written = self.file.write_all_at(&bytes, place(self.count));
        // Whoever is not noted is found by no process that follows, so is not enrolled either.
        let synced = written.and_then(|()| self.file.sync_data()).and_then(|()| self.note(count));
        if let Err(source) = synced {
            // Where that fails too, what is there is written over next, or is of nobody.
            let _ = self.file.set_len(place(self.count));
            return Err(store("enrol people")(source));
        }
        self.count = count;
        Ok(())
    }

    /// Writes over people's keys. Whoever is marked is gone, though a crash follows at once.
    pub(super) fn destroy(&self, people: &HashSet<RecipientId>) -> Result<(), VaultError> {
        self.require_own()?;
        self.write_over(people, Enrolled::without_key).map_err(store("destroy a key"))
    }

    /// Writes over what leads from people's codes to their ids, and over their keys. As with
    /// [`destroy`](Self::destroy), a crash undoes nothing.
    pub(super) fn unlink(&self, people: &HashSet<RecipientId>) -> Result<(), VaultError> {
        self.require_own()?;
        self.write_over(people, Enrolled::unlinked).map_err(store("forget a code"))
    }

    fn write_over(
        &self,
        people: &HashSet<RecipientId>,
        left: impl Fn(Enrolled) -> Enrolled,
    ) -> io::Result<()> {
        let mut found = Vec::new();
        self.each(FIRST..self.count, |at, slot| match held(slot) {
            Held::Somebody(person) | Held::Leaving(person) if people.contains(&person.id) => {
                found.push((at, left(person).slot()));
            }
            _ => {}
        })?;
        for (at, slot) in &found {
            self.file.write_all_at(&slot[SEAL], place(*at) + SEAL.start as u64)?;
        }
        self.file.sync_data()?;
        for (at, slot) in &found {
            // The id among it stays what it was.
            self.file.write_all_at(&slot[..SEAL.start], place(*at))?;
        }
        self.file.sync_data()
    }

    fn each(&self, slots: Range<u64>, mut each: impl FnMut(u64, &[u8; SLOT])) -> io::Result<()> {
        let Range { start: mut at, end } = slots;
        let mut bytes = vec![0; end.saturating_sub(at).min(AT_ONCE) as usize * SLOT];
        while at < end {
            let some = (end - at).min(AT_ONCE);
            let bytes = &mut bytes[..some as usize * SLOT];
            self.file.read_exact_at(bytes, place(at))?;
            for slot in bytes.as_chunks::<SLOT>().0 {
                each(at, slot);
                at += 1;
            }
        }
        Ok(())
    }
}

const fn place(at: u64) -> u64 {
    at * SLOT as u64
}

/// The number in the second slot.
fn synced_of(slot: &[u8; SLOT]) -> Option<u64> {
    let mut count = [0; 8];
    count.copy_from_slice(&slot[..8]);
    let count = u64::from_le_bytes(count);
    slot.starts_with(&synced(count)).then_some(count)
}

/// What tells a file from one that was put in its place.
fn which(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn refuse_earlier(folder: &Path) -> Result<(), VaultError> {
    match folder.join(EARLIER).try_exists().map_err(store("open the file"))? {
        true => Err(VaultError::Earlier),
        false => Ok(()),
    }
}

fn make(
    folder: &Path,
    secret: &[u8; SECRET],
    people: impl Iterator<Item = Enrolled>,
) -> io::Result<()> {
    let part = folder.join(PART);
    // One that was left by a crash may be readable for others.
    let _ = std::fs::remove_file(&part);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let mut file = BufWriter::new(made);
    file.write_all(&slot(MAGIC, &[0; 16], secret, LIVE))?;
    file.write_all(&[0; SLOT])?;
    let mut count = FIRST;
    for person in people {
        file.write_all(&person.slot())?;
        count += 1;
    }
    let file = file.into_inner()?;
    file.write_all_at(&synced(count), place(1))?;
    file.sync_all()?;
    std::fs::rename(part, folder.join(NAME))?;
    folder::sync(folder)
}

#[cfg(test)]
mod tests;
