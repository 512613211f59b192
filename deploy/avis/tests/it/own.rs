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
