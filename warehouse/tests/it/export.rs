//! Rows written out.

use serde_json::{Value, json};
use warehouse::export::{Csv, Format};

use crate::world::{batch, loose};

fn rows() -> warehouse::session::Rows {
    loose(
        batch(
            "dead_letters",
            &[
                json!({"record_id": "R-1", "detail": "a \"quoted\" text, with a comma\nand a line",
                       "reason": "=HYPERLINK(1)", "origin": "ģimene", "payload_bytes": -3}),
                json!({"record_id": "R-2"}),
            ],
        )
        .project(&[0, 2, 3, 4, 6, 7])
        .unwrap(),
    )
}

fn text(format: Format) -> String {
    String::from_utf8(rows().bytes(format).unwrap()).unwrap()
}

#[test]
fn csv_is_as_rfc_4180_has_it() {
    let expected = "record_id,reason,detail,origin,payload_bytes,recorded_at\r\n\
        R-1,=HYPERLINK(1),\"a \"\"quoted\"\" text, with a comma\nand a line\",ģimene,-3,2025-01-10T10:00:00Z\r\n\
        R-2,x,x,x,0,2025-01-10T10:00:00Z\r\n";
    assert_eq!(text(Format::Csv(Csv::FILE)), expected);
    assert_eq!(text(Format::Csv(Csv::default())), expected.replace("\r\n", "\n"));
}

#[test]
fn a_spreadsheet_is_given_no_formula() {
    let guarded = text(Format::Csv(Csv::SPREADSHEET));
    assert!(guarded.contains("R-1,'=HYPERLINK(1),"), "{guarded}");
    // A negative number is a number.
    assert!(guarded.contains(",-3,"), "{guarded}");
}

#[test]
fn json_keeps_every_cent() {
    let line = batch("benefit_lines", &[json!({"amount": "12345678901234.05", "recipient": null})]);
    let columns = ["amount", "quantity", "recipient", "date", "occurred_at", "units"];
    let columns = columns.map(|name| line.schema().index_of(name).unwrap());
    let rows = loose(line.project(&columns).unwrap());
    let bytes = rows.bytes(Format::Json).unwrap();
    let read: Value = serde_json::from_slice(&bytes).unwrap();
    let expected = json!([{"amount": "12345678901234.05", "quantity": "1.000", "recipient": null,
        "date": "2025-01-10", "occurred_at": "2025-01-10T10:00:00Z", "units": 0}]);
    assert_eq!(read, expected);
}

#[test]
fn no_rows_are_an_empty_answer_of_the_same_form() {
    let none = loose(batch("means", &[]).project(&[0, 1]).unwrap());
    let text = |format| String::from_utf8(none.bytes(format).unwrap()).unwrap();
    assert_eq!(text(Format::Csv(Csv::default())), "token,issuer_id\n");
    assert_eq!(serde_json::from_str::<Value>(&text(Format::Json)).unwrap(), json!([]));
    assert!(text(Format::Table).contains("issuer_id"));
}

#[test]
fn parquet_reads_back() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let written = rows();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    std::fs::write(&path, written.bytes(Format::Parquet).unwrap()).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(read, written.batches);
}
