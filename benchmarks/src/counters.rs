//! The rate at which the embedded cache reads and moves counters, as they grow from ten thousand to
//! ten million.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use authoriser::{
    cache::{Movements, embedded::EmbeddedCache},
    rules::Counters,
};
use domain::{
    id::{InstructionId, RecipientId},
    limit::{CounterKey, CounterMovement, Holder, Measure, Period},
};

const FOR: Duration = Duration::from_secs(2);
const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];

/// Prints a row for each size, beside the smallest.
pub fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let instruction = InstructionId::new("milk")?;
    let start = "2025-06-01".parse()?;
    let key = |n: u64| CounterKey {
        instruction: instruction.clone(),
        // Ids are random, so neighbours in number are none in memory.
        holder: Holder::Recipient(RecipientId::from_u128(
            u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        )),
        period: Period::Month,
        period_start: start,
        measure: Measure::Units,
    };
    let mut cache = EmbeddedCache::default();
    let (mut held, mut smallest) = (0, 0.0);
    for size in SIZES {
        for n in held..size {
            cache.restore(&one(key(n)));
        }
        held = size;
        let (started, mut moved) = (Instant::now(), 0_u64);
        while started.elapsed() < FOR {
            for _ in 0..1_000 {
                let key = key(moved.wrapping_mul(0x2545_f491_4f6c_dd1d) % size);
                black_box(cache.used(&key));
                cache.restore(&one(key));
                moved += 1;
            }
        }
        let rate = moved as f64 / started.elapsed().as_secs_f64();
        smallest = if smallest == 0.0 { rate } else { smallest };
        crate::row(&format!("read and move, {size} counters"), rate, "with 10000", smallest);
    }
    Ok(())
}

fn one(key: CounterKey) -> Movements {
    Movements { counters: vec![CounterMovement { key, change: 1 }], points: Vec::new() }
}
