//! The dialect's functions and types, by the files of `tests/slt`: plain sqllogictest, read here
//! because the crate of that name would have the engine built anew for the features it turns on.
//!
//! Rows are shown as a sink would have them: JSON values as text. `UPDATE_GOLDEN=1` writes what
//! queries give.

use std::{fmt::Write as _, fs, path::Path};

use arrow::{
    array::RecordBatch,
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::{
    datasource::ViewTable, error::DataFusionError, logical_expr::LogicalPlan,
    prelude::SessionContext, sql::parser::Statement as EngineStatement,
};
use pipelines::{
    dialect::{Statement, parse},
    functions::json,
    session::session,
};
use sqlparser::ast::{Query, Statement as Ast};

/// One record of a file, without the result that it says: what is given is compared as text.
struct Record {
    /// The comments and the line that says what is wanted.
    head: String,
    /// The statement.
    sql: String,
}

#[tokio::test]
async fn every_file_gives_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {}", folder.display());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a file");
        let given = run(&text).await;
        if given == text {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, given).expect("written");
        } else {
            wrong.push(difference(&path, &text, &given));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(path: &Path, wanted: &str, given: &str) -> String {
    let pairs = wanted.lines().zip(given.lines()).enumerate();
    let first = pairs.into_iter().find(|(_, (wanted, given))| wanted != given);
    match first {
        Some((line, (wanted, given))) => {
            format!("{}:{}: wanted `{wanted}`, but given `{given}`", path.display(), line + 1)
        }
        None => format!("{}: one has more lines", path.display()),
    }
}

/// The file again, with what its queries give.
async fn run(text: &str) -> String {
    let context = session();
    let mut records = Vec::new();
    for record in text.trim().split("\n\n").map(read) {
        records.push(execute(&context, record).await);
    }
    records.join("\n\n") + "\n"
}

fn read(text: &str) -> Record {
    let is_head =
        |line: &&str| ["#", "query", "statement"].iter().any(|start| line.starts_with(start));
    let head: Vec<_> = text.lines().take_while(is_head).collect();
    let rest: Vec<_> = text.lines().skip(head.len()).collect();
    let end = rest.iter().position(|line| *line == "----");
    Record { head: head.join("\n"), sql: rest[..end.unwrap_or(rest.len())].join("\n") }
}

async fn execute(context: &SessionContext, record: Record) -> String {
    let Record { head, sql } = record;
    let Some(wanted) = head.lines().last().filter(|line| !line.starts_with('#')) else {
        return head;
    };
    let before = head.strip_suffix(wanted).unwrap_or_default();
    let result = result(context, &sql).await;
    let mut words = wanted.splitn(3, ' ');
    let (kind, types) = (words.next(), words.next().unwrap_or_default());
    match (kind, types, result) {
        (Some(kind), "error", Err(error)) => {
            let error = error.lines().next().unwrap_or_default();
            format!("{before}{kind} error {error}\n{sql}")
        }
        (Some("statement"), "ok", Ok(_)) => format!("{before}{wanted}\n{sql}"),
        (Some("query"), types, Ok(batches)) => {
            let sorted = words.next() == Some("rowsort");
            let given = shown(&batches, sorted);
            let types = types_of(&batches).unwrap_or_else(|| types.to_owned());
            let wanted = if sorted { " rowsort" } else { "" };
            let gap = if given.is_empty() { "" } else { "\n" };
            format!("{before}query {types}{wanted}\n{sql}\n----{gap}{given}")
        }
        (_, _, Err(error)) => {
            let error = error.lines().next().unwrap_or_default();
            format!("{before}query error {error}\n{sql}")
        }
        (_, _, Ok(_)) => format!("{before}statement ok\n{sql}"),
    }
}

async fn result(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let mut statements = parse("slt", sql).map_err(|error| error.to_string())?;
    match statements.remove(0) {
        Statement::Query(query) => {
            let plan = plan(context, query).await?;
            let plan = json::serialise(plan).map_err(|error| root(&error))?;
            let frame = context.execute_logical_plan(plan).await;
            let batches = frame.map_err(|error| root(&error))?.collect().await;
            batches.map_err(|error| root(&error))
        }
        Statement::View { name, query } => {
            let view = ViewTable::new(plan(context, query).await?, None);
            let registered = context.register_table(name, std::sync::Arc::new(view));
            registered.map(|_| Vec::new()).map_err(|error| root(&error))
        }
        _ => Err("no query".into()),
    }
}

async fn plan(context: &SessionContext, query: Box<Query>) -> Result<LogicalPlan, String> {
    let statement = EngineStatement::Statement(Box::new(Ast::Query(query)));
    let plan = context.state().statement_to_plan(statement).await;
    plan.map_err(|error| root(&error))
}

/// What is at the bottom of an error, without the steps on which it came up.
fn root(error: &DataFusionError) -> String {
    error.find_root().strip_backtrace()
}

/// A letter a column, as sqllogictest has them, with the engine's own for booleans and times.
fn types_of(batches: &[RecordBatch]) -> Option<String> {
    let schema = batches.first()?.schema();
    let letters = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Boolean => 'B',
        DataType::Date32 => 'D',
        DataType::Timestamp(..) => 'P',
        other if other.is_integer() => 'I',
        other if other.is_numeric() => 'R',
        other if other.is_string() => 'T',
        _ => '?',
    });
    Some(letters.collect())
}

fn shown(batches: &[RecordBatch], sorted: bool) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column, &options).expect("a printable column"))
            .collect();
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            for (index, column) in columns.iter().enumerate() {
                let value = column.value(row).to_string();
                let value = if value.is_empty() { "(empty)" } else { &value };
                let gap = if index == 0 { "" } else { " " };
                write!(line, "{gap}{value}").expect("a text takes more");
            }
            rows.push(line);
        }
    }
    if sorted {
        rows.sort();
    }
    rows.join("\n")
}
