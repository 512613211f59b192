//! Pipelines for an Arroyo cluster: the same SQL, with other `WITH (…)`.
//!
//! **Invariant:** nothing outside the parentheses of `WITH` changes, so what a file means here it
//! means there; what would mean something else there is refused. Each file holds the sources that it
//! reads, because a cluster knows one file at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, SqlOption, Value, visit_relations};

use crate::{
    dialect::{Connector, Statement, TableDefinition, TableType, connector::Stream, parse},
    error::PipelineError,
    planner::File,
};

mod with;

/// How to run what is exported, and what to know before.
const README: &str = include_str!("export/README.md");

/// Where a cluster finds streams and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Fluvio cluster, as host:port.
    pub endpoint: String,
    /// What its topics' names begin with.
    pub topic_prefix: String,
    /// The URL below which tables lie.
    pub warehouse: String,
    /// Credentials and endpoints of the store, `storage.*`.
    pub storage: BTreeMap<String, String>,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// One pipeline, shipped or an operator's own, with those of the `sources` that it reads.
///
/// # Errors
/// Where the file is not SQL, or says what a cluster would answer differently.
pub fn arroyo(
    sources: &[File<'_>],
    (file, text): File<'_>,
    target: &Target,
) -> Result<Exported, PipelineError> {
    let statements = parse(file, text)?;
    let (read, declared) = (read(&statements), declared(&statements));
    let mut parts = Vec::new();
    for (source, text) in sources {
        // A table that the file declares itself takes the place of the shipped one of its name.
        if read.contains(*source) && !declared.contains(*source) {
            parts.push(replaced(source, text, target)?);
        }
    }
    parts.push(replaced(file, text, target)?);
    Ok(Exported { name: format!("{file}.sql"), text: parts.join("\n") })
}

/// How to run what was exported, of which one pipeline is shown as an example.
#[must_use]
pub fn readme(example: &str, target: &Target) -> Exported {
    let text = README
        .replace("{endpoint}", &target.endpoint)
        .replace("{warehouse}", target.warehouse.trim_end_matches('/'))
        .replace("{first}", example);
    Exported { name: "README.md".into(), text }
}

/// The tables that a file's queries name.
fn read(statements: &[Statement]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in statements {
        if let Statement::Insert { query, .. }
        | Statement::View { query, .. }
        | Statement::Query(query) = statement
        {
            let visited: ControlFlow<()> = visit_relations(query, |relation: &ObjectName| {
                let name = relation.0.last().and_then(ObjectNamePart::as_ident);
                names.extend(name.map(|name| match name.quote_style {
                    Some(_) => name.value.clone(),
                    None => name.value.to_lowercase(),
                }));
                ControlFlow::Continue(())
            });
            debug_assert!(visited.is_continue(), "the visitor stops nowhere");
        }
    }
    names
}

/// The tables and views that a file declares.
fn declared(statements: &[Statement]) -> BTreeSet<&str> {
    let names = statements.iter().filter_map(|statement| match statement {
        Statement::Table(TableDefinition { name, .. }) | Statement::View { name, .. } => {
            Some(name.as_str())
        }
        _ => None,
    });
    names.collect()
}

/// A file with the `WITH` of each of its tables put for the target.
fn replaced(file: &str, text: &str, target: &Target) -> Result<String, PipelineError> {
    let outside = parse(file, text)?.into_iter().filter_map(|statement| match statement {
        Statement::Table(table) => {
            Some(table).filter(|table| table.table_type != TableType::Memory)
        }
        _ => None,
    });
    let outside: Vec<TableDefinition> = outside.collect();
    outside.iter().try_for_each(|table| check(file, table))?;
    let mut tables = outside.iter();
    with::replace(file, text, |options| match is_outside(&options).then(|| tables.next()) {
        Some(Some(table)) => put(options, table, target),
        _ => options,
    })
}

/// Whether options are those of a table that stands for something outside: a memory table has none, or
/// says so.
fn is_outside(options: &[SqlOption]) -> bool {
    let connector = options.iter().rev().find(|option| key(option) == "connector");
    connector.is_some_and(|connector| match connector {
        SqlOption::KeyValue { value, .. } => value.to_string() != "'memory'",
        _ => false,
    })
}

/// Refuses what a cluster does not have, with what it needs instead.
fn check(file: &str, table: &TableDefinition) -> Result<(), PipelineError> {
    let Connector::Stream(Stream { topic }) = &table.connector else { return Ok(()) };
    if table.table_type != TableType::Lookup {
        return Ok(());
    }
    let reason = format!(
        "the lookup table {} of the stream {topic} cannot be exported, since a cluster looks rows \
         up in Redis alone: in a file for the cluster declare it WITH (connector = 'redis', …), \
         its key as TEXT METADATA FROM 'key' PRIMARY KEY, join on that key alone, and have each \
         row written to Redis under its key, as a pipeline of the cluster into connector = \
         'redis' does",
        table.name
    );
    Err(PipelineError::Definition { file: file.to_owned(), reason })
}

fn put(options: Vec<SqlOption>, table: &TableDefinition, target: &Target) -> Vec<SqlOption> {
    match &table.connector {
        Connector::Stream(Stream { topic }) => {
            let mut put = Vec::with_capacity(options.len() + 2);
            for option in options {
                match key(&option) {
                    "connector" => {
                        put.push(said("connector", "fluvio"));
                        put.push(said("endpoint", &target.endpoint));
                    }
                    "topic" => {
                        put.push(said("topic", &format!("{}{topic}", target.topic_prefix)));
                    }
                    _ => put.push(option),
                }
            }
            // The runtime here reads a stream from its first record, too.
            put.push(said("source.offset", "earliest"));
            put
        }
        Connector::Delta(sink) => {
            let warehouse = target.warehouse.trim_end_matches('/');
            let mut put: Vec<_> = options
                .into_iter()
                .map(|option| match key(&option) {
                    "path" => said("path", &format!("{warehouse}/{}", sink.path)),
                    _ => option,
                })
                .collect();
            for (key, value) in &target.storage {
                put.push(said(&format!("storage.{key}"), value));
            }
            put
        }
        _ => options,
    }
}

fn key(option: &SqlOption) -> &str {
    match option {
        SqlOption::KeyValue { key, .. } => &key.value,
        _ => "",
    }
}

fn said(key: &str, value: &str) -> SqlOption {
    let key = match key.contains('.') {
        true => Ident::with_quote('\'', key),
        false => Ident::new(key),
    };
    let value = Value::SingleQuotedString(value.to_owned());
    SqlOption::KeyValue { key, value: sqlparser::ast::Expr::Value(value.into()) }
}

#[cfg(test)]
mod tests;
