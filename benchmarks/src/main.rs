//! Measurements beside the physical limit, in the same run: `cargo run --release -p benchmarks`.
//!
//! These machines are noisy, so what counts is the ratio. An argument, `append` or `decide`, asks
//! for one of them.

mod append;
mod case;
mod decide;
mod generate;
mod times;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let asked = |name: &str| named.is_empty() || named.iter().any(|named| named == name);
    println!("| measured | rate per second | beside it | rate per second | ratio |");
    println!("|---|---:|---|---:|---:|");
    if asked("append") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(append::measure())?;
    }
    if asked("decide") {
        decide::measure()?;
    }
    Ok(())
}

/// One row of the table of ratios.
fn row(measured: &str, rate: f64, beside: &str, limit: f64) {
    println!("| {measured} | {rate:.0} | {beside} | {limit:.0} | {:.2} |", rate / limit);
}
