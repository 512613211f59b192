//! Real Redis processes on loopback, in folders that go with them.

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::encrypted::Authority;

/// How long a node may take to come up or a cluster to agree, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub append_only: bool,
    pub cluster: bool,
    pub replica_of: Option<u16>,
    /// Encrypts a second port, and all that goes between nodes.
    pub tls: Option<Arc<Authority>>,
    /// Further settings, as on the command line.
    pub more: Vec<String>,
}

/// One `redis-server`; it is killed when dropped.
#[derive(Debug)]
pub struct Server {
    pub port: u16,
    bus: u16,
    encrypted: u16,
    folder: TempDir,
    setup: Setup,
    child: Mutex<Option<Child>>,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl Server {
    /// Starts one. A port that was free may be somebody's connection a moment later.
    pub fn start(setup: Setup) -> Self {
        let begun = Instant::now();
        loop {
            let folder = tempfile::tempdir().expect("a folder");
            let [port, bus, encrypted] = std::array::from_fn(|_| free_port());
            let (setup, child) = (setup.clone(), Mutex::default());
            let server = Self { port, bus, encrypted, folder, setup, child };
            if server.launch() {
                return server;
            }
            assert!(begun.elapsed() < PATIENCE, "redis-server ends as soon as it starts");
        }
    }

    /// Where the cache finds it.
    pub fn url(&self) -> String {
        match self.setup.tls {
            Some(_) => format!("rediss://127.0.0.1:{}", self.known_port()),
            None => format!("redis://127.0.0.1:{}", self.known_port()),
        }
    }

    /// The port by which the cache and other nodes know it; the plain one is for tests.
    fn known_port(&self) -> u16 {
        if self.setup.tls.is_some() { self.encrypted } else { self.port }
    }

    /// Who has signed its certificate, where it has one.
    pub fn authority(&self) -> Option<Vec<u8>> {
        self.setup.tls.as_ref().map(|authority| authority.pem())
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Starts it on what its folder holds.
    pub fn restart(&self) {
        let begun = Instant::now();
        while !self.launch() {
            assert!(begun.elapsed() < PATIENCE, "port {} does not become free", self.port);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the process and waits for its answer; whether it did not end before.
    fn launch(&self) -> bool {
        let flag = |yes| if yes { "yes" } else { "no" };
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction"]);
        command.args(["--port", &self.port.to_string(), "--dir"]).arg(self.folder.path());
        command.args(["--appendonly", flag(self.setup.append_only)]);
        command.args(["--repl-diskless-sync-delay", "0"]);
        if self.setup.cluster {
            command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]);
            command.args(["--cluster-port", &self.bus.to_string()]);
            command.args(["--cluster-replica-validity-factor", "0"]);
        }
        if let Some(primary) = self.setup.replica_of {
            command.args(["--replicaof", "127.0.0.1", &primary.to_string()]);
        }
        if let Some(authority) = &self.setup.tls {
            command.args(["--tls-port", &self.encrypted.to_string(), "--tls-auth-clients", "no"]);
            command.args(["--tls-replication", "yes", "--tls-cluster", "yes"]);
            command.args(authority.settings());
        }
        command.args(&self.setup.more).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("redis-server does not start ({error}): apt-get install redis-server")
        });
        *self.child.lock().expect("a lock") = Some(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || !self.is_loaded() {
            if self.has_ended() {
                return false;
            }
            assert!(begun.elapsed() < PATIENCE, "redis-server on {} does not answer", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
        !self.has_ended()
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().expect("a lock");
        child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|ended| ended.is_some()))
    }

    fn is_loaded(&self) -> bool {
        self.try_ask(&["PING"]).is_ok_and(|answer| answer.contains("PONG"))
    }

    /// `kill -9`.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("a lock").take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// Stops the process where it stands, or lets it go on.
    pub fn pause(&self, pause: bool) {
        let child = self.child.lock().expect("a lock");
        let id = child.as_ref().expect("a process").id().to_string();
        let signal = if pause { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill").args([signal, &id]).status().expect("kill");
        assert!(sent.success());
    }

    /// One command, as text.
    pub fn ask(&self, words: &[&str]) -> String {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?} on {}: {error}", self.port))
    }

    pub fn try_ask(&self, words: &[&str]) -> Result<String, redis::RedisError> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        let value: redis::Value = command.query(&mut connection)?;
        Ok(match value {
            redis::Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            redis::Value::SimpleString(text) => text,
            other => format!("{other:?}"),
        })
    }

    /// Waits until what it says of itself holds a text.
    pub fn wait_for(&self, words: &[&str], text: &str) {
        let begun = Instant::now();
        while !self.try_ask(words).is_ok_and(|said| said.contains(text)) {
            let late = begun.elapsed() > PATIENCE;
            assert!(!late, "{words:?} on {} never said {text}", self.port);
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three primaries, then the replica of each.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub fn start() -> Self {
        Self::of(Setup::default())
    }

    /// One whose nodes are started so.
    pub fn of(setup: Setup) -> Self {
        let replicas = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"];
        let more = replicas.map(str::to_owned).to_vec();
        let setup = Setup { append_only: true, cluster: true, more, ..setup };
        let nodes: Vec<Server> = (0..6).map(|_| Server::start(setup.clone())).collect();
        for (node, slots) in nodes.iter().zip([(0, 5_460), (5_461, 10_922), (10_923, 16_383)]) {
            let (first, last) = (slots.0.to_string(), slots.1.to_string());
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        let first = &nodes[0];
        for node in &nodes[1..] {
            let (port, bus) = (node.known_port().to_string(), node.bus.to_string());
            first.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        for node in &nodes {
            node.wait_for(&["CLUSTER", "INFO"], "cluster_known_nodes:6");
        }
        for (replica, primary) in nodes[3..].iter().zip(&nodes) {
            let id = primary.ask(&["CLUSTER", "MYID"]);
            replica.wait_for(&["CLUSTER", "NODES"], &id);
            replica.ask(&["CLUSTER", "REPLICATE", &id]);
        }
        let cluster = Self { nodes };
        cluster.settled();
        cluster
    }

    /// Waits until all slots are served and every replica follows.
    pub fn settled(&self) {
        for node in &self.nodes {
            node.wait_for(&["CLUSTER", "INFO"], "cluster_state:ok");
            let role = node.ask(&["INFO", "replication"]);
            let follows =
                if role.contains("role:slave") { "master_link_status:up" } else { "state=online" };
            node.wait_for(&["INFO", "replication"], follows);
        }
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }
}
