//! The vault's backup of its own: everything by which people and means are known again, in one file that is
//! kept apart and not for long.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    path::Path,
};

use domain::id::RecipientId;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use super::{SECRET, Vault, VaultError, store};

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
        let (mut hasher, mut count) = (blake3::Hasher::new(), 0);
        let mut put = |tag: u8, key: &[u8], value: &[u8]| -> Result<(), CopyError> {
            let mut row = vec![tag, length(key)?, length(value)?];
            row.extend_from_slice(key);
            row.extend_from_slice(value);
            hasher.update(&row);
            Ok(to.write_all(&row)?)
        };
        put(NODE, b"", &self.inner.secret)?;
        // Whoever is enrolled meanwhile has a key without a code at worst, and never the other way.
        for (tag, rows) in [(PERSON, &self.inner.people), (KEY, &self.inner.keys)] {
            for guard in rows.iter() {
                let (key, value) = guard.into_inner().map_err(store("read the keys"))?;
                put(tag, &key, &value)?;
                count += u64::from(tag == KEY);
            }
        }
        put(END, b"", b"")?;
        to.write_all(hasher.finalize().as_bytes())?;
        Ok(count)
    }

    /// Makes the vault of a copy in a folder that has none, without the keys of some people.
    ///
    /// # Errors
    /// Where the copy is damaged, or the folder cannot be written; what was made is of no use then.
    pub fn restore(
        folder: &Path,
        from: &mut dyn Read,
        without: &BTreeSet<RecipientId>,
    ) -> Result<(), CopyError> {
        let database = Database::builder(folder).open().map_err(store("make the keys"))?;
        let space = |name: &str| {
            database.keyspace(name, KeyspaceCreateOptions::default).map_err(store("make the keys"))
        };
        let (people, keys, node) = (space("people")?, space("keys")?, space("node")?);
        let mut hasher = blake3::Hasher::new();
        loop {
            let mut head = [0; 3];
            from.read_exact(&mut head)?;
            let mut row = vec![0; usize::from(head[1]) + usize::from(head[2])];
            from.read_exact(&mut row)?;
            hasher.update(&head).update(&row);
            let (key, value) = row.split_at(usize::from(head[1]));
            let put = match head[0] {
                NODE if value.len() == SECRET => node.insert("secret", value),
                PERSON => people.insert(key, value),
                KEY => {
                    let id = key.try_into().map_err(|_| CopyError::Damaged)?;
                    let id = RecipientId::from_u128(u128::from_be_bytes(id));
                    if without.contains(&id) { Ok(()) } else { keys.insert(key, value) }
                }
                END => break,
                _ => return Err(CopyError::Damaged),
            };
            put.map_err(store("make the keys"))?;
        }
        let mut checksum = [0; 32];
        from.read_exact(&mut checksum)?;
        if checksum != *hasher.finalize().as_bytes() {
            return Err(CopyError::Damaged);
        }
        Ok(database.persist(PersistMode::SyncAll).map_err(store("sync the keys"))?)
    }
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
