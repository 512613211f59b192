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
    cli::{Data, Format, SettleCommand, Where},
    commands::{are_apart, land_alone, node, print},
    failure::Failure,
    node::Node,
    remote::settle as remote,
    settlement,
};

/// `avis settle`.
///
/// # Errors
/// Where a period is wrong, something fails, or the books do not balance.
pub async fn run(command: SettleCommand) -> Result<(), Failure> {
    if let Some(server) = server(&command) {
        return ask(&server, command).await;
    }
    match command {
        SettleCommand::Close { period, at } => {
            close(&alone(&at.data()).await?, month(&period)?).await
        }
        SettleCommand::Export { period, grantor, out, at } => {
            export(&landed(&at.data()).await?, month(&period)?, grantor.as_deref(), &out).await
        }
        SettleCommand::List { format, at, .. } => list(&landed(&at.data()).await?, format).await,
        SettleCommand::Sent { period, grantor, at } => {
            sent(&alone(&at.data()).await?, month(&period)?, grantor.as_deref()).await
        }
        SettleCommand::Import { files, at } => {
            let node = alone(&at.data()).await?;
            for file in &files {
                import(&node, file).await?;
            }
            Ok(())
        }
        SettleCommand::Unmatched { at } => unmatched(&node(&at.data())?).await,
        SettleCommand::Check { at } => check(&landed(&at.data()).await?).await,
    }
}

/// The running node that is asked; none where a stopped one's data are worked on.
fn server(command: &SettleCommand) -> Option<String> {
    let at: &Where = match command {
        SettleCommand::Close { at, .. }
        | SettleCommand::Export { at, .. }
        | SettleCommand::List { at, .. }
        | SettleCommand::Sent { at, .. }
        | SettleCommand::Import { at, .. }
        | SettleCommand::Unmatched { at }
        | SettleCommand::Check { at } => at,
    };
    at.server.clone()
}

async fn ask(server: &str, command: SettleCommand) -> Result<(), Failure> {
    match command {
        SettleCommand::Close { period, .. } => remote::close(server, month(&period)?).await,
        SettleCommand::Export { period, grantor, out, .. } => {
            remote::export(server, month(&period)?, grantor.as_deref(), &out).await
        }
        SettleCommand::List { period, format, .. } => {
            let period = period.as_deref().map(month).transpose()?;
            remote::list(server, period, format).await
        }
        SettleCommand::Sent { period, grantor, .. } => {
            remote::sent(server, month(&period)?, grantor.as_deref()).await
        }
        SettleCommand::Import { files, .. } => remote::import(server, &files).await,
        SettleCommand::Unmatched { .. } => remote::unmatched(server).await,
        SettleCommand::Check { .. } => remote::check(server).await,
    }
}

/// A node whose tables have everything. Beside roles apart they are left to those, which may run.
async fn landed(data: &Data) -> Result<Node, Failure> {
    let node = node(data)?;
    land_alone(&node, data).await?;
    if !are_apart(data)? {
        settlement::follow(&node).await?;
    }
    Ok(node)
}

/// The same, for what writes the tables of settlements, which one process may.
async fn alone(data: &Data) -> Result<Node, Failure> {
    if are_apart(data)? {
        let text = "these settings are of roles apart, of which warehouse settles: ask the running \
                    roles by --server URL";
        return Err(Failure::Usage(text.into()));
    }
    landed(data).await
}

async fn note(node: &Node, action: &'static str, object: String) -> Result<(), Failure> {
    audit::note(node, audit::at_the_machine(action, object)).await
}

fn month(text: &str) -> Result<Month, Failure> {
    Month::parse(text).ok_or_else(|| Failure::Usage(format!("{text} is no month, YYYY-MM")))
}

async fn close(node: &Node, period: Month) -> Result<(), Failure> {
    if period.last_day() >= LocalTime::of(node.clock.now()).date {
        return Err(Failure::State(format!("{period} is not over yet")));
    }
    let (closing, is_new) = settlement::close(node, period, node.clock.now()).await?;
    note(node, "settlement.close", closing.name()).await?;
    let at = closing.closed.map(|closed| closed.at.to_rfc3339()).unwrap_or_default();
    tell_closed(&closing.name(), &at, is_new);
    Ok(())
}

/// Says that a month is closed.
pub fn tell_closed(name: &str, at: &str, is_new: bool) {
    if is_new {
        println!("{name} is closed as of {at}");
    } else {
        println!("{name} is closed as of {at}; nothing has come for it since");
    }
}

async fn export(
    node: &Node,
    period: Month,
    grantor: Option<&str>,
    out: &Path,
) -> Result<(), Failure> {
    let today = LocalTime::of(node.clock.now()).date;
    for closing in settlement::closings(&node.log, period).await? {
        let session = node.session()?;
        let (told, files) = statements::export(&session, &closing, grantor, out, today).await?;
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
    tell_sent(period, &numbers);
    Ok(())
}

/// Says which statements went to the bank.
pub fn tell_sent(period: Month, numbers: &[String]) {
    if numbers.is_empty() {
        println!("nothing of {period} waits to be sent");
    }
    for number in numbers {
        println!("{number} is sent");
    }
}

/// A bank's file, of which no more is read than one may have.
///
/// # Errors
/// Where it cannot be read.
pub fn bank_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(bank::LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

async fn import(node: &Node, path: &Path) -> Result<(), Failure> {
    let bytes = bank_file(path)?;
    let file = bank::read(&bytes)
        .map_err(|source| Failure::Bank { path: path.to_path_buf(), source: Box::new(source) })?;
    let hash = checksum(&bytes);
    let taken = settlement::take(node, &file, &hash, node.clock.now()).await;
    let taken = taken.map_err(|error| match error {
        Failure::State(text) => Failure::State(format!("{}: {text}", path.display())),
        other => other,
    })?;
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

/// What a bank told that fits no statement.
#[derive(Debug)]
pub struct Unmatched<'a> {
    /// `pain.002` or `camt.053`.
    pub kind: &'a str,
    /// The bank's id of its file.
    pub message_id: &'a str,
    /// How many days ago it was read.
    pub days: i64,
    /// The reference that the bank gives.
    pub reference: String,
    /// What it says of it.
    pub outcome: String,
    /// How much, where the bank says it.
    pub amount_cents: Option<i64>,
    /// Why it fits none.
    pub why: String,
}

impl Unmatched<'_> {
    /// Says so.
    pub fn tell(&self) {
        let amount = self.amount_cents.map(|cents| Amount::from_cents(cents).to_string());
        println!(
            "{} {}, {} days ago: {} {} {} euro: {}",
            self.kind,
            self.message_id,
            self.days,
            self.reference,
            self.outcome,
            amount.as_deref().unwrap_or("?"),
            self.why,
        );
    }
}

async fn unmatched(node: &Node) -> Result<(), Failure> {
    let now = node.clock.now().timestamp_micros();
    for file in settlement::bank_files(&node.log).await? {
        let days = (now - file.read_at) / 86_400_000_000;
        for entry in file.unmatched {
            let (kind, message_id) = (file.kind.as_str(), file.message_id.as_str());
            let (reference, outcome, why) = (entry.reference, entry.outcome, entry.why);
            let amount_cents = entry.amount_cents;
            Unmatched { kind, message_id, days, reference, outcome, amount_cents, why }.tell();
        }
    }
    Ok(())
}

async fn check(node: &Node) -> Result<(), Failure> {
    let (log, session) = (&node.log, node.session()?);
    let proof = settlement::prove(log, &session, &settlement::ends(log)?).await?;
    proof.balanced()?;
    tell_balanced(proof.statements, proof.owed_cents);
    Ok(())
}

/// Says that the books balance.
pub fn tell_balanced(statements: usize, owed_cents: i64) {
    let euro = Amount::from_cents(owed_cents);
    println!("the books balance: {statements} statements, {euro} euro owed by grantors");
}
