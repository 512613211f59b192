//! Where an index keeps its rows: sorted, in named parts, written by batches that enter whole.
//!
//! One contract, two places: [`fjall`](folder::Folder) in a folder, and [memory](model::Memory) for
//! simulation, which can fall back to an earlier batch as a machine that lost power does. The tests
//! below hold both to it.

use std::ops::Bound;

pub mod folder;
pub mod model;

/// A part of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What each key did.
    Keys,
    /// Where the records stand that changed an authorisation.
    Changes,
    /// Reservations that nothing has ended.
    Held,
    /// What is used of each limit.
    Counters,
    /// Balances of points.
    Points,
    /// Which authorisations are a recipient's.
    Recipients,
    /// What recipients used themselves of limits per household.
    Uses,
    /// Up to where the stream was read.
    Progress,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Keys,
        Self::Changes,
        Self::Held,
        Self::Counters,
        Self::Points,
        Self::Recipients,
        Self::Uses,
        Self::Progress,
    ];

    /// What it is called on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Changes => "changes",
            Self::Held => "held",
            Self::Counters => "counters",
            Self::Points => "points",
            Self::Recipients => "recipients",
            Self::Uses => "uses",
            Self::Progress => "progress",
        }
    }
}

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Rows in the order of their keys, from either end.
pub type Rows<'a> = Box<dyn DoubleEndedIterator<Item = Result<Row, fjall::Error>> + 'a>;

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The row has this value from now on.
    Put(Part, Vec<u8>, Vec<u8>),
    /// There is no such row any more.
    Remove(Part, Vec<u8>),
}

impl Write {
    /// Gives a row a value.
    pub fn put(part: Part, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put(part, key.into(), value.into())
    }

    /// Takes a row away.
    pub fn remove(part: Part, key: impl Into<Vec<u8>>) -> Self {
        Self::Remove(part, key.into())
    }
}

/// Sorted rows that are changed by whole batches.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// The value of a row; none where there is no such row.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn get(&self, part: Part, key: &[u8]) -> Result<Option<Vec<u8>>, fjall::Error>;

    /// The rows of which the key begins so.
    fn prefix(&self, part: Part, prefix: &[u8]) -> Rows<'_>;

    /// The rows between two keys.
    fn range(&self, part: Part, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Rows<'_>;

    /// Changes rows, all of them or none; no sync: a machine that loses power may lose the newest
    /// batches, but never one that is before another that it kept.
    ///
    /// # Errors
    /// Where it cannot be written; nothing has changed then.
    fn write(&self, batch: Vec<Write>) -> Result<(), fjall::Error>;
}

#[cfg(test)]
mod tests {
    use super::{folder::Folder, model::Memory, *};

    fn keys(rows: Rows<'_>) -> Vec<Vec<u8>> {
        rows.map(|row| row.expect("readable").0).collect()
    }

    fn holds(store: &dyn Store) {
        let put = |key: &str, value: &str| Write::put(Part::Keys, key, value);
        assert_eq!(store.get(Part::Keys, b"a").expect("readable"), None);
        store.write(vec![put("b", "1"), put("a", "2"), put("ab", "3")]).expect("written");
        store.write(vec![Write::put(Part::Held, "a", "held")]).expect("written");
        assert_eq!(store.get(Part::Keys, b"a").expect("readable"), Some(b"2".to_vec()));
        assert_eq!(store.get(Part::Held, b"a").expect("readable"), Some(b"held".to_vec()));
        assert_eq!(keys(store.prefix(Part::Keys, b"a")), [b"a".to_vec(), b"ab".to_vec()]);
        assert_eq!(keys(store.prefix(Part::Keys, b"")).len(), 3, "all of a part");
        let all = || store.range(Part::Keys, Bound::Excluded(b"a".to_vec()), Bound::Unbounded);
        assert_eq!(keys(all()), [b"ab".to_vec(), b"b".to_vec()]);
        assert_eq!(keys(Box::new(all().rev())), [b"b".to_vec(), b"ab".to_vec()]);
        store.write(vec![put("a", "5"), Write::remove(Part::Keys, "b")]).expect("written");
        assert_eq!(store.get(Part::Keys, b"a").expect("readable"), Some(b"5".to_vec()));
        assert_eq!(store.get(Part::Keys, b"b").expect("readable"), None);
        assert_eq!(keys(store.prefix(Part::Keys, &[0xff])), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn both_places_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        holds(&Folder::open(folder.path()).expect("opened"));
        holds(&Memory::default());
    }

    #[test]
    fn a_folder_whose_first_start_was_cut_off_is_started_again() {
        let folder = tempfile::tempdir().expect("a folder");
        for left in ["lock", "0.jnl", "version"] {
            std::fs::write(folder.path().join(left), []).expect("left");
            holds(&Folder::open(folder.path()).expect("opened"));
            std::fs::remove_dir_all(folder.path()).expect("removed");
            std::fs::create_dir(folder.path()).expect("made");
        }
    }

    #[test]
    fn a_folder_keeps_what_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Folder::open(folder.path()).expect("opened");
        open().write(vec![Write::put(Part::Points, "a", "1")]).expect("written");
        assert_eq!(open().get(Part::Points, b"a").expect("readable"), Some(b"1".to_vec()));
    }

    #[test]
    fn memory_falls_back_by_whole_batches() {
        let store = Memory::default();
        let put = |key: &str, value: &str| Write::put(Part::Keys, key, value);
        store.write(vec![put("a", "1"), put("b", "1")]).expect("written");
        store.write(vec![put("a", "2"), Write::remove(Part::Keys, "b")]).expect("written");
        store.write(vec![put("c", "3")]).expect("written");
        store.fall_back(2);
        let all: Vec<Row> = store.prefix(Part::Keys, b"").map(|row| row.expect("a row")).collect();
        let row = |key: &str| (key.as_bytes().to_vec(), b"1".to_vec());
        assert_eq!(all, [row("a"), row("b")]);
        store.fall_back(9);
        assert_eq!(keys(store.prefix(Part::Keys, b"")).len(), 0, "to the beginning at most");
    }
}
