//! The vault's backup of its own: everything by which people and means are known again, in one file that is
//! kept apart and not for long.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Read, Write},
    path::Path,
};

use domain::id::{PersonToken, RecipientId};
use ring::rand::{SecureRandom, SystemRandom};

use super::{
    SECRET, Vault, VaultError,
    slots::{Enrolled, Slots},
};
use crate::dense::TABLES;

/// What rows are of: the node, a person's code, a person's key; and the end.
const NODE: u8 = b's';
const PERSON: u8 = b'p';
const KEY: u8 = b'k';
const END: u8 = b'.';

/// A copy cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The file.
    #[error("cannot use the copy of the keys")]
    File(#[from] io::Error),
    /// It is not whole.
    #[error("the copy of the keys is damaged or cut off")]
    Damaged,
}

impl Vault {
    /// By what copies of this vault are known, which tells nothing of its secrets.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.secret_for("the vault's name");
        name.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes everything that it holds, with a checksum at the end; how many keys that are.
    ///
    /// # Errors
    /// Where it cannot be read, or not be written.
    pub fn copy(&self, to: &mut dyn Write) -> Result<u64, CopyError> {
        // Who is known from a record already is in the copy.
        self.catch_up(&mut self.slots())?;
        let (mut hasher, mut count) = (blake3::Hasher::new(), 0);
        let mut put = |tag: u8, key: &[u8], value: &[u8]| -> Result<(), CopyError> {
            let mut row = vec![tag, length(key)?, length(value)?];
            row.extend_from_slice(key);
            row.extend_from_slice(value);
            hasher.update(&row);
            Ok(to.write_all(&row)?)
        };
        put(NODE, b"", &self.inner.secret)?;
        // Part by part, so that a slow disk holds nobody up. Somebody is in the copy whole, or not.
        let parts = (0..TABLES).map(|part| self.people().part(part).collect::<Vec<_>>());
        for person in parts.flatten() {
            let (token, id) = (person.token.as_u128().to_be_bytes(), person.id.as_u128());
            put(PERSON, &token, &id.to_be_bytes())?;
            if let Some(key) = person.key {
                put(KEY, &id.to_be_bytes(), &key)?;
                count += 1;
            }
        }
        put(END, b"", b"")?;
        to.write_all(hasher.finalize().as_bytes())?;
        Ok(count)
    }

    /// Makes the vault of a copy in a folder that has none, without the keys of some people.
    ///
    /// # Errors
    /// Where the copy is damaged, or the folder cannot be written; nothing is made then.
    pub fn restore(
        folder: &Path,
        from: &mut dyn Read,
        without: &BTreeSet<RecipientId>,
    ) -> Result<(), CopyError> {
        let Copied { secret, tokens, mut keys } = Copied::read(from)?;
        keys.retain(|id, _| !without.contains(id));
        let mut people: Vec<_> = tokens
            .into_iter()
            .map(|(token, id)| Enrolled { token, id, key: keys.remove(&id) })
            .collect();
        // A copy of before may have the key of somebody who was enrolled while it was made, whom
        // nobody finds by a code.
        for (id, key) in keys {
            let mut token = [0; 16];
            SystemRandom::new().fill(&mut token).map_err(|_| VaultError::Randomness)?;
            let token = PersonToken::from_u128(u128::from_be_bytes(token));
            people.push(Enrolled { token, id, key: Some(key) });
        }
        Ok(Slots::create(folder, &secret, people.into_iter())?)
    }
}

/// What is in a copy.
struct Copied {
    secret: [u8; SECRET],
    tokens: HashMap<PersonToken, RecipientId>,
    keys: HashMap<RecipientId, [u8; SECRET]>,
}

impl Copied {
    fn read(from: &mut dyn Read) -> Result<Self, CopyError> {
        let (mut secret, mut tokens, mut keys) = (None, HashMap::new(), HashMap::new());
        let mut hasher = blake3::Hasher::new();
        loop {
            let mut head = [0; 3];
            from.read_exact(&mut head)?;
            let mut row = vec![0; usize::from(head[1]) + usize::from(head[2])];
            from.read_exact(&mut row)?;
            hasher.update(&head).update(&row);
            let (key, value) = row.split_at(usize::from(head[1]));
            match head[0] {
                NODE => secret = Some(value.try_into().map_err(|_| CopyError::Damaged)?),
                PERSON => {
                    let id = RecipientId::from_u128(number(value)?);
                    tokens.insert(PersonToken::from_u128(number(key)?), id);
                }
                KEY => {
                    let value = value.try_into().map_err(|_| CopyError::Damaged)?;
                    keys.insert(RecipientId::from_u128(number(key)?), value);
                }
                END => break,
                _ => return Err(CopyError::Damaged),
            }
        }
        let mut checksum = [0; 32];
        from.read_exact(&mut checksum)?;
        match secret.filter(|_| checksum == *hasher.finalize().as_bytes()) {
            Some(secret) => Ok(Self { secret, tokens, keys }),
            None => Err(CopyError::Damaged),
        }
    }
}

fn number(bytes: &[u8]) -> Result<u128, CopyError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| CopyError::Damaged)
}

fn length(bytes: &[u8]) -> Result<u8, CopyError> {
    u8::try_from(bytes.len()).map_err(|_| CopyError::Damaged)
}

#[cfg(test)]
mod tests {
    use domain::{identification_means::MeansKind, person_code::PersonCode};

    use super::*;

    #[test]
    fn a_copy_knows_everybody_again_but_those_who_were_erased() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(&folder.path().join("first")).expect("a vault");
        let codes = ["326180-33995", "322360-67989"].map(PersonCode::parse);
        let codes = codes.map(|code| code.expect("a code"));
        let ids = vault.enrol(&codes).expect("ids");
        let sealed = [0, 1].map(|of| vault.seal(ids[of], b"attributes").expect("sealed"));
        let mut copy = Vec::new();
        assert_eq!(vault.copy(&mut copy).expect("copied"), 2);
        let second = folder.path().join("second");
        let erased = BTreeSet::from([ids[1]]);
        Vault::restore(&second, &mut copy.as_slice(), &erased).expect("restored");
        let restored = Vault::open(&second).expect("a vault");
        assert_eq!(restored.name(), vault.name());
        assert_eq!(restored.enrol(&codes).expect("ids"), ids);
        assert_eq!(restored.unseal(ids[0], &sealed[0]).expect("plain"), b"attributes");
        assert!(matches!(restored.unseal(ids[1], &sealed[1]), Err(VaultError::NoKey)));
        let token = |of: &Vault| of.means_token(MeansKind::CardUid, "04A2");
        assert_eq!(token(&restored), token(&vault));
        // A copy that is cut off or changed is none.
        for damage in [copy.len() - 1, 40, 90] {
            let third = folder.path().join(format!("third-{damage}"));
            let mut bytes = copy.clone();
            match damage == copy.len() - 1 {
                true => bytes.truncate(damage),
                false => bytes[damage] ^= 1,
            }
            assert!(Vault::restore(&third, &mut bytes.as_slice(), &erased).is_err(), "{damage}");
        }
    }
}
