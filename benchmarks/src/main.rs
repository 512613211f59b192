//! Measurements beside the physical limit, in the same run: `cargo run --release -p benchmarks`,
//! or with the names of some of them behind it.
//!
//! These machines are noisy, so what counts is the ratio.

mod append;
mod case;
mod counters;
mod decide;
mod generate;
mod nation;
mod registers;
mod sale;
mod till;
mod times;

/// The allocator that is shipped, so that memory is measured as it will be.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let only: Vec<_> = std::env::args().skip(1).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("| measured | rate per second | beside it | rate per second | ratio |");
    println!("|---|---:|---|---:|---:|");
    if wanted("append") {
        runtime.block_on(append::measure())?;
    }
    if wanted("decide") {
        decide::measure()?;
    }
    if wanted("sale") {
        runtime.block_on(sale::measure())?;
    }
    if wanted("counters") {
        counters::measure()?;
    }
    if wanted("registers") {
        registers::measure()?;
    }
    Ok(())
}

/// One row of the table of ratios.
fn row(measured: &str, rate: f64, beside: &str, limit: f64) {
    println!("| {measured} | {rate:.0} | {beside} | {limit:.0} | {:.2} |", rate / limit);
}
