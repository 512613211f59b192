//! Pipelines for an Arroyo cluster: the same SQL, with other `WITH (…)`.
//!
//! **Invariant:** nothing outside the parentheses of `WITH` changes, so what a file means here it
//! means there. Each file holds the sources that it reads, because a cluster knows one file at a
//! time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use sqlparser::ast::{Ident, ObjectName, SqlOption, Value, visit_relations};

use crate::{
    dialect::{Connector, Statement, TableDefinition, connector::Stream, parse},
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

/// The pipelines of `tables` over the streams of `sources`, and a README.
///
/// # Errors
/// Where a file is not SQL.
pub fn arroyo(
    sources: &[File<'_>],
    tables: &[File<'_>],
    target: &Target,
) -> Result<Vec<Exported>, PipelineError> {
    let mut exported = Vec::with_capacity(tables.len() + 1);
    for (file, text) in tables {
        let read = read(file, text)?;
        let mut parts = Vec::new();
        for (source, text) in sources.iter().filter(|(source, _)| read.contains(*source)) {
            parts.push(replaced(source, text, target)?);
        }
        parts.push(replaced(file, text, target)?);
        exported.push(Exported { name: format!("{file}.sql"), text: parts.join("\n") });
    }
    let text = README
        .replace("{endpoint}", &target.endpoint)
        .replace("{warehouse}", target.warehouse.trim_end_matches('/'))
        .replace("{first}", tables.first().map_or("", |(file, _)| file));
    exported.push(Exported { name: "README.md".into(), text });
    Ok(exported)
}

/// The tables that a file's queries name.
fn read(file: &str, text: &str) -> Result<BTreeSet<String>, PipelineError> {
    let mut names = BTreeSet::new();
    for statement in parse(file, text)? {
        if let Statement::Insert { query, .. }
        | Statement::View { query, .. }
        | Statement::Query(query) = statement
        {
            let visited: ControlFlow<()> = visit_relations(&query, |relation: &ObjectName| {
                names.insert(relation.to_string().to_lowercase());
                ControlFlow::Continue(())
            });
            debug_assert!(visited.is_continue(), "the visitor stops nowhere");
        }
    }
    Ok(names)
}

/// A file with the `WITH` of each of its tables put for the target.
fn replaced(file: &str, text: &str, target: &Target) -> Result<String, PipelineError> {
    let mut tables = parse(file, text)?.into_iter().filter_map(|statement| match statement {
        Statement::Table(table) => Some(table),
        _ => None,
    });
    with::replace(file, text, |options| match tables.next() {
        Some(table) => put(options, &table, target),
        None => options,
    })
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
