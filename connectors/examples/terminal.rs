//! A terminal in a few lines: one basket a line on standard input, what applies on standard output.
//!
//! ```console
//! $ cargo run --release -p connectors --example terminal -- enrol http://127.0.0.1:8080 T-000012 ABCD-EFGH-JKLM-NPQR
//! $ echo '{"mode": "sale", "lines": [{"line": 1, "item": "milk", "quantity": 1, "unit_price_cents": 129}]}' |
//!     cargo run --release -p connectors --example terminal -- http://127.0.0.1:8080 T-000012
//! ```
//!
//! The code comes from the merchant (`PUT /v1/terminals/{id}/enrolment`). Instead of a key of its own the
//! terminal may have a token in `AVIS_TOKEN`.

use std::{error::Error, io::BufRead, path::Path, time::Duration};

use connectors::client::{Client, ClientError, Credential, Key, Settings, enrol};
use serde_json::{Value, json};

/// Where the terminal's key lies: readable by nobody else, on a real terminal.
const KEY: &str = "terminal.key";
const TIMEOUT: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (server, terminal) = match arguments[..] {
        ["enrol", server, terminal, code] => {
            let key = Key::generate("first")?;
            std::fs::write(KEY, &key.pkcs8)?;
            enrol(server, terminal, &key, code, TIMEOUT).await?;
            println!("{terminal} has a key of its own now, in {KEY}");
            return Ok(());
        }
        [server, terminal] => (server.to_owned(), terminal.to_owned()),
        _ => return Err("usage: terminal [enrol] SERVER TERMINAL [CODE]".into()),
    };
    let credential = match std::env::var("AVIS_TOKEN") {
        Ok(token) => Credential::Token(token),
        Err(_) => Credential::Key(Key { id: "first".into(), pkcs8: std::fs::read(KEY)? }),
    };
    let patience = Duration::from_secs(3);
    let settings = Settings { server, terminal, credential, timeout: TIMEOUT, patience };
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
