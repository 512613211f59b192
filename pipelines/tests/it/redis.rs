//! Redis: rows become its keys, and rows are looked up in it. The servers are real ones, on loopback.

use std::{
    fs,
    io::{Read, Write, stderr},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use pipelines::{
    files::{self, Settings, Written},
    own,
};
use tempfile::TempDir;

/// How long a node may take to come up, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// One `redis-server`; it is killed when dropped.
struct Server {
    port: u16,
    bus: u16,
    child: Child,
    _folder: TempDir,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl Server {
    /// Starts one, of a cluster or alone; none where the machine has no Redis, which is told.
    fn start(cluster: bool) -> Option<Self> {
        let begun = Instant::now();
        loop {
            let (folder, port, bus) =
                (tempfile::tempdir().expect("a folder"), free_port(), free_port());
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
            command.arg(folder.path()).args(["--port", &port.to_string()]);
            if cluster {
                command.args(["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]);
            }
            let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
                // What a test that passes prints by `eprintln!` is not shown.
                let _ = writeln!(
                    stderr(),
                    "SKIPPED: redis-server does not start: apt-get install redis-server"
                );
                return None;
            };
            let mut server = Self { port, bus, child, _folder: folder };
            if server.answers() {
                return Some(server);
            }
            // A port that was free may be somebody's connection a moment later.
            assert!(begun.elapsed() < PATIENCE, "redis-server ends as soon as it starts");
        }
    }

    /// Waits for its answer; whether it did not end before.
    fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if self.child.try_wait().expect("a process").is_some() {
                return false;
            }
            assert!(begun.elapsed() < PATIENCE, "redis-server on {} does not answer", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// One command; its answer as words, or what it was refused with.
    fn try_ask(&self, words: &[&str]) -> Result<Vec<String>, String> {
        let ask = || -> redis::RedisResult<redis::Value> {
            let client = redis::Client::open(self.url())?;
            let mut connection = client.get_connection_with_timeout(PATIENCE)?;
            redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
        };
        ask().map(told).map_err(|error| error.to_string())
    }

    fn ask(&self, words: &[&str]) -> Vec<String> {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?} on {}: {error}", self.port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told(answer: redis::Value) -> Vec<String> {
    match answer {
        redis::Value::BulkString(text) => vec![String::from_utf8_lossy(&text).into_owned()],
        redis::Value::SimpleString(text) => vec![text],
        redis::Value::Int(number) => vec![number.to_string()],
        redis::Value::Array(values) => values.into_iter().flat_map(told).collect(),
        redis::Value::Nil => Vec::new(),
        other => vec![format!("{other:?}")],
    }
}

const ANN: &str = r#"{"id":"a","name":"Ann"}"#;
const BO: &str = r#"{"id":"b","name":"Bo"}"#;

/// A source of lines.
fn source(folder: &Path, name: &str, columns: &str, lines: &[&str]) -> String {
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, lines.join("\n")).expect("an input");
    let path = path.display();
    format!(
        "CREATE TABLE {name} ({columns}) WITH (connector = 'single_file', path = '{path}', format = \
         'json', type = 'source');"
    )
}

/// Two people who go to Redis.
fn people(folder: &Path, at: &str, target: &str) -> String {
    let read = source(folder, "people", "id TEXT, name TEXT", &[ANN, BO]);
    format!(
        "{read} CREATE TABLE kept (id TEXT NOT NULL, name TEXT) WITH (connector = 'redis', type = \
         'sink', format = 'json', {at}, {target}); INSERT INTO kept SELECT id, name FROM people;"
    )
}

/// Sales with the people of Redis.
fn sales(folder: &Path, at: &str, join: &str) -> String {
    let lines = [
        r#"{"person":"a","cents":1}"#,
        r#"{"person":"c","cents":2}"#,
        r#"{"cents":3}"#,
        r#"{"person":"a","cents":4}"#,
    ];
    let read = source(folder, "sales", "person TEXT, cents BIGINT", &lines);
    let out = folder.join("out.json");
    format!(
        "{read} CREATE TEMPORARY TABLE people (k TEXT METADATA FROM 'key' PRIMARY KEY, name TEXT) \
         WITH (connector = 'redis', format = 'json', {at}); CREATE TABLE out WITH (connector = \
         'single_file', path = '{}', format = 'json', type = 'sink'); INSERT INTO out \
         SELECT cents, k, name FROM sales {join};",
        out.display()
    )
}

const BY_PERSON: &str = "JOIN people ON people.k = concat('person:', person)";

async fn run(text: &str, batch: usize) -> Result<Written, String> {
    let settings = Settings { batch, ..Settings::default() };
    let written = files::run("case", text, settings).await.map_err(|error| error.to_string())?;
    Ok(written[0].clone())
}

fn out(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("out.json")).expect("an output");
    text.lines().map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn rows_become_strings_hashes_and_lists() {
    let Some(server) = Server::start(false) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let at = format!("address = '{}'", server.url());
    let strings = "target = 'string', 'target.key_prefix' = 'person:', 'target.key_column' = 'id', \
                   'target.ttl_secs' = 3600";
    let hash = "target = 'hash', 'target.key_prefix' = 'people', 'target.field_column' = 'id'";
    // What is written again stays what it is.
    for batch in [1, 1_024] {
        let written = run(&people(folder.path(), &at, strings), batch).await.expect("it runs");
        assert_eq!((written.table.as_str(), written.lines), ("kept", 2));
        assert_eq!(written.path.display().to_string(), format!("redis 127.0.0.1:{}", server.port));
        assert_eq!(server.ask(&["MGET", "person:a", "person:b"]), [ANN, BO]);
        let left: i64 = server.ask(&["TTL", "person:b"])[0].parse().expect("seconds");
        assert!((1..=3_600).contains(&left), "{left}");
        run(&people(folder.path(), &at, hash), batch).await.expect("it runs");
        assert_eq!(server.ask(&["HMGET", "people", "a", "b"]), [ANN, BO]);
        assert_eq!(server.ask(&["HLEN", "people"]), ["2"]);
    }
    let list = "target = 'list', 'target.key_prefix' = 'list', 'target.max_length' = 3";
    let list = people(folder.path(), &at, list);
    run(&list, 1).await.expect("it runs");
    assert_eq!(server.ask(&["LRANGE", "list", "0", "-1"]), [ANN, BO]);
    // An element that is written again is another one.
    run(&list, 1_024).await.expect("it runs");
    assert_eq!(server.ask(&["LRANGE", "list", "0", "-1"]), [BO, ANN, BO]);
    let refused = people(folder.path(), &at, hash).replace("'people'", "'person:a'");
    let refused = run(&refused, 1).await.expect_err("no hash");
    assert!(refused.starts_with("case: cannot write kept: redis at 127.0.0.1:"), "{refused}");
    assert!(refused.contains("WRONGTYPE"), "{refused}");
}

#[tokio::test]
async fn rows_meet_what_redis_has_under_their_key() {
    let Some(server) = Server::start(false) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let at = format!("address = '{}'", server.url());
    server.ask(&["SET", "person:a", ANN]);
    let met = |cents| format!(r#"{{"cents":{cents},"k":"person:a","name":"Ann"}}"#);
    let alone = |cents| format!(r#"{{"cents":{cents},"k":null,"name":null}}"#);
    for batch in [1, 1_024] {
        let left = sales(folder.path(), &at, &format!("LEFT {BY_PERSON}"));
        run(&left, batch).await.expect("it runs");
        let mut rows = out(folder.path());
        rows.sort();
        assert_eq!(rows, [met(1), alone(2), alone(3), met(4)], "in batches of {batch}");
        for (join, wanted) in [
            (BY_PERSON.to_owned(), vec![met(1), met(4)]),
            (format!("{BY_PERSON} WHERE name = 'Ann' AND cents > 1"), vec![met(4)]),
            (format!("{BY_PERSON} WHERE name <> 'Ann'"), Vec::new()),
            (format!("{BY_PERSON} AND cents = 1"), vec![met(1)]),
        ] {
            run(&sales(folder.path(), &at, &join), batch).await.expect("it runs");
            let mut rows = out(folder.path());
            rows.sort();
            assert_eq!(rows, wanted, "{join} in batches of {batch}");
        }
    }
    server.ask(&["SET", "person:c", "Cy"]);
    let refused = run(&sales(folder.path(), &at, BY_PERSON), 1_024).await.expect_err("no JSON");
    assert!(refused.contains("the value of person:c in redis: expected value"), "{refused}");
    server.ask(&["DEL", "person:c"]);
    server.ask(&["RPUSH", "person:c", "Cy"]);
    let refused = run(&sales(folder.path(), &at, BY_PERSON), 1_024).await.expect_err("a list");
    assert!(refused.contains("WRONGTYPE"), "{refused}");
}

#[tokio::test]
async fn keys_of_a_cluster_are_found_where_they_are() {
    let (Some(one), Some(other)) = (Server::start(true), Server::start(true)) else { return };
    one.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    other.ask(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    one.ask(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string(), &other.bus.to_string()]);
    let begun = Instant::now();
    let agrees = |node: &Server| {
        let said = node.ask(&["CLUSTER", "INFO"]).concat();
        said.contains("cluster_state:ok") && said.contains("cluster_size:2")
    };
    while !(agrees(&one) && agrees(&other)) {
        assert!(begun.elapsed() < PATIENCE, "the nodes do not agree");
        std::thread::sleep(Duration::from_millis(25));
    }
    let folder = tempfile::tempdir().expect("a folder");
    // Of two addresses the first that answers is taken.
    let away = format!("redis://127.0.0.1:{}", free_port());
    let at = format!("'cluster.addresses' = '{away},{}'", one.url());
    let strings = "target = 'string', 'target.key_prefix' = 'person:', 'target.key_column' = 'id'";
    run(&people(folder.path(), &at, strings), 1_024).await.expect("it runs");
    // By their slots the two keys lie on a node each.
    let keys = [("person:a", ANN), ("person:b", BO)];
    let slots = keys.map(|(key, _)| one.ask(&["CLUSTER", "KEYSLOT", key])[0].clone());
    let slots = slots.map(|slot| slot.parse::<u16>().expect("a slot"));
    assert!(slots.iter().any(|slot| *slot > 8_191), "{slots:?}: nothing is asked of the second");
    for ((key, person), slot) in keys.into_iter().zip(slots) {
        let node = if slot > 8_191 { &other } else { &one };
        assert_eq!(node.ask(&["GET", key]), [person]);
    }
    run(&sales(folder.path(), &at, BY_PERSON), 1_024).await.expect("it runs");
    assert_eq!(out(folder.path()).len(), 2);
    let alone = at.replace(&format!("'cluster.addresses' = '{away},"), "address = '");
    let refused = run(&people(folder.path(), &alone, strings), 1).await.expect_err("a cluster");
    assert!(refused.contains("MOVED"), "{refused}");
}

#[tokio::test]
async fn a_redis_that_is_away_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let who = ["name", "hushed"].join(":");
    let at = format!("address = 'redis://{who}@127.0.0.1:{port}'");
    let strings = "target = 'string', 'target.key_prefix' = 'person:', 'target.key_column' = 'id'";
    let refused = run(&people(folder.path(), &at, strings), 1).await.expect_err("away");
    let wanted = format!("case: cannot write kept: redis at 127.0.0.1:{port}: ");
    assert!(refused.starts_with(&wanted), "{refused}");
    assert!(!refused.contains("hushed"), "{refused}");
    let refused = run(&sales(folder.path(), &at, BY_PERSON), 1).await.expect_err("away");
    assert!(refused.starts_with("case: its query failed: "), "{refused}");
    assert!(refused.contains(&format!("redis at 127.0.0.1:{port}: ")), "{refused}");
    let unset = format!("{at}, username = '{{{{ AVIS_TEST_UNSET }}}}'");
    let refused = run(&people(folder.path(), &unset, strings), 1).await.expect_err("nobody");
    assert!(refused.contains("no text in the variable AVIS_TEST_UNSET"), "{refused}");
}

#[tokio::test]
async fn a_redis_that_says_nothing_is_waited_for_ten_seconds() {
    // Connections wait to be accepted, and nobody does.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let at = format!("address = 'redis://{}'", silent.local_addr().expect("an address"));
    let folder = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let strings = "target = 'string', 'target.key_prefix' = 'person:'";
    let refused = run(&people(folder.path(), &at, strings), 1).await.expect_err("silent");
    assert!(refused.contains("gives no answer in 10 seconds"), "{refused}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nodes_that_name_each_other_are_not_followed_for_long() {
    let node = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let at = node.local_addr().expect("an address");
    // A node that has no key, and names itself for each.
    std::thread::spawn(move || {
        let (mut asked, _) = node.accept().expect("a connection");
        let mut bytes = [0; 4_096];
        while let Ok(read @ 1..) = asked.read(&mut bytes) {
            let commands = bytes[..read].iter().filter(|byte| **byte == b'*').count();
            let moved = format!("-MOVED 1 {at}\r\n").repeat(commands);
            asked.write_all(moved.as_bytes()).expect("an answer");
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = format!("'cluster.addresses' = 'redis://{at}'");
    let strings = "target = 'string', 'target.key_prefix' = 'person:'";
    let refused = run(&people(folder.path(), &cluster, strings), 1).await.expect_err("no home");
    let told = format!("redis at {at}: its nodes name each other for a key");
    assert!(refused.contains(&told), "{refused}");
}

#[tokio::test]
async fn what_redis_does_not_do_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = "address = 'redis://127.0.0.1'";
    let strings = "target = 'string', 'target.key_prefix' = 'p'";
    let changes = people(folder.path(), at, strings);
    let changes = changes.replace("'sink', format = 'json'", "'sink', format = 'debezium_json'");
    let refused = run(&changes, 1).await.expect_err("changes");
    assert!(refused.contains("format = 'debezium_json' (write format = 'json')"), "{refused}");
    let virtually = people(folder.path(), at, strings)
        .replace("id TEXT NOT NULL", "id TEXT METADATA FROM 'key' NOT NULL");
    let refused = run(&virtually, 1).await.expect_err("a key of its own");
    assert!(refused.contains("redis as a sink can't have virtual fields"), "{refused}");
    for (join, told) in [
        (
            "JOIN people ON CAST(people.k AS BIGINT) = cents",
            "must be TEXT, as a key of redis is, but it is Int64",
        ),
        ("JOIN people ON people.name = person", "must be a PRIMARY KEY column"),
        ("RIGHT JOIN people ON people.k = person", "a lookup join is an inner or a left join"),
    ] {
        let refused = run(&sales(folder.path(), at, join), 1).await.expect_err(join);
        assert!(refused.contains(told), "{join}: {refused}");
    }
    let node = "
        CREATE TEMPORARY TABLE people (k TEXT METADATA FROM 'key' PRIMARY KEY, name TEXT)
        WITH (connector = 'redis', address = 'redis://127.0.0.1', format = 'json');
        CREATE TABLE named WITH (
          connector = 'delta', path = 'named', type = 'sink', format = 'parquet'
        );
        INSERT INTO named SELECT merchant_id, name FROM authorisation_records
        LEFT JOIN people ON people.k = merchant_id;";
    let refused = own::one("named", node).await.expect_err("of a node").to_string();
    let told = "people is redis: a node reads connector = 'stream'";
    assert!(refused.contains(told), "{refused}");
}
