//! Tables that a screen reader can walk.

use std::fmt::Write;

use arrow::util::display::{ArrayFormatter, FormatOptions};

use domain::settlement::StatementState;

use super::{Figure, StatementFigure, escaped, euro, grouped};
use crate::{error::WarehouseError, session::Rows, settlement::Statement};

/// The numbers behind a picture.
pub(super) fn behind(caption: &str, first: &str, figures: &[Figure]) -> String {
    let mut html = format!(
        "<details><summary>The numbers behind: {caption}</summary>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}, as a table\">\n\
         <table><caption>{caption}</caption>\n\
         <thead><tr><th scope=\"col\">{first}</th><th scope=\"col\" class=\"number\">Baskets</th>\
         <th scope=\"col\" class=\"number\">Benefit</th></tr></thead>\n<tbody>\n",
        caption = escaped(caption),
        first = escaped(first),
    );
    for figure in figures {
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
            escaped(&figure.name),
            grouped(figure.uses),
            euro(figure.cents)
        );
    }
    let (uses, cents) =
        (figures.iter().map(|f| f.uses).sum(), figures.iter().map(|f| f.cents).sum());
    let _ = writeln!(
        html,
        "</tbody>\n<tfoot><tr><th scope=\"row\">Together</th><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td></tr></tfoot></table></div></details>",
        grouped(uses),
        euro(cents)
    );
    html
}

/// Statements with their states.
pub(super) fn statements(statements: &[StatementFigure]) -> String {
    let mut html = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Settlements, as a table\">\n\
         <table class=\"statements\"><caption>What each grantor owes each merchant, by month</caption>\n<thead><tr>\
         <th scope=\"col\">Statement</th><th scope=\"col\">State</th>\
         <th scope=\"col\" class=\"number\">Lines</th><th scope=\"col\" class=\"number\">Benefit</th>\
         <th scope=\"col\" class=\"number\">Grantor’s part</th>\
         <th scope=\"col\" class=\"number\">VAT in it</th></tr></thead>\n<tbody>\n",
    );
    for StatementFigure { statement, state } in statements {
        let (class, state) = match state {
            StatementState::Draft => ("open", "open"),
            state => ("closed", state.code()),
        };
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td><span class=\"state {class}\">{state}</span></td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td></tr>",
            escaped(&statement.number.to_string()),
            grouped(statement.lines()),
            euro(statement.amount_cents()),
            euro(statement.grantor_cents()),
            euro(statement.vat_cents()),
        );
    }
    let sum = |of: fn(&Statement) -> i64| statements.iter().map(|row| of(&row.statement)).sum();
    let _ = writeln!(
        html,
        "</tbody>\n<tfoot><tr><th scope=\"row\">Together</th><td></td>\
         <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td></tr></tfoot></table></div>",
        grouped(sum(Statement::lines)),
        euro(sum(Statement::amount_cents)),
        euro(sum(Statement::grantor_cents)),
        euro(sum(Statement::vat_cents)),
    );
    html
}

/// Rows as they are.
pub(super) fn rows(caption: &str, rows: &Rows) -> Result<String, WarehouseError> {
    let failed = |error: arrow::error::ArrowError| WarehouseError::Export {
        format: "HTML",
        reason: error.to_string(),
    };
    let class = |column: usize| {
        if rows.schema.field(column).data_type().is_numeric() { " class=\"number\"" } else { "" }
    };
    let caption = escaped(caption);
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}, as a table\">\n\
         <table><caption>{caption}</caption>\n<thead><tr>"
    );
    for (column, field) in rows.schema.fields().iter().enumerate() {
        let name = escaped(field.name());
        let _ = write!(html, "<th scope=\"col\"{}>{name}</th>", class(column));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    let options = FormatOptions::default();
    for batch in &rows.batches {
        let columns =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        for row in 0..batch.num_rows() {
            html.push_str("<tr>");
            for (column, cells) in columns.iter().enumerate() {
                let cell = escaped(&cells.value(row).try_to_string().map_err(failed)?);
                let _ = match column {
                    0 => write!(html, "<th scope=\"row\">{cell}</th>"),
                    _ => write!(html, "<td{}>{cell}</td>", class(column)),
                };
            }
            html.push_str("</tr>\n");
        }
    }
    html.push_str("</tbody></table></div>\n");
    Ok(html)
}
