//! Rows that are looked up: strings of Redis, each under its key, as they are when they are asked for.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{Field, Schema, SchemaRef},
    error::ArrowError,
};
use redis::{Cmd, Value};

use super::{Trouble, nodes::Nodes};
use crate::{
    dialect::{
        Connector, Origin, TableDefinition,
        connector::{Redis, RedisConnection},
    },
    files::rows::Rows,
};

/// A table that is looked up, and the columns of it that are read.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    definition: TableDefinition,
    connection: RedisConnection,
    columns: SchemaRef,
}

impl Table {
    /// The table, if it is one of Redis.
    pub(crate) fn of(definition: &TableDefinition, columns: SchemaRef) -> Option<Self> {
        let Connector::Redis(Redis { connection, .. }) = &definition.connector else {
            return None;
        };
        let (definition, connection) = (definition.clone(), connection.clone());
        Some(Self { definition, connection, columns })
    }

    /// Whether the column is the key itself, and no part of the value.
    fn is_key(&self, field: &Field) -> bool {
        let mut columns = self.definition.columns.iter();
        let column = columns.find(|column| column.name == *field.name());
        column.is_some_and(|column| matches!(column.origin, Origin::Metadata { .. }))
    }

    /// The rows of some keys with their values.
    fn rows(&self, keys: &[&str], values: &[String]) -> Result<RecordBatch, Trouble> {
        let held = self.columns.fields().iter().filter(|field| !self.is_key(field));
        let held = Arc::new(Schema::new(held.cloned().collect::<Vec<_>>()));
        let unlike = |error: ArrowError| Trouble(format!("a value in redis: {error}"));
        let mut rows = Rows::new(&self.definition, held, keys.len()).map_err(unlike)?;
        for (key, value) in keys.iter().zip(values) {
            let taken = rows.take(value);
            taken.map_err(|error| Trouble(format!("the value of {key} in redis: {error}")))?;
        }
        let values = rows.flush().map_err(unlike)?;
        let keys: ArrayRef = Arc::new(StringArray::from(keys.to_vec()));
        let column = |field: &Arc<Field>| values.column_by_name(field.name()).unwrap_or(&keys);
        let columns = self.columns.fields().iter().map(column).map(Arc::clone);
        RecordBatch::try_new(Arc::clone(&self.columns), columns.collect()).map_err(unlike)
    }
}

/// Looks rows up; connects when it is first asked.
#[derive(Debug)]
pub(crate) struct Reader {
    table: Arc<Table>,
    nodes: Option<Nodes>,
}

impl Reader {
    pub(crate) const fn new(table: Arc<Table>) -> Self {
        Self { table, nodes: None }
    }

    /// The rows of those keys that are there.
    ///
    /// # Errors
    /// Where Redis does not answer, or a value is not what the table declares.
    pub(crate) async fn rows(&mut self, keys: &BTreeSet<&str>) -> Result<RecordBatch, Trouble> {
        let nodes = match self.nodes.take() {
            Some(nodes) => nodes,
            None => Nodes::connect(&self.table.connection).await?,
        };
        // Not MGET: keys of a cluster lie on several nodes.
        let get = |key: &&str| redis::cmd("GET").arg(*key).to_owned();
        let commands: Vec<Cmd> = keys.iter().map(get).collect();
        let answers = self.nodes.insert(nodes).ask(&commands).await?;
        let (mut found, mut values) = (Vec::new(), Vec::new());
        for (key, answer) in keys.iter().zip(answers) {
            let value = match answer {
                Value::Nil => continue,
                Value::BulkString(value) => String::from_utf8(value).ok(),
                _ => None,
            };
            let value =
                value.ok_or_else(|| Trouble(format!("the value of {key} in redis is no text")))?;
            found.push(*key);
            values.push(value);
        }
        self.table.rows(&found, &values)
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::AsArray, datatypes::Int64Type};

    use super::*;
    use crate::dialect::{Statement, parse};

    fn table(format: &str, columns: &str) -> Table {
        let text = format!(
            "CREATE TEMPORARY TABLE t (k TEXT METADATA FROM 'key' PRIMARY KEY, {columns}) WITH \
             (connector = 'redis', address = 'redis://x', format = '{format}');"
        );
        let statement = parse("t", &text).expect("SQL").into_iter().next();
        let Some(Statement::Table(table)) = statement else { panic!("a table") };
        assert_eq!(table.refusal(), None);
        let columns = Arc::new(table.record_schema());
        Table::of(&table, columns).expect("of redis")
    }

    #[test]
    fn a_row_is_a_key_and_what_its_value_holds() {
        let table = table("json", "cents BIGINT, raw JSON");
        let values = [r#"{"k":"x","cents":1}"#, r#"{"raw":[1, 2],"cents":2}"#].map(str::to_owned);
        let rows = table.rows(&["a", "b"], &values).expect("rows");
        let texts = |name| {
            let column = rows.column_by_name(name).expect("a column").as_string::<i32>();
            column.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(texts("k"), [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!(texts("raw"), [None, Some("[1, 2]".to_owned())]);
        let cents = rows.column_by_name("cents").expect("a column").as_primitive::<Int64Type>();
        assert_eq!(cents.values(), &[1, 2]);
        assert_eq!(table.rows(&[], &[]).expect("none").num_rows(), 0);
        let refused = table.rows(&["a"], &["{".to_owned()]).expect_err("cut off").to_string();
        assert!(refused.starts_with("the value of a in redis: EOF"), "{refused}");
        let refused = table.rows(&["a"], &[r#"{"cents":"x"}"#.to_owned()]).expect_err("a text");
        assert!(refused.to_string().starts_with("a value in redis: "), "{refused}");
    }

    #[test]
    fn a_value_may_be_a_text() {
        let rows = table("raw_string", "value TEXT").rows(&["a"], &["{ \"".to_owned()]);
        let rows = rows.expect("rows");
        assert_eq!(rows.column(1).as_string::<i32>().value(0), "{ \"");
    }
}
