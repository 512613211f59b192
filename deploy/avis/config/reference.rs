//! The settings as a page for operators: what `default.toml` says, key by key. The page in the tree
//! (`deploy/configuration.md`) is this text; a test says when it no longer is.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::{DEFAULT, layers::PREFIX};

/// What stands before the settings.
const HEAD: &str = include_str!("reference.md");

/// A setting.
struct Setting {
    section: String,
    key: String,
    meaning: String,
}

/// The page, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let table: Table = DEFAULT.parse().unwrap_or_default();
    let (settings, intros) = read(DEFAULT);
    let (mut page, mut section, mut last) = (HEAD.to_owned(), "", "");
    for setting in &settings {
        if setting.section != section {
            section = &setting.section;
            page += &format!("\n## `[{section}]`\n\n");
            last = "";
            for (_, intro) in intros.iter().filter(|(of, _)| of == section) {
                page += &format!("{intro}\n\n");
                last = intro;
            }
            page += "| Key | Variable | Value | Default | Meaning |\n|---|---|---|---|---|\n";
        }
        let path = format!("{section}.{}", setting.key);
        let name = variable(&path);
        // One text for several keys is read once.
        let meaning = if setting.meaning == last { "As above." } else { &setting.meaning };
        last = &setting.meaning;
        match found(&table, &path) {
            // A table in one line.
            Some(Value::Table(inner)) => {
                for (key, value) in inner {
                    let name = format!("{name}__{}", key.to_uppercase());
                    let key = format!("{}.{key}", setting.key);
                    row(&mut page, &key, &name, value, meaning);
                }
            }
            Some(value) => row(&mut page, &setting.key, &name, value, meaning),
            None => {}
        }
    }
    page
}

fn row(page: &mut String, key: &str, variable: &str, value: &Value, meaning: &str) {
    let (kind, value) = (kind(key, value), shown(value));
    let meaning = meaning.replace('|', "\\|");
    // Writing to a text never fails.
    let _ = writeln!(page, "| `{key}` | `{variable}` | {kind} | `{value}` | {meaning} |");
}

/// A value as a file has it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(yes) => yes.to_string(),
        Value::Datetime(instant) => instant.to_string(),
        Value::Array(many) => {
            format!("[{}]", many.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Table(_) => "{…}".into(),
    }
}

/// The value at a path.
fn found<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((first, rest)) => found(table.get(first)?.as_table()?, rest),
    }
}

/// The variable of a setting by its path.
fn variable(path: &str) -> String {
    let name = path.to_uppercase().replace('.', "__").replace('-', "_");
    format!("{PREFIX}{name}")
}

/// What a value is: of a number, the unit that its key ends with.
fn kind(key: &str, value: &Value) -> String {
    let unit = key
        .rsplit('_')
        .next()
        .filter(|unit| ["minutes", "seconds", "days", "records", "rows", "cents"].contains(unit));
    match value {
        Value::Boolean(_) => "true or false".into(),
        Value::Array(_) => "list of texts".into(),
        Value::Integer(_) if key.ends_with("_mib") => "MiB".into(),
        Value::Integer(_) => unit.unwrap_or("number").into(),
        Value::String(text) if text.parse::<std::net::SocketAddr>().is_ok() => "address".into(),
        _ => "text".into(),
    }
}

/// The settings in their order, and what comments before a section say of it. A comment holds for
/// the keys after it, up to the next one.
fn read(text: &str) -> (Vec<Setting>, Vec<(String, String)>) {
    let (mut settings, mut intros) = (Vec::new(), Vec::new());
    let (mut section, mut meaning, mut comment) = (String::new(), String::new(), Vec::new());
    for line in text.lines() {
        if let Some(said) = line.strip_prefix('#') {
            comment.push(said.trim());
            continue;
        }
        let told = comment.join(" ");
        comment.clear();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
            meaning.clear();
            if !told.is_empty() {
                meaning.clone_from(&told);
                intros.push((section.clone(), told));
            }
        } else if let Some((key, _)) = line.split_once(" = ") {
            if !told.is_empty() {
                meaning = told;
            }
            let (section, meaning) = (section.clone(), meaning.clone());
            settings.push(Setting { section, key: key.to_owned(), meaning });
        }
    }
    (settings, intros)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::layers::FROM_FILE, *};

    fn keys(table: &Table, path: &str, into: &mut BTreeSet<String>) {
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                Value::Table(inner) => keys(inner, &path, into),
                _ => {
                    into.insert(path);
                }
            }
        }
    }

    #[test]
    fn the_page_names_every_setting_once_and_says_what_it_means() {
        let table: Table = DEFAULT.parse().expect("a table");
        let mut known = BTreeSet::new();
        keys(&table, "", &mut known);
        let page = markdown();
        let rows: Vec<Vec<&str>> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
            .collect();
        let named: Vec<_> = rows.iter().map(|row| row[1].trim_matches('`').to_owned()).collect();
        let wanted: BTreeSet<_> = known.iter().map(|path| variable(path)).collect();
        assert_eq!(named.iter().cloned().collect::<BTreeSet<_>>(), wanted);
        assert_eq!(named.len(), wanted.len(), "one is named twice");
        for row in &rows {
            assert_eq!(row.len(), 5, "{row:?}");
            assert!(row[4].len() > 5, "{} is not explained: {:?}", row[1], row[4]);
        }
        // Else a variable could mean a setting or the file of another.
        assert!(!named.iter().any(|name| name.ends_with(FROM_FILE)));
    }

    #[test]
    fn the_page_in_the_tree_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configuration.md");
        let page = markdown();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &page).expect("written");
        }
        let kept = std::fs::read_to_string(path).expect("deploy/configuration.md");
        assert!(kept == page, "deploy/configuration.md is old (UPDATE_GOLDEN=1 writes it anew)");
    }
}
