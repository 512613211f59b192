//! Versions of instructions: a change is a new version, and what has been applied is never rewritten.

use chrono::{Days, NaiveDate};
use domain::registry::Kind;
use ingest::{
    dead_letter::Reason,
    document::Fault,
    register::registry::{Entry, RegistryView, identity},
};
use serde_json::{Value, json};

use super::standing::Change;

/// The versions of an instruction that stand, in their order.
pub fn of<'a>(view: &'a RegistryView, id: &str) -> Vec<(&'a str, &'a Entry)> {
    // Versions stand under `<id>/<version>`; a longer id may begin alike.
    let before = format!("{id}/");
    let below =
        view.after(Kind::Instruction, &before).take_while(|(of, _)| of.starts_with(&before));
    let mut versions: Vec<_> =
        below.filter(|(_, entry)| entry.document["id"].as_str() == Some(id)).collect();
    versions.sort_by_key(|(_, entry)| entry.document["version"].as_u64());
    versions
}

/// The version in force on a day; else the next one to be, else the last one that was.
pub fn on<'a>(versions: &[(&'a str, &'a Entry)], day: NaiveDate) -> Option<(&'a str, &'a Entry)> {
    let begins_by = |entry: &Value| begins(entry).is_some_and(|from| from <= day);
    let holds = |entry: &Value| begins_by(entry) && ends(entry).is_none_or(|to| to >= day);
    let in_force = versions.iter().find(|(_, entry)| holds(&entry.document));
    let next = versions.iter().find(|(_, entry)| !begins_by(&entry.document));
    in_force.or(next).or(versions.last()).copied()
}

fn date(entry: &Value, name: &str) -> Option<NaiveDate> {
    entry["valid"][name].as_str().and_then(|text| text.parse().ok())
}

fn begins(entry: &Value) -> Option<NaiveDate> {
    date(entry, "from")
}

fn ends(entry: &Value) -> Option<NaiveDate> {
    date(entry, "to")
}

/// What putting an instruction changes: without a version it is the next one; an earlier version that is
/// valid when it begins ends on the day before.
pub fn put(view: &RegistryView, id: &str, mut body: Value) -> Vec<Change> {
    let standing = of(view, id);
    let numbers = standing.iter().filter_map(|(_, entry)| entry.document["version"].as_u64());
    let next = numbers.max().unwrap_or_default() + 1;
    if let Some(fields) = body.as_object_mut() {
        fields.entry("version").or_insert(json!(next));
    }
    let own = identity(Kind::Instruction, &body);
    let mut changes = Vec::new();
    if let Some(from) = begins(&body)
        && let Some(eve) = from.checked_sub_days(Days::new(1))
    {
        let earlier = standing.iter().filter(|(of, _)| *of != own).filter(|(_, entry)| {
            begins(&entry.document).is_some_and(|began| began < from)
                && ends(&entry.document).is_none_or(|to| to >= from)
        });
        changes.extend(earlier.map(|(of, entry)| {
            let mut ended = entry.document.clone();
            ended["valid"]["to"] = json!(eve.to_string());
            Change { kind: Kind::Instruction, id: (*of).to_owned(), entry: Some(ended) }
        }));
    }
    changes.push(Change { kind: Kind::Instruction, id: own, entry: Some(body) });
    changes
}

/// What is wrong with changing a version on a day: one that is in force, or has been, may only be ended,
/// today at the earliest.
pub fn fault(before: Option<&Value>, after: Option<&Value>, today: NaiveDate) -> Option<Fault> {
    let before = before?;
    let began = begins(before).filter(|from| *from <= today)?;
    let version = &before["version"];
    let fault = |path: &str, message: String| {
        Some(Fault { reason: Reason::InvalidValue, path: path.into(), message })
    };
    let Some(after) = after else {
        return fault(
            "",
            format!("version {version} is in force since {began}: end it by /valid/to"),
        );
    };
    let mut without = [before.clone(), after.clone()];
    for entry in &mut without {
        if let Some(valid) = entry["valid"].as_object_mut() {
            valid.remove("to");
        }
    }
    let [before_but_end, after_but_end] = &without;
    if before_but_end != after_but_end {
        let message = format!(
            "version {version} is in force since {began} and stays as it is: leave /version out to make \
             the next one"
        );
        return fault("", message);
    }
    let (was, is) = (ends(before), ends(after));
    let moved = was != is;
    if moved && (was.is_some_and(|to| to < today) || is.is_some_and(|to| to < today)) {
        return fault("/valid/to", format!("days before {today} have been decided already"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn version(from: &str, to: Option<&str>, priority: i64) -> Value {
        json!({"id": "ride", "version": 1, "valid": {"from": from, "to": to}, "priority": priority})
    }

    #[test]
    fn what_has_been_applied_is_never_rewritten() {
        let today = day("2025-06-02");
        let check = |before: &Value, after: Option<&Value>| {
            fault(Some(before), after, today).map(|fault| fault.path)
        };
        let open = version("2025-01-01", None, 1);
        assert_eq!(check(&open, Some(&open)), None);
        assert_eq!(check(&open, Some(&version("2025-01-01", Some("2025-06-02"), 1))), None);
        let yesterday = version("2025-01-01", Some("2025-06-01"), 1);
        assert_eq!(check(&open, Some(&yesterday)), Some("/valid/to".into()));
        assert_eq!(check(&open, Some(&version("2025-01-01", None, 2))), Some(String::new()));
        assert_eq!(check(&open, Some(&version("2025-01-02", None, 1))), Some(String::new()));
        assert_eq!(check(&open, None), Some(String::new()));
        // One that is over stays over.
        assert_eq!(check(&yesterday, Some(&open)), Some("/valid/to".into()));
        assert_eq!(check(&yesterday, Some(&yesterday)), None);
        // One that has not begun may be anything, and nothing.
        let future = version("2025-06-03", None, 1);
        assert_eq!(check(&future, Some(&version("2025-07-01", None, 7))), None);
        assert_eq!(check(&future, None), None);
        assert_eq!(fault(None, Some(&open), today), None);
    }
}
