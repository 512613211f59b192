//! A running node, asked over HTTP by a command that says `--server`.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;

/// How long a node may say nothing: as long as it takes to close a month or to answer a report.
const PATIENCE: Duration = Duration::from_secs(300);

/// Somebody with a token who asks a running node.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: String,
}

impl Client {
    /// A client of a node; the token is in the environment.
    ///
    /// # Errors
    /// Where there is no token, or the address is none.
    pub fn of(server: &str) -> Result<Self, Failure> {
        Self::made(server, Some(PATIENCE))
    }

    /// As [`of`](Self::of), for files of any length: a node answers when it has taken all of one.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn patient(server: &str) -> Result<Self, Failure> {
        Self::made(server, None)
    }

    fn made(server: &str, patience: Option<Duration>) -> Result<Self, Failure> {
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let address = Url::parse(server).ok().filter(is_web).ok_or_else(|| {
            let text = format!("--server {server}: is no address such as http://[::1]:8080");
            Failure::Usage(text)
        })?;
        let token = std::env::var("AVIS_TOKEN").unwrap_or_default().trim().to_owned();
        if token.is_empty() {
            let text = "AVIS_TOKEN is not set: the token of who asks the running node; \
                        `avis token issue` makes one";
            return Err(Failure::Usage(text.into()));
        }
        let mut http = reqwest::Client::builder();
        if let Some(patience) = patience {
            http = http.read_timeout(patience);
        }
        let http = http.build().map_err(|error| failed(server, &error))?;
        Ok(Self { http, server: address, token })
    }

    /// The node, as it is told of.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// A request for a path below `/v1`.
    pub fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut address = self.server.clone();
        // Every address with a host has a path.
        if let Ok(mut segments) = address.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, address).bearer_auth(&self.token)
    }

    /// What is answered, where that is no refusal.
    ///
    /// # Errors
    /// Where the node refuses or cannot be reached.
    pub async fn ask(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        self.granted(response).await
    }

    async fn granted(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem: Value = response.json().await.unwrap_or_default();
        Err(self.refused(status, &problem))
    }

    /// As [`ask`](Self::ask), and what is answered is read.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and where what comes is not what it has to be.
    pub async fn told<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.ask(request).await?;
        response.json().await.map_err(|error| self.failed(&error))
    }

    /// The bytes that come.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn bytes(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        self.read(self.ask(request).await?).await
    }

    /// As [`bytes`](Self::bytes); none where there is nothing, or nothing for who asks.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn bytes_if_any(&self, request: RequestBuilder) -> Result<Option<Vec<u8>>, Failure> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        if [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN].contains(&response.status()) {
            return Ok(None);
        }
        let response = self.granted(response).await?;
        self.read(response).await.map(Some)
    }

    async fn read(&self, response: Response) -> Result<Vec<u8>, Failure> {
        let bytes = response.bytes().await.map_err(|error| self.failed(&error))?;
        Ok(bytes.to_vec())
    }

    /// The items of every page of a list.
    ///
    /// # Errors
    /// As [`told`](Self::told).
    pub async fn pages<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        list: &str,
    ) -> Result<Vec<T>, Failure> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut asked = query.to_vec();
            asked.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page: Value = self.told(self.request(Method::GET, path, &asked)).await?;
            let some = page.get_mut(list).map(Value::take).unwrap_or_default();
            let some = serde_json::from_value::<Vec<T>>(some).map_err(|error| {
                Failure::Server(format!("{}: its {list} cannot be read: {error}", self.shown()))
            })?;
            items.extend(some);
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }

    /// Why a node cannot be asked.
    #[must_use]
    pub fn failed(&self, error: &reqwest::Error) -> Failure {
        failed(self.shown(), error)
    }

    /// Why it refuses: what its problem says, and each fault with its place.
    fn refused(&self, status: StatusCode, problem: &Value) -> Failure {
        let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
        let mut told = format!("{}: refused with {status}", self.shown());
        for part in [text(problem, "title"), text(problem, "detail")] {
            if !part.is_empty() {
                told.push_str(": ");
                told.push_str(&part);
            }
        }
        if status == StatusCode::UNAUTHORIZED {
            told.push_str("; AVIS_TOKEN has no token that this node takes");
        }
        for fault in problem["errors"].as_array().into_iter().flatten() {
            let (pointer, detail) = (text(fault, "pointer"), text(fault, "detail"));
            told.push_str(&format!("\n  {pointer}: {detail}"));
        }
        Failure::Server(told)
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
