//! What a recipient has bought with a means, and what became of each instruction.

use authoriser::{history::History, index::Place, recipient::Page};
use axum::response::Response;
use chrono::SecondsFormat;
use ingest::{
    record::Position,
    wire::{self as records, v1},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    http::{Asking, Door, Person, own_page},
    names::{Named, Names, named},
};
use crate::{
    edge::page::PageAsked,
    problem::Problem,
    terminal::{
        answer::{self, Explain},
        openapi::Refusals,
        wire,
    },
};

/// Transactions of a page, unless asked otherwise.
pub(super) const PAGE: usize = 50;
/// The most of them, though more are asked for: each is read from the stream.
const MOST: usize = 200;

/// A basket of the recipient's, with its lines, benefits and explanation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnTransaction {
    /// When it happened, by the terminal's clock.
    occurred_at: String,
    /// The local day.
    date: String,
    /// `reserve`, `sale` or `offline`.
    mode: String,
    merchant: Named,
    place: Named,
    /// The receipt's number, where the terminal told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_number: Option<String>,
    /// What was bought, by the lines' numbers.
    items: Vec<OwnItem>,
    /// How it stands now; every instruction whose recipients included the person is explained.
    #[serde(flatten)]
    authorisation: wire::Authorisation,
}

/// What a line bought.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnItem {
    line: u32,
    item: Named,
    category: String,
    quantity_thousandths: i64,
    unit_price_cents: i64,
}

/// A page of a recipient's transactions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnTransactions {
    /// The newest first, as they were decided.
    transactions: Vec<OwnTransaction>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The recipient's transactions, with every instruction explained.
#[utoipa::path(get, path = "/v1/me/transactions", tag = "me",
    operation_id = "own_transactions", security(("token" = [])),
    params(PageAsked), responses((status = 200, body = OwnTransactions), Refusals))]
pub(super) async fn list(asking: Asking<PageAsked>) -> Result<Response, Problem> {
    let Asking { door, person, query } = asking;
    let wrong = || Problem::invalid("cursor is none that a page of transactions said");
    let before = match query.cursor.as_deref() {
        Some(cursor) => Some(read(cursor).ok_or_else(wrong)?),
        None => None,
    };
    let names = door.names().await?;
    let size = query.size(PAGE)?.min(MOST);
    let (transactions, next) = page(&door, &person, &names, before, size).await?;
    let page = OwnTransactions { transactions, next_cursor: next.map(written) };
    own_page(&page, page.next_cursor.as_deref())
}

/// A page of a person's transactions, and where the next one begins.
pub(super) async fn page(
    door: &Door,
    person: &Person,
    names: &Names,
    before: Option<Place>,
    size: usize,
) -> Result<(Vec<OwnTransaction>, Option<Place>), Problem> {
    let Page { authorisations, next } =
        door.authoriser.authorisations(person.id, before, size).await?;
    Ok((authorisations.iter().map(|history| told(history, names)).collect(), next))
}

/// A place as a cursor: order, partition and offset in hexadecimal.
pub(super) fn written(place: Place) -> String {
    let Place { order, position: Position { partition, offset } } = place;
    format!("{order:016x}{partition:08x}{offset:016x}")
}

fn read(cursor: &str) -> Option<Place> {
    if cursor.len() != 40 || !cursor.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let (order, position) = cursor.split_at(16);
    let (partition, offset) = position.split_at(8);
    Some(Place {
        order: u64::from_str_radix(order, 16).ok()?,
        position: Position {
            partition: u32::from_str_radix(partition, 16).ok()?,
            offset: u64::from_str_radix(offset, 16).ok()?,
        },
    })
}

fn told(history: &History, names: &Names) -> OwnTransaction {
    let decided = &*history.decided;
    // What came back since names the receipt that the reservation had, if it had one.
    let captured = history.changes.iter().find(|change| change.transition == "capture");
    let captured = captured.and_then(|change| change.receipt_number.clone());
    OwnTransaction {
        occurred_at: instant(decided.occurred_at),
        date: decided.date.clone(),
        mode: decided.mode.clone(),
        merchant: names.merchant(&decided.merchant_id),
        place: names.place(&decided.place_id),
        receipt_number: captured.or_else(|| decided.receipt_number.clone()),
        items: decided.lines.iter().map(|line| item(line, &decided.merchant_id, names)).collect(),
        authorisation: answer::authorisation(history, Explain::All),
    }
}

fn item(line: &v1::AuthorisationLine, merchant: &str, names: &Names) -> OwnItem {
    let listed = names.listed(merchant, &line.item);
    OwnItem {
        line: line.line,
        item: named(&line.item, listed.map(|listed| &listed.name)),
        category: line.category.clone(),
        quantity_thousandths: line.quantity_thousandths,
        unit_price_cents: line.unit_price_cents,
    }
}

/// Microseconds since 1970 as RFC 3339.
fn instant(micros: i64) -> String {
    records::instant(micros).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receipt_is_that_of_the_capture_whatever_has_come_back_since() {
        let change = |transition: &str, receipt: &str| {
            records::Shared::from(v1::AuthorisationChanged {
                transition: transition.into(),
                receipt_number: Some(receipt.into()),
                ..v1::AuthorisationChanged::default()
            })
        };
        let receipt_number = Some("order 7".into());
        let decided = v1::AuthorisationDecided { receipt_number, ..Default::default() };
        let mut history = History::of(decided.into());
        let receipt = |history: &History| told(history, &Names::default()).receipt_number;
        assert_eq!(receipt(&history).as_deref(), Some("order 7"));
        history.changes.push(change("capture", "17"));
        history.changes.push(change("refund", "order 7"));
        assert_eq!(receipt(&history).as_deref(), Some("17"));
    }

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let position = Position { partition: 3, offset: 17 };
        let place = Place { order: u64::MAX - 5, position };
        let cursor = written(place);
        assert_eq!(read(&cursor), Some(place));
        let short = &cursor[1..];
        let signed = format!("+{short}");
        for none in ["", short, signed.as_str(), "ā".repeat(20).as_str()] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
