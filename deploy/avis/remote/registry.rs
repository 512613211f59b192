//! `avis registry` of a running node.

use std::path::Path;

use reqwest::{Method, header};
use serde::Deserialize;

use crate::{
    client::Client,
    commands::{keep, text},
    failure::Failure,
};

#[derive(Debug, Deserialize)]
struct Told {
    changes: Vec<Change>,
}

#[derive(Debug, Deserialize)]
struct Change {
    kind: String,
    id: String,
    change: String,
}

/// Applies all of a file, or nothing; nothing either where somebody else changes the registry
/// meanwhile.
///
/// # Errors
/// Where the file cannot be read, or the node refuses it.
pub async fn apply(server: &str, file: &Path, yes: bool) -> Result<(), Failure> {
    let (client, text) = (Client::of(server)?, text(file)?);
    // The tag of what the file was compared with.
    let compared = client.request(Method::POST, &["registry:diff"], &[]).body(text.clone());
    let seen = client.ask(compared).await?.headers().get(header::ETAG).cloned();
    let yes: &[_] = if yes { &[("yes", "true")] } else { &[] };
    let mut request = client.request(Method::PUT, &["registry"], yes).body(text);
    if let Some(tag) = seen {
        request = request.header(header::IF_MATCH, tag);
    }
    let told: Told = client.told(request).await?;
    println!("{} entries changed", told.changes.len());
    Ok(())
}

/// Shows what a file would change.
///
/// # Errors
/// Where the file cannot be read, or the node refuses it.
pub async fn diff(server: &str, file: &Path) -> Result<(), Failure> {
    let client = Client::of(server)?;
    let request = client.request(Method::POST, &["registry:diff"], &[]).body(text(file)?);
    let told: Told = client.told(request).await?;
    for Change { kind, id, change } in told.changes {
        let what = match change.as_str() {
            "added" => "+",
            "removed" => "-",
            _ => "~",
        };
        println!("{what} {kind}/{id}");
    }
    Ok(())
}

/// Writes the registry as one file, in a form that its name says.
///
/// # Errors
/// Where the node refuses, or the file cannot be written.
pub async fn export(server: &str, file: &Path, is_yaml: bool) -> Result<(), Failure> {
    let client = Client::of(server)?;
    let request = client.request(Method::GET, &["registry"], &[]);
    let text = if is_yaml {
        let bytes = client.bytes(request.header(header::ACCEPT, "application/yaml")).await?;
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        let told: serde_json::Value = client.told(request).await?;
        serde_json::to_string_pretty(&told).map_err(std::io::Error::from)?
    };
    keep(file, &text)
}
