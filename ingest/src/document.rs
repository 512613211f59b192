//! Reading a JSON document by hand: every fault is kept with its path, and reading goes on.

mod json;

use std::{borrow::Cow, cell::RefCell, ops::RangeInclusive, rc::Rc};

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use domain::{
    amount::{Amount, BasisPoints},
    id::IdError,
    period::parse_date,
    text::Text,
};
use serde_json::Number;

pub use self::json::Json;
use crate::dead_letter::Reason;

/// The years that instants may lie in: tables keep them in nanoseconds, which end in 2262.
pub const YEARS: RangeInclusive<i32> = 1900..=2199;

/// The instant that a text says (RFC 3339), within [`YEARS`].
#[must_use]
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text).ok()?;
    // As records keep it: in microseconds, and a leap second is the next one.
    let instant = DateTime::from_timestamp_micros(instant.timestamp_micros())?;
    YEARS.contains(&instant.year()).then_some(instant)
}

/// A fault of a document, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault it is.
    pub reason: Reason,
    /// JSON pointer: `/instructions/3/effect`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_str() {
            // The whole document's.
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// A value at a path.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    value: &'a Json<'a>,
    step: Step<'a>,
    faults: Rc<RefCell<Vec<Fault>>>,
}

/// The last step of a path. The path is spelled only for a fault: nearly every value has none.
#[derive(Clone, Debug)]
struct Step<'a> {
    parent: Option<Rc<Step<'a>>>,
    key: Key<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Key<'a> {
    Root,
    Name(&'a str),
    Place(usize),
}

/// An object whose read keys are remembered, so that unknown ones are named.
#[derive(Debug)]
pub struct Fields<'a> {
    at: Cursor<'a>,
    inside: Rc<Step<'a>>,
    read: RefCell<Vec<&'static str>>,
}

/// Digits of a key that may be told: fewer than a personal code or a card's number has.
const MOST_DIGITS: usize = 6;

/// A key as it is told of. Who has put somebody's number where a name belongs must not find it in a log.
fn told(key: &str) -> String {
    match key.bytes().filter(u8::is_ascii_digit).count() > MOST_DIGITS {
        true => "…".into(),
        false => key.replace('~', "~0").replace('/', "~1"),
    }
}

impl Step<'_> {
    fn write(&self, path: &mut String) {
        if let Some(parent) = &self.parent {
            parent.write(path);
        }
        match self.key {
            Key::Root => {}
            Key::Name(name) => {
                path.push('/');
                path.push_str(&told(name));
            }
            Key::Place(place) => {
                path.push('/');
                path.push_str(&place.to_string());
            }
        }
    }
}

impl<'a> Cursor<'a> {
    /// The whole document.
    pub fn root(value: &'a Json<'a>) -> Self {
        Self { value, step: Step { parent: None, key: Key::Root }, faults: Rc::default() }
    }

    /// Every fault so far, in the order of reading.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.borrow().clone()
    }

    /// Notes that the value is not what it must be.
    pub fn fault(&self, message: impl Into<String>) {
        self.fault_of(Reason::InvalidValue, message);
    }

    /// Notes a fault of another kind.
    pub fn fault_of(&self, reason: Reason, message: impl Into<String>) {
        let mut path = String::new();
        self.step.write(&mut path);
        self.faults.borrow_mut().push(Fault { reason, path, message: message.into() });
    }

    fn below(&self, inside: &Rc<Step<'a>>, key: Key<'a>, value: &'a Json<'a>) -> Self {
        let step = Step { parent: Some(Rc::clone(inside)), key };
        Self { value, step, faults: Rc::clone(&self.faults) }
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.value.entries().is_some()
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self.value == Json::Null
    }

    /// The object's fields; a fault and none where it is no object.
    pub fn fields(&self) -> Option<Fields<'a>> {
        if let Some(object) = self.value.entries() {
            let read = RefCell::new(Vec::with_capacity(object.len() + 2));
            return Some(Fields { at: self.clone(), inside: Rc::new(self.step.clone()), read });
        }
        self.fault_of(Reason::WrongType, "must be an object");
        None
    }

    /// The array's elements; a fault and none where it is no array.
    pub fn elements(&self) -> Vec<Self> {
        match self.value {
            Json::List(elements) => {
                let inside = Rc::new(self.step.clone());
                let numbered = elements.iter().enumerate();
                numbered.map(|(at, value)| self.below(&inside, Key::Place(at), value)).collect()
            }
            _ => {
                self.fault_of(Reason::WrongType, "must be a list");
                Vec::new()
            }
        }
    }

    /// The object's entries by key.
    pub fn entries(&self) -> Vec<(&'a str, Self)> {
        match self.value {
            Json::Object(map) => {
                let inside = Rc::new(self.step.clone());
                let below = |(key, value): &'a (Cow<'a, str>, Json<'a>)| {
                    (&**key, self.below(&inside, Key::Name(key), value))
                };
                map.iter().map(below).collect()
            }
            _ => {
                self.fault_of(Reason::WrongType, "must be an object");
                Vec::new()
            }
        }
    }

    /// The text; a fault where it is none.
    pub fn text(&self) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.fault_of(Reason::WrongType, "must be a text");
        }
        text
    }

    /// A text of at most so many bytes.
    pub fn short_text(&self, longest: usize) -> Option<&'a str> {
        let text = self.text()?;
        if text.len() > longest {
            self.fault(format!("must have at most {longest} characters"));
            return None;
        }
        Some(text)
    }

    /// True or false.
    pub fn boolean(&self) -> Option<bool> {
        if let Json::Bool(value) = self.value {
            return Some(*value);
        }
        self.fault_of(Reason::WrongType, "must be true or false");
        None
    }

    /// A whole number within bounds.
    pub fn integer(&self, least: i64, most: i64) -> Option<i64> {
        match self.value.as_number().and_then(Number::as_i64) {
            Some(number) if (least..=most).contains(&number) => Some(number),
            Some(_) => {
                self.fault(format!("must be from {least} to {most}"));
                None
            }
            None => {
                self.fault_of(Reason::WrongType, "must be a whole number");
                None
            }
        }
    }

    /// Euro cents, not below zero.
    pub fn amount(&self) -> Option<Amount> {
        self.integer(0, Amount::LARGEST.cents()).map(Amount::from_cents)
    }

    /// A share from 0 to 10 000.
    pub fn basis_points(&self) -> Option<BasisPoints> {
        let number = self.integer(0, 10_000)?;
        u16::try_from(number).ok().and_then(BasisPoints::new)
    }

    /// The value itself.
    #[must_use]
    pub const fn value(&self) -> &'a Json<'a> {
        self.value
    }

    /// Any number.
    pub fn number(&self) -> Option<f64> {
        let number = self.value.as_number().and_then(Number::as_f64);
        if number.is_none() {
            self.fault_of(Reason::WrongType, "must be a number");
        }
        number
    }

    /// A local date, `YYYY-MM-DD`.
    pub fn date(&self) -> Option<NaiveDate> {
        let parsed = parse_date(self.text()?);
        if parsed.is_none() {
            self.fault("must be a date, YYYY-MM-DD");
        }
        parsed
    }

    /// An identifier.
    pub fn id<T>(&self, new: impl Fn(&str) -> Result<T, IdError>) -> Option<T> {
        match new(self.text()?) {
            Ok(id) => Some(id),
            Err(error) => {
                self.fault(error.to_string());
                None
            }
        }
    }

    /// What `parse` makes of the text; a fault that says what it must be, where nothing.
    pub fn parsed<T>(&self, must: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let parsed = parse(self.text()?);
        if parsed.is_none() {
            self.fault(format!("must be {must}"));
        }
        parsed
    }

    /// An instant with its offset (RFC 3339), within [`YEARS`].
    pub fn instant(&self) -> Option<DateTime<Utc>> {
        self.parsed("an instant with its offset (RFC 3339), from 1900 to 2199", instant)
    }

    /// One of some words.
    pub fn word<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.fault(format!("must be one of {}", known.join(", ")));
        }
        found.map(|(_, value)| value.clone())
    }

    /// A text in both languages: an object, or one text for both.
    pub fn translated(&self) -> Text {
        if let Some(text) = self.value.as_str() {
            return Text { lv: text.into(), en: text.into() };
        }
        let Some(fields) = self.fields() else { return Text::default() };
        let part = |name| fields.optional(name).and_then(|at| at.text().map(str::to_owned));
        let (lv, en) = (part("lv"), part("en"));
        fields.finish();
        let either = lv.clone().or_else(|| en.clone()).unwrap_or_default();
        Text { lv: lv.unwrap_or_else(|| either.clone()), en: en.unwrap_or(either) }
    }
}

impl<'a> Fields<'a> {
    /// A field that may be missing; null counts as missing.
    pub fn optional(&self, name: &'static str) -> Option<Cursor<'a>> {
        self.read.borrow_mut().push(name);
        let value = self.at.value.get(name)?;
        let at = self.at.below(&self.inside, Key::Name(name), value);
        (!at.is_null()).then_some(at)
    }

    /// A field that must be there; a fault where it is not.
    pub fn required(&self, name: &'static str) -> Option<Cursor<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            self.at.fault_of(Reason::MissingField, format!("{name} is missing"));
        }
        found
    }

    /// The elements of a list that may be missing.
    pub fn list(&self, name: &'static str) -> Vec<Cursor<'a>> {
        self.optional(name).map(|at| at.elements()).unwrap_or_default()
    }

    /// A translated text that may be missing.
    pub fn translated(&self, name: &'static str) -> Text {
        self.optional(name).map(|at| at.translated()).unwrap_or_default()
    }

    /// A text that may be missing.
    pub fn text(&self, name: &'static str) -> Option<String> {
        self.optional(name).and_then(|at| at.text()).map(str::to_owned)
    }

    /// A short text that may be missing.
    pub fn short_text(&self, name: &'static str, longest: usize) -> Option<String> {
        self.optional(name).and_then(|at| at.short_text(longest)).map(str::to_owned)
    }

    /// Whether the field is there, be it null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.at.value.get(name).is_some()
    }

    /// The object itself, for faults about the whole.
    pub const fn at(&self) -> &Cursor<'a> {
        &self.at
    }

    /// Names every key that nobody has read.
    pub fn finish(self) {
        let read = self.read.borrow();
        for (key, value) in self.at.value.entries().into_iter().flatten() {
            if !read.contains(&&**key) {
                let at = self.at.below(&self.inside, Key::Name(key), value);
                at.fault_of(Reason::UnknownField, "unknown field");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instant_is_one_that_a_record_keeps() {
        assert_eq!(instant("2025-02-21T15:17:60Z"), instant("2025-02-21T15:18:00Z"));
        assert_eq!(instant("2025-02-21T15:17:09.1234567Z"), instant("2025-02-21T15:17:09.123456Z"));
        assert!(instant("2025-02-21T15:18:00+02:00").is_some());
        assert_eq!(instant("1899-12-31T23:59:59Z"), None);
    }

    #[test]
    fn an_unknown_key_is_named_unless_it_may_be_somebodys_number() {
        let document = json!({"colour": 1, "326180-33995": {}, "a/b": 2});
        let document = Json::from(&document);
        let root = Cursor::root(&document);
        root.fields().expect("an object").finish();
        let paths: Vec<_> = root.faults().into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["/colour", "/…", "/a~1b"]);
    }
}
