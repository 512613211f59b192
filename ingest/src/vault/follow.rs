//! A vault that another process writes, as it is read beside that one.
//!
//! Whoever writes syncs and notes a slot before any record tells of the person. So whoever reads a
//! record finds the person in the file, and the file is looked at only where somebody is unknown.

use std::{path::Path, sync::atomic::Ordering};

use domain::id::RecipientId;

use super::{Vault, VaultError, people::People, slots::Slots};

impl Vault {
    /// Opens the vault in `folder`, which another process writes or will. Nothing is ever written
    /// there by this one, and the lock stays with the other. Whoever that one enrols later is found
    /// as well; whom it erases has to be told of by [`forget`](Self::forget). Where the file is
    /// replaced or cannot be read any more, that is logged, and nobody new is found.
    ///
    /// # Errors
    /// Where there is no vault yet, it is damaged or of an earlier version, or the disk fails.
    pub fn follow(folder: &Path) -> Result<Self, VaultError> {
        let (mut slots, secret) = Slots::follow(folder)?;
        let mut people = People::default();
        slots.take_new(&secret, |more| more.iter().for_each(|person| people.put(person)))?;
        Ok(Self::of(slots, secret, people))
    }

    /// Whether another process writes it.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.inner.follows
    }

    /// Takes in whom another process has enrolled since, where one writes the vault.
    ///
    /// # Errors
    /// Where the file cannot be read, or another one is in its place.
    pub fn refresh(&self) -> Result<(), VaultError> {
        match self.inner.follows {
            true => self.catch_up(&mut self.slots()),
            false => Ok(()),
        }
    }

    /// Drops people's keys, and what leads to their ids, from this process's memory; the process
    /// that writes the vault destroys them where they lie.
    pub fn forget(&self, people: &[RecipientId]) {
        let mut known = self.people_mut();
        people.iter().for_each(|person| known.destroy(*person));
        known.unlink(&people.iter().copied().collect());
    }

    /// What is found of somebody. Where another process writes, and nothing is found, its news are
    /// read first; an erased person's id is found, and costs no such look.
    pub(super) fn look<T>(
        &self,
        find: impl Fn(&People) -> Option<T>,
    ) -> Result<Option<T>, VaultError> {
        let found = find(&self.people());
        if found.is_some() || !self.inner.follows {
            return Ok(found);
        }
        self.catch_up(&mut self.slots())?;
        // Another thread may have read them while this one waited.
        Ok(find(&self.people()))
    }

    /// As [`look`](Self::look), of somebody whom a record names and who has to be there.
    pub(super) fn look_closely<T>(
        &self,
        find: impl Fn(&People) -> Option<T>,
    ) -> Result<Option<T>, VaultError> {
        let found = self.look(&find)?;
        if found.is_some() || !self.inner.follows {
            return Ok(found);
        }
        self.slots().ask_anew()?;
        self.look(find)
    }

    /// Takes in whom another process has enrolled, where one does.
    pub(super) fn catch_up(&self, slots: &mut Slots) -> Result<(), VaultError> {
        let caught_up = slots.take_new(&self.inner.secret, |people| self.put(people));
        let astray = self.inner.astray.swap(caught_up.is_err(), Ordering::Relaxed);
        if let Err(error) = &caught_up
            && !astray
        {
            tracing::error!(%error, "nobody new is taken from the vault any more");
        }
        caught_up
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::PathBuf,
        sync::{Mutex, mpsc},
        thread,
    };

    use domain::{identification_means::MeansKind, person_code::PersonCode};

    use super::{
        super::{
            Purpose,
            slots::{EARLIER, NAME, SLOT},
        },
        *,
    };

    fn code(of: usize) -> PersonCode {
        PersonCode::parse(&format!("320000-{of:05}")).expect("a code")
    }

    fn enrol(vault: &Vault, of: usize) -> RecipientId {
        vault.enrol(&[code(of)]).expect("an id")[0]
    }

    /// A folder, the vault in it, and another process's look at it.
    fn followed() -> (tempfile::TempDir, Vault, Vault) {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let follower = Vault::follow(folder.path()).expect("followed");
        (folder, vault, follower)
    }

    fn copied(vault: &Vault) -> Vec<u8> {
        let mut copy = Vec::new();
        vault.copy(&mut copy).expect("copied");
        copy
    }

    /// Whether somebody of an id is found, for whom the bytes were sealed.
    type Way<'a> = &'a dyn Fn(&Vault, RecipientId, &[u8]) -> bool;

    #[test]
    fn whoever_is_enrolled_later_is_found_in_every_way() {
        let (folder, vault, follower) = followed();
        let token = vault.person_token(&code(1));
        let ways: [Way<'_>; 6] = [
            &|of, id, _| of.find(&code(1)) == Some(id),
            &|of, id, _| of.find_listed(token) == Some(id),
            &|of, id, _| !of.is_erased(id),
            &|of, id, sealed| of.unseal(id, sealed).is_ok_and(|plain| plain == b"attributes"),
            &|of, id, _| vault.unseal(id, &of.seal(id, b"new").expect("sealed")).is_ok(),
            &|of, id, _| enrol(of, 1) == id,
        ];
        let before = ways.map(|way| (way, Vault::follow(folder.path()).expect("followed")));
        assert!(before.iter().all(|(_, follower)| follower.find(&code(1)).is_none()));
        let id = enrol(&vault, 1);
        let sealed = vault.seal(id, b"attributes").expect("sealed");
        for (at, (way, of)) in before.iter().enumerate() {
            assert!(way(of, id, &sealed), "{at}");
        }
        assert_eq!(copied(&follower), copied(&vault));
        assert_eq!(follower.name(), vault.name());
        assert_eq!(follower.secret_for("a purpose"), vault.secret_for("a purpose"));
        let means = |of: &Vault| of.means_token(MeansKind::CardUid, "04A2");
        assert_eq!(means(&follower), means(&vault));
        [&vault, &follower].into_iter().for_each(|of| of.set_rotations(1));
        let pseudonyms = |of: &Vault| of.pseudonyms(Purpose::Recipient, 7).collect::<Vec<_>>();
        assert_eq!(pseudonyms(&follower), pseudonyms(&vault));
    }

    #[test]
    fn a_destroyed_key_does_not_come_back_and_costs_no_look() {
        let (folder, vault, follower) = followed();
        let ids = [1, 2, 3, 4].map(|of| enrol(&vault, of));
        let sealed = ids.map(|id| vault.seal(id, b"attributes").expect("sealed"));
        let opens = |of: usize| follower.unseal(ids[of], &sealed[of]);
        // Told of before the slot was read, and before the key is destroyed on the disk.
        follower.forget(&ids[..1]);
        // Destroyed before the slot was read.
        vault.destroy(&ids[1..2]).expect("destroyed");
        assert_eq!(opens(3).expect("plain"), b"attributes");
        assert_eq!(opens(2).expect("plain"), b"attributes");
        // In memory already.
        follower.forget(&ids[2..3]);
        // Nothing can be read any more, and nothing has to be.
        fs::remove_file(folder.path().join(NAME)).expect("removed");
        for (of, id) in ids[..3].iter().enumerate() {
            assert!(matches!(opens(of), Err(VaultError::NoKey)), "{of}");
            assert!(follower.is_erased(*id), "{of}");
        }
        // Nor is any found by the code, in whatever order slot and news came.
        assert_eq!([1, 2, 3].map(|of| follower.find(&code(of))), [None; 3]);
        assert_eq!(opens(3).expect("plain"), b"attributes");
    }

    #[test]
    fn whoever_comes_back_is_found_whether_the_erasure_was_told_of_before_or_after() {
        for told_before in [true, false] {
            let (folder, vault, follower) = followed();
            let first = enrol(&vault, 1);
            assert_eq!(follower.find(&code(1)), Some(first));
            vault.destroy(&[first]).expect("destroyed");
            // Nobody tells this one of an erasure that it finds half done.
            let amid = Vault::follow(folder.path()).expect("followed");
            assert_eq!((amid.find(&code(1)), vault.find(&code(1))), (None, Some(first)));
            vault.unlink(&[first]).expect("unlinked");
            let again = enrol(&vault, 1);
            if told_before {
                follower.forget(&[first]);
            } else {
                follower.refresh().expect("caught up");
                assert_eq!(follower.find(&code(1)), Some(again));
                follower.forget(&[first]);
            }
            assert_eq!(follower.find(&code(1)), Some(again), "{told_before}");
            assert!(follower.is_erased(first) && !follower.is_erased(again));
            assert_eq!(amid.find(&code(1)), Some(again), "{told_before}");
            assert!(amid.is_erased(first));
        }
    }

    #[test]
    fn wherever_writing_stands_those_told_of_are_there_and_no_other() {
        let (folder, vault, _) = followed();
        let path = folder.path().join(NAME);
        let before_ids = [1, 2, 3].map(|of| enrol(&vault, of));
        let before = fs::read(&path).expect("read");
        let after_ids = vault.enrol(&[code(4), code(5)]).expect("ids");
        let after = fs::read(&path).expect("read");
        let found = |of: &Vault| [1, 2, 3, 4, 5].map(|person| of.find(&code(person)));
        let told: Vec<_> = before_ids.into_iter().map(Some).chain([None, None]).collect();
        let all: Vec<_> = before_ids.into_iter().chain(after_ids).map(Some).collect();
        for cut in (before.len()..=after.len()).step_by(8) {
            for filled in [false, true] {
                fs::write(&path, &before).expect("written");
                let since = Vault::follow(folder.path()).expect("followed");
                // All that is behind those told of may be torn, and even when whole be taken back.
                let mut bytes = [&before[..], &after[before.len()..cut]].concat();
                if filled {
                    bytes.resize(after.len(), 0);
                }
                fs::write(&path, bytes).expect("written");
                let late = Vault::follow(folder.path()).expect("followed");
                let followers = [since, late];
                for follower in &followers {
                    assert_eq!(found(follower)[..], told[..], "{cut}");
                }
                fs::write(&path, &after).expect("written");
                for follower in &followers {
                    assert_eq!(found(follower)[..], all[..], "{cut}");
                }
            }
        }
    }

    #[test]
    fn every_id_that_is_told_is_found_while_others_are_enrolled() {
        let (_folder, vault, follower) = followed();
        let (tell, told) = mpsc::channel::<(usize, RecipientId, Vec<u8>, bool)>();
        let told = Mutex::new(told);
        let check = || {
            let next = || told.lock().expect("a lock").recv();
            while let Ok((of, id, bytes, erased)) = next() {
                if erased {
                    follower.forget(&[id]);
                    assert!(follower.is_erased(id), "{of}");
                    assert_eq!(follower.find(&code(of)), None, "{of}");
                } else {
                    assert_eq!(follower.unseal(id, &bytes).expect("plain"), b"attributes", "{of}");
                    assert_eq!(follower.find(&code(of)), Some(id), "{of}");
                }
                assert_eq!(follower.find(&code(90_000 + of)), None);
            }
        };
        thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(check)));
            for batch in 0..200 {
                let people: Vec<_> = (batch * 3..batch * 3 + 3).collect();
                let codes: Vec<_> = people.iter().map(|of| code(*of)).collect();
                for (of, id) in people.into_iter().zip(vault.enrol(&codes).expect("ids")) {
                    let bytes = vault.seal(id, b"attributes").expect("sealed");
                    let erased = of % 50 == 7;
                    if erased {
                        vault.destroy(&[id]).expect("destroyed");
                    }
                    tell.send((of, id, bytes, erased)).expect("heard");
                }
            }
            // Whoever checks is done then; a scope panics where one of its threads did.
            drop(tell);
        });
    }

    #[test]
    fn enrolling_and_erasing_are_refused() {
        let (_folder, vault, follower) = followed();
        let id = enrol(&vault, 1);
        assert_eq!(enrol(&follower, 1), id);
        let new = follower.enrol(&[code(1), code(2)]);
        assert!(matches!(new, Err(VaultError::ReadOnly)));
        assert!(matches!(follower.destroy(&[id]), Err(VaultError::ReadOnly)));
        assert!(matches!(follower.unlink(&[id]), Err(VaultError::ReadOnly)));
        assert!(!follower.is_erased(id) && !vault.is_erased(id));
        assert_eq!(vault.find(&code(2)), None);
    }

    #[test]
    fn nothing_is_written_by_whoever_follows() {
        let (folder, vault, _) = followed();
        let path = folder.path().join(NAME);
        let ids = [1, 2, 3].map(|of| enrol(&vault, of));
        let whole = fs::read(&path).expect("read");
        vault.destroy(&ids[..1]).expect("destroyed");
        drop(vault);
        // What whoever writes would mend: a key that lies there still, and a torn slot.
        let mut bytes = fs::read(&path).expect("read");
        let key = 2 * SLOT + 32..2 * SLOT + 64;
        bytes[key.clone()].copy_from_slice(&whole[key]);
        bytes.extend([1; SLOT + 9]);
        fs::write(&path, bytes).expect("written");
        let state = || -> BTreeSet<_> {
            let files = fs::read_dir(folder.path()).expect("a folder");
            let paths = files.map(|file| file.expect("a file").path());
            let state = |path: PathBuf| {
                let modified = fs::metadata(&path).and_then(|of| of.modified()).expect("a time");
                (fs::read(&path).expect("read"), path, modified)
            };
            paths.map(state).collect()
        };
        let before = state();
        let follower = Vault::follow(folder.path()).expect("followed");
        assert!(follower.is_erased(ids[0]) && !follower.is_erased(ids[1]));
        assert!(follower.enrol(&[code(9)]).is_err() && follower.destroy(&ids).is_err());
        follower.forget(&ids);
        assert_eq!(follower.find(&code(9)), None);
        copied(&follower);
        drop(follower);
        assert_eq!(state(), before);
    }

    #[test]
    fn where_there_is_none_or_a_damaged_one_that_is_said() {
        let (folder, vault, follower) = followed();
        let none = folder.path().join("none");
        assert!(matches!(Vault::follow(&none), Err(VaultError::Absent)));
        assert!(!none.exists());
        let path = folder.path().join(NAME);
        let ids = [1, 2].map(|of| enrol(&vault, of));
        let bytes = fs::read(&path).expect("read");
        for (at, slot) in [(0, 0), (40, 0), (2 * SLOT, 2), (3 * SLOT + SLOT - 1, 3)] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, bytes).expect("written");
            let damaged = Vault::follow(folder.path()).err();
            assert!(matches!(damaged, Some(VaultError::Broken { slot: of }) if of == slot), "{at}");
        }
        for (length, slot) in [(0, 0), (SLOT + 9, 1), (bytes.len() - 1, 3)] {
            fs::write(&path, &bytes[..length]).expect("written");
            let short = Vault::follow(folder.path()).err();
            assert!(
                matches!(short, Some(VaultError::Broken { slot: of }) if of == slot),
                "{length}"
            );
        }
        // Whoever is followed already is not found before the damage is mended.
        let missing = follower.seal(ids[1], b"attributes");
        assert!(matches!(missing, Err(VaultError::Broken { slot: 3 })));
        fs::write(&path, &bytes).expect("written");
        assert_eq!(follower.find(&code(2)), Some(ids[1]));
        fs::create_dir(folder.path().join(EARLIER)).expect("a folder");
        assert!(matches!(Vault::follow(folder.path()), Err(VaultError::Earlier)));
    }

    #[test]
    fn nobody_is_taken_from_a_file_in_the_place_of_the_one_followed() {
        let other = tempfile::tempdir().expect("a folder");
        let others = Vault::open(other.path()).expect("a vault");
        let stranger = [1, 2, 3].map(|of| enrol(&others, of))[2];
        let other = fs::read(other.path().join(NAME)).expect("read");
        let beside = |path: &Path| path.with_extension("beside");
        let replaces: [&dyn Fn(&Path); 4] = [
            &|path| fs::remove_file(path).expect("removed"),
            // As a restored one comes, whether its secret is the same or not.
            &|path| {
                fs::copy(path, beside(path)).expect("copied");
                fs::rename(beside(path), path).expect("renamed");
            },
            // Written over, by a longer and by a shorter one.
            &|path| fs::write(path, &other).expect("written"),
            &|path| fs::write(path, &other[..2 * SLOT]).expect("written"),
        ];
        for (at, replace) in replaces.iter().enumerate() {
            let (folder, vault, follower) = followed();
            let id = enrol(&vault, 1);
            assert_eq!(follower.find(&code(1)), Some(id));
            replace(&folder.path().join(NAME));
            for _ in 0..2 {
                let missing = follower.seal(stranger, b"attributes");
                let is_told = match at {
                    0 => matches!(missing, Err(VaultError::Store { .. })),
                    _ => matches!(missing, Err(VaultError::Replaced)),
                };
                assert!(is_told, "{at}");
                assert!(follower.refresh().is_err() && vault.refresh().is_ok(), "{at}");
                assert_eq!(follower.find(&code(3)), None);
                assert!(follower.is_erased(stranger));
                assert!(follower.inner.astray.load(Ordering::Relaxed), "it is logged");
            }
            assert_eq!(follower.find(&code(1)), Some(id));
            assert!(follower.seal(id, b"attributes").is_ok());
        }
    }

    #[test]
    fn a_restored_vault_is_followed_before_anybody_writes_it() {
        let (folder, vault, _) = followed();
        let ids = [1, 2].map(|of| enrol(&vault, of));
        let restored = folder.path().join("restored");
        let without = BTreeSet::from([ids[0]]);
        Vault::restore(&restored, &mut copied(&vault).as_slice(), &without).expect("restored");
        let follower = Vault::follow(&restored).expect("followed");
        assert_eq!([1, 2].map(|of| follower.find(&code(of))), [None, Some(ids[1])]);
        assert!(follower.is_erased(ids[0]) && !follower.is_erased(ids[1]));
        // One that an earlier version restored says of nobody that they were synced.
        let path = restored.join(NAME);
        let mut bytes = fs::read(&path).expect("read");
        bytes[SLOT..2 * SLOT].fill(0);
        fs::write(&path, bytes).expect("written");
        let follower = Vault::follow(&restored).expect("followed");
        assert_eq!(follower.find(&code(2)), None);
        let _vault = Vault::open(&restored).expect("a vault");
        assert_eq!(follower.find(&code(2)), Some(ids[1]));
    }
}
