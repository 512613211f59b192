//! How many requests of terminals are decided at once: as many as are answered soon.
//!
//! Where more come than the node can carry, all would wait ever longer. So whoever is let in is answered
//! in time; over HTTP the others hear at once to come again, and a gRPC stream is not read from meanwhile.
//! The bound follows what is seen: it falls while answers are late, and grows while they are not and
//! somebody is turned away (additive increase, multiplicative decrease, as congestion control in TCP).

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many are decided at once however late answers are: one sync carries them all.
const LEAST: usize = 128;
/// So many at the start: a burst that is over soon troubles nobody.
const BEGIN: usize = 1_024;
/// How often the bound is looked at.
const EVERY: Duration = Duration::from_millis(20);
/// An answer is late after so many times what one write takes, within these bounds: a disk that is slow
/// for a while makes everybody wait, not everybody but a few be turned away.
const WRITES: u32 = 3;
const SOONEST: Duration = Duration::from_millis(10);
const LATEST: Duration = Duration::from_secs(2);

/// Lets requests in.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    all: Room,
    /// Streams wait for room, so they must never hold all of it.
    streams: Room,
    late_after: AtomicU64,
    answered: AtomicU64,
    late: AtomicU64,
    turned_away: AtomicU64,
}

/// A request that was let in, until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    since: Instant,
    _place: Place,
    _of_streams: Option<Place>,
}

/// What was seen since the bound was last looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// How many are being decided now.
    inside: usize,
    answered: u64,
    late: u64,
    turned_away: u64,
    /// Whether requests wait for a processor before anybody sees them.
    is_lagging: bool,
}

impl Admission {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let most = most.max(1);
        let limit = most.min(BEGIN);
        let soonest = u64::try_from(SOONEST.as_micros()).unwrap_or(u64::MAX);
        Arc::new(Self {
            most,
            all: Room::new(limit),
            streams: Room::new(of_streams(limit)),
            late_after: AtomicU64::new(soonest),
            answered: AtomicU64::default(),
            late: AtomicU64::default(),
            turned_away: AtomicU64::default(),
        })
    }

    /// Lets a request in, if there is room.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Admitted> {
        match self.all.try_enter() {
            Some(place) => Some(self.admitted(place, None)),
            None => {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Lets a request of a stream in, as soon as there is room.
    pub(super) async fn wait(self: &Arc<Self>) -> Option<Admitted> {
        if self.streams.is_full() {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        let of_streams = self.streams.enter().await?;
        let place = self.all.enter().await?;
        Some(self.admitted(place, Some(of_streams)))
    }

    /// Whether nobody is let in now; who asks is counted as turned away then.
    pub(super) fn is_full(&self) -> bool {
        let is_full = self.all.is_full();
        self.turned_away.fetch_add(u64::from(is_full), Ordering::Relaxed);
        is_full
    }

    /// How many may be decided at once now.
    fn limit(&self) -> usize {
        self.all.0.limit.load(Ordering::Relaxed)
    }

    fn admitted(self: &Arc<Self>, place: Place, of_streams: Option<Place>) -> Admitted {
        let admission = Arc::clone(self);
        Admitted { admission, since: Instant::now(), _place: place, _of_streams: of_streams }
    }

    /// Looks at the bound, with what one write takes and by how much we were late ourselves.
    fn look(&self, write: Duration, lag: Duration) {
        let late_after = (write * WRITES).clamp(SOONEST, LATEST);
        let micros = u64::try_from(late_after.as_micros()).unwrap_or(u64::MAX);
        self.late_after.store(micros, Ordering::Relaxed);
        let seen = Seen {
            inside: self.all.inside(),
            answered: self.answered.swap(0, Ordering::Relaxed),
            late: self.late.swap(0, Ordering::Relaxed),
            turned_away: self.turned_away.swap(0, Ordering::Relaxed),
            is_lagging: lag > late_after,
        };
        let limit = next(self.limit(), self.most, seen);
        self.all.resize(limit);
        self.streams.resize(of_streams(limit));
    }

    /// Follows what is seen for as long as somebody lets requests in.
    pub(super) async fn follow(
        admission: Weak<Self>,
        write: impl Fn() -> Duration,
        tell: impl Fn(usize),
    ) {
        loop {
            let before = Instant::now();
            tokio::time::sleep(EVERY).await;
            let Some(admission) = admission.upgrade() else { return };
            admission.look(write(), before.elapsed().saturating_sub(EVERY));
            tell(admission.limit());
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let is_late = micros > self.admission.late_after.load(Ordering::Relaxed);
        self.admission.answered.fetch_add(1, Ordering::Relaxed);
        self.admission.late.fetch_add(u64::from(is_late), Ordering::Relaxed);
    }
}

const fn of_streams(limit: usize) -> usize {
    let most = limit - limit / 4;
    if most > 0 { most } else { 1 }
}

/// The bound after what was seen.
fn next(limit: usize, most: usize, seen: Seen) -> usize {
    // One in twenty may be late by chance.
    let is_late = seen.is_lagging || seen.late * 20 > seen.answered;
    if is_late && seen.inside > LEAST {
        // Those inside are too many, however many more might have come.
        let inside = limit.min(seen.inside);
        (inside - inside / 8).max(LEAST.min(most))
    } else if !is_late && seen.turned_away > 0 {
        (limit + limit / 16 + 1).min(most)
    } else {
        limit
    }
}

/// Places that can become fewer while they are taken.
#[derive(Debug)]
struct Room(Arc<Places>);

#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    limit: AtomicUsize,
    /// Places that go when whoever has them leaves.
    owed: AtomicUsize,
}

#[derive(Debug)]
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    of: Arc<Places>,
}

impl Room {
    fn new(limit: usize) -> Self {
        let free = Arc::new(Semaphore::new(limit));
        Self(Arc::new(Places { free, limit: limit.into(), owed: AtomicUsize::default() }))
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        Place { permit: Some(permit), of: Arc::clone(&self.0) }
    }

    fn try_enter(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        Some(self.place(permit))
    }

    async fn enter(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0.free).acquire_owned().await.ok()?;
        Some(self.place(permit))
    }

    fn is_full(&self) -> bool {
        self.0.free.available_permits() == 0
    }

    fn inside(&self) -> usize {
        let there = self.0.limit.load(Ordering::Relaxed) + self.0.owed.load(Ordering::Relaxed);
        there.saturating_sub(self.0.free.available_permits())
    }

    /// Called by one at a time.
    fn resize(&self, limit: usize) {
        let before = self.0.limit.swap(limit, Ordering::Relaxed);
        if limit < before {
            let less = before - limit;
            let gone = self.0.free.forget_permits(less);
            self.0.owed.fetch_add(less - gone, Ordering::Relaxed);
        }
        // What is still owed need not go, as far as there may be more again.
        let more = limit.saturating_sub(before);
        let back = (0..more).take_while(|_| self.0.pay()).count();
        self.0.free.add_permits(more - back);
    }
}

impl Places {
    /// Whether a place was owed, which is paid then.
    fn pay(&self) -> bool {
        let less = |owed: usize| owed.checked_sub(1);
        self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take().filter(|_| self.of.pay()) {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_shrinks_under_those_inside_and_grows_again() {
        let room = Room::new(4);
        let mut inside: Vec<_> = (0..4).map(|_| room.try_enter().expect("room")).collect();
        assert!(room.is_full() && room.try_enter().is_none());
        room.resize(2);
        assert_eq!(room.inside(), 4);
        inside.truncate(2);
        assert_eq!((room.inside(), room.is_full()), (2, true), "two places went with them");
        room.resize(1);
        room.resize(3);
        assert_eq!((room.inside(), room.is_full()), (2, false), "the one that was owed stays");
        inside.extend(room.try_enter());
        assert!(inside.len() == 3 && room.is_full());
        inside.clear();
        assert_eq!(room.inside(), 0);
        assert_eq!((0..9).map_while(|_| room.try_enter()).collect::<Vec<_>>().len(), 3);
    }

    #[test]
    fn streams_leave_room_for_others() {
        let admission = Admission::new(8);
        let held: Vec<_> = std::iter::from_fn(|| admission.streams.try_enter()).collect();
        assert_eq!(held.len(), 6);
        let inside: Vec<_> = std::iter::from_fn(|| admission.enter()).collect();
        assert_eq!(inside.len(), 8);
        assert!(admission.is_full());
        drop(inside);
        assert!(!admission.is_full());
    }

    /// A node that carries so many in a millisecond, asked for so many: the bound that is come to, what
    /// of the load is answered, and how long an answer then takes.
    fn settled(carries: u64, asked: u64, write: Duration) -> (usize, f64, Duration) {
        let (mut limit, most) = (BEGIN, 4_096);
        let late_after = (write * WRITES).clamp(SOONEST, LATEST);
        let mut took = Duration::ZERO;
        for _ in 0..2_000 {
            let inside = usize::try_from(asked * 20).expect("few").min(limit);
            // All inside share what the node carries, and each waits for one write at least.
            let waits = inside as f64 / carries as f64 / 1_000.0;
            took = write.max(Duration::from_secs_f64(waits));
            let answered = inside as u64 * 20 / took.as_millis().max(1) as u64;
            let late = if took > late_after { answered } else { 0 };
            let turned_away = u64::from(asked * 20 > answered);
            limit =
                next(limit, most, Seen { inside, answered, late, turned_away, is_lagging: false });
        }
        let rate = limit as f64 / took.as_secs_f64() / 1_000.0;
        (limit, rate.min(carries as f64), took)
    }

    #[test]
    fn twice_the_load_is_answered_in_time_at_the_full_rate() {
        let (limit, rate, took) = settled(30, 60, Duration::from_millis(2));
        assert!(took < SOONEST + SOONEST / 4, "{took:?}");
        assert!(limit > 200 && rate > 25.0, "{limit} {rate}");
        // A write of a second makes all wait, and turns few away.
        let (limit, ..) = settled(30, 5, Duration::from_secs(1));
        assert!(limit > BEGIN, "{limit}");
        // What answers late by itself still lets some in.
        assert_eq!(settled(1, 60, Duration::from_millis(2)).0, LEAST);
    }

    #[test]
    fn a_quiet_node_keeps_its_room() {
        let late = Seen { inside: 3, answered: 10, late: 9, is_lagging: true, turned_away: 0 };
        assert_eq!(next(BEGIN, 4_096, late), BEGIN);
        let late = Seen { inside: 400, ..late };
        assert_eq!(next(BEGIN, 4_096, late), 350);
        let full = Seen { inside: 200, answered: 100, turned_away: 1, ..Seen::default() };
        assert_eq!(next(4_096, 4_096, full), 4_096);
    }
}
