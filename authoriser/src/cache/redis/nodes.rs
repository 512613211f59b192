//! Redis' nodes: which one has a key, and one pipeline to each per batch.
//!
//! The cluster is followed here, by address, and not by the client's own cluster connection: that
//! one asks again and elsewhere by itself, so it hides which node answered, and whether the replicas
//! that were waited for are those of the node that was written to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use redis::{
    Client, Cmd, Pipeline, RedisError, ServerError, TlsCertificates, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};
use tokio::task::JoinSet;
use tokio_rustls::rustls::crypto::ring as provider;

use super::{scripts::Lua, settings::RedisSettings};
use crate::{cache::CacheError, metrics::Metrics};

const SLOTS: usize = 16_384;
/// How the URL of an encrypted node begins.
const ENCRYPTED: &str = "rediss://";

/// Something asked of one key. Each may be asked twice: what it does, it does once.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) key: String,
    /// A script; none reads fields of the hash.
    pub(super) script: Option<&'static Lua>,
    pub(super) arguments: Vec<String>,
}

impl Call {
    fn command(&self, known: bool) -> Cmd {
        let mut command = match (self.script, known) {
            (None, _) => Cmd::new(),
            (Some(lua), true) => redis::cmd("EVALSHA").arg(&lua.digest).arg(1).to_owned(),
            (Some(lua), false) => redis::cmd("EVAL").arg(lua.text).arg(1).to_owned(),
        };
        if self.script.is_none() {
            command.arg("HMGET");
        }
        command.arg(&self.key).arg(&self.arguments);
        command
    }
}

/// The connections of one author: what it writes and what it waits for go the same way.
#[derive(Clone)]
pub(super) struct Nodes {
    settings: RedisSettings,
    metrics: Metrics,
    /// Scheme, user and password for every node, as a URL begins; nodes go by their address alone.
    access: String,
    connections: HashMap<String, ConnectionManager>,
    /// The primary of each slot; one entry where there is no cluster.
    primaries: Vec<Option<String>>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("connections", &self.connections.keys()).finish()
    }
}

/// What became of one call on a node.
enum Fate {
    Answered,
    /// The script is not known there: send its text.
    Unknown,
    /// Another node has the key.
    Moved,
    Failed(CacheError),
}

impl Nodes {
    pub(super) async fn connect(
        settings: RedisSettings,
        metrics: Metrics,
    ) -> Result<Self, CacheError> {
        let (access, first) = address(settings.urls.first().map_or("", String::as_str));
        let (access, primaries) = (access.to_owned(), vec![Some(first.to_owned())]);
        let connections = HashMap::new();
        let mut nodes = Self { settings, metrics, access, connections, primaries };
        if nodes.settings.cluster {
            nodes.find().await?;
        }
        Ok(nodes)
    }

    pub(super) const fn follows_cluster(&self) -> bool {
        self.settings.cluster
    }

    /// The nodes that hold keys, each once.
    pub(super) fn primaries(&self) -> Vec<String> {
        let mut nodes: Vec<_> = self.primaries.iter().flatten().cloned().collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// Asks all calls in one pipeline per node, in their order where they have one key; once more
    /// where the answer did not come. With `wait`, the replicas must have what was written.
    pub(super) async fn ask(
        &mut self,
        operation: &str,
        calls: &[Call],
        wait: bool,
    ) -> Result<Vec<Value>, CacheError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let mut answers = vec![None; calls.len()];
        let mut result = self.ask_once(calls, wait, &mut answers).await;
        if matches!(result, Err(CacheError::Away { .. })) {
            if self.settings.cluster {
                // Where that fails too, the nodes stay as they were last known.
                let _ = self.find().await;
            }
            result = self.ask_once(calls, wait, &mut answers).await;
        }
        self.metrics.cache_asked(self.settings.backend(), operation, started.elapsed());
        result?;
        answers.into_iter().collect::<Option<_>>().ok_or_else(|| away("no answer"))
    }

    /// Fills the answers that are missing.
    async fn ask_once(
        &mut self,
        calls: &[Call],
        wait: bool,
        answers: &mut [Option<Value>],
    ) -> Result<(), CacheError> {
        let mut known = true;
        for _ in 0..4 {
            let mut by_node: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for at in (0..calls.len()).filter(|at| answers[*at].is_none()) {
                by_node.entry(self.node_of(&calls[at].key)?).or_default().push(at);
            }
            if by_node.is_empty() {
                return Ok(());
            }
            let mut asked = Vec::with_capacity(by_node.len());
            for (node, of_node) in by_node {
                let mut pipeline = Pipeline::with_capacity(of_node.len() + 1);
                for at in &of_node {
                    pipeline.add_command(calls[*at].command(known));
                }
                if wait && self.settings.replicas > 0 {
                    let patience = self.settings.replicas_timeout.as_millis();
                    let command = redis::cmd("WAIT").arg(self.settings.replicas).to_owned();
                    pipeline.add_command(command.clone().arg(patience.to_string()).to_owned());
                }
                let connection = self.connection(&node)?;
                asked.push((of_node, send(connection, pipeline, self.settings.request_timeout)));
            }
            let (at, sent): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            let sent = futures(sent).await;
            let mut moved = false;
            let mut failed = None;
            for (of_node, replies) in at.into_iter().zip(sent) {
                match self.sort(of_node, replies, wait, answers) {
                    Fate::Answered => {}
                    Fate::Unknown => known = false,
                    Fate::Moved => moved = true,
                    Fate::Failed(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            if moved {
                self.find().await?;
            }
        }
        Err(away("keys move between nodes"))
    }

    /// Takes a node's replies apart: answers to keep, and what to do about the others.
    fn sort(
        &self,
        of_node: Vec<usize>,
        replies: Result<Vec<Value>, CacheError>,
        wait: bool,
        answers: &mut [Option<Value>],
    ) -> Fate {
        let mut replies = match replies {
            Ok(replies) => replies,
            Err(error) => return Fate::Failed(error),
        };
        let waited = if wait && self.settings.replicas > 0 { replies.pop() } else { None };
        let mut worst = Fate::Answered;
        let mut wrote = false;
        for (at, reply) in of_node.into_iter().zip(replies) {
            let Value::ServerError(error) = reply else {
                answers[at] = Some(reply);
                wrote = true;
                continue;
            };
            match self.fate(&error) {
                failed @ Fate::Failed(_) => return failed,
                other => worst = other,
            }
        }
        // A node that did nothing, because it has become a replica itself, has none to wait for.
        let needed = self.settings.replicas;
        match waited {
            Some(Value::Int(had)) if wrote && had < i64::from(needed) => {
                let had = u32::try_from(had).unwrap_or(0);
                Fate::Failed(CacheError::Replicas { needed, had })
            }
            Some(Value::ServerError(error)) if wrote => self.fate(&error),
            _ => worst,
        }
    }

    fn fate(&self, error: &ServerError) -> Fate {
        let said = error.to_string();
        let is = |code: &str| error.code() == code || said.contains(code);
        if is("NOSCRIPT") || is("NoScriptError") {
            Fate::Unknown
        } else if is("MOVED") {
            Fate::Moved
        } else if is("NOREPLICAS") {
            Fate::Failed(CacheError::Replicas { needed: self.settings.replicas, had: 0 })
        } else {
            Fate::Failed(CacheError::Away { what: said })
        }
    }

    fn node_of(&self, key: &str) -> Result<String, CacheError> {
        let slot = if self.settings.cluster { slot(key) } else { 0 };
        let node = self.primaries.get(slot).cloned().flatten();
        node.ok_or_else(|| away("no node has the slot"))
    }

    fn connection(&mut self, node: &str) -> Result<ConnectionManager, CacheError> {
        if let Some(known) = self.connections.get(node) {
            return Ok(known.clone());
        }
        let patience = self.settings.request_timeout;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(50));
        let client = client(format!("{}{node}", self.access), &self.settings);
        let client = client.map_err(|error| broken(&error))?;
        let opened = ConnectionManager::new_lazy_with_config(client, config);
        let opened = opened.map_err(|error| broken(&error))?;
        self.connections.insert(node.to_owned(), opened.clone());
        Ok(opened)
    }

    /// Finds the primary of each slot, from whichever node answers first.
    pub(super) async fn find(&mut self) -> Result<(), CacheError> {
        let mut nodes: BTreeSet<_> = self.primaries().into_iter().collect();
        nodes.extend(self.settings.urls.iter().map(|url| address(url).1.to_owned()));
        nodes.extend(self.connections.keys().cloned());
        // All are asked at once: nodes that do not answer, one after another, would outlast everybody.
        let mut asked = JoinSet::new();
        for node in nodes {
            let mut pipeline = Pipeline::with_capacity(1);
            pipeline.add_command(redis::cmd("CLUSTER").arg("SLOTS").to_owned());
            asked.spawn(send(self.connection(&node)?, pipeline, self.settings.request_timeout));
        }
        let mut last = away("no node is known");
        while let Some(answer) = asked.join_next().await {
            match answer.map_err(|_| away("no answer")).and_then(one) {
                Ok(slots) => {
                    self.primaries = primaries(&slots);
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// One command to one node.
    pub(super) async fn command(&mut self, node: &str, command: &Cmd) -> Result<Value, CacheError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command.clone());
        let connection = self.connection(node)?;
        one(send(connection, pipeline, self.settings.request_timeout).await)
    }

    /// Some commands to one node, in one pipeline.
    pub(super) async fn commands(
        &mut self,
        node: &str,
        commands: &[Cmd],
    ) -> Result<Vec<Value>, CacheError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let connection = self.connection(node)?;
        send(connection, pipeline, self.settings.request_timeout).await
    }

    /// A section of what a node says of itself.
    pub(super) async fn info(
        &mut self,
        node: &str,
        section: &str,
    ) -> Result<HashMap<String, String>, CacheError> {
        let value = self.command(node, redis::cmd("INFO").arg(section)).await?;
        let text: String = redis::from_redis_value(value).map_err(|error| broken(&error.into()))?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Ok(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// How a node is set.
    pub(super) async fn setting(&mut self, node: &str, name: &str) -> Result<String, CacheError> {
        let value = self.command(node, redis::cmd("CONFIG").arg("GET").arg(name)).await?;
        let pair: Vec<String> =
            redis::from_redis_value(value).map_err(|error| broken(&error.into()))?;
        Ok(pair.into_iter().nth(1).unwrap_or_default())
    }

    /// The node that has a key.
    pub(super) fn home(&self, key: &str) -> Result<String, CacheError> {
        self.node_of(key)
    }
}

/// The answer to one command.
fn one(answers: Result<Vec<Value>, CacheError>) -> Result<Value, CacheError> {
    match answers?.pop() {
        Some(Value::ServerError(error)) => Err(CacheError::Away { what: error.to_string() }),
        Some(value) => Ok(value),
        None => Err(away("no answer")),
    }
}

async fn send(
    mut connection: ConnectionManager,
    pipeline: Pipeline,
    patience: Duration,
) -> Result<Vec<Value>, CacheError> {
    let count = pipeline.len();
    let sent = connection.req_packed_commands(&pipeline, 0, count);
    match tokio::time::timeout(patience, sent).await {
        Ok(replies) => replies.map_err(|error| broken(&error)),
        Err(_) => Err(away("no answer in time")),
    }
}

/// Waits for all; the first is polled with the others, so the nodes work at once.
async fn futures<T: Send + 'static>(
    sent: Vec<impl Future<Output = Result<T, CacheError>> + Send + 'static>,
) -> Vec<Result<T, CacheError>> {
    if sent.len() == 1 {
        let mut answers = Vec::with_capacity(1);
        for one in sent {
            answers.push(one.await);
        }
        return answers;
    }
    let tasks: Vec<_> = sent.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.unwrap_or_else(|_| Err(away("the request was lost"))));
    }
    answers
}

/// Who connects to a node, encrypted where its URL says so.
fn client(url: String, settings: &RedisSettings) -> Result<Client, RedisError> {
    if !url.starts_with(ENCRYPTED) {
        return Client::open(url);
    }
    // Connections of the crate go by the default of the process, and where two providers are built
    // in there is none until it is set. One that was set before stays.
    let _ = provider::default_provider().install_default();
    let root_cert = settings.authority.clone();
    Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert })
}

/// Takes a URL apart: how and as whom to ask, up to the `@`, and where.
fn address(url: &str) -> (&str, &str) {
    let scheme = url.find("://").map(|at| at + "://".len());
    let host = url.rfind('@').map(|at| at + 1).or(scheme);
    url.split_at(host.unwrap_or(0))
}

/// The slot of a key, by what stands in its braces: CRC-16 of the XMODEM kind.
fn slot(key: &str) -> usize {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let tag = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    usize::from(crc) % SLOTS
}

/// Reads `CLUSTER SLOTS`: first and last slot, then the primary's address.
fn primaries(slots: &Value) -> Vec<Option<String>> {
    let mut found = vec![None; SLOTS];
    let Value::Array(ranges) = slots else { return found };
    for range in ranges {
        let Value::Array(range) = range else { continue };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = range.as_slice()
        else {
            continue;
        };
        let [Value::BulkString(host), Value::Int(port), ..] = primary.as_slice() else { continue };
        let host = String::from_utf8_lossy(host);
        let node =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let first = usize::try_from(*first).unwrap_or(SLOTS);
        let last = usize::try_from(*last).unwrap_or(0);
        for slot in found.iter_mut().take(last + 1).skip(first) {
            *slot = Some(node.clone());
        }
    }
    found
}

pub(super) fn away(what: &str) -> CacheError {
    CacheError::Away { what: what.to_owned() }
}

fn broken(error: &RedisError) -> CacheError {
    CacheError::Away { what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_no_part_of_a_nodes_name() {
        assert_eq!(address("redis://a:p@ss@host:1/2"), ("redis://a:p@ss@", "host:1/2"));
        assert_eq!(address("rediss://host:1"), ("rediss://", "host:1"));
    }

    #[test]
    fn slots_are_those_of_the_cluster() {
        // As `CLUSTER KEYSLOT` answers.
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("avis:{foo}:bar"), 12_182);
        assert_eq!(slot("123456789"), 0x31c3);
    }
}
