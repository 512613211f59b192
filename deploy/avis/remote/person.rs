//! `avis person` of a running node. The personal code goes in the body: paths are logged on their way.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{client::Client, failure::Failure, pull::persons::PersonErased};

/// Everything that a node holds of somebody.
///
/// # Errors
/// Where the node refuses, or does not know the person.
pub async fn export(server: &str, person: &str) -> Result<Value, Failure> {
    let client = Client::patient(server)?;
    let request = client.request(Method::POST, &["persons:export"], &[]);
    client.told(request.json(&json!({"person": person}))).await
}

/// Has a node forget somebody; answers how many means were blocked.
///
/// # Errors
/// Where the node refuses, or does not know the person.
pub async fn erase(server: &str, person: &str) -> Result<usize, Failure> {
    let client = Client::patient(server)?;
    let request = client.request(Method::POST, &["persons:erase"], &[]);
    let erasing = json!({"person": person, "confirmed": true});
    let PersonErased { means } = client.told(request.json(&erasing)).await?;
    Ok(means)
}
