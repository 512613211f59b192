//! `avis backup` and `avis restore`: under load, to three instants, killed anywhere; nobody who was erased
//! comes back.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{avis, drift::agrees, packaged, packaged_baskets, scale, sql, succeeded, up::Server};

/// Units that a recipient gets a euro off in a day.
const LIMIT: i64 = 3;

fn run(folder: &Path, arguments: &[&str]) -> String {
    succeeded(&avis().args(arguments).arg("--data").arg(folder).output().expect("run"))
}

/// A node with people, means and a few weeks of sales, and a benefit that holds today.
fn node(place: &Path) -> PathBuf {
    let folder = place.join("data");
    let registry = packaged("registry.yaml.gz").join("\n");
    let milk = format!(
        "instructions:\n- {{id: \"milk-today\", benefit: \"market-club\", version: 1, \
         label: {{lv: Piens, en: Milk}}, valid: {{from: \"2024-12-01\", to: \"2099-12-31\"}}, \
         priority: 5, recipients: {{everyone: true}}, scope: {{merchants: [\"market\"]}}, \
         content: {{any: [{{category: \"test.milk\"}}]}}, funding: {{grantor_bp: 10000}}, \
         effect: {{amount_off_cents: 100, per: unit}}, \
         limits: [{{per: recipient, period: day, measure: units, max: {LIMIT}}}]}}\n"
    );
    let registry = registry.replace("instructions:\n", &milk);
    std::fs::write(place.join("registry.yaml"), registry).expect("written");
    let baskets: Vec<_> = packaged_baskets().into_iter().step_by(20).collect();
    std::fs::write(place.join("baskets.ndjson"), baskets.join("\n")).expect("written");
    let mut demo = avis();
    demo.args(["demo", "--json", "--registry"]).arg(place.join("registry.yaml"));
    demo.arg("--baskets").arg(place.join("baskets.ndjson")).arg("--out").arg(&folder);
    succeeded(&demo.output().expect("run"));
    folder
}

/// Somebody's code and card.
fn people() -> Vec<(String, String)> {
    let means = packaged("means.ndjson.gz").into_iter().map(|line| {
        let means: Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| means[name].as_str().expect("a text").to_owned();
        (text("person"), text("value"))
    });
    means.collect()
}

fn start(folder: &Path, keys: &Path) -> Server {
    let keys = keys.to_str().expect("text");
    // One terminal here asks as many do.
    let pace = ("AVIS__TERMINALS__REQUESTS_PER_SECOND", "1000000");
    let server = Server::start_with(folder, &[("AVIS__BACKUP__KEYS", keys), pace]);
    server.wait_until_ready();
    server
}

/// Sells a unit of milk on a card; answers the cents given.
fn sell(server: &Server, token: &str, key: &str, card: &str) -> i64 {
    let basket = json!({"terminal_id": "T-000002", "occurred_at": chrono::Utc::now().to_rfc3339(),
        "mode": "sale", "means": {"kind": "card_uid", "value": card},
        "lines": [{"line": 1, "item": "test-milk", "category": "test.milk", "quantity": 1,
        "unit_price_cents": 150}]});
    let header = format!("Idempotency-Key: {key}\r\n");
    let (status, _, sold) = server.ask(token, "POST", "/v1/authorisations", &header, &basket);
    assert_eq!(status, 200, "{sold}");
    sold["benefit_cents"].as_i64().expect("cents")
}

/// Terminals that sell until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    sold: Arc<AtomicU64>,
    terminals: Vec<JoinHandle<()>>,
}

impl Load {
    fn begin(server: &Arc<Server>, token: &str, round: usize) -> Self {
        let (stop, sold) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let cards = Arc::new(people());
        let terminal = |number: usize| {
            let (server, token) = (Arc::clone(server), token.to_owned());
            let (stop, sold, cards) = (Arc::clone(&stop), Arc::clone(&sold), Arc::clone(&cards));
            std::thread::spawn(move || {
                for at in 0.. {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    // The first are somebody else's.
                    let (_, card) = &cards[100 + (at * 3 + number) % 1_000];
                    sell(&server, &token, &format!("{round}-{number}-{at}"), card);
                    sold.fetch_add(1, Ordering::AcqRel);
                }
            })
        };
        let terminals = (0..3).map(terminal).collect();
        Self { stop, sold, terminals }
    }

    fn sold(&self) -> u64 {
        self.sold.load(Ordering::Acquire)
    }

    fn wait_for(&self, more: u64) {
        let until = self.sold() + more;
        while self.sold() < until {
            assert!(self.terminals.iter().all(|terminal| !terminal.is_finished()), "one gave up");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.terminals.into_iter().for_each(|terminal| terminal.join().expect("it sold"));
        self.sold.load(Ordering::Acquire)
    }
}

fn backup(server: &Server, token: &str, to: &Path) -> String {
    let mut command = avis();
    command.env("AVIS_TOKEN", token).arg("backup").arg(to);
    command.args(["--server", &format!("http://{}", server.address())]);
    succeeded(&command.output().expect("run"))
}

fn restore(from: &Path, keys: &Path, to: Option<&str>, data: &Path) -> std::process::Output {
    let mut command = avis();
    command.arg("restore").arg(from).arg("--keys").arg(keys).arg("--data").arg(data);
    command.args(to.into_iter().flat_map(|to| ["--to", to]));
    command.output().expect("run")
}

fn authorisations(folder: &Path) -> u64 {
    let rows = sql(folder, "SELECT COUNT(*) FROM authorisations");
    rows[0].parse().expect("a number")
}

struct Backups {
    place: tempfile::TempDir,
    /// What was on record at least by each backup, and at most.
    counts: Vec<(u64, u64)>,
    /// Instants between the backups.
    instants: Vec<String>,
    erased: (String, String),
    used_up: String,
}

/// Three backups under load, with somebody erased before the last one.
fn backed_up() -> Backups {
    let place = tempfile::tempdir().expect("a folder");
    let (folder, to, keys) = (node(place.path()), place.path().join("b"), place.path().join("k"));
    let issue = |role: &str, subject: &str| {
        let arguments = ["token", "issue", "--role", role, "--subject", subject];
        run(&folder, &arguments).trim().to_owned()
    };
    let (till, operator) = (issue("terminal", "T-000002"), issue("operator", "olga"));
    let people = people();
    let (erased, used_up) = (people[0].clone(), people[1].1.clone());
    let before = authorisations(&folder);
    let (mut counts, mut instants, mut sold) = (Vec::new(), Vec::new(), 0);
    let mut server = Arc::new(start(&folder, &keys));
    for unit in 0..LIMIT + 1 {
        let given = sell(&server, &till, &format!("limit-{unit}"), &used_up);
        assert_eq!(given, if unit < LIMIT { 100 } else { 0 });
        sold += 1;
    }
    sell(&server, &till, "erased", &erased.1);
    sold += 1;
    for round in 0..3 {
        if round == 2 {
            Arc::into_inner(server).expect("nobody else has it").stop();
            run(&folder, &["person", "erase", &erased.0, "--yes"]);
            server = Arc::new(start(&folder, &keys));
        }
        let load = Load::begin(&server, &till, round);
        load.wait_for(40);
        let least = before + sold + load.sold();
        let told = backup(&server, &operator, &to);
        // Each of three terminals may have been answered, and not have counted it yet.
        counts.push((least, before + sold + load.sold() + 3));
        assert!(told.contains("the keys of 4075 people") || round == 2, "{told}");
        load.wait_for(40);
        sold += load.end();
        instants.push(chrono::Utc::now().to_rfc3339());
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = backup(&server, &operator, &to);
    counts.push((before + sold, before + sold));
    println!("{told}");
    Arc::into_inner(server).expect("nobody else has it").stop();
    agrees(&folder);
    assert_eq!(authorisations(&folder), before + sold);
    Backups { place, counts, instants, erased, used_up }
}

#[test]
fn a_backup_under_load_is_restored_to_three_instants_and_goes_on() {
    let backups = backed_up();
    let place = backups.place.path();
    let (from, keys, origin) = (place.join("b"), place.join("k"), place.join("data"));
    let all = authorisations(&origin);
    let till = {
        let arguments = ["token", "issue", "--role", "terminal", "--subject", "T-000002"];
        run(&origin, &arguments).trim().to_owned()
    };
    let instants = [Some(backups.instants[0].as_str()), Some(&backups.instants[1]), None];
    for (number, instant) in instants.into_iter().enumerate() {
        let folder = place.join(format!("restored-{number}"));
        println!("{}", succeeded(&restore(&from, &keys, instant, &folder)));
        let told = agrees(&folder);
        let there = told["compared"]["authorisations"]["found"].as_u64().expect("a number");
        match instant {
            // All that was answered before the instant, and nothing of after it.
            Some(instant) => {
                let query =
                    format!("SELECT COUNT(*) FROM authorisations WHERE recorded_at <= '{instant}'");
                assert_eq!(sql(&origin, &query), [there.to_string()]);
                assert!(there < all && there >= backups.counts[number].0);
            }
            None => assert_eq!((there, all), (all, backups.counts[3].0)),
        }
        assert!(run(&folder, &["settle", "check"]).contains("the books balance"));
        // Whoever was erased is forgotten also as of before: no code leads to what is kept.
        let mut export = avis();
        export.args(["person", "export", &backups.erased.0, "--data"]).arg(&folder);
        let unknown = export.output().expect("run");
        assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
        // Limits stand as they stood, and a key is still known.
        let server = start(&folder, &keys);
        assert_eq!(sell(&server, &till, "after", &backups.used_up), 0);
        assert_eq!(sell(&server, &till, "of-somebody-else", &people()[50].1), 100);
        // Their card is blocked, and stays so.
        assert_eq!(sell(&server, &till, "of-nobody", &backups.erased.1), 0);
        server.stop();
        let told = agrees(&folder);
        let found = told["compared"]["authorisations"]["found"].as_u64();
        assert_eq!(found, Some(there + 3));
        if instant.is_some() {
            // Its history is another one from the instant on, which a backup does not go on with.
            let mut command = avis();
            command.args(["backup", "--no-keys"]).arg(&from).arg("--data").arg(&folder);
            let refused = command.output().expect("run");
            let told = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && told.contains("in another folder"), "{told}");
        }
    }
    // Into a folder that holds something nothing is restored, and a damaged backup is refused.
    let refused = restore(&from, &keys, None, &origin);
    assert_eq!(refused.status.code(), Some(1));
    // A list that names nobody as a node does would have everybody remembered.
    let (list, other) = (place.join("codes.txt"), place.join("never"));
    std::fs::write(&list, "\n010180-12345\n").expect("written");
    let mut command = avis();
    command.arg("restore").arg(&from).arg("--keys").arg(&keys).arg("--data").arg(&other);
    let refused = command.arg("--erasures").arg(&list).output().expect("run");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("codes.txt, line 2"), "{told}");
    assert!(!refused.status.success() && !other.exists());
    let segment = std::fs::read_dir(from.join("streams")).expect("files").next();
    let segment = segment.expect("one").expect("a file").path();
    let mut bytes = std::fs::read(&segment).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    let refused = restore(&from, &keys, None, &other);
    assert!(!refused.status.success() && !other.exists());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("damaged"));
}

/// Runs a command and kills it after a while, unless it has ended by then.
fn killed(command: &mut std::process::Command, after: Duration) {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("run");
    std::thread::sleep(after);
    // One that has ended by itself has nothing to kill.
    let _ = child.kill();
    child.wait().expect("ended");
}

#[test]
fn a_killed_backup_leaves_the_one_before_and_a_killed_restore_begins_again() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = node(place.path());
    let (to, keys) = (place.path().join("b"), place.path().join("b-keys"));
    let backup = || {
        let mut command = avis();
        command.arg("backup").arg(&to).arg("--data").arg(&folder);
        command
    };
    let kills = 6 * scale();
    for kill in 0..kills {
        killed(&mut backup(), Duration::from_millis(5 + kill * 7_919 % 400));
        let now = std::fs::read(to.join("manifest")).ok();
        // Whatever there is can be restored; where there is none, it was cut off before its end.
        let other = place.path().join("tried");
        let tried = restore(&to, &keys, None, &other);
        let has_keys = keys.is_dir()
            && std::fs::read_dir(&keys).expect("keys").any(|of| {
                of.expect("a file").path().extension().is_some_and(|ending| ending == "keys")
            });
        assert_eq!(tried.status.success(), now.is_some() && has_keys, "{tried:?}");
        if other.exists() {
            std::fs::remove_dir_all(&other).expect("removed");
        }
    }
    let told = succeeded(&backup().output().expect("run"));
    assert!(told.contains("records as of"), "{told}");
    let again = succeeded(&backup().output().expect("run"));
    // What the first run noted in the audit trail.
    assert!(again.contains(" 1 of them new"), "{again}");

    let restored = place.path().join("restored");
    let command = || {
        let mut command = avis();
        command.arg("restore").arg(&to).arg("--data").arg(&restored);
        command
    };
    for kill in 0..kills {
        killed(&mut command(), Duration::from_millis(5 + kill * 6_007 % 900));
        let unfinished = restored.join("restore-unfinished").exists();
        let verified = avis().args(["verify", "--data"]).arg(&restored).output().expect("run");
        if unfinished {
            let told = String::from_utf8_lossy(&verified.stderr).into_owned();
            assert_eq!(verified.status.code(), Some(1), "{told}");
        }
        if !unfinished && restored.join("log").is_dir() {
            // All streams are back; a start, or a command, makes the rest.
            assert!(run(&restored, &["settle", "check"]).contains("the books balance"));
            agrees(&restored);
            std::fs::remove_dir_all(&restored).expect("removed");
        }
    }
    succeeded(&command().output().expect("run"));
    agrees(&restored);
    println!("{} kills", 2 * kills);
}
