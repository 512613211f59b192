//! What statements keep in memory: each within a limit of its own, and all of them together within one,
//! so that many at once end as an error of some and not as the end of the node.

use std::{fmt, num::NonZeroUsize, sync::Arc};

use datafusion::{
    common::Result,
    error::DataFusionError,
    execution::memory_pool::{
        GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation, TrackConsumersPool,
    },
};

/// How many of those who hold most an error names.
const NAMED: NonZeroUsize = NonZeroUsize::new(5).expect("five is not zero");

/// What all statements keep together.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    all: Arc<GreedyMemoryPool>,
    all_bytes: usize,
    /// What one of them may keep.
    one_bytes: usize,
}

impl Memory {
    pub(super) fn new(one_bytes: usize, all_bytes: usize) -> Self {
        Self { all: Arc::new(GreedyMemoryPool::new(all_bytes)), all_bytes, one_bytes }
    }

    /// The memory of one statement, or of one transaction's statements.
    pub(super) fn share(&self) -> Arc<dyn MemoryPool> {
        let own = GreedyMemoryPool::new(self.one_bytes);
        Arc::new(TrackConsumersPool::new(Share { own, of: self.clone() }, NAMED))
    }
}

/// One statement's part of what all keep.
#[derive(Debug)]
struct Share {
    own: GreedyMemoryPool,
    of: Memory,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.own, self.of.all)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &str {
        "share"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.of.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.of.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let who = reservation.consumer().name();
        self.own.try_grow(reservation, additional).map_err(|_| {
            exhausted(&format!(
                "a statement may keep {} MiB in memory, which {who} goes beyond",
                self.of.one_bytes >> 20
            ))
        })?;
        self.of.all.try_grow(reservation, additional).map_err(|_| {
            self.own.shrink(reservation, additional);
            exhausted(&format!(
                "all statements together may keep {} MiB in memory, which {who} goes beyond; \
                 ask again when others have ended",
                self.of.all_bytes >> 20
            ))
        })
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.of.one_bytes.min(self.of.all_bytes))
    }
}

fn exhausted(text: &str) -> DataFusionError {
    DataFusionError::ResourcesExhausted(text.to_owned())
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    const MIB: usize = 1 << 20;

    fn refused(reservation: &MemoryReservation, bytes: usize) -> String {
        let error = reservation.try_grow(bytes).expect_err("there is not so much");
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
        error.to_string()
    }

    #[test]
    fn the_limit_that_is_met_is_named() {
        let memory = Memory::new(4 * MIB, 6 * MIB);
        let (first, second) = (memory.share(), memory.share());
        let one = MemoryConsumer::new("one").register(&first);
        let two = MemoryConsumer::new("two").register(&second);
        one.try_grow(4 * MIB).expect("its own");
        assert!(refused(&one, 1).contains("a statement may keep 4 MiB"));
        two.try_grow(2 * MIB).expect("what is left");
        let told = refused(&two, MIB);
        assert!(told.contains("all statements together may keep 6 MiB"), "{told}");
        // What could not be had of all counts against nobody.
        assert_eq!((first.reserved(), second.reserved()), (4 * MIB, 2 * MIB));
        drop(one);
        two.try_grow(2 * MIB).expect("what the other gave back");
        assert!(refused(&two, 1).contains("a statement may keep"));
        drop(two);
        assert_eq!((second.reserved(), memory.all.reserved()), (0, 0));
    }

    #[test]
    fn what_has_to_be_had_counts_too() {
        let memory = Memory::new(MIB, MIB);
        let (first, second) = (memory.share(), memory.share());
        let one = MemoryConsumer::new("one").register(&first);
        one.grow(2 * MIB);
        let two = MemoryConsumer::new("two").register(&second);
        assert!(refused(&two, 1).contains("all statements together"));
        one.shrink(2 * MIB);
        two.try_grow(MIB).expect("all of it");
    }
}
