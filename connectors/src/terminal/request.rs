//! What a terminal asks online, from JSON or gRPC, as the authoriser takes it.

use std::collections::BTreeMap;

use authoriser::{
    claims::{BodyHash, body_hash},
    command::{Caller, Change, What},
};
use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, Mode, PointsWanted, Request},
    id::{AuthorisationId, IdempotencyKey, ItemId, MeansToken, TerminalId},
    identification_means::MeansKind,
    merchant::Category,
    refund::ReturnedLine,
};
use ingest::{
    dead_letter::Reason,
    document::{self, Cursor, Fault},
    vault::Vault,
    wire::v1::TransactionUploaded,
};
use prost::Message;

use super::{basket, plain, wire};
use crate::{
    json::{self, read},
    problem::Problem,
};

/// The largest body of one request, in bytes.
pub const LARGEST_BODY: usize = 256 << 10;

/// A basket to decide, with what its key is used for.
#[derive(Debug)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// The hash of what it says.
    pub body: BodyHash,
}

/// `POST /v1/authorisations`.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn authorise(bytes: &[u8], key: IdempotencyKey, vault: &Vault) -> Result<Asked, Problem> {
    let request = match plain::basket(bytes, &key, vault) {
        Some(request) => request,
        None => carefully(bytes, key, vault)?,
    };
    Ok(Asked { body: basket_hash(&request), request })
}

/// Reads a basket with every fault at once; what is read quickly is read alike by this.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn carefully(bytes: &[u8], key: IdempotencyKey, vault: &Vault) -> Result<Request, Problem> {
    let request = read(bytes, |fields| {
        let terminal = fields.required("terminal_id").and_then(|at| at.id(TerminalId::new));
        let occurred_at = fields.required("occurred_at").and_then(|at| at.instant());
        let mode = fields.required("mode").and_then(|at| mode(&at));
        let means = fields.optional("means").map(|at| basket::means(&at, vault));
        let lines = fields.required("lines").and_then(|at| basket::lines(&at));
        let receipt = fields.optional("receipt").and_then(|at| basket::receipt(&at));
        let points =
            fields.optional("spend_points").map_or(Some(0), |at| basket::spend_points(&at));
        Some(Request {
            terminal: terminal?,
            key,
            occurred_at: occurred_at?,
            means: match means {
                Some(means) => Some(means?),
                None => None,
            },
            mode: mode?,
            lines: lines?,
            receipt,
            spend_points: points_wanted(points?),
            applied: None,
        })
    })?;
    check_quantities(bytes)?;
    Ok(request)
}

/// A quantity is exact as it was written, or it is refused.
fn check_quantities(bytes: &[u8]) -> Result<(), Problem> {
    if !json::finer_than_thousandths(bytes) {
        return Ok(());
    }
    let message = "a quantity must have at most three decimals, and no exponent";
    Err(Problem::faults(&[fault(Reason::InvalidQuantity, "/lines", message)]))
}

pub(super) const MODES: [(&str, Mode); 2] = [("reserve", Mode::Reserve), ("sale", Mode::Sale)];

fn mode(at: &Cursor<'_>) -> Option<Mode> {
    if at.value().as_str() == Some(Mode::Offline.code()) {
        at.fault("offline transactions go to /v1/transactions:batch");
        return None;
    }
    at.word(&MODES)
}

pub(super) const fn points_wanted(points: i64) -> PointsWanted {
    match points {
        ..0 => PointsWanted::Max,
        points => PointsWanted::UpTo(points),
    }
}

/// A basket of gRPC.
///
/// # Errors
/// Every fault of the message, with its pointer.
pub fn basket(message: wire::Basket, key: IdempotencyKey, vault: &Vault) -> Result<Asked, Problem> {
    let mut faults = Faults::default();
    let terminal = faults.take("/terminal_id", TerminalId::new(&message.terminal_id));
    let instant = document::instant(&message.occurred_at);
    let instant = instant.ok_or("must be an instant with its offset (RFC 3339), from 1900 to 2199");
    let occurred_at = faults.take("/occurred_at", instant);
    let mode = MODES.iter().find(|(word, _)| *word == message.mode).map(|(_, mode)| *mode);
    let mode = faults.take("/mode", mode.ok_or("must be one of reserve, sale"));
    let means = message.means.map(|means| faults.take("/means", token(&means, vault)));
    let lines = message.lines.into_iter().enumerate();
    let lines: Vec<Option<Line>> =
        lines.map(|(at, line)| faults.take(&format!("/lines/{at}"), self::line(line))).collect();
    let lines = lines.into_iter().collect::<Option<Vec<Line>>>();
    let lines = lines.and_then(|lines| match Lines::new(lines) {
        Ok(lines) => Some(lines),
        Err(error) => {
            let (at, reason) = basket::misfit(error);
            let path = at.map_or_else(|| "/lines".to_owned(), |at| format!("/lines/{at}"));
            faults.0.push(fault(reason, &path, &error.to_string()));
            None
        }
    });
    let receipt = message.receipt_number;
    faults.take(RECEIPT, receipt.as_deref().map_or(Ok(()), short_receipt));
    if message.spend_points > Amount::LARGEST.cents() {
        faults.note("/spend_points", &format!("must be at most {}", Amount::LARGEST.cents()));
    }
    let spend_points = points_wanted(message.spend_points);
    let request = (|| {
        Some(Request {
            terminal: terminal?,
            key,
            occurred_at: occurred_at?,
            means: match means {
                Some(means) => Some(means?),
                None => None,
            },
            mode: mode?,
            lines: lines?,
            receipt,
            spend_points,
            applied: None,
        })
    })();
    let request = request.filter(|_| faults.0.is_empty());
    let request = request.ok_or_else(|| Problem::faults(&faults.0))?;
    Ok(Asked { body: basket_hash(&request), request })
}

fn token(means: &wire::Means, vault: &Vault) -> Result<MeansToken, &'static str> {
    let kind = MeansKind::parse(&means.kind).ok_or("is of no known kind")?;
    if means.value.is_empty() || means.value.len() > 256 {
        return Err("must have 1 to 256 characters");
    }
    Ok(vault.means_token(kind, &means.value))
}

fn line(line: wire::BasketLine) -> Result<Line, String> {
    if !(1..=basket::LARGEST_LINE).contains(&i64::from(line.line)) {
        return Err(format!("line must be from 1 to {}", basket::LARGEST_LINE));
    }
    let attributes: BTreeMap<String, String> = line.attributes.into_iter().collect();
    if attributes.len() > 32
        || attributes.iter().any(|(name, value)| name.len() > 64 || value.len() > 256)
    {
        return Err("must have at most 32 attributes, short ones".into());
    }
    let category = match line.category.as_str() {
        "" => None,
        text => Some(Category::parse(text).ok_or("category must be words joined by dots")?),
    };
    Ok(Line {
        number: line.line,
        item: ItemId::new(&line.item).map_err(|error| format!("item {error}"))?,
        category,
        quantity: Quantity::from_thousandths(line.quantity_thousandths),
        unit_price: Amount::from_cents(line.unit_price_cents),
        attributes,
    })
}

/// The same request hashes to the same however it was written and by whichever door it came.
fn basket_hash(request: &Request) -> BodyHash {
    let said = TransactionUploaded {
        terminal_id: request.terminal.to_string(),
        idempotency_key: request.mode.code().into(),
        occurred_at: request.occurred_at.timestamp_micros(),
        means_token: request.means.map(|token| token.to_string()),
        lines: request.lines.iter().map(basket::basket_line).collect(),
        receipt_number: request.receipt.clone(),
        spend_points: authoriser::publish::points_wanted(request.spend_points),
        ..TransactionUploaded::default()
    };
    hash("authorise", &said.encode_to_vec())
}

fn hash(what: &str, said: &[u8]) -> BodyHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(what.as_bytes());
    hasher.update(&[0]);
    hasher.update(said);
    body_hash(hasher.finalize().as_bytes())
}

/// `POST /v1/authorisations/{id}/capture`; the receipt may be missing.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn capture(
    bytes: &[u8],
    id: AuthorisationId,
    terminal: TerminalId,
    key: IdempotencyKey,
) -> Result<Change, Problem> {
    let receipt = read(or_empty(bytes), |fields| {
        Some(fields.optional("receipt").and_then(|at| basket::receipt(&at)))
    })?;
    Ok(captured(id, terminal, key, receipt))
}

/// A capture of gRPC.
///
/// # Errors
/// Where its receipt's number is too long.
pub fn capture_of(
    id: AuthorisationId,
    terminal: TerminalId,
    key: IdempotencyKey,
    receipt: Option<String>,
) -> Result<Change, Problem> {
    receipt
        .as_deref()
        .map_or(Ok(()), short_receipt)
        .map_err(|error| Problem::faults(&[fault(Reason::InvalidValue, RECEIPT, &error)]))?;
    Ok(captured(id, terminal, key, receipt))
}

/// Where gRPC has a receipt's number.
const RECEIPT: &str = "/receipt_number";

fn short_receipt(number: &str) -> Result<(), String> {
    let longest = basket::LONGEST_RECEIPT;
    match number.len() > longest {
        true => Err(format!("must have at most {longest} characters")),
        false => Ok(()),
    }
}

/// A capture with its receipt's number.
#[must_use]
pub fn captured(
    id: AuthorisationId,
    terminal: TerminalId,
    key: IdempotencyKey,
    receipt: Option<String>,
) -> Change {
    let said = format!("{id}\0{}", receipt.as_deref().unwrap_or_default());
    let body = hash("capture", said.as_bytes());
    Change { caller: Caller { terminal, key, body }, id, what: What::Capture { receipt } }
}

/// `POST /v1/authorisations/{id}/void`; the body has nothing to say.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn void(
    bytes: &[u8],
    id: AuthorisationId,
    terminal: TerminalId,
    key: IdempotencyKey,
) -> Result<Change, Problem> {
    read(or_empty(bytes), |_| Some(()))?;
    Ok(voided(id, terminal, key))
}

/// A void.
#[must_use]
pub fn voided(id: AuthorisationId, terminal: TerminalId, key: IdempotencyKey) -> Change {
    let body = hash("void", id.to_string().as_bytes());
    Change { caller: Caller { terminal, key, body }, id, what: What::Void }
}

/// `POST /v1/authorisations/{id}/refunds`.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn refund(
    bytes: &[u8],
    id: AuthorisationId,
    terminal: TerminalId,
    key: IdempotencyKey,
) -> Result<Change, Problem> {
    let lines = read(bytes, |fields| {
        let elements = fields.required("lines")?.elements();
        let lines: Vec<Option<ReturnedLine>> = elements.iter().map(returned).collect();
        lines.into_iter().collect::<Option<Vec<_>>>()
    })?;
    check_quantities(bytes)?;
    Ok(refunded(id, terminal, key, lines))
}

fn returned(at: &Cursor<'_>) -> Option<ReturnedLine> {
    let fields = at.fields()?;
    let number = fields.required("line").and_then(|at| at.integer(1, basket::LARGEST_LINE));
    let quantity = fields.required("quantity").and_then(|at| basket::quantity(&at));
    fields.finish();
    Some(ReturnedLine { number: u32::try_from(number?).ok()?, quantity: quantity? })
}

/// A refund of some lines.
#[must_use]
pub fn refunded(
    id: AuthorisationId,
    terminal: TerminalId,
    key: IdempotencyKey,
    lines: Vec<ReturnedLine>,
) -> Change {
    let mut said = id.to_string();
    for line in &lines {
        said.push_str(&format!("\0{}x{}", line.number, line.quantity.thousandths()));
    }
    let body = hash("refund", said.as_bytes());
    Change { caller: Caller { terminal, key, body }, id, what: What::Refund(lines) }
}

/// `POST /v1/reversals`: who asks, and the key to undo.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn reversal(bytes: &[u8], key: IdempotencyKey) -> Result<(Caller, IdempotencyKey), Problem> {
    let (terminal, undone) = read(bytes, |fields| {
        let terminal = fields.required("terminal_id").and_then(|at| at.id(TerminalId::new));
        let undone = fields.required("idempotency_key").and_then(|at| at.id(IdempotencyKey::new));
        Some((terminal?, undone?))
    })?;
    Ok((reversed(terminal, key, &undone), undone))
}

/// A reversal of gRPC: who asks, and the key to undo.
///
/// # Errors
/// Every fault of the message, with its pointer.
pub fn reversal_of(
    message: &wire::Reversal,
    key: IdempotencyKey,
) -> Result<(Caller, IdempotencyKey), Problem> {
    let mut faults = Faults::default();
    let terminal = faults.take("/terminal_id", TerminalId::new(&message.terminal_id));
    let undone = faults.take("/idempotency_key", IdempotencyKey::new(&message.idempotency_key));
    let (terminal, undone) = terminal.zip(undone).ok_or_else(|| Problem::faults(&faults.0))?;
    Ok((reversed(terminal, key, &undone), undone))
}

/// Who reverses a key.
#[must_use]
pub fn reversed(terminal: TerminalId, key: IdempotencyKey, undone: &IdempotencyKey) -> Caller {
    let body = hash("reverse", undone.as_str().as_bytes());
    Caller { terminal, key, body }
}

/// A body that may be left out.
fn or_empty(bytes: &[u8]) -> &[u8] {
    if bytes.trim_ascii().is_empty() { b"{}" } else { bytes }
}

fn fault(reason: Reason, path: &str, message: &str) -> Fault {
    Fault { reason, path: path.into(), message: message.into() }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn note(&mut self, path: &str, message: &str) {
        self.0.push(fault(Reason::InvalidValue, path, message));
    }

    fn take<T, E: std::fmt::Display>(&mut self, path: &str, found: Result<T, E>) -> Option<T> {
        match found {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(path, &error.to_string());
                None
            }
        }
    }
}
