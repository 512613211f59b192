//! Payment orders against the statements that they pay, and against the files that were written before.

use std::{collections::BTreeMap, path::Path};

use domain::period::LocalTime;
use warehouse::{
    session::Session,
    settlement::{self, Closing, File, Order, Told},
};

use super::{
    findings::{Findings, NOTHING},
    statements::Statement,
};
use crate::failure::Failure;

const STORE: &str = "payment orders";
const FILES: &str = "files of finance";

/// Makes every order and every file of finance anew: what an order pays has to be what the stream adds up
/// to, and a file that lies in `folder` has to be the same bytes.
///
/// # Errors
/// Where a table or a file cannot be read.
pub async fn compare(
    session: &Session,
    closings: &[Closing],
    statements: &[Statement],
    folder: &Path,
    findings: &mut Findings,
) -> Result<(), Failure> {
    for (at, closing) in closings.iter().enumerate() {
        let Some(closed) = closing.closed else { continue };
        let told = match settlement::statements(session, closing).await {
            Ok(told) => told,
            Err(error) => {
                let key = format!("the statements of {}", closing.name());
                findings.drift(STORE, key, "readable", error.to_string());
                continue;
            }
        };
        files(closing, &told, folder, findings)?;
        // Of the orders only the first are compared, which are the same on every day.
        let day = LocalTime::of(closed.at).date;
        let orders = match settlement::orders(session, closing, closed, &told, day).await {
            Ok(orders) => orders,
            Err(error) => {
                // A party without an account has statements and no payment, and finance is told so.
                findings.notes.push(format!("{}: no payment orders: {error}", closing.name()));
                continue;
            }
        };
        let of_closing = statements.iter().filter(|statement| statement.closing == at);
        paid(of_closing, &orders, findings);
        // What a bank refused is ordered with the accounts as they are known by now, without what is paid
        // meanwhile: its file may rightly have been another.
        let is_first = |order: &&Order| order.payments.iter().all(|of| of.refusals == 0);
        for order in orders.iter().filter(is_first) {
            same(&folder.join(order.file_name()), &order.xml()?, findings)?;
        }
    }
    Ok(())
}

/// Whether each statement is paid by one first order, and by how much.
fn paid<'a>(
    statements: impl Iterator<Item = &'a Statement>,
    orders: &[Order],
    findings: &mut Findings,
) {
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for statement in statements.filter(|statement| statement.payable > 0) {
        expected.insert(statement.number.clone(), statement.payable);
    }
    let (count, mut found) = (expected.len() as u64, 0);
    for payment in orders.iter().flat_map(|order| &order.payments) {
        if payment.refusals > 0 {
            continue;
        }
        found += 1;
        let number = payment.statement.to_string();
        match expected.remove(&number) {
            Some(cents) if cents == payment.cents => {}
            Some(cents) => {
                findings.drift(STORE, number, said(cents), said(payment.cents));
            }
            None => findings.drift(STORE, number, NOTHING, said(payment.cents)),
        }
    }
    for (number, cents) in expected {
        findings.drift(STORE, number, said(cents), NOTHING);
    }
    findings.compared(STORE, count, found);
}

fn said(cents: i64) -> String {
    format!("{cents} cents")
}

fn files(
    closing: &Closing,
    told: &[Told],
    folder: &Path,
    findings: &mut Findings,
) -> Result<(), Failure> {
    for form in File::ALL {
        same(&folder.join(form.name(closing)), &form.bytes(closing, told)?, findings)?;
    }
    Ok(())
}

/// Compares a file with its bytes, where it is there.
fn same(path: &Path, bytes: &[u8], findings: &mut Findings) -> Result<(), Failure> {
    let found = match std::fs::read(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Failure::Read { path: path.to_owned(), source }),
    };
    findings.compared(FILES, 1, 1);
    if found != bytes {
        let first = found.iter().zip(bytes).position(|(found, made)| found != made);
        let first = first.unwrap_or_else(|| found.len().min(bytes.len()));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let expected = format!("{} bytes", bytes.len());
        findings.drift(FILES, name, expected, format!("others from byte {first} on"));
    }
    Ok(())
}
