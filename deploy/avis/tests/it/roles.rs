//! Every role at every route, for its own organisation and for another: let in or refused as `roles.csv`
//! says.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{avis, succeeded, up::Server};

/// A line for each route: its method and path, and of each role whether it is let in (`yes`), only where it
/// is its own (`own`), or refused whatever it asks for (`no`). The last column is of who shows no token.
/// `UPDATE_GOLDEN=1` writes what is seen; look at it as at code.
const TABLE: &str = include_str!("roles.csv");
const ROLES: [&str; 12] = [
    "terminal",
    "merchant",
    "grantor",
    "issuer",
    "administrator",
    "operator",
    "recipient",
    "finance",
    "analyst",
    "official",
    "centre",
    "source",
];

/// One entry of each kind, all of them `x`'s, in an order in which nothing is missing.
fn entries() -> Vec<(&'static str, Value)> {
    vec![
        // Whose tag is "0"; nobody looks at it again.
        ("merchants/first", json!({})),
        ("grantors/x", json!({"kind": "municipality"})),
        ("merchants/x", json!({})),
        ("places/x", json!({"merchant": "x", "territory": "LV0001000"})),
        ("terminals/x", json!({"place": "x", "kind": "till"})),
        ("catalogue/x%2Fx", json!({"merchant": "x", "item": "x", "category": "food"})),
        ("contracts/x", json!({"grantor": "x", "merchant": "x", "from": "2025-01-01"})),
        ("issuers/x", json!({"means": ["card_uid"]})),
        ("groups/x", json!({"grantor": "x", "where": "status = 'alive'"})),
        ("benefits/x", json!({"grantor": "x"})),
        (
            "instructions/x",
            json!({"benefit": "x", "version": 1, "valid": {"from": "2100-01-01"}, "priority": 1,
                "recipients": {"any": ["x"]}, "effect": {"percent_off_bp": 1},
                "funding": {"grantor_bp": 0}}),
        ),
        ("e-services/x", json!({"merchant": "x", "url": "https://x.lv", "login_basket": "public"})),
        ("centres/x", json!({"kind": "library", "territory": "LV0001000"})),
        ("institutions/x", json!({"name": "x"})),
        ("services/x", json!({"name": "x"})),
        ("officials/x", json!({"institution": "x", "services": ["x"], "languages": ["lv"]})),
        ("subsidies/2025-01-01", json!({"from": "2025-01-01"})),
        ("drafts/x", json!({})),
    ]
}

/// The path of a route with `x` in every place, and what is put there.
fn asked(route: &str) -> (String, Value) {
    let kind = route.split('/').nth(2).unwrap_or_default();
    let known = entries().into_iter().rev().find(|(path, _)| path.split('/').next() == Some(kind));
    let id = known.as_ref().and_then(|(path, _)| path.split_once('/')).map_or("x", |(_, id)| id);
    let path = route.replace("{id}", id);
    let steps = path.split('/').map(|step| if step.starts_with('{') { "x" } else { step });
    let is_entry = route.ends_with("/{id}");
    let body = match kind {
        "means" => json!({"status": "blocked"}),
        _ if is_entry => known.map_or(json!({}), |(_, entry)| entry),
        _ => json!({}),
    };
    (steps.collect::<Vec<_>>().join("/"), body)
}

fn token(folder: &Path, role: &str, organisation: &str) -> String {
    let subject = match (role, organisation) {
        ("recipient", "x") => "00000000000000000000000001",
        ("recipient", _) => "00000000000000000000000002",
        _ => organisation,
    };
    // Sources are not told apart by organisation here: who may send all kinds of events names none.
    let organisation = if role == "source" { "" } else { organisation };
    let mut command = avis();
    command.args(["token", "issue", "--role", role, "--subject", subject]);
    command.args(["--organisation", organisation, "--data"]).arg(folder);
    succeeded(&command.output().expect("run")).trim().to_owned()
}

static KEYS: AtomicU64 = AtomicU64::new(0);

/// The status of an answer; its body, which may never end, is not waited for.
fn status(address: &str, method: &str, path: &str, body: &Value, token: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let bearer = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    let body = if matches!(method, "POST" | "PUT") { body.to_string() } else { String::new() };
    // Each under a key of its own: whoever has asked one thing under it may ask nothing else.
    let key = KEYS.fetch_add(1, Ordering::Relaxed);
    // What is put is what is there; what is removed was never seen, so that it stays.
    let seen = if method == "DELETE" { "\"0\"" } else { "*" };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: avis\r\nConnection: close\r\n{bearer}If-Match: {seen}\r\n\
         Content-Type: application/json\r\nIdempotency-Key: k{key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).expect("a status line");
    let text = String::from_utf8_lossy(&head[9..]).into_owned();
    text.parse().expect("a status")
}

fn described(server: &Server) -> BTreeSet<String> {
    let (_, _, description) = server.ask("", "GET", "/openapi.json", "", &Value::Null);
    let paths = description["paths"].as_object().expect("paths");
    // Generators of clients, and API managers, name what they make by these.
    let operations = paths.values().flat_map(|item| item.as_object().expect("an item").values());
    let names = operations.filter_map(|operation| operation["operationId"].as_str());
    let (mut all, mut once) = (0, BTreeSet::new());
    for name in names {
        all += 1;
        assert!(once.insert(name), "two operations are called {name}");
    }
    assert!(all > 100, "{all} operations have names");
    let routes = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("an item").keys();
        let methods =
            methods.filter(|name| ["get", "put", "post", "delete"].contains(&name.as_str()));
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    routes.collect()
}

/// What the statuses of somebody for their own and of somebody for another's come to.
fn word(own: u16, other: u16) -> String {
    let is_in = |status: u16| !matches!(status, 401 | 403) && (status < 500 || status == 503);
    match (is_in(own), is_in(other) && other != 404) {
        (true, true) => "yes".into(),
        // What is another's is as what does not exist.
        (true, false) if other == 404 && own == 404 => "yes".into(),
        (true, false) if matches!(other, 403 | 404) => "own".into(),
        (false, false) if own == 403 && matches!(other, 403 | 404) => "no".into(),
        _ => format!("{own}/{other}"),
    }
}

#[test]
fn every_role_is_let_in_or_refused_as_the_table_says() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("data");
    let tokens = ROLES.map(|role| [token(&folder, role, "x"), token(&folder, role, "y")]);
    let administrator = &tokens[4][0];
    let server = Server::start_with(&folder, &[("AVIS__REGISTRY__APPROVAL", "false")]);
    server.wait_until_ready();
    for (path, entry) in entries() {
        let path = format!("/v1/{path}");
        // A draft is a grantor's.
        let by = if path.starts_with("/v1/drafts") { &tokens[2][0] } else { administrator };
        let (status, _, told) = server.ask(by, "PUT", &path, "", &entry);
        assert_eq!(status, 201, "{path}: {told}");
    }
    // The desk follows the registry.
    let deadline = Instant::now() + Duration::from_secs(20);
    while status(server.address(), "GET", "/v1/officials", &Value::Null, &tokens[9][0]) != 200 {
        assert!(Instant::now() < deadline, "the desk does not know the official");
    }
    let mut seen = format!("route,{},nobody\n", ROLES.join(","));
    for route in described(&server) {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let (path, body) = asked(path);
        let status = |token: &str| status(server.address(), method, &path, &body, token);
        let cells = tokens.iter().map(|[own, other]| word(status(own), status(other)));
        let mut cells: Vec<_> = cells.collect();
        cells.push(if status("") == 401 { "no".into() } else { "yes".into() });
        seen.push_str(&format!("{route},{}\n", cells.join(",")));
    }
    server.stop();
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/roles.csv");
        std::fs::write(file, &seen).expect("written");
        return;
    }
    let differing = seen.lines().filter(|line| !TABLE.lines().any(|told| told == *line));
    let differing: Vec<_> = differing.collect();
    assert!(differing.is_empty(), "not as the table says:\n{}", differing.join("\n"));
    assert_eq!(seen.lines().count(), TABLE.lines().count(), "a route of the table is not there");
}
