//! A running node, asked for what a backup needs.

use std::time::Duration;

use ingest::topic::Topic;
use reqwest::{Response, StatusCode};

use super::{Cut, keys::Copied, server::LAST};
use crate::failure::Failure;

/// How long a node may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes in front of a record: its offset and its length.
const HEAD: usize = 12;

/// Who asks a running node.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

impl Client {
    /// A client of a node; the token is in the environment.
    ///
    /// # Errors
    /// Where there is no token.
    pub fn of(server: &str) -> Result<Self, Failure> {
        let token = std::env::var("AVIS_TOKEN").map_err(|_| {
            let text = "AVIS_TOKEN is not set: a token of the role operator or administrator";
            Failure::Usage(text.into())
        })?;
        let http = reqwest::Client::builder().read_timeout(PATIENCE).build();
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self { http: http.map_err(|error| failed(&server, &error))?, server, token })
    }

    /// An instant of the node.
    ///
    /// # Errors
    /// Where it refuses or cannot be reached.
    pub async fn cut(&self) -> Result<Cut, Failure> {
        let response = self.ask(self.http.get(format!("{}/v1/backup", self.server))).await?;
        response.json().await.map_err(|error| failed(&self.server, &error))
    }

    /// Lets the node copy its keys where its settings say.
    ///
    /// # Errors
    /// Where it refuses or cannot be reached.
    pub async fn keys(&self) -> Result<Copied, Failure> {
        let response = self.ask(self.http.post(format!("{}/v1/backup/keys", self.server))).await?;
        response.json().await.map_err(|error| failed(&self.server, &error))
    }

    /// Tells the records of a partition.
    ///
    /// # Errors
    /// Where the node refuses, or what it tells is cut off.
    pub async fn records(
        &self,
        (topic, partition, from, end): (Topic, u32, u64, u64),
        mut each: impl FnMut(u64, &[u8]) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        let address =
            format!("{}/v1/backup/streams/{topic}/{partition}?from={from}&end={end}", self.server);
        let mut response = self.ask(self.http.get(address)).await?;
        let mut waiting: Vec<u8> = Vec::new();
        loop {
            let mut read = 0;
            while let Some(rest) = waiting.get(read..)
                && let Some((head, rest)) = rest.split_at_checked(HEAD)
            {
                let (offset, length) = head.split_at(8);
                let offset = u64::from_le_bytes(offset.try_into().unwrap_or_default());
                let length = u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
                if offset == LAST {
                    return Ok(());
                }
                let Some(bytes) = rest.get(..length) else { break };
                each(offset, bytes)?;
                read += HEAD + length;
            }
            waiting.drain(..read);
            match response.chunk().await.map_err(|error| failed(&self.server, &error))? {
                Some(chunk) => waiting.extend_from_slice(&chunk),
                None => {
                    let text = format!("{}: its records of {topic} are cut off", self.server);
                    return Err(Failure::Server(text));
                }
            }
        }
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let response = request.bearer_auth(&self.token).send().await;
        let response = response.map_err(|error| failed(&self.server, &error))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let problem: serde_json::Value = response.json().await.unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or_default();
        Err(Failure::Server(format!("{}: refused with {status}: {detail}", self.server)))
    }
}

fn failed(server: &str, error: &reqwest::Error) -> Failure {
    // The address of the request is ours; what is left says what happened.
    let mut text = format!("{server}: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Failure::Server(text)
}
