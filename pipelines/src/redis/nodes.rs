//! The nodes of a Redis: one, or those of a cluster.
//!
//! Which node has a key each of a cluster's nodes says itself, so nothing is known of slots here: what a
//! node has not is asked of the one that it names.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    time::Duration,
};

use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, ServerError,
    ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};
use tokio_rustls::rustls::crypto::ring as provider;

use super::Trouble;
use crate::dialect::connector::{RedisAddress, RedisConnection};

/// How long the answers to what is asked together may take, connecting and following keys included.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many commands go to Redis at once, which bounds the memory of both.
const TOGETHER: usize = 1_024;
/// So often a key is asked for: where the nodes agree, the second one has it.
const FOLLOWED: usize = 8;

/// Connections to the nodes that were asked.
pub(super) struct Nodes {
    /// The node that is asked first, and as whom each is asked.
    info: ConnectionInfo,
    first: String,
    is_cluster: bool,
    connections: HashMap<String, ConnectionManager>,
}

impl std::fmt::Debug for Nodes {
    /// Without as whom they are asked.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("first", &self.first).finish_non_exhaustive()
    }
}

impl Nodes {
    /// Connects, of a cluster to the first of its addresses that answers.
    ///
    /// # Errors
    /// Where none answers in 10 seconds, with what the last one said.
    pub(super) async fn connect(to: &RedisConnection) -> Result<Self, Trouble> {
        let (addresses, is_cluster) = match &to.address {
            RedisAddress::Server(address) => (std::slice::from_ref(address), false),
            RedisAddress::Cluster(addresses) => (addresses.as_slice(), true),
        };
        let mut last = Trouble("no address of redis is named".into());
        for address in addresses {
            let info = info(address, to)?;
            let (first, connections) = (info.addr().to_string(), HashMap::new());
            let mut nodes = Self { info, first, is_cluster, connections };
            match nodes.ask(&[redis::cmd("PING")]).await {
                Ok(_) => return Ok(nodes),
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }

    /// The node that is asked first, without a secret.
    pub(super) fn first(&self) -> &str {
        &self.first
    }

    /// Asks all commands, those of one key in their order; their answers, in the order of the commands.
    ///
    /// # Errors
    /// Where Redis refuses one, or 1,024 of them have no answer in 10 seconds. What was asked may have been
    /// done.
    pub(super) async fn ask(&mut self, commands: &[Cmd]) -> Result<Vec<Value>, Trouble> {
        let mut answers = Vec::with_capacity(commands.len());
        for some in commands.chunks(TOGETHER) {
            let asked = tokio::time::timeout(PATIENCE, self.ask_together(some)).await;
            let asked = asked.map_err(|_| {
                let (first, seconds) = (&self.first, PATIENCE.as_secs());
                Trouble(format!("redis at {first} gives no answer in {seconds} seconds"))
            });
            answers.extend(asked??);
        }
        Ok(answers)
    }

    async fn ask_together(&mut self, commands: &[Cmd]) -> Result<Vec<Value>, Trouble> {
        let mut answers: Vec<Option<Value>> = vec![None; commands.len()];
        let mut homes = vec![self.first.clone(); commands.len()];
        for _ in 0..FOLLOWED {
            let mut of_node: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for at in (0..commands.len()).filter(|at| answers[*at].is_none()) {
                of_node.entry(homes[at].clone()).or_default().push(at);
            }
            if of_node.is_empty() {
                return Ok(answers.into_iter().flatten().collect());
            }
            for (node, places) in of_node {
                let mut pipeline = Pipeline::with_capacity(places.len());
                for at in &places {
                    pipeline.add_command(commands[*at].clone());
                }
                let replies = self.send(&node, &pipeline).await?;
                for (at, reply) in places.into_iter().zip(replies) {
                    match reply {
                        Value::ServerError(error) => homes[at] = self.named(&node, &error)?,
                        reply => answers[at] = Some(reply),
                    }
                }
            }
        }
        Err(Trouble(format!("redis at {}: its nodes name each other for a key", self.first)))
    }

    /// The node that a cluster's node names for a key which it has not.
    fn named(&self, node: &str, error: &ServerError) -> Result<String, Trouble> {
        let said = error.details().unwrap_or_default();
        // "3999 127.0.0.1:6381": the slot, and who has it.
        match said.split_once(' ') {
            Some((_, home)) if self.is_cluster && error.kind() == Some(ServerErrorKind::Moved) => {
                Ok(home.to_owned())
            }
            _ => Err(Trouble(format!("redis at {node}: {} {said}", error.code()))),
        }
    }

    async fn send(&mut self, node: &str, pipeline: &Pipeline) -> Result<Vec<Value>, Trouble> {
        let mut connection = self.connection(node)?;
        let sent = connection.req_packed_commands(pipeline, 0, pipeline.len()).await;
        sent.map_err(|error| Trouble(format!("redis at {node}: {error}")))
    }

    fn connection(&mut self, node: &str) -> Result<ConnectionManager, Trouble> {
        if let Some(known) = self.connections.get(node) {
            return Ok(known.clone());
        }
        let address = self.address(node)?;
        if matches!(address, ConnectionAddr::TcpTls { .. }) {
            // As the authoriser's: where two providers are built in there is none until it is set.
            let _ = provider::default_provider().install_default();
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            // Whoever asks waits so long, with what connecting took of it.
            .set_response_timeout(None)
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(50));
        let opened = Client::open(self.info.clone().set_addr(address))
            .and_then(|client| ConnectionManager::new_lazy_with_config(client, config));
        let opened = opened.map_err(|error| Trouble(format!("redis at {node}: {error}")))?;
        self.connections.insert(node.to_owned(), opened.clone());
        Ok(opened)
    }

    /// Where a node listens: another than the first is encrypted as that one is.
    fn address(&self, node: &str) -> Result<ConnectionAddr, Trouble> {
        if node == self.first {
            return Ok(self.info.addr().clone());
        }
        let named = node.rsplit_once(':');
        let named = named.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        let (host, port) =
            named.ok_or_else(|| Trouble(format!("redis names {node:?}, which is no address")))?;
        Ok(match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                let (insecure, tls_params) = (*insecure, tls_params.clone());
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        })
    }
}

/// An address, and as whom Redis is asked there.
fn info(address: &str, to: &RedisConnection) -> Result<ConnectionInfo, Trouble> {
    // It may hold a password, so it is not told.
    let info = address
        .into_connection_info()
        .map_err(|error| Trouble(format!("the address of redis: {error}")))?;
    let variable = |name: &str| env::var(name).ok();
    let mut asked = info.redis_settings().clone();
    if let Some(username) = &to.username {
        asked = asked.set_username(with_variables(username, variable)?);
    }
    if let Some(password) = &to.password {
        asked = asked.set_password(with_variables(password, variable)?);
    }
    Ok(info.set_redis_settings(asked))
}

/// A text in which `{{ NAME }}` stands for a variable.
fn with_variables(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, Trouble> {
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, from)) = rest.split_once("{{") {
        let Some((name, after)) = from.split_once("}}") else { break };
        let name = name.trim();
        let value = variable(name);
        let value = value.ok_or_else(|| {
            Trouble(format!("the environment has no text in the variable {name}"))
        })?;
        made.push_str(before);
        made.push_str(&value);
        rest = after;
    }
    made.push_str(rest);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_stands_in_braces() {
        let variable = |name: &str| (name == "NAME").then(|| "it".to_owned());
        for (text, made) in [
            ("plain", "plain"),
            ("{{ NAME }}", "it"),
            ("a{{NAME}}b{{ NAME}}", "aitbit"),
            ("open {{ NAME", "open {{ NAME"),
        ] {
            assert_eq!(with_variables(text, variable).expect(text), made);
        }
        let refused = with_variables("{{ OTHER }}", variable).expect_err("there is none");
        assert_eq!(refused.to_string(), "the environment has no text in the variable OTHER");
    }
}
