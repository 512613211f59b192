//! Work on many things, spread over the cores.

use std::{num::NonZero, thread};

/// With fewer a thread costs more than it saves.
const LEAST_EACH: usize = 64;

/// What `each` makes of every item, in order.
pub fn map<T: Send, R: Send>(items: Vec<T>, each: impl Fn(T) -> R + Sync) -> Vec<R> {
    let share = share(items.len());
    shared(items, share, each)
}

/// How many of so many things each core has.
fn share(count: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    count.div_ceil(cores).max(LEAST_EACH)
}

fn shared<T: Send, R: Send>(items: Vec<T>, share: usize, each: impl Fn(T) -> R + Sync) -> Vec<R> {
    if items.len() <= share {
        return items.into_iter().map(each).collect();
    }
    let mut rest = items;
    let each = &each;
    thread::scope(|scope| {
        let mut working = Vec::new();
        while !rest.is_empty() {
            let later = rest.split_off(share.min(rest.len()));
            let some = std::mem::replace(&mut rest, later);
            working.push(scope.spawn(move || some.into_iter().map(each).collect::<Vec<_>>()));
        }
        let done = working.into_iter().flat_map(|working| match working.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.collect()
    })
}

/// What `each` makes of every part of the items, in order: one part for each core.
pub fn parts<T: Sync, R: Send>(items: &[T], each: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    shared(items.chunks(share(items.len())).collect(), 1, each)
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
