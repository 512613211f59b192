//! Two hundred people whose codes, names, birth dates and cards nobody could mistake: whatever is logged,
//! counted, refused, landed or published, none of them is found in it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::{Days, NaiveDate, Utc};
use serde_json::{Value, json};

use crate::{avis, packaged_baskets, sql, succeeded, traces::collector, up::Server};

mod doors;

const PEOPLE: usize = 200;
/// Of so many one also comes by the doors that are not HTTP, where each is asked more.
const BY_EVERY_DOOR: usize = 10;
/// Everything that our own packages can say.
const LOGGED: &str = "info,avis=trace,authoriser=trace,connectors=trace,ingest=trace,\
                      pipelines=trace,warehouse=trace,domain=trace";

/// A planted person.
struct Canary {
    code: String,
    name: String,
    born: NaiveDate,
    card: String,
}

fn canaries() -> Vec<Canary> {
    let first = NaiveDate::from_ymd_opt(1_903, 1, 1).expect("a day");
    let canary = |at: usize| Canary {
        code: format!("32{:04}-9{:04}", 9_000 + at, 7_000 + at),
        name: format!("Kanārijputniņa-{at:03}"),
        born: first + Days::new(at as u64),
        card: format!("CAFE{at:04X}F00DBA"),
    };
    (0..PEOPLE).map(canary).collect()
}

impl Canary {
    /// How it might be written somewhere.
    fn forms(&self) -> [String; 6] {
        [
            self.code.clone(),
            self.code.replace('-', ""),
            self.name.to_lowercase(),
            self.born.to_string(),
            self.born.format("%d.%m.%Y").to_string(),
            self.card.to_lowercase(),
        ]
    }

    fn change(&self, sequence: u64) -> Value {
        json!({"specversion": "1.0", "id": format!("canary-{}-{sequence}", self.card),
            "source": "/dagr/persons", "type": "lv.dagr.person.changed", "subject": self.code,
            "time": "2024-12-01T00:00:00+02:00", "data": {"person": self.code, "sequence": sequence,
                "attributes": {"birth_date": self.born, "first_name": self.name, "status": "alive",
                    "territory": "LV0001000", "family_id": self.name, "pensioner": true,
                    "student": false, "large_family": true}}})
    }

    fn means(&self) -> Value {
        json!({"person": self.code, "issuer": "market-card", "kind": "card_uid",
            "value": self.card, "valid_from": "2024-12-01", "valid_to": null})
    }
}

fn lines(path: &Path, values: impl Iterator<Item = Value>) {
    let text: Vec<String> = values.map(|value| value.to_string()).collect();
    fs::write(path, text.join("\n")).expect("written");
}

/// A demo whose people are the canaries: every third basket of each is one that cannot be taken.
fn demo(place: &Path, people: &[Canary]) -> PathBuf {
    let [persons, means, baskets] =
        ["persons", "means", "baskets"].map(|name| place.join(name).with_extension("ndjson"));
    lines(&persons, people.iter().map(|canary| canary.change(1)));
    lines(&means, people.iter().map(Canary::means));
    let of = packaged_baskets().into_iter().take(3 * PEOPLE).enumerate().map(|(at, line)| {
        let mut basket: Value = serde_json::from_str(&line).expect("JSON");
        let canary = &people[at % PEOPLE];
        basket["means"] = json!({"kind": "card_uid", "value": canary.card});
        if at % 3 == 0 {
            basket["lines"][0]["quantity"] = json!(canary.name);
        }
        basket
    });
    lines(&baskets, of);
    let folder = place.join("demo");
    let mut command = avis();
    command.env("AVIS_LOG", LOGGED).args(["demo", "--json", "--persons"]).arg(&persons);
    command.arg("--means").arg(&means).arg("--baskets").arg(&baskets).arg("--out").arg(&folder);
    let output = command.output().expect("run");
    succeeded(&output);
    fs::write(place.join("demo.log"), [output.stdout, output.stderr].concat()).expect("written");
    folder
}

fn token(folder: &Path, role: &str, organisation: &str, subject: &str) -> String {
    let mut command = avis();
    command.args(["token", "issue", "--role", role, "--subject", subject]);
    command.args(["--organisation", organisation, "--data"]).arg(folder);
    succeeded(&command.output().expect("run")).trim().to_owned()
}

fn token_of<'a>(tokens: &'a [(&str, String)], role: &str) -> &'a str {
    let found = tokens.iter().find(|(known, _)| *known == role);
    found.map(|(_, token)| token.as_str()).expect(role)
}

/// What somebody who asked was told, with what they had said themselves.
struct Answer {
    asked: String,
    told: String,
}

/// Asks for and about a canary, rightly and wrongly, as everybody who might.
fn ask(server: &Server, tokens: &[(&str, String)], canary: &Canary, at: usize) -> Vec<Answer> {
    let means = json!({"kind": "card_uid", "value": canary.card});
    let basket = |quantity: Value, means: Value| {
        json!({"terminal_id": "T-000012", "occurred_at": Utc::now().to_rfc3339(), "mode": "sale",
            "means": means, "lines": [{"line": 1, "item": "milk", "quantity": quantity,
            "unit_price_cents": 100}]})
    };
    let key = format!("Idempotency-Key: {at}\r\n");
    let traced = format!("Idempotency-Key: {at}-t\r\nX-Request-Id: {}\r\n", canary.code);
    let event = "Content-Type: application/cloudevents+json\r\n";
    let wrong = json!({"specversion": "1.0", "id": format!("w-{at}"), "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "subject": canary.code,
        "data": {"person": canary.code, "sequence": canary.name, "attributes": canary.card}});
    let authorise = "/v1/authorisations";
    let asks = [
        ("terminal", "POST", authorise.to_owned(), key.as_str(), basket(json!(1), means.clone())),
        (
            "terminal",
            "POST",
            authorise.to_owned(),
            traced.as_str(),
            basket(json!(-1), means.clone()),
        ),
        (
            "terminal",
            "POST",
            authorise.to_owned(),
            traced.as_str(),
            basket(json!(canary.name), means),
        ),
        (
            "terminal",
            "POST",
            authorise.to_owned(),
            traced.as_str(),
            basket(json!(1), json!(canary.card)),
        ),
        ("source", "POST", "/v1/events".to_owned(), event, canary.change(2)),
        ("source", "POST", "/v1/events".to_owned(), event, wrong),
        ("issuer", "PUT", format!("/v1/means/{}", canary.card), "If-Match: *\r\n", canary.means()),
        ("issuer", "GET", format!("/v1/means/{}", canary.card), "", Value::Null),
        (
            "grantor",
            "PUT",
            format!("/v1/groups/{}", canary.code),
            "If-Match: \"0\"\r\n",
            json!({"grantor": "riga", "members": [canary.code, canary.name]}),
        ),
        (
            "analyst",
            "GET",
            format!("/v1/reports/{}?from={}", canary.code, canary.born),
            "",
            Value::Null,
        ),
        ("merchant", "GET", format!("/v1/authorisations/{}", canary.card), "", Value::Null),
        ("recipient", "GET", format!("/v1/me/benefits?person={}", canary.code), "", Value::Null),
        ("operator", "GET", "/v1/events/gaps".to_owned(), "", Value::Null),
        (
            "centre",
            "POST",
            "/v1/calls".to_owned(),
            key.as_str(),
            json!({"institution": canary.name}),
        ),
        ("finance", "GET", format!("/v1/settlements?period={}", canary.code), "", Value::Null),
    ];
    let answer = |(role, method, path, headers, body): (&str, &str, String, &str, Value)| {
        let (status, _, told) = server.ask(token_of(tokens, role), method, &path, headers, &body);
        assert_ne!(status, 500, "{role} {method}: {told}");
        Answer { asked: format!("{path} {headers} {body}").to_lowercase(), told: told.to_string() }
    };
    asks.into_iter().map(answer).collect()
}

fn text_of(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text_of(&path, into);
        } else {
            let bytes = fs::read(&path).expect("a file");
            into.push((path.display().to_string(), String::from_utf8_lossy(&bytes).to_lowercase()));
        }
    }
}

/// All rows of all tables and all records of all streams, which lie compressed in their files.
fn opened(folder: &Path, into: &mut Vec<(String, String)>) {
    for table in fs::read_dir(folder.join("warehouse")).expect("tables") {
        let name = table.expect("a table").file_name().into_string().expect("a name");
        let rows = sql(folder, &format!("SELECT * FROM {name}")).join("\n");
        into.push((format!("table {name}"), rows.to_lowercase()));
    }
    let read = |arguments: &[&str]| {
        succeeded(&avis().args(arguments).arg("--data").arg(folder).output().expect("run"))
    };
    let streams = read(&["stream", "list"]);
    let names = streams.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    for stream in names.filter(|name| name.contains(|letter: char| letter.is_lowercase())) {
        let records = read(&["stream", "tail", stream, "--from", "earliest"]);
        into.push((format!("stream {stream}"), records.to_lowercase()));
    }
    into.push(("dead letters".into(), read(&["dead-letters", "list"]).to_lowercase()));
}

/// All that is looked for, by the two bytes that it begins with: a folder is read once for all of it.
struct Sought<'a>(Vec<Vec<&'a str>>);

impl<'a> Sought<'a> {
    fn of(forms: &'a [String]) -> Self {
        let mut by_start = vec![Vec::new(); 1 << 16];
        for form in forms {
            by_start[start(form.as_bytes())].push(form.as_str());
        }
        Self(by_start)
    }

    /// What a text holds of it.
    fn within(&self, text: &str) -> BTreeSet<&'a str> {
        let bytes = text.as_bytes();
        let mut found = BTreeSet::new();
        for at in 0..bytes.len().saturating_sub(1) {
            let rest = &bytes[at..];
            let forms = self.0[start(rest)].iter().copied();
            found.extend(forms.filter(|form| rest.starts_with(form.as_bytes())));
        }
        found
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Waits until the rows that were asked for have landed, so that the tables have them.
fn landed(server: &Server, rows: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let name = r#"avis_warehouse_committed_rows_total{table="authorisations"} "#;
    loop {
        let metrics = server.get("/metrics").1;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let landed: usize = line.and_then(|value| value.parse().ok()).expect("a number");
        if landed >= rows {
            return;
        }
        assert!(Instant::now() < deadline, "{landed} of {rows} rows have landed");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn planted_people_are_found_nowhere() {
    let place = tempfile::tempdir().expect("a folder");
    let people = canaries();
    let folder = demo(place.path(), &people);
    assert_eq!(sql(&folder, "SELECT COUNT(*) FROM persons_current"), [PEOPLE.to_string()]);
    let benefits = sql(&folder, "SELECT COUNT(DISTINCT recipient) FROM benefit_lines");
    assert!(
        benefits[0].parse::<usize>().expect("a number") > 20,
        "they get something: {benefits:?}"
    );
    assert_eq!(sql(&folder, "SELECT COUNT(*) FROM dead_letters"), [PEOPLE.to_string()]);

    let roles = [
        ("terminal", "corner", "T-000012"),
        ("source", "", "dagr"),
        ("issuer", "market-card", "issuer"),
        ("grantor", "riga", "grantor"),
        ("analyst", "", "analyst"),
        ("merchant", "market", "merchant"),
        ("recipient", "", "00000000000000000000000001"),
        ("operator", "", "operator"),
        ("centre", "centre-1", "specialist"),
        ("finance", "", "finance"),
    ];
    let tokens = roles.map(|(role, of, who)| (role, token(&folder, role, of, who)));
    let log = place.path().join("up.log");
    let lineage = place.path().join("lineage.ndjson");
    let (told, collector) = collector();
    let settings = [
        ("AVIS__LINEAGE__PATH", lineage.to_str().expect("text")),
        ("AVIS__LINEAGE__EVERY_SECONDS", "10"),
        ("AVIS__TRACES__URL", collector.as_str()),
        ("AVIS__TRACES__KEY", "secret"),
        ("AVIS__TRACES__PER_MILLION", "1000000"),
        ("AVIS_LOG", LOGGED),
        ("AVIS_LOG_FORMAT", "json"),
        ("AVIS__TERMINALS__REQUESTS_PER_SECOND", "10000"),
        ("AVIS__TERMINALS__REQUESTS_AT_ONCE", "10000"),
    ];
    let server = Server::start_logged(&folder, &settings, fs::File::create(&log).expect("a file"));
    server.wait_until_ready();
    let answers =
        people.iter().enumerate().flat_map(|(at, canary)| ask(&server, &tokens, canary, at));
    let mut answers: Vec<Answer> = answers.collect();
    let [terminal, analyst] = ["terminal", "analyst"].map(|role| token_of(&tokens, role));
    for (at, canary) in people.iter().enumerate().step_by(BY_EVERY_DOOR) {
        answers.extend(doors::ask(&server, analyst, terminal, canary, at));
    }
    landed(&server, PEOPLE + PEOPLE / BY_EVERY_DOOR);
    let metrics = server.get("/metrics").1.to_lowercase();
    server.stop();
    let logged = fs::read_to_string(&log).expect("a log");
    for door in ["postgres", "flight"] {
        assert!(logged.contains(&format!("\"door\":\"{door}\"")), "{door} is in the query log");
    }
    for line in logged.lines() {
        let event: Value = serde_json::from_str(line).expect("one JSON object a line");
        assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }

    let traces = told.text().to_lowercase();
    assert!(traces.contains("land benefit_lines"), "the traces are told");
    let mut places = vec![("metrics".to_owned(), metrics), ("traces".to_owned(), traces)];
    for name in ["demo.log", "up.log", "lineage.ndjson"] {
        let text = fs::read_to_string(place.path().join(name)).expect(name);
        assert!(!text.is_empty(), "{name} says something");
        places.push((name.to_owned(), text.to_lowercase()));
    }
    text_of(&folder, &mut places);
    opened(&folder, &mut places);
    let planted: Vec<String> = people.iter().flat_map(Canary::forms).collect();
    let sought = Sought::of(&planted);
    // Who finds nothing may have looked in the wrong way.
    let own = people[7].change(1).to_string().to_lowercase();
    assert_eq!(sought.within(&own).len(), 4, "{own}");
    let mut found = Vec::new();
    for (name, text) in &places {
        let leaks = sought.within(text).into_iter();
        found.extend(leaks.map(|form| format!("{form} in {name}")));
        let secrets = tokens.iter().filter(|(_, token)| text.contains(&token.to_lowercase()));
        found.extend(secrets.map(|(role, _)| format!("the token of {role} in {name}")));
    }
    for answer in &answers {
        let told = answer.told.to_lowercase();
        let leaks = sought.within(&told).into_iter();
        let leaks = leaks.filter(|form| !answer.asked.contains(*form));
        found.extend(leaks.map(|form| format!("{form} in {told}, which answers {}", answer.asked)));
    }
    assert!(
        found.is_empty(),
        "{} leaks:\n{}",
        found.len(),
        found[..found.len().min(20)].join("\n")
    );
    assert!(
        places.iter().any(|(name, _)| name.ends_with("catalogue.ttl")),
        "open data was looked at"
    );
}
