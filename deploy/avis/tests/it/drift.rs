//! `avis verify`: what drifts is named, and nothing else is.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{avis, packaged_baskets, scale, succeeded, up::Server};
use plant::{Random, plant};

mod plant;

/// Drifts in one copy, each in a store of its own.
const PLANTED: usize = 5;

/// What a verification tells.
pub fn verify(folder: &Path) -> (bool, Value) {
    verify_with(folder, &[])
}

/// As [`verify`], with settings from the environment.
pub fn verify_with(folder: &Path, settings: &[(&str, &str)]) -> (bool, Value) {
    let mut command = avis();
    command.envs(settings.iter().copied()).args(["verify", "--json", "--data"]).arg(folder);
    let output = command.output().expect("run");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let findings = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}{error}"));
    (output.status.success(), findings)
}

/// Asserts that nothing drifts, and that something was compared.
pub fn agrees(folder: &Path) -> Value {
    let (success, told) = verify(folder);
    assert!(success && told["drifts"] == json!([]) && told["not_named"] == 0, "{told:#}");
    assert!(told["rows"].as_u64() > Some(0), "{told:#}");
    told
}

pub fn run(folder: &Path, arguments: &[&str]) -> String {
    succeeded(&avis().args(arguments).arg("--data").arg(folder).output().expect("run"))
}

/// A demo of two runs, the second late for months that are closed, with statements sent, paid and refused.
fn late_demo(place: &Path, baskets: usize) -> PathBuf {
    let folder = place.join("demo");
    let all: Vec<_> = packaged_baskets().into_iter().step_by(23_160 / baskets).collect();
    let in_time: Vec<_> = all.iter().enumerate().filter(|(at, _)| at % 10 != 9).collect();
    let in_time = in_time.into_iter().map(|(_, basket)| basket.clone()).collect();
    for some in [in_time, all] {
        let file = place.join("baskets.ndjson");
        std::fs::write(&file, some.join("\n")).expect("written");
        let mut demo = avis();
        demo.args(["demo", "--json", "--baskets"]).arg(&file).arg("--out").arg(&folder);
        succeeded(&demo.output().expect("run"));
    }
    let corrected = run(&folder, &["settle", "close", "--period", "2025-01"]);
    assert!(corrected.contains("2025-01-K1"), "{corrected}");
    let sent = run(&folder, &["settle", "sent", "--period", "2025-01"]);
    let number = |line: &str| line.strip_suffix(" is sent").map(str::to_owned);
    let numbers: Vec<_> = sent.lines().filter_map(number).collect();
    assert!(numbers.len() > 3, "{sent}");
    let answer = place.join("answer.xml");
    std::fs::write(&answer, status_report(&numbers)).expect("written");
    let told = run(&folder, &["settle", "import", answer.to_str().expect("text")]);
    assert!(told.contains("rejected"), "{told}");
    orders_of_another_day(&folder);
    folder
}

/// What a bank refused is ordered with the accounts of the day, so that a file of before may be another.
fn orders_of_another_day(folder: &Path) {
    let settlements = folder.join("settlements");
    let out = settlements.to_str().expect("text");
    let told = run(folder, &["settle", "export", "--period", "2025-01", "--out", out]);
    let again = told.lines().map(str::trim).filter(|name| name.starts_with("pain001-AVIS-"));
    let again: Vec<_> = again.filter(|name| name.contains("-R")).collect();
    assert!(!again.is_empty(), "{told}");
    for name in again {
        std::fs::write(settlements.join(name), "of another day").expect("written");
    }
}

/// The bank takes every other payment and refuses the rest.
fn status_report(numbers: &[String]) -> String {
    let payments = numbers.iter().enumerate().map(|(at, number)| {
        let status = match at % 2 {
            0 => "<TxSts>ACSC</TxSts>",
            _ => "<TxSts>RJCT</TxSts><StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf>",
        };
        format!("<TxInfAndSts><OrgnlEndToEndId>{number}</OrgnlEndToEndId>{status}</TxInfAndSts>")
    });
    format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.002.001.10\"><CstmrPmtStsRpt>\
         <GrpHdr><MsgId>B-1</MsgId></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>x</OrgnlMsgId>\
         </OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>x</OrgnlPmtInfId>{}\
         </OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>",
        payments.collect::<String>()
    )
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let beside = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &beside);
        } else {
            std::fs::copy(entry.path(), beside).expect("copied");
        }
    }
}

#[test]
fn every_drift_is_named_and_none_where_there_is_none() {
    let place = tempfile::tempdir().expect("a folder");
    let scale = scale();
    let folder = late_demo(place.path(), if scale > 1 { 23_160 } else { 4_632 });
    let told = agrees(&folder);
    println!("{} records, {} rows in {} s", told["records"], told["rows"], told["seconds"]);
    let mut random = Random::new(20_250_115);
    // At scale one a handful; at ten a hundred in twenty copies.
    let copies = (2 * scale).min(20);
    let mut planted = 0;
    for number in 0..copies {
        let other = place.path().join(format!("copy-{number}"));
        copy(&folder, &other);
        let plants = plant(&other, &mut random, PLANTED);
        planted += plants.len();
        let (success, told) = verify(&other);
        assert!(!success, "{plants:?}: {told:#}");
        let drifts = told["drifts"].as_array().expect("a list");
        for plant in &plants {
            let of_store = drifts.iter().filter(|of| of["store"] == plant.store.as_str());
            let named: Vec<_> = of_store.collect();
            let is_named =
                |of: &&Value| of["key"].as_str().is_some_and(|key| key.contains(&plant.key));
            assert!(named.iter().any(is_named), "{plant:?} is not named: {told:#}");
            assert!(named.len() <= plant.most, "{plant:?}: {told:#}");
        }
        let others = drifts.iter().filter(|of| {
            plants.iter().all(|plant| of["store"] != plant.store.as_str())
                // What a drifting statement pays drifts with it.
                && !matches!(of["store"].as_str(), Some("payment orders" | "files of finance"))
        });
        assert_eq!(others.count(), 0, "{plants:?}: {told:#}");
        std::fs::remove_dir_all(&other).expect("removed");
    }
    agrees(&folder);
    // What is on the stream and in no table yet, as after a kill, is told and is no drift.
    for table in ["settlement_statements", "settlement_lines"] {
        std::fs::remove_dir_all(folder.join("warehouse").join(table)).expect("removed");
    }
    let told = agrees(&folder);
    assert!(told["notes"].to_string().contains("closings have not landed yet"), "{told:#}");
    println!("{planted} drifts in {copies} copies, all named, no other");
}

/// What a terminal asks, under a key.
pub fn ask(server: &Server, token: &str, path: &str, key: &str, body: &Value) -> Value {
    let header = format!("Idempotency-Key: {key}\r\n");
    let (status, _, answer) = server.ask(token, "POST", path, &header, body);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

const REGISTRY: &str = include_str!("drift/registry.yaml");

#[test]
fn nothing_drifts_in_the_middle_of_what_becomes_of_sales() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("data");
    let registry = place.path().join("registry.yaml");
    std::fs::write(&registry, REGISTRY).expect("written");
    std::fs::create_dir_all(folder.join("log")).expect("a folder");
    run(&folder, &["registry", "apply", registry.to_str().expect("text")]);
    let cards = place.path().join("means.ndjson");
    let card = |number| {
        let card = json!({"person": null, "issuer": "city-card", "kind": "card_uid",
            "value": format!("04A2{number:02}"), "valid_from": "2025-01-01", "valid_to": null});
        format!("{card}\n")
    };
    std::fs::write(&cards, (0..4).map(card).collect::<String>()).expect("written");
    run(&folder, &["load", "means", cards.to_str().expect("text")]);
    let token = run(&folder, &["token", "issue", "--role", "terminal", "--subject", "T1"]);
    let token = token.trim();
    // Reservations of the first run stay open; those of the second end at once.
    for (round, hold) in ["15", "0"].into_iter().enumerate() {
        let server = Server::start_with(&folder, &[("AVIS__AUTHORISER__HOLD_MINUTES", hold)]);
        server.wait_until_ready();
        for number in 0..12 {
            become_of_it(&server, token, round * 100 + number, hold == "0");
        }
        uploads(&server, token, round);
        // What has just been decided is landing, and some of it has landed.
        server.stop();
        let told = agrees(&folder);
        assert!(told["compared"]["benefit_lines"]["found"].as_u64() > Some(5), "{told:#}");
        assert!(told["compared"]["index counters"]["found"].as_u64() > Some(0), "{told:#}");
    }
    let told = agrees(&folder);
    assert!(told["compared"]["index held"]["found"].as_u64() > Some(0), "{told:#}");
    // Killed, it has rows that have not landed: they are told, and are no drift.
    let server = Server::start(&folder);
    server.wait_until_ready();
    for number in 1_000..1_020 {
        become_of_it(&server, token, number, false);
    }
    drop(server);
    agrees(&folder);
}

fn become_of_it(server: &Server, token: &str, number: usize, ended: bool) {
    let mode = if number.is_multiple_of(3) { "sale" } else { "reserve" };
    let basket = json!({"terminal_id": "T1", "occurred_at": chrono::Utc::now().to_rfc3339(),
        "mode": mode, "means": {"kind": "card_uid", "value": format!("04A2{:02}", number % 4)},
        "lines": [{"line": 1, "item": "milk", "category": "food.milk", "quantity": 3,
        "unit_price_cents": 333}, {"line": 2, "item": "bread", "quantity": 1, "unit_price_cents": 99}]});
    let sold = ask(server, token, "/v1/authorisations", &format!("k{number}"), &basket);
    let path = |what: &str| {
        format!("/v1/authorisations/{}/{what}", sold["authorisation_id"].as_str().expect("an id"))
    };
    let key = |what: &str| format!("{what}{number}");
    if ended && mode == "reserve" {
        return;
    }
    match number % 6 {
        0 => {
            let some = json!({"lines": [{"line": 1, "quantity": 1}]});
            ask(server, token, &path("refunds"), &key("r"), &some);
        }
        1 => drop(ask(server, token, &path("capture"), &key("c"), &json!({}))),
        2 => drop(ask(server, token, &path("void"), &key("v"), &json!({}))),
        4 => {
            let undo = json!({"terminal_id": "T1", "idempotency_key": format!("k{number}")});
            ask(server, token, "/v1/reversals", &key("u"), &undo);
        }
        _ => {}
    }
}

/// Baskets of a terminal that was offline: one gave more than we would have.
fn uploads(server: &Server, token: &str, round: usize) {
    let at = chrono::Utc::now().to_rfc3339();
    for (number, cents) in [(0, 50), (1, 700), (2, 0)] {
        let mut basket = json!({"terminal_id": "T1", "occurred_at": at, "mode": "offline",
            "idempotency_key": format!("o{round}-{number}"),
            "lines": [{"line": 1, "item": "milk", "category": "food.milk", "quantity": 2,
            "unit_price_cents": 400}]});
        if cents > 0 {
            basket["applied"] = json!([{"instruction": "milk", "line": 1, "amount_cents": cents}]);
        }
        let header = format!("Idempotency-Key: b{round}-{number}\r\n");
        let path = "/v1/transactions:batch";
        let (status, ..) = server.ask(token, "POST", path, &header, &basket);
        assert_eq!(status, 200);
    }
    let blocked = json!({"terminal_id": "T1", "idempotency_key": format!("never-{round}")});
    ask(server, token, "/v1/reversals", &format!("n{round}"), &blocked);
}
