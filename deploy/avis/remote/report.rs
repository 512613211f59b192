//! `avis report` of a running node.

use std::io::Write;

use chrono::NaiveDate;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::print_objects;
use crate::{cli::Format, client::Client, commands, failure::Failure};

#[derive(Debug, Deserialize)]
struct Known {
    name: String,
    title_lv: String,
    title_en: String,
}

/// Shows the reports there are.
///
/// # Errors
/// Where the node refuses.
pub async fn list(server: &str) -> Result<(), Failure> {
    let client = Client::of(server)?;
    let known: Vec<Known> = client.told(client.request(Method::GET, &["reports"], &[])).await?;
    for Known { name, title_lv, title_en } in known {
        commands::tell_report(&name, &title_en, &title_lv);
    }
    Ok(())
}

/// Prints a report, of what the token's role sees.
///
/// # Errors
/// Where the node refuses, or has no such form.
pub async fn one(
    server: &str,
    name: &str,
    (from, to): (NaiveDate, NaiveDate),
    format: Format,
) -> Result<(), Failure> {
    let form = match format {
        Format::Table | Format::Json => "json",
        Format::Csv => "csv",
        Format::Xlsx => "xlsx",
        Format::Html => "html",
        Format::Parquet => {
            let text = "a running node tells reports as table, csv, json, xlsx or html";
            return Err(Failure::Usage(text.into()));
        }
    };
    let client = Client::of(server)?;
    let (from, to) = (from.to_string(), to.to_string());
    let query = [("from", from.as_str()), ("to", to.as_str()), ("format", form)];
    let request = client.request(Method::GET, &["reports", name], &query);
    if format == Format::Table {
        let rows: Vec<Map<String, Value>> = client.told(request).await?;
        return print_objects(&rows, format);
    }
    let bytes = client.bytes(request).await?;
    Ok(std::io::stdout().lock().write_all(&bytes)?)
}
