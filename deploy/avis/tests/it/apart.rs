//! Four processes, a role each: what one process does, with what one of them cannot do while another is away.
//!
//! They run where `AVIS_TEST_FLUVIO` names a cluster's controller as `host:port`, and `AVIS_TEST_S3` a storage
//! with the bucket `avis-test` for the user `avis` (its secret `avis-secret`).

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write, stderr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    LINES, are_published, avis, data, expected, packaged,
    recipient::{SENIOR, is_enrolled_buys_and_sees},
    redis::{Redis, port},
    succeeded,
    talk::{Node, Talk, own_token, sql, today, token, until},
    traces::{CALLER, CALLERS, collector},
    up::Server,
};

/// Where the services are, or a loud word that they are not.
fn services() -> Option<(String, String)> {
    let named = ["AVIS_TEST_FLUVIO", "AVIS_TEST_S3"].map(|name| (name, std::env::var(name)));
    for (name, value) in &named {
        if value.is_err() {
            // What a test that passes prints by `eprintln!` is not shown.
            let _ = writeln!(stderr(), "SKIPPED: {name} names no service that roles apart share");
        }
    }
    let [(_, fluvio), (_, storage)] = named;
    Some((fluvio.ok()?, storage.ok()?))
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
            ("AVIS__REDIS__URLS", redis.url()),
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

    /// What a command says over the folder of a role.
    fn told(&self, role: &str, arguments: &[&str]) -> String {
        let mut command = self.avis();
        command.args(arguments).arg("--data").arg(self.folder.join(role));
        succeeded(&command.output().expect("run"))
    }

    /// What an administrator sees of the tables.
    fn rows(&self, warehouse: &Server, query: &str) -> Vec<String> {
        let token = self.token("administrator", "", "admin");
        sql(warehouse, "admin", &token, query).expect("an answer")
    }

    /// How many authorisations the warehouse sees, each once.
    fn seen(&self, warehouse: &Server) -> i64 {
        let query = "SELECT COUNT(*), COUNT(DISTINCT authorisation_id) FROM authorisations";
        let rows = self.rows(warehouse, query);
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
    let mut all = Installation::new(services, place.path());
    let (steps, collector) = collector();
    all.settings.push(("AVIS__TRACES__URL", collector));
    all.settings.push(("AVIS__TRACES__KEY", "secret".to_owned()));
    all.settings.push(("AVIS__TRACES__PER_MILLION", "1000000".to_owned()));
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
    let last = somebody.buys(&till, "a3");
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

    // Asked by one process, decided by another and landed by a third it is one trace, which the
    // terminal's own is linked with.
    let steps = steps.spans(&last["authorisation_id"]);
    let step = |name: &str| {
        let found = steps.iter().find(|step| step.name == name);
        found.unwrap_or_else(|| panic!("no step {name}: {steps:#?}"))
    };
    for name in ["authorise", "decide", "append", "land authorisations"] {
        step(name);
    }
    let asked = step("POST /v1/authorisations");
    let callers: Vec<_> = asked.links.iter().map(|link| link.trace_id.as_slice()).collect();
    assert_eq!(callers, [CALLERS.to_be_bytes()]);
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
        let header = format!("Idempotency-Key: {key}\r\ntraceparent: {CALLER}\r\n");
        let path = "/v1/authorisations";
        let (status, _, told) = till.server.ask(&till.token, "POST", path, &header, &basket);
        (status, told)
    }
}

/// The demo's files, each after what it is loaded as, in the order in which the demo loads them.
const LOADED: [(&str, &str); 5] = [
    ("persons", "persons.ndjson.gz"),
    ("means", "means.ndjson.gz"),
    ("transactions", "baskets.ndjson.gz"),
    ("events", "service-events.ndjson.gz"),
    ("events", "portal-events.ndjson.gz"),
];

/// The demo's baskets are of past months. They are uploads, decided as of their own instants, so the clock
/// of today gives the same; only windows have closed before they come, and those tables are left out.
#[test]
fn four_processes_meet_the_published_numbers() {
    let Some(services) = services() else { return };
    let place = tempfile::tempdir().expect("a folder");
    let mut all = Installation::new(services, place.path());
    all.settings.push(("AVIS__PIPELINES__COMMIT_SECONDS", "10".to_owned()));
    let file = |name: &str| data(name).display().to_string();
    all.told("connectors", &["registry", "apply", &file("registry.yaml.gz")]);
    for (what, name) in LOADED {
        let told = all.told("connectors", &["load", what, &file(name)]);
        assert!(told.contains(" 0 already there, 0 refused"), "{told}");
    }
    let connectors = all.start("connectors");
    let authoriser = all.start("authoriser");
    let pipelines = all.start("pipelines");
    let warehouse = all.start("warehouse");
    let node = Node::of(connectors, place.path().join("connectors"), place);

    let published = Published(expected());
    let baskets = published.0["transactions"].as_i64().expect("a number");
    // As long as it goes on, it may take as long as a slow machine needs.
    for part in 1..=8 {
        let decided = || (all.seen(&warehouse) >= baskets * part / 8).then_some(());
        until(&format!("{part} of 8 parts of the baskets"), decided);
    }
    let landed = published.landed();
    until("every row", || (all.rows(&warehouse, ROWS) == [landed.as_str()]).then_some(()));
    assert_eq!(all.rows(&warehouse, TOTALS), [published.totals()]);
    assert_eq!(all.rows(&warehouse, DECISIONS), published.decisions());
    let given = "amount_cents,grantor_cents";
    let used = format!("uses,lines,units,{given}");
    assert_eq!(all.rows(&warehouse, INSTRUCTIONS), published.rows("instructions", &used));
    let owed = format!("{given},lines");
    assert_eq!(all.rows(&warehouse, SETTLEMENTS), published.rows("settlements", &owed));
    are_published(all.rows(&warehouse, LINES));

    // The same statements, by the one address; one of their months is closed, as the demo closes it.
    let finance = node.talk("finance", "", "anna");
    until("a month is closed", || {
        let month = json!({"period": "2025-01"});
        (finance.try_post("/v1/settlements", "closed", &month).0 == 200).then_some(())
    });
    for month in ["2024-12", "2025-01", "2025-02"] {
        let stated = until(month, || {
            let (status, told) = finance.try_get(&format!("/v1/settlements?period={month}"));
            (status == 200).then(|| stated(&told))
        });
        assert_eq!(stated, published.stated(month), "{month}");
    }
    node.server.stop();
    for server in [authoriser, pipelines, warehouse] {
        server.stop();
    }
    let checked = all.told("warehouse", &["settle", "check"]);
    assert!(checked.contains("the books balance: 30 statements"), "{checked}");
}

const ROWS: &str = "SELECT (SELECT COUNT(*) FROM persons_current) AS persons, \
    (SELECT COUNT(*) FROM benefit_lines) AS benefits, \
    (SELECT COUNT(*) FROM transaction_lines) AS lines, \
    (SELECT COUNT(*) FROM services) AS services, (SELECT COUNT(*) FROM portal_usage) AS uses";
const TOTALS: &str = "SELECT COUNT(*), CAST(SUM(total) * 100 AS BIGINT), \
    CAST(SUM(benefit) * 100 AS BIGINT), SUM(points_earned) FROM authorisations";
const DECISIONS: &str = "SELECT decision, COUNT(*) FROM authorisations \
    GROUP BY decision ORDER BY decision";
const INSTRUCTIONS: &str = "SELECT instruction_id, COUNT(DISTINCT authorisation_id), COUNT(*), \
    SUM(units), CAST(SUM(amount) * 100 AS BIGINT), CAST(SUM(grantor_amount) * 100 AS BIGINT) \
    FROM benefit_lines GROUP BY instruction_id ORDER BY instruction_id";
const SETTLEMENTS: &str = "SELECT grantor_id || '-' || merchant_id || '-' || month AS statement, \
    CAST(SUM(amount) * 100 AS BIGINT), CAST(SUM(grantor_amount) * 100 AS BIGINT), COUNT(*) \
    FROM (SELECT grantor_id, merchant_id, amount, grantor_amount, \
    SUBSTR(CAST(date AS VARCHAR), 1, 7) AS month FROM benefit_lines) AS lines \
    GROUP BY grantor_id, merchant_id, month ORDER BY statement";

/// The published answer, as rows say it.
struct Published(BTreeMap<String, Value>);

impl Published {
    /// How many rows there are of what comes as it comes, whenever that is.
    fn landed(&self) -> String {
        let lines = |name| packaged(name).into_iter();
        let of = |file, kinds: &[&str]| {
            let is_of = |line: &String| kinds.iter().any(|kind| line.contains(kind));
            lines(file).filter(is_of).count()
        };
        let instructions = self.0["instructions"].as_object().into_iter().flatten();
        let benefits: i64 = instructions.filter_map(|(_, of)| of["lines"].as_i64()).sum();
        let sold = lines("baskets.ndjson.gz").map(|basket| {
            let basket: Value = serde_json::from_str(&basket).expect("JSON");
            basket["lines"].as_array().expect("lines").len()
        });
        let counts = [
            lines("persons.ndjson.gz").count().to_string(),
            benefits.to_string(),
            sold.sum::<usize>().to_string(),
            of("service-events.ndjson.gz", &["service.completed"]).to_string(),
            of("portal-events.ndjson.gz", &["portal.e-service.used", "portal.login"]).to_string(),
        ];
        counts.join(",")
    }

    fn totals(&self) -> String {
        ["transactions", "total_cents", "benefit_cents", "points_earned"]
            .map(|name| self.0[name].to_string())
            .join(",")
    }

    fn decisions(&self) -> Vec<String> {
        let mut rows: Vec<_> =
            self.of("decisions").map(|(of, many)| format!("{of},{many}")).collect();
        rows.sort_unstable();
        rows
    }

    /// What is published of each of several, by name: these fields of it.
    fn rows(&self, list: &str, fields: &str) -> Vec<String> {
        let row = |(name, of): (&String, &Value)| {
            let values = fields.split(',').map(|field| of[field].to_string());
            format!("{name},{}", values.collect::<Vec<_>>().join(","))
        };
        let mut rows: Vec<_> = self.of(list).map(row).collect();
        rows.sort_unstable();
        rows
    }

    /// The amounts of a month's statements.
    fn stated(&self, month: &str) -> BTreeMap<String, i64> {
        let of_month = self.of("settlements").filter(|(number, _)| number.ends_with(month));
        let amounts =
            of_month.filter_map(|(number, of)| Some((number, of["amount_cents"].as_i64()?)));
        amounts.map(|(number, cents)| (number.clone(), cents)).collect()
    }

    fn of(&self, list: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.0[list].as_object().into_iter().flatten()
    }
}

/// The amounts of statements, by number.
fn stated(told: &Value) -> BTreeMap<String, i64> {
    let statements = told["statements"].as_array().into_iter().flatten();
    let amount =
        |of: &Value| Some((of["statement"].as_str()?.to_owned(), of["amount_cents"].as_i64()?));
    statements.filter_map(amount).collect()
}
