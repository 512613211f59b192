//! `avis simulate` of a running node.

use std::path::Path;

use chrono::NaiveDate;
use reqwest::Method;

use crate::{client::Client, commands::text, failure::Failure, simulate::Told};

/// Has a node play its recorded transactions under the rules of a file.
///
/// # Errors
/// Where the file cannot be read, or the node refuses it.
pub async fn simulate(
    server: &str,
    registry: &Path,
    (from, to): (NaiveDate, NaiveDate),
) -> Result<Told, Failure> {
    let (client, text) = (Client::patient(server)?, text(registry)?);
    let (from, to) = (from.to_string(), to.to_string());
    let query = [("from", from.as_str()), ("to", to.as_str())];
    client.told(client.request(Method::POST, &["registry:simulate"], &query).body(text)).await
}
