//! Statements over a small set of lines made by hand.

use domain::period::Month;
use serde_json::{Value, json};
use warehouse::{
    error::WarehouseError,
    settlement::{self, Closing, Statement},
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
    world
}

fn closing(period: &str, end: u64) -> Closing {
    let closed_at = Some("2025-02-03T00:00:00Z".parse().unwrap());
    Closing { period: Month::parse(period).unwrap(), end_offsets: vec![end], closed_at }
}

fn summary(statement: &Statement) -> (String, i64, i64, i64, i64) {
    let (amount, grantor) = (statement.amount_cents(), statement.grantor_cents());
    (statement.number.to_string(), amount, grantor, statement.vat_cents(), statement.lines())
}

#[tokio::test]
async fn a_statement_is_the_sum_of_its_month_up_to_the_closing() {
    let world = world().await;
    let statements =
        settlement::statements(&world.session().await, &closing("2025-01", 6)).await.unwrap();
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
    let statements =
        settlement::statements(&world.session().await, &closing("2025-02", 7)).await.unwrap();
    let found: Vec<_> = statements.iter().map(summary).collect();
    assert_eq!(found, [("riga-market-2025-02".to_owned(), -1_210, -1_210, -210, 0)]);
}

#[tokio::test]
async fn a_closed_period_gives_the_same_bytes_whatever_comes_later() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let closing = closing("2025-01", 6);
    let mut written = Vec::new();
    for _ in 0..2 {
        settlement::export(&world.session().await, &closing, folder.path()).await.unwrap();
        let read = |ending| {
            std::fs::read_to_string(folder.path().join(format!("statements-2025-01.{ending}")))
                .unwrap()
        };
        written.push((read("csv"), read("json")));
        let late = line(7, ("riga", "market"), "bread", "2025-01-02", ["5.00", "5.00"]);
        world.land("benefit_lines", 8, &[late]).await;
    }
    assert_eq!(written[0], written[1]);
    let csv = "statement,grantor,merchant,period,state,instruction,uses,lines,units,benefit_eur,\
        grantor_eur,vat_rate_percent,vat_eur\r\n\
        market-market-2025-01,market,market,2025-01,closed,club,1,1,1,2.00,2.00,,0.00\r\n\
        riga-market-2025-01,riga,market,2025-01,closed,bread,1,2,2,1.50,0.90,21.00,0.16\r\n\
        riga-market-2025-01,riga,market,2025-01,closed,milk,1,1,1,12.10,12.10,21.00,2.10\r\n";
    assert_eq!(written[0].0, csv);
    let json: Value = serde_json::from_str(&written[0].1).unwrap();
    assert_eq!(json["closed_at"], "2025-02-03T00:00:00.000Z");
    assert_eq!(json["statements"][1]["grantor_cents"], 1_300);
}

#[tokio::test]
async fn a_draft_knows_the_contract_as_it_is() {
    let world = world().await;
    let draft = Closing { closed_at: None, ..closing("2025-01", 6) };
    let statements = settlement::statements(&world.session().await, &draft).await.unwrap();
    assert_eq!(statements[1].rows[1].vat_bp, Some(500));
}

#[tokio::test]
async fn what_has_not_landed_is_not_settled() {
    let world = world().await;
    let found = settlement::statements(&world.session().await, &closing("2025-01", 8)).await;
    assert!(matches!(found, Err(WarehouseError::NotLanded { next: 7, end: 8, .. })), "{found:?}");
}
