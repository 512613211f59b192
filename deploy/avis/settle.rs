//! `avis settle`: closes periods, hands statements to finance, reads what banks answer, proves it all.

use std::{io::Read, path::Path};

use domain::{
    amount::Amount,
    period::{LocalTime, Month},
};
use warehouse::{
    file::checksum,
    settlement::{self as statements, bank},
};

use crate::{
    audit,
    cli::{Format, SettleCommand},
    commands::{land, node, print},
    failure::Failure,
    node::Node,
    settlement,
};

/// `avis settle`.
///
/// # Errors
/// Where a period is wrong, something fails, or the books do not balance.
pub async fn run(command: SettleCommand) -> Result<(), Failure> {
    match command {
        SettleCommand::Close { period, data } => {
            close(&landed(&data).await?, month(&period)?).await
        }
        SettleCommand::Export { period, grantor, out, data } => {
            export(&landed(&data).await?, month(&period)?, grantor.as_deref(), &out).await
        }
        SettleCommand::List { format, data } => list(&landed(&data).await?, format).await,
        SettleCommand::Sent { period, grantor, data } => {
            sent(&landed(&data).await?, month(&period)?, grantor.as_deref()).await
        }
        SettleCommand::Import { files, data } => {
            let node = landed(&data).await?;
            for file in &files {
                import(&node, file).await?;
            }
            Ok(())
        }
        SettleCommand::Unmatched { data } => unmatched(&node(&data)?).await,
        SettleCommand::Check { data } => check(&landed(&data).await?).await,
    }
}

/// A node whose tables have everything.
async fn landed(data: &crate::cli::Data) -> Result<Node, Failure> {
    let node = node(data)?;
    land(&node).await?;
    settlement::follow(&node).await?;
    Ok(node)
}

async fn note(node: &Node, action: &'static str, object: String) -> Result<(), Failure> {
    audit::note(node, audit::at_the_machine(action, object)).await
}

fn month(text: &str) -> Result<Month, Failure> {
    Month::parse(text).ok_or_else(|| Failure::Usage(format!("{text} is no month, YYYY-MM")))
}

async fn close(node: &Node, period: Month) -> Result<(), Failure> {
    if period.last_day() >= LocalTime::of(node.clock.now()).date {
        return Err(Failure::Usage(format!("{period} is not over yet")));
    }
    let (closing, is_new) = settlement::close(node, period, node.clock.now()).await?;
    note(node, "settlement.close", closing.name()).await?;
    let at = closing.closed.map(|closed| closed.at.to_rfc3339()).unwrap_or_default();
    let name = closing.name();
    if is_new {
        println!("{name} is closed as of {at}");
    } else {
        println!("{name} is closed as of {at}; nothing has come for it since");
    }
    Ok(())
}

async fn export(
    node: &Node,
    period: Month,
    grantor: Option<&str>,
    out: &Path,
) -> Result<(), Failure> {
    for closing in settlement::closings(&node.log, period).await? {
        let session = node.session()?;
        let (told, files) = statements::export(&session, &closing, grantor, out).await?;
        let state = if closing.closed.is_some() { "closed" } else { "open: drafts" };
        let name = closing.name();
        println!("{} statements of {name} ({state}) in {}", told.len(), out.display());
        for file in files {
            println!("  {file}");
        }
    }
    Ok(())
}

async fn list(node: &Node, format: Format) -> Result<(), Failure> {
    print(&statements::states(&node.session()?).await?, format)
}

async fn sent(node: &Node, period: Month, grantor: Option<&str>) -> Result<(), Failure> {
    let numbers = settlement::send(node, period, grantor, node.clock.now()).await?;
    note(node, "settlement.send", period.to_string()).await?;
    if numbers.is_empty() {
        println!("nothing of {period} waits to be sent");
    }
    for number in numbers {
        println!("{number} is sent");
    }
    Ok(())
}

async fn import(node: &Node, path: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(bank::LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let file = bank::read(&bytes)
        .map_err(|source| Failure::Bank { path: path.to_path_buf(), source: Box::new(source) })?;
    let hash = checksum(&bytes);
    let taken = settlement::take(node, &file, &hash, node.clock.now()).await?;
    note(node, "settlement.import", hash).await?;
    let Some(matched) = taken else {
        println!("{}: read before; nothing changes", path.display());
        return Ok(());
    };
    println!("{}: {} {}", path.display(), file.kind.code(), file.message_id);
    for (statement, outcome, reason) in &matched.told {
        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        println!("  {statement} {}{reason}", outcome.code());
    }
    if !matched.unmatched.is_empty() {
        let count = matched.unmatched.len();
        println!("  {count} entries fit no statement: see `avis settle unmatched`");
    }
    Ok(())
}

async fn unmatched(node: &Node) -> Result<(), Failure> {
    let now = node.clock.now().timestamp_micros();
    for file in settlement::bank_files(&node.log).await? {
        let days = (now - file.read_at) / 86_400_000_000;
        for entry in file.unmatched {
            let amount = entry.amount_cents.map(|cents| Amount::from_cents(cents).to_string());
            println!(
                "{} {}, {days} days ago: {} {} {} euro: {}",
                file.kind,
                file.message_id,
                entry.reference,
                entry.outcome,
                amount.as_deref().unwrap_or("?"),
                entry.why,
            );
        }
    }
    Ok(())
}

async fn check(node: &Node) -> Result<(), Failure> {
    let (log, session) = (&node.log, node.session()?);
    let proof = settlement::prove(log, &session, &settlement::ends(log)?).await?;
    proof.balanced()?;
    let euro = Amount::from_cents(proof.owed_cents);
    println!("the books balance: {} statements, {euro} euro owed by grantors", proof.statements);
    Ok(())
}
