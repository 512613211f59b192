//! Sources: sizes, names, leftovers, and the pairs that must stay pairs.

use std::path::Path;

use crate::{files, root, text};

const LONGEST_FILE: usize = 600;
const LONGEST_LINE: usize = 100;

/// Words that promise nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "helpers", "common", "types", "manager", "misc"];

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn files_and_lines_fit_a_head() {
    for path in files(".rs") {
        let text = text(&path);
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{}: {lines} lines, split it", shown(&path));
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            // A long text cannot be broken without being worse to search for.
            let one_text = line.trim_start().starts_with(['"', '#', '/']) || line.contains("\"");
            assert!(
                columns <= LONGEST_LINE || one_text,
                "{}:{}: {columns} columns",
                shown(&path),
                number + 1
            );
        }
    }
}

#[test]
fn names_say_what_is_inside() {
    for path in files(".rs") {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        assert!(!EMPTY_NAMES.contains(&stem), "{}: the name says nothing", shown(&path));
        assert_ne!(stem, "mod", "{}: use `name.rs` beside `name/`", shown(&path));
        let twin = stem.ends_with("_v2") || stem.ends_with("_new") || stem.ends_with("_old");
        assert!(!twin, "{}: two ways of one thing", shown(&path));
    }
}

#[test]
fn nothing_is_left_half_done() {
    // Put together here, so that this file does not find itself.
    let leftovers = [
        ["todo", "!("],
        ["unimplemented", "!("],
        ["#[ign", "ore"],
        ["#[should", "_panic"],
        ["FIX", "ME"],
    ]
    .map(|parts| parts.concat());
    for path in files(".rs") {
        let text = text(&path);
        for leftover in &leftovers {
            assert!(!text.contains(leftover.as_str()), "{}: holds {leftover}", shown(&path));
        }
    }
}

/// What manifests say is not built for tests, or not read for examples, has none that would go untried.
#[test]
fn no_test_and_no_example_is_left_out() {
    let off = |target: Option<&toml::Value>, what: &str| {
        target.and_then(|target| target.get(what)) == Some(&toml::Value::Boolean(false))
    };
    let sources = files(".rs");
    for path in files("Cargo.toml") {
        let manifest: toml::Table = text(&path).parse().expect("a manifest");
        let (folder, library) = (path.with_file_name("src"), manifest.get("lib"));
        for source in sources.iter().filter(|source| source.starts_with(&folder)) {
            let text = text(source);
            let tested = !off(library, "test") || !text.contains("#[test]");
            assert!(tested, "{}: its tests are not built", shown(source));
            let read = !off(library, "doctest") || !has_example(&text);
            assert!(read, "{}: its examples are not run", shown(source));
        }
        for binary in manifest.get("bin").and_then(toml::Value::as_array).into_iter().flatten() {
            let source = path.with_file_name(binary["path"].as_str().expect("a path"));
            let tested = !off(Some(binary), "test") || !text(&source).contains("#[test]");
            assert!(tested, "{}: its tests are not built", shown(&source));
        }
    }
}

/// Whether a comment that documents has a block of Rust.
fn has_example(text: &str) -> bool {
    let comments = text.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))
    });
    let fences = comments.filter_map(|comment| comment.trim_start().strip_prefix("```"));
    // Every other one closes a block.
    fences.step_by(2).any(|language| language.is_empty() || language.starts_with("rust"))
}

#[test]
fn sql_names_its_columns_and_says_what_it_is_for() {
    let corpus = root().join("deploy/fuzz/corpus");
    // What others might send is not ours to write well.
    for path in files(".sql").into_iter().filter(|path| !path.starts_with(&corpus)) {
        let text = text(&path);
        assert!(text.starts_with("--"), "{}: has no header comment", shown(&path));
        let bare = text.lines().filter(|line| !line.trim_start().starts_with("--"));
        for line in bare {
            let upper = line.to_uppercase();
            assert!(!upper.contains("SELECT *"), "{}: SELECT * hides the columns", shown(&path));
        }
    }
}

#[test]
fn every_golden_of_a_pipeline_has_its_query() {
    let golden = root().join("pipelines/tests/golden");
    let stems = |folder: &Path, directories: bool| -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("a readable entry").path());
        let wanted = paths.filter(|path| path.is_dir() == directories);
        let mut stems: Vec<_> =
            wanted.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
        stems.sort();
        stems
    };
    let mut queries = stems(&root().join("pipelines/sql/tables"), false);
    queries.extend(stems(&root().join("pipelines/sql/summaries"), false));
    for name in stems(&golden, true) {
        assert!(queries.contains(&name), "the golden {name} has no query");
    }
}
