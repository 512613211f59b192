//! Work on many things, spread over the cores.

use std::{
    mem,
    num::NonZero,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// With fewer a thread costs more than it saves.
const LEAST_EACH: usize = 64;
/// As [`LEAST_EACH`], of what takes long.
const LEAST_HEAVY: usize = 2;
/// Parts for each core: whoever is done takes another, so that nobody waits long for one that had to
/// share its core.
const PARTS_EACH: usize = 4;

/// What `each` makes of every item, in order.
pub fn map<T: Send, R: Send>(items: Vec<T>, each: impl Fn(T) -> R + Sync) -> Vec<R> {
    let share = share(items.len());
    shared(items, share, each)
}

/// As [`map`], where each takes as long as a thread takes to begin.
pub fn heavy<T: Send, R: Send>(items: Vec<T>, each: impl Fn(T) -> R + Sync) -> Vec<R> {
    shared(items, LEAST_HEAVY, each)
}

/// What `each` makes of every part of the items, in order.
pub fn parts<T: Sync, R: Send>(items: &[T], each: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    shared(items.chunks(share(items.len())).collect(), 1, each)
}

/// Asked once: the answer is read from several files.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// How many of so many things are a part.
fn share(count: usize) -> usize {
    count.div_ceil(cores() * PARTS_EACH).max(LEAST_EACH)
}

/// A part, and what was made of it.
type Part<T, R> = Mutex<(Vec<T>, Vec<R>)>;

fn shared<T: Send, R: Send>(items: Vec<T>, share: usize, each: impl Fn(T) -> R + Sync) -> Vec<R> {
    let count = items.len();
    if count <= share {
        return items.into_iter().map(each).collect();
    }
    let mut rest = items.into_iter();
    let part = |_| Mutex::new((rest.by_ref().take(share).collect(), Vec::new()));
    let parts: Vec<Part<T, R>> = (0..count.div_ceil(share)).map(part).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.1 = mem::take(&mut part.0).into_iter().map(&each).collect();
        }
    };
    thread::scope(|scope| {
        for _ in 1..cores().min(parts.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut made = Vec::with_capacity(count);
    for part in parts {
        made.append(&mut part.into_inner().unwrap_or_else(PoisonError::into_inner).1);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back_in_order() {
        for count in [0, 1, LEAST_EACH, LEAST_EACH + 1, 1_000, 1_001] {
            let doubled = map((0..count).collect(), |number| number * 2);
            assert_eq!(doubled, (0..count).map(|number| number * 2).collect::<Vec<_>>());
            let items: Vec<_> = (0..count).collect();
            assert_eq!(parts(&items, <[usize]>::to_vec).concat(), items);
        }
    }
}
