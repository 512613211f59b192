//! Where "now" comes from: the machine's clock when serving, the baskets' own instants in the demo,
//! virtual time in simulation.

use std::{
    pin::Pin,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};

/// A wait that ends by itself.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of the present instant.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The present instant.
    fn now(&self) -> DateTime<Utc>;

    /// Waits so long: by the machine's time, whatever instant the clock tells; in simulation by
    /// virtual time.
    fn sleep(&self, time: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(time))
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        // Microseconds are what records keep, so nothing is lost between memory and disk.
        let now = Utc::now();
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }
}

/// A clock that is moved by hand, forwards only.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `instant`.
    #[must_use]
    pub fn at(instant: DateTime<Utc>) -> Self {
        Self(AtomicI64::new(instant.timestamp_micros()))
    }

    /// Moves the clock to `instant`, unless it already stands later.
    pub fn advance_to(&self, instant: DateTime<Utc>) {
        self.0.fetch_max(instant.timestamp_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }
}
