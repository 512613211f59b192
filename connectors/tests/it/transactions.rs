//! Files of transactions: what is good lands, what is not is told with its reason and its line.

use std::{io::Read, sync::Arc};

use connectors::{
    load::{self, Account},
    terminal::{Terminals, TransactionFiles},
};
use ingest::{
    dead_letter::Reason,
    topic::Topic,
    wire::v1::{Event, TransactionUploaded},
};
use serde_json::{Value, json};

use crate::{Node, real_registry};

pub fn basket(key: &str) -> Value {
    json!({
        "terminal_id": "T-000381", "occurred_at": "2025-01-02T12:56:33+02:00",
        "idempotency_key": key, "means": {"kind": "card_uid", "value": "6F4D104B7B98B2"},
        "mode": "offline",
        "lines": [
            {"line": 1, "item": "p985893", "category": "grocery.soft-drinks", "quantity": 1,
             "unit_price_cents": 209},
            {"line": 2, "item": "p1", "quantity": 0.755, "unit_price_cents": 199,
             "attributes": {"brand": "own"}},
        ],
        "receipt": {"number": "31198676055"},
    })
}

/// The basket with one field, by its pointer, another; the field may be new.
pub fn with(key: &str, pointer: &str, value: Value) -> String {
    let mut basket = basket(key);
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    match basket.pointer_mut(parent).expect("a place") {
        Value::Object(object) => drop(object.insert(name.to_owned(), value)),
        Value::Array(list) => list[name.parse::<usize>().expect("a place")] = value,
        other => panic!("{other} holds nothing"),
    }
    basket.to_string()
}

/// What a terminal says it gave on some lines.
fn gave(on: &[(u32, i64)]) -> Value {
    on.iter().map(|(line, cents)| given("coupons", *line, *cents)).collect()
}

fn given(instruction: &str, line: u32, cents: i64) -> Value {
    json!({"instruction": instruction, "line": line, "amount_cents": cents})
}

fn connector(node: &Node) -> TransactionFiles {
    TransactionFiles {
        terminals: Arc::new(Terminals::of(&real_registry().registry)),
        vault: node.context.vault.clone(),
        clock: Arc::clone(&node.context.clock),
    }
}

async fn load(node: &Node, reader: impl Read + Send + 'static, origin: &str) -> Account {
    let mut told = 0;
    let connector = connector(node);
    let account = load::load(&node.context, connector, reader, origin, |lines| told += lines);
    let account = account.await.expect("loaded");
    assert_eq!(told, account.lines, "progress tells of every line");
    let sum = account.taken + account.already_there + account.refused_in_all();
    assert_eq!(sum, account.lines, "every line has one fate");
    account
}

async fn uploads(node: &Node) -> Vec<TransactionUploaded> {
    let records = node.records(Topic::TerminalTransactions).await.into_iter();
    let upload = |record: ingest::record::Record| match record.event {
        Event::TransactionUploaded(upload) => upload,
        other => panic!("{other:?} among the uploads"),
    };
    records.map(upload).collect()
}

#[tokio::test]
async fn broken_lines_spoil_no_other() {
    // Each line, the reason it is refused for, and what its detail names.
    let broken: Vec<(String, Reason, &str)> = vec![
        ("{\"terminal_id\": \"T-0".into(), Reason::MalformedJson, "column"),
        ("7".into(), Reason::WrongType, "must be an object"),
        (with("b1", "/terminal_id", json!("T-nowhere")), Reason::UnknownTerminal, "/terminal_id"),
        (with("b2", "/lines/1/quantity", json!(-1)), Reason::InvalidQuantity, "/lines/1"),
        (with("b3", "/lines/0/quantity", json!(0)), Reason::InvalidQuantity, "/lines/0"),
        (with("b4", "/lines/1/quantity", json!("2")), Reason::WrongType, "/lines/1/quantity"),
        (with("b5", "/lines/1/quantity", json!(0.1234)), Reason::InvalidQuantity, "/lines/1"),
        (with("b6", "/lines", json!({})), Reason::WrongType, "/lines: must be a list"),
        (with("b7", "/lines", json!([])), Reason::InvalidValue, "/lines"),
        (with("b8", "/lines/0/unit_price_cents", json!(1.5)), Reason::WrongType, "/lines/0/unit"),
        (with("b9", "/lines/0/unit_price_cents", json!(-5)), Reason::InvalidValue, "/lines/0"),
        (
            with("b10", "/lines/0/unit_price_cents", json!(99_999_999_999_999_999_999_f64)),
            Reason::Overflow,
            "/lines/0/unit_price_cents",
        ),
        (
            with("b11", "/lines/0/unit_price_cents", json!(i64::MAX)),
            Reason::Overflow,
            "/lines/0/unit_price_cents",
        ),
        (with("b12", "/lines/1/line", json!(1)), Reason::InvalidValue, "/lines/1"),
        (with("b13", "/colour", json!("red")), Reason::UnknownField, "/colour"),
        (with("b14", "/lines/0/colour", json!("red")), Reason::UnknownField, "/lines/0/colour"),
        (with("b15", "/mode", json!("sale")), Reason::InvalidValue, "/mode"),
        (with("b16", "/occurred_at", json!("2025-01-02T12:56:33")), Reason::InvalidValue, "/occ"),
        (with("b17", "/means/kind", json!("tattoo")), Reason::InvalidValue, "/means/kind"),
        (with("b18", "/idempotency_key", json!(null)), Reason::MissingField, "idempotency_key"),
        (with("b19", "/spend_points", json!("all")), Reason::InvalidValue, "/spend_points"),
        (with("b20", "/applied", json!([{"line": 1}])), Reason::MissingField, "/applied/0"),
        (
            with("b21", "/mode", json!("offline")).replacen('{', "{\"mode\":\"sale\",", 1),
            Reason::InvalidValue,
            "stands twice",
        ),
        (
            with("b22", "/lines/1/quantity", json!(1))
                .replace("\"quantity\":1,", "\"quantity\":1.00000000000000000001,"),
            Reason::InvalidQuantity,
            "three decimals",
        ),
        (
            with("b23", "/lines/0/quantity", json!(1))
                .replace("\"quantity\":1,", "\"quantity\":1e1,"),
            Reason::InvalidQuantity,
            "exponent",
        ),
        (with("b24", "/applied", gave(&[(1, 210)])), Reason::InvalidValue, "/applied/0: makes"),
        (
            with("b25", "/applied", gave(&[(1, 100), (2, 150), (1, 110)])),
            Reason::InvalidValue,
            "/applied/2: makes it more than the line costs",
        ),
        (
            with("b26", "/applied", gave(&[(3, 1)])),
            Reason::InvalidValue,
            "/applied/0: is on no line",
        ),
        (
            with("b27", "/applied", (0..=100).map(|of| given(&format!("i{of}"), 1, 1)).collect()),
            Reason::InvalidValue,
            "/applied/100: makes it more than 100 instructions on the line",
        ),
        ("[".repeat(100_000), Reason::MalformedJson, "column"),
        ("\u{0}\u{1}".into(), Reason::MalformedJson, "column"),
    ];
    let mut lines = Vec::new();
    for (at, (line, _, _)) in broken.iter().enumerate() {
        lines.push(basket(&format!("good-{at}")).to_string());
        lines.push(line.clone());
    }
    let text = lines.join("\n");
    // A line of ten megabytes, and one that is no text at all, before a last good one.
    let long = std::io::repeat(b'x').take(10 << 20);
    let rest = format!("\n{}\n", basket("last"));
    let reader = std::io::Cursor::new(text)
        .chain(&b"\n\xff\xfe\n"[..])
        .chain(long)
        .chain(std::io::Cursor::new(rest));
    let node = Node::new();
    let account = load(&node, reader, "file.ndjson").await;

    let good = broken.len() as u64 + 1;
    assert_eq!((account.taken, account.refused_in_all()), (good, good + 1), "{account:?}");
    let letters = node.dead_letters().await;
    for (at, (line, reason, named)) in broken.iter().enumerate() {
        let number = 2 * at as u64 + 2;
        let letter = letters.iter().find(|letter| letter.line == number).expect("a dead letter");
        assert_eq!(letter.reason, reason.code(), "{line:.120}: {}", letter.detail);
        assert!(letter.detail.contains(named), "{line:.120}: {}", letter.detail);
        assert_eq!(
            (letter.origin.as_str(), letter.connector.as_str()),
            ("file.ndjson", "terminal")
        );
        let payload = node.context.vault.unseal_for_node(&letter.payload).expect("unsealed");
        assert_eq!(payload, line.as_bytes()[..line.len().min(64 << 10)]);
        assert!(!letter.detail.contains("6F4D104B7B98B2"), "a value in {}", letter.detail);
    }
    let number = 2 * broken.len() as u64 + 2;
    let letter = letters.iter().find(|letter| letter.line == number).expect("a dead letter");
    assert_eq!((letter.reason.as_str(), letter.payload_bytes), ("line_too_long", 10 << 20));
    let keys: Vec<_> =
        uploads(&node).await.into_iter().map(|upload| upload.idempotency_key).collect();
    let expected = (0..broken.len()).map(|at| format!("good-{at}")).chain(["last".into()]);
    assert_eq!(keys, expected.collect::<Vec<_>>(), "in the order of the file");
}

#[tokio::test]
async fn a_transaction_is_what_the_terminal_sent() {
    let node = Node::new();
    let mut spending = basket("k");
    spending["spend_points"] = json!("max");
    // Half of one line at a time, and the whole of the other.
    spending["applied"] = gave(&[(1, 50), (1, 159), (2, 150)]);
    load(&node, std::io::Cursor::new(spending.to_string()), "file").await;
    let upload = uploads(&node).await.pop().expect("an upload");
    assert_eq!(upload.terminal_id, "T-000381");
    assert_eq!(upload.occurred_at, 1_735_815_393_000_000);
    assert_eq!(upload.receipt_number.as_deref(), Some("31198676055"));
    assert_eq!((upload.spend_points, upload.says_applied), (-1, true));
    let applied = upload.applied.iter().map(|of| (of.line, of.amount_cents));
    assert_eq!(applied.collect::<Vec<_>>(), [(1, 50), (1, 159), (2, 150)]);
    assert_eq!(upload.lines[0].quantity_thousandths, 1_000);
    assert_eq!(upload.lines[1].quantity_thousandths, 755);
    assert_eq!(upload.lines[1].attributes["brand"], "own");
    let token = upload.means_token.expect("a token");
    assert!(!token.contains("6F4D") && token.len() == 26);
}

#[tokio::test]
async fn what_one_instruction_gave_may_be_said_cent_by_cent() {
    let node = Node::new();
    let said = with("k", "/applied", gave(&[(1, 1); 209]));
    let account = load(&node, std::io::Cursor::new(said), "file").await;
    assert_eq!(account.taken, 1, "{account:?}");
}

#[tokio::test]
async fn a_key_belongs_to_its_terminal_and_to_one_body() {
    let node = Node::new();
    let first = basket("key").to_string();
    // The same body with its fields in another order and other blanks is the same.
    let spaced = first.replace(',', " , ");
    let elsewhere = with("key", "/terminal_id", json!("T-000380"));
    let other = with("key", "/lines/0/quantity", json!(2));
    let text = [first.clone(), spaced, elsewhere, other].join("\n");
    let account = load(&node, std::io::Cursor::new(text), "file").await;
    assert_eq!((account.taken, account.already_there), (2, 1), "{account:?}");
    assert_eq!(account.refused[&Reason::DuplicateKey], 1);
    // From another file, and after a restart, too.
    let account = load(&node, std::io::Cursor::new(first), "other").await;
    assert_eq!((account.taken, account.already_there), (0, 1));
}

#[tokio::test]
async fn a_file_that_breaks_off_is_loaded_up_to_there_and_goes_on_later() {
    use std::io::Write;

    let node = Node::new();
    let lines: Vec<_> = (0..5_000).map(|at| basket(&format!("k{at}")).to_string()).collect();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(lines.join("\n").as_bytes()).expect("packed");
    let packed = packed.finish().expect("packed");
    let cut = std::io::Cursor::new(packed[..packed.len() / 2].to_vec());
    let reader = connectors::lines::gunzip(cut);
    let broken = load::load(&node.context, connector(&node), reader, "cut.gz", |_| {}).await;
    assert!(broken.expect_err("broken off").to_string().contains("cut.gz"));
    let there = uploads(&node).await.len() as u64;
    assert!(there > 500 && there < 5_000, "{there}");

    let whole = connectors::lines::gunzip(std::io::Cursor::new(packed));
    let account = load(&node, whole, "cut.gz").await;
    assert_eq!((account.already_there, account.taken), (there, 5_000 - there));
    assert_eq!(uploads(&node).await.len(), 5_000);
}
