//! What people pull: statements, reports, open data, and a page to look at.

use std::path::Path;

use chrono::NaiveDate;
use domain::period::{LocalTime, Month};
use ingest::clock::{Clock, ManualClock};
use warehouse::{
    export::{Csv, Format},
    file,
    open_data::{self, Form, Publisher},
    page::{self, Figures},
    report::REPORTS,
    session::Session,
    settlement::{self as statements, Closing, Told},
};

use crate::{
    failure::Failure,
    node::Node,
    progress::Progress,
    settlement::{self, Proof},
};

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// Every month's statements, and how far each is closed.
    pub months: Vec<(Closing, Vec<Told>)>,
    /// Whether the books balance.
    pub proof: Proof,
}

const SPAN: &str = include_str!("figures/totals.sql");

/// Closes the months that lie wholly inside the baskets' span, and publishes everything.
///
/// # Errors
/// Where a query or a file fails.
pub async fn all(
    node: &Node,
    clock: &ManualClock,
    out: &Path,
    progress: &Progress,
) -> Result<Published, Failure> {
    let bar = progress.bar("publishing");
    for summary in node.summaries().await? {
        summary.refresh(|| node.session(), clock.now()).await?;
    }
    bar.inc(1);
    let session = node.session()?;
    let span = span(&session).await?;
    let months = settle(node, clock, span, out).await?;
    let session = node.session()?;
    bar.inc(1);
    reports(&session, span, out).await?;
    bar.inc(1);
    let today = LocalTime::of(clock.now()).date;
    let publisher = Publisher::default();
    let sets = open_data::publish(&session, &publisher, today, &out.join("open-data")).await?;
    bar.inc(1);
    let page = page(&session, span, &months, &sets).await?;
    file::write(&out.join("index.html"), page.as_bytes())?;
    let proof = settlement::prove(&node.log, &session, &settlement::ends(&node.log)?).await?;
    bar.finish_with_message("statements, reports, open data, page");
    Ok(Published { months, proof })
}

async fn span(session: &Session) -> Result<(NaiveDate, NaiveDate), Failure> {
    let rows = session.rows(SPAN).await?;
    let day = |name| super::summary::text(&rows, name).and_then(|text| text.parse().ok());
    let (first, last) = (day("first_day"), day("last_day"));
    Ok((first.unwrap_or_default(), last.or(first).unwrap_or_default()))
}

async fn settle(
    node: &Node,
    clock: &ManualClock,
    (first, last): (NaiveDate, NaiveDate),
    out: &Path,
) -> Result<Vec<(Closing, Vec<Told>)>, Failure> {
    let folder = out.join("settlements");
    let mut months = Vec::new();
    let mut month = Month::of(first);
    while month.first_day() <= last {
        let is_whole = first <= month.first_day() && month.last_day() <= last;
        if is_whole {
            settlement::close(node, month, clock.now()).await?;
        }
        for closing in settlement::closings(&node.log, month).await? {
            let session = node.session()?;
            let today = LocalTime::of(clock.now()).date;
            let (told, _) = statements::export(&session, &closing, None, &folder, today).await?;
            months.push((closing, told));
        }
        month = month.next();
    }
    Ok(months)
}

async fn reports(
    session: &Session,
    (first, last): (NaiveDate, NaiveDate),
    out: &Path,
) -> Result<(), Failure> {
    for report in REPORTS {
        let rows = report.rows(session, first, last).await?;
        let path = |ending| out.join("reports").join(format!("{}.{ending}", report.name));
        file::write(&path("csv"), &rows.bytes(Format::Csv(Csv::SPREADSHEET))?)?;
        file::write(&path("json"), &rows.bytes(Format::Json)?)?;
        file::write(&path("html"), report.html(&rows, first, last)?.as_bytes())?;
    }
    Ok(())
}

async fn page(
    session: &Session,
    (first, last): (NaiveDate, NaiveDate),
    months: &[(Closing, Vec<Told>)],
    sets: &[open_data::Published],
) -> Result<String, Failure> {
    let mut figures = Figures::read(session, first, last).await?;
    for (closing, told) in months {
        figures.add_statements(told);
        let state = if closing.closed.is_some() { "closed" } else { "open" };
        let about = format!("Statements of {}, {state}", closing.name());
        figures.add_file(format!("settlements/statements-{}.xlsx", closing.name()), about);
    }
    for report in REPORTS {
        figures.add_file(format!("reports/{}.html", report.name), report.title_en);
    }
    for set in sets.iter().filter(|file| file.form == Form::Csv) {
        figures.add_file(format!("open-data/{}", set.file), format!("Open data: {}", set.set));
    }
    Ok(page::render(&figures))
}
