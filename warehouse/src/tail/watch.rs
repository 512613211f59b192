//! Who is told of each change of the tails, in the order in which they happen.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc;

use super::{
    Tails,
    change::{Appended, Change, What},
    locked,
};

/// Changes that wait for a watcher; one that is further behind is told of none any more.
const AHEAD: usize = 4_096;

/// Where changes are told. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    changes: mpsc::Sender<Change>,
    is_lost: Arc<AtomicBool>,
}

impl Watcher {
    /// Tells a change; whether more are to be told. Nobody waits for a watcher.
    pub(super) fn tell(&self, change: impl FnOnce() -> Change) -> bool {
        if self.is_lost.load(Ordering::Acquire) {
            return false;
        }
        let told = self.changes.try_send(change()).is_ok();
        if !told {
            self.is_lost.store(true, Ordering::Release);
        }
        told
    }
}

/// Every change from now on, after what there is.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: mpsc::Receiver<Change>,
    is_lost: Arc<AtomicBool>,
}

impl Watch {
    /// The next change; none where the watcher is too far behind to be told of all, or nothing can
    /// change any more.
    pub(crate) async fn next(&mut self) -> Option<Change> {
        let next = self.changes.recv().await;
        next.filter(|_| !self.is_lost.load(Ordering::Acquire))
    }
}

impl Tails {
    /// Tells of what the tails hold now, and of every change after.
    pub(crate) fn watch(&self) -> Watch {
        let (changes, receiver) = mpsc::channel(AHEAD);
        let is_lost = Arc::<AtomicBool>::default();
        let watcher = Watcher { changes, is_lost: Arc::clone(&is_lost) };
        let mut all = locked(&self.all);
        for tail in all.tails.values() {
            let mut state = locked(&tail.state);
            let (table, version) = (tail.table, state.version);
            let (rows, positions) = (state.rows.clone(), state.positions.clone());
            let appended = Appended { rows, positions };
            watcher.tell(|| Change { table, what: What::Began { version, appended } });
            state.watchers.push(watcher.clone());
        }
        all.watchers.retain(|known| !known.is_lost.load(Ordering::Acquire));
        all.watchers.push(watcher);
        Watch { changes: receiver, is_lost }
    }
}
