//! Virtual time: it stands still while anything can be done, and then is the instant at which the
//! next sleeper wakes.
//!
//! The runtime tells when it has nothing left to do; that is when time passes. Nothing here waits by
//! the machine's clock, so a run takes as long as its work and is the same each time.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use ingest::clock::{Clock, Sleep};

/// Virtual time after which a run has come to nothing.
const MOST: Duration = Duration::from_secs(3_600);

/// Virtual time. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Time(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Duration,
    next: u64,
    /// Who sleeps until when, in the order in which they wake.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    /// Whoever waits for the whole run.
    root: Option<Waker>,
    stuck: bool,
}

impl Time {
    /// How long the run has lasted.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.state().now
    }

    /// Waits so long.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> Sleep {
        let until = self.now() + time;
        Box::pin(Sleeper { time: self.clone(), until, place: None })
    }

    /// Lets time pass until the next sleeper wakes. Where there is none the run is stuck.
    fn pass(&self) {
        let mut state = self.state();
        let next = state.sleepers.pop_first().filter(|((until, _), _)| *until < MOST);
        let waker = match next {
            Some(((until, _), waker)) => {
                state.now = state.now.max(until);
                Some(waker)
            }
            None => {
                state.stuck = true;
                state.root.take()
            }
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something to its end on one thread, in this time; none where it came to nothing.
    ///
    /// # Panics
    /// Where the machine gives no runtime.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let time = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            // A pipeline's commits may wait for an hour of the machine's time, which never comes.
            .enable_time()
            .on_thread_park(move || time.pass())
            .build()
            .expect("a runtime without I/O needs nothing of the machine");
        let work = runtime.spawn(work);
        let done = runtime.block_on(Root { time: self.clone(), work });
        // What still sleeps is dropped where its runtime is at hand.
        runtime.shutdown_background();
        done
    }
}

/// The whole run: done, or stuck.
struct Root<T> {
    time: Time,
    work: tokio::task::JoinHandle<T>,
}

impl<T> Future for Root<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(done) = Pin::new(&mut self.work).poll(context) {
            return Poll::Ready(done.ok());
        }
        let mut state = self.time.state();
        if state.stuck {
            return Poll::Ready(None);
        }
        state.root = Some(context.waker().clone());
        Poll::Pending
    }
}

struct Sleeper {
    time: Time,
    until: Duration,
    place: Option<u64>,
}

impl Future for Sleeper {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = self.time.clone();
        let mut state = time.state();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let place = *self.place.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let before = state.sleepers.insert((self.until, place), context.waker().clone());
        // A waker may be the last of its task, which may hold sleepers of its own.
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.time.state().sleepers.remove(&(self.until, place));
            drop(waker);
        }
    }
}

/// The node's clock: virtual time from some instant on, and by how much it was set since.
#[derive(Debug)]
pub struct SimulatedClock {
    time: Time,
    begins: DateTime<Utc>,
    /// In microseconds.
    set: Mutex<i64>,
}

impl SimulatedClock {
    /// A clock that shows an instant when the run begins.
    #[must_use]
    pub fn at(time: Time, begins: DateTime<Utc>) -> Self {
        Self { time, begins, set: Mutex::new(0) }
    }

    /// Sets it forwards or back.
    pub fn jump(&self, by: TimeDelta) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        *set += by.num_microseconds().unwrap_or(0);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        let passed = i64::try_from(self.time.now().as_micros()).unwrap_or(i64::MAX);
        let set = *self.set.lock().unwrap_or_else(PoisonError::into_inner);
        self.begins + TimeDelta::microseconds(passed.saturating_add(set))
    }

    fn sleep(&self, time: Duration) -> Sleep {
        self.time.sleep(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_wake_in_order_and_at_once() {
        let (time, begun) = (Time::default(), std::time::Instant::now());
        let inner = time.clone();
        let woken = time.run(async move {
            let sleeper = |millis: u64| {
                let time = inner.clone();
                tokio::spawn(async move {
                    time.sleep(Duration::from_millis(millis)).await;
                    time.now().as_millis()
                })
            };
            let (late, early) = (sleeper(900_000), sleeper(20));
            (late.await.expect("woken"), early.await.expect("woken"), inner.now().as_millis())
        });
        assert_eq!(woken, Some((900_000, 20, 900_000)));
        assert!(begun.elapsed() < Duration::from_secs(60), "a quarter of an hour is a moment");
    }

    #[test]
    fn what_waits_for_nobody_comes_to_nothing() {
        assert_eq!(Time::default().run(std::future::pending::<()>()), None);
    }

    #[test]
    fn a_clock_is_set_both_ways() {
        let begins = DateTime::UNIX_EPOCH;
        let clock = SimulatedClock::at(Time::default(), begins);
        clock.jump(TimeDelta::hours(3));
        clock.jump(TimeDelta::hours(-1));
        assert_eq!(clock.now(), begins + TimeDelta::hours(2));
    }
}
