//! The documents around tables and pictures.

use std::fmt::Write;

use super::{Figure, Figures, KeyFigures, chart, escaped, euro, grouped, table};
use crate::{error::WarehouseError, session::Rows};

const STYLE: &str = include_str!("style.css");

/// The page of a run: figures, pictures with their tables, settlements, files.
#[must_use]
pub fn render(figures: &Figures) -> String {
    let span = format!("{} – {}", figures.from, figures.to);
    let mut body = String::new();
    body.push_str(&key_figures(&figures.key));
    let daily = chart::by_day("days", "Benefit per day", &figures.days, figures.from, figures.to);
    section(
        &mut body,
        "wide",
        "Benefit per day",
        "Atvieglojumi pa dienām",
        &format!(
            "{daily}<p class=\"key\"><span class=\"swatch\"></span> working day \
         <span class=\"swatch weekend\"></span> weekend</p>\n{}",
            table::behind("Benefit per day", "Day", &figures.days)
        ),
    );
    body.push_str("<div class=\"columns\">\n");
    named(
        &mut body,
        "instructions",
        "Benefit per instruction",
        "Pa norādījumiem",
        "Instruction",
        &figures.instructions,
    );
    body.push_str("<div>\n");
    named(
        &mut body,
        "merchants",
        "Benefit per merchant",
        "Pa tirgotājiem",
        "Merchant",
        &figures.merchants,
    );
    named(
        &mut body,
        "territories",
        "Benefit per territory (ATVK)",
        "Pa teritorijām",
        "Territory",
        &figures.territories,
    );
    body.push_str("</div>\n</div>\n");
    let note = "<p>A closed statement never changes. An open one is a draft of a month that is not over.</p>\n";
    section(
        &mut body,
        "wide",
        "Settlements",
        "Norēķini",
        &format!("{note}{}", table::statements(&figures.statements)),
    );
    if !figures.files.is_empty() {
        section(&mut body, "wide", "Files", "Datnes", &files(figures));
    }
    document("Benefits in use", "Atvieglojumu izmantošana", &span, &body)
}

/// A page with one table.
///
/// # Errors
/// Where a column has no written form.
pub fn table_page(
    title_en: &str,
    title_lv: &str,
    span: &str,
    rows: &Rows,
) -> Result<String, WarehouseError> {
    let table = table::rows(title_en, rows)?;
    Ok(document(
        title_en,
        title_lv,
        span,
        &format!("<section class=\"wide\">\n{table}</section>\n"),
    ))
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
         <footer><p>Made from the warehouse’s tables; every number is a sum that SQL gives again.</p>\
         </footer>\n</body>\n</html>\n"
    )
}

fn key_figures(key: &KeyFigures) -> String {
    let mut html = String::from("<dl class=\"figures\">\n");
    let share = if key.authorisations > 0 { key.approved * 100 / key.authorisations } else { 0 };
    let figures = [
        ("Benefit given", "Piešķirti atvieglojumi", euro(key.benefit_cents)),
        ("Sales", "Pirkumu summa", euro(key.total_cents)),
        ("Baskets", "Darījumi", grouped(key.authorisations)),
        ("With a benefit", "Ar atvieglojumu", format!("{} ({share} %)", grouped(key.approved))),
        ("Recipients", "Saņēmēji", grouped(key.recipients)),
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

fn named(body: &mut String, id: &str, title: &str, latvian: &str, first: &str, figures: &[Figure]) {
    let chart = chart::by_name(id, title, figures);
    let table = table::behind(title, first, figures);
    section(body, "panel", title, latvian, &format!("{chart}{table}"));
}

fn section(body: &mut String, class: &str, title: &str, latvian: &str, inside: &str) {
    let _ = writeln!(
        body,
        "<section class=\"{class}\">\n<h2>{} <span lang=\"lv\">{}</span></h2>\n{inside}</section>",
        escaped(title),
        escaped(latvian)
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
