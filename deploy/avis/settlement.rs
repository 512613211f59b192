//! Periods: closed by a record of the stream, told as statements, proved against the stream.

mod standing;

pub use standing::tell;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use domain::{
    period::Month,
    settlement::{StatementNumber, StatementState},
};
use ingest::{
    log::Log,
    record::{Record, outside_id},
    topic::Topic,
    wire::v1::{BankFileRead, Event, PaymentTold, PaymentUnmatched, PeriodClosed, StatementsSent},
};
use pipelines::settlements::{Closings, Settlements, is_early};
use warehouse::{
    error::WarehouseError,
    session::Session,
    settlement::{
        Closed, Closing, Ledger, Statement, Told,
        bank::{self, About, BankFile, Matched},
        compute, lines_landed, statements,
    },
};

use crate::{
    books::{self, Account, Owed},
    failure::Failure,
    node::Node,
};

/// How long a closing waits for lines that are still landing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks again.
const RETRY: Duration = Duration::from_millis(200);

/// Where the partitions of `authorisations` end now.
///
/// # Errors
/// Where the log is stopped.
pub fn ends(log: &Arc<dyn Log>) -> Result<Vec<u64>, Failure> {
    let topic = Topic::Authorisations;
    let ends = (0..log.partitions(topic)).map(|partition| log.end(topic, partition));
    Ok(ends.collect::<Result<_, _>>()?)
}

/// Brings the tables of settlements up to the stream, and looks after them where they stayed open since
/// the last time: a command that ends soon leaves that to a node.
///
/// # Errors
/// Where benefit lines have not landed up to the newest closing, or a table cannot be written.
pub async fn follow(node: &Node) -> Result<(), Failure> {
    let mut open = node.settling.lock().await;
    let stayed = open.is_some();
    catch_up(node, &mut open).await?;
    if let Some(settlements) = open.as_ref().filter(|_| stayed) {
        settlements.look_after().await;
    }
    Ok(())
}

/// One at a time: whoever calls has the turn. The tables stay open for the next one; after a failure
/// they are opened anew.
async fn catch_up(node: &Node, open: &mut Option<Settlements>) -> Result<(), Failure> {
    let settlements = match open.take() {
        Some(settlements) => settlements,
        None => node.settlements().await?,
    };
    let done = settlements.catch_up(|| node.session()).await;
    let is_whole = match &done {
        Ok(()) => true,
        Err(Failure::Pipeline(error)) => is_early(error),
        Err(_) => false,
    };
    *open = is_whole.then_some(settlements);
    done
}

/// The same, and waits a little for lines that are still landing.
async fn catch_up_soon(node: &Node, open: &mut Option<Settlements>) -> Result<(), Failure> {
    let last = Instant::now() + PATIENCE;
    loop {
        match catch_up(node, open).await {
            Err(Failure::Pipeline(error)) if is_early(&error) && Instant::now() < last => {
                tokio::time::sleep(RETRY).await;
            }
            done => return done,
        }
    }
}

/// Closes a period, or where it is closed what has come for it since; answers the month's newest
/// closing, and whether it is new. Everything up to now has landed.
///
/// # Errors
/// Where the stream cannot be read or appended to.
pub async fn close(
    node: &Node,
    period: Month,
    now: DateTime<Utc>,
) -> Result<(Closing, bool), Failure> {
    let mut open = node.settling.lock().await;
    let closings = Closings::read(&node.log).await?;
    let mut closing = closings.draft(period, ends(&node.log)?);
    if let Some(last) = closings.of(period).last() {
        // A close that was cut off after its record is finished here.
        catch_up_soon(node, &mut open).await?;
        let session = node.session()?;
        let ledger = Ledger::before(&session, None).await?;
        if compute(&session, &closing, &ledger).await?.is_empty() {
            return Ok((last.clone(), false));
        }
    }
    let event = PeriodClosed {
        period: period.to_string(),
        end_offsets: closing.end_offsets.clone(),
        closed_at: now.timestamp_micros(),
    };
    let offset = node.log.end(Topic::Settlements, 0)?;
    append(node, &closing.name(), now, Event::PeriodClosed(event)).await?;
    closing.closed = Some(Closed { at: now, offset });
    catch_up_soon(node, &mut open).await?;
    Ok((closing, true))
}

async fn append(node: &Node, id: &str, now: DateTime<Utc>, event: Event) -> Result<(), Failure> {
    let record = Record {
        id: outside_id("settlement", id),
        key: "settlements".into(),
        source: "settlement".into(),
        sequence: 0,
        event_time: now,
        recorded_at: now,
        event,
    };
    node.log.append(Topic::Settlements, &[record]).await?;
    Ok(())
}

/// The closings of a period, and a draft where it is open.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn closings(log: &Arc<dyn Log>, period: Month) -> Result<Vec<Closing>, Failure> {
    let closings = Closings::read(log).await?;
    let of_month: Vec<_> = closings.of(period).cloned().collect();
    Ok(if of_month.is_empty() { vec![closings.draft(period, ends(log)?)] } else { of_month })
}

/// Notes that the payments of a period went to the bank; answers the statements that are sent now.
///
/// # Errors
/// Where the period is open, or the stream cannot be used.
pub async fn send(
    node: &Node,
    period: Month,
    grantor: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Vec<String>, Failure> {
    let mut open = node.settling.lock().await;
    catch_up(node, &mut open).await?;
    let session = node.session()?;
    let mut numbers = Vec::new();
    for closing in closings(&node.log, period).await? {
        if closing.closed.is_none() {
            return Err(Failure::State(format!("{period} is open; close it first")));
        }
        let ready = |told: &&Told| {
            let number = &told.statement.number;
            told.state == StatementState::Closed
                && told.statement.payable_cents() > 0
                && grantor.is_none_or(|grantor| number.grantor.as_str() == grantor)
        };
        let told = statements(&session, &closing).await?;
        numbers.extend(told.iter().filter(ready).map(|told| told.statement.number.to_string()));
    }
    if !numbers.is_empty() {
        let event = StatementsSent { statements: numbers.clone(), sent_at: now.timestamp_micros() };
        let id = format!("sent/{}", node.log.end(Topic::Settlements, 0)?);
        append(node, &id, now, Event::StatementsSent(event)).await?;
        catch_up(node, &mut open).await?;
    }
    Ok(numbers)
}

/// Takes a bank's file, whole; nothing where it was taken before.
///
/// # Errors
/// Where another file came under its id, or the stream cannot be used.
pub async fn take(
    node: &Node,
    file: &BankFile,
    file_hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<Matched>, Failure> {
    let mut open = node.settling.lock().await;
    catch_up(node, &mut open).await?;
    for known in bank_files(&node.log).await? {
        if !is_named(&known, file) {
            continue;
        }
        if known.file_hash == file_hash {
            return Ok(None);
        }
        return Err(Failure::State(format!(
            "another {} of {} with the id {} was read before; a bank gives an id once",
            known.kind, file.sender, known.message_id
        )));
    }
    let matched = bank::matched(&node.session()?, file).await?;
    let told = matched.told.iter().map(|(statement, outcome, reason)| PaymentTold {
        statement: statement.clone(),
        outcome: outcome.code().into(),
        reason: reason.clone().unwrap_or_default(),
    });
    let unmatched = matched.unmatched.iter().map(|(entry, why)| PaymentUnmatched {
        reference: match &entry.about {
            About::Payment(reference) | About::Order(reference) => reference.clone(),
        },
        outcome: entry.outcome.code().into(),
        amount_cents: entry.cents,
        why: (*why).into(),
    });
    let event = BankFileRead {
        kind: file.kind.code().into(),
        message_id: file.message_id.clone(),
        file_hash: file_hash.to_owned(),
        told: told.collect(),
        unmatched: unmatched.collect(),
        read_at: now.timestamp_micros(),
        sender: file.sender.clone(),
    };
    let id = format!("{}/{}/{}", event.kind, event.sender, event.message_id);
    append(node, &id, now, Event::BankFileRead(event)).await?;
    catch_up(node, &mut open).await?;
    Ok(Some(matched))
}

/// Whether a file that was read is named as another one: each bank gives its own ids. Who sent the
/// files of before was not noted; their ids count for every sender.
fn is_named(known: &BankFileRead, file: &BankFile) -> bool {
    known.kind == file.kind.code()
        && known.message_id == file.message_id
        && (known.sender.is_empty() || known.sender == file.sender)
}

/// Every bank file that was read, in order.
///
/// # Errors
/// Where the stream cannot be read.
pub async fn bank_files(log: &Arc<dyn Log>) -> Result<Vec<BankFileRead>, Failure> {
    let mut files = Vec::new();
    ingest::log::replay(log, Topic::Settlements, |stored| {
        if let Event::BankFileRead(event) = stored.record.event {
            files.push(event);
        }
        Ok::<(), Failure>(())
    })
    .await?;
    Ok(files)
}

/// What a proof has found.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Statements compared.
    pub statements: usize,
    /// What the grantors owe in all, in cents.
    pub owed_cents: i64,
    /// Where stream and statements differ.
    pub differences: Vec<books::Difference>,
    /// What else is wrong: sums carried wrongly, kept statements that are not what they were.
    pub faults: Vec<Fault>,
}

/// A statement that is not what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which, and what is wrong.
    pub text: String,
    /// By how many cents.
    pub cents: i64,
}

impl Proof {
    /// The cents by which the books differ, each way added.
    #[must_use]
    pub fn difference_cents(&self) -> i64 {
        let faults = self.faults.iter().map(|fault| fault.cents);
        self.differences.iter().map(books::Difference::cents).chain(faults).sum()
    }

    /// How many statements differ, be it by no cent.
    #[must_use]
    pub const fn differing(&self) -> usize {
        self.differences.len() + self.faults.len()
    }

    /// An error that names every statement that differs.
    ///
    /// # Errors
    /// Where the books do not balance.
    pub fn balanced(&self) -> Result<(), Failure> {
        match self.lines() {
            lines if lines.is_empty() => Ok(()),
            lines => Err(unbalanced(self.difference_cents(), &lines)),
        }
    }

    /// Each statement that differs, and how.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let differences = self.differences.iter().map(ToString::to_string);
        differences.chain(self.faults.iter().map(|fault| fault.text.clone())).collect()
    }
}

/// That the books do not balance, and where.
#[must_use]
pub fn unbalanced(cents: i64, lines: &[String]) -> Failure {
    let lines: Vec<_> = lines.iter().map(|line| format!("  {line}")).collect();
    Failure::Books { cents, list: lines.join("\n") }
}

/// Proves statements against the stream: those that are kept, and of open months the drafts, against
/// the stream added up record by record, up to the same offsets: those given, which are landed.
///
/// # Errors
/// Where stream or tables cannot be read.
pub async fn prove(log: &Arc<dyn Log>, session: &Session, now: &[u64]) -> Result<Proof, Failure> {
    compared(log, session, &Closings::read(log).await?, now).await
}

/// The same of a node that serves, up to where the stream ends now. A month that is closed meanwhile
/// is no closing of the proof: its statements would be compared with a part of its records.
///
/// # Errors
/// As [`prove`]; and where lines are still landing for longer than is waited for, which
/// [`is_landing`] knows.
pub async fn prove_now(node: &Node) -> Result<Proof, Failure> {
    let (closings, now) = {
        // Nobody closes a month between the tables of settlements and the end of the stream.
        let mut open = node.settling.lock().await;
        catch_up_soon(node, &mut open).await?;
        (Closings::read(&node.log).await?, ends(&node.log)?)
    };
    let last = Instant::now() + PATIENCE;
    let session = loop {
        let session = node.session()?;
        match lines_landed(&session, &now).await {
            Err(WarehouseError::NotLanded { .. }) if Instant::now() < last => {
                tokio::time::sleep(RETRY).await;
            }
            landed => break landed.map(|()| session)?,
        }
    };
    compared(&node.log, &session, &closings, &now).await
}

/// The same of a node that starts, up to offsets that have landed. Terminals are answered by then, and a
/// month may be closed: one that is closed beyond those offsets is proved the next time, and may land later.
///
/// # Errors
/// As [`prove`], and where a table of settlements cannot be written.
pub async fn prove_first(node: &Node, landed: &[u64]) -> Result<Proof, Failure> {
    let closings = {
        // Nobody closes a month between the tables of settlements and the closings that are proved.
        let mut open = node.settling.lock().await;
        match catch_up_soon(node, &mut open).await {
            Err(error) if is_landing(&error) => {}
            done => done?,
        }
        Closings::read(&node.log).await?.until(landed)
    };
    compared(&node.log, &node.session()?, &closings, landed).await
}

/// Whether a proof can be made a little later: what it is about still lands.
#[must_use]
pub fn is_landing(failure: &Failure) -> bool {
    match failure {
        Failure::Pipeline(error) => is_early(error),
        Failure::Warehouse(error) => matches!(error, WarehouseError::NotLanded { .. }),
        _ => false,
    }
}

async fn compared(
    log: &Arc<dyn Log>,
    session: &Session,
    closings: &Closings,
    now: &[u64],
) -> Result<Proof, Failure> {
    let stream = books::add_up(log, closings.all(), now).await?;
    let (mut proof, mut told) = (Proof::default(), BTreeMap::new());
    let mut ledger = Ledger::default();
    for closing in closings.all() {
        let kept: Vec<_> = statements(session, closing).await?;
        let kept: Vec<_> = kept.into_iter().map(|told| told.statement).collect();
        let again = compute(session, closing, &ledger).await?;
        proof.faults.extend(faults(&kept, &again));
        proof.enter(&mut told, closing, &kept);
        ledger.enter(&again);
    }
    let months: BTreeSet<Month> = stream.keys().map(|(_, _, month, _)| *month).collect();
    for month in months {
        let draft = closings.draft(month, now.to_vec());
        let drafts = compute(session, &draft, &ledger).await?;
        proof.enter(&mut told, &draft, &drafts);
    }
    proof.differences = books::differences(&stream, &told);
    Ok(proof)
}

impl Proof {
    fn enter(
        &mut self,
        told: &mut BTreeMap<Account, Owed>,
        closing: &Closing,
        statements: &[Statement],
    ) {
        for statement in statements {
            let StatementNumber { grantor, merchant, period, .. } = &statement.number;
            let account = (grantor.to_string(), merchant.to_string(), *period, closing.correction);
            let owed =
                Owed { amount_cents: statement.amount_cents(), owed_cents: statement.owed_cents() };
            self.statements += 1;
            self.owed_cents += owed.owed_cents;
            if owed != Owed::default() {
                told.insert(account, owed);
            }
        }
    }
}

/// Kept statements that are not what they are when computed again, which names what was carried too.
fn faults(kept: &[Statement], again: &[Statement]) -> Vec<Fault> {
    let by_number = |statements: &[Statement]| -> BTreeMap<StatementNumber, Statement> {
        statements.iter().map(|of| (of.number.clone(), of.clone())).collect()
    };
    let (kept, again) = (by_number(kept), by_number(again));
    let numbers: BTreeSet<_> = kept.keys().chain(again.keys()).collect();
    let fault = |number: &StatementNumber| {
        let (kept, again) = (kept.get(number), again.get(number));
        if kept == again {
            return None;
        }
        let payable = |of: Option<&Statement>| of.map_or(0, Statement::payable_cents);
        let vat = |of: Option<&Statement>| of.map_or(0, Statement::vat_cents);
        let [was, is] = [kept, again].map(|of| (payable(of), vat(of)));
        let lines = if was == is { "; their lines differ" } else { "" };
        let text = format!(
            "{number}: kept with {} cents to pay and {} of VAT, computed again with {} and {}{}",
            was.0, was.1, is.0, is.1, lines
        );
        Some(Fault { text, cents: (was.0 - is.0).abs() + (was.1 - is.1).abs() })
    };
    numbers.into_iter().filter_map(fault).collect()
}

#[cfg(test)]
mod tests {
    use domain::id::{GrantorId, MerchantId};
    use warehouse::settlement::StatementRow;

    use super::*;

    #[test]
    fn a_statement_that_differs_counts_also_where_it_differs_by_no_cent() {
        let number = StatementNumber {
            grantor: GrantorId::new("riga").expect("an id"),
            merchant: MerchantId::new("market").expect("an id"),
            period: Month::parse("2025-01").expect("a month"),
            correction: 0,
        };
        let row = StatementRow {
            instruction: "bread".into(),
            vat_bp: Some(2_100),
            uses: 1,
            lines: 1,
            units: 1,
            amount_cents: 121,
            grantor_cents: 121,
            excess_cents: 0,
            vat_cents: 21,
        };
        let of = |row: &StatementRow| Statement {
            number: number.clone(),
            carried_in_cents: 0,
            rows: vec![row.clone()],
        };
        let kept = of(&row);
        let untaxed = of(&StatementRow { vat_bp: None, vat_cents: 0, ..row.clone() });
        let counted = of(&StatementRow { lines: 2, ..row });
        for (again, cents, told) in [(untaxed, 21, "121 and 0"), (counted, 0, "their lines differ")]
        {
            let faults = faults(std::slice::from_ref(&kept), &[again]);
            let proof = Proof { faults, ..Proof::default() };
            assert_eq!((proof.differing(), proof.difference_cents()), (1, cents));
            assert!(proof.faults[0].text.contains(told), "{:?}", proof.faults);
        }
        let same = std::slice::from_ref(&kept);
        assert!(faults(same, same).is_empty());
    }
}
