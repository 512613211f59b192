//! Rows as keys of Redis: each is asked for once. A run that begins again writes its rows again, which
//! leaves strings and hashes as they are and makes lists longer.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use redis::Cmd;

use super::{Trouble, nodes::Nodes};
use crate::{
    dialect::connector::{ListOperation, RedisConnection, RedisTarget},
    files::lines::Lines,
};

/// Writes rows.
pub(crate) struct Writer {
    nodes: Nodes,
    target: RedisTarget,
    lines: Lines,
}

impl Writer {
    /// Connects.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub(crate) async fn open(
        connection: &RedisConnection,
        target: RedisTarget,
        lines: Lines,
    ) -> Result<Self, Trouble> {
        Ok(Self { nodes: Nodes::connect(connection).await?, target, lines })
    }

    /// Where it writes to, without a secret.
    pub(crate) fn address(&self) -> &str {
        self.nodes.first()
    }

    /// Writes rows; Redis has them when this returns.
    ///
    /// # Errors
    /// Where a row has no key, or Redis does not take it: some of the rows may be there.
    pub(crate) async fn write(&mut self, rows: &RecordBatch) -> Result<(), Trouble> {
        let commands = commands(&self.target, &self.lines, rows)?;
        self.nodes.ask(&commands).await?;
        Ok(())
    }
}

/// What writes rows, in their order.
fn commands(target: &RedisTarget, lines: &Lines, rows: &RecordBatch) -> Result<Vec<Cmd>, Trouble> {
    let mut text = Vec::new();
    let written = lines.write(rows, &mut text);
    written.map_err(|error| Trouble(format!("a row is not JSON: {error}")))?;
    let values = text.split(|byte| *byte == b'\n');
    let keys = keys(target, rows)?;
    let rows_of_keys = keys.iter().zip(values);
    Ok(match target {
        RedisTarget::String { ttl_secs, .. } => {
            let set = |(key, value): (&String, &[u8])| {
                let mut set = redis::cmd("SET");
                set.arg(key).arg(value);
                if let Some(seconds) = ttl_secs {
                    set.arg("EX").arg(seconds.get());
                }
                set
            };
            rows_of_keys.map(set).collect()
        }
        RedisTarget::List { max_length, operation, .. } => {
            let name = match operation {
                ListOperation::Append => "RPUSH",
                ListOperation::Prepend => "LPUSH",
            };
            let push =
                |(key, value): (&String, &[u8])| redis::cmd(name).arg(key).arg(value).to_owned();
            let mut commands: Vec<Cmd> = rows_of_keys.map(push).collect();
            let Some(most) = max_length else { return Ok(commands) };
            let (first, last) = match operation {
                ListOperation::Append => (format!("-{most}"), "-1".to_owned()),
                ListOperation::Prepend => ("0".to_owned(), (most.get() - 1).to_string()),
            };
            let trimmed: BTreeSet<&String> = keys.iter().collect();
            let trim =
                |key: &String| redis::cmd("LTRIM").arg(key).arg(&first).arg(&last).to_owned();
            commands.extend(trimmed.into_iter().map(trim));
            commands
        }
        RedisTarget::Hash { field_column, .. } => {
            let fields = texts(rows, field_column)?;
            let set = |((key, value), field): ((&String, &[u8]), &str)| {
                redis::cmd("HSET").arg(key).arg(field).arg(value).to_owned()
            };
            rows_of_keys.zip(fields).map(set).collect()
        }
    })
}

/// The key of each row.
fn keys(target: &RedisTarget, rows: &RecordBatch) -> Result<Vec<String>, Trouble> {
    let (RedisTarget::String { key_prefix, key_column, .. }
    | RedisTarget::List { key_prefix, key_column, .. }
    | RedisTarget::Hash { key_prefix, key_column, .. }) = target;
    let Some(column) = key_column else { return Ok(vec![key_prefix.clone(); rows.num_rows()]) };
    let ends = texts(rows, column)?.into_iter();
    Ok(ends.map(|end| format!("{key_prefix}{end}")).collect())
}

/// A column's texts, one of each row.
fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Result<Vec<&'a str>, Trouble> {
    let column = rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let column = column.ok_or_else(|| Trouble(format!("rows have no TEXT named {name}")))?;
    let there = |text: Option<&'a str>| {
        text.ok_or_else(|| Trouble(format!("a row's {name} is NULL, which names no key or field")))
    };
    column.iter().map(there).collect()
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU64, sync::Arc};

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::dialect::format::{DecimalEncoding, JsonCompression, JsonFormat, TimestampFormat};

    const JSON: JsonFormat = JsonFormat {
        debezium: false,
        unstructured: false,
        include_schema: false,
        confluent_schema_registry: false,
        timestamp_format: TimestampFormat::Rfc3339,
        decimal_encoding: DecimalEncoding::Number,
        compression: JsonCompression::Uncompressed,
    };

    fn rows(ids: Vec<Option<&str>>) -> RecordBatch {
        let cents: Int64Array = (1..).take(ids.len()).collect::<Vec<i64>>().into();
        let columns: [(&str, ArrayRef); 2] =
            [("id", Arc::new(StringArray::from(ids))), ("cents", Arc::new(cents))];
        RecordBatch::try_from_iter(columns).expect("rows")
    }

    fn made(target: &RedisTarget, rows: &RecordBatch) -> Result<Vec<String>, String> {
        let lines = Lines::of(&JSON, &rows.schema());
        let commands = commands(target, &lines, rows).map_err(|trouble| trouble.to_string())?;
        let words = |command: &Cmd| {
            let packed = String::from_utf8(command.get_packed_command()).expect("text");
            // Each word stands on a line of its own, after one with its length.
            packed.split("\r\n").skip(2).step_by(2).collect::<Vec<_>>().join(" ")
        };
        Ok(commands.iter().map(words).collect())
    }

    const FIRST: &str = r#"{"id":"a","cents":1}"#;
    const SECOND: &str = r#"{"id":"b","cents":2}"#;

    #[test]
    fn a_row_becomes_a_string_an_element_or_a_field() {
        let rows = rows(vec![Some("a"), Some("b")]);
        let (key_prefix, key_column) = ("p:".to_owned(), Some("id".to_owned()));
        let string = RedisTarget::String {
            key_prefix: key_prefix.clone(),
            key_column: key_column.clone(),
            ttl_secs: NonZeroU64::new(60),
        };
        let wanted = [format!("SET p:a {FIRST} EX 60"), format!("SET p:b {SECOND} EX 60")];
        assert_eq!(made(&string, &rows).expect("commands"), wanted);
        let list = |key_column, operation| RedisTarget::List {
            key_prefix: key_prefix.clone(),
            key_column,
            max_length: NonZeroU64::new(3),
            operation,
        };
        let wanted = [
            format!("RPUSH p: {FIRST}"),
            format!("RPUSH p: {SECOND}"),
            "LTRIM p: -3 -1".to_owned(),
        ];
        assert_eq!(made(&list(None, ListOperation::Append), &rows).expect("commands"), wanted);
        let wanted = [
            format!("LPUSH p:a {FIRST}"),
            format!("LPUSH p:b {SECOND}"),
            "LTRIM p:a 0 2".to_owned(),
            "LTRIM p:b 0 2".to_owned(),
        ];
        let prepended = list(key_column, ListOperation::Prepend);
        assert_eq!(made(&prepended, &rows).expect("commands"), wanted);
        let hash =
            RedisTarget::Hash { key_prefix, key_column: None, field_column: "id".to_owned() };
        let wanted = [format!("HSET p: a {FIRST}"), format!("HSET p: b {SECOND}")];
        assert_eq!(made(&hash, &rows).expect("commands"), wanted);
    }

    #[test]
    fn what_names_a_key_is_there() {
        let rows = rows(vec![Some("a"), None]);
        let key_prefix = "p:".to_owned();
        let string = |key_column: &str| RedisTarget::String {
            key_prefix: key_prefix.clone(),
            key_column: Some(key_column.to_owned()),
            ttl_secs: None,
        };
        let refused = made(&string("id"), &rows).expect_err("no key");
        assert_eq!(refused, "a row's id is NULL, which names no key or field");
        let refused = made(&string("cents"), &rows).expect_err("no text");
        assert_eq!(refused, "rows have no TEXT named cents");
    }
}
