//! Who is told of each change of the tails, in the order in which they happen.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use arrow::array::RecordBatch;
use tokio::sync::Notify;

use super::{
    Tails,
    change::{Appended, Change, What},
    locked,
};

/// What changes take in memory that wait for a watcher; one that is further behind is told of none
/// any more. What there is when it begins is in memory anyway, and does not count.
const MOST_BYTES: usize = 128 << 20;
/// What a change takes beside its rows.
const EACH_BYTES: usize = 1 << 10;

/// Where changes are told. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Watcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most_bytes: usize,
    queue: Mutex<Queue>,
    grown: Notify,
}

/// What waits to be told.
#[derive(Debug, Default)]
struct Queue {
    changes: VecDeque<Change>,
    bytes: usize,
    /// Whether nobody is told any more: the watcher is gone, or too far behind.
    is_over: bool,
}

impl Queue {
    /// Lets go of all that waits, at once.
    fn end(&mut self) {
        *self = Self { is_over: true, ..Self::default() };
    }
}

/// What a change counts for.
fn bytes_of(change: &Change) -> usize {
    let rows: &[RecordBatch] = match &change.what {
        What::Rows(appended) => &appended.rows[..],
        What::Began { .. } | What::Moved { .. } => &[],
    };
    EACH_BYTES + rows.iter().map(RecordBatch::get_array_memory_size).sum::<usize>()
}

impl Watcher {
    fn new(most_bytes: usize) -> Self {
        let (queue, grown) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { most_bytes, queue, grown }))
    }

    /// Tells a change; whether more are to be told. Nobody waits for a watcher.
    pub(super) fn tell(&self, change: impl FnOnce() -> Change) -> bool {
        let mut queue = locked(&self.0.queue);
        if queue.is_over {
            return false;
        }
        let change = change();
        queue.bytes += bytes_of(&change);
        queue.changes.push_back(change);
        if queue.bytes > self.0.most_bytes {
            queue.end();
        }
        self.0.grown.notify_one();
        !queue.is_over
    }

    fn is_over(&self) -> bool {
        locked(&self.0.queue).is_over
    }
}

/// Every change from now on, after what there is.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Shared>);

impl Watch {
    /// The next change; none where the watcher is too far behind to be told of all.
    pub(crate) async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(next) = self.waiting() {
                return next;
            }
            self.0.grown.notified().await;
        }
    }

    /// What waits, or that no more comes; nothing where nothing waits yet.
    fn waiting(&self) -> Option<Option<Change>> {
        let mut queue = locked(&self.0.queue);
        let Some(change) = queue.changes.pop_front() else {
            return queue.is_over.then_some(None);
        };
        queue.bytes = queue.bytes.saturating_sub(bytes_of(&change));
        Some(Some(change))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        locked(&self.0.queue).end();
    }
}

impl Tails {
    /// Tells of what the tails hold now, and of every change after.
    pub(crate) fn watch(&self) -> Watch {
        let watcher = Watcher::new(MOST_BYTES);
        let watch = Watch(Arc::clone(&watcher.0));
        let mut all = locked(&self.all);
        for tail in all.tails.values() {
            let mut state = locked(&tail.state);
            let (table, version) = (tail.table, state.version);
            let rows = state.rows.iter().map(|kept| kept.batch.clone()).collect();
            let appended = Appended { rows, positions: state.positions.clone() };
            let landed = state.landed.clone();
            watcher.tell(|| Change { table, what: What::Began { version, landed, appended } });
            // A table that hardly changes would keep all that ever were.
            state.watchers.retain(|known| !known.is_over());
            state.watchers.push(watcher.clone());
        }
        all.watchers.retain(|known| !known.is_over());
        all.watchers.push(watcher);
        watch
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;
    use crate::schema;

    fn change(rows: usize) -> Change {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0; rows]));
        let rows = vec![RecordBatch::try_from_iter([("number", numbers)]).expect("rows")];
        let appended = Appended { rows, ..Appended::default() };
        Change { table: schema::table("means").expect("a table"), what: What::Rows(appended) }
    }

    #[tokio::test]
    async fn who_is_too_far_behind_keeps_nothing_and_hears_no_more() {
        let watcher = Watcher::new(100_000);
        let mut watch = Watch(Arc::clone(&watcher.0));
        for _ in 0..100 {
            assert!(watcher.tell(|| change(1_000)));
            assert!(watch.next().await.is_some());
        }
        assert_eq!(locked(&watcher.0.queue).bytes, 0);
        let told = (0..100).take_while(|_| watcher.tell(|| change(1_000))).count();
        assert!((5..=12).contains(&told), "{told}");
        assert!(locked(&watcher.0.queue).changes.is_empty());
        assert!(watch.next().await.is_none());
        assert!(!watcher.tell(|| change(1)));
    }

    #[test]
    fn nobody_keeps_who_is_gone() {
        let tails = Tails::default();
        let tail = tails.of(schema::table("means").expect("a table"));
        (0..10).for_each(|_| drop(tails.watch()));
        let _watch = tails.watch();
        assert_eq!(locked(&tail.state).watchers.len(), 1);
        assert_eq!(locked(&tails.all).watchers.len(), 1);
    }
}
