//! The parts of a basket that every request has, read with every fault.

use std::collections::BTreeMap;

use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, LinesError},
    id::{ItemId, MeansToken},
    identification_means::MeansKind,
    merchant::Category,
};
use ingest::{dead_letter::Reason, document::Cursor, vault::Vault, wire::v1::BasketLine};
use serde_json::Number;

/// The largest number of a line.
pub(super) const LARGEST_LINE: i64 = 1_000_000;
/// The longest number of a receipt, in bytes.
pub(super) const LONGEST_RECEIPT: usize = 64;

/// The keyed hash of a means; its value goes no further than this.
pub(crate) fn means(at: &Cursor<'_>, vault: &Vault) -> Option<MeansToken> {
    let fields = at.fields()?;
    let kind = fields.required("kind").and_then(|at| means_kind(&at));
    let value = fields.required("value").and_then(|at| means_value(&at));
    fields.finish();
    Some(vault.means_token(kind?, value?))
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

/// A receipt's number; its register is not kept.
pub(crate) fn receipt(at: &Cursor<'_>) -> Option<String> {
    let fields = at.fields()?;
    let number = fields.required("number").and_then(|at| at.short_text(LONGEST_RECEIPT));
    fields.optional("register").and_then(|at| at.short_text(LONGEST_RECEIPT));
    fields.finish();
    number.map(str::to_owned)
}

/// Points wanted: a whole number, or `max`, which the stream has as -1.
pub(crate) fn spend_points(at: &Cursor<'_>) -> Option<i64> {
    if at.value().as_str().is_some() {
        return at.word(&[("max", -1)]);
    }
    at.integer(0, Amount::LARGEST.cents())
}

/// A basket's lines, with every fault of every line.
pub(crate) fn lines(at: &Cursor<'_>) -> Option<Lines> {
    let elements = at.elements();
    let read: Vec<Option<Line>> = elements.iter().map(line).collect();
    let lines: Vec<Line> = read.into_iter().collect::<Option<_>>()?;
    match Lines::new(lines) {
        Ok(lines) => Some(lines),
        Err(error) => {
            let (place, reason) = misfit(error);
            let place = place.and_then(|place| elements.get(place)).unwrap_or(at);
            place.fault_of(reason, error.to_string());
            None
        }
    }
}

/// Which line keeps lines from being a basket, if it is one of them, and of which kind the fault is.
pub(super) const fn misfit(error: LinesError) -> (Option<usize>, Reason) {
    match error {
        LinesError::Empty | LinesError::TooMany => (None, Reason::InvalidValue),
        LinesError::Twice { at, .. } | LinesError::Price { at } => (Some(at), Reason::InvalidValue),
        LinesError::Quantity { at } => (Some(at), Reason::InvalidQuantity),
        LinesError::Overflow { at } => (Some(at), Reason::Overflow),
    }
}

fn line(at: &Cursor<'_>) -> Option<Line> {
    let fields = at.fields()?;
    let number = fields.required("line").and_then(|at| at.integer(1, LARGEST_LINE));
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
    if at.value().as_number().and_then(Number::as_f64).is_some_and(|number| number.abs() >= 1e12) {
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
pub(crate) fn quantity(at: &Cursor<'_>) -> Option<Quantity> {
    let Some(number) = at.value().as_number() else {
        at.fault_of(Reason::WrongType, "must be a number");
        return None;
    };
    let parsed = thousandths(&number.to_string());
    if parsed.is_none() {
        at.fault_of(Reason::InvalidQuantity, "must be a quantity with at most three decimals");
    }
    parsed.map(Quantity::from_thousandths)
}

/// The thousandths in a number's digits.
pub(crate) fn thousandths(text: &str) -> Option<i64> {
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

/// A line as the wire has it.
pub(crate) fn basket_line(line: &Line) -> BasketLine {
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
