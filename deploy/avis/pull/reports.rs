//! Reports over HTTP.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use chrono::NaiveDate;
use connectors::{problem::Problem, terminal::openapi::Refusals};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warehouse::{
    export::{Csv, Format},
    report::{REPORTS, Report},
    session::Rows,
};

use super::{Pulling, XLSX, inside};
use crate::background;

/// A report that there is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Known {
    /// Its name.
    name: &'static str,
    /// Its title in Latvian.
    title_lv: &'static str,
    /// Its title in English.
    title_en: &'static str,
}

/// Every report that there is.
#[utoipa::path(get, path = "/v1/reports", tag = "reports",
    operation_id = "list_reports", security(("token" = [])),
    responses((status = 200, body = Vec<Known>), Refusals))]
pub(super) async fn all(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
) -> Result<Json<Vec<Known>>, Problem> {
    pulling.reader(&headers, "report.list", "")?;
    let known = REPORTS.iter().map(|report| Known {
        name: report.name,
        title_lv: report.title_lv,
        title_en: report.title_en,
    });
    Ok(Json(known.collect()))
}

/// Which days, and how the rows are written.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Days {
    /// The first local day.
    from: Option<String>,
    /// The last local day.
    to: Option<String>,
    /// `json`, `csv`, `xlsx` or `html`; JSON without it.
    format: Option<String>,
}

fn local_day(name: &str, text: Option<&str>) -> Result<NaiveDate, Problem> {
    let text = text.ok_or_else(|| Problem::invalid(format!("{name} is missing: YYYY-MM-DD")))?;
    text.parse().map_err(|_| Problem::invalid(format!("{name} is no day: YYYY-MM-DD")))
}

/// A report over some local days, of what the caller's role sees.
#[utoipa::path(get, path = "/v1/reports/{name}", tag = "reports",
    operation_id = "get_report", security(("token" = [])),
    params(("name" = String, Path, description = "Its name"), Days),
    responses(
        (status = 200, description = "Its rows: money as decimal text",
         content((Vec<std::collections::BTreeMap<String, serde_json::Value>> = "application/json"),
                 (String = "text/csv"), (String = "text/html"), (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
        Refusals))]
pub(super) async fn one(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(days): Query<Days>,
) -> Result<Response, Problem> {
    // Only a name that there is stands in the audit trail.
    let report = Report::named(&name);
    let view = pulling.reader(&headers, "report.read", report.as_ref().map_or("", |of| of.name))?;
    let report = report.map_err(|_| Problem::not_found("there is no such report"))?;
    let from = local_day("from", days.from.as_deref())?;
    let to = local_day("to", days.to.as_deref())?;
    let node = Arc::clone(&pulling.node);
    let work = async move {
        let session = node.session().map_err(inside)?;
        let session = session.seen_by(&view).map_err(inside)?;
        let rows = report.rows(&session, from, to).await;
        let rows = rows.map_err(|error| match error.is_unseen() {
            true => Problem::forbidden("this report is not for your role"),
            false => inside(error),
        })?;
        written(report, &rows, (from, to), days.format.as_deref().unwrap_or("json"))
    };
    background::on(&pulling.answering, work).await.map_err(inside)?
}

/// A report's rows over some days, in a format.
fn written(
    report: &Report,
    rows: &Rows,
    (from, to): (NaiveDate, NaiveDate),
    format: &str,
) -> Result<Response, Problem> {
    let written = |kind: &'static str, format: Format| {
        let bytes = rows.bytes(format).map_err(inside)?;
        Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
    };
    match format {
        "json" => written("application/json", Format::Json),
        "csv" => written("text/csv; charset=utf-8", Format::Csv(Csv::SPREADSHEET)),
        "xlsx" => written(XLSX, Format::Xlsx),
        "html" => {
            let page = report.html(rows, from, to).map_err(inside)?;
            Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response())
        }
        _ => Err(Problem::invalid("format is json, csv, xlsx or html")),
    }
}
