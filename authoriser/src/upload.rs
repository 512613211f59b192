//! Uploads of offline terminals, read back from their stream as requests.

use domain::{
    amount::{Amount, Quantity},
    basket::{Applied, Line, Lines, Mode, PointsWanted, Request},
    id::{IdempotencyKey, InstructionId, ItemId, MeansToken, TerminalId},
    merchant::Category,
};
use ingest::wire::{self, v1};

/// The request in an upload; `None` where the record is not one that a connector checked.
#[must_use]
pub fn request(upload: &v1::TransactionUploaded) -> Option<Request> {
    let means = match &upload.means_token {
        Some(token) => Some(MeansToken::parse(token)?),
        None => None,
    };
    let applied = upload.applied.iter().map(applied).collect::<Option<Vec<_>>>()?;
    Some(Request {
        terminal: TerminalId::new(&upload.terminal_id).ok()?,
        key: IdempotencyKey::new(&upload.idempotency_key).ok()?,
        occurred_at: wire::instant(upload.occurred_at)?,
        means,
        mode: Mode::Offline,
        lines: Lines::new(upload.lines.iter().map(line).collect::<Option<_>>()?).ok()?,
        receipt: upload.receipt_number.clone(),
        spend_points: match upload.spend_points {
            ..0 => PointsWanted::Max,
            points => PointsWanted::UpTo(points),
        },
        applied: upload.says_applied.then_some(applied),
    })
}

fn line(line: &v1::BasketLine) -> Option<Line> {
    Some(Line {
        number: line.line,
        item: ItemId::new(&line.item).ok()?,
        category: Category::parse(&line.category),
        quantity: Quantity::from_thousandths(line.quantity_thousandths),
        unit_price: Amount::from_cents(line.unit_price_cents),
        attributes: line.attributes.clone(),
    })
}

fn applied(applied: &v1::AppliedLine) -> Option<Applied> {
    Some(Applied {
        instruction: InstructionId::new(&applied.instruction_id).ok()?,
        line: applied.line,
        amount: Amount::from_cents(applied.amount_cents),
    })
}
