//! A basket as nearly every terminal writes it, read in one pass into its own types.
//!
//! It knows no faults: whatever is not plainly right, or is rare, is left to the careful reading in
//! [`request`](super::request), which says all that is wrong. What both take they take alike.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, Request},
    id::{IdempotencyKey, ItemId, MeansToken, TerminalId},
    identification_means::MeansKind,
    merchant::Category,
};
use ingest::{document, vault::Vault};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Number;

use super::{basket, request};
use crate::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    terminal_id: &'a str,
    occurred_at: &'a str,
    mode: &'a str,
    #[serde(borrow)]
    means: Option<Object<WrittenMeans<'a>>>,
    lines: Vec<Object<WrittenLine<'a>>>,
    receipt: Option<Object<WrittenReceipt<'a>>>,
    spend_points: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMeans<'a> {
    kind: &'a str,
    value: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLine<'a> {
    line: u32,
    item: &'a str,
    category: Option<&'a str>,
    quantity: Number,
    unit_price_cents: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenReceipt<'a> {
    number: &'a str,
    register: Option<&'a str>,
}

/// What is written as an object. A derived reader would take a list of the fields for one, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries)).map(Object)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// The request in a body; `None` where it is to be read carefully.
pub(super) fn basket(bytes: &[u8], key: &IdempotencyKey, vault: &Vault) -> Option<Request> {
    if json::finer_than_thousandths(bytes) {
        return None;
    }
    let Object(written) = serde_json::from_slice::<Object<Written<'_>>>(bytes).ok()?;
    let lines = written.lines.into_iter().map(|Object(of)| line(&of)).collect::<Option<_>>()?;
    let points = written.spend_points.unwrap_or(0);
    Some(Request {
        terminal: TerminalId::new(written.terminal_id).ok()?,
        key: key.clone(),
        occurred_at: document::instant(written.occurred_at)?,
        means: match written.means {
            Some(Object(of)) => Some(means(&of, vault)?),
            None => None,
        },
        mode: request::MODES.iter().find(|(word, _)| *word == written.mode)?.1,
        lines: Lines::new(lines).ok()?,
        receipt: match written.receipt {
            Some(Object(of)) => Some(receipt(&of)?),
            None => None,
        },
        spend_points: request::points_wanted(
            Some(points).filter(|points| (0..=Amount::LARGEST.cents()).contains(points))?,
        ),
        applied: None,
    })
}

fn means(written: &WrittenMeans<'_>, vault: &Vault) -> Option<MeansToken> {
    let kind = MeansKind::parse(written.kind)?;
    let fits = (1..=256).contains(&written.value.len());
    fits.then(|| vault.means_token(kind, written.value))
}

fn receipt(written: &WrittenReceipt<'_>) -> Option<String> {
    let is_short = |text: &str| text.len() <= basket::LONGEST_RECEIPT;
    let fits = is_short(written.number) && written.register.is_none_or(is_short);
    fits.then(|| written.number.to_owned())
}

fn line(written: &WrittenLine<'_>) -> Option<Line> {
    let thousandths = match written.quantity.as_i64() {
        Some(whole) => whole.checked_mul(1_000)?,
        None => basket::thousandths(&written.quantity.to_string())?,
    };
    let fits = (1..=basket::LARGEST_LINE).contains(&i64::from(written.line))
        && written.unit_price_cents.unsigned_abs() < 1_000_000_000_000;
    fits.then_some(())?;
    Some(Line {
        number: written.line,
        item: ItemId::new(written.item).ok()?,
        category: match written.category {
            Some(text) => Some(Category::parse(text)?),
            None => None,
        },
        quantity: Quantity::from_thousandths(thousandths),
        unit_price: Amount::from_cents(written.unit_price_cents),
        attributes: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(key, of)| places(of, &format!("{at}/{key}"), found));
            }
            Value::Array(list) => {
                let numbered = list.iter().enumerate();
                numbered.for_each(|(key, of)| places(of, &format!("{at}/{key}"), found));
            }
            _ => {}
        }
    }

    #[test]
    fn what_is_read_quickly_is_what_is_read_carefully() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("a vault");
        let key = IdempotencyKey::new("k").expect("a key");
        let right = json!({
            "terminal_id": "T-1", "occurred_at": "2025-01-15T10:00:00+02:00", "mode": "sale",
            "means": {"kind": "card_uid", "value": "04A1"}, "spend_points": 5,
            "receipt": {"number": "1/7", "register": "2"},
            "lines": [
                {"line": 1, "item": "milk", "category": "food.milk", "quantity": 2,
                 "unit_price_cents": 129},
                {"line": 2, "item": "rye", "quantity": 0.755, "unit_price_cents": 185},
            ],
        });
        assert!(basket(right.to_string().as_bytes(), &key, &vault).is_some());
        let odd = [
            json!(null),
            json!([]),
            json!({}),
            json!(""),
            json!("x"),
            json!("a\n"),
            json!("max"),
            json!(0),
            json!(-1),
            json!(1.5),
            json!(3.0),
            json!(0.0001),
            json!(1_000_001),
            json!(1_000_000_000_000_i64),
            json!(u64::MAX),
            json!(1e300),
            json!(true),
            json!(["card_uid", "04A1"]),
            json!([1, "milk", null, 2, 129]),
            json!("x".repeat(300)),
            json!([["1", "2"]]),
            json!("reserve"),
            json!("offline"),
            json!({"number": "9"}),
        ];
        let mut found = Vec::new();
        places(&right, "", &mut found);
        let (mut quick, mut careful) = (0, 0);
        for at in found {
            for odd in &odd {
                let mut value = right.clone();
                *value.pointer_mut(&at).expect("a place") = odd.clone();
                let bytes = value.to_string().into_bytes();
                let taken = request::carefully(&bytes, key.clone(), &vault).ok();
                careful += usize::from(taken.is_some());
                let Some(read) = basket(&bytes, &key, &vault) else { continue };
                quick += 1;
                let taken = taken.unwrap_or_else(|| panic!("only quickly: {value}"));
                assert_eq!(format!("{read:?}"), format!("{taken:?}"), "{value}");
            }
        }
        assert!(quick > 40 && careful > quick, "{quick} of {careful}");
        let twice = right.to_string().replacen('{', "{\"mode\":\"sale\",", 1);
        assert!(basket(twice.as_bytes(), &key, &vault).is_none(), "a field that stands twice");
    }
}
