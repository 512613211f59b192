use arrow::datatypes::TimeUnit;
use ingest::topic::Topic;

use super::*;

const OPTIONS: &str = "WITH (connector = 'stream', topic = 'means-changes', format = 'json', \
                       type = 'source')";

fn table(columns: &str) -> Result<TableDefinition, PipelineError> {
    let mut statements = parse("t", &format!("CREATE TABLE t ({columns}) {OPTIONS};"))?;
    match statements.remove(0) {
        Statement::Table(table) => Ok(table),
        Statement::Insert { .. } => panic!("a table"),
    }
}

fn refused(text: &str) -> String {
    parse("t", text).expect_err("refused").to_string()
}

#[test]
fn types_are_the_dialects() {
    let check = |sql: &str, wanted: DataType| {
        let table = table(&format!("a {sql} NOT NULL, b {sql}")).expect(sql);
        assert_eq!(table.columns[0].data_type, wanted, "{sql}");
        assert!(!table.columns[0].nullable && table.columns[1].nullable, "{sql}");
    };
    check("TIMESTAMP", DataType::Timestamp(TimeUnit::Nanosecond, None));
    check("TIMESTAMP(3)", DataType::Timestamp(TimeUnit::Millisecond, None));
    check("DECIMAL(18, 2)", DataType::Decimal128(18, 2));
    check("BIGINT UNSIGNED", DataType::UInt64);
    check("FLOAT", DataType::Float32);
    check("DOUBLE", DataType::Float64);
    check("TEXT[]", DataType::List(Field::new_list_field(DataType::Utf8, true).into()));
    let inner = DataType::Struct(vec![Field::new("c", DataType::Int32, true)].into());
    let list = DataType::List(Field::new_list_field(inner, true).into());
    let fields = vec![Field::new("b", list, true), Field::new("from", DataType::Date32, true)];
    check(r#"STRUCT<b STRUCT<c INT>[], "from" DATE>"#, DataType::Struct(fields.into()));
}

#[test]
fn what_is_not_here_is_refused_by_name() {
    let names = |columns: &str| table(columns).expect_err(columns).to_string();
    assert_eq!(names("a JSON"), "t: the type JSON is not supported");
    assert_eq!(names("a DECIMAL(40, 2)"), "t: DECIMAL(40, 2) is not supported");
    assert_eq!(names("a TIMESTAMP(4)"), "t: TIMESTAMP(4) is not supported");
    assert_eq!(names("a INT PRIMARY KEY"), "t: PRIMARY on column a is not supported");
    assert_eq!(names("a INT GENERATED ALWAYS AS (1)"), "t: GENERATED on column a is not supported");
    assert_eq!(names("a TEXT METADATA FROM 'x'"), "t: METADATA on column a is not supported");
    assert_eq!(refused("EXPLAIN SELECT 1"), "t: EXPLAIN as a statement is not supported");
    assert_eq!(
        refused("SET updating_ttl = interval '5' second"),
        "t: SET as a statement is not supported"
    );
    assert_eq!(refused("CREATE VIEW v AS SELECT 1"), "t: CREATE VIEW is not supported");
    assert_eq!(
        refused("CREATE TABLE t (a INT)"),
        "t: a table without WITH (a memory table) is not supported"
    );
    assert_eq!(
        refused("CREATE TABLE t (a INT) PARTITIONED BY (day(a)) WITH (connector = 'delta')"),
        "t: PARTITIONED after a table's columns is not supported"
    );
}

#[test]
fn a_watermark_is_read_with_and_without_an_expression() {
    let plain = table("at TIMESTAMP NOT NULL, WATERMARK FOR at").expect("a table");
    assert_eq!(plain.watermark, Some(Watermark { column: "at".into(), expression: None }));
    let late = table("at TIMESTAMP NOT NULL, WATERMARK FOR at AS at - INTERVAL '1 minute'");
    let watermark = late.expect("a table").watermark.expect("a watermark");
    assert_eq!(
        watermark.expression.expect("an expression").to_string(),
        "at - INTERVAL '1 minute'"
    );
}

#[test]
fn options_are_checked_key_by_key() {
    let stream = table("a INT").expect("a table");
    assert_eq!(stream.connector, Connector::Stream { topic: Topic::MeansChanges });
    assert_eq!(
        refused(
            "CREATE TABLE t WITH (connector = 'delta', path = 't', type = 'sink', \
             format = 'parquet', 'rolling_policy.file_size' = '1', colour = 'red')"
        ),
        "t: table t has unknown options: colour, rolling_policy.file_size; its connector knows: \
         connector, type, path, format"
    );
    assert_eq!(
        refused("CREATE TABLE t WITH (connector = 'kafka', topic = 't')"),
        "t: the connector kafka is not supported"
    );
    assert_eq!(
        refused("CREATE TABLE t WITH (connector = 'stream', type = 'source', format = 'avro')"),
        "t: format = 'avro' of table t is not supported"
    );
    assert_eq!(
        refused(
            "CREATE TABLE t WITH (connector = 'stream', type = 'source', format = 'json', \
             topic = 'x')"
        ),
        "t: table t: there is no stream x"
    );
}
