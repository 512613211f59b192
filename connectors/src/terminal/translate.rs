//! A transaction of a file as an upload of the stream.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use domain::{
    basket::{Line, Lines},
    id::{IdempotencyKey, InstructionId, MeansToken, TerminalId},
    registry::Registry,
};
use ingest::{
    dead_letter::Reason,
    document::{Cursor, Fields},
    record::{Record, outside_id},
    vault::Vault,
    wire::v1::{AppliedLine, Event, TransactionUploaded},
};
use prost::Message;

use super::basket;
use crate::{connector::Refusal, json};

/// The most instructions by which a terminal gave something on one line: far more than there can be, and
/// few enough to stand beside each other in every record of it.
const MOST_ON_LINE: usize = 100;

/// The terminals of the registry.
#[derive(Debug, Default)]
pub struct Terminals(HashSet<TerminalId>);

impl Terminals {
    /// The terminals of a registry.
    #[must_use]
    pub fn of(registry: &Registry) -> Self {
        Self(registry.terminals.iter().map(|terminal| terminal.id.clone()).collect())
    }

    /// Whether the registry has it.
    #[must_use]
    pub fn has(&self, terminal: &TerminalId) -> bool {
        self.0.contains(terminal)
    }
}

/// Translates one transaction of a terminal that is known.
///
/// # Errors
/// Every fault of the message, with the JSON pointer of each.
pub fn transaction(
    message: &[u8],
    is_known: &dyn Fn(&TerminalId) -> bool,
    vault: &Vault,
    now: DateTime<Utc>,
) -> Result<Record, Refusal> {
    let document = json::message(message)?;
    let root = Cursor::root(&document);
    let upload = root.fields().and_then(|fields| {
        let upload = upload(&fields, is_known, vault);
        fields.finish();
        upload
    });
    let faults = root.faults();
    let Some((mut upload, occurred_at)) = upload.filter(|_| faults.is_empty()) else {
        return Err(Refusal::of(&faults));
    };
    if json::finer_than_thousandths(message) {
        let detail = "/lines: a quantity must have at most three decimals, and no exponent";
        return Err(Refusal::new(Reason::InvalidQuantity, detail));
    }
    upload.body_hash = blake3::hash(&upload.encode_to_vec()).as_bytes()[..16].to_vec();
    Ok(Record {
        id: outside_id(&upload.terminal_id, &upload.idempotency_key),
        key: upload.means_token.clone().unwrap_or_else(|| upload.terminal_id.clone()),
        source: upload.terminal_id.clone(),
        sequence: 0,
        event_time: occurred_at,
        recorded_at: now,
        event: Event::TransactionUploaded(upload),
    })
}

fn upload(
    fields: &Fields<'_>,
    is_known: &dyn Fn(&TerminalId) -> bool,
    vault: &Vault,
) -> Option<(TransactionUploaded, DateTime<Utc>)> {
    let terminal = fields.required("terminal_id").and_then(|at| {
        let id = at.id(TerminalId::new)?;
        if !is_known(&id) {
            at.fault_of(Reason::UnknownTerminal, "no such terminal in the registry");
        }
        Some(id)
    });
    let occurred_at = fields.required("occurred_at").and_then(|at| at.instant());
    let key = fields.required("idempotency_key").and_then(|at| at.id(IdempotencyKey::new));
    fields.required("mode").and_then(|at| at.word(&[("offline", ())]));
    let means_token = fields.optional("means").and_then(|at| basket::means(&at, vault));
    let lines = fields.required("lines").and_then(|at| basket::lines(&at));
    let receipt_number = fields.optional("receipt").and_then(|at| basket::receipt(&at));
    let spend_points =
        fields.optional("spend_points").map_or(Some(0), |at| basket::spend_points(&at));
    let gave = fields.optional("applied");
    let says_applied = gave.is_some();
    let applied = gave.map(|at| applied(&at, lines.as_ref())).unwrap_or_default();
    let occurred_at = occurred_at?;
    let upload = TransactionUploaded {
        terminal_id: terminal?.to_string(),
        idempotency_key: key?.to_string(),
        occurred_at: occurred_at.timestamp_micros(),
        means_token: means_token.as_ref().map(MeansToken::to_string),
        lines: lines?.iter().map(basket::basket_line).collect(),
        receipt_number,
        spend_points: spend_points?,
        applied,
        says_applied,
        body_hash: Vec::new(),
    };
    Some((upload, occurred_at))
}

/// What the terminal says it gave. Nobody gives more on a line than it costs: where one says so its
/// amounts are wrong, and none of them can be told from a right one.
fn applied(at: &Cursor<'_>, lines: Option<&Lines>) -> Vec<AppliedLine> {
    let elements = at.elements();
    let applied: Vec<Option<AppliedLine>> = elements.iter().map(applied_line).collect();
    if let Some(lines) = lines {
        let on_line = |line: &Line| (line.number, (line.total().cents(), BTreeSet::new()));
        let mut on_lines: BTreeMap<u32, (i64, BTreeSet<&str>)> =
            lines.iter().map(on_line).collect();
        for (at, gave) in elements.iter().zip(&applied) {
            let Some(AppliedLine { instruction_id, line, amount_cents }) = gave else { continue };
            match on_lines.get_mut(line) {
                None => at.fault("is on no line of the basket"),
                Some((left, _)) if *amount_cents > *left => {
                    at.fault("makes it more than the line costs");
                }
                Some((left, instructions)) => {
                    *left -= amount_cents;
                    instructions.insert(instruction_id);
                    if instructions.len() > MOST_ON_LINE {
                        let most = MOST_ON_LINE;
                        at.fault(format!("makes it more than {most} instructions on the line"));
                    }
                }
            }
        }
    }
    applied.into_iter().flatten().collect()
}

fn applied_line(at: &Cursor<'_>) -> Option<AppliedLine> {
    let fields = at.fields()?;
    let instruction = fields.required("instruction").and_then(|at| at.id(InstructionId::new));
    let line = fields.required("line").and_then(|at| at.integer(1, basket::LARGEST_LINE));
    let amount = fields.required("amount_cents").and_then(|at| at.amount());
    fields.finish();
    Some(AppliedLine {
        instruction_id: instruction?.to_string(),
        line: u32::try_from(line?).ok()?,
        amount_cents: amount?.cents(),
    })
}
