//! `avis pipelines list` of a running node.

use std::io::Write;

use reqwest::Method;

use crate::{
    client::Client,
    failure::Failure,
    pull::landing::{PipelineTold, PipelinesTold},
};

/// Shows every pipeline, and how far it is behind its stream.
///
/// # Errors
/// Where the node refuses, or nobody reads.
pub async fn list(server: &str) -> Result<(), Failure> {
    let client = Client::of(server)?;
    let told: PipelinesTold = client.told(client.request(Method::GET, &["pipelines"], &[])).await?;
    let mut out = std::io::stdout().lock();
    let (lag, waiting) = ("lag_records", "waiting_s");
    writeln!(out, "{:<24} {:<24} {lag:>12} {waiting:>10}  stream", "pipeline", "table")?;
    let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let number = |number: Option<u64>| text(number.map(|number| number.to_string()));
    for PipelineTold { name, table, stream, lag_records, waiting_seconds } in told.pipelines {
        let (table, stream) = (text(table), text(stream));
        let (lag, waiting) = (number(lag_records), number(waiting_seconds));
        writeln!(out, "{name:<24} {table:<24} {lag:>12} {waiting:>10}  {stream}")?;
    }
    Ok(())
}
