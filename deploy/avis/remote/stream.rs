//! `avis stream` of a running node.

use std::io::Write;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;

use crate::{
    cli::{From, RecordFormat},
    client::Client,
    failure::Failure,
    pull::streams::{PartitionTold, StreamsTold},
};

/// What a line of the table has of a record.
#[derive(Debug, Deserialize)]
struct Told {
    source_partition: u32,
    source_offset: u64,
    recorded_at: DateTime<Utc>,
    r#type: String,
    key: String,
}

/// Every partition of every stream.
///
/// # Errors
/// Where the node refuses.
pub async fn list(server: &str) -> Result<Vec<PartitionTold>, Failure> {
    let client = Client::of(server)?;
    let told: StreamsTold = client.told(client.request(Method::GET, &["streams"], &[])).await?;
    Ok(told.partitions)
}

/// Shows records of a stream as they come.
///
/// # Errors
/// Where the node refuses, or nobody reads.
pub async fn tail(
    server: &str,
    topic: &str,
    from: Option<From>,
    most: usize,
    format: RecordFormat,
) -> Result<(), Failure> {
    let client = Client::of(server)?;
    let (from, most) = (from.map(|from| from.to_string()), most.to_string());
    let mut query = vec![("most", most.as_str())];
    query.extend(from.as_deref().map(|from| ("from", from)));
    let request = client.request(Method::GET, &["streams", topic, "records"], &query);
    let mut response = client.ask(request).await?;
    let mut waiting = Vec::<u8>::new();
    while let Some(piece) = response.chunk().await.map_err(|error| client.failed(&error))? {
        waiting.extend_from_slice(&piece);
        let end = waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = waiting.drain(..end).collect();
        print(&client, &whole, format)?;
    }
    Ok(())
}

/// Prints whole lines.
fn print(client: &Client, lines: &[u8], format: RecordFormat) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if format == RecordFormat::Json {
        return Ok(out.write_all(lines)?);
    }
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let told: Told = serde_json::from_slice(line).map_err(|error| {
            Failure::Server(format!("{}: a record cannot be read: {error}", client.shown()))
        })?;
        let Told { source_partition, source_offset, recorded_at, r#type: name, key } = told;
        let at = recorded_at.format("%FT%T%.3fZ");
        writeln!(out, "{source_partition}/{source_offset:<10} {at} {name:<24} {key}")?;
    }
    Ok(())
}
