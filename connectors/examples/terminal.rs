//! A terminal in a few lines: one basket a line on standard input, what applies on standard output.
//!
//! ```console
//! $ echo '{"mode": "sale", "lines": [{"line": 1, "item": "milk", "quantity": 1, "unit_price_cents": 129}]}' |
//!     AVIS_TOKEN=… cargo run --release -p connectors --example terminal -- http://127.0.0.1:8080 T-000012
//! ```

use std::{error::Error, io::BufRead, path::Path, time::Duration};

use connectors::client::{Client, ClientError, Settings};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: AVIS_TOKEN=… terminal SERVER TERMINAL";
    let settings = Settings {
        server: arguments.next().ok_or(usage)?,
        terminal: arguments.next().ok_or(usage)?,
        token: std::env::var("AVIS_TOKEN").map_err(|_| usage)?,
        timeout: Duration::from_secs(1),
        patience: Duration::from_secs(3),
    };
    let client = Client::open(settings, Path::new("terminal.journal"))?;
    // What the last run never heard of, before anything new.
    client.settle().await?;
    for line in std::io::stdin().lock().lines() {
        let mut basket: Value = serde_json::from_str(&line?)?;
        basket["occurred_at"] = json!(chrono::Utc::now().to_rfc3339());
        match client.authorise(basket).await {
            Ok(authorisation) => println!(
                "{} of {} cents are to be paid ({})",
                authorisation["payable_cents"],
                authorisation["total_cents"],
                authorisation["decision"].as_str().unwrap_or_default()
            ),
            // The customer pays the price; whatever was given meanwhile is undone.
            Err(ClientError::Unknown) => println!("no answer: the full price is to be paid"),
            Err(error) => println!("{error}"),
        }
        client.settle().await?;
    }
    Ok(())
}
