//! Arroyo's own SQL tests: the queries and golden outputs of its repository, run here.
//!
//! They stay where they are. `AVIS_TEST_ARROYO` names the folder `crates/arroyo-sql-testing` of a
//! checkout; what runs, what is refused and what differs is printed.

use std::{
    collections::BTreeMap,
    fs,
    io::{Write, stderr},
    path::{Path, PathBuf},
};

use pipelines::{
    files::{self, Kept, Settings},
    functions::udf,
};
use serde_json::Value;

/// The functions that Arroyo's tests add in Rust.
fn add_functions() {
    udf::add(udf::scalar("double_negative", |value: u64| -2 * i64::try_from(value).unwrap_or(0)));
    udf::add(udf::aggregate("my_median", |mut values: Vec<u64>| -> f64 {
        values.sort_unstable();
        let middle = values.len() / 2;
        match values.len() % 2 {
            0 => (values[middle] + values[middle - 1]) as f64 / 2.0,
            _ => values[middle] as f64,
        }
    }));
    udf::add(udf::aggregate("none_udf", |_: Vec<u64>| -> Option<f64> { None }));
    udf::add(udf::aggregate("max_product", |first: Vec<u64>, second: Vec<u64>| -> Option<u64> {
        first.iter().zip(&second).map(|(one, other)| one * other).max()
    }));
}

#[tokio::test]
async fn arroyos_queries_make_what_they_make_there() {
    let Some(root) = std::env::var_os("AVIS_TEST_ARROYO").map(PathBuf::from) else {
        // What a test that passes prints by `eprintln!` is not shown.
        let _ = writeln!(
            stderr(),
            "SKIPPED: AVIS_TEST_ARROYO does not name a folder crates/arroyo-sql-testing"
        );
        return;
    };
    add_functions();
    let mut outcomes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let queries = fs::read_dir(root.join("src/test/queries")).expect("the folder of queries");
    let mut queries: Vec<PathBuf> = queries.map(|entry| entry.expect("an entry").path()).collect();
    queries.sort();
    for query in queries {
        let name = query.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let outcome = case(&root, &query, &name).await;
        match outcome {
            Ok(outcome) => outcomes.entry(outcome).or_default().push(name),
            Err(difference) => {
                outcomes.entry("differs").or_default().push(format!("{name}: {difference}"));
            }
        }
    }
    for (outcome, names) in &outcomes {
        println!("{outcome}: {}\n  {}", names.len(), names.join("\n  "));
    }
    assert_eq!(outcomes.get("differs"), None);
}

async fn case(root: &Path, query: &Path, name: &str) -> Result<&'static str, String> {
    let text = fs::read_to_string(query).expect("a query");
    let first = text.lines().next().unwrap_or_default();
    let fails = first.strip_prefix("--fail=").map(ToOwned::to_owned);
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("output.json");
    let inputs = root.join("inputs");
    let absent = text.split("$input_dir/").skip(1).find_map(|rest| {
        let file = rest.split('\'').next()?;
        (!inputs.join(file).exists()).then(|| file.to_owned())
    });
    if absent.is_some() {
        return Ok("its input is not there");
    }
    let text = text
        .replace("$input_dir", inputs.to_str().expect("a path"))
        .replace("$output_path", output.to_str().expect("a path"));
    // Batches of 32, and everything saved and taken up again between them, as its own tests do.
    for settings in [Settings { batch: 32, kept: Kept::Restored }, Settings::default()] {
        let run = files::run(name, &text, settings).await;
        match (run, &fails) {
            (Err(error), Some(message)) => {
                let (error, message) = (error.to_string(), message.as_str());
                let message = message.rsplit(": ").next().unwrap_or(message);
                if !error.contains(message) {
                    return Err(format!("refused as {error}"));
                }
                return Ok("refused as there");
            }
            (Err(error), None) => return Err(error.to_string()),
            (Ok(_), Some(message)) => return Err(format!("not refused: {message}")),
            (Ok(_), None) => {
                let golden = root.join("golden_outputs").join(format!("{name}.json"));
                let wanted = fs::read_to_string(golden).map_err(|error| error.to_string())?;
                compare(&rows(&fs::read_to_string(&output).expect("an output")), &rows(&wanted))?;
            }
        }
    }
    Ok("runs with the same rows")
}

/// The rows that stand in the end: as text, with how often each does.
fn rows(text: &str) -> BTreeMap<String, i64> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    for line in lines {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let change = value.get("op").is_some() && value.get("after").is_some();
        let sides: Vec<(Value, i64)> = if change {
            vec![(value["before"].clone(), -1), (value["after"].clone(), 1)]
        } else {
            vec![(value, 1)]
        };
        for (row, count) in sides.into_iter().filter(|(row, _)| row.is_object()) {
            *rows.entry(canonical(&row)).or_default() += count;
        }
    }
    rows.retain(|_, count| *count != 0);
    rows
}

/// A row without what is NULL, since writers leave that out, and without what is approximate and
/// changes from one version of the engine to the next; 3 and 3.0 are one number, and sums of floats
/// in another order are equal to nine digits.
fn canonical(row: &Value) -> String {
    fn number<'a>((name, value): (&'a String, &Value)) -> (&'a String, Value) {
        let told = match value.as_f64() {
            Some(number) if number.fract() == 0.0 => Value::from(number + 0.0),
            Some(number) => Value::from(format!("{number:.8e}")),
            None => value.clone(),
        };
        (name, told)
    }
    let fields = row.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let fields: BTreeMap<&String, Value> =
        fields.filter(|(name, _)| !name.starts_with("approx_")).map(number).collect();
    serde_json::to_string(&fields).expect("JSON")
}

fn compare(made: &BTreeMap<String, i64>, wanted: &BTreeMap<String, i64>) -> Result<(), String> {
    if made == wanted {
        return Ok(());
    }
    let more = made.iter().filter(|(row, count)| wanted.get(*row) != Some(*count)).take(3);
    let less = wanted.iter().filter(|(row, count)| made.get(*row) != Some(*count)).take(3);
    let (more, less): (Vec<_>, Vec<_>) = (more.collect(), less.collect());
    Err(format!("{} rows of {}; made {more:?}, wanted {less:?}", made.len(), wanted.len()))
}
