//! A centre's specialist and an official over the wire: the board, live; calls from the asking to the
//! rating; a hand-over; services with the mandate that one needs; and what the tables say of it, with the
//! subsidy by its formula.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::mpsc,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    avis, succeeded,
    talk::{Node, Talk, sql, token, until},
    up::Server,
};

fn registry() -> Value {
    json!({
        "centres": [{"id": "ligatne", "name": "Library", "kind": "library", "territory": "LV0042000"},
            {"id": "daugavpils", "name": "Centre", "kind": "centre", "territory": "LV0002000"}],
        "institutions": [{"id": "vsaa", "name": "VSAA"}, {"id": "vid", "name": "VID"}],
        "services": [
            {"id": "PAK_03", "name": "Consultation", "criteria": {"max_wait_seconds": 300,
                "min_answered_bp": 9000, "min_resolved_bp": 7000, "min_rating": 4.5}},
            {"id": "PAK_05", "name": "On behalf"}],
        "officials": [
            {"id": "ilze", "institution": "vsaa", "services": ["PAK_03"], "languages": ["lv"]},
            {"id": "juris", "institution": "vid", "services": ["PAK_03"], "languages": ["lv"]}],
        // Of two that hold at once the one that began last does.
        "subsidies": [{"from": "2024-01-01", "base_cents": {"centre": 1, "library": 1, "mobile": 1},
            "per_service_cents": {"PAK_03": 1}, "quality": {"floor_bp": 0}},
            {"from": "2025-01-01", "base_cents": {"centre": 150_000, "library": 30_000,
            "mobile": 60_000}, "per_service_cents": {"PAK_03": 401, "PAK_05": 600},
            "quality": {"floor_bp": 5000}}],
    })
}

/// The board as it is told, message by message.
struct Board(mpsc::Receiver<Value>);

impl Board {
    fn listen(talk: &Talk<'_>) -> Self {
        let mut stream = TcpStream::connect(talk.server.address()).expect("connected");
        write!(
            stream,
            "GET /v1/officials/board HTTP/1.1\r\nHost: avis\r\nAuthorization: Bearer {}\r\n\r\n",
            talk.token
        )
        .expect("sent");
        let (told, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stream).lines().map_while(Result::ok);
            let data = lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
            for data in data {
                let message = serde_json::from_str(&data).expect("JSON");
                // The test has seen enough.
                if told.send(message).is_err() {
                    return;
                }
            }
        });
        Self(messages)
    }

    /// Waits until the board has told that an official stands so.
    fn hears(&self, official: &str, state: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.0.recv_timeout(left);
            let message = message.unwrap_or_else(|_| panic!("{official} is not told {state}"));
            let officials = message["officials"].as_array().expect("a list");
            if officials.iter().any(|of| of["official"] == official && of["state"] == state) {
                return;
            }
        }
    }
}

#[test]
fn a_call_goes_from_the_asking_to_the_rating_and_services_to_the_subsidy() {
    let node = Node::start(&[]);
    node.talk("administrator", "", "olga").put("/v1/registry", &registry());
    let centre = node.talk("centre", "ligatne", "Anna Ozola");
    let (ilze, juris) =
        (node.talk("official", "vsaa", "ilze"), node.talk("official", "vid", "juris"));
    until("the desk knows the registry", || {
        (centre.try_get("/v1/officials").0 == 200).then_some(())
    });
    until("the officials are known", || (ilze.try_get("/v1/officials").0 == 200).then_some(()));
    let board = Board::listen(&ilze);
    board.hears("ilze", "offline");
    let visit = visited(&centre);
    let call = called(&centre, &ilze, &juris, &board);
    centre.post(
        "/v1/services:complete",
        "c1",
        &json!({"visit": visit, "outcome": "resolved", "call": call}),
    );
    on_behalf(&centre, &node.talk("centre", "daugavpils", "Pēteris"));
    let watching = node.talk("operator", "", "otto");
    assert_eq!(watching.get("/v1/calls")["calls"].as_array().map(Vec::len), Some(2));
    // What a call is about is nobody's business but its centre's and its official's.
    assert_eq!(watching.get(&format!("/v1/calls/{call}")).get("address"), None);
    let other = node.talk("centre", "daugavpils", "Pēteris");
    assert_eq!(other.try_get(&format!("/v1/calls/{call}")).0, 404);
    node.server.stop();
    told(&node.folder);
}

/// A service begins for somebody; under the same key it is the same.
fn visited(centre: &Talk<'_>) -> String {
    let begin = json!({"service": "PAK_03", "channel": "remote"});
    let visit = centre.post("/v1/services:start", "v1", &begin);
    assert_eq!(centre.post("/v1/services:start", "v1", &begin), visit);
    visit["visit"].as_str().expect("an id").to_owned()
}

/// A call that waits, is taken, is handed over to another institution, and is rated there.
fn called(centre: &Talk<'_>, ilze: &Talk<'_>, juris: &Talk<'_>, board: &Board) -> String {
    let mut ask = json!({"institution": "vsaa", "service": "PAK_03", "language": "lv",
        "client_identified": false});
    let (status, refused) = centre.try_post("/v1/calls", "r1", &ask);
    assert_eq!((status, &refused["errors"][0]["pointer"]), (422, &json!("/client_identified")));
    ask["client_identified"] = json!(true);
    let asked = centre.post("/v1/calls", "r2", &ask);
    assert_eq!((&asked["state"], &asked["position"]), (&json!("waiting"), &json!(1)), "{asked}");
    let id = asked["call"].as_str().expect("an id").to_owned();
    let of = |step: &str| format!("/v1/calls/{id}/{step}");
    let stands = |talk: &Talk<'_>, who: &str, state: &str| {
        talk.put(&format!("/v1/officials/{who}/availability"), &json!({"state": state}));
    };
    // Whoever becomes free is offered it at once.
    stands(ilze, "ilze", "available");
    let offered = ilze.get(&format!("/v1/calls/{id}"));
    assert_eq!((&offered["state"], &offered["official"]), (&json!("offered"), &json!("ilze")));
    assert_eq!(juris.try_get(&format!("/v1/calls/{id}")).0, 404, "another's");
    assert_eq!(ilze.post(&of("accept"), "a1", &Value::Null)["state"], "accepted");
    board.hears("ilze", "busy");
    let connected = centre.post(&of("connect"), "a2", &Value::Null);
    assert_eq!(connected["state"], "connected");
    let theirs = ilze.get(&format!("/v1/calls/{id}"))["address"].clone();
    assert!(theirs.is_string() && connected["address"].is_string(), "{theirs} {connected}");

    stands(juris, "juris", "available");
    let next = ilze.post(&of("hand-over"), "h1", &json!({"institution": "vid"}));
    let next = next["call"].as_str().expect("an id").to_owned();
    assert_ne!(next, id);
    board.hears("ilze", "available");
    let of = |step: &str| format!("/v1/calls/{next}/{step}");
    juris.post(&of("accept"), "b1", &Value::Null);
    juris.post(&of("connect"), "b2", &Value::Null);
    juris.post(&of("end"), "b3", &json!({"resolved": true}));
    let rated = centre.post(&of("rating"), "b4", &json!({"rating": 4}));
    assert_eq!((&rated["state"], &rated["rating"]), (&json!("ended"), &json!(4)), "{rated}");
    assert_eq!(rated["continues"], json!(id));
    stands(ilze, "ilze", "offline");
    board.hears("ilze", "offline");
    next
}

/// Applying on somebody's behalf needs the number of the written mandate.
fn on_behalf(centre: &Talk<'_>, other: &Talk<'_>) {
    let mut begin = json!({"service": "PAK_05", "channel": "in_person"});
    let (status, refused) = centre.try_post("/v1/services:start", "m1", &begin);
    assert_eq!((status, &refused["code"]), (422, &json!("missing_field")), "{refused}");
    begin["mandate"] = json!("P-2026/17");
    let visit = centre.post("/v1/services:start", "m2", &begin)["visit"].clone();
    let done = json!({"visit": visit, "outcome": "resolved"});
    assert_eq!(other.try_post("/v1/services:complete", "m3", &done).0, 404, "another centre's");
    assert_eq!(centre.post("/v1/services:complete", "m4", &done)["state"], "completed");
}

/// What the tables have, as an analyst asks. A call is told two hours after its last event, so that its
/// rating is in its row: time goes on by an event of a later hour.
fn told(folder: &std::path::Path) {
    let later = json!({"specversion": "1.0", "id": "later", "source": "/vpvkac/test",
        "type": "lv.vpvkac.official.offline", "time": (Utc::now() + TimeDelta::hours(3)).to_rfc3339(),
        "data": {"official": "nobody", "institution": "vsaa"}});
    let file = folder.with_extension("ndjson");
    std::fs::write(&file, later.to_string()).expect("written");
    let mut load = avis();
    load.args(["load", "events"]).arg(&file).arg("--data").arg(folder);
    succeeded(&load.output().expect("run"));

    let server = Server::start(folder);
    server.wait_until_ready();
    let analyst = token(folder, "analyst", "", "analyst");
    let ask = |query: &str| sql(&server, "analyst", &analyst, query).expect("rows");
    let calls = "SELECT institution_id, official_id, abandoned, rating, resolved, \
                 connected_at >= accepted_at, waiting_seconds < 60, talking_seconds < 60 \
                 FROM calls ORDER BY requested_at";
    let rows = until("both calls", || Some(ask(calls)).filter(|rows| rows.len() == 2));
    assert_eq!(rows, ["vsaa,ilze,f,,,t,t,t", "vid,juris,f,4,t,t,t,t"]);
    let services =
        "SELECT service_id, channel, outcome, official_id FROM services ORDER BY service_id";
    assert_eq!(ask(services), ["PAK_03,remote,resolved,juris", "PAK_05,in_person,resolved,"]);
    // PAK_03: wait, answered and resolved are met, the rating is not: three of four, of 4.01 euro. PAK_05
    // has no criteria: whole. A library's base is beside them; the centre that gave nothing has its own.
    let quality = "SELECT centre_id, COALESCE(service_id, '-'), criteria_asked, criteria_met, \
                   COALESCE(quality_bp, 0), subsidy FROM centre_quality_current ORDER BY 1, 2";
    let rows = until("the month's quality", || Some(ask(quality)).filter(|rows| rows.len() == 4));
    assert_eq!(
        rows,
        [
            "daugavpils,-,,,0,1500.00",
            "ligatne,-,4,3,0,309.01",
            "ligatne,PAK_03,4,3,7500,3.01",
            "ligatne,PAK_05,0,0,10000,6.00",
        ]
    );
    server.stop();
}

/// Of several nodes over the same streams one gives calls; the others say so, and everything else goes on.
#[test]
fn a_node_without_the_desk_says_that_it_gives_no_calls() {
    let node = Node::start(&[("AVIS__CALLS__DESK", "false")]);
    let olga = node.talk("administrator", "", "olga");
    olga.put("/v1/registry", &registry());
    let centre = node.talk("centre", "ligatne", "Anna Ozola");
    let ask = json!({"institution": "vsaa", "service": "PAK_03", "language": "lv",
        "client_identified": true});
    let (status, told) = centre.try_post("/v1/calls", "r1", &ask);
    assert_eq!((status, &told["code"]), (503, &json!("no_desk")), "{told}");
    for path in ["/v1/calls", "/v1/officials", "/v1/officials/board"] {
        assert_eq!(centre.try_get(path).0, 503, "{path}");
    }
    assert_eq!(Talk::new(&node.server, "").try_get("/v1/calls").0, 401);
    assert_eq!(olga.get("/v1/officials/ilze")["institution"], "vsaa");
    node.server.stop();
}
