//! `avis audit verify` of a running node.

use ingest::audit::Checkpoint;
use reqwest::Method;
use serde_json::json;

use crate::{audit::TrailProved, client::Client, failure::Failure};

/// Has a node compare its trail with checkpoints that were kept elsewhere, or with its own.
///
/// # Errors
/// Where the node refuses.
pub async fn prove(
    server: &str,
    checkpoints: Option<&[Checkpoint]>,
    key: Option<&str>,
) -> Result<TrailProved, Failure> {
    let client = Client::patient(server)?;
    let request = client.request(Method::POST, &["audit:verify"], &[]);
    client.told(request.json(&json!({"checkpoints": checkpoints, "key": key}))).await
}
