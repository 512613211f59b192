//! A slot is whole, of nobody, or mended, wherever a crash came; and what was written over is gone.

use std::os::unix::fs::PermissionsExt;

use super::{super::people::Key, *};

fn person(of: u8) -> Enrolled {
    let (token, id) = (PersonToken::from_u128(of.into()), RecipientId::from_u128(of.into()));
    Enrolled { token, id, key: Some([of; SECRET]) }
}

fn open(folder: &Path) -> Result<(Slots, People), VaultError> {
    let (slots, secret, people) = Slots::open(folder, || Ok([7; SECRET]))?;
    assert_eq!(secret, [7; SECRET]);
    Ok((slots, people))
}

/// A vault of the first three people, and the file's bytes.
fn three(folder: &Path) -> Vec<u8> {
    let (mut slots, _) = open(folder).expect("opened");
    slots.append(&[person(1), person(2), person(3)]).expect("enrolled");
    std::fs::read(folder.join(NAME)).expect("read")
}

fn keys(people: &People) -> Vec<Option<[u8; SECRET]>> {
    (1..=5).map(|of| people.key(person(of).id).and_then(Key::bytes).copied()).collect()
}

fn holds(bytes: &[u8], of: u8) -> bool {
    bytes.windows(4).any(|four| four == [of; 4])
}

#[test]
fn a_file_that_is_whole_is_not_written_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = three(folder.path());
    let file = File::options().write(true).open(folder.path().join(NAME)).expect("opened");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
    file.set_modified(long_ago).expect("set");
    open(folder.path()).expect("opened");
    assert_eq!(file.metadata().and_then(|now| now.modified()).expect("read"), long_ago);
    assert_eq!(std::fs::read(folder.path().join(NAME)).expect("read"), before);
    file.set_len(before.len() as u64 + 1).expect("longer");
    open(folder.path()).expect("opened");
    assert_eq!(std::fs::read(folder.path().join(NAME)).expect("read"), before, "mended");
}

#[test]
fn wherever_writing_is_cut_off_those_told_of_are_there_and_others_can_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(NAME);
    let before = three(folder.path());
    let (mut slots, _) = open(folder.path()).expect("opened");
    slots.append(&[person(4), person(5)]).expect("enrolled");
    drop(slots);
    let mut after = std::fs::read(&path).expect("read");
    std::fs::write(&path, &after[..before.len()]).expect("written");
    assert!(matches!(open(folder.path()), Err(VaultError::Broken { slot: 5 })), "it was told");
    after[..before.len()].copy_from_slice(&before);
    for cut in (before.len()..=after.len()).step_by(8) {
        // What is not written yet may be missing, or there and empty.
        for filled in [false, true] {
            let mut bytes = after[..cut].to_vec();
            if filled {
                bytes.resize(after.len(), 0);
            }
            std::fs::write(&path, bytes).expect("written");
            let there = (cut - before.len()) / SLOT;
            let expected = |of: usize| (of <= 3 + there).then_some([of as u8; SECRET]);
            let expected: Vec<_> = (1..=5).map(expected).collect();
            let (mut slots, people) = open(folder.path()).expect("opened");
            assert_eq!(keys(&people), expected, "{cut}");
            slots.append(&[person(6)]).expect("enrolled");
            drop(slots);
            let (_, people) = open(folder.path()).expect("opened");
            assert_eq!(keys(&people), expected, "{cut}");
            assert_eq!(people.id(person(6).token), Some(person(6).id));
        }
    }
}

#[test]
fn a_destroyed_key_is_on_no_disk_and_stays_destroyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(NAME);
    let mut marked = three(folder.path());
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (slots, _) = open(folder.path()).expect("opened");
    let second = HashSet::from([person(2).id]);
    slots.destroy(&second).expect("destroyed");
    drop(slots);
    let destroyed = std::fs::read(&path).expect("read");
    assert!(!holds(&destroyed, 2));
    // Cut off once the person was marked: the key goes at the next start, or when asked again.
    let at = place(3) as usize;
    marked[at + SEAL.start..at + SLOT].copy_from_slice(&destroyed[at + SEAL.start..at + SLOT]);
    for bytes in [&destroyed, &marked] {
        std::fs::write(&path, bytes).expect("written");
        let (_, people) = open(folder.path()).expect("opened");
        assert_eq!(keys(&people), [Some([1; SECRET]), None, Some([3; SECRET]), None, None]);
        assert_eq!(people.id(person(2).token), Some(person(2).id));
        assert!(!holds(&std::fs::read(&path).expect("read"), 2));
    }
    let (slots, _) = open(folder.path()).expect("opened");
    std::fs::write(&path, &marked).expect("written");
    slots.destroy(&second).expect("destroyed");
    assert!(!holds(&std::fs::read(&path).expect("read"), 2));
}

#[test]
fn wherever_unlinking_is_cut_off_no_code_leads_to_the_id_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(NAME);
    // An id that is not the same bytes as the code's hash, so that the two can be told apart.
    let other =
        |of: u8| Enrolled { id: RecipientId::from_u128(u128::from(of) << 64), ..person(of) };
    let token = |of: u8| u128::from_be_bytes([of; 16]);
    let somebody = |of: u8| Enrolled { token: PersonToken::from_u128(token(of)), ..other(of) };
    let (mut slots, _) = open(folder.path()).expect("opened");
    slots.append(&[somebody(1), somebody(2), somebody(3)]).expect("enrolled");
    let linked = std::fs::read(&path).expect("read");
    let second = HashSet::from([somebody(2).id]);
    slots.destroy(&second).expect("destroyed");
    let destroyed = std::fs::read(&path).expect("read");
    assert!(holds(&destroyed, 2), "a code still leads to the id");
    slots.unlink(&second).expect("unlinked");
    drop(slots);
    let unlinked = std::fs::read(&path).expect("read");
    let at = place(3) as usize;
    // Sealed, and whatever was written over up to somewhere, with the key there or not.
    for before in [&linked, &destroyed] {
        for written in (0..=SEAL.start).step_by(8) {
            let mut bytes = before.clone();
            bytes[at..at + written].copy_from_slice(&unlinked[at..at + written]);
            let seal = at + SEAL.start..at + SLOT;
            bytes[seal.clone()].copy_from_slice(&unlinked[seal]);
            std::fs::write(&path, bytes).expect("written");
            let (mut slots, people) = open(folder.path()).expect("opened");
            assert_eq!(std::fs::read(&path).expect("read"), unlinked, "{written}");
            assert_eq!(people.id(somebody(2).token), None);
            assert!(people.key(somebody(2).id).is_some_and(|key| key.bytes().is_none()));
            assert_eq!(people.id(somebody(3).token), Some(somebody(3).id));
            // Whoever comes back is somebody else.
            let again = Enrolled { id: other(9).id, ..somebody(2) };
            slots.append(&[again]).expect("enrolled");
            drop(slots);
            let (_, people) = open(folder.path()).expect("opened");
            assert_eq!(people.id(again.token), Some(again.id));
            assert!(people.key(somebody(2).id).is_some_and(|key| key.bytes().is_none()));
        }
    }
}

#[test]
fn no_bit_of_a_slot_changes_unseen() {
    let (destroyed, unlinked) = (person(2).without_key().slot(), person(2).unlinked().slot());
    for slot in [person(1).slot(), destroyed, unlinked, void()] {
        assert!(!matches!(held(&slot), Held::Torn));
        for bit in 0..SLOT * 8 {
            let mut changed = slot;
            changed[bit / 8] ^= 1 << (bit % 8);
            match held(&changed) {
                Held::Torn => {}
                // What lies there is destroyed again.
                Held::Leaving(_) => {
                    let gone = KEY.contains(&(bit / 8)) && (slot == destroyed || slot == unlinked)
                        || bit / 8 < 16 && slot == unlinked;
                    assert!(gone, "bit {bit}");
                }
                _ => panic!("bit {bit}"),
            }
        }
    }
}

#[test]
fn damage_is_told_and_so_is_a_folder_of_before_or_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(NAME);
    let bytes = three(folder.path());
    for (at, slot) in [(0, 0), (40, 0), (2 * SLOT, 2), (4 * SLOT + STATE, 4)] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&path, bytes).expect("written");
        let damaged = open(folder.path()).err();
        assert!(matches!(damaged, Some(VaultError::Broken { slot: of }) if of == slot), "{at}");
    }
    std::fs::write(&path, bytes).expect("written");
    let opened = open(folder.path()).expect("opened");
    assert!(open(folder.path()).err().is_some_and(|error| error.is_in_use()));
    drop(opened);
    std::fs::create_dir(folder.path().join(EARLIER)).expect("a folder");
    assert!(matches!(open(folder.path()), Err(VaultError::Earlier)));
}
