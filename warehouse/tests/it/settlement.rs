//! Statements over a small set of lines made by hand.

use chrono::NaiveDate;
use domain::{period::Month, settlement::StatementState};
use serde_json::{Value, json};
use warehouse::{
    error::WarehouseError,
    settlement::{
        self, Closed, Closing, Ledger, Statement,
        bank::{self, About, BankFile, Entry, Kind, Outcome},
        kept::{self, Change, Place},
    },
    table::{Positions, Table},
};

use crate::world::World;

fn line(offset: i64, of: (&str, &str), instruction: &str, date: &str, cents: [&str; 2]) -> Value {
    json!({"source_offset": offset, "grantor_id": of.0, "merchant_id": of.1,
           "instruction_id": instruction, "date": date, "amount": cents[0], "grantor_amount": cents[1],
           "units": 1, "kind": "captured", "authorisation_id": format!("A-{offset}")})
}

fn with(mut line: Value, key: &str, value: Value) -> Value {
    line[key] = value;
    line
}

async fn world() -> World {
    let world = World::new();
    let (riga, own) = (("riga", "market"), ("market", "market"));
    let lines = [
        line(0, riga, "bread", "2025-01-01", ["1.00", "0.60"]),
        // The same basket again: one use, two lines.
        with(
            line(1, riga, "bread", "2025-01-01", ["0.50", "0.30"]),
            "authorisation_id",
            json!("A-0"),
        ),
        line(2, riga, "milk", "2025-01-31", ["12.10", "12.10"]),
        // A refund of January's sale belongs to its own month.
        json!({"source_offset": 3, "grantor_id": "riga", "merchant_id": "market", "units": -1,
               "instruction_id": "milk", "date": "2025-02-01", "amount": "-12.10",
               "grantor_amount": "-12.10", "kind": "refunded", "authorisation_id": "A-2"}),
        line(4, own, "club", "2025-01-15", ["2.00", "2.00"]),
        // Only says what a terminal gave in excess.
        with(
            line(5, ("", "market"), "?", "2025-01-15", ["0.00", "0.00"]),
            "excess_amount",
            json!("3.00"),
        ),
        line(6, riga, "bread", "2025-01-20", ["9.99", "9.99"]),
    ];
    world.land("benefit_lines", 7, &lines).await;
    let contract = |offset: i64, vat: i64, recorded: &str| {
        json!({"entry_id": "C-1", "grantor_id": "riga", "merchant_id": "market", "vat_bp": vat,
               "valid_from": "2025-01-01", "recorded_at": recorded, "source_offset": offset})
    };
    let contracts =
        [contract(0, 2_100, "2025-01-01T00:00:00Z"), contract(1, 500, "2025-03-01T00:00:00Z")];
    world.land("registry_contracts", 2, &contracts).await;
    let party = |id: &str, name: &str, iban: &str| {
        json!({"entry_id": id, "name_lv": name, "iban": iban, "reg_no": "40003000001",
               "recorded_at": "2025-01-01T00:00:00Z"})
    };
    let grantors = [
        party("riga", "Rīgas pašvaldība", "LV17RIKO0000002013131"),
        party("market", "Tirgus", "LV65HABA0000055100001"),
    ];
    world.land("registry_grantors", 1, &grantors).await;
    let merchants = [
        party("market", "Tirgus", "LV65HABA0000055100001"),
        party("corner", "Stūris", "LV38HABA0000055100002"),
    ];
    world.land("registry_merchants", 1, &merchants).await;
    world
}

fn closing(period: &str, end: u64) -> Closing {
    let at = "2025-02-03T00:00:00Z".parse().unwrap();
    Closing {
        period: Month::parse(period).unwrap(),
        correction: 0,
        from_offsets: vec![],
        end_offsets: vec![end],
        closed: Some(Closed { at, offset: 0 }),
    }
}

async fn compute(world: &World, closing: &Closing) -> Vec<Statement> {
    settlement::compute(&world.session().await, closing, &Ledger::default()).await.unwrap()
}

/// Keeps a closing's statements, as whoever follows the stream does.
async fn keep(world: &World, closing: &Closing) {
    let closed = closing.closed.unwrap();
    let place = Place { offset: closed.offset, recorded_at: closed.at };
    let session = world.session().await;
    let ledger = Ledger::before(&session, Some(closed.offset)).await.unwrap();
    let made = settlement::compute(&session, closing, &ledger).await.unwrap();
    let next = i64::try_from(closed.offset).unwrap() + 1;
    for (table, rows) in [
        (kept::LINES, kept::line_rows(&made, place).unwrap()),
        (kept::STATEMENTS, kept::statement_rows(&made, closing, place).unwrap()),
    ] {
        let positions = Positions::from([(format!("{table}/0"), next)]);
        let table = world.table(table).await;
        table.positions(&[format!("{}/0", table.schema().name)]).await.unwrap();
        table.commit(vec![rows], &positions).await.unwrap();
    }
}

fn summary(statement: &Statement) -> (String, i64, i64, i64, i64) {
    let (amount, grantor) = (statement.amount_cents(), statement.grantor_cents());
    (statement.number.to_string(), amount, grantor, statement.vat_cents(), statement.lines())
}

#[tokio::test]
async fn a_statement_is_the_sum_of_its_month_up_to_the_closing() {
    let world = world().await;
    let statements = compute(&world, &closing("2025-01", 6)).await;
    let found: Vec<_> = statements.iter().map(summary).collect();
    // VAT contained: 0.90 × 21/121 = 0.156 and 12.10 × 21/121 = 2.10; a merchant's own benefit has
    // no contract.
    let expected = [
        ("market-market-2025-01".to_owned(), 200, 200, 0, 1),
        ("riga-market-2025-01".to_owned(), 1_360, 1_300, 16 + 210, 3),
    ];
    assert_eq!(found, expected);
    let bread = &statements[1].rows[0];
    assert_eq!((bread.instruction.as_str(), bread.uses, bread.lines), ("bread", 1, 2));
}

#[tokio::test]
async fn a_refund_belongs_to_its_own_month() {
    let world = world().await;
    let statements = compute(&world, &closing("2025-02", 7)).await;
    let found: Vec<_> = statements.iter().map(summary).collect();
    assert_eq!(found, [("riga-market-2025-02".to_owned(), -1_210, -1_210, -210, 0)]);
}

#[tokio::test]
async fn a_closed_period_gives_the_same_bytes_whatever_comes_later() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let closing = closing("2025-01", 6);
    keep(&world, &closing).await;
    let mut written = Vec::new();
    for _ in 0..2 {
        let session = world.session().await;
        let (told, files) =
            settlement::export(&session, &closing, None, folder.path(), day()).await.unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!(files.last().unwrap(), "pain001-riga-2025-01.xml");
        let read = |name: &String| std::fs::read(folder.path().join(name)).unwrap();
        written.push(files.iter().map(read).collect::<Vec<_>>());
        let late = line(7, ("riga", "market"), "bread", "2025-01-02", ["5.00", "5.00"]);
        world.land("benefit_lines", 8, &[late]).await;
    }
    assert_eq!(written[0], written[1]);
    let text = |at: usize| String::from_utf8(written[0][at].clone()).unwrap();
    let csv = "statement,grantor,merchant,period,state,instruction,uses,lines,units,benefit_eur,\
        grantor_eur,excess_eur,vat_rate_percent,vat_eur\r\n\
        market-market-2025-01,market,market,2025-01,closed,club,1,1,1,2.00,2.00,0.00,,0.00\r\n\
        riga-market-2025-01,riga,market,2025-01,closed,bread,1,2,2,1.50,0.90,0.00,21.00,0.16\r\n\
        riga-market-2025-01,riga,market,2025-01,closed,milk,1,1,1,12.10,12.10,0.00,21.00,2.10\r\n";
    assert_eq!(text(0), csv);
    let payments = "statement,grantor,merchant,period,state,benefit_eur,grantor_eur,excess_eur,\
        vat_eur,carried_in_eur,payable_eur,carried_out_eur\r\n\
        market-market-2025-01,market,market,2025-01,closed,2.00,2.00,0.00,0.00,0.00,0.00,0.00\r\n\
        riga-market-2025-01,riga,market,2025-01,closed,13.60,13.00,0.00,2.26,0.00,13.00,0.00\r\n";
    assert_eq!(text(1), payments);
    let json: Value = serde_json::from_str(&text(2)).unwrap();
    assert_eq!(json["closed_at"], "2025-02-03T00:00:00.000Z");
    assert_eq!(json["statements"][1]["grantor_cents"], 1_300);
    assert_eq!(json["statements"][1]["payable_cents"], 1_300);
    let order = text(4);
    for said in [
        "<MsgId>riga-2025-01</MsgId>",
        "<CtrlSum>13.00</CtrlSum>",
        "<InstdAmt Ccy=\"EUR\">13.00</InstdAmt>",
        "<EndToEndId>riga-market-2025-01</EndToEndId>",
        "<Nm>Rigas pasvaldiba</Nm>",
        "<IBAN>LV65HABA0000055100001</IBAN>",
    ] {
        assert!(order.contains(said), "{said} in {order}");
    }
    assert!(!order.contains("market-market"), "nobody pays oneself");
}

#[tokio::test]
async fn what_comes_later_is_a_correction_and_less_than_nothing_is_carried() {
    let world = world().await;
    let first = closing("2025-01", 6);
    keep(&world, &first).await;
    let closed = |offset: u64| Some(Closed { at: first.closed.unwrap().at, offset });
    // February is a refund alone: nothing is paid, and the next statement takes it off.
    let february = Closing { closed: closed(1), ..closing("2025-02", 7) };
    keep(&world, &february).await;
    let late = [
        line(7, ("riga", "market"), "bread", "2025-01-02", ["5.00", "5.00"]),
        line(8, ("riga", "corner"), "bread", "2025-01-03", ["1.00", "1.00"]),
    ];
    world.land("benefit_lines", 9, &late).await;
    let correction = Closing {
        correction: 1,
        from_offsets: vec![6],
        end_offsets: vec![9],
        closed: closed(2),
        ..first.clone()
    };
    keep(&world, &correction).await;
    let last = line(9, ("riga", "market"), "milk", "2025-01-03", ["8.00", "8.00"]);
    world.land("benefit_lines", 10, &[last]).await;
    let again = Closing {
        correction: 2,
        from_offsets: vec![9],
        end_offsets: vec![10],
        closed: closed(3),
        ..first.clone()
    };
    keep(&world, &again).await;
    let rows = world
        .rows(
            "SELECT statement, grantor_part, carried_in, payable, carried_out \
             FROM settlement_statements_current WHERE grantor_id = 'riga' ORDER BY source_offset, 1",
        )
        .await;
    let rows: Vec<_> = rows.iter().map(|row| row.join(" ")).collect();
    assert_eq!(
        rows,
        [
            "riga-market-2025-01 13.00 0.00 13.00 0.00",
            "riga-market-2025-02 -12.10 0.00 0.00 -12.10",
            "riga-corner-2025-01-K1 1.00 0.00 1.00 0.00",
            // 9.99 and 5.00 of January came after its closing; 12.10 is carried from February.
            "riga-market-2025-01-K1 14.99 -12.10 2.89 0.00",
            "riga-market-2025-01-K2 8.00 0.00 8.00 0.00",
        ]
    );
    // Kept statements say the same as computing them again.
    let session = world.session().await;
    let told = settlement::statements(&session, &correction).await.unwrap();
    let kept: Vec<_> = told.into_iter().map(|told| told.statement).collect();
    let ledger = Ledger::before(&session, Some(2)).await.unwrap();
    assert_eq!(kept, settlement::compute(&session, &correction, &ledger).await.unwrap());
}

#[tokio::test]
async fn an_excess_is_owed_where_the_grantor_bears_it() {
    let world = world().await;
    let excess = |offset: i64, bearer: &str, cents: [&str; 2]| {
        let line = line(offset, ("riga", "market"), "bread", "2025-03-01", cents);
        let line = with(line, "excess_amount", json!("3.00"));
        with(line, "excess_borne_by", json!(bearer))
    };
    let lines = [
        excess(7, "grantor", ["1.00", "1.00"]),
        excess(8, "grantor", ["0.00", "0.00"]),
        excess(9, "merchant", ["0.00", "0.00"]),
    ];
    world.land("benefit_lines", 10, &lines).await;
    let statements = compute(&world, &closing("2025-03", 10)).await;
    let [statement] = statements.as_slice() else { panic!("{statements:?}") };
    assert_eq!((statement.amount_cents(), statement.excess_cents()), (100, 600));
    assert_eq!((statement.owed_cents(), statement.payable_cents()), (700, 700));
    assert_eq!((statement.lines(), statement.rows[0].uses), (1, 1), "only what we gave is a use");
}

#[tokio::test]
async fn a_draft_knows_the_contract_as_it_is() {
    let world = world().await;
    let draft = Closing { closed: None, ..closing("2025-01", 6) };
    let told = settlement::statements(&world.session().await, &draft).await.unwrap();
    assert_eq!(told[1].statement.rows[1].vat_bp, Some(500));
    assert_eq!(told[1].state, StatementState::Draft);
}

#[tokio::test]
async fn a_party_without_an_account_is_named_and_nothing_is_ordered() {
    let world = world().await;
    let line = line(7, ("riga", "kiosk"), "bread", "2025-01-02", ["5.00", "5.00"]);
    world.land("benefit_lines", 8, &[line]).await;
    let closing = closing("2025-01", 8);
    keep(&world, &closing).await;
    let folder = tempfile::tempdir().unwrap();
    let session = world.session().await;
    let refused =
        settlement::export(&session, &closing, None, folder.path(), day()).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("the merchant kiosk has no account"), "{text}");
    assert!(folder.path().join("statements-2025-01.csv").is_file());
    let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
    assert!(files.into_iter().all(|name| !name.to_string_lossy().ends_with(".xml")));
}

#[tokio::test]
async fn what_has_not_landed_is_not_settled() {
    let world = world().await;
    let session = world.session().await;
    let ledger = Ledger::default();
    let found = settlement::compute(&session, &closing("2025-01", 8), &ledger).await;
    assert!(matches!(found, Err(WarehouseError::NotLanded { next: 7, end: 8, .. })), "{found:?}");
    // A closing whose statements are not kept yet is early, too.
    let found = settlement::statements(&session, &closing("2025-01", 6)).await;
    assert!(matches!(found, Err(WarehouseError::NotLanded { .. })), "{found:?}");
}

/// The day on which files are made, a Saturday.
fn day() -> NaiveDate {
    "2025-02-08".parse().unwrap()
}

fn told(about: About, outcome: Outcome, cents: Option<i64>) -> Entry {
    let reason = outcome.is_refusal().then(|| "AC04".to_owned());
    Entry { about, outcome, cents, reason }
}

/// Takes what a bank says, as whoever follows the stream does; answers what fits no statement.
async fn take(world: &World, offset: u64, entries: &[Entry]) -> Vec<&'static str> {
    let session = world.session().await;
    let (kind, message_id) = (Kind::Camt053, format!("B-{offset}"));
    let sender = "HABALV22".to_owned();
    let file = BankFile { kind, sender, message_id, entries: entries.to_vec() };
    let matched = bank::matched(&session, &file).await.unwrap();
    let changes: Vec<_> = matched
        .told
        .into_iter()
        .map(|(statement, outcome, reason)| Change { statement, state: outcome.state(), reason })
        .collect();
    let recorded_at = "2025-02-05T00:00:00Z".parse().unwrap();
    let place = Place { offset, recorded_at };
    let rows = kept::change_rows(&session, &changes, place).await.unwrap();
    let next = i64::try_from(offset).unwrap() + 1;
    for table in [kept::LINES, kept::STATEMENTS] {
        let rows = if table == kept::STATEMENTS { rows.clone() } else { Vec::new() };
        let positions = Positions::from([(format!("{table}/0"), next)]);
        let table = world.table(table).await;
        table.positions(&[format!("{}/0", table.schema().name)]).await.unwrap();
        table.commit(rows, &positions).await.unwrap();
    }
    matched.unmatched.into_iter().map(|(_, why)| why).collect()
}

#[tokio::test]
async fn what_a_bank_says_late_or_twice_is_never_paid_for_again() {
    let world = world().await;
    let others = [line(7, ("jurmala", "corner"), "bread", "2025-01-02", ["5.00", "5.00"])];
    world.land("benefit_lines", 8, &others).await;
    let jurmala = json!({"entry_id": "jurmala", "name_lv": "Jūrmala", "source_offset": 2,
        "iban": "LV17RIKO0000002013131", "recorded_at": "2025-01-01T00:00:00Z"});
    world.land("registry_grantors", 3, &[jurmala]).await;
    let closing = closing("2025-01", 8);
    keep(&world, &closing).await;
    let payment = |reference: &str| About::Payment(reference.into());
    let order = |id: &str| About::Order(id.into());

    // A bank returns payments of two grantors: each has an order of its own for them.
    let paid = [
        told(payment("riga-market-2025-01"), Outcome::Paid, Some(2_299)),
        told(payment("jurmala-corner-2025-01"), Outcome::Paid, Some(500)),
        told(payment("jurmala-corner-2025-01"), Outcome::Paid, Some(500)),
    ];
    assert_eq!(take(&world, 1, &paid).await, ["it is paid already"], "a double debit is told");
    let refused = told(order("riga-2025-01"), Outcome::Rejected, None);
    assert_eq!(take(&world, 2, &[refused]).await, ["it is paid already"]);
    let back = [
        told(payment("riga-market-2025-01"), Outcome::Returned, Some(2_299)),
        told(payment("jurmala-corner-2025-01"), Outcome::Returned, Some(500)),
    ];
    assert_eq!(take(&world, 3, &back).await, [""; 0]);
    let session = world.session().await;
    let all = settlement::statements(&session, &closing).await.unwrap();
    let orders = settlement::orders(&session, &closing, closing.closed.unwrap(), &all, day()).await;
    let orders = orders.unwrap();
    let named: Vec<_> = orders.iter().map(|order| (order.id.as_str(), order.file_name())).collect();
    let files: std::collections::BTreeSet<_> = named.iter().map(|(_, file)| file).collect();
    assert_eq!((orders.len(), files.len()), (4, 4), "{named:?}");
    assert!(orders.iter().all(|order| order.payments.len() == 1), "{named:?}");
    // What is ordered again is paid on the next day on which banks work, as that of the closing has passed.
    let days: Vec<_> = orders.iter().map(|order| order.pays_on.to_string()).collect();
    assert_eq!(days, ["2025-02-03", "2025-02-03", "2025-02-10", "2025-02-10"]);

    // What is said of the first attempt changes nothing of the second.
    let late = [
        told(payment("riga-market-2025-01"), Outcome::Returned, Some(2_299)),
        told(payment("riga-market-2025-01"), Outcome::Accepted, None),
    ];
    let unknown = "no statement has this reference";
    assert_eq!(take(&world, 4, &late).await, [unknown, unknown]);
    let second = told(payment("riga-market-2025-01-R1"), Outcome::Paid, Some(2_299));
    assert_eq!(take(&world, 5, &[second]).await, [""; 0]);
    // What is sent again is in the order by which it is, and what is paid is ordered no more.
    let taken = told(payment("jurmala-corner-2025-01-R1"), Outcome::Accepted, None);
    assert_eq!(take(&world, 6, &[taken]).await, [""; 0]);
    let session = world.session().await;
    let all = settlement::statements(&session, &closing).await.unwrap();
    let orders = settlement::orders(&session, &closing, closing.closed.unwrap(), &all, day()).await;
    let again = orders.unwrap().into_iter().flat_map(|order| order.payments);
    let again: Vec<_> = again
        .filter(|of| of.refusals > 0)
        .map(|of| (of.statement.to_string(), of.refusals))
        .collect();
    assert_eq!(again, [("jurmala-corner-2025-01".to_owned(), 1)]);
    let states = "SELECT statement, state, refusals FROM settlement_statements_current \
        WHERE payable > 0 ORDER BY statement";
    let states: Vec<_> = world.rows(states).await.iter().map(|row| row.join(" ")).collect();
    assert_eq!(states, ["jurmala-corner-2025-01 sent 1", "riga-market-2025-01 paid 1"]);
}
