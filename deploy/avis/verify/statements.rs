//! Closed statements against the stream: added up record by record, numbered, carried, sent and paid as
//! the stream of settlements tells, and put beside the rows of both tables.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{amount::mul_div_half_away, id::GrantorId, period::Month};
use ingest::{
    log::{Log, replay},
    record::{Position, Stored},
    topic::Topic,
    wire::{
        self,
        v1::{AuthorisationLine, BankFileRead, Event},
    },
};
use serde_json::Value;
use warehouse::{
    schema,
    session::Session,
    settlement::{Closed, Closing, kept, order_id},
};

use super::{
    findings::{Findings, NOTHING},
    name::{identity, whole},
    row::Row,
    tables::{positions, scan, told},
};
use crate::failure::Failure;

/// What a line of a statement is about: its closing, the pair, the instruction, and the rate.
type Line = (usize, String, String, String, Option<i64>);

/// What a line adds up to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    uses: i64,
    lines: i64,
    units: i64,
    amount: i64,
    grantor: i64,
    excess: i64,
}

/// A version of a contract, as the registry's stream has it.
#[derive(Clone, Debug)]
struct Version {
    entry: String,
    offset: u64,
    recorded_at: DateTime<Utc>,
    document: Option<Value>,
}

/// What the stream has of statements.
#[derive(Debug, Default)]
pub struct Statements {
    closings: Vec<Closing>,
    /// The records of the stream of settlements that change states.
    changes: Vec<Stored>,
    /// The contracts as they were known at each closing.
    contracts: Vec<Vec<Value>>,
    rates: HashMap<(usize, String, String, NaiveDate), Option<i64>>,
    sums: BTreeMap<Line, Sum>,
}

/// A statement, and the state that it is in.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its number.
    pub number: String,
    /// Which closing made it.
    pub closing: usize,
    /// Who owes.
    pub grantor: String,
    /// What is to be paid.
    pub payable: i64,
    merchant: String,
    period: Month,
    correction: u32,
    sum: Sum,
    vat: i64,
    carried_in: i64,
    carried_out: i64,
    state: &'static str,
    reason: Option<String>,
    refusals: i64,
    order: Option<String>,
}

impl Statements {
    /// The closings of a stream, and the contracts that were known at each.
    ///
    /// # Errors
    /// Where a stream cannot be read.
    pub async fn open(log: &Arc<dyn Log>) -> Result<Self, Failure> {
        let mut statements = Self::default();
        replay(log, Topic::Settlements, |stored| {
            match &stored.record.event {
                Event::PeriodClosed(event) => {
                    let (Some(period), Some(at)) =
                        (Month::parse(&event.period), wire::instant(event.closed_at))
                    else {
                        return Ok(());
                    };
                    let all = statements.closings.iter();
                    let before: Vec<_> = all.filter(|of| of.period == period).collect();
                    let from_offsets = before.last().map(|last| last.end_offsets.clone());
                    statements.closings.push(Closing {
                        period,
                        correction: u32::try_from(before.len()).unwrap_or(u32::MAX),
                        from_offsets: from_offsets.unwrap_or_default(),
                        end_offsets: event.end_offsets.clone(),
                        closed: Some(Closed { at, offset: stored.position.offset }),
                    });
                }
                Event::StatementsSent(_) | Event::BankFileRead(_) => {
                    statements.changes.push(stored)
                }
                _ => {}
            }
            Ok::<(), Failure>(())
        })
        .await?;
        let versions = versions(log).await?;
        for closing in &statements.closings {
            let at = closing.closed.map(|closed| closed.at).unwrap_or_default();
            statements.contracts.push(known_at(&versions, at));
        }
        Ok(statements)
    }

    /// The closings.
    #[must_use]
    pub fn closings(&self) -> &[Closing] {
        &self.closings
    }

    /// The closings whose statements are in both tables: others may have come since these were read.
    ///
    /// # Errors
    /// Where a table cannot be read.
    pub async fn landed(&self, session: &Session) -> Result<&[Closing], Failure> {
        let statements = next_of(session, kept::STATEMENTS).await?;
        let next = next_of(session, kept::LINES).await?.min(statements);
        let has = |of: &Closing| of.closed.is_some_and(|closed| closed.offset < next);
        Ok(&self.closings[..self.closings.partition_point(has)])
    }

    /// Takes a record of `authorisations`.
    pub fn take(&mut self, stored: &Stored) {
        let (merchant, date, lines, captured) = match &stored.record.event {
            Event::AuthorisationDecided(event) if event.status == "captured" => {
                (&event.merchant_id, &event.date, &event.lines, true)
            }
            Event::AuthorisationChanged(event)
                if matches!(event.transition.as_str(), "capture" | "refund") =>
            {
                let date = event.lines_date.as_ref().unwrap_or(&event.date);
                (&event.merchant_id, date, &event.lines, event.transition == "capture")
            }
            _ => return,
        };
        let Ok(day) = date.parse() else { return };
        // The first closing of the month that ends after the record has it.
        let month = Month::of(day);
        let closing = self.closings.iter().position(|closing| {
            closing.period == month && is_before(&closing.end_offsets, stored.position)
        });
        if let Some(closing) = closing {
            self.enter(closing, merchant, day, lines, captured);
        }
    }

    fn enter(
        &mut self,
        closing: usize,
        merchant: &str,
        day: NaiveDate,
        lines: &[AuthorisationLine],
        captured: bool,
    ) {
        let mut used = BTreeSet::new();
        for benefit in lines.iter().flat_map(|line| &line.benefits) {
            let borne = benefit.excess_borne_by == "grantor";
            let excess = if borne { benefit.excess_cents } else { 0 };
            if benefit.amount_cents == 0 && benefit.grantor_cents == 0 && excess == 0 {
                continue;
            }
            let rate = self.rate(closing, &benefit.grantor_id, merchant, day);
            let (grantor, merchant) = (benefit.grantor_id.clone(), merchant.to_owned());
            let line: Line = (closing, grantor, merchant, benefit.instruction_id.clone(), rate);
            let sum = self.sums.entry(line.clone()).or_default();
            if captured && benefit.amount_cents != 0 {
                sum.lines += 1;
                // However many lines an instruction gives on, a basket uses it once.
                sum.uses += i64::from(used.insert(line));
            }
            sum.units += benefit.units;
            sum.amount += benefit.amount_cents;
            sum.grantor += benefit.grantor_cents;
            sum.excess += excess;
        }
    }

    /// The highest rate of value added tax that a contract of a pair names for a day.
    fn rate(
        &mut self,
        closing: usize,
        grantor: &str,
        merchant: &str,
        day: NaiveDate,
    ) -> Option<i64> {
        let key = (closing, grantor.to_owned(), merchant.to_owned(), day);
        if let Some(known) = self.rates.get(&key) {
            return *known;
        }
        let date = |value: &Value| value.as_str().and_then(|text| text.parse::<NaiveDate>().ok());
        let contracts = self.contracts.get(closing).into_iter().flatten();
        let of_pair = contracts.filter(|contract| {
            contract["grantor"] == grantor
                && contract["merchant"] == merchant
                && date(&contract["from"]).is_some_and(|from| from <= day)
                && date(&contract["to"]).is_none_or(|to| to >= day)
        });
        let rate = of_pair.filter_map(|contract| contract["vat_bp"].as_i64()).max();
        self.rates.insert(key, rate);
        rate
    }

    /// Compares both tables, and answers the statements as they have to be by now.
    ///
    /// # Errors
    /// Where a table cannot be read.
    pub async fn compare(
        &self,
        session: &Session,
        findings: &mut Findings,
    ) -> Result<Vec<Statement>, Failure> {
        let (mut row, mut statements) = (Row::default(), Vec::new());
        let mut expected: [BTreeMap<Vec<u8>, i64>; 2] = Default::default();
        let tables = [kept::STATEMENTS, kept::LINES];
        let mut next = Vec::new();
        for name in tables {
            next.push(next_of(session, name).await?);
        }
        let mut expect = |which: usize, offset: u64, bytes: &[u8]| {
            if next.get(which).is_some_and(|next| offset < *next) {
                *expected[which].entry(bytes.to_vec()).or_default() += 1;
            }
        };
        self.closed(&mut statements, &mut row, &mut expect);
        self.changed(&mut statements, &mut row, &mut expect);
        for (which, name) in tables.into_iter().enumerate() {
            let mut rows = std::mem::take(&mut expected[which]);
            let Some(table) = schema::table(name) else { continue };
            let (count, mut found) = (rows.values().sum::<i64>(), 0);
            let mut beyond = Vec::new();
            scan(session, table, |_, offset, bytes| {
                found += 1;
                if offset < next[which] {
                    *rows.entry(bytes.to_vec()).or_default() -= 1;
                } else {
                    beyond.push(bytes.to_vec());
                }
            })
            .await?;
            findings.compared(name, count.unsigned_abs(), found);
            rows.retain(|_, count| *count != 0);
            told(table, &rows, findings);
            for bytes in beyond {
                findings.drift(name, identity(table, &bytes), NOTHING, whole(table, &bytes));
            }
        }
        Ok(statements)
    }

    /// The statements of every closing, in its order: each needs those before it.
    fn closed(
        &self,
        statements: &mut Vec<Statement>,
        row: &mut Row,
        expect: &mut impl FnMut(usize, u64, &[u8]),
    ) {
        let mut carried: BTreeMap<(String, String), i64> = BTreeMap::new();
        let mut last: BTreeMap<(String, String, Month), u32> = BTreeMap::new();
        for (at, closing) in self.closings.iter().enumerate() {
            let Some(closed) = closing.closed else { continue };
            let mut pairs: BTreeMap<(String, String), Vec<(&Line, &Sum)>> = BTreeMap::new();
            for (line, sum) in self.sums.iter().filter(|(line, _)| line.0 == at) {
                pairs.entry((line.1.clone(), line.2.clone())).or_default().push((line, sum));
            }
            for (pair, lines) in pairs {
                let of_month = (pair.0.clone(), pair.1.clone(), closing.period);
                let first = u32::from(closing.correction > 0);
                let correction = last.get(&of_month).map_or(first, |last| last + 1);
                last.insert(of_month, correction);
                let carried_in = carried.get(&pair).copied().unwrap_or(0);
                let statement = Statement::of(at, closing, &pair, correction, carried_in, &lines);
                carried.insert(pair, statement.carried_out);
                for (line, sum) in lines {
                    statement.line_row(closed, line, sum, row);
                    expect(1, closed.offset, row.bytes());
                }
                statement.row(closed, (closed.at, closed.offset), row);
                expect(0, closed.offset, row.bytes());
                statements.push(statement);
            }
        }
    }

    /// What became of them: sent, paid, or refused and ordered anew.
    fn changed(
        &self,
        statements: &mut [Statement],
        row: &mut Row,
        expect: &mut impl FnMut(usize, u64, &[u8]),
    ) {
        for stored in &self.changes {
            let told = match &stored.record.event {
                Event::StatementsSent(event) => {
                    let sent = |number: &String| (number.clone(), ("sent", None));
                    event.statements.iter().map(sent).collect()
                }
                Event::BankFileRead(event) => said(event),
                _ => BTreeMap::new(),
            };
            let (offset, at) = (stored.position.offset, stored.record.recorded_at);
            let is_earlier = |closing: usize| {
                let closed = self.closings.get(closing).and_then(|closing| closing.closed);
                closed.filter(|closed| closed.offset < offset)
            };
            // Grantors are numbered among those of the same closing that are refused alike.
            let mut ranks: BTreeMap<(usize, bool), BTreeSet<String>> = BTreeMap::new();
            let hits = |of: &Statement| {
                let (state, reason) = told.get(&of.number)?;
                let late = of.state == "paid" && *state == "sent";
                (!late && is_earlier(of.closing).is_some()).then(|| (*state, reason.clone()))
            };
            for statement in statements.iter() {
                if let Some((_, reason)) = hits(statement) {
                    let rank = ranks.entry((statement.closing, reason.is_some())).or_default();
                    rank.insert(statement.grantor.clone());
                }
            }
            for statement in statements.iter_mut() {
                let Some((state, reason)) = hits(statement) else { continue };
                let Some(closed) = is_earlier(statement.closing) else { continue };
                if reason.is_some() {
                    let rank = ranks.get(&(statement.closing, true));
                    let place =
                        rank.and_then(|of| of.iter().position(|of| *of == statement.grantor));
                    let place = place.map_or(0, |place| place + 1);
                    statement.order = Some(format!("AVIS-{}-R{offset}-{place}", closed.offset));
                    statement.refusals += 1;
                }
                (statement.state, statement.reason) = (state, reason);
                statement.row(closed, (at, offset), row);
                expect(0, offset, row.bytes());
            }
        }
    }
}

/// Up to where a table of settlements has read its stream.
async fn next_of(session: &Session, name: &str) -> Result<u64, Failure> {
    let table =
        schema::table(name).ok_or_else(|| Failure::NoTable { pipeline: name.to_owned() })?;
    Ok(positions(session, table, 1).await?.first().copied().unwrap_or(0))
}

/// What a bank's file says of statements: what it says last holds.
fn said(event: &BankFileRead) -> BTreeMap<String, (&'static str, Option<String>)> {
    let told = event.told.iter().filter_map(|told| {
        let state = match told.outcome.as_str() {
            "accepted" => ("sent", None),
            "paid" => ("paid", None),
            "rejected" | "returned" => ("closed", Some(told.reason.clone())),
            _ => return None,
        };
        Some((told.statement.clone(), state))
    });
    told.collect()
}

impl Statement {
    fn of(
        at: usize,
        closing: &Closing,
        (grantor, merchant): &(String, String),
        correction: u32,
        carried_in: i64,
        lines: &[(&Line, &Sum)],
    ) -> Self {
        let (mut sum, mut vat) = (Sum::default(), 0);
        for (line, of) in lines {
            sum.lines += of.lines;
            sum.amount += of.amount;
            sum.grantor += of.grantor;
            sum.excess += of.excess;
            vat += contained(of.grantor + of.excess, line.4);
        }
        // Nobody pays oneself.
        let owed = if grantor == merchant { 0 } else { carried_in + sum.grantor + sum.excess };
        let number = match correction {
            0 => format!("{grantor}-{merchant}-{}", closing.period),
            n => format!("{grantor}-{merchant}-{}-K{n}", closing.period),
        };
        let grantor_id = GrantorId::new(grantor).ok();
        let order = grantor_id.filter(|_| owed > 0).map(|grantor| order_id(closing, &grantor));
        Self {
            number,
            closing: at,
            grantor: grantor.clone(),
            merchant: merchant.clone(),
            period: closing.period,
            correction,
            sum,
            vat,
            carried_in,
            payable: owed.max(0),
            carried_out: owed.min(0),
            state: "closed",
            reason: None,
            refusals: 0,
            order,
        }
    }

    fn row(&self, closed: Closed, (recorded_at, offset): (DateTime<Utc>, u64), row: &mut Row) {
        row.begin()
            .text(&self.number)
            .text(&self.grantor)
            .text(&self.merchant)
            .text(&self.period.to_string())
            .number(self.correction)
            .text(self.state)
            .may(self.reason.as_deref())
            .number(self.refusals)
            .number(self.sum.lines)
            .number(self.sum.amount)
            .number(self.sum.grantor)
            .number(self.sum.excess)
            .number(self.vat)
            .number(self.carried_in)
            .number(self.payable)
            .number(self.carried_out)
            .may(self.order.as_deref())
            .number(closed.offset)
            .instant(closed.at)
            .instant(recorded_at)
            .number(0)
            .number(offset);
    }

    fn line_row(&self, closed: Closed, line: &Line, sum: &Sum, row: &mut Row) {
        row.begin()
            .text(&self.number)
            .text(&self.grantor)
            .text(&self.merchant)
            .text(&self.period.to_string())
            .text(&line.3)
            .maybe(line.4)
            .number(sum.uses)
            .number(sum.lines)
            .number(sum.units)
            .number(sum.amount)
            .number(sum.grantor)
            .number(sum.excess)
            .number(contained(sum.grantor + sum.excess, line.4))
            .instant(closed.at)
            .number(0)
            .number(closed.offset);
    }
}

/// The value added tax contained in a sum.
fn contained(cents: i64, rate: Option<i64>) -> i64 {
    let rate = rate.unwrap_or(0);
    mul_div_half_away(cents, rate, rate + 10_000)
}

fn is_before(ends: &[u64], at: Position) -> bool {
    ends.get(at.partition as usize).is_some_and(|end| at.offset < *end)
}

/// Every version of every contract.
async fn versions(log: &Arc<dyn Log>) -> Result<Vec<Version>, Failure> {
    let mut versions = Vec::new();
    replay(log, Topic::RegistryChanges, |stored| {
        if let Event::RegistryChanged(event) = &stored.record.event
            && event.kind == "contracts"
        {
            versions.push(Version {
                entry: event.id.clone(),
                offset: stored.position.offset,
                recorded_at: stored.record.recorded_at,
                document: serde_json::from_str(&event.document).ok(),
            });
        }
        Ok::<(), Failure>(())
    })
    .await?;
    Ok(versions)
}

/// The contracts as they were known at an instant: the newest version by then, or where there was none
/// the first that came later.
fn known_at(versions: &[Version], at: DateTime<Utc>) -> Vec<Value> {
    let mut known: BTreeMap<&str, &Version> = BTreeMap::new();
    for version in versions {
        let before = known.get(version.entry.as_str());
        let goes_before = before.is_none_or(|before| {
            let (is_known, was_known) = (version.recorded_at <= at, before.recorded_at <= at);
            match (is_known, was_known) {
                (true, true) => version.offset > before.offset,
                (is_known, was_known) => is_known && !was_known,
            }
        });
        if goes_before {
            known.insert(&version.entry, version);
        }
    }
    known.into_values().filter_map(|version| version.document.clone()).collect()
}
