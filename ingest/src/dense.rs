//! A record under each random 128-bit id, found with one access to memory.
//!
//! Millions of records do not fit in a processor's caches, so what a look-up costs is the number of
//! places it touches: here records stand in the table itself, in the order of their ids' hashes.
//! That order keeps a search short in a table that is nearly full, and lets it grow by a quarter
//! where an ordinary map would double. There are many small tables rather than one, so that growing
//! holds nobody up for long.

/// Sixteen bytes of an id. A `u128` is aligned to sixteen and would pad what stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packed([u8; 16]);

impl Packed {
    pub(crate) const fn new(number: u128) -> Self {
        Self(number.to_ne_bytes())
    }

    pub(crate) const fn number(self) -> u128 {
        u128::from_ne_bytes(self.0)
    }

    /// Ids are random or keyed hashes, so nobody can choose many that meet; folding them spreads
    /// the small numbers of tests as well.
    const fn hash(self) -> u64 {
        let folded = (self.number() >> 64) as u64 ^ self.number() as u64;
        let spread = folded as u128 * 0x9E37_79B9_7F4A_7C15;
        (spread >> 64) as u64 ^ spread as u64
    }
}

/// How many tables there are: one of a nation's means holds some megabyte.
pub(crate) const TABLES: usize = 256;

/// One record under each id; ids are never forgotten.
#[derive(Debug)]
pub(crate) struct Dense<V> {
    tables: Vec<Table<V>>,
}

impl<V> Default for Dense<V> {
    fn default() -> Self {
        Self { tables: (0..TABLES).map(|_| Table::default()).collect() }
    }
}

impl<V> Dense<V> {
    pub(crate) fn get(&self, id: u128) -> Option<&V> {
        let id = Packed::new(id);
        let table = &self.tables[Self::table(id)];
        let slot = table.find(id).ok()?;
        table.slots[slot].as_ref().map(|(_, record)| record)
    }

    /// Puts the record under an id that follows from the one that stands there, if one does.
    pub(crate) fn update(&mut self, id: u128, record: impl FnOnce(Option<V>) -> V) {
        let id = Packed::new(id);
        let table = &mut self.tables[Self::table(id)];
        match table.find(id) {
            Ok(slot) => {
                let before = table.slots[slot].take().map(|(_, record)| record);
                table.slots[slot] = Some((id, record(before)));
            }
            Err(_) => table.insert(id, record(None)),
        }
    }

    /// The records of one of [`TABLES`] tables.
    pub(crate) fn table_of(&self, table: usize) -> impl Iterator<Item = (u128, &V)> {
        let slots = self.tables.get(table).map(|table| table.slots.as_slice());
        let held = slots.unwrap_or_default().iter().flatten();
        held.map(|(id, record)| (id.number(), record))
    }

    /// All records, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, &V)> {
        (0..TABLES).flat_map(|table| self.table_of(table))
    }

    pub(crate) fn len(&self) -> usize {
        self.tables.iter().map(|table| table.held).sum()
    }

    /// Bytes held, without what records point to.
    pub(crate) fn memory(&self) -> usize {
        let slots: usize = self.tables.iter().map(|table| table.slots.capacity()).sum();
        slots * size_of::<Option<(Packed, V)>>() + TABLES * size_of::<Table<V>>()
    }

    /// The table of an id.
    pub(crate) const fn table_with(id: u128) -> usize {
        Self::table(Packed::new(id))
    }

    const fn table(id: Packed) -> usize {
        id.hash() as usize % TABLES
    }
}

/// Records in the order of their hashes. Each stands in the slot that its hash names, or after it
/// without a gap between.
#[derive(Debug)]
struct Table<V> {
    slots: Vec<Option<(Packed, V)>>,
    /// The slots that hashes name; the last records may stand behind them.
    named: usize,
    held: usize,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { slots: Vec::new(), named: 0, held: 0 }
    }
}

impl<V> Table<V> {
    /// Where the record is, or where it would have to be.
    fn find(&self, id: Packed) -> Result<usize, usize> {
        let hash = id.hash();
        let mut slot = self.first(hash);
        while let Some(Some((other, _))) = self.slots.get(slot) {
            if *other == id {
                return Ok(slot);
            }
            if other.hash() > hash {
                break;
            }
            slot += 1;
        }
        Err(slot)
    }

    /// Adds a record that is not there.
    fn insert(&mut self, id: Packed, record: V) {
        if self.held * 8 >= self.named * 7 {
            self.grow();
        }
        let (Ok(slot) | Err(slot)) = self.find(id);
        let gap = self.slots[slot..].iter().position(Option::is_none);
        let gap = gap.map_or(self.slots.len(), |further| slot + further);
        if gap == self.slots.len() {
            self.slots.reserve_exact(1 + self.named / 256);
            self.slots.push(None);
        }
        self.slots[slot..=gap].rotate_right(1);
        self.slots[slot] = Some((id, record));
        self.held += 1;
    }

    fn grow(&mut self) {
        self.named += (self.named / 4).max(8);
        let mut slots = Vec::with_capacity(self.named + self.named / 64);
        for (id, record) in std::mem::take(&mut self.slots).into_iter().flatten() {
            let first = self.first(id.hash());
            slots.resize_with(slots.len().max(first), || None);
            slots.push(Some((id, record)));
        }
        slots.resize_with(slots.len().max(self.named), || None);
        self.slots = slots;
    }

    /// The slot that a hash names.
    const fn first(&self, hash: u64) -> usize {
        ((hash as u128 * self.named as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_found_again_and_nothing_else() {
        for of in [
            |n: u64| u128::from(n),
            |n: u64| u128::from(n) << 64,
            |n: u64| u128::from(n).wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645),
        ] {
            let mut dense = Dense::default();
            for n in (0..20_000).step_by(2) {
                dense.update(of(n), |before| before.map_or(n, |_| 0));
            }
            for n in (0..20_000).step_by(4) {
                dense.update(of(n), |before| before.map_or(0, |before| before + 1));
            }
            assert_eq!(dense.len(), 10_000);
            for n in 0..20_000 {
                let expected = [Some(n + 1), None, Some(n), None][n as usize % 4];
                assert_eq!(dense.get(of(n)).copied(), expected, "{n}");
            }
        }
    }

    #[test]
    fn ids_of_one_hash_stand_beside_each_other() {
        let mut dense = Dense::default();
        let id = |n: u64| u128::from(n) << 64 | u128::from(n);
        (0..1_000).for_each(|n| dense.update(id(n), |_| n));
        assert!((0..1_000).all(|n| dense.get(id(n)) == Some(&n)));
        assert_eq!(dense.get(id(1_000)), None);
    }
}
