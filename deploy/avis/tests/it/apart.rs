//! Four processes, a role each: what one process does, with what one of them cannot do while another is away.
//!
//! They run where `AVIS_TEST_FLUVIO` names a cluster's controller as `host:port`, and `AVIS_TEST_S3` a storage
//! with the bucket `avis-test` for the user `avis` (its secret `avis-secret`).

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    avis,
    recipient::{SENIOR, is_enrolled_buys_and_sees},
    succeeded,
    talk::{Node, Talk, own_token, sql, today, token, until},
    up::Server,
};

/// Where the services are, or a loud word that they are not.
fn services() -> Option<(String, String)> {
    let named = ["AVIS_TEST_FLUVIO", "AVIS_TEST_S3"].map(|name| (name, std::env::var(name)));
    for (name, value) in &named {
        if value.is_err() {
            eprintln!("SKIPPED: {name} names no service that roles apart share");
        }
    }
    let [(_, fluvio), (_, storage)] = named;
    Some((fluvio.ok()?, storage.ok()?))
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port()
}

/// A Redis with its file.
struct Redis(Child, u16);

impl Redis {
    fn start(folder: &Path) -> Self {
        let port = port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--appendonly", "yes"])
            .args(["--save", "", "--maxmemory-policy", "noeviction", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("apt-get install redis-server"), port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the processes of an installation share, and where they are.
struct Installation {
    folder: PathBuf,
    settings: Vec<(&'static str, String)>,
    _redis: Redis,
}

impl Installation {
    fn new((fluvio, storage): (String, String), folder: &Path) -> Self {
        let redis = Redis::start(folder);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let near = || format!("http://127.0.0.1:{}", port());
        let settings = vec![
            ("AVIS__LOG__ENGINE", "fluvio".to_owned()),
            ("AVIS__FLUVIO__ENDPOINT", fluvio),
            ("AVIS__FLUVIO__TOPIC_PREFIX", format!("a{now}-")),
            ("AVIS__AUTHORISER__CACHE", "redis".to_owned()),
            ("AVIS__REDIS__URLS", format!("redis://127.0.0.1:{}", redis.1)),
            ("AVIS__TABLES__LOCATION", format!("s3://avis-test/a{now}")),
            ("AVIS__TABLES__ENDPOINT", storage),
            ("AVIS__TABLES__ACCESS_KEY", "avis".to_owned()),
            ("AVIS__TABLES__SECRET_KEY", "avis-secret".to_owned()),
            ("AVIS__ROLES__CONNECTORS", folder.join("connectors").display().to_string()),
            ("AVIS__ROLES__AUTHORISER", near()),
            ("AVIS__ROLES__WAREHOUSE", near()),
            ("AVIS__ROLES__PIPELINES", near()),
            ("AVIS__REGISTRY__APPROVAL", "false".to_owned()),
            // What is seen before it lands came over the wire.
            ("AVIS__PIPELINES__COMMIT_SECONDS", "3600".to_owned()),
        ];
        Self { folder: folder.to_path_buf(), settings, _redis: redis }
    }

    /// Where others find a role; anywhere, where nobody has to.
    fn known(&self, setting: &str) -> &str {
        let found = self.settings.iter().find(|(name, _)| *name == setting);
        found.and_then(|(_, address)| address.strip_prefix("http://")).unwrap_or(ANYWHERE)
    }

    fn avis(&self) -> Command {
        let mut command = avis();
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    fn start(&self, role: &str) -> Server {
        let (http, flight) = match role {
            "authoriser" => (self.known("AVIS__ROLES__AUTHORISER"), ANYWHERE),
            "warehouse" => (self.known("AVIS__ROLES__WAREHOUSE"), ANYWHERE),
            "pipelines" => (ANYWHERE, self.known("AVIS__ROLES__PIPELINES")),
            _ => (ANYWHERE, ANYWHERE),
        };
        let mut command = self.avis();
        command.args(["up", "--role", role, "--http", http, "--flight", flight]);
        command.args(["--grpc", ANYWHERE, "--postgres", ANYWHERE, "--data"]);
        command.arg(self.folder.join(role));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("run");
        let mut lines = BufReader::new(child.stdout.take().expect("output")).lines();
        let mut told = BTreeMap::new();
        loop {
            let line = lines.next().expect("it gets ready").expect("text");
            let Some((door, at)) = line.split_once(' ') else { break };
            let at = at.trim().rsplit("://").next().and_then(|at| at.split(['/', ' ']).next());
            told.insert(door.to_owned(), at.unwrap_or_default().to_owned());
        }
        std::thread::spawn(move || lines.for_each(drop));
        let door = |name: &str| told.get(name).cloned().unwrap_or_default();
        Server::of(child, door("http"), door("sql"))
    }

    fn token(&self, role: &str, organisation: &str, subject: &str) -> String {
        token(&self.folder.join("connectors"), role, organisation, subject)
    }

    /// How many authorisations the warehouse sees, each once.
    fn seen(&self, warehouse: &Server) -> i64 {
        let token = self.token("administrator", "", "admin");
        let query = "SELECT COUNT(*), COUNT(DISTINCT authorisation_id) FROM authorisations";
        let rows = sql(warehouse, "admin", &token, query).expect("an answer");
        let (rows, different) = rows[0].split_once(',').expect("two columns");
        assert_eq!(rows, different, "one is seen twice");
        rows.parse().expect("a number")
    }
}

const ANYWHERE: &str = "127.0.0.1:0";

#[test]
fn four_processes_do_what_one_does_and_what_is_killed_loses_nothing() {
    let Some(services) = services() else { return };
    let place = tempfile::tempdir().expect("a folder");
    let all = Installation::new(services, place.path());
    let connectors = all.start("connectors");
    let authoriser = all.start("authoriser");
    let pipelines = all.start("pipelines");
    let warehouse = all.start("warehouse");
    let node = Node::of(connectors, place.path().join("connectors"), place);
    is_enrolled_buys_and_sees(&node);

    // What was sold is seen in the tables, though nothing lands for an hour.
    let seen = |warehouse: &Server, sales: i64| {
        until(&format!("{sales} sales"), || (all.seen(warehouse) == sales).then_some(()));
    };
    let told = all.token("terminal", "shop", "T-1");
    let till = Talk::new(&node.server, &told);
    let before = until("the sales", || Some(all.seen(&warehouse)).filter(|seen| *seen > 1));
    let somebody = Anonymous::now();
    let sold = somebody.buys(&till, "a1");
    seen(&warehouse, before + 1);

    // Without pipelines there are the tables as they were last committed; sales go on.
    drop(pipelines);
    seen(&warehouse, 0);
    somebody.buys(&till, "a2");
    let pipelines = all.start("pipelines");
    seen(&warehouse, before + 2);

    // Without the authoriser nobody is answered; then the same keys bring the same.
    drop(authoriser);
    let (status, refused) = somebody.asks(&till, "a3");
    assert_eq!((status, &refused["code"]), (503, &json!("not_ready")), "{refused}");
    let authoriser = all.start("authoriser");
    let again = somebody.buys(&till, "a1");
    assert_eq!(again["authorisation_id"], sold["authorisation_id"]);
    let direct = Talk::new(&authoriser, &told);
    assert_eq!(somebody.buys(&direct, "a1"), again, "the same by both doors");
    somebody.buys(&till, "a3");
    seen(&warehouse, before + 3);

    // Reports and statements come from the warehouse, by the one address.
    let finance = node.talk("finance", "", "anna");
    let month = &today()[..7];
    let open = finance.get(&format!("/v1/settlements?period={month}"));
    assert_eq!(open["statements"][0]["amount_cents"], 400, "{open}");
    drop(warehouse);
    assert_eq!(finance.try_get("/v1/reports").0, 503);
    let warehouse = all.start("warehouse");
    seen(&warehouse, before + 3);

    // Who is erased where the keys are is forgotten by whoever reads them there.
    let me = own_token(&node.folder, SENIOR);
    let own = Talk::new(&authoriser, &me);
    assert_eq!(own.try_get("/v1/me/benefits").0, 200);
    node.server.stop();
    let mut erase = all.avis();
    erase.args(["person", "erase", SENIOR, "--yes", "--data"]).arg(&node.folder);
    succeeded(&erase.output().expect("run"));
    until("the person is forgotten", || (own.try_get("/v1/me/benefits").0 == 404).then_some(()));

    // Everybody stops as they should, and what was seen has landed.
    for server in [all.start("connectors"), authoriser, pipelines] {
        server.stop();
    }
    seen(&warehouse, before + 3);
    warehouse.stop();
}

/// Somebody who shows no card, at one instant, so that asking again is the same request.
struct Anonymous {
    at: String,
}

impl Anonymous {
    fn now() -> Self {
        Self { at: chrono::Utc::now().to_rfc3339() }
    }

    fn buys(&self, till: &Talk<'_>, key: &str) -> Value {
        let (status, sold) = self.asks(till, key);
        assert!(matches!(status, 200 | 201), "{status} {sold}");
        sold
    }

    fn asks(&self, till: &Talk<'_>, key: &str) -> (u16, Value) {
        let bread = json!({"line": 1, "item": "bread", "category": "food.bread", "quantity": 1,
            "unit_price_cents": 90});
        let basket = json!({"terminal_id": "T-1", "occurred_at": self.at, "mode": "sale",
            "lines": [bread]});
        till.try_post("/v1/authorisations", key, &basket)
    }
}
