//! A running node, asked for what a backup needs.

use ingest::topic::Topic;
use reqwest::Method;

use super::{Cut, keys::Copied, server::LAST};
use crate::{client, failure::Failure};

/// Bytes in front of a record: its offset and its length.
const HEAD: usize = 12;

/// Who asks a running node.
#[derive(Debug)]
pub struct Client(client::Client);

impl Client {
    /// A client of a node; the token, of the role operator or administrator, is in the environment.
    ///
    /// # Errors
    /// Where there is no token.
    pub fn of(server: &str) -> Result<Self, Failure> {
        Ok(Self(client::Client::of(server)?))
    }

    /// An instant of the node.
    ///
    /// # Errors
    /// Where it refuses or cannot be reached.
    pub async fn cut(&self) -> Result<Cut, Failure> {
        self.0.told(self.0.request(Method::GET, &["backup"], &[])).await
    }

    /// Lets the node copy its keys where its settings say.
    ///
    /// # Errors
    /// Where it refuses or cannot be reached.
    pub async fn keys(&self) -> Result<Copied, Failure> {
        self.0.told(self.0.request(Method::POST, &["backup", "keys"], &[])).await
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
        let (partition, from, end) = (partition.to_string(), from.to_string(), end.to_string());
        let path = ["backup", "streams", topic.name(), partition.as_str()];
        let query = [("from", from.as_str()), ("end", end.as_str())];
        let mut response = self.0.ask(self.0.request(Method::GET, &path, &query)).await?;
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
            match response.chunk().await.map_err(|error| self.0.failed(&error))? {
                Some(chunk) => waiting.extend_from_slice(&chunk),
                None => {
                    let text = format!("{}: its records of {topic} are cut off", self.0.shown());
                    return Err(Failure::Server(text));
                }
            }
        }
    }
}
