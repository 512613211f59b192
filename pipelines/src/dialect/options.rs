//! What stands in `WITH (…)`: every key is checked, and an unknown one is an error.

use std::collections::BTreeMap;

use ingest::topic::Topic;
use sqlparser::ast::{Expr, SqlOption, Value};

use crate::error::PipelineError;

/// What a table stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connector {
    /// A stream of the log, read as flat JSON objects.
    Stream {
        /// The stream.
        topic: Topic,
    },
    /// A Delta table of the warehouse.
    Delta {
        /// Its folder below the warehouse's URL.
        path: String,
    },
}

const STREAM: &[&str] = &["connector", "type", "topic", "format"];
const DELTA: &[&str] = &["connector", "type", "path", "format"];

impl Connector {
    /// The connector that a table's options name.
    ///
    /// # Errors
    /// Where a key is unknown or missing, or a value is not one that runs here.
    pub fn of(file: &str, table: &str, options: Vec<SqlOption>) -> Result<Self, PipelineError> {
        let wrong = |reason: String| PipelineError::Definition {
            file: file.to_owned(),
            reason: format!("table {table}: {reason}"),
        };
        let options = texts(options).map_err(wrong)?;
        let unsupported =
            |construct| PipelineError::Unsupported { file: file.to_owned(), construct };
        let connector = options.get("connector").map(String::as_str);
        let known = match connector {
            Some("stream") => STREAM,
            Some("delta") => DELTA,
            Some(other) => return Err(unsupported(format!("the connector {other}"))),
            None => return Err(wrong("names no connector".into())),
        };
        let unknown = options.keys().filter(|key| !known.contains(&key.as_str()));
        let unknown: Vec<_> = unknown.cloned().collect();
        if !unknown.is_empty() {
            let known = known.iter().map(ToString::to_string).collect();
            let (file, table) = (file.to_owned(), table.to_owned());
            return Err(PipelineError::UnknownOptions { file, table, unknown, known });
        }
        let need = |key: &str| {
            options.get(key).cloned().ok_or_else(|| wrong(format!("has no option {key}")))
        };
        let only = |key: &str, value: &str| match need(key)? {
            given if given == value => Ok(()),
            given => Err(unsupported(format!("{key} = '{given}' of table {table}"))),
        };
        if connector == Some("stream") {
            only("type", "source")?;
            only("format", "json")?;
            let name = need("topic")?;
            let topic = Topic::parse(&name);
            let topic = topic.ok_or_else(|| wrong(format!("there is no stream {name}")))?;
            return Ok(Self::Stream { topic });
        }
        only("type", "sink")?;
        only("format", "parquet")?;
        Ok(Self::Delta { path: need("path")? })
    }
}

fn texts(options: Vec<SqlOption>) -> Result<BTreeMap<String, String>, String> {
    let mut texts = BTreeMap::new();
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(format!("{option} is no key with a value"));
        };
        let Expr::Value(value) = value else {
            return Err(format!("the option {key} needs a text in quotes"));
        };
        let (Value::SingleQuotedString(text) | Value::Number(text, _)) = value.value else {
            return Err(format!("the option {key} needs a text in quotes"));
        };
        if texts.insert(key.value.clone(), text).is_some() {
            return Err(format!("has the option {key} twice"));
        }
    }
    Ok(texts)
}
