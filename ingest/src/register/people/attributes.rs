//! What the register says of a person, in few bytes: of a nation it is all in memory, to be
//! evaluated again whenever somebody or a rule changes.
//!
//! A map of names and values for each of two million people takes gigabytes. Here names, of which
//! the register has a few, are numbers, and a value is a byte that says its kind with as few
//! bytes behind it as it needs: about fifty for a person.

use std::{collections::HashMap, fmt, sync::Arc};

use chrono::{Datelike, NaiveDate};
use domain::period::parse_date;
use serde_json::{Number, Value};

use crate::document::Json;

/// The names that attributes have, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

/// The name of an attribute in one register.
#[derive(Clone, Copy, Debug)]
pub struct AttributeName(u32);

impl Names {
    /// The name, where somebody has an attribute of it.
    pub(super) fn find(&self, name: &str) -> Option<AttributeName> {
        self.numbers.get(name).copied().map(AttributeName)
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("a register has a few names");
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }
}

/// The value of an attribute.
#[derive(Clone, Copy, PartialEq)]
pub enum Attribute<'a> {
    /// Said to be nothing.
    Null,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// Another number.
    Real(f64),
    /// A text that is a date, written as one.
    Date(NaiveDate),
    /// Any other text.
    Text(&'a str),
    /// A list or an object, as JSON.
    Other(&'a str),
}

/// What the register says of people is shown nowhere.
impl fmt::Debug for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Attribute<'_> {
    /// Whether it is said to be nothing.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The date that it is, however it is written.
    #[must_use]
    pub fn date(&self) -> Option<NaiveDate> {
        match self {
            Self::Date(date) => Some(*date),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The value as the register told it.
    #[must_use]
    pub fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Whole(number) => Value::Number((*number).into()),
            Self::Real(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Self::Date(date) => Value::String(date.to_string()),
            Self::Text(text) => Value::String((*text).to_owned()),
            Self::Other(text) => serde_json::from_str(text).unwrap_or_default(),
        }
    }
}

const NULL: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;
const WHOLE: u8 = 3;
const REAL: u8 = 4;
const DATE: u8 = 5;
const TEXT: u8 = 6;
const OTHER: u8 = 7;

/// What a change tells of mostly takes less.
const USUAL_BYTES: usize = 192;

/// The attributes that a change tells of, packed but for their names, which are spelled: so it is
/// made without knowing the register. Nothing shows them.
pub(super) struct Spelled(Vec<u8>);

impl Spelled {
    /// What an object says; none of anything else.
    pub(super) fn of(attributes: &Json<'_>) -> Option<Self> {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        for (name, value) in attributes.entries()? {
            text(name, &mut bytes);
            pack(value, &mut bytes);
        }
        Some(Self(bytes))
    }
}

/// The attributes of one person. Nothing shows them but [`iter`](Packed::iter).
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// Packs what a change tells of; names that are new get a number.
    pub(super) fn of(told: &Spelled, names: &mut Names) -> Self {
        let mut bytes = Vec::with_capacity(told.0.len());
        let mut rest = &told.0[..];
        while let Some(name) = take_text(&mut rest) {
            number(u64::from(names.number(name)), &mut bytes);
            let value = rest;
            if unpack(&mut rest).is_none() {
                break;
            }
            bytes.extend_from_slice(&value[..value.len() - rest.len()]);
        }
        Self(bytes.into_boxed_slice())
    }

    /// Of a person who is not in the register.
    pub(super) fn none() -> Self {
        Self(Box::default())
    }

    /// The attributes in the order in which they were told.
    pub(super) fn iter<'a>(
        &'a self,
        names: &'a Names,
    ) -> impl Iterator<Item = (&'a str, Attribute<'a>)> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let name = usize::try_from(take_number(&mut rest)?).ok()?;
            Some((&*names.names[name], unpack(&mut rest)?))
        })
    }

    /// One attribute; the first of that name.
    pub(super) fn get(&self, AttributeName(wanted): AttributeName) -> Option<Attribute<'_>> {
        let wanted = u64::from(wanted);
        let mut rest = &self.0[..];
        loop {
            let name = take_number(&mut rest)?;
            let value = unpack(&mut rest)?;
            if name == wanted {
                return Some(value);
            }
        }
    }
}

fn pack(value: &Json<'_>, bytes: &mut Vec<u8>) {
    match value {
        Json::Null => bytes.push(NULL),
        Json::Bool(false) => bytes.push(NO),
        Json::Bool(true) => bytes.push(YES),
        Json::Number(of) => match of.as_i64() {
            Some(whole) => {
                bytes.push(WHOLE);
                // Small numbers of either sign are short.
                number((whole << 1 ^ whole >> 63).cast_unsigned(), bytes);
            }
            None => {
                bytes.push(REAL);
                bytes.extend_from_slice(&of.as_f64().unwrap_or_default().to_le_bytes());
            }
        },
        Json::Text(of) => match parse_date(of) {
            Some(date) => {
                bytes.push(DATE);
                bytes.extend_from_slice(&date.num_days_from_ce().to_le_bytes());
            }
            None => {
                bytes.push(TEXT);
                text(of, bytes);
            }
        },
        other => {
            bytes.push(OTHER);
            text(&other.to_string(), bytes);
        }
    }
}

fn text(of: &str, bytes: &mut Vec<u8>) {
    number(of.len() as u64, bytes);
    bytes.extend_from_slice(of.as_bytes());
}

fn unpack<'a>(rest: &mut &'a [u8]) -> Option<Attribute<'a>> {
    let (kind, behind) = rest.split_first()?;
    *rest = behind;
    Some(match *kind {
        NULL => Attribute::Null,
        NO => Attribute::Flag(false),
        YES => Attribute::Flag(true),
        WHOLE => {
            let of = take_number(rest)?;
            Attribute::Whole((of >> 1).cast_signed() ^ -(of & 1).cast_signed())
        }
        REAL => Attribute::Real(f64::from_le_bytes(take(rest)?)),
        DATE => {
            Attribute::Date(NaiveDate::from_num_days_from_ce_opt(i32::from_le_bytes(take(rest)?))?)
        }
        TEXT => Attribute::Text(take_text(rest)?),
        _ => Attribute::Other(take_text(rest)?),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn number(mut of: u64, bytes: &mut Vec<u8>) {
    while of >= 0x80 {
        bytes.push((of & 0x7F) as u8 | 0x80);
        of >>= 7;
    }
    bytes.push(of as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (mut of, mut shift) = (0_u64, 0);
    loop {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        of |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(of);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn packed(attributes: &Value, names: &mut Names) -> Packed {
        Packed::of(&Spelled::of(&Json::from(attributes)).expect("an object"), names)
    }

    fn again(attributes: &Value) -> Value {
        let mut names = Names::default();
        let packed = packed(attributes, &mut names);
        let again = packed.iter(&names).map(|(name, of)| (name.to_owned(), of.value()));
        Value::Object(again.collect())
    }

    #[test]
    fn what_was_told_is_told_again() {
        let told = json!({
            "birth_date": "1980-01-01", "territory": "LV0001000", "family_id": "F-77",
            "disability_group": 2, "large_family": true, "student": false, "since": "1980-1-1",
            "least": i64::MIN, "most": i64::MAX, "beyond": u64::MAX, "part": 0.5, "none": null,
            "list": [1, "a", {"b": null}], "text": "", "far": "+12026-01-01", "ē": "ā",
        });
        let mut expected = told.clone();
        // What is beyond a whole number of 64 bits is kept as near as a float comes.
        expected["beyond"] = json!(u64::MAX as f64);
        assert_eq!(again(&told), expected);
        let mut names = Names::default();
        let packed = packed(&told, &mut names);
        let since = names.find("since").and_then(|since| packed.get(since));
        assert_eq!(since.and_then(|of| of.date()), "1980-01-01".parse().ok());
        assert!(names.find("nothing").is_none());
        assert!(packed.0.len() < 260, "{}", packed.0.len());
    }

    proptest! {
        #[test]
        fn numbers_and_texts_are_read_back(whole in any::<i64>(), text in ".{0,300}") {
            let told = json!({ "whole": whole, "text": text, "again": text });
            prop_assert_eq!(again(&told), told);
        }
    }
}
