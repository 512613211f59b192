//! Lists of entries: filtered, and paged by cursor.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::NaiveDate;
use domain::registry::Kind;
use serde_json::Value;

use super::{rights, standing::Standing};
use crate::{access::Identity, edge::page::PageAsked, problem::Problem};

/// Entries of a page, unless asked otherwise.
const USUAL: usize = 100;
/// The fields by which a list is filtered: a text that must be the field's.
pub const FILTERS: [&str; 9] = [
    "grantor",
    "merchant",
    "benefit",
    "place",
    "kind",
    "category",
    "territory",
    "institution",
    "login_basket",
];

/// What is asked of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The identity after which the page begins.
    after: String,
    most: usize,
    filters: BTreeMap<&'static str, String>,
    /// A word of the id or of a name, in lower case.
    containing: Option<String>,
    valid_on: Option<NaiveDate>,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// Its entries.
    pub items: Vec<Value>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// 422 where a parameter is not known or has a value that it cannot have.
    pub fn read(query: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let mut asked = Self { most: USUAL, ..Self::default() };
        for (name, value) in query {
            match name.as_str() {
                "cursor" => asked.after = cursor(value)?,
                "limit" => {
                    let limit = Some(value.clone());
                    asked.most = PageAsked { cursor: None, limit }.size(USUAL)?;
                }
                "q" => asked.containing = Some(value.to_lowercase()),
                "valid_on" => {
                    let day = value.parse().ok();
                    let day = day.ok_or_else(|| Problem::invalid("valid_on must be YYYY-MM-DD"))?;
                    asked.valid_on = Some(day);
                }
                other => {
                    let known = FILTERS.into_iter().find(|filter| *filter == other);
                    let known = known.ok_or_else(|| {
                        let filters = FILTERS.join(", ");
                        Problem::invalid(format!(
                            "{other} is no parameter: cursor, limit, q, valid_on, {filters}"
                        ))
                    })?;
                    asked.filters.insert(known, value.clone());
                }
            }
        }
        Ok(asked)
    }

    fn wants(&self, id: &str, entry: &Value) -> bool {
        let is = |(name, wanted): (&&str, &String)| entry[*name].as_str() == Some(wanted);
        let contains = |text: &Value| {
            let word = self.containing.as_deref().unwrap_or_default();
            text.as_str().is_some_and(|text| text.to_lowercase().contains(word))
        };
        let named = || {
            let texts =
                ["name", "label"].into_iter().flat_map(|of| ["lv", "en"].map(|in_| (of, in_)));
            texts.into_iter().any(|(of, language)| contains(&entry[of][language]))
        };
        let found = || contains(&Value::from(id)) || named();
        self.filters.iter().all(is)
            && (self.containing.is_none() || found())
            && self.valid_on.is_none_or(|day| is_valid_on(entry, day))
    }

    /// The page of what somebody reads.
    #[must_use]
    pub fn page(&self, by: &Identity, kind: Kind, standing: &Standing) -> Page {
        let find = |kind: Kind, id: &str| standing.entry(kind, id);
        let mut items = Vec::new();
        let mut last = "";
        for (id, entry) in standing.view.after(kind, &self.after) {
            let entry = &entry.document;
            if !(rights::reads(by, kind, entry, &find) && self.wants(id, entry)) {
                continue;
            }
            if items.len() == self.most {
                return Page { items, next: Some(URL_SAFE_NO_PAD.encode(last)) };
            }
            items.push(rights::shown(by, kind, entry, &find));
            last = id;
        }
        Page { items, next: None }
    }
}

/// Whether an entry holds on a day; one that says no days always does.
fn is_valid_on(entry: &Value, day: NaiveDate) -> bool {
    let days = entry.get("valid").unwrap_or(entry);
    let date = |name: &str| days[name].as_str().and_then(|text| text.parse::<NaiveDate>().ok());
    date("from").is_none_or(|from| from <= day) && date("to").is_none_or(|to| day <= to)
}

fn cursor(text: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Problem::invalid("cursor is not one that a page had as next"))
}
