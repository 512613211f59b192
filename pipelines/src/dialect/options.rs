//! What stands in `WITH (…)`: values are read by kind, and a key that nobody asks for is an error.

use std::{collections::BTreeMap, fmt::Display, num::NonZeroU64, str::FromStr, time::Duration};

use sqlparser::ast::{Expr, SqlOption, Value};

use super::{fault::Fault, interval};

/// The options of one table. What a connector asks for is what it knows.
#[derive(Debug)]
pub struct Options {
    given: BTreeMap<String, Expr>,
    known: Vec<String>,
}

impl Options {
    /// The options as they stand; of a key given twice the last counts, as on a cluster.
    pub fn of(options: Vec<SqlOption>) -> Result<Self, Fault> {
        let mut given = BTreeMap::new();
        for option in options {
            let SqlOption::KeyValue { key, value } = option else {
                return Err(Fault::Wrong(format!(
                    "invalid with option: '{option}'; expected an `=` delimited key-value pair"
                )));
            };
            given.insert(key.value, value);
        }
        Ok(Self { given, known: Vec::new() })
    }

    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Gives a key a value that the statement did not write out.
    pub fn insert(&mut self, key: &str, text: String) {
        let value = Value::SingleQuotedString(text);
        self.given.insert(key.to_owned(), Expr::Value(value.into()));
    }

    /// Takes what is given for a key.
    fn take(&mut self, key: &str) -> Option<Expr> {
        if !self.known.iter().any(|known| known == key) {
            self.known.push(key.to_owned());
        }
        self.given.remove(key)
    }

    /// A text in quotes.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, Fault> {
        match self.take(key).map(value) {
            None => Ok(None),
            Some(Ok(Value::SingleQuotedString(text))) => Ok(Some(text)),
            Some(other) => Err(wrong(key, "to be a single-quoted string", &shown(other))),
        }
    }

    /// A text in quotes that has to be there.
    pub fn need(&mut self, key: &str) -> Result<String, Fault> {
        self.text(key)?.ok_or_else(|| missing(key))
    }

    /// `true`, `false`, or one of these, `yes` or `no` in quotes.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, Fault> {
        match self.take(key).map(value) {
            None => Ok(None),
            Some(Ok(Value::Boolean(given))) => Ok(Some(given)),
            Some(Ok(Value::SingleQuotedString(text))) => match text.as_str() {
                "true" | "yes" => Ok(Some(true)),
                "false" | "no" => Ok(Some(false)),
                _ => Err(wrong(key, "to be a boolean", &format!("'{text}'"))),
            },
            Some(other) => Err(wrong(key, "to be a boolean", &shown(other))),
        }
    }

    /// A number, with or without quotes.
    pub fn number<T: FromStr>(&mut self, key: &str, kind: &str) -> Result<Option<T>, Fault> {
        let kind = format!("to be {kind}");
        match self.take(key).map(value) {
            None => Ok(None),
            Some(Ok(Value::Number(text, _) | Value::SingleQuotedString(text))) => {
                text.parse().map(Some).map_err(|_| wrong(key, &kind, &text))
            }
            Some(other) => Err(wrong(key, &kind, &shown(other))),
        }
    }

    pub fn unsigned(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        self.number(key, "an unsigned integer")
    }

    pub fn positive(&mut self, key: &str) -> Result<Option<NonZeroU64>, Fault> {
        let Some(given) = self.unsigned(key)? else { return Ok(None) };
        NonZeroU64::new(given).map(Some).ok_or_else(|| wrong(key, "to be greater than 0", "0"))
    }

    /// A number of bytes: `'512'`, `'64KB'`, `'128MB'`; the units are powers of 1024.
    pub fn size(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let invalid = || Fault::Wrong(format!("invalid data size {text}"));
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let power = match unit.to_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" => 1,
            "m" | "mb" => 2,
            "g" | "gb" => 3,
            "t" | "tb" => 4,
            "p" | "pb" => 5,
            "e" | "eb" => 6,
            _ => return Err(Fault::Wrong(format!("invalid data size unit '{unit}'"))),
        };
        number.checked_mul(1024_u64.pow(power)).map(Some).ok_or_else(invalid)
    }

    /// A span of time.
    pub fn duration(&mut self, key: &str) -> Result<Option<Duration>, Fault> {
        let Some(given) = self.take(key) else { return Ok(None) };
        let read = interval::duration(&given);
        read.map(Some).map_err(|reason| Fault::Wrong(format!("in with clause '{key}': {reason}")))
    }

    /// A column's name, in quotes (deprecated in the dialect) or not.
    pub fn field(&mut self, key: &str) -> Result<Option<String>, Fault> {
        match self.take(key) {
            None => Ok(None),
            Some(Expr::Identifier(identifier)) => Ok(Some(identifier.value)),
            Some(other) => match value(other) {
                Ok(Value::SingleQuotedString(text)) => Ok(Some(text)),
                other => Err(wrong(key, "to be a field", &shown(other))),
            },
        }
    }

    /// Names of columns: `[a, b]`, or `'a,b'`.
    pub fn fields(&mut self, key: &str) -> Result<Vec<String>, Fault> {
        let given = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Expr::Array(array)) => array.elem,
            Some(other) => vec![other],
        };
        let mut names = Vec::new();
        for element in given {
            match element {
                Expr::Identifier(identifier) => names.push(identifier.value),
                other => match value(other) {
                    Ok(Value::SingleQuotedString(text)) => {
                        names.extend(text.split(',').map(ToOwned::to_owned));
                    }
                    other => {
                        return Err(Fault::Wrong(format!(
                            "invalid expression in `{key}`: {}; expected a column identifier",
                            shown(other)
                        )));
                    }
                },
            }
        }
        Ok(names)
    }

    /// One of a few texts.
    pub fn choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<_> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
                Err(Fault::Wrong(format!(
                    "invalid value for '{key}': `{text}`; expected one of {}",
                    names.join(", ")
                )))
            }
        }
    }

    /// The texts whose keys begin with `prefix`, by the rest of the key.
    pub fn prefixed(&mut self, prefix: &str) -> Result<BTreeMap<String, String>, Fault> {
        let keys: Vec<_> =
            self.given.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        self.known.push(format!("{prefix}*"));
        let taken = keys.iter().map(|key| {
            let text = self.given.remove(key).map(value);
            match text {
                Some(Ok(Value::SingleQuotedString(text))) => {
                    Ok((key[prefix.len()..].to_owned(), text))
                }
                Some(other) => Err(wrong(key, "to be a single-quoted string", &shown(other))),
                None => Err(missing(key)),
            }
        });
        taken.collect()
    }

    /// What nobody asked for is an error.
    pub fn finish(self) -> Result<(), Fault> {
        if self.given.is_empty() {
            return Ok(());
        }
        Err(Fault::UnknownOptions { unknown: self.given.into_keys().collect(), known: self.known })
    }
}

pub fn missing(key: &str) -> Fault {
    Fault::Wrong(format!("required option '{key}' not set"))
}

fn value(expression: Expr) -> Result<Value, Expr> {
    match expression {
        Expr::Value(value) => Ok(value.value),
        other => Err(other),
    }
}

fn shown<T: Display, E: Display>(given: Result<T, E>) -> String {
    given.map_or_else(|expression| expression.to_string(), |value| value.to_string())
}

fn wrong(key: &str, kind: &str, given: &str) -> Fault {
    Fault::Wrong(format!("expected with option '{key}' {kind}, but it was `{given}`"))
}
