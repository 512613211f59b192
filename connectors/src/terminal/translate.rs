//! A transaction of a file as an upload of the stream.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, LinesError},
    id::{IdempotencyKey, InstructionId, ItemId, TerminalId},
    identification_means::MeansKind,
    merchant::Category,
    registry::Registry,
};
use ingest::{
    dead_letter::Reason,
    document::{Cursor, Fields},
    record::{Record, outside_id},
    vault::Vault,
    wire::v1::{AppliedLine, BasketLine, Event, TransactionUploaded},
};
use prost::Message;

use crate::{connector::Refusal, json};

/// The terminals of the registry.
#[derive(Debug, Default)]
pub struct Terminals(HashSet<TerminalId>);

impl Terminals {
    /// The terminals of a registry.
    #[must_use]
    pub fn of(registry: &Registry) -> Self {
        Self(registry.terminals.iter().map(|terminal| terminal.id.clone()).collect())
    }
}

/// Translates one transaction.
///
/// # Errors
/// Every fault of the message, with the JSON pointer of each.
pub fn transaction(
    message: &[u8],
    terminals: &Terminals,
    vault: &Vault,
    now: DateTime<Utc>,
) -> Result<Record, Refusal> {
    let document = json::message(message)?;
    let root = Cursor::root(&document);
    let upload = root.fields().and_then(|fields| {
        let upload = upload(&fields, terminals, vault);
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
    terminals: &Terminals,
    vault: &Vault,
) -> Option<(TransactionUploaded, DateTime<Utc>)> {
    let terminal = fields.required("terminal_id").and_then(|at| {
        let id = at.id(TerminalId::new)?;
        if !terminals.0.contains(&id) {
            at.fault_of(Reason::UnknownTerminal, "no such terminal in the registry");
        }
        Some(id)
    });
    let occurred_at = fields.required("occurred_at").and_then(|at| at.instant());
    let key = fields.required("idempotency_key").and_then(|at| at.id(IdempotencyKey::new));
    fields.required("mode").and_then(|at| at.word(&[("offline", ())]));
    let means_token = fields.optional("means").and_then(|at| means(&at, vault));
    let lines = fields.required("lines").and_then(|at| lines(&at));
    let receipt_number = fields.optional("receipt").and_then(|at| receipt(&at));
    let spend_points = fields.optional("spend_points").map_or(Some(0), |at| spend_points(&at));
    let applied = fields.optional("applied");
    let says_applied = applied.is_some();
    let applied = applied.map(|at| at.elements()).unwrap_or_default();
    let applied = applied.iter().filter_map(applied_line).collect();
    let occurred_at = occurred_at?;
    let upload = TransactionUploaded {
        terminal_id: terminal?.to_string(),
        idempotency_key: key?.to_string(),
        occurred_at: occurred_at.timestamp_micros(),
        means_token,
        lines: lines?,
        receipt_number,
        spend_points: spend_points?,
        applied,
        says_applied,
        body_hash: Vec::new(),
    };
    Some((upload, occurred_at))
}

/// The keyed hash of a means; its value goes no further than this.
fn means(at: &Cursor<'_>, vault: &Vault) -> Option<String> {
    let fields = at.fields()?;
    let kind = fields.required("kind").and_then(|at| means_kind(&at));
    let value = fields.required("value").and_then(|at| means_value(&at));
    fields.finish();
    Some(vault.means_token(kind?, value?).to_string())
}

/// A kind of means by its word.
pub(crate) fn means_kind(at: &Cursor<'_>) -> Option<MeansKind> {
    at.word(&MeansKind::ALL.map(|kind| (kind.code(), kind)))
}

/// A means' value: 1 to 256 characters.
pub(crate) fn means_value<'a>(at: &Cursor<'a>) -> Option<&'a str> {
    let value = at.text()?;
    if value.is_empty() || value.len() > 256 {
        at.fault("must have 1 to 256 characters");
        return None;
    }
    Some(value)
}

fn receipt(at: &Cursor<'_>) -> Option<String> {
    let fields = at.fields()?;
    let number = fields.required("number").and_then(|at| at.short_text(64));
    fields.optional("register").and_then(|at| at.short_text(64));
    fields.finish();
    number.map(str::to_owned)
}

/// Points wanted: a whole number, or `max`, which the stream has as -1.
fn spend_points(at: &Cursor<'_>) -> Option<i64> {
    if at.value().is_string() {
        return at.word(&[("max", -1)]);
    }
    at.integer(0, Amount::LARGEST.cents())
}

fn lines(at: &Cursor<'_>) -> Option<Vec<BasketLine>> {
    let elements = at.elements();
    let read: Vec<Option<Line>> = elements.iter().map(line).collect();
    let lines: Vec<Line> = read.into_iter().collect::<Option<_>>()?;
    match Lines::new(lines) {
        Ok(lines) => Some(lines.iter().map(basket_line).collect()),
        Err(error) => {
            let (place, reason) = match error {
                LinesError::Empty | LinesError::TooMany => (None, Reason::InvalidValue),
                LinesError::Twice { at, .. } | LinesError::Price { at } => {
                    (Some(at), Reason::InvalidValue)
                }
                LinesError::Quantity { at } => (Some(at), Reason::InvalidQuantity),
                LinesError::Overflow { at } => (Some(at), Reason::Overflow),
            };
            let place = place.and_then(|place| elements.get(place)).unwrap_or(at);
            place.fault_of(reason, error.to_string());
            None
        }
    }
}

fn line(at: &Cursor<'_>) -> Option<Line> {
    let fields = at.fields()?;
    let number = fields.required("line").and_then(|at| at.integer(1, 1_000_000));
    let item = fields.required("item").and_then(|at| at.id(ItemId::new));
    let category = fields
        .optional("category")
        .map(|at| at.parsed("a category, words joined by dots", Category::parse));
    let quantity = fields.required("quantity").and_then(|at| quantity(&at));
    let unit_price = fields.required("unit_price_cents").and_then(|at| price(&at));
    let attributes = fields.optional("attributes").map(|at| attributes(&at));
    fields.finish();
    Some(Line {
        number: u32::try_from(number?).ok()?,
        item: item?,
        category: match category {
            Some(category) => Some(category?),
            None => None,
        },
        quantity: quantity?,
        unit_price: unit_price?,
        attributes: attributes.unwrap_or_default(),
    })
}

/// Cents; a number that no amount can hold is an overflow, not a wrong type.
fn price(at: &Cursor<'_>) -> Option<Amount> {
    if at.value().as_f64().is_some_and(|number| number.abs() >= 1e12) {
        at.fault_of(Reason::Overflow, "is beyond what an amount may be");
        return None;
    }
    at.integer(i64::MIN, i64::MAX).map(Amount::from_cents)
}

fn attributes(at: &Cursor<'_>) -> BTreeMap<String, String> {
    let entries = at.entries();
    if entries.len() > 32 {
        at.fault("must have at most 32 entries");
        return BTreeMap::new();
    }
    let entries = entries.into_iter().filter_map(|(name, at)| {
        if name.len() > 64 {
            at.fault("a name of an attribute must have at most 64 characters");
        }
        Some((name.to_owned(), at.short_text(256)?.to_owned()))
    });
    entries.collect()
}

/// Up to three decimals, from the number's own digits.
fn quantity(at: &Cursor<'_>) -> Option<Quantity> {
    let serde_json::Value::Number(number) = at.value() else {
        at.fault_of(Reason::WrongType, "must be a number");
        return None;
    };
    let parsed = thousandths(&number.to_string());
    if parsed.is_none() {
        at.fault_of(Reason::InvalidQuantity, "must be a quantity with at most three decimals");
    }
    parsed.map(Quantity::from_thousandths)
}

fn thousandths(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let part: i64 = format!("{decimals:0<3}").parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(part)?.checked_mul(sign)
}

fn applied_line(at: &Cursor<'_>) -> Option<AppliedLine> {
    let fields = at.fields()?;
    let instruction = fields.required("instruction").and_then(|at| at.id(InstructionId::new));
    let line = fields.required("line").and_then(|at| at.integer(1, 1_000_000));
    let amount = fields.required("amount_cents").and_then(|at| at.amount());
    fields.finish();
    Some(AppliedLine {
        instruction_id: instruction?.to_string(),
        line: u32::try_from(line?).ok()?,
        amount_cents: amount?.cents(),
    })
}

fn basket_line(line: &Line) -> BasketLine {
    BasketLine {
        line: line.number,
        item: line.item.to_string(),
        category: line.category.as_ref().map(|of| of.as_str().to_owned()).unwrap_or_default(),
        quantity_thousandths: line.quantity.thousandths(),
        unit_price_cents: line.unit_price.cents(),
        attributes: line.attributes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_from_their_digits() {
        for (text, expected) in [
            ("1", Some(1_000)),
            ("0.755", Some(755)),
            ("2.5", Some(2_500)),
            ("-1", Some(-1_000)),
            ("1.0", Some(1_000)),
            ("0.1234", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
