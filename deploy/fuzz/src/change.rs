//! Changes of inputs: what goes wrong on the way, and what has broken parsers before.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::Value;

/// Words and numbers that parsers of others did not stand.
const WORDS: [&str; 40] = [
    "-1",
    "0",
    "-0.0",
    "0.0005",
    "1e400",
    "1e-400",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "92233720368547758.07",
    "1.7976931348623157e308",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{202e}",
    "\u{feff}",
    "ā̀",
    "\r\n",
    "'",
    "\"",
    "--",
    "/*",
    "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((",
    "NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT NOT ",
    "2025-02-30",
    "2025-03-30T03:30:00+02:00",
    "0000-01-01",
    "+262143-12-31T23:59:59Z",
    "1969-12-31T23:59:59.999999Z",
    "&#x0;",
    "<![CDATA[",
    "*anchor &anchor",
];

/// One change of an input.
#[derive(Clone, Debug)]
enum Change {
    /// A bit is turned.
    Turn(Index, u8),
    /// A part is gone.
    Cut(Index, usize),
    /// A part stands there again, so often.
    Double(Index, usize, usize),
    /// A word stands there.
    Word(Index, usize),
    /// A part of another input stands there.
    From(Index, Index, Index, usize),
    /// A value of a JSON document is replaced by another value, or by a word.
    Value(Index, Index, Option<usize>),
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Turn(at, bit)),
        (at(), 1..64_usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (at(), 1..32_usize, 1..64_usize)
            .prop_map(|(at, length, times)| { Change::Double(at, length, times) }),
        (at(), 0..WORDS.len()).prop_map(|(at, word)| Change::Word(at, word)),
        (at(), at(), at(), 1..256_usize)
            .prop_map(|(at, other, from, length)| { Change::From(at, other, from, length) }),
        (at(), at(), prop::option::of(0..WORDS.len()))
            .prop_map(|(at, by, word)| { Change::Value(at, by, word) }),
    ]
}

/// Kept inputs, each changed a few times or not at all.
pub fn changed(kept: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let kept: Arc<[Vec<u8>]> = kept.into();
    (any::<Index>(), vec(any_change(), 0..6)).prop_map(move |(which, changes)| {
        let input = which.get(&kept).clone();
        changes.iter().fold(input, |input, change| change.of(input, &kept))
    })
}

impl Change {
    fn of(&self, mut input: Vec<u8>, kept: &[Vec<u8>]) -> Vec<u8> {
        let place = |at: &Index| at.index(input.len() + 1);
        match self {
            Self::Turn(at, bit) => {
                let at = place(at);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Cut(at, length) => {
                let from = place(at);
                let to = (from + length).min(input.len());
                input.drain(from..to);
            }
            Self::Double(at, length, times) => {
                let from = place(at);
                let part = input[from..(from + length).min(input.len())].repeat(*times);
                input.splice(from..from, part);
            }
            Self::Word(at, word) => {
                let at = place(at);
                input.splice(at..at, WORDS[*word].bytes());
            }
            Self::From(at, other, from, length) => {
                let (at, other) = (place(at), other.get(kept));
                let from = from.index(other.len() + 1);
                let part = &other[from..(from + length).min(other.len())];
                input.splice(at..at, part.iter().copied());
            }
            Self::Value(at, by, word) => {
                if let Ok(mut document) = serde_json::from_slice(&input) {
                    replace(&mut document, at, by, *word);
                    input = document.to_string().into_bytes();
                }
            }
        }
        input
    }
}

fn replace(document: &mut Value, at: &Index, by: &Index, word: Option<usize>) {
    let mut count = 0;
    let mut all = Vec::new();
    each(document, &mut |value| {
        count += 1;
        all.push(value.clone());
    });
    let with = match word {
        Some(word) => {
            let word = WORDS[word];
            serde_json::from_str(word).unwrap_or_else(|_| Value::from(word))
        }
        None => by.get(&all).clone(),
    };
    let (wanted, mut place) = (at.index(count), 0);
    each(document, &mut |value| {
        if place == wanted {
            *value = with.clone();
        }
        place += 1;
    });
}

fn each(value: &mut Value, look: &mut impl FnMut(&mut Value)) {
    look(value);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| each(value, look)),
        Value::Object(fields) => fields.values_mut().for_each(|value| each(value, look)),
        _ => {}
    }
}
