use std::time::Duration;

use arrow::datatypes::{DataType, Field, TimeUnit};
use ingest::topic::Topic;

use super::{
    connector::{
        FilenameStrategy, Filesystem, Fluvio, Impulse, LookupCache, Partitioning, RedisTable,
        RedisTarget, RollingPolicy, SourceCompression, SourceOffset, Stream,
    },
    format::{BadData, DecimalEncoding, Format, ParquetCompression, TimestampFormat},
    *,
};

const OPTIONS: &str = "WITH (connector = 'stream', topic = 'means-changes', format = 'json', \
                       type = 'source')";

fn one(text: &str) -> Result<TableDefinition, String> {
    let mut statements = parse("t", text).map_err(|error| error.to_string())?;
    match statements.remove(0) {
        Statement::Table(table) => Ok(table),
        other => panic!("a table, not {other:?}"),
    }
}

fn table(columns: &str) -> Result<TableDefinition, String> {
    one(&format!("CREATE TABLE t ({columns}) {OPTIONS};"))
}

fn with(columns: &str, options: &str) -> Result<TableDefinition, String> {
    one(&format!("CREATE TABLE t ({columns}) WITH ({options})"))
}

fn refused(text: &str) -> String {
    parse("t", text).expect_err(text).to_string()
}

#[test]
fn types_are_the_dialects() {
    let check = |sql: &str, wanted: DataType| {
        let table = table(&format!("a {sql} NOT NULL, b {sql}")).expect(sql);
        assert_eq!(table.columns[0].data_type, wanted, "{sql}");
        assert!(!table.columns[0].nullable && table.columns[1].nullable, "{sql}");
    };
    let instant = |unit| DataType::Timestamp(unit, None);
    for (sql, wanted) in [
        ("TIMESTAMP", instant(TimeUnit::Nanosecond)),
        ("TIMESTAMP(0)", instant(TimeUnit::Second)),
        ("TIMESTAMP(3)", instant(TimeUnit::Millisecond)),
        ("DATETIME", instant(TimeUnit::Nanosecond)),
        ("DECIMAL", DataType::Decimal128(38, 10)),
        ("NUMERIC(12)", DataType::Decimal128(12, 0)),
        ("DECIMAL(18, 2)", DataType::Decimal128(18, 2)),
        ("TINYINT", DataType::Int8),
        ("INT UNSIGNED", DataType::UInt32),
        ("BIGINT UNSIGNED", DataType::UInt64),
        ("INT8", DataType::Int64),
        ("FLOAT", DataType::Float32),
        ("REAL", DataType::Float32),
        ("DOUBLE", DataType::Float64),
        ("VARCHAR(10)", DataType::Utf8),
        ("STRING", DataType::Utf8),
        ("JSON", DataType::Utf8),
        ("BYTEA", DataType::Binary),
        ("TEXT[]", DataType::List(Field::new_list_field(DataType::Utf8, true).into())),
    ] {
        check(sql, wanted);
    }
    let inner = DataType::Struct(vec![Field::new("c", DataType::Int32, true)].into());
    let list = DataType::List(Field::new_list_field(inner, true).into());
    let fields = vec![Field::new("b", list, true), Field::new("from", DataType::Date32, true)];
    check("STRUCT<b STRUCT<c INT>[], from DATE>", DataType::Struct(fields.into()));
}

#[test]
fn types_that_the_dialect_has_not_are_refused() {
    for (columns, wrong) in [
        ("a HSTORE", "Unsupported SQL type 'HSTORE'"),
        ("a TIMESTAMP WITH TIME ZONE", "Unsupported SQL type 'TIMESTAMP WITH TIME ZONE'"),
        ("a INT[][]", "Unsupported SQL type 'INT[]'"),
        (
            "a JSON[]",
            "Unsupported SQL type 'JSON[]'; declare the column JSON and take it apart by \
             extract_json",
        ),
        (
            "a DECIMAL(40, 2)",
            "Decimal(precision = 40, scale = 2) should satisfy `0 < precision <= 38`, and `scale \
             <= precision`.",
        ),
        (
            "a TIMESTAMP(4)",
            "unsupported precision 4 -- supported precisions are 0 (seconds), 3 (milliseconds), 6 \
             (microseconds), and 9 (nanoseconds)",
        ),
        (
            r#"a STRUCT<"from" DATE>"#,
            r#"the quoted field name "from" in a STRUCT; write it without quotes"#,
        ),
        ("a INT, a INT", "has the column a twice"),
    ] {
        assert_eq!(table(columns).expect_err(columns), format!("t: table t: {wrong}"));
    }
}

#[test]
fn columns_say_where_their_values_come_from() {
    let table = table(
        "id INT PRIMARY KEY, browserLanguage TEXT, at TIMESTAMP GENERATED ALWAYS AS \
         (CAST(id AS TIMESTAMP)) STORED, \"watermark\" TEXT NULL, b INT NOT NULL PRIMARY KEY",
    )
    .expect("a table");
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "browserLanguage", "at", "watermark", "b"]);
    assert_eq!(table.primary_key, ["id", "b"]);
    assert!(table.columns[0].nullable && table.columns[2].is_generated());
    assert_eq!(table.record_schema().fields().len(), 4);
    assert_eq!(table.schema().fields().len(), 5);
}

#[test]
fn what_is_not_the_dialects_is_refused_by_name() {
    for (text, wrong) in [
        ("EXPLAIN SELECT 1", "EXPLAIN as a statement is not supported"),
        ("SELECT 1 SELECT 2", "SELECT after a statement is not supported"),
        ("CREATE EXTERNAL TABLE t (a INT)", "CREATE EXTERNAL is not supported"),
        (
            "CREATE VIEW v (a) AS SELECT 1",
            "a view's list of columns (name them in its query) is \
                                           not supported",
        ),
        (
            "INSERT INTO t (a) SELECT 1",
            "INSERT with a list of columns (select them in the table's \
                                        order) is not supported",
        ),
        ("SET time_zone = 'x'", "invalid option 'time_zone'; supported options are 'updating_ttl'"),
        ("SET updating_ttl = interval '1 month'", "months are not supported in this interval"),
        ("SET updating_ttl = interval '-1 day'", "interval must not be negative"),
        (
            "CREATE TABLE t (a INT, PRIMARY KEY (a))",
            "table t: Unsupported table constraint `PRIMARY KEY (…)`; write PRIMARY KEY after each \
             of the columns",
        ),
        ("CREATE TABLE t (a INT DEFAULT 1)", "DEFAULT on column a is not supported"),
        (
            "CREATE TABLE t (a TIMESTAMP, WATERMARK FOR a, WATERMARK FOR a)",
            "table t: Only one WATERMARK FOR constraint is allowed per table",
        ),
        (
            "CREATE TABLE t WITH (connector = 'kafka')",
            "the connector kafka of table t (write connector = 'stream' to read and 'delta' to \
             fill, or 'single_file' or 'filesystem' for files) is not supported",
        ),
        (
            "CREATE TABLE t WITH (connector = 'sse')",
            "the connector sse of table t (write connector = 'stream', or 'single_file' or \
             'filesystem' to read files) is not supported",
        ),
        (
            "CREATE TABLE t WITH (connector = 'stdout')",
            "the connector stdout of table t (write connector = 'delta', or 'single_file' or \
             'filesystem' to fill files) is not supported",
        ),
        (
            "CREATE TABLE t (topic TEXT METADATA FROM 'topic') WITH (connector = 'stream', \
             topic = 'means-changes', type = 'source', format = 'json')",
            "METADATA FROM 'topic' of table t (only a lookup's key has it; of a stream declare \
             source_partition and source_offset) is not supported",
        ),
        ("CREATE TABLE t WITH (connector = 'carrier')", "table t: Unknown connector 'carrier'"),
    ] {
        assert_eq!(refused(text), format!("t: {wrong}"), "{text}");
    }
}

#[test]
fn a_file_may_have_several_statements_of_each_kind() {
    let text = "CREATE TABLE m (a INT); CREATE VIEW v AS (SELECT a FROM m); \
                CREATE TABLE w AS SELECT a FROM v; SET updating_ttl = interval '5' second; \
                INSERT INTO M SELECT 1; INSERT INTO m SELECT 2; WITH x AS (SELECT 1) SELECT * \
                FROM x; SELECT a FROM w";
    let statements = parse("t", text).expect("statements");
    let kinds: Vec<_> = statements
        .iter()
        .map(|statement| match statement {
            Statement::Table(table) => format!("{:?} {}", table.table_type, table.name),
            Statement::View { name, .. } => format!("view {name}"),
            Statement::Insert { into, .. } => format!("insert {into}"),
            Statement::Query(_) => "query".into(),
            Statement::Set(Setting::UpdatingTtl(ttl)) => format!("ttl {ttl:?}"),
        })
        .collect();
    let wanted = ["Memory m", "view v", "view w", "ttl 5s", "insert m", "insert m", "query"];
    assert_eq!(kinds[..7], wanted);
    assert_eq!(kinds.len(), 8);
}

#[test]
fn a_watermark_is_read_with_and_without_an_expression() {
    let plain = table("at TIMESTAMP NOT NULL, WATERMARK FOR at").expect("a table");
    assert_eq!(plain.watermark, Some(Watermark { column: "at".into(), expression: None }));
    let late = table("at TIMESTAMP NOT NULL, watermark for at AS (at - INTERVAL '1 minute')");
    let watermark = late.expect("a table").watermark.expect("a watermark");
    let expression = watermark.expression.expect("an expression").to_string();
    assert_eq!(expression, "(at - INTERVAL '1 minute')");
}

#[test]
fn the_deprecated_options_of_event_time_are_watermarks() {
    let read = |more: &str| -> Result<(String, Option<String>), String> {
        let options = format!("connector = 'single_file', path = 'x', format = 'json', {more}");
        let table = with("at TIMESTAMP, w TIMESTAMP", &options)?;
        let watermark = table.watermark.expect("a watermark");
        Ok((watermark.column, watermark.expression.map(|expression| expression.to_string())))
    };
    let told = |column: &str, expression: Option<&str>| {
        Ok((column.to_owned(), expression.map(ToOwned::to_owned)))
    };
    assert_eq!(
        read("type = 'source', event_time_field = at"),
        told("at", Some("\"at\" - INTERVAL '1 second'"))
    );
    assert_eq!(
        read("type = 'source', event_time_field = 'at', watermark_field = w"),
        told("at", Some("\"w\""))
    );
    assert_eq!(
        read("type = 'source', watermark_field = w"),
        Err("t: watermark_field without event_time_field (use WATERMARK FOR) is not supported"
            .into())
    );
}

#[test]
fn options_are_checked_key_by_key() {
    let stream = table("a INT").expect("a table");
    assert_eq!(stream.connector, Connector::Stream(Stream { topic: Topic::MeansChanges }));
    assert_eq!(stream.idle, None);
    assert_eq!(stream.refusal(), None);
    let quiet = with(
        "a INT",
        "connector = 'stream', topic = 'means-changes', type = 'source', format = 'json', \
         idle_micros = '60000000'",
    )
    .expect("a table");
    assert_eq!(quiet.idle, Some(Duration::from_secs(60)));
    assert!(quiet.refusal().expect("it is not honoured").starts_with("idle_micros ("));
}

#[test]
fn wrong_options_say_what_is_wrong() {
    for (options, wrong) in [
        (
            "connector = 'stream', topic = 'means-changes', type = 'source', format = 'raw_bytes', \
             colour = 'red', path = 'x'",
            "unknown options provided in WITH clause: colour, path; it knows: connector, format, \
             framing, bad_data, type, topic, event_time_field, watermark_field, idle_micros",
        ),
        (
            "connector = 'stream', type = 'source', format = 'json'",
            "required option 'topic' not set",
        ),
        (
            "connector = 'stream', topic = 'means-changes', format = 'json'",
            "required option 'type' not set",
        ),
        (
            "connector = 'stream', topic = 'x', type = 'source', format = 'json'",
            "there is no stream x",
        ),
        (
            "connector = 'stream', topic = 3, type = 'source', format = 'json'",
            "expected with option 'topic' to be a single-quoted string, but it was `3`",
        ),
        (
            "connector = 'single_file', path = 'x', type = 'lookup', format = 'json'",
            "invalid value for 'type': `lookup`; expected one of 'source', 'sink'",
        ),
        (
            "connector = 'single_file', path = 'x', type = 'sink'",
            "'format' must be set for single_file connection",
        ),
        (
            "connector = 'single_file', path = 'x', type = 'sink', format = 'xml'",
            "unknown format 'xml'",
        ),
        (
            "connector = 'fluvio', topic = 'x', type = 'source', format = 'json', \
          'source.offset' = 'middle'",
            "invalid value for 'source.offset': `middle`; expected one of 'earliest', 'latest'",
        ),
        (
            "connector = 'single_file', path = 'x', type = 'source', format = 'debezium_json'",
            "Debezium source must have at least one PRIMARY KEY field",
        ),
        (
            "connector = 'single_file', path = 'x', type = 'source', format = 'raw_string'",
            "raw_string format requires a schema with a single field called `value` of type TEXT",
        ),
        (
            "connector = 'single_file', path = 'x', type = 'source', format = 'json', \
          'json.unstructured' = 'maybe'",
            "expected with option 'json.unstructured' to be a boolean, but it was `'maybe'`",
        ),
        (
            "connector = 'delta', path = 'x', type = 'source', format = 'parquet'",
            "DeltaLake sources are not yet supported",
        ),
        ("connector = 'impulse', event_rate = 10", "invalid schema for impulse source"),
        (
            "connector = 'redis', type = 'lookup', format = 'json'",
            "one of `address` or `cluster.addresses` must be set",
        ),
        (
            "format = 'json'",
            "Memory tables do not allow with options; to create a connection table set the \
          'connector' option",
        ),
    ] {
        let refused = with("a INT", options).expect_err(options);
        assert_eq!(refused, format!("t: table t: {wrong}"), "{options}");
    }
}

#[test]
fn a_delta_sink_reads_every_option_of_a_cluster() {
    let table = with(
        "id TEXT, at TIMESTAMP",
        "connector = 'delta', path = 's3://bucket/t', type = 'sink', format = 'parquet', \
         'parquet.compression' = 'snappy', 'parquet.row_group_size' = '128MB', \
         'filename.strategy' = 'uuid_v7', 'filename.prefix' = 'p', \
         'partitioning.time_pattern' = '%Y/%m/%d', 'partitioning.fields' = [id], \
         'shuffle_by_partition.enabled' = true, 'rolling_policy.interval' = interval '10 minutes', \
         'rolling_policy.inactivity_interval' = '5 seconds', 'rolling_policy.file_size' = '1kb', \
         'multipart.target_part_size' = '5MB', 'multipart.max_parts' = 10, \
         'storage.aws_region' = 'x', 'sink.version' = 'v2'",
    )
    .expect("a table");
    assert_eq!(table.columns[1].data_type, DataType::Timestamp(TimeUnit::Microsecond, None));
    let Some(Format::Parquet(parquet)) = &table.format else { panic!("parquet") };
    assert_eq!(parquet.compression, ParquetCompression::Snappy);
    assert_eq!(parquet.row_group_bytes, Some(128 * 1024 * 1024));
    let Connector::Delta(sink) = &table.connector else { panic!("delta") };
    let rolling = RollingPolicy {
        file_size: Some(1024),
        interval: Some(Duration::from_secs(600)),
        inactivity_interval: Some(Duration::from_secs(5)),
        watermark_expiration: false,
    };
    assert_eq!(sink.rolling, rolling);
    assert_eq!(sink.naming.strategy, Some(FilenameStrategy::UuidV7));
    let partitioning = Partitioning {
        time_pattern: Some("%Y/%m/%d".into()),
        fields: vec!["id".into()],
        shuffle: true,
    };
    assert_eq!(sink.partitioning, partitioning);
    assert_eq!(sink.storage.get("aws_region").map(String::as_str), Some("x"));
    assert_eq!(
        table.refusal().as_deref(),
        Some("any option of a delta table but its path (the warehouse lays out its files itself)")
    );
    let wrong = with(
        "id TEXT",
        "connector = 'delta', path = 't', type = 'sink', format = 'parquet', \
         'partitioning.fields' = [id, colour]",
    );
    assert_eq!(
        wrong.expect_err("no such column"),
        "t: table t: Unable to get field named \"colour\". Valid fields: id"
    );
}

#[test]
fn lookups_are_temporary_tables_with_a_key() {
    let lookup = one(
        "create temporary table customers (id TEXT METADATA FROM 'key' PRIMARY KEY, name TEXT) \
         with (connector = 'redis', format = 'raw_string', address = 'redis://localhost:6379', \
         format = 'json', 'lookup.cache.max_bytes' = 1000000, 'lookup.cache.ttl' = interval '5' \
         second)",
    )
    .expect("a lookup");
    assert_eq!((lookup.temporary, lookup.table_type), (true, TableType::Lookup));
    assert_eq!(lookup.columns[0].origin, Origin::Metadata { key: "key".into() });
    let Connector::Redis(redis) = &lookup.connector else { panic!("redis") };
    let ttl = Some(Duration::from_secs(5));
    let cache = LookupCache { max_bytes: Some(1_000_000), ttl };
    assert_eq!(redis.table, RedisTable::Lookup(cache));
    let redis = |columns: &str, more: &str| {
        let options =
            format!("connector = 'redis', format = 'json', address = 'redis://x', {more}");
        with(columns, &options)
    };
    for (columns, more, wrong) in [
        (
            "key TEXT PRIMARY KEY",
            "type = 'lookup'",
            "Redis lookup tables must have a PRIMARY KEY field defined as `field_name TEXT METADATA \
          FROM 'key'`",
        ),
        (
            "key INT METADATA FROM 'key' PRIMARY KEY",
            "type = 'lookup'",
            "incorrect data type for metadata field 'key'; expected TEXT, but found Int32",
        ),
        (
            "key TEXT METADATA FROM 'offset'",
            "type = 'lookup'",
            "unknown metadata field 'offset' for redis connector 't'",
        ),
        (
            "id TEXT",
            "type = 'sink', target = 'string', 'target.key_prefix' = 'p', \
                     'target.key_column' = 'id'",
            "invalid value 'id' for target.key_column, must be the name of a non-nullable TEXT column \
          on the table",
        ),
        (
            "id TEXT",
            "type = 'sink', target = 'set', 'target.key_prefix' = 'p'",
            "'set' is not a valid redis target",
        ),
    ] {
        assert_eq!(redis(columns, more).expect_err(more), format!("t: table t: {wrong}"));
    }
    let hash = redis(
        "id TEXT NOT NULL",
        "type = 'sink', target = 'hash', 'target.key_prefix' = 'p', 'target.field_column' = 'id'",
    );
    let Connector::Redis(redis) = hash.expect("a sink").connector else { panic!("redis") };
    let wanted =
        RedisTarget::Hash { key_prefix: "p".into(), key_column: None, field_column: "id".into() };
    assert_eq!(redis.table, RedisTable::Sink(wanted));
    let named = one("CREATE TEMPORARY TABLE t (a TEXT) WITH (connector = 'redis', type = 'sink')");
    assert_eq!(
        named.expect_err("no lookup"),
        "t: table t: Cannot have a temporary table with type 'sink'; temporary tables must be type \
         'lookup'"
    );
}

#[test]
fn a_topic_runs_as_a_source_that_begins_at_its_beginning() {
    let topic = "connector = 'fluvio', topic = 't', 'source.offset' = 'earliest', type = 'source'";
    for (columns, more, refused) in [
        ("a INT", "format = 'json'", None),
        ("id INT PRIMARY KEY", "format = 'debezium_json'", None),
        ("value TEXT", "format = 'raw_string'", None),
        ("a INT", "format = 'parquet'", Some("format = 'parquet' (write format = 'json')")),
        ("a INT", "format = 'json', bad_data = 'drop'", Some("bad_data = 'drop' (a record")),
    ] {
        let said = with(columns, &format!("{topic}, {more}")).expect(more).refusal();
        match (&said, refused) {
            (None, None) => {}
            (Some(said), Some(refused)) => assert!(said.starts_with(refused), "{more}: {said}"),
            _ => panic!("{more}: {said:?}"),
        }
    }
    let sink = "connector = 'fluvio', topic = 't', type = 'sink', format = 'json'";
    let refused = with("a INT", sink).expect("a sink").refusal().expect("it does not run here");
    assert!(refused.starts_with("the connector fluvio as a sink (write"), "{refused}");
}

#[test]
fn the_other_connectors_are_read() {
    let impulse = one("CREATE TABLE t WITH (connector = 'impulse', event_rate = '10.5', \
                       message_count = 20)")
    .expect("impulse");
    let wanted = Impulse { event_rate: 10.5, event_time_interval: None, message_count: Some(20) };
    assert_eq!(impulse.connector, Connector::Impulse(wanted));
    assert_eq!(impulse.columns.len(), 2);
    let fluvio = with(
        "a INT",
        "connector = 'fluvio', endpoint = 'x:9003', topic = 't', type = 'source', format = 'json', \
         'json.timestamp_format' = 'unix_millis', 'json.decimal_encoding' = 'string', \
         bad_data = 'drop', idle_micros = '-1', framing = 'newline', \
         'framing.newline.max_length' = 100",
    )
    .expect("fluvio");
    let wanted =
        Fluvio { endpoint: Some("x:9003".into()), topic: "t".into(), offset: SourceOffset::Latest };
    assert_eq!(fluvio.connector, Connector::Fluvio(wanted));
    let Some(Format::Json(json)) = &fluvio.format else { panic!("json") };
    assert_eq!(json.timestamp_format, TimestampFormat::UnixMillis);
    assert_eq!(json.decimal_encoding, DecimalEncoding::String);
    assert_eq!((fluvio.bad_data, fluvio.idle), (BadData::Drop, None));
    let refused = fluvio.refusal().expect("it would read nothing");
    assert!(refused.starts_with("source.offset = 'latest' of fluvio"), "{refused}");
    let files = with(
        "a INT",
        "connector = 'filesystem', path = '/data', type = 'source', format = 'json', \
         'source.compression' = 'gzip', 'source.regex_pattern' = '.*'",
    )
    .expect("files");
    let Connector::Filesystem(Filesystem::Source(source)) = files.connector else {
        panic!("a source")
    };
    assert_eq!(source.compression, SourceCompression::Gzip);
    let debezium = with(
        "id INT PRIMARY KEY",
        "connector = 'single_file', path = 'x', type = 'source', format = 'debezium_json'",
    )
    .expect("changes");
    assert!(debezium.is_updating());
    assert_eq!(debezium.refusal(), None);
}

#[test]
fn of_a_folder_what_does_not_run_is_refused_by_name() {
    let sink = |more: &str| {
        let options =
            format!("connector = 'filesystem', path = '/x', type = 'sink', format = 'json'{more}");
        with("id TEXT, day DATE", &options).expect("a table").refusal()
    };
    assert_eq!(
        sink(
            ", 'partitioning.fields' = [id, day], 'rolling_policy.file_size' = '64MB', \
             'filename.prefix' = 'p', 'filename.suffix' = 'lines', 'filename.strategy' = 'serial', \
             'shuffle_by_partition.enabled' = true, 'sink.version' = 'v2'"
        ),
        None
    );
    for (more, named) in [
        ("path = 's3://bucket/x'", "a filesystem sink on object storage"),
        ("'storage.aws_region' = 'x'", "a filesystem sink on object storage"),
        ("'rolling_policy.interval' = '1 hour'", "rolling_policy.interval"),
        ("'rolling_policy.watermark_expiration' = true", "rolling_policy.interval"),
        ("'filename.strategy' = 'ulid'", "filename.strategy"),
        ("'filename.prefix' = '../p'", "filename.prefix"),
        ("'partitioning.time_pattern' = '%Y'", "partitioning.time_pattern"),
        ("'multipart.max_parts' = 10", "multipart.*"),
        ("'json.compression' = 'gzip'", "json.compression (leave it out) of table t"),
        ("'json.include_schema' = 'true'", "json.include_schema (leave it out) of table t"),
        ("format = 'raw_bytes'", "format = 'raw_bytes' (write format = 'json') of table t"),
        ("format = 'avro'", "format = 'avro' (write format = 'json') of table t"),
        ("bad_data = 'drop'", "bad_data"),
    ] {
        let refused = sink(&format!(", {more}")).expect(more);
        assert!(refused.starts_with(named), "{more}: {refused}");
    }
    for (more, named) in [
        ("path = 's3://bucket/x'", "a filesystem source on object storage"),
        ("'source.compression' = 'zstd'", "source.compression"),
        ("'source.regex_pattern' = '.*'", "source.regex_pattern"),
    ] {
        let options = format!(
            "connector = 'filesystem', path = '/x', type = 'source', format = 'parquet', {more}"
        );
        let refused = with("id TEXT", &options).expect("a table").refusal().expect(more);
        assert!(refused.starts_with(named), "{more}: {refused}");
    }
}
