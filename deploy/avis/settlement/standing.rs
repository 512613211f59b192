//! How statements and payments stand, for operators: counts alone.

use arrow::{array::AsArray, compute::cast, datatypes::DataType};
use domain::{period::start_of_day, settlement::StatementState};
use pipelines::settlements::Closings;
use warehouse::session::Rows;

use super::bank_files;
use crate::{failure::Failure, node::Node};

const STATES: &str = include_str!("states.sql");

/// Tells operators how statements and payments stand.
///
/// # Errors
/// Where stream or tables cannot be read.
pub async fn tell(node: &Node) -> Result<(), Failure> {
    let vitals = &node.metrics().vitals;
    let states = counts(&node.session()?.rows(STATES).await?);
    let unmatched = bank_files(&node.log).await?.iter().map(|file| file.unmatched.len()).sum();
    vitals.settled(&states, unmatched);
    let closings = Closings::read(&node.log).await?;
    if let Some(month) = closings.all().iter().map(|closing| closing.period).max() {
        vitals.closed_until(start_of_day(month.next().first_day()));
    }
    Ok(())
}

fn counts(rows: &Rows) -> Vec<(StatementState, i64)> {
    let mut counts = Vec::new();
    for batch in &rows.batches {
        let column = |name: &str, kind| cast(batch.column_by_name(name)?, kind).ok();
        let texts = column("state", &DataType::Utf8);
        let Some((states, numbers)) = texts.zip(column("statements", &DataType::Int64)) else {
            continue;
        };
        let numbers = numbers.as_primitive::<arrow::datatypes::Int64Type>();
        for (state, number) in states.as_string::<i32>().iter().zip(numbers) {
            let state = state.and_then(StatementState::parse);
            counts.extend(state.zip(number));
        }
    }
    counts
}
