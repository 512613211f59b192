//! `avis verify` where counters are kept in Redis: what drifts there is named, and nothing else is.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use crate::{
    avis,
    drift::{agrees, ask, run, verify_with},
    redis::Redis,
    up::Server,
};

const REGISTRY: &str = include_str!("drift/counters.yaml");
const CODE: &str = "326180-33995";
const OTHER: &str = "322360-67989";

/// A node's folder, and its Redis.
struct Place<'a> {
    folder: &'a Path,
    redis: Redis,
    url: String,
    token: String,
}

impl<'a> Place<'a> {
    /// A family of two with a card each, and two cards of nobody.
    fn prepare(folder: &'a Path, place: &Path) -> Self {
        std::fs::create_dir_all(folder.join("log")).expect("a folder");
        let registry = place.join("registry.yaml");
        std::fs::write(&registry, REGISTRY).expect("written");
        run(folder, &["registry", "apply", registry.to_str().expect("text")]);
        load(folder, "persons", &[person(CODE, 1, "first"), person(OTHER, 1, "first")]);
        let people = [Some(CODE), Some(OTHER), None, None];
        let cards = people.into_iter().enumerate().map(|(number, person)| {
            json!({"person": person, "issuer": "city-card", "kind": "card_uid",
                "value": format!("04A2{number:02}"), "valid_from": "2025-01-01", "valid_to": null})
        });
        load(folder, "means", &cards.collect::<Vec<_>>());
        let token = run(folder, &["token", "issue", "--role", "terminal", "--subject", "T1"]);
        let (redis, token) = (Redis::start(place), token.trim().to_owned());
        let url = redis.url();
        Self { folder, redis, url, token }
    }

    fn settings(&self) -> [(&'static str, &str); 2] {
        [("AVIS__AUTHORISER__CACHE", "redis"), ("AVIS__REDIS__URLS", self.url.as_str())]
    }

    /// Each card buys three times, over Redis.
    fn sell(&self, from: usize) {
        let server = Server::start_with(self.folder, &self.settings());
        server.wait_until_ready();
        for number in from..from + 12 {
            let card = format!("04A2{:02}", number % 4);
            let line = json!({"line": 1, "item": "milk", "category": "food.milk", "quantity": 2,
                "unit_price_cents": 333});
            let basket = json!({"terminal_id": "T1", "mode": "sale", "lines": [line],
                "occurred_at": chrono::Utc::now().to_rfc3339(),
                "means": {"kind": "card_uid", "value": card}});
            let key = format!("k{number}");
            let sold = ask(&server, &self.token, "/v1/authorisations", &key, &basket);
            assert_eq!(sold["benefit_cents"], 200, "{sold}");
        }
        server.stop();
    }

    fn verify(&self) -> (bool, Value) {
        verify_with(self.folder, &self.settings())
    }

    /// Asserts that nothing drifts; how many hashes are not trusted.
    fn agrees(&self) -> u64 {
        let (success, told) = self.verify();
        assert!(success && told["drifts"] == json!([]), "{told:#}");
        for (store, least) in [("redis counters", 2), ("redis points", 1)] {
            let found = told["compared"][store]["found"].as_u64();
            assert!(found >= Some(least), "{store}: {told:#}");
        }
        let notes = told["notes"].as_array().expect("notes").iter().filter_map(Value::as_str);
        let mut untrusted = notes.filter_map(|note| note.strip_prefix("redis: "));
        let number = untrusted.next().and_then(|note| note.split(' ').next());
        number.map_or(0, |number| number.parse().expect("a number"))
    }

    /// A field that begins so, of a hash of the generation in force: the hash, the field, and its number.
    fn field(&self, hashes: &str, begins: &str) -> (String, String, i64) {
        let generation = self.redis.ask(&["GET", "avis:{generation}"]);
        let mut hashes = self.redis.ask(&["KEYS", hashes]);
        hashes.sort();
        for hash in hashes {
            if self.redis.ask(&["HGET", &hash, "g"]) != generation {
                continue;
            }
            let fields = self.redis.ask(&["HKEYS", &hash]);
            if let Some(field) = fields.into_iter().find(|field| field.starts_with(begins)) {
                let value = self.redis.ask(&["HGET", &hash, &field]);
                let value = value.concat().parse().expect("a number");
                return (hash, field, value);
            }
        }
        panic!("no hash has a field {begins}")
    }

    fn add(&self, (hash, field, _): &(String, String, i64), change: i64) {
        self.redis.ask(&["HINCRBY", hash, field, &change.to_string()]);
    }
}

/// Loads some lines of a kind.
fn load(folder: &Path, kind: &str, lines: &[Value]) {
    let file = folder.with_extension(kind);
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n")).expect("written");
    run(folder, &["load", kind, file.to_str().expect("text")]);
}

fn person(code: &str, sequence: u64, family: &str) -> Value {
    json!({"specversion": "1.0", "id": format!("dagr-{code}-{sequence}"), "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "time": format!("2025-01-0{sequence}T00:00:00Z"),
        "data": {"person": code, "sequence": sequence, "attributes": {"birth_date": "1950-03-01",
            "territory": "LV0001000", "status": "alive", "family_id": family}}})
}

/// What a field of a household is called where it drifts.
fn named(hash: &str, field: &str) -> String {
    let parts: Vec<&str> = field.split('|').collect();
    match parts[..] {
        ["p", who, benefit] => format!("{benefit} of {who}"),
        ["c", instruction, holder, period, start, measure] => {
            let household = hash.strip_prefix("avis:{h").and_then(|of| of.strip_suffix('}'));
            let (per, holder) = match holder.strip_prefix('r') {
                Some(recipient) => ("recipient", recipient),
                None => ("household", household.expect("a household")),
            };
            format!("{instruction} per {per} {holder} {period} {start} {measure}")
        }
        _ => panic!("{field} is no number of a household"),
    }
}

#[test]
fn what_drifts_in_redis_is_named_and_nothing_else() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().join("data");
    let place = Place::prepare(&folder, temporary.path());
    place.sell(0);
    assert_eq!(place.agrees(), 0, "an undisturbed Redis is trusted");
    // Somebody moves and takes along what was used: what the first start left is not trusted.
    load(&folder, "persons", &[person(CODE, 2, "second")]);
    place.sell(100);
    let tail = ["stream", "tail", "authorisations", "--from", "earliest", "--most", "1000"];
    assert!(run(&folder, &tail).contains("household_joined"));
    let untrusted = place.agrees();

    let changed = place.field("avis:{h*", "c|milk|r");
    let missing = place.field("avis:{h*", "c|milk|h|");
    let doubled = place.field("avis:{h*", "p|");
    let budget = place.field("avis:{b*", "used");
    place.add(&changed, 1);
    place.redis.ask(&["HDEL", &missing.0, &missing.1]);
    place.add(&doubled, doubled.2);
    place.add(&budget, 1);
    let (success, told) = place.verify();
    let of_budget = budget.0.trim_start_matches("avis:{b").trim_end_matches('}');
    let of_budget = of_budget.replacen('|', " per instruction  ", 1).replace('|', " ");
    let drift = |store: &str, key: String, expected: i64, found: String| {
        [format!("redis {store}"), key, expected.to_string(), found]
    };
    let expected = BTreeSet::from([
        drift("counters", named(&changed.0, &changed.1), changed.2, (changed.2 + 1).to_string()),
        drift("counters", named(&missing.0, &missing.1), missing.2, "nothing".into()),
        drift("points", named(&doubled.0, &doubled.1), doubled.2, (2 * doubled.2).to_string()),
        drift("budgets", of_budget, budget.2, (budget.2 + 1).to_string()),
    ]);
    let found = told["drifts"].as_array().expect("a list").iter().map(|drift| {
        ["store", "key", "expected", "found"].map(|of| drift[of].as_str().expect("text").to_owned())
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
    assert!(!success);

    // What is of another generation, or ahead of the stream, is built anew before it is read.
    let generation = place.redis.ask(&["HGET", &changed.0, "g"]).concat();
    place.redis.ask(&["HSET", &missing.0, &missing.1, &missing.2.to_string()]);
    place.add(&doubled, -doubled.2);
    place.add(&budget, -1);
    place.redis.ask(&["HSET", &changed.0, "g", "1"]);
    assert_eq!(place.agrees(), untrusted + 1);
    place.redis.ask(&["HSET", &changed.0, "g", &generation]);
    place.redis.ask(&["HSET", &changed.0, "s01ARZ3NDEKTSV4RRFFQ69G5FAV", "0 1700000000"]);
    place.add(&budget, 1);
    assert_eq!(place.agrees(), untrusted + 2, "nor is a budget, which does not say what moved it");
    place.redis.ask(&["HDEL", &changed.0, "s01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    place.add(&budget, -1);
    place.add(&changed, -1);
    assert_eq!(place.agrees(), untrusted);

    // Of counters in memory nothing is asked; of a Redis that is away it is said.
    let told = agrees(&folder);
    assert_eq!(told["compared"].get("redis counters"), None);
    let settings = place.settings().map(|(name, value)| (name, value.to_owned()));
    drop(place);
    let mut away = avis();
    away.envs(settings).args(["verify", "--data"]).arg(&folder);
    let away = away.output().expect("run");
    let told = String::from_utf8_lossy(&away.stderr).into_owned();
    assert_eq!(away.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot compare the counters in Redis"), "{told}");
}
