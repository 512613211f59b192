//! Two results files beside each other: how each ratio changed. Rates of different days or machines say
//! nothing to each other, ratios to what was measured in the same run do.

use std::{collections::BTreeMap, fmt::Write, path::Path};

/// A row of a results file: what was measured beside what, and the ratio of the rates.
type Ratios = BTreeMap<(String, String), f64>;

/// The table of what changed from one results file to another.
///
/// # Errors
/// Where a file cannot be read.
pub fn table(before: &Path, after: &Path) -> std::io::Result<String> {
    let (old, new) = (ratios(&read(before)?), ratios(&read(after)?));
    let mut told = String::from("| measured | beside it | before | after | change |\n");
    told.push_str("|---|---|---:|---:|---:|\n");
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        let of = |ratios: &Ratios| ratios.get(name).copied();
        let text = |ratio: Option<f64>| ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
        let change = of(&old)
            .zip(of(&new))
            .map_or("–".into(), |(old, new)| format!("{:+.0} %", (new / old - 1.0) * 100.0));
        let (measured, beside) = name;
        let (old, new) = (text(of(&old)), text(of(&new)));
        let _written = writeln!(told, "| {measured} | {beside} | {old} | {new} | {change} |");
    }
    Ok(told)
}

fn read(file: &Path) -> std::io::Result<String> {
    let named = |error: std::io::Error| {
        std::io::Error::new(error.kind(), format!("{}: {error}", file.display()))
    };
    std::fs::read_to_string(file).map_err(named)
}

fn ratios(text: &str) -> Ratios {
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let (measured, _rate, beside, _limit) =
            (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
        let ratio = cells.next()?.parse().ok()?;
        Some(((measured.to_owned(), beside.to_owned()), ratio))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_compared_by_what_they_are_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let head = "# A title\n\n| measured | rate | beside it | rate | ratio |\n|---|---:|---|---:|---:|\n";
        let file = |name: &str, rows: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("{head}{rows}\nwords\n")).expect("written");
            path
        };
        let before = file("a.md", "| append | 5 | disk | 10 | 0.50 |\n| gone | 1 | x | 1 | 1.00 |");
        let after = file("b.md", "| append | 30 | disk | 40 | 0.75 |");
        let table = table(&before, &after).expect("read");
        assert!(table.contains("| append | disk | 0.50 | 0.75 | +50 % |"), "{table}");
        assert!(table.contains("| gone | x | 1.00 | – | – |"), "{table}");
        assert!(super::table(&before, &folder.path().join("none")).is_err());
    }
}
