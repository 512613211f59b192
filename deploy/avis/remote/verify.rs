//! `avis verify` of a running node.

use reqwest::Method;

use crate::{client::Client, failure::Failure, verify::Findings};

/// Has a node compare what can be proved while it runs, for as long as it lets whoever reads wait.
///
/// # Errors
/// Where the node refuses or cannot be reached.
pub async fn all(server: &str) -> Result<Findings, Failure> {
    let client = Client::patient(server)?;
    client.told(client.request(Method::GET, &["verification"], &[])).await
}
