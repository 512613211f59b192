//! Statements over HTTP, and what finance does with a month while the node runs.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use connectors::{
    edge::page::{self, PageAsked},
    problem::Problem,
    terminal::openapi::{KeyOfAnswer, Refusals},
};
use domain::period::{LocalTime, Month};
use ingest::topic::Topic;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};
use warehouse::{
    access::View,
    error::WarehouseError,
    settlement::{self as statements, Closing, File, Told},
};

use super::{Pulling, XLSX, inside};
use crate::{failure::Failure, settlement};

/// A statement.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stated {
    /// Its number.
    statement: String,
    /// Who owes.
    grantor: String,
    /// Who is owed.
    merchant: String,
    /// The month.
    period: String,
    /// `draft`, `closed`, `sent` or `paid`.
    state: &'static str,
    /// Why the bank refused or returned its payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The benefit.
    amount_cents: i64,
    /// What the month adds to what the grantor owes.
    owed_cents: i64,
    /// The value added tax contained in it.
    vat_cents: i64,
    /// What the statement before it carried, never above zero.
    carried_in_cents: i64,
    /// What is to be paid.
    payable_cents: i64,
    /// What the next statement takes off, never above zero.
    carried_out_cents: i64,
    /// By instruction; in a list none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instructions: Vec<StatedInstruction>,
}

/// What an instruction adds to a statement.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatedInstruction {
    /// The instruction.
    instruction: String,
    /// Baskets with a captured line of it.
    uses: i64,
    /// Units, less those refunded.
    units: i64,
    /// The benefit.
    amount_cents: i64,
    /// The grantor's part of it.
    grantor_cents: i64,
    /// What terminals gave beyond our decision and the grantor bears.
    excess_cents: i64,
    /// The rate of value added tax, in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    vat_bp: Option<i64>,
    /// The tax contained.
    vat_cents: i64,
}

impl Stated {
    fn of(told: &Told) -> Self {
        let (statement, number) = (&told.statement, &told.statement.number);
        Self {
            statement: number.to_string(),
            grantor: number.grantor.to_string(),
            merchant: number.merchant.to_string(),
            period: number.period.to_string(),
            state: told.state.code(),
            reason: told.reason.clone(),
            amount_cents: statement.amount_cents(),
            owed_cents: statement.owed_cents(),
            vat_cents: statement.vat_cents(),
            carried_in_cents: statement.carried_in_cents,
            payable_cents: statement.payable_cents(),
            carried_out_cents: statement.carried_out_cents(),
            instructions: Vec::new(),
        }
    }

    fn whole(told: &Told) -> Self {
        let rows = told.statement.rows.iter().map(|row| StatedInstruction {
            instruction: row.instruction.clone(),
            uses: row.uses,
            units: row.units,
            amount_cents: row.amount_cents,
            grantor_cents: row.grantor_cents,
            excess_cents: row.excess_cents,
            vat_bp: row.vat_bp,
            vat_cents: row.vat_cents,
        });
        Self { instructions: rows.collect(), ..Self::of(told) }
    }
}

/// Which month's.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// The month, `YYYY-MM`.
    period: Option<String>,
}

/// A page of statements.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    /// The statements, by number.
    statements: Vec<Stated>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Statements of a page, unless asked otherwise.
const PAGE: usize = 200;
/// After how many seconds what has not landed may be asked for again.
const LANDS: u32 = 5;

/// The statements of a month that the caller's role sees.
#[utoipa::path(get, path = "/v1/settlements", tag = "settlements",
    operation_id = "list_settlements", security(("token" = [])),
    params(Listing, PageAsked), responses((status = 200, body = Page), Refusals))]
pub(super) async fn list(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    Query(listing): Query<Listing>,
    Query(asked): Query<PageAsked>,
) -> Result<Response, Problem> {
    let period = month(listing.period.as_deref());
    let view = pulling.reader(&headers, "settlement.list", &named(period.as_ref()))?;
    let period = period?;
    let all = pulling.statements(&view, period).await?;
    let stated = all.iter().map(|(_, told)| Stated::of(told)).collect();
    let by_number = |one: &Stated| one.statement.clone();
    let (statements, next_cursor) = page::cut(stated, &asked, PAGE, by_number)?;
    let page = Page { statements, next_cursor };
    page::answer(&page, page.next_cursor.as_deref())
}

/// A statement with its instructions.
#[utoipa::path(get, path = "/v1/settlements/{id}", tag = "settlements",
    operation_id = "get_settlement", security(("token" = [])),
    params(("id" = String, Path, description = "Its number")),
    responses((status = 200, body = Stated), Refusals))]
pub(super) async fn one(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Stated>, Problem> {
    let view = pulling.reader(&headers, "settlement.read", &month_text(&id))?;
    let (_, told) = pulling.statement(&view, &id).await?;
    Ok(Json(Stated::whole(&told)))
}

/// A statement as a file; the payment order is that of all its grantor's statements of the closing.
#[utoipa::path(get, path = "/v1/settlements/{id}/files/{form}", tag = "settlements",
    operation_id = "get_settlement_file",
    security(("token" = [])),
    params(("id" = String, Path, description = "The statement's number"),
           ("form" = String, Path, description = "csv, xlsx, json or pain001")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/csv"), (String = "application/json"), (String = "application/xml"),
            (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
        Refusals))]
pub(super) async fn file(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    Path((id, form)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let view = pulling.reader(&headers, "settlement.read", &month_text(&id))?;
    let (closing, told) = pulling.statement(&view, &id).await?;
    let (kind, file) = match form.as_str() {
        "csv" => ("text/csv; charset=utf-8", File::Csv),
        "xlsx" => (XLSX, File::Xlsx),
        "json" => ("application/json", File::Json),
        "pain001" => return pulling.order(&view, &closing, &told).await,
        _ => return Err(Problem::not_found("a statement is csv, xlsx, json or pain001")),
    };
    let bytes = file.bytes(&closing, std::slice::from_ref(&told)).map_err(inside)?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

impl Pulling {
    /// The statements of a month that somebody sees, each with its closing.
    async fn statements(
        &self,
        view: &View,
        period: Month,
    ) -> Result<Vec<(Closing, Told)>, Problem> {
        let session = self.node.session().map_err(inside)?;
        let mut seen = Vec::new();
        for closing in settlement::closings(&self.node.log, period).await.map_err(inside)? {
            if closing.closed.is_none() {
                let known = self.node.log.end(Topic::RegistryChanges, 0).map_err(inside)?;
                statements::contracts_landed(&session, known).await.map_err(early)?;
            }
            let told = statements::statements(&session, &closing).await.map_err(early)?;
            let shown = told.into_iter().filter(|told| shows(view, told));
            seen.extend(shown.map(|told| (closing.clone(), told)));
        }
        Ok(seen)
    }

    async fn statement(&self, view: &View, id: &str) -> Result<(Closing, Told), Problem> {
        let unknown = || Problem::not_found("there is no such statement");
        let period = period_of(id).ok_or_else(unknown)?;
        let all = self.statements(view, period).await?;
        let found = all.into_iter().find(|(_, told)| told.statement.number.to_string() == id);
        found.ok_or_else(unknown)
    }

    async fn order(
        &self,
        view: &View,
        closing: &Closing,
        told: &Told,
    ) -> Result<Response, Problem> {
        if matches!(view, View::Merchant(_)) {
            return Err(Problem::forbidden("payment orders are the grantor's"));
        }
        let Some(closed) = closing.closed else {
            let detail = "the period is open: there is nothing to pay yet";
            return Err(Problem::new(StatusCode::CONFLICT, "state", "Not in this state", detail));
        };
        let session = self.node.session().map_err(inside)?;
        let mut all = statements::statements(&session, closing).await.map_err(early)?;
        let grantor = &told.statement.number.grantor;
        all.retain(|told| told.statement.number.grantor == *grantor);
        let today = LocalTime::of(self.node.clock.now()).date;
        let orders = statements::orders(&session, closing, closed, &all, today).await;
        let orders = orders.map_err(|error| match error {
            WarehouseError::Payment { .. } => {
                Problem::new(StatusCode::CONFLICT, "state", "Not in this state", error.to_string())
            }
            other => inside(other),
        })?;
        let of_it = |order: &statements::Order| {
            order.payments.iter().any(|of| of.statement == told.statement.number)
        };
        // What was refused is ordered again: the last one is the one to send.
        let order = orders.iter().rev().find(|order| of_it(order));
        let order = order.ok_or_else(|| Problem::not_found("there is nothing to pay"))?;
        let bytes = order.xml().map_err(inside)?;
        Ok(([(header::CONTENT_TYPE, "application/xml")], bytes).into_response())
    }
}

/// Which month.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Period {
    /// The month, `YYYY-MM`. It is closed for all grantors at once.
    period: String,
}

/// Which month, and of which grantor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The month, `YYYY-MM`.
    period: String,
    /// Only of this grantor.
    #[serde(skip_serializing_if = "Option::is_none")]
    grantor: Option<String>,
}

/// A month in the audit trail; of what is none nothing. Who may not ask is refused before what they ask.
fn named(month: Result<&Month, &Problem>) -> String {
    month.map(ToString::to_string).unwrap_or_default()
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    if serde_json::from_slice::<serde_json::Value>(body).is_err() {
        return Err(Problem::malformed("expected {\"period\": \"YYYY-MM\"}"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::invalid(error.to_string()))
}

/// What a period is now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Closed {
    /// `2025-01`, or of a correction `2025-01-K1`.
    pub closing: String,
    /// When.
    pub closed_at: String,
    /// Whether that is new; else nothing has come for the month since.
    pub is_new: bool,
}

/// Closes a month, or where it is closed what has come for it since. Again, it changes nothing.
#[utoipa::path(post, path = "/v1/settlements", tag = "settlements",
    operation_id = "close_period", security(("token" = [])),
    request_body = Period, params(KeyOfAnswer), responses((status = 200, body = Closed), Refusals))]
pub(super) async fn close(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Closed>, Problem> {
    let asked = read::<Period>(&body).and_then(|asked| month(Some(&asked.period)));
    pulling.finance(&headers, "settlement.close", &named(asked.as_ref()))?;
    let period = asked?;
    let now = pulling.node.clock.now();
    if period.last_day() >= LocalTime::of(now).date {
        let detail = format!("{period} is not over yet");
        return Err(Problem::new(StatusCode::CONFLICT, "state", "Not in this state", detail));
    }
    let closed = settlement::close(&pulling.node, period, now).await;
    let (closing, is_new) = closed.map_err(failed)?;
    let closed_at = closing.closed.map(|closed| closed.at.to_rfc3339()).unwrap_or_default();
    Ok(Json(Closed { closing: closing.name(), closed_at, is_new }))
}

pub(super) fn failed(error: Failure) -> Problem {
    match error {
        Failure::Warehouse(error) => early(error),
        Failure::Pipeline(error) if pipelines::settlements::is_early(&error) => not_landed(),
        Failure::State(text) => {
            Problem::new(StatusCode::CONFLICT, "state", "Not in this state", text)
        }
        other => inside(other),
    }
}

/// Statements that are sent now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Sent {
    /// Their numbers.
    pub statements: Vec<String>,
}

/// Notes that a closed month's payment orders went to the bank.
#[utoipa::path(post, path = "/v1/settlements:sent", tag = "settlements",
    operation_id = "note_sent", security(("token" = [])),
    request_body = Which, params(KeyOfAnswer), responses((status = 200, body = Sent), Refusals))]
pub(super) async fn sent(
    State(pulling): State<Pulling>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Sent>, Problem> {
    let asked =
        read::<Which>(&body).and_then(|asked| Ok((month(Some(&asked.period))?, asked.grantor)));
    pulling.finance(&headers, "settlement.send", &named(asked.as_ref().map(|(month, _)| month)))?;
    let (period, grantor) = asked?;
    let now = pulling.node.clock.now();
    let sent = settlement::send(&pulling.node, period, grantor.as_deref(), now).await;
    Ok(Json(Sent { statements: sent.map_err(failed)? }))
}

/// Whether somebody sees a statement.
fn shows(view: &View, told: &Told) -> bool {
    let number = &told.statement.number;
    match view {
        View::Everything | View::Finance => true,
        View::Grantor(id) => number.grantor.as_str() == &**id,
        View::Merchant(id) => number.merchant.as_str() == &**id,
        View::Analyst => false,
    }
}

/// The month in a statement's number: the last part, before a correction's.
fn period_of(id: &str) -> Option<Month> {
    let number = match id.rsplit_once("-K") {
        Some((number, n)) if n.bytes().all(|digit| digit.is_ascii_digit()) => number,
        _ => id,
    };
    Month::parse(number.get(number.len().checked_sub(7)?..)?)
}

/// What has not landed yet comes in a moment.
fn early(error: WarehouseError) -> Problem {
    match error {
        WarehouseError::NotLanded { .. } => not_landed(),
        other => inside(other),
    }
}

fn not_landed() -> Problem {
    let (status, title) = (StatusCode::SERVICE_UNAVAILABLE, "Not available now");
    let detail = "the newest transactions are still landing; ask again in some seconds";
    Problem::new(status, "not_landed", title, detail).again_in(LANDS)
}

/// The month of a statement, for the audit trail: what a caller calls a statement may be anything.
fn month_text(id: &str) -> String {
    period_of(id).map(|period| period.to_string()).unwrap_or_default()
}

fn month(text: Option<&str>) -> Result<Month, Problem> {
    let text = text.ok_or_else(|| Problem::invalid("period is missing: YYYY-MM"))?;
    Month::parse(text).ok_or_else(|| Problem::invalid("period is no month: YYYY-MM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_its_month() {
        let month = |id| period_of(id).map(|month| month.to_string());
        assert_eq!(month("riga-market-2025-01"), Some("2025-01".into()));
        assert_eq!(month("riga-K1-shop-2025-01-K12"), Some("2025-01".into()));
        assert_eq!(month("riga-Kx"), None);
        assert_eq!(month(""), None);
    }
}
