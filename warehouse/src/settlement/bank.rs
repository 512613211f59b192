//! What banks answer: `pain.002` (was a payment taken?) and `camt.053` (did it leave the account?).
//!
//! A file is read whole or not at all. It is bounded, has no document type definition, and what it
//! says is matched by reference and amount; what fits no statement is told, never guessed.

use std::collections::BTreeMap;

use domain::settlement::StatementState;
use roxmltree::{Document, Node};

use super::payment::payment_reference;
use crate::{
    error::WarehouseError,
    session::{Rows, Session},
};

/// The largest file that is read.
pub const LARGEST: usize = 64 << 20;
/// The most elements that it may have.
const ELEMENTS: u32 = 4_000_000;

const PAYABLE: &str = include_str!("../../sql/settlements/payable.sql");

/// A bank's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankFile {
    /// Which kind of message.
    pub kind: Kind,
    /// Whose ids it is named by: the bank, or where it does not say so what it is about, the order or
    /// the account.
    pub sender: String,
    /// The sender's id of it.
    pub message_id: String,
    /// What it says, in its order.
    pub entries: Vec<Entry>,
}

/// Which message a bank sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A customer payment status report.
    Pain002,
    /// An account statement.
    Camt053,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pain002 => "pain.002",
            Self::Camt053 => "camt.053",
        }
    }
}

/// What a bank says of one payment, or of a whole order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub about: About,
    /// What happened.
    pub outcome: Outcome,
    /// The amount that the bank names, in cents.
    pub cents: Option<i64>,
    /// The bank's code where it refuses or returns.
    pub reason: Option<String>,
}

/// What a bank speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// One payment, by its reference from end to end.
    Payment(String),
    /// Every payment of an order.
    Order(String),
}

/// What a bank says has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The bank has taken the order.
    Accepted,
    /// The bank refuses it.
    Rejected,
    /// The money has left the account.
    Paid,
    /// The money came back.
    Returned,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Paid => "paid",
            Self::Returned => "returned",
        }
    }

    /// The outcome of a word.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let all = [Self::Accepted, Self::Rejected, Self::Paid, Self::Returned];
        all.into_iter().find(|outcome| outcome.code() == code)
    }

    /// The state that a statement is in then.
    #[must_use]
    pub const fn state(self) -> StatementState {
        match self {
            Self::Accepted => StatementState::Sent,
            Self::Paid => StatementState::Paid,
            // It has to be paid again.
            Self::Rejected | Self::Returned => StatementState::Closed,
        }
    }

    /// Whether the payment has to be ordered anew.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::Rejected | Self::Returned)
    }
}

/// Reads a bank's file.
///
/// # Errors
/// Where it is too large, no such message, has a document type, or lacks what it must have; the error
/// names the place.
pub fn read(bytes: &[u8]) -> Result<BankFile, WarehouseError> {
    if bytes.len() > LARGEST {
        let size = bytes.len() >> 20;
        return Err(wrong(format!("it has {size} MiB, and at most {} are read", LARGEST >> 20)));
    }
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| wrong(format!("it is not UTF-8: {error}")))?;
    let options =
        roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: ELEMENTS, ..Default::default() };
    let document = Document::parse_with_options(text, options);
    let document = document.map_err(|error| wrong(error.to_string()))?;
    let root = document.root_element();
    let namespace = root.tag_name().namespace().unwrap_or("");
    let message = namespace.strip_prefix("urn:iso:std:iso:20022:tech:xsd:").unwrap_or("");
    if message.starts_with("pain.002.001.") {
        return pain002(must(root, "CstmrPmtStsRpt")?);
    }
    if message.starts_with("camt.053.001.") {
        return camt053(must(root, "BkToCstmrStmt")?);
    }
    let expected = "pain.002.001.* or camt.053.001.* of ISO 20022";
    Err(wrong(format!("its namespace is {namespace:?}, expected {expected}")))
}

fn pain002(report: Node<'_, '_>) -> Result<BankFile, WarehouseError> {
    let header = must(report, "GrpHdr")?;
    let message_id = text(must(header, "MsgId")?).to_owned();
    let group = must(report, "OrgnlGrpInfAndSts")?;
    let order = text(must(group, "OrgnlMsgId")?).to_owned();
    let bank = path(header, &["DbtrAgt", "FinInstnId"]);
    // Older versions call its code so, newer ones another way.
    let bank = bank.and_then(|bank| child(bank, "BICFI").or_else(|| child(bank, "BIC")));
    let sender = bank.map_or_else(|| order.clone(), |bank| text(bank).to_owned());
    let mut entries = Vec::new();
    for payments in children(report, "OrgnlPmtInfAndSts") {
        for one in children(payments, "TxInfAndSts") {
            let Some(outcome) = status(one, "TxSts")? else { continue };
            let about = About::Payment(text(must(one, "OrgnlEndToEndId")?).to_owned());
            let cents = amount(path(one, &["OrgnlTxRef", "Amt", "InstdAmt"]))?;
            entries.push(Entry { about, outcome, cents, reason: reason(one, outcome) });
        }
        // What is said of the payments together holds where nothing is said of each.
        if let Some(outcome) = status(payments, "PmtInfSts")?
            && children(payments, "TxInfAndSts").next().is_none()
        {
            let (about, reason) = (About::Order(order.clone()), reason(payments, outcome));
            entries.push(Entry { about, outcome, cents: None, reason });
        }
    }
    if let Some(outcome) = status(group, "GrpSts")?
        && entries.is_empty()
    {
        let reason = reason(group, outcome);
        entries.push(Entry { about: About::Order(order), outcome, cents: None, reason });
    }
    Ok(BankFile { kind: Kind::Pain002, sender, message_id, entries })
}

/// What a status means; none while nothing is decided.
fn status(of: Node<'_, '_>, name: &str) -> Result<Option<Outcome>, WarehouseError> {
    let Some(status) = child(of, name) else { return Ok(None) };
    Ok(Some(match text(status) {
        "ACCP" | "ACSP" | "ACSC" | "ACTC" | "ACWC" | "ACCC" => Outcome::Accepted,
        "RJCT" | "CANC" => Outcome::Rejected,
        "PDNG" | "RCVD" | "PART" | "PATC" => return Ok(None),
        other => return Err(at(status, &format!("the status {other:?} is not known"))),
    }))
}

fn reason(of: Node<'_, '_>, outcome: Outcome) -> Option<String> {
    if !outcome.is_refusal() {
        return None;
    }
    let reason = path(of, &["StsRsnInf", "Rsn"]).or_else(|| path(of, &["RtrInf", "Rsn"]));
    let code = reason.and_then(|reason| child(reason, "Cd").or_else(|| child(reason, "Prtry")));
    // A refusal without a reason is one all the same.
    Some(code.map_or("NOTPROVIDED", |code| text(code)).to_owned())
}

fn camt053(message: Node<'_, '_>) -> Result<BankFile, WarehouseError> {
    let message_id = text(must(must(message, "GrpHdr")?, "MsgId")?).to_owned();
    let account = path(message, &["Stmt", "Acct", "Id"]);
    let account = account.and_then(|id| child(id, "IBAN").or_else(|| path(id, &["Othr", "Id"])));
    let sender = account.map(|account| text(account).to_owned()).unwrap_or_default();
    let mut entries = Vec::new();
    for statement in children(message, "Stmt") {
        for entry in children(statement, "Ntry") {
            booked(entry, &mut entries)?;
        }
    }
    Ok(BankFile { kind: Kind::Camt053, sender, message_id, entries })
}

/// What a booked entry says of our payments; what is pending is told again when it is booked.
fn booked(entry: Node<'_, '_>, entries: &mut Vec<Entry>) -> Result<(), WarehouseError> {
    let status = must(entry, "Sts")?;
    // Older versions hold the code itself, newer ones an element around it.
    let status = child(status, "Cd").unwrap_or(status);
    if text(status) != "BOOK" {
        return Ok(());
    }
    let details: Vec<_> =
        children(entry, "NtryDtls").flat_map(|details| children(details, "TxDtls")).collect();
    let mut names_any = false;
    for one in &details {
        let Some(reference) = path(*one, &["Refs", "EndToEndId"]) else { continue };
        let reference = text(reference);
        if reference == "NOTPROVIDED" {
            continue;
        }
        names_any = true;
        let direction = child(*one, "CdtDbtInd");
        let direction = direction.map_or_else(|| must(entry, "CdtDbtInd"), Ok)?;
        let outcome = match text(direction) {
            "DBIT" => Outcome::Paid,
            // Money that comes in is ours only where it is a payment that came back.
            "CRDT" if child(*one, "RtrInf").is_some() || is_reversal(entry) => Outcome::Returned,
            "CRDT" => continue,
            other => return Err(at(direction, &format!("{other:?} is neither DBIT nor CRDT"))),
        };
        let own = child(*one, "Amt").or_else(|| path(*one, &["AmtDtls", "TxAmt", "Amt"]));
        // The entry's own amount is that of its only payment.
        let amount_of = if details.len() == 1 { own.or_else(|| child(entry, "Amt")) } else { own };
        entries.push(Entry {
            about: About::Payment(reference.to_owned()),
            outcome,
            cents: amount(amount_of.filter(|of| is_euro(*of)))?,
            reason: reason(*one, outcome),
        });
    }
    if names_any { Ok(()) } else { together(entry, &details, entries) }
}

/// What an entry says that books an order as a whole: it names none of its payments, whether it has
/// details or not.
fn together<'a, 'i>(
    entry: Node<'a, 'i>,
    details: &[Node<'a, 'i>],
    entries: &mut Vec<Entry>,
) -> Result<(), WarehouseError> {
    let batch = path(entry, &["NtryDtls", "Btch"]);
    let batch = batch.and_then(|batch| child(batch, "PmtInfId").or_else(|| child(batch, "MsgId")));
    let order = batch.or_else(|| details.iter().find_map(|of| path(*of, &["Refs", "PmtInfId"])));
    let Some(order) = order else { return Ok(()) };
    let outcome = match (text(must(entry, "CdtDbtInd")?), is_reversal(entry)) {
        ("DBIT", _) => Outcome::Paid,
        ("CRDT", true) => Outcome::Returned,
        _ => return Ok(()),
    };
    entries.push(Entry {
        about: About::Order(text(order).to_owned()),
        outcome,
        cents: amount(child(entry, "Amt").filter(|of| is_euro(*of)))?,
        reason: reason(entry, outcome),
    });
    Ok(())
}

fn is_reversal(entry: Node<'_, '_>) -> bool {
    child(entry, "RvslInd").is_some_and(|said| matches!(text(said), "true" | "1"))
}

/// Whether an amount is in what we pay in: an account has entries of others, in any currency.
fn is_euro(amount: Node<'_, '_>) -> bool {
    amount.attribute("Ccy") == Some("EUR")
}

/// An amount in euro, as cents.
fn amount(of: Option<Node<'_, '_>>) -> Result<Option<i64>, WarehouseError> {
    let Some(of) = of else { return Ok(None) };
    if !is_euro(of) {
        return Err(at(of, "the amount is not in EUR"));
    }
    let text = text(of);
    let (whole, cents) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = !whole.is_empty() && cents.len() <= 2 && digits(whole) && digits(cents);
    let parsed = format!("{whole}{cents:0<2}").parse().ok().filter(|_| fits);
    parsed.map(Some).ok_or_else(|| at(of, &format!("{text:?} is no amount with two decimals")))
}

fn children<'a, 'i>(
    of: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    of.children().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

fn child<'a, 'i>(of: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    of.children().find(|node| node.is_element() && node.tag_name().name() == name)
}

fn path<'a, 'i>(of: Node<'a, 'i>, names: &[&str]) -> Option<Node<'a, 'i>> {
    names.iter().try_fold(of, |node, name| child(node, name))
}

fn must<'a, 'i>(of: Node<'a, 'i>, name: &str) -> Result<Node<'a, 'i>, WarehouseError> {
    child(of, name).ok_or_else(|| at(of, &format!("there is no {name}")))
}

fn text<'a>(of: Node<'a, '_>) -> &'a str {
    of.text().unwrap_or("").trim()
}

fn at(node: Node<'_, '_>, what: &str) -> WarehouseError {
    let place = node.document().text_pos_at(node.range().start);
    wrong(format!("line {}, in {}: {what}", place.row, node.tag_name().name()))
}

fn wrong(reason: String) -> WarehouseError {
    WarehouseError::BankFile(reason)
}

/// What a file says of our statements, and what fits none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// Statements with what the bank says of each.
    pub told: Vec<(String, Outcome, Option<String>)>,
    /// Entries that fit no statement, and why.
    pub unmatched: Vec<(Entry, &'static str)>,
}

/// Matches a bank's entries with the statements that have something to pay.
///
/// # Errors
/// Where the query fails.
pub async fn matched(session: &Session, file: &BankFile) -> Result<Matched, WarehouseError> {
    let mut known = Known::of(&session.rows(PAYABLE).await?)?;
    let mut matched = Matched::default();
    for entry in &file.entries {
        match known.take(entry) {
            Ok(statements) => {
                let reason = entry.reason.clone();
                let told = |statement| (statement, entry.outcome, reason.clone());
                matched.told.extend(statements.into_iter().map(told));
            }
            Err(why) => matched.unmatched.push((entry.clone(), why)),
        }
    }
    Ok(matched)
}

/// The statements that a bank may speak of, as the file has left them so far.
struct Known {
    statements: BTreeMap<String, Payable>,
    by_reference: BTreeMap<String, String>,
    by_order: BTreeMap<String, Vec<String>>,
}

struct Payable {
    cents: i64,
    is_paid: bool,
}

impl Known {
    fn of(rows: &Rows) -> Result<Self, WarehouseError> {
        let (statements, orders) = (rows.texts("statement")?, rows.texts("payment_order")?);
        let amounts = rows.cents("payable")?.into_iter().zip(rows.texts("state")?);
        let each = statements.into_iter().zip(orders).zip(amounts).zip(rows.longs("refusals")?);
        let mut known = Self {
            statements: BTreeMap::new(),
            by_reference: BTreeMap::new(),
            by_order: BTreeMap::new(),
        };
        for (((statement, order), (cents, state)), refusals) in each {
            let statement = statement.unwrap_or_default();
            let refusals = refusals.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
            let reference = payment_reference(&statement, refusals);
            let is_paid = state.as_deref() == Some(StatementState::Paid.code());
            known.by_reference.insert(reference, statement.clone());
            let of_order = known.by_order.entry(order.unwrap_or_default()).or_default();
            of_order.push(statement.clone());
            known.statements.insert(statement, Payable { cents: cents.unwrap_or(0), is_paid });
        }
        Ok(known)
    }

    /// The statements that an entry is about; it is taken with all of them or with none.
    fn take(&mut self, entry: &Entry) -> Result<Vec<String>, &'static str> {
        let about = match &entry.about {
            About::Order(order) => {
                self.by_order.get(order).ok_or("no payment order has this id")?.clone()
            }
            About::Payment(reference) => {
                let found = self.by_reference.get(reference);
                vec![found.ok_or("no statement has this reference")?.clone()]
            }
        };
        let payable = || about.iter().filter_map(|statement| self.statements.get(statement));
        let needs_amount = matches!(entry.outcome, Outcome::Paid | Outcome::Returned);
        let changes_paid = matches!(entry.outcome, Outcome::Paid | Outcome::Rejected);
        if changes_paid && payable().any(|statement| statement.is_paid) {
            return Err("it is paid already");
        }
        match entry.cents {
            Some(cents) if cents != payable().map(|of| of.cents).sum::<i64>() => {
                return Err("the amount is another");
            }
            None if needs_amount => return Err("the bank names no amount in euro"),
            _ => {}
        }
        for statement in about.iter().filter(|_| needs_amount) {
            if let Some(known) = self.statements.get_mut(statement) {
                known.is_paid = entry.outcome == Outcome::Paid;
            }
        }
        Ok(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(message: &str, inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:{message}\">\n{inside}\n</Document>"
        )
    }

    const STATUS: &str = "<CstmrPmtStsRpt><GrpHdr><MsgId>B-1</MsgId></GrpHdr>\
        <OrgnlGrpInfAndSts><OrgnlMsgId>riga-2025-01</OrgnlMsgId></OrgnlGrpInfAndSts>\
        <OrgnlPmtInfAndSts><OrgnlPmtInfId>riga-2025-01</OrgnlPmtInfId>\
        <TxInfAndSts><OrgnlEndToEndId>a</OrgnlEndToEndId><TxSts>ACSC</TxSts></TxInfAndSts>\
        <TxInfAndSts><OrgnlEndToEndId>b</OrgnlEndToEndId><TxSts>RJCT</TxSts>\
        <StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf></TxInfAndSts>\
        </OrgnlPmtInfAndSts></CstmrPmtStsRpt>";

    #[test]
    fn a_status_report_says_of_each_payment() {
        let file = read(document("pain.002.001.10", STATUS).as_bytes()).expect("read");
        assert_eq!((file.kind, file.message_id.as_str()), (Kind::Pain002, "B-1"));
        let told: Vec<_> = file
            .entries
            .iter()
            .map(|entry| (entry.about.clone(), entry.outcome, entry.reason.clone()))
            .collect();
        let payment = |name: &str| About::Payment(name.into());
        assert_eq!(
            told,
            [
                (payment("a"), Outcome::Accepted, None),
                (payment("b"), Outcome::Rejected, Some("AC04".into())),
            ]
        );
    }

    #[test]
    fn a_file_says_whose_ids_it_is_named_by() {
        let sender = |message: &str, inside: &str| {
            read(document(message, inside).as_bytes()).expect("read").sender
        };
        assert_eq!(sender("pain.002.001.10", STATUS), "riga-2025-01");
        let bank = "</MsgId><DbtrAgt><FinInstnId><BIC>HABALV22</BIC></FinInstnId></DbtrAgt>";
        let said = sender("pain.002.001.03", &STATUS.replace("</MsgId>", bank));
        assert_eq!(said, "HABALV22");
        for account in ["<IBAN>LV58RIKO0000002013131</IBAN>", "<Othr><Id>77</Id></Othr>"] {
            let inside = format!(
                "<BkToCstmrStmt><GrpHdr><MsgId>S-1</MsgId></GrpHdr>\
                 <Stmt><Acct><Id>{account}</Id></Acct></Stmt></BkToCstmrStmt>"
            );
            let said = sender("camt.053.001.08", &inside);
            assert!(!said.is_empty() && account.contains(&said), "{said}");
        }
    }

    #[test]
    fn a_status_report_may_refuse_a_whole_order() {
        let inside = "<CstmrPmtStsRpt><GrpHdr><MsgId>B-2</MsgId></GrpHdr><OrgnlGrpInfAndSts>\
            <OrgnlMsgId>riga-2025-01</OrgnlMsgId><GrpSts>RJCT</GrpSts></OrgnlGrpInfAndSts>\
            </CstmrPmtStsRpt>";
        let file = read(document("pain.002.001.03", inside).as_bytes()).expect("read");
        let [entry] = file.entries.as_slice() else { panic!("{file:?}") };
        assert_eq!(entry.about, About::Order("riga-2025-01".into()));
        assert_eq!(entry.reason.as_deref(), Some("NOTPROVIDED"));
    }

    fn booked(status: &str, direction: &str, inside: &str) -> String {
        let entry = format!(
            "<BkToCstmrStmt><GrpHdr><MsgId>S-1</MsgId></GrpHdr><Stmt><Ntry>\
             <Amt Ccy=\"EUR\">12.1</Amt><CdtDbtInd>{direction}</CdtDbtInd>{status}<NtryDtls>\
             <TxDtls><Refs><EndToEndId>a</EndToEndId></Refs>{inside}</TxDtls>\
             </NtryDtls></Ntry></Stmt></BkToCstmrStmt>"
        );
        document("camt.053.001.08", &entry)
    }

    #[test]
    fn a_booked_debit_is_a_payment_and_a_return_is_not() {
        let booked_status = "<Sts><Cd>BOOK</Cd></Sts>";
        let paid = read(booked(booked_status, "DBIT", "").as_bytes()).expect("read");
        assert_eq!((paid.entries[0].outcome, paid.entries[0].cents), (Outcome::Paid, Some(1_210)));
        let returned = "<RtrInf><Rsn><Cd>AC01</Cd></Rsn></RtrInf>";
        let back = read(booked("<Sts>BOOK</Sts>", "CRDT", returned).as_bytes()).expect("read");
        assert_eq!(back.entries[0].outcome, Outcome::Returned);
        assert_eq!(back.entries[0].reason.as_deref(), Some("AC01"));
        // A customer's own money that comes in, and what is not booked yet.
        let other = read(booked(booked_status, "CRDT", "").as_bytes()).expect("read");
        assert_eq!(other.entries, []);
        let pending =
            read(booked("<Sts><Cd>PDNG</Cd></Sts>", "DBIT", "").as_bytes()).expect("read");
        assert_eq!(pending.entries, []);
    }

    #[test]
    fn what_others_are_paid_in_other_currencies_does_not_spoil_an_account_statement() {
        let one = |reference: &str, currency: &str| {
            format!(
                "<Ntry><Amt Ccy=\"{currency}\">12.101</Amt><CdtDbtInd>DBIT</CdtDbtInd>\
                 <Sts>BOOK</Sts><NtryDtls><TxDtls><Refs><EndToEndId>{reference}</EndToEndId>\
                 </Refs></TxDtls></NtryDtls></Ntry>"
            )
        };
        let ours = one("a", "EUR").replace("12.101", "12.10");
        let both = format!(
            "<BkToCstmrStmt><GrpHdr><MsgId>S-2</MsgId></GrpHdr>\
             <Stmt>{}{ours}</Stmt></BkToCstmrStmt>",
            one("invoice-7", "TND")
        );
        let file = read(document("camt.053.001.08", &both).as_bytes()).expect("read");
        let told: Vec<_> = file.entries.iter().map(|entry| (&entry.about, entry.cents)).collect();
        let payment = |name: &str| About::Payment(name.into());
        assert_eq!(told, [(&payment("invoice-7"), None), (&payment("a"), Some(1_210))]);
    }

    #[test]
    fn an_order_is_booked_together_where_no_payment_of_it_is_named() {
        for details in [
            "<Btch><PmtInfId>riga-2025-01</PmtInfId></Btch>",
            "<Btch><PmtInfId>riga-2025-01</PmtInfId></Btch>\
             <TxDtls><Refs><PmtInfId>riga-2025-01</PmtInfId></Refs></TxDtls>",
            "<TxDtls><Refs><PmtInfId>riga-2025-01</PmtInfId>\
             <EndToEndId>NOTPROVIDED</EndToEndId></Refs></TxDtls>",
        ] {
            let inside = format!(
                "<BkToCstmrStmt><GrpHdr><MsgId>S-3</MsgId></GrpHdr><Stmt><Ntry>\
                 <Amt Ccy=\"EUR\">30.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts>\
                 <NtryDtls>{details}</NtryDtls></Ntry></Stmt></BkToCstmrStmt>"
            );
            let file = read(document("camt.053.001.08", &inside).as_bytes()).expect("read");
            let [entry] = file.entries.as_slice() else { panic!("{details}: {file:?}") };
            assert_eq!(entry.about, About::Order("riga-2025-01".into()), "{details}");
            assert_eq!((entry.outcome, entry.cents), (Outcome::Paid, Some(3_000)), "{details}");
        }
    }

    #[test]
    fn what_is_no_bank_file_is_refused_with_its_place() {
        let refused = |text: &str| read(text.as_bytes()).expect_err("refused").to_string();
        let bomb = "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>";
        assert!(refused(bomb).contains("DTD"), "{}", refused(bomb));
        assert!(refused(&document("pain.001.001.09", "")).contains("pain.002"));
        let unknown = document("pain.002.001.10", &STATUS.replace("ACSC", "WHAT"));
        assert!(refused(&unknown).contains("TxSts: the status \"WHAT\""), "{}", refused(&unknown));
        let dollars = "<OrgnlTxRef><Amt><InstdAmt Ccy=\"USD\">1.00</InstdAmt></Amt></OrgnlTxRef>";
        let dollars = STATUS.replace("<StsRsnInf>", &format!("{dollars}<StsRsnInf>"));
        assert!(refused(&document("pain.002.001.10", &dollars)).contains("not in EUR"));
        let thirds = booked("<Sts>BOOK</Sts>", "DBIT", "").replace("12.1", "12.101");
        assert!(refused(&thirds).contains("two decimals"));
        assert!(refused("nothing").contains("no bank file"));
        assert!(read(&[0xff, 0xfe]).is_err());
    }
}
