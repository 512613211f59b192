//! Whether two answers are the same rows, however often and in whatever order, and whatever each
//! engine calls an instant or a number.

use std::{collections::BTreeMap, ffi::OsStr, fs, io, path::Path};

use arrow::{array::RecordBatch, json::LineDelimitedWriter};
use chrono::NaiveDateTime;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Fails where a peer's answer, in a file or a folder, is another one than ours.
pub fn agree(what: &str, ours: &[String], peer: &str, theirs: &Path) -> Result<()> {
    match difference(ours, &read(theirs)?) {
        Some(difference) => {
            Err(format!("{what}: {peer} answers otherwise than we do: {difference}").into())
        }
        None => Ok(()),
    }
}

/// The rows of an answer: a file of lines, or a folder of such files. In an order of their own.
pub fn read(path: &Path) -> io::Result<Vec<String>> {
    let mut rows = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Beside its files an engine keeps hidden ones, which say what it knows of them.
            if !hidden(&entry.file_name()) {
                rows.append(&mut read(&entry.path())?);
            }
        }
    } else {
        for line in fs::read_to_string(path)?.lines() {
            rows.push(row(line)?);
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

/// The rows of batches, as [`read`] has those of a file.
pub fn rows(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner())?;
    let mut rows = text.lines().map(row).collect::<io::Result<Vec<_>>>()?;
    rows.sort_unstable();
    Ok(rows)
}

/// How two answers differ first, if they do.
fn difference(ours: &[String], theirs: &[String]) -> Option<String> {
    let rows = 0..ours.len().max(theirs.len());
    let first = rows.into_iter().find(|at| ours.get(*at) != theirs.get(*at))?;
    let said = |of: &[String]| of.get(first).map_or("no row", String::as_str).to_owned();
    let (ours_say, theirs_say) = (said(ours), said(theirs));
    let (ours, theirs) = (ours.len(), theirs.len());
    Some(format!(
        "{ours} rows beside {theirs}; sorted, they differ in row {first}: {ours_say} beside \
         {theirs_say}"
    ))
}

fn hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// A line as its columns by name.
fn row(line: &str) -> io::Result<String> {
    let columns: BTreeMap<String, Value> = serde_json::from_str(line)?;
    let told = columns.iter().filter(|(_, value)| !value.is_null());
    let told: Vec<_> = told.map(|(name, value)| format!("{name} {}", plain(value))).collect();
    Ok(told.join(", "))
}

/// A value without what is only its form: `1.50` and `1.5`, an instant with and without a zone.
/// Numbers of no more than fifteen digits differ as floats where they differ at all.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => match instant(text) {
            Some(instant) => instant.and_utc().timestamp_micros().to_string(),
            None => text.clone(),
        },
        Value::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
        }
        other => other.to_string(),
    }
}

fn instant(text: &str) -> Option<NaiveDateTime> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let bare = text.strip_suffix('Z').unwrap_or(text).replacen(' ', "T", 1);
    NaiveDateTime::parse_from_str(&bare, "%Y-%m-%dT%H:%M:%S%.f").ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};

    use super::{agree, difference, row};

    fn rows(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| row(line).expect("a row")).collect()
    }

    #[test]
    fn one_row_has_several_forms() {
        let [one, other] = rows(&[
            r#"{"price": 90.800, "at": "2015-07-15T00:00:00", "of": null, "name": "2 Bs"}"#,
            r#"{"name": "2 Bs", "at": "2015-07-15 00:00:00.000Z", "price": 90.8}"#,
        ])
        .try_into()
        .expect("two");
        assert_eq!(one, other);
        assert_eq!(rows(&[r#"{"a": 908}"#]), rows(&[r#"{"a": 908.000}"#]));
    }

    #[test]
    fn the_first_difference_is_told() {
        let (one, other) = (rows(&[r#"{"a": 1}"#, r#"{"a": 2}"#]), rows(&[r#"{"a": 1}"#]));
        assert_eq!(difference(&one, &one), None);
        let told = difference(&one, &other).expect("a difference");
        assert_eq!(told, "2 rows beside 1; sorted, they differ in row 1: a 2 beside no row");
    }

    #[test]
    fn a_peers_file_has_to_say_what_our_batches_say() {
        let columns: [(&str, ArrayRef); 2] = [
            ("begins", Arc::new(TimestampMicrosecondArray::from(vec![0, 60_000_000]))),
            ("sales", Arc::new(Int64Array::from(vec![3, 4]))),
        ];
        let ours = super::rows(&[RecordBatch::try_from_iter(columns).expect("a batch")]);
        let ours = ours.expect("rows");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peer.ndjson");
        let theirs = |last: u64| {
            let first = r#"{"begins":"1970-01-01 00:01:00","sales":4.0}"#;
            let rest = format!(r#"{{"sales":{last},"begins":"1970-01-01T00:00:00.000000"}}"#);
            std::fs::write(&path, format!("{first}\n{rest}\n")).expect("written");
            agree("sales", &ours, "a peer", &path)
        };
        assert!(theirs(3).is_ok());
        assert!(theirs(5).is_err());
    }
}
