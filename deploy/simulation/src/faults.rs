//! What goes wrong in a run, how often, and the bugs that can be planted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{random::Dice, time::Time};

/// A bug that is put in on purpose: a simulation that does not find it proves nothing.
///
/// Each is made by what stands around our code, in this package alone, so that no build of the
/// platform has any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Planted {
    /// The log answers an append before the batch is on disk.
    AcknowledgeBeforeAppend,
    /// A table's rows are committed first, and the offsets that they were read up to after them.
    CommitOffsetsApart,
    /// A decision does not see what others of the same moment have reserved.
    ClipIgnoresReservation,
    /// What a refund gives back to a limit is given back twice.
    RefundGivenBackTwice,
    /// A limit per day counts days of UTC.
    PeriodByUtc,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AcknowledgeBeforeAppend,
        Self::CommitOffsetsApart,
        Self::ClipIgnoresReservation,
        Self::RefundGivenBackTwice,
        Self::PeriodByUtc,
    ];
}

/// Whether a process still lives. What it left running does nothing more once it does not.
#[derive(Clone, Debug)]
pub struct Life(Arc<AtomicBool>);

impl Default for Life {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Life {
    /// Ends it at once, as a power cut does.
    pub fn end(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The machine around the code: how slow it is just now, and whether anything fails any more.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Virtual time.
    pub time: Time,
    /// Chance.
    pub dice: Dice,
    /// Until when the disk is slow, in microseconds of virtual time.
    slow_until: Arc<AtomicU64>,
    /// Until when the cache cannot be reached, likewise.
    cut_until: Arc<AtomicU64>,
    /// Whether faults still happen; at the end of a run everything is given time to settle.
    rough: Life,
}

impl Machine {
    /// A machine in this time, with these dice.
    #[must_use]
    pub fn new(time: Time, dice: Dice) -> Self {
        let (slow_until, cut_until) = (Arc::default(), Arc::default());
        Self { time, dice, slow_until, cut_until, rough: Life::default() }
    }

    /// From now on nothing fails.
    pub fn calm(&self) {
        self.rough.end();
    }

    /// Whether what fails once in `times` fails now.
    #[must_use]
    pub fn fails_once_in(&self, times: u64) -> bool {
        self.rough.lasts() && self.dice.once_in(times)
    }

    /// The disk is slow for so long.
    pub fn slow_down(&self, time: Duration) {
        self.slow_until.store(micros(self.time.now() + time), Ordering::SeqCst);
    }

    /// The cache cannot be reached for so long.
    pub fn cut_off(&self, time: Duration) {
        self.cut_until.store(micros(self.time.now() + time), Ordering::SeqCst);
    }

    /// Whether the cache cannot be reached now.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.rough.lasts() && micros(self.time.now()) < self.cut_until.load(Ordering::SeqCst)
    }

    /// How long one write takes.
    #[must_use]
    pub fn write_time(&self) -> Duration {
        let slow = micros(self.time.now()) < self.slow_until.load(Ordering::SeqCst);
        if slow && self.rough.lasts() { self.dice.millis(150, 900) } else { self.dice.millis(0, 6) }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
