//! The functions with which Arroyo tests its own, and what they give there.

use arrow::{
    array::{Array, UInt64Array},
    util::pretty::pretty_format_batches,
};
use datafusion::logical_expr::Accumulator;

use super::*;
use crate::session::session;

fn median(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle] + values[middle - 1]) as f64 / 2.0
    } else {
        values[middle] as f64
    }
}

fn register() {
    add(scalar("double_negative", |value: u64| -2 * value as i64));
    add(aggregate("my_median", median));
    add(aggregate("none_udf", |_: Vec<u64>| -> Option<f64> { None }));
    add(aggregate("max_product", |first: Vec<u64>, second: Vec<u64>| {
        first.iter().zip(&second).map(|(first, second)| first * second).max()
    }));
    add(scalar("or_else", |first: Option<String>, second: String| first.unwrap_or(second)));
    add(scalar("broken", |text: String| -> String { panic!("{text}") }));
}

async fn shown(query: &str) -> String {
    register();
    let result = async { session().sql(query).await?.collect().await };
    match result.await {
        Ok(batches) => pretty_format_batches(&batches).expect("a table").to_string(),
        Err(error) => error.strip_backtrace(),
    }
}

const ROWS: &str = "(SELECT CAST(a AS BIGINT UNSIGNED) AS a, CAST(b AS BIGINT UNSIGNED) AS b, c \
                    FROM (VALUES (1, 4, 'a'), (2, 5, NULL), (NULL, 9, 'c')) AS v (a, b, c)) AS t";

#[tokio::test]
async fn scalar_functions_are_called_for_values() {
    let query = format!("SELECT double_negative(a) AS x, or_else(c, 'none') AS y FROM {ROWS}");
    let wanted = "\
+----+------+
| x  | y    |
+----+------+
| -2 | a    |
| -4 | none |
|    | c    |
+----+------+";
    assert_eq!(shown(&query).await, wanted);
}

#[tokio::test]
async fn aggregate_functions_see_a_group_at_once() {
    let query =
        format!("SELECT my_median(b) AS m, none_udf(a) AS n, max_product(a, b) AS p FROM {ROWS}");
    let wanted = "\
+-----+---+----+
| m   | n | p  |
+-----+---+----+
| 5.0 |   | 10 |
+-----+---+----+";
    assert_eq!(shown(&query).await, wanted);
}

#[tokio::test]
async fn a_function_that_panics_fails_its_query() {
    let query = format!("SELECT broken(c) FROM {ROWS}");
    assert_eq!(shown(&query).await, "Execution error: the function broken panicked");
}

#[test]
fn a_group_counts_its_own_rows_of_a_batch() {
    let batch: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..10_000));
    let first = |columns: &[ArrayRef]| -> Result<ArrayRef> { Ok(Arc::clone(&columns[0])) };
    let call: collect::Call = Arc::new(first);
    let mut group = collect::Collected::new(&[DataType::UInt64], call);
    for at in 0..10 {
        group.update_batch(&[batch.slice(at, 1)]).expect("collected");
    }
    assert!(group.size() < 1_024, "{} bytes for ten rows", group.size());
    group.update_batch(&[batch]).expect("collected");
    assert!(group.size() > 80_000, "{} bytes for ten thousand rows more", group.size());
}
