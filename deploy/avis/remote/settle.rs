//! `avis settle` of a running node.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use domain::period::Month;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use warehouse::file;

use super::print_objects;
use crate::{
    cli::Format,
    client::Client,
    failure::Failure,
    pull::{
        proofs::BooksProved,
        settlements::{Closed, Sent},
    },
    settle::{Unmatched, bank_file, tell_balanced, tell_closed, tell_sent},
    settlement::unbalanced,
};

#[derive(Debug, Deserialize)]
struct Stated {
    statement: String,
    grantor: String,
    state: String,
    payable_cents: i64,
}

#[derive(Debug, Deserialize)]
struct Taken {
    message_id: String,
    is_new: bool,
    told: Vec<TakenStatement>,
    unmatched: usize,
}

#[derive(Debug, Deserialize)]
struct TakenStatement {
    statement: String,
    outcome: String,
}

#[derive(Debug, Deserialize)]
struct ReadFile {
    kind: String,
    message_id: String,
    read_at: DateTime<Utc>,
    unmatched: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    reference: String,
    outcome: String,
    amount_cents: Option<i64>,
    why: String,
}

/// Closes a month.
///
/// # Errors
/// Where the node refuses.
pub async fn close(server: &str, period: Month) -> Result<(), Failure> {
    let client = Client::of(server)?;
    let period = json!({"period": period.to_string()});
    let request = client.request(Method::POST, &["settlements"], &[]).json(&period);
    let Closed { closing, closed_at, is_new } = client.told(request).await?;
    tell_closed(&closing, &closed_at, is_new);
    Ok(())
}

/// Shows a month's statements, drafts among them.
///
/// # Errors
/// Where the node refuses, or no month is said.
pub async fn list(server: &str, period: Option<Month>, format: Format) -> Result<(), Failure> {
    let missing = || Failure::Usage("a running node lists one month: say --period YYYY-MM".into());
    let period = period.ok_or_else(missing)?.to_string();
    let query = [("period", period.as_str())];
    let mut stated: Vec<Map<String, Value>> =
        Client::of(server)?.pages(&["settlements"], &query, "statements").await?;
    for of in &mut stated {
        // It stands only with those that a bank refused.
        of.entry("reason").or_insert(Value::Null);
    }
    print_objects(&stated, format)
}

/// Writes each statement of a month as files of its own, and each payment order once.
///
/// # Errors
/// Where the node refuses, or a file cannot be written.
pub async fn export(
    server: &str,
    period: Month,
    grantor: Option<&str>,
    out: &Path,
) -> Result<(), Failure> {
    let (client, period) = (Client::of(server)?, period.to_string());
    let query = [("period", period.as_str())];
    let mut all: Vec<Stated> = client.pages(&["settlements"], &query, "statements").await?;
    all.retain(|of| grantor.is_none_or(|grantor| of.grantor == grantor));
    let mut names = BTreeSet::new();
    for Stated { statement, state, payable_cents, .. } in &all {
        let form = |form| {
            let path = ["settlements", statement.as_str(), "files", form];
            client.request(Method::GET, &path, &[])
        };
        for kind in ["csv", "xlsx", "json"] {
            let name = file_name(&format!("{statement}.{kind}"));
            file::write(&out.join(&name), &client.bytes(form(kind)).await?)?;
            names.insert(name);
        }
        if state == "draft" || *payable_cents <= 0 {
            continue;
        }
        // A merchant that grants its own benefits is paid nothing.
        if let Some(order) = client.bytes_if_any(form("pain001")).await? {
            let name = file_name(&format!("pain001-{}.xml", message_id(&order)));
            if names.insert(name.clone()) {
                file::write(&out.join(&name), &order)?;
            }
        }
    }
    println!("{} statements of {period} in {}", all.len(), out.display());
    names.iter().for_each(|name| println!("  {name}"));
    Ok(())
}

/// A file's name, whatever ids are in it.
fn file_name(text: &str) -> String {
    text.replace(['/', '\\'], "+")
}

/// The id of a payment order, which is the order of all of its grantor's statements.
fn message_id(order: &[u8]) -> String {
    let text = String::from_utf8_lossy(order);
    let id = text.split_once("<MsgId>").and_then(|(_, rest)| rest.split_once("</MsgId>"));
    id.map(|(id, _)| id.to_owned()).unwrap_or_default()
}

/// Notes that a month's payment orders went to the bank.
///
/// # Errors
/// Where the node refuses.
pub async fn sent(server: &str, period: Month, grantor: Option<&str>) -> Result<(), Failure> {
    let client = Client::of(server)?;
    let which = json!({"period": period.to_string(), "grantor": grantor});
    let request = client.request(Method::POST, &["settlements:sent"], &[]).json(&which);
    let Sent { statements } = client.told(request).await?;
    tell_sent(period, &statements);
    Ok(())
}

/// Hands on what banks answer.
///
/// # Errors
/// Where a file cannot be read, or the node refuses it; those before it are read then.
pub async fn import(server: &str, files: &[PathBuf]) -> Result<(), Failure> {
    let client = Client::of(server)?;
    for path in files {
        let request = client.request(Method::POST, &["bank-files"], &[]).body(bank_file(path)?);
        let taken = client.told::<Taken>(request).await;
        let taken =
            taken.map_err(|error| Failure::Server(format!("{}: {error}", path.display())))?;
        if !taken.is_new {
            println!("{}: read before; nothing changes", path.display());
            continue;
        }
        println!("{}: {}", path.display(), taken.message_id);
        for TakenStatement { statement, outcome } in taken.told {
            println!("  {statement} {outcome}");
        }
        if taken.unmatched > 0 {
            let count = taken.unmatched;
            println!("  {count} entries fit no statement: see `avis settle unmatched`");
        }
    }
    Ok(())
}

/// Has a node prove that its books balance.
///
/// # Errors
/// Where the node refuses, or they do not.
pub async fn check(server: &str) -> Result<(), Failure> {
    let client = Client::patient(server)?;
    let request = client.request(Method::GET, &["settlements:check"], &[]);
    let mut proved: BooksProved = client.told(request).await?;
    if proved.balance {
        tell_balanced(proved.statements, proved.owed_cents);
        return Ok(());
    }
    if proved.not_named > 0 {
        proved.differences.push(format!("and {} more", proved.not_named));
    }
    Err(unbalanced(proved.difference_cents, &proved.differences))
}

/// Shows what banks told that fits no statement.
///
/// # Errors
/// Where the node refuses.
pub async fn unmatched(server: &str) -> Result<(), Failure> {
    let client = Client::of(server)?;
    for file in client.pages::<ReadFile>(&["bank-files"], &[], "items").await? {
        let days = (Utc::now() - file.read_at).num_days();
        for Entry { reference, outcome, amount_cents, why } in file.unmatched {
            let (kind, message_id) = (file.kind.as_str(), file.message_id.as_str());
            Unmatched { kind, message_id, days, reference, outcome, amount_cents, why }.tell();
        }
    }
    Ok(())
}
