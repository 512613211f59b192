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
    let files = arroyo(SOURCES, TABLES, &target()).expect("exported");
    files.into_iter().find(|file| file.name == name).expect(name).text
}

/// A text without what stands in `WITH (…)` of its tables.
fn without(text: &str) -> String {
    with::replace("t", text, |_| Vec::new()).expect("SQL")
}

#[test]
fn only_the_with_clauses_differ() {
    let files = arroyo(SOURCES, TABLES, &target()).expect("exported");
    assert_eq!(files.len(), TABLES.len() + 1);
    for (file, text) in TABLES {
        let exported = exported(&format!("{file}.sql"));
        let read = read(file, text).expect("SQL");
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
        let text = exported(&format!("{file}.sql"));
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

#[test]
fn the_readme_says_where_and_what_to_know() {
    let readme = exported("README.md");
    assert!(readme.contains("`fluvio:9003`") && readme.contains("`s3://lake/avis`"), "{readme}");
    assert!(readme.contains("fluvio-community/fluvio#4627"), "{readme}");
}
