//! Every parser that reads what comes from outside, on inputs made of kept ones.

pub mod change;
pub mod kept;
#[path = "../../avis/config/layers.rs"]
mod layers;
pub mod parsers;

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use parsers::Parser;

/// Inputs between two looks at the clock.
const AT_ONCE: u32 = 256;
/// How long one input may take: far beyond what a busy machine adds.
const LONGEST: Duration = Duration::from_secs(5);

/// After how long a parser never ends.
const NEVER: Duration = Duration::from_secs(60);

/// An input that a parser does not stand, as small as it was found.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The input.
    pub input: Vec<u8>,
    /// What is wrong.
    pub reason: String,
}

/// Looks whether a parser stands an input. Whether it took it.
///
/// # Errors
/// What is wrong. A panic is not caught here.
pub fn look(parser: &Parser, input: &[u8]) -> Result<bool, String> {
    let started = Instant::now();
    let taken = (parser.read)(input)?;
    match started.elapsed() {
        took if took > LONGEST => Err(format!("it takes {took:?}")),
        _ => Ok(taken),
    }
}

/// What is read now, and since when.
type Reading = Option<(Instant, Vec<u8>)>;

/// Ends the program where a parser never ends, and says on which input.
struct Watch(Arc<Mutex<Reading>>);

impl Watch {
    fn over(name: &'static str) -> Self {
        let watched: Arc<Mutex<Reading>> = Arc::default();
        let read = Arc::downgrade(&watched);
        thread::spawn(move || {
            while let Some(watched) = read.upgrade() {
                let reading = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((_, input)) = reading.filter(|(since, _)| since.elapsed() > NEVER) {
                    eprintln!("{name} does not end on {:?}", String::from_utf8_lossy(&input));
                    std::process::exit(101);
                }
                drop(watched);
                thread::sleep(Duration::from_secs(1));
            }
        });
        Self(watched)
    }

    fn reads(&self, input: Option<&[u8]>) {
        let reading = input.map(|input| (Instant::now(), input.to_vec()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }
}

/// Runs a parser on changed inputs until the time is over. How many it stood.
///
/// # Errors
/// The first that it does not stand.
pub fn run(parser: &Parser, budget: Duration, seed: u64) -> Result<u64, Failure> {
    let (begun, inputs) = (Instant::now(), change::changed((parser.kept)()));
    let config = Config { cases: AT_ONCE, failure_persistence: None, ..Config::default() };
    let (mut stood, watch) = (0, Watch::over(parser.name));
    for round in 0_u64.. {
        if begun.elapsed() >= budget && round > 0 {
            break;
        }
        let of_round = blake3::hash(format!("{} {seed} {round}", parser.name).as_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, of_round.as_bytes());
        let mut runner = TestRunner::new_with_rng(config.clone(), random);
        let failed = runner.run(&inputs, |input| {
            watch.reads(Some(&input));
            let read = look(parser, &input);
            watch.reads(None);
            read.map(drop).map_err(TestCaseError::fail)
        });
        match failed {
            Ok(()) => stood += u64::from(AT_ONCE),
            Err(TestError::Fail(reason, input)) => {
                return Err(Failure { input, reason: reason.to_string() });
            }
            Err(TestError::Abort(reason)) => {
                return Err(Failure { input: Vec::new(), reason: reason.to_string() });
            }
        }
    }
    Ok(stood)
}
