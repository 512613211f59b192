//! Periods: closed by a record of the stream, told as statements, proved against the stream.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use domain::period::Month;
use ingest::{
    log::{Log, replay},
    record::{Record, outside_id},
    topic::Topic,
    wire::{
        self,
        v1::{Event, PeriodClosed},
    },
};
use warehouse::{
    session::Session,
    settlement::{Closing, Statement, statements},
};

use crate::{
    books::{self, Account, Owed},
    failure::Failure,
    node::Node,
};

/// Every closed period, as its record has it.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn closed(log: &Arc<dyn Log>) -> Result<BTreeMap<Month, Closing>, Failure> {
    let mut closed = BTreeMap::new();
    replay(log, Topic::Settlements, |stored| {
        if let Event::PeriodClosed(event) = &stored.record.event
            && let Some(period) = Month::parse(&event.period)
        {
            // A period is closed once: the first record holds.
            closed.entry(period).or_insert_with(|| Closing {
                period,
                end_offsets: event.end_offsets.clone(),
                closed_at: wire::instant(event.closed_at),
            });
        }
        Ok::<(), Failure>(())
    })
    .await?;
    Ok(closed)
}

/// Where the partitions of `authorisations` end now.
///
/// # Errors
/// Where the log is stopped.
pub fn ends(log: &Arc<dyn Log>) -> Result<Vec<u64>, Failure> {
    let topic = Topic::Authorisations;
    let ends = (0..log.partitions(topic)).map(|partition| log.end(topic, partition));
    Ok(ends.collect::<Result<_, _>>()?)
}

/// Closes a period, unless it is closed; answers its closing.
///
/// # Errors
/// Where the stream cannot be read or appended to.
pub async fn close(node: &Node, period: Month, now: DateTime<Utc>) -> Result<Closing, Failure> {
    if let Some(closing) = closed(&node.log).await?.remove(&period) {
        return Ok(closing);
    }
    let end_offsets = ends(&node.log)?;
    let event = PeriodClosed {
        period: period.to_string(),
        end_offsets: end_offsets.clone(),
        closed_at: now.timestamp_micros(),
    };
    let record = Record {
        id: outside_id("settlement", &period.to_string()),
        key: "settlements".into(),
        source: "settlement".into(),
        sequence: 0,
        event_time: now,
        recorded_at: now,
        event: Event::PeriodClosed(event),
    };
    node.log.append(Topic::Settlements, &[record]).await?;
    Ok(Closing { period, end_offsets, closed_at: Some(now) })
}

/// The closing of a period: its record's, or an open one up to now.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn closing(log: &Arc<dyn Log>, period: Month) -> Result<Closing, Failure> {
    match closed(log).await?.remove(&period) {
        Some(closing) => Ok(closing),
        None => Ok(Closing { period, end_offsets: ends(log)?, closed_at: None }),
    }
}

/// What a proof has found.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Accounts compared.
    pub accounts: usize,
    /// What the grantors owe in all, in cents.
    pub grantor_cents: i64,
    /// Where the books differ.
    pub differences: Vec<books::Difference>,
}

impl Proof {
    /// The cents by which the books differ, each way added.
    #[must_use]
    pub fn difference_cents(&self) -> i64 {
        let one = |found: &books::Difference| {
            (found.stream.amount_cents - found.statements.amount_cents).abs()
                + (found.stream.grantor_cents - found.statements.grantor_cents).abs()
        };
        self.differences.iter().map(one).sum()
    }

    /// An error that names every account that differs.
    ///
    /// # Errors
    /// Where the books do not balance.
    pub fn balanced(&self) -> Result<(), Failure> {
        if self.differences.is_empty() {
            return Ok(());
        }
        let lines = self.differences.iter().map(|found| {
            let (grantor, merchant, month) = &found.account;
            format!(
                "  {grantor}-{merchant}-{month}: stream {} ({} grantor's) cents, statements {} ({})",
                found.stream.amount_cents,
                found.stream.grantor_cents,
                found.statements.amount_cents,
                found.statements.grantor_cents,
            )
        });
        let list = lines.collect::<Vec<_>>().join("\n");
        Err(Failure::Books { cents: self.difference_cents(), list })
    }
}

/// Proves statements against the stream: every month's statements by SQL over the tables, and the
/// stream added up record by record, up to the same offsets: those given, which are landed.
///
/// # Errors
/// Where stream or tables cannot be read.
pub async fn prove(log: &Arc<dyn Log>, session: &Session, now: &[u64]) -> Result<Proof, Failure> {
    let mut proof = Proof::default();
    let all = books::add_up(log, now).await?;
    let closed = closed(log).await?;
    let months: std::collections::BTreeSet<Month> =
        all.keys().map(|(_, _, month)| *month).chain(closed.keys().copied()).collect();
    for month in months {
        let closing = match closed.get(&month) {
            Some(closing) => closing.clone(),
            None => Closing { period: month, end_offsets: now.to_vec(), closed_at: None },
        };
        let stream = match closing.closed_at {
            Some(_) => books::add_up(log, &closing.end_offsets).await?,
            None => all.clone(),
        };
        let of_month = stream.into_iter().filter(|((_, _, other), _)| *other == month);
        let told = owed(&statements(session, &closing).await?);
        proof.accounts += told.len();
        proof.grantor_cents += told.values().map(|owed| owed.grantor_cents).sum::<i64>();
        proof.differences.extend(books::differences(&of_month.collect(), &told));
    }
    Ok(proof)
}

fn owed(statements: &[Statement]) -> BTreeMap<Account, Owed> {
    let account = |statement: &Statement| {
        let number = &statement.number;
        (number.grantor.to_string(), number.merchant.to_string(), number.period)
    };
    let owed = |statement: &Statement| Owed {
        amount_cents: statement.amount_cents(),
        grantor_cents: statement.grantor_cents(),
    };
    statements.iter().map(|statement| (account(statement), owed(statement))).collect()
}
