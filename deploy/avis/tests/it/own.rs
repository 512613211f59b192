//! A pipeline of one's own: one file becomes a table of the node.

use std::path::Path;

use crate::{avis, sql, succeeded, up::Server};

const MINE: &str = "
CREATE TABLE big_sales WITH (
  connector = 'delta', path = 'big_sales', type = 'sink', format = 'parquet'
);
INSERT INTO big_sales
SELECT authorisation_id, merchant_id FROM authorisation_records
WHERE type = 'authorisation_decided'";

fn pipelines(data: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = avis();
    command.arg("pipelines").args(arguments).arg("--data").arg(data);
    command.output().expect("run")
}

#[test]
fn a_file_of_ones_own_becomes_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("demo");
    let arguments = ["demo", "--generate", "300", "--people", "100", "--json", "--out"];
    succeeded(&avis().args(arguments).arg(&out).output().expect("run"));
    let file = folder.path().join("big_sales.sql");
    std::fs::write(&file, MINE).expect("written");
    let file = file.to_str().expect("a path");

    let told = succeeded(&avis().args(["pipelines", "validate", file]).output().expect("run"));
    assert!(told.contains("fine, fills big_sales from authorisation_records"), "{told}");
    let told = succeeded(&avis().args(["pipelines", "explain", file]).output().expect("run"));
    assert!(told.contains("a query over each batch, to the table"), "{told}");
    succeeded(&pipelines(&out, &["add", file]));
    // One that does not run is left out, and stops nothing.
    std::fs::write(out.join("sql/broken.sql"), "SELECT 1").expect("written");

    let server = Server::start(&out);
    server.wait_until_ready();
    assert_eq!(sql(&out, "SELECT COUNT(*) FROM big_sales"), ["300"], "beside the server");
    server.stop();
    assert!(succeeded(&pipelines(&out, &["list"])).contains("big_sales"));

    let refused = pipelines(&out, &["restart", "big_sales", "--from", "10"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--yes"), "it asks before");
    succeeded(&pipelines(&out, &["restart", "big_sales", "--from", "earliest"]));
    assert_eq!(sql(&out, "SELECT COUNT(*) FROM big_sales"), ["0"]);
    let server = Server::start(&out);
    server.wait_until_ready();
    assert_eq!(sql(&out, "SELECT COUNT(*) FROM big_sales"), ["300"], "landed again");
    server.stop();
    succeeded(&pipelines(&out, &["remove", "big_sales"]));
    let gone = avis().args(["sql", "SELECT 1 FROM big_sales", "--data"]).arg(&out).output();
    assert_eq!(gone.expect("run").status.code(), Some(1));
}

#[test]
fn a_file_that_would_not_run_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.sql");
    std::fs::write(&file, MINE.replace("merchant_id FROM", "merchant FROM")).expect("written");
    let output = avis().args(["pipelines", "validate"]).arg(&file).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("merchant") && told.contains("mine.sql"), "{told}");
}

#[test]
fn files_of_ones_own_are_exported_too_and_a_lookup_in_a_stream_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    std::fs::create_dir_all(data.join("sql")).expect("a folder");
    std::fs::write(data.join("sql/big_sales.sql"), MINE).expect("written");
    let out_text = out.to_str().expect("a path");
    let export = |more: &[&str]| {
        let mut command = avis();
        command.args(["pipelines", "export", "--target", "arroyo", out_text]).args(more);
        command.arg("--data").arg(&data).output().expect("run")
    };
    succeeded(&export(&[]));
    let text = std::fs::read_to_string(out.join("big_sales.sql")).expect("it is exported");
    assert!(text.contains("connector = 'fluvio'"), "its source is there: {text}");
    assert!(out.join("calls.sql").is_file(), "beside the shipped ones");

    let lookup = MINE.replace(
        "authorisation_records\n",
        "authorisation_records\nJOIN m ON m.id = merchant_id\n",
    );
    let lookup = format!(
        "CREATE TEMPORARY TABLE m (id TEXT) WITH (
           connector = 'stream', topic = 'registry-changes', format = 'json');{lookup}"
    );
    let file = folder.path().join("looked_up.sql");
    std::fs::write(&file, lookup.replace("big_sales", "looked_up")).expect("written");
    let refused = export(&[file.to_str().expect("a path")]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("looked_up: the lookup table m") && told.contains("redis"), "{told}");
    assert!(!out.join("looked_up.sql").exists());
}
