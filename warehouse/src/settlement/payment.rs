//! Payment orders: ISO 20022 `pain.001.001.09`, one per grantor, one payment per statement.
//!
//! Everything in an order comes from the closing and from what was known at it, so the same order is
//! the same bytes. What a bank refused is ordered again under an id of its own, with the accounts as
//! they are known by then, for a day that has not passed: a bank refuses one that has. The shape is
//! that of the European Payments Council's guidelines for credit transfers (EPC132-08): `SEPA`, `SLEV`,
//! a remittance text of at most 140 letters.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use domain::{
    amount::Amount, iban::Iban, id::GrantorId, period::LocalTime, settlement::StatementNumber,
    settlement::StatementState,
};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{
    Closed, Closing, FAR_FUTURE, Told, banking,
    sepa::{latin, reference},
};
use crate::{
    error::WarehouseError,
    session::{Session, instant},
};

const PARTIES: &str = include_str!("../../sql/settlements/closing_parties.sql");
const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09";
/// The longest name and the longest remittance text.
const NAME: usize = 70;
const REMITTANCE: usize = 140;

/// One file for a grantor's bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id, by which the bank answers.
    pub id: String,
    /// Who pays.
    pub grantor: Party,
    /// The instant that it carries.
    pub created_at: DateTime<Utc>,
    /// The local day on which it is to be paid.
    pub pays_on: NaiveDate,
    /// What is paid, one payment per statement.
    pub payments: Vec<Payment>,
}

/// One statement's payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The statement.
    pub statement: StatementNumber,
    /// Who is paid.
    pub merchant: Party,
    /// How much, above zero.
    pub cents: i64,
    /// How often a bank has refused it before.
    pub refusals: u32,
}

/// Who pays or is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Its number in a register.
    pub reg_no: Option<String>,
    /// Its account.
    pub iban: Iban,
}

/// The id of the order that pays a grantor's statements of a closing.
#[must_use]
pub fn order_id(closing: &Closing, grantor: &GrantorId) -> String {
    reference(&format!("{grantor}-{}", closing.name()))
}

/// The reference of a statement's payment, from end to end: each attempt has its own, so that what a bank
/// says late of an earlier one is not taken for the newest.
pub(super) fn payment_reference(statement: &str, refusals: u32) -> String {
    match refusals {
        0 => reference(statement),
        refusals => reference(&format!("{statement}-R{refusals}")),
    }
}

/// The orders of a closing: the first of each grantor, which are the same on every day, and those for
/// what a bank refused, which are paid from today, a local day, on.
///
/// # Errors
/// Where a party's account is missing or wrong; all such parties are named.
pub async fn orders(
    session: &Session,
    closing: &Closing,
    closed: Closed,
    told: &[Told],
    today: NaiveDate,
) -> Result<Vec<Order>, WarehouseError> {
    let payable = || told.iter().filter(|told| told.statement.payable_cents() > 0);
    if payable().next().is_none() {
        return Ok(Vec::new());
    }
    let mut first: BTreeMap<String, Vec<&Told>> = BTreeMap::new();
    let mut again: BTreeMap<String, Vec<&Told>> = BTreeMap::new();
    for told in payable() {
        let id = order_id(closing, &told.statement.number.grantor);
        first.entry(id).or_default().push(told);
        // What is sent again stays in its order: the first one names the attempt that was refused.
        if told.refusals > 0 && told.state != StatementState::Paid {
            let id = told.order.clone().unwrap_or_default();
            again.entry(id).or_default().push(told);
        }
    }
    one_number_each(payable())?;
    let known = Parties::at(session, closed.at).await?;
    let closed_on = LocalTime::of(closed.at).date;
    let mut orders = known.orders(first, (closed.at, closed_on), |_| 0)?;
    if !again.is_empty() {
        let known = Parties::at(session, FAR_FUTURE).await?;
        let pays_on = banking::first_from(today.max(closed_on));
        orders.extend(known.orders(again, (closed.at, pays_on), |told| told.refusals)?);
    }
    Ok(orders)
}

/// Refuses two statements of one number, as ids with hyphens can make them: a bank could not tell their
/// payments from each other.
fn one_number_each<'a>(told: impl Iterator<Item = &'a Told>) -> Result<(), WarehouseError> {
    let mut numbers = BTreeSet::new();
    for told in told {
        let number = told.statement.number.to_string();
        if !numbers.insert(number.clone()) {
            let reason = "two pairs of grantor and merchant share this number".into();
            return Err(WarehouseError::Payment { about: number, reason });
        }
    }
    Ok(())
}

/// Names and accounts as they were known at an instant, by the part that a party plays and its id.
struct Parties {
    known: BTreeMap<(String, String), Known>,
}

struct Known {
    name: String,
    reg_no: Option<String>,
    account: Option<String>,
}

impl Parties {
    async fn at(session: &Session, at: DateTime<Utc>) -> Result<Self, WarehouseError> {
        let rows = session.query(PARTIES, vec![("at", instant(at))]).await?;
        let keys = rows.texts("part")?.into_iter().zip(rows.texts("entry_id")?);
        let names = rows.texts("name_lv")?.into_iter().zip(rows.texts("name_en")?);
        let numbers = rows.texts("reg_no")?.into_iter().zip(rows.texts("iban")?);
        let known = keys.zip(names).zip(numbers).map(|(((part, id), names), (reg_no, account))| {
            let id = id.unwrap_or_default();
            let name = names.0.or(names.1).unwrap_or_else(|| id.clone());
            ((part.unwrap_or_default(), id), Known { name, reg_no, account })
        });
        Ok(Self { known: known.collect() })
    }

    fn party(&self, part: &str, id: &str, missing: &mut Vec<String>) -> Option<Party> {
        let found = self.known.get(&(part.to_owned(), id.to_owned()));
        let account = found.and_then(|known| known.account.as_deref());
        let Some((account, Known { name, reg_no, .. })) = account.zip(found) else {
            missing.push(format!("the {part} {id} has no account (iban) in the registry"));
            return None;
        };
        match Iban::parse(account) {
            Ok(iban) => Some(Party { name: name.clone(), reg_no: reg_no.clone(), iban }),
            Err(error) => {
                missing.push(format!("the account of the {part} {id} is wrong: {error}"));
                None
            }
        }
    }

    /// Orders by id, made at an instant and paid on a day; statements of one grantor each.
    fn orders(
        &self,
        by_id: BTreeMap<String, Vec<&Told>>,
        (created_at, pays_on): (DateTime<Utc>, NaiveDate),
        refusals: impl Fn(&Told) -> u32,
    ) -> Result<Vec<Order>, WarehouseError> {
        let mut missing = Vec::new();
        let mut orders = Vec::new();
        for (id, told) in by_id {
            let payments = told.iter().filter_map(|told| {
                let statement = told.statement.number.clone();
                let merchant = self.party("merchant", statement.merchant.as_str(), &mut missing)?;
                let (cents, refusals) = (told.statement.payable_cents(), refusals(told));
                Some(Payment { statement, merchant, cents, refusals })
            });
            let payments = payments.collect();
            // An order's id is of one grantor.
            let grantor = told.first().map_or("", |told| told.statement.number.grantor.as_str());
            let grantor = self.party("grantor", grantor, &mut missing);
            let order = |grantor| Order { id, grantor, created_at, pays_on, payments };
            orders.extend(grantor.map(order));
        }
        missing.sort();
        missing.dedup();
        if missing.is_empty() {
            return Ok(orders);
        }
        let about = "these statements".to_owned();
        Err(WarehouseError::Payment { about, reason: missing.join("; ") })
    }
}

impl Order {
    /// What its file is called.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("pain001-{}.xml", self.id.replace('/', "+"))
    }

    /// The file.
    ///
    /// # Errors
    /// Where a sum does not fit.
    pub fn xml(&self) -> Result<Vec<u8>, WarehouseError> {
        let sum = Amount::checked_sum(self.payments.iter().map(|of| Amount::from_cents(of.cents)));
        let sum = sum.ok_or_else(|| WarehouseError::Payment {
            about: self.id.clone(),
            reason: "its sum does not fit in 64 bits".into(),
        })?;
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
        let written = self.document(&mut writer, &sum.to_string());
        written.map_err(|error| WarehouseError::Export {
            format: "pain.001",
            reason: error.to_string(),
        })?;
        let mut bytes = writer.into_inner();
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn document(&self, to: &mut Xml, sum: &str) -> std::io::Result<()> {
        to.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let count = self.payments.len().to_string();
        let created = self.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let day = self.pays_on.to_string();
        to.create_element("Document").with_attribute(("xmlns", NAMESPACE)).write_inner_content(
            |to| {
                within(to, "CstmrCdtTrfInitn", |to| {
                    within(to, "GrpHdr", |to| {
                        leaf(to, "MsgId", &self.id)?;
                        leaf(to, "CreDtTm", &created)?;
                        leaf(to, "NbOfTxs", &count)?;
                        leaf(to, "CtrlSum", sum)?;
                        within(to, "InitgPty", |to| named(to, &self.grantor))
                    })?;
                    within(to, "PmtInf", |to| {
                        leaf(to, "PmtInfId", &self.id)?;
                        leaf(to, "PmtMtd", "TRF")?;
                        leaf(to, "NbOfTxs", &count)?;
                        leaf(to, "CtrlSum", sum)?;
                        within(to, "PmtTpInf", |to| {
                            within(to, "SvcLvl", |to| leaf(to, "Cd", "SEPA"))
                        })?;
                        within(to, "ReqdExctnDt", |to| leaf(to, "Dt", &day))?;
                        within(to, "Dbtr", |to| named(to, &self.grantor))?;
                        within(to, "DbtrAcct", |to| {
                            account(to, &self.grantor)?;
                            leaf(to, "Ccy", "EUR")
                        })?;
                        // The bank is known by the account's number.
                        within(to, "DbtrAgt", |to| {
                            within(to, "FinInstnId", |to| {
                                within(to, "Othr", |to| leaf(to, "Id", "NOTPROVIDED"))
                            })
                        })?;
                        leaf(to, "ChrgBr", "SLEV")?;
                        self.payments.iter().try_for_each(|payment| payment.write(to))
                    })
                })
            },
        )?;
        Ok(())
    }
}

impl Payment {
    fn write(&self, to: &mut Xml) -> std::io::Result<()> {
        let number = self.statement.to_string();
        let reference = payment_reference(&number, self.refusals);
        within(to, "CdtTrfTxInf", |to| {
            within(to, "PmtId", |to| {
                leaf(to, "InstrId", &reference)?;
                leaf(to, "EndToEndId", &reference)
            })?;
            within(to, "Amt", |to| {
                let amount = Amount::from_cents(self.cents).to_string();
                to.create_element("InstdAmt")
                    .with_attribute(("Ccy", "EUR"))
                    .write_text_content(BytesText::new(&amount))?;
                Ok(())
            })?;
            within(to, "Cdtr", |to| named(to, &self.merchant))?;
            within(to, "CdtrAcct", |to| account(to, &self.merchant))?;
            within(to, "RmtInf", |to| leaf(to, "Ustrd", &self.remittance(&reference)))
        })
    }

    /// What the merchant's accounting reads: the reference first, by which it matches.
    fn remittance(&self, reference: &str) -> String {
        let number = self.statement.to_string();
        let statement = if number == reference { String::new() } else { format!(" {number}") };
        let text = format!("{reference}{statement} atvieglojumi {}", self.statement.period);
        latin(&text, REMITTANCE)
    }
}

type Xml = Writer<Vec<u8>>;

fn within(
    to: &mut Xml,
    name: &str,
    inside: impl FnOnce(&mut Xml) -> std::io::Result<()>,
) -> std::io::Result<()> {
    to.create_element(name).write_inner_content(inside)?;
    Ok(())
}

fn leaf(to: &mut Xml, name: &str, text: &str) -> std::io::Result<()> {
    to.create_element(name).write_text_content(BytesText::new(text))?;
    Ok(())
}

fn named(to: &mut Xml, party: &Party) -> std::io::Result<()> {
    leaf(to, "Nm", &latin(&party.name, NAME))?;
    let Some(number) = &party.reg_no else { return Ok(()) };
    within(to, "Id", |to| {
        within(to, "OrgId", |to| within(to, "Othr", |to| leaf(to, "Id", &latin(number, 35))))
    })
}

fn account(to: &mut Xml, party: &Party) -> std::io::Result<()> {
    within(to, "Id", |to| leaf(to, "IBAN", party.iban.as_str()))
}
