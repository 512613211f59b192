//! Reading a JSON document by hand: every fault is kept with its path, and reading goes on.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use chrono::NaiveDate;
use domain::{
    amount::{Amount, BasisPoints},
    id::IdError,
    text::Text,
};
use serde_json::Value;

/// A fault of a document, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer: `/instructions/3/effect`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A value at a path.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    value: &'a Value,
    path: String,
    faults: Rc<RefCell<Vec<Fault>>>,
}

/// An object whose read keys are remembered, so that unknown ones are named.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    at: Cursor<'a>,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Cursor<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new(), faults: Rc::default() }
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        self.faults.borrow().clone()
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        let fault = Fault { path: self.path.clone(), message: message.into() };
        self.faults.borrow_mut().push(fault);
    }

    fn below(&self, key: &str, value: &'a Value) -> Self {
        let path = format!("{}/{}", self.path, key.replace('~', "~0").replace('/', "~1"));
        Self { value, path, faults: Rc::clone(&self.faults) }
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// The object's fields; a fault and none where it is no object.
    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        if self.value.is_object() {
            return Some(Fields { at: self.clone(), read: RefCell::default() });
        }
        self.fault("must be an object");
        None
    }

    /// The array's elements; a fault and none where it is no array.
    pub(super) fn elements(&self) -> Vec<Self> {
        match self.value {
            Value::Array(elements) => {
                let numbered = elements.iter().enumerate();
                numbered.map(|(at, value)| self.below(&at.to_string(), value)).collect()
            }
            _ => {
                self.fault("must be a list");
                Vec::new()
            }
        }
    }

    /// The object's entries by key.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        match self.value {
            Value::Object(map) => {
                map.iter().map(|(key, value)| (key.as_str(), self.below(key, value))).collect()
            }
            _ => {
                self.fault("must be an object");
                Vec::new()
            }
        }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.fault("must be a text");
        }
        text
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.fault("must be true or false");
        }
        value
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, least: i64, most: i64) -> Option<i64> {
        match self.value.as_i64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            Some(_) => {
                self.fault(format!("must be from {least} to {most}"));
                None
            }
            None => {
                self.fault("must be a whole number");
                None
            }
        }
    }

    pub(super) fn amount(&self) -> Option<Amount> {
        self.integer(0, Amount::LARGEST.cents()).map(Amount::from_cents)
    }

    pub(super) fn basis_points(&self) -> Option<BasisPoints> {
        let number = self.integer(0, 10_000)?;
        u16::try_from(number).ok().and_then(BasisPoints::new)
    }

    pub(super) fn number(&self) -> Option<f64> {
        let number = self.value.as_f64();
        if number.is_none() {
            self.fault("must be a number");
        }
        number
    }

    pub(super) fn date(&self) -> Option<NaiveDate> {
        let text = self.text()?;
        let parsed = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
        if parsed.is_none() {
            self.fault("must be a date, YYYY-MM-DD");
        }
        parsed
    }

    pub(super) fn id<T>(&self, new: impl Fn(&str) -> Result<T, IdError>) -> Option<T> {
        match new(self.text()?) {
            Ok(id) => Some(id),
            Err(error) => {
                self.fault(error.to_string());
                None
            }
        }
    }

    /// What `parse` makes of the text; a fault that says what it must be, where nothing.
    pub(super) fn parsed<T>(&self, must: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let parsed = parse(self.text()?);
        if parsed.is_none() {
            self.fault(format!("must be {must}"));
        }
        parsed
    }

    /// One of some words.
    pub(super) fn word<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.fault(format!("must be one of {}", known.join(", ")));
        }
        found.map(|(_, value)| value.clone())
    }

    /// A text in both languages: an object, or one text for both.
    pub(super) fn translated(&self) -> Text {
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
    pub(super) fn optional(&self, name: &'static str) -> Option<Cursor<'a>> {
        self.read.borrow_mut().insert(name);
        let value = self.at.value.get(name)?;
        let at = self.at.below(name, value);
        (!at.is_null()).then_some(at)
    }

    /// A field that must be there; a fault where it is not.
    pub(super) fn required(&self, name: &'static str) -> Option<Cursor<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            self.at.fault(format!("{name} is missing"));
        }
        found
    }

    /// The elements of a list that may be missing.
    pub(super) fn list(&self, name: &'static str) -> Vec<Cursor<'a>> {
        self.optional(name).map(|at| at.elements()).unwrap_or_default()
    }

    /// A translated text that may be missing.
    pub(super) fn translated(&self, name: &'static str) -> Text {
        self.optional(name).map(|at| at.translated()).unwrap_or_default()
    }

    /// A text that may be missing.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.optional(name).and_then(|at| at.text()).map(str::to_owned)
    }

    /// The object itself, for faults about the whole.
    pub(super) const fn at(&self) -> &Cursor<'a> {
        &self.at
    }

    /// Names every key that nobody has read.
    pub(super) fn finish(self) {
        let read = self.read.borrow();
        for (key, at) in self.at.entries() {
            if !read.contains(key) {
                at.fault("unknown field");
            }
        }
    }
}
