//! The documents around tables and pictures.

use std::fmt::Write;

use chrono::NaiveDate;

use super::{Figure, Figures, KeyFigures, Picture, chart, escaped, euro, grouped, table};
use crate::{error::WarehouseError, report::FEWEST, session::Rows};

const STYLE: &str = include_str!("style.css");

/// A part of the page.
struct Title {
    id: &'static str,
    en: &'static str,
    lv: &'static str,
}

const DAYS: Title = Title { id: "days", en: "Benefit per day", lv: "Atvieglojumi pa dienām" };
const INSTRUCTIONS: Title =
    Title { id: "instructions", en: "Benefit per instruction", lv: "Pa norādījumiem" };
const MERCHANTS: Title =
    Title { id: "merchants", en: "Benefit per merchant", lv: "Pa tirgotājiem" };
const TERRITORIES: Title =
    Title { id: "territories", en: "Benefit per territory (ATVK)", lv: "Pa teritorijām" };
const SETTLEMENTS: Title = Title { id: "settlements", en: "Settlements", lv: "Norēķini" };
const FILES: Title = Title { id: "files", en: "Files", lv: "Datnes" };

/// The page of a run: figures, pictures with their tables, settlements, files.
#[must_use]
pub fn render(figures: &Figures) -> String {
    let mut body = key_figures(&figures.key);
    section(&mut body, &DAYS, &daily(figures));
    body.push_str("<div class=\"columns\">\n");
    named(&mut body, &INSTRUCTIONS, "Instruction", &figures.instructions);
    body.push_str("<div>\n");
    named(&mut body, &MERCHANTS, "Merchant", &figures.merchants);
    named(&mut body, &TERRITORIES, "Territory", &figures.territories);
    body.push_str("</div>\n</div>\n");
    let note =
        "<p>A closed statement never changes. An open one is a draft and may still grow.</p>\n";
    let statements = table::statements(&figures.statements);
    section(&mut body, &SETTLEMENTS, &format!("{note}{statements}"));
    if !figures.files.is_empty() {
        section(&mut body, &FILES, &files(figures));
    }
    let span = format!("{} – {}", figures.from, figures.to);
    document("Benefits in use", "Atvieglojumu izmantošana", &span, &body)
}

fn daily(figures: &Figures) -> String {
    let picture = by_day(DAYS.id, DAYS.en, &figures.days, (figures.from, figures.to));
    let behind = table::behind(DAYS.en, "Day", &figures.days);
    format!("{picture}{behind}")
}

fn by_day(id: &str, title: &str, days: &[Figure], (from, to): (NaiveDate, NaiveDate)) -> String {
    let picture = chart::by_day(id, title, days, from, to);
    let title = escaped(title);
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"{title}, as a picture\">\n{picture}</div>\n\
         <p class=\"key\"><span class=\"swatch\"></span> working day \
         <span class=\"swatch weekend\"></span> weekend</p>\n"
    )
}

/// A page with one table, and above it a picture of two of its columns.
///
/// # Errors
/// Where a column has no written form.
pub fn report(
    (title_en, title_lv): (&str, &str),
    (from, to): (NaiveDate, NaiveDate),
    rows: &Rows,
    picture: Picture,
) -> Result<String, WarehouseError> {
    let table = table::rows(title_en, rows)?;
    let picture = match picture {
        Picture::Bars(names, values) => bars(title_en, rows, (names, values), None)?,
        Picture::Sums(names, values, without) => {
            bars(title_en, rows, (names, values), Some(without))?
        }
        Picture::Days(values) => days(title_en, rows, values, (from, to))?,
    };
    let body = format!("<section>\n{picture}{table}</section>\n");
    Ok(document(title_en, title_lv, &format!("{from} – {to}"), &body))
}

/// The amounts of each day.
fn days(
    title: &str,
    rows: &Rows,
    values: &str,
    span: (NaiveDate, NaiveDate),
) -> Result<String, WarehouseError> {
    let mut days: Vec<Figure> = Vec::new();
    for (name, cents) in rows.texts("date")?.into_iter().zip(rows.cents(values)?) {
        let (name, cents) = (name.unwrap_or_default(), cents.unwrap_or(0));
        match days.iter_mut().find(|day| day.name == name) {
            Some(day) => day.cents += cents,
            None => days.push(Figure { name, uses: 0, cents }),
        }
    }
    if days.iter().all(|day| day.cents <= 0) {
        return Ok(String::new());
    }
    Ok(by_day("picture", title, &days, shown(&days, span)))
}

/// How many days a picture shows though nothing is known of them.
const DAYS_SHOWN: i64 = 1_100;

/// The days that a picture shows: those that were asked for, or where these are of ages, those that have a
/// figure and what lies between.
fn shown(days: &[Figure], (from, to): (NaiveDate, NaiveDate)) -> (NaiveDate, NaiveDate) {
    if (to - from).num_days() <= DAYS_SHOWN {
        return (from, to);
    }
    let known = || days.iter().filter_map(|day| day.name.parse::<NaiveDate>().ok());
    let known = known().min().zip(known().max());
    known.map_or((from, from), |(first, last)| (from.max(first), to.min(last)))
}

/// How many bars a picture has at most; the table has all rows.
const BARS: usize = 25;

/// The largest values by name; what stands under one name is added up. Rows that have anything in
/// the column `without` are left out.
fn bars(
    title: &str,
    rows: &Rows,
    (names, values): (&str, &str),
    without: Option<&str>,
) -> Result<String, WarehouseError> {
    let is_money = rows
        .schema
        .field_with_name(values)
        .is_ok_and(|field| matches!(field.data_type(), arrow::datatypes::DataType::Decimal128(..)));
    let numbers = if is_money { rows.cents(values)? } else { rows.longs(values)? };
    let parts = without.map(|column| rows.texts(column)).transpose()?.unwrap_or_default();
    let is_part = |row: usize| parts.get(row).is_some_and(Option::is_some);
    let mut sums: Vec<(String, i64)> = Vec::new();
    let figures = rows.texts(names)?.into_iter().zip(numbers).enumerate();
    for (_, (name, number)) in figures.filter(|(row, _)| !is_part(*row)) {
        let (name, number) = (name.unwrap_or_else(|| "–".into()), number.unwrap_or(0));
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += number,
            None => sums.push((name, number)),
        }
    }
    sums.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    sums.truncate(BARS);
    if sums.iter().all(|(_, value)| *value <= 0) {
        return Ok(String::new());
    }
    let written = if is_money { euro } else { grouped };
    Ok(chart::bars("picture", title, &sums, written))
}

fn document(title_en: &str, title_lv: &str, span: &str, body: &str) -> String {
    let (en, lv, span) = (escaped(title_en), escaped(title_lv), escaped(span));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{en}, {span} – AVIS</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the figures</a>\n\
         <header>\n<p class=\"mark\">AVIS</p>\n<h1>{en} <span lang=\"lv\">{lv}</span></h1>\n\
         <p class=\"span\">{span}, days in Riga</p>\n</header>\n\
         <main id=\"main\" tabindex=\"-1\">\n{body}</main>\n\
         <footer><p>Made from the warehouse’s tables; \
         every number is a sum that SQL gives again.</p></footer>\n</body>\n</html>\n"
    )
}

fn key_figures(key: &KeyFigures) -> String {
    let mut html = String::from("<dl class=\"figures\">\n");
    let share = if key.authorisations > 0 { key.approved * 100 / key.authorisations } else { 0 };
    let figures = [
        ("Benefit given", "Piešķirti atvieglojumi", euro(key.benefit_cents)),
        ("Sales", "Pirkumu summa", euro(key.total_cents)),
        ("Baskets", "Darījumi", grouped(key.authorisations)),
        (
            "With a benefit",
            "Ar atvieglojumu",
            format!("{} <small>{share} %</small>", grouped(key.approved)),
        ),
        ("Recipients", "Saņēmēji", people(key.recipients)),
        ("Merchants", "Tirgotāji", grouped(key.merchants)),
        ("Places", "Vietas", grouped(key.places)),
        ("Points earned", "Lojalitātes punkti", grouped(key.points)),
    ];
    for (name, latvian, value) in figures {
        let _ = writeln!(
            html,
            "<div><dt>{name} <span lang=\"lv\">{latvian}</span></dt><dd>{value}</dd></div>"
        );
    }
    html.push_str("</dl>\n");
    html
}

/// A count of people; of a few it says no more than that.
fn people(count: i64) -> String {
    match count {
        1..FEWEST => format!("fewer than {FEWEST}"),
        _ => grouped(count),
    }
}

fn named(body: &mut String, title: &Title, first: &str, figures: &[Figure]) {
    let chart = chart::by_name(title.id, title.en, figures);
    let table = table::behind(title.en, first, figures);
    section(body, title, &format!("{chart}{table}"));
}

fn section(body: &mut String, title: &Title, inside: &str) {
    let (id, en, lv) = (title.id, escaped(title.en), escaped(title.lv));
    let _ = writeln!(
        body,
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{en} <span lang=\"lv\">{lv}</span></h2>\n\
         {inside}</section>"
    );
}

fn files(figures: &Figures) -> String {
    let mut html = String::from("<ul class=\"files\">\n");
    for file in &figures.files {
        let (path, about) = (escaped(&file.path), escaped(&file.about));
        let _ = writeln!(html, "<li><a href=\"{path}\">{path}</a> {about}</li>");
    }
    html.push_str("</ul>\n");
    html
}
