use super::*;
use crate::catalogue::{SOURCES, TABLES};

fn target() -> Target {
    Target {
        endpoint: "fluvio:9003".into(),
        topic_prefix: "north-".into(),
        warehouse: "s3://lake/avis/".into(),
        storage: BTreeMap::from([("aws_region".into(), "eu-north-1".into())]),
    }
}

fn exported(name: &str) -> String {
    let file = TABLES.iter().find(|(file, _)| *file == name).expect(name);
    let exported = arroyo(SOURCES, *file, &target()).expect("exported");
    assert_eq!(exported.name, format!("{name}.sql"));
    exported.text
}

/// A text without what stands in `WITH (…)` of its tables.
fn without(text: &str) -> String {
    with::replace("t", text, |_| Vec::new()).expect("SQL")
}

#[test]
fn only_the_with_clauses_differ() {
    for (file, text) in TABLES {
        let exported = exported(file);
        let read = read(&parse(file, text).expect("SQL"));
        let mut wanted: Vec<_> = SOURCES
            .iter()
            .filter(|(source, _)| read.contains(*source))
            .map(|(_, text)| without(text))
            .collect();
        assert!(!wanted.is_empty(), "{file} reads a source");
        wanted.push(without(text));
        assert_eq!(without(&exported), wanted.join("\n"), "{file}");
    }
}

#[test]
fn an_exported_file_is_the_dialects_and_stands_alone() {
    for (file, _) in TABLES {
        let text = exported(file);
        let mut connectors = Vec::new();
        for statement in parse(file, &text).expect("SQL") {
            if let Statement::Table(table) = statement {
                connectors.push(table.connector);
            }
        }
        let (sink, sources) = connectors.split_last().expect("tables");
        let Connector::Delta(sink) = sink else { panic!("{file}: {sink:?}") };
        assert_eq!(sink.path, format!("s3://lake/avis/{file}"));
        assert_eq!(sink.storage.len(), 1);
        for source in sources {
            let Connector::Fluvio(source) = source else { panic!("{file}: {source:?}") };
            assert_eq!(source.endpoint.as_deref(), Some("fluvio:9003"));
            assert!(source.topic.starts_with("north-"), "{}", source.topic);
            assert_eq!(source.offset, crate::dialect::connector::SourceOffset::Earliest);
        }
    }
}

#[test]
fn what_looks_like_a_clause_and_is_none_stays() {
    let head = "-- WITH (ā) CREATE TABLE\nCREATE TABLE \"ē\" ";
    let query = "\nINSERT INTO \"ē\" WITH with_ AS (SELECT ')' AS a FROM s) SELECT a FROM with_;";
    let options = "WITH (connector = 'delta', path = 'x', type = 'sink', format = 'parquet', \
                   'filename.prefix' = 'WITH (a)');";
    let changed = replaced("t", &format!("{head}{options}{query}"), &target()).expect("SQL");
    let options = "WITH (\n  connector = 'delta',\n  path = 's3://lake/avis/x',\n  type = \
                   'sink',\n  format = 'parquet',\n  'filename.prefix' = 'WITH (a)',\n  \
                   'storage.aws_region' = 'eu-north-1'\n);";
    let wanted = format!("{head}{options}{query}");
    assert_eq!(changed, wanted);
}

const OWN: &str = "
-- What an operator wrote: a view, a memory table, a quoted name, and a table of his own.
CREATE TABLE registry_records (id TEXT NOT NULL) WITH (
  connector = 'stream', topic = 'registry-changes', format = 'json', type = 'source'
);
CREATE TABLE held (id TEXT) WITH (connector = 'memory');
CREATE TEMPORARY TABLE names (id TEXT METADATA FROM 'key' PRIMARY KEY, name TEXT) WITH (
  connector = 'redis', address = 'redis://cache:6379', format = 'json'
);
CREATE VIEW sold AS SELECT merchant_id FROM \"authorisation_records\";
CREATE TABLE mine WITH (connector = 'delta', path = 'mine', type = 'sink', format = 'parquet');
INSERT INTO held SELECT id FROM registry_records;
INSERT INTO mine SELECT merchant_id, name FROM sold LEFT JOIN names ON merchant_id = names.id;";

#[test]
fn of_an_operators_own_file_too_only_the_with_clauses_differ() {
    let exported = arroyo(SOURCES, ("mine", OWN), &target()).expect("exported");
    assert_eq!(exported.name, "mine.sql");
    let (_, source) =
        SOURCES.iter().find(|(source, _)| *source == "authorisation_records").expect("a source");
    // What it declares itself is not declared again.
    let wanted = [without(source), without(OWN)].join("\n");
    assert_eq!(without(&exported.text), wanted);
    let statements = parse("mine", &exported.text).expect("SQL");
    let tables = statements.iter().filter_map(|statement| match statement {
        Statement::Table(table) => Some((table.name.as_str(), table.connector.name())),
        _ => None,
    });
    let wanted = [
        ("authorisation_records", "fluvio"),
        ("registry_records", "fluvio"),
        ("held", "memory"),
        ("names", "redis"),
        ("mine", "delta"),
    ];
    assert_eq!(tables.collect::<Vec<_>>(), wanted);
    let lake = "path = 's3://lake/avis/mine'";
    assert!(exported.text.contains(lake), "{}", exported.text);
    assert!(exported.text.contains("address = 'redis://cache:6379'"), "{}", exported.text);
}

#[test]
fn a_lookup_in_a_stream_is_refused_with_what_a_cluster_needs() {
    let text = "CREATE TEMPORARY TABLE merchants (id TEXT, name TEXT) WITH (
           connector = 'stream', topic = 'registry-changes', format = 'json');
         CREATE TABLE mine WITH (
           connector = 'delta', path = 'mine', type = 'sink', format = 'parquet');
         INSERT INTO mine SELECT a.merchant_id, m.name FROM authorisation_records a
         LEFT JOIN merchants m ON m.id = a.merchant_id;";
    let refused = arroyo(SOURCES, ("mine", text), &target()).expect_err("refused").to_string();
    for told in ["mine: the lookup table merchants of the stream registry-changes", "METADATA FROM"]
    {
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn the_readme_says_where_and_what_to_know() {
    let Exported { name, text } = readme("calls", &target());
    assert_eq!(name, "README.md");
    assert!(text.contains("`fluvio:9003`") && text.contains("`s3://lake/avis`"), "{text}");
    assert!(text.contains("arroyo run calls.sql"), "{text}");
    assert!(text.contains("fluvio-community/fluvio#4627"), "{text}");
}
