//! How settings lie over one another: the defaults, a file, the environment.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// What environment variables of settings begin with.
pub const PREFIX: &str = "AVIS__";
/// What the name of a variable ends with that holds the name of a file instead of a value.
pub const FROM_FILE: &str = "_FILE";

/// Puts a table over another; a key that the other does not have is refused by its path.
///
/// # Errors
/// Where a key is unknown.
pub fn merge(table: &mut Table, over: Table, path: &mut Vec<String>) -> Result<(), String> {
    for (key, value) in over {
        path.push(key.clone());
        match (table.get_mut(&key), value) {
            (None, _) => return Err(unknown(path)),
            (Some(Value::Table(known)), Value::Table(over)) => merge(known, over, path)?,
            (Some(known), value) => *known = fitting(known, value),
        }
        path.pop();
    }
    Ok(())
}

/// Puts what the environment says over a table. A variable whose name ends with `_FILE` names a file
/// with the value, so that a secret stands in no list of processes and no description of a service.
///
/// # Errors
/// Where a key is unknown or said twice, or a file cannot be read; with the variable's name, and
/// never with its value.
pub fn environment(
    table: &mut Table,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(), (String, String)> {
    let mut said: BTreeMap<Vec<String>, String> = BTreeMap::new();
    // In one order, whatever the environment's.
    let ours: BTreeMap<String, String> =
        variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    for (name, value) in ours {
        let fault = |reason: String| (name.clone(), reason);
        let path = name.trim_start_matches(PREFIX);
        let (path, text) = match path.strip_suffix(FROM_FILE) {
            None => (path, value),
            Some(path) => {
                let read = std::fs::read_to_string(&value);
                (path, read.map_err(|error| fault(format!("cannot read {value}: {error}")))?)
            }
        };
        let path: Vec<_> = path.to_ascii_lowercase().split("__").map(str::to_owned).collect();
        let known = set(table, &path, text.trim_end_matches(['\r', '\n'])).map_err(fault)?;
        if let Some(other) = said.insert(known, name.clone()) {
            return Err(fault(format!("{other} says the same setting")));
        }
    }
    Ok(())
}

/// Sets one key; answers its path as the table spells it.
fn set(table: &mut Table, path: &[String], text: &str) -> Result<Vec<String>, String> {
    let (mut inner, mut known) = (table, Vec::new());
    for (at, word) in path.iter().enumerate() {
        let key = spelled(inner, word).ok_or_else(|| unknown(path))?;
        known.push(key.clone());
        let is_last = at + 1 == path.len();
        match inner.get_mut(&key) {
            Some(value) if is_last => {
                put(value, text, &mut known.clone())?;
                return Ok(known);
            }
            Some(Value::Table(next)) => inner = next,
            _ => return Err(unknown(path)),
        }
    }
    Err(unknown(path))
}

/// A key as the table has it. No shell takes a hyphen in a name, so an underscore stands for it.
fn spelled(table: &Table, word: &str) -> Option<String> {
    table.keys().find(|key| *key == word || key.replace('-', "_") == word).cloned()
}

/// Puts a text in the place of a value: as it is where that is a text, else as TOML has it.
fn put(known: &mut Value, text: &str, path: &mut Vec<String>) -> Result<(), String> {
    let parsed: Option<Table> = format!("value = {text}").parse().ok();
    let parsed = parsed.and_then(|mut table| table.remove("value"));
    match (&mut *known, parsed) {
        (Value::Table(known), Some(Value::Table(over))) => merge(known, over, path)?,
        (Value::String(_), Some(value @ Value::String(_))) => *known = value,
        (Value::String(_), _) | (_, None) => *known = fitting(known, Value::String(text.into())),
        (_, Some(value)) => *known = fitting(known, value),
    }
    Ok(())
}

/// One text where a list is wanted is a list of one.
fn fitting(known: &Value, value: Value) -> Value {
    match (known, value) {
        (Value::Array(_), value @ Value::String(_)) => Value::Array(vec![value]),
        (_, value) => value,
    }
}

fn unknown(path: &[String]) -> String {
    format!("unknown key {}", path.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let text = "[redis]\nurls = [\"a\"]\nreplicas = 0\n[fluvio]\ntopic_prefix = \"\"\n\
                    [log.keep]\nmeans-changes = { age_days = 0 }\n";
        text.parse().expect("a table")
    }

    fn over(variables: &[(&str, &str)]) -> Result<Table, (String, String)> {
        let mut table = table();
        let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        environment(&mut table, owned).map(|()| table)
    }

    #[test]
    fn values_are_what_their_setting_is() {
        let table = over(&[
            ("AVIS__REDIS__URLS", "redis://one:6379"),
            ("AVIS__REDIS__REPLICAS", "2"),
            ("AVIS__FLUVIO__TOPIC_PREFIX", "2026"),
            ("AVIS__LOG__KEEP__MEANS_CHANGES__AGE_DAYS", "7"),
            ("OTHER__REDIS", "not ours"),
        ])
        .expect("settings");
        assert_eq!(table["redis"]["urls"], Value::Array(vec!["redis://one:6379".into()]));
        assert_eq!(table["redis"]["replicas"], Value::Integer(2));
        assert_eq!(table["fluvio"]["topic_prefix"], Value::String("2026".into()));
        assert_eq!(table["log"]["keep"]["means-changes"]["age_days"], Value::Integer(7));
        let many = over(&[("AVIS__REDIS__URLS", r#"["a", "b"]"#)]).expect("settings");
        assert_eq!(many["redis"]["urls"].as_array().map(Vec::len), Some(2));
        let hyphen = over(&[("AVIS__LOG__KEEP__MEANS-CHANGES", "{ age_days = 3 }")]);
        let hyphen = hyphen.expect("settings");
        assert_eq!(hyphen["log"]["keep"]["means-changes"]["age_days"], Value::Integer(3));
    }

    #[test]
    fn a_file_has_the_value_and_its_fault_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("urls");
        std::fs::write(&secret, "redis://:hush@one:6379\n").expect("written");
        let named = secret.display().to_string();
        let table = over(&[("AVIS__REDIS__URLS_FILE", &named)]).expect("settings");
        assert_eq!(table["redis"]["urls"], Value::Array(vec!["redis://:hush@one:6379".into()]));
        let twice = over(&[("AVIS__REDIS__URLS_FILE", &named), ("AVIS__REDIS__URLS", "b")]);
        let (name, told) = twice.expect_err("twice");
        assert_eq!(name, "AVIS__REDIS__URLS_FILE");
        assert_eq!(told, "AVIS__REDIS__URLS says the same setting");
        let missing = over(&[("AVIS__REDIS__URLS_FILE", "/nowhere/urls")]).expect_err("no file");
        assert!(missing.1.starts_with("cannot read /nowhere/urls"), "{missing:?}");
    }

    #[test]
    fn what_is_unknown_is_named_by_its_path() {
        for (variable, path) in [
            ("AVIS__REDIS__URL", "redis.url"),
            ("AVIS__REDIS__REPLICAS__MANY", "redis.replicas.many"),
            ("AVIS__REDISS", "rediss"),
            ("AVIS__LOG__KEEP__MEANS_CHANGES__AGE", "log.keep.means_changes.age"),
        ] {
            let (name, told) = over(&[(variable, "1")]).expect_err("a fault");
            assert_eq!((name.as_str(), told), (variable, format!("unknown key {path}")));
        }
        let mut known = table();
        let file: Table = "[redis]\nreplica = 1\n".parse().expect("a table");
        let told = merge(&mut known, file, &mut Vec::new()).expect_err("a fault");
        assert_eq!(told, "unknown key redis.replica");
    }
}
