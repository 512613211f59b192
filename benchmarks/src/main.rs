//! Measurements beside the physical limit, in the same run: `cargo run --release -p benchmarks`.
//!
//! These machines are noisy, so what counts is the ratio.

mod append;
mod decide;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("| measured | rate per second | beside it | rate per second | ratio |");
    println!("|---|---:|---|---:|---:|");
    runtime.block_on(append::measure())?;
    decide::measure()
}

/// One row of the table of ratios.
fn row(measured: &str, rate: f64, beside: &str, limit: f64) {
    println!("| {measured} | {rate:.0} | {beside} | {limit:.0} | {:.2} |", rate / limit);
}
