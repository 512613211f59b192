//! The other side of the wire: what a merchant's terminal asks with. Use it as it is, or copy it.
//!
//! Each request has a key that is on the terminal's disk before the request leaves it, and is sent under
//! that key until it is answered or the customer has waited long enough. What nobody heard the outcome
//! of is undone by its key (an authorisation) or sent again (what became of one), at once or after the
//! next start: so nothing is given twice, and nothing stays that the till does not know of.

use std::{
    io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{StatusCode, header::RETRY_AFTER};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::journal::{Journal, Pending, Then};

mod credential;
mod journal;

pub use credential::{Credential, Key, enrol};

/// The first pause before a request is sent again; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause, whatever the server asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where and as whom a terminal asks, and how long a customer waits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node, `https://avis.example.lv`.
    pub server: String,
    /// The terminal's id.
    pub terminal: String,
    /// What it shows.
    pub credential: Credential,
    /// How long one answer is waited for.
    pub timeout: Duration,
    /// How long a request is sent again and again while the customer waits.
    pub patience: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused; asking again would not help.
    #[error("refused with {status}: {}", problem["detail"].as_str().unwrap_or_default())]
    Refused {
        /// The status.
        status: u16,
        /// The problem, as the server told it.
        problem: Value,
    },
    /// Nobody knows whether the request was heard. Serve the customer without it;
    /// [`Client::settle`] does the rest.
    #[error("no answer within the customer's patience")]
    Unknown,
    /// The terminal's own disk failed; nothing was sent.
    #[error("the journal cannot be written")]
    Journal(#[from] io::Error),
    /// The client cannot be made, or the server not be reached to enrol a key.
    #[error("no usable client")]
    Client(#[from] reqwest::Error),
    /// The terminal's own key is none.
    #[error("the terminal's key cannot sign")]
    Key,
    /// The operating system gives no randomness, so there is no key.
    #[error("the operating system gives no randomness")]
    Random,
}

/// A terminal's client.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    http: reqwest::Client,
    journal: Mutex<Journal>,
}

/// How one attempt ended.
enum Attempt {
    Answered(Value),
    Refused(u16, Value),
    /// Nobody knows, or not now: again after so long.
    Again(Option<Duration>),
}

impl Client {
    /// A client whose journal lies in a file of its own. What the last run left open is undone or sent
    /// again by [`settle`](Self::settle).
    ///
    /// # Errors
    /// Where the journal cannot be read or written.
    pub fn open(settings: Settings, journal: &Path) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder().timeout(settings.timeout).build()?;
        Ok(Self { settings, http, journal: Mutex::new(Journal::open(journal)?) })
    }

    /// Asks what applies to a basket: `mode` `reserve` or `sale`, `lines`, and what else the API takes.
    /// Answers the authorisation.
    ///
    /// # Errors
    /// Where it is refused, or nobody knows.
    pub async fn authorise(&self, mut basket: Value) -> Result<Value, ClientError> {
        basket["terminal_id"] = json!(self.settings.terminal);
        let key = key()?;
        self.send(Pending {
            key,
            path: "/v1/authorisations".into(),
            body: basket,
            then: Then::Undo,
        })
        .await
    }

    /// Captures a reservation; sent again until it is heard of, whatever happens to the till.
    ///
    /// # Errors
    /// Where it is refused, or nobody knows yet.
    pub async fn capture(&self, authorisation: &str, receipt: Value) -> Result<Value, ClientError> {
        self.change(authorisation, "capture", json!({"receipt": receipt})).await
    }

    /// Cancels a reservation.
    ///
    /// # Errors
    /// Where it is refused, or nobody knows yet.
    pub async fn void(&self, authorisation: &str) -> Result<Value, ClientError> {
        self.change(authorisation, "void", Value::Null).await
    }

    /// Takes back `lines`, each a line and a quantity.
    ///
    /// # Errors
    /// Where it is refused, or nobody knows yet.
    pub async fn refund(&self, authorisation: &str, lines: Value) -> Result<Value, ClientError> {
        self.change(authorisation, "refunds", json!({"lines": lines})).await
    }

    /// Undoes or sends again whatever nobody heard the outcome of; answers how much is still open.
    /// Call it after the start and now and then.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub async fn settle(&self) -> Result<usize, ClientError> {
        let open = self.journal().open_requests();
        for pending in open {
            match self.deliver(&pending.settling(&self.settings.terminal)).await {
                // Refused is an answer, too: there is nothing to undo, or it has been done.
                Ok(_) => self.journal().done(&pending.key)?,
                Err(ClientError::Refused { status, .. }) if is_about_the_request(status) => {
                    self.journal().done(&pending.key)?;
                }
                Err(ClientError::Unknown | ClientError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.journal().open_requests().len())
    }

    async fn change(&self, of: &str, what: &str, body: Value) -> Result<Value, ClientError> {
        let path = format!("/v1/authorisations/{of}/{what}");
        self.send(Pending { key: key()?, path, body, then: Then::Again }).await
    }

    /// Sends what is in the journal first, until it is answered or patience ends.
    async fn send(&self, pending: Pending) -> Result<Value, ClientError> {
        self.journal().begin(&pending)?;
        let answer = self.deliver(&pending).await;
        let is_known = match &answer {
            Ok(_) => true,
            Err(ClientError::Refused { status, .. }) => is_about_the_request(*status),
            Err(_) => false,
        };
        let mut journal = self.journal();
        match is_known {
            true => journal.done(&pending.key)?,
            false => journal.given_up(&pending.key),
        }
        answer
    }

    async fn deliver(&self, pending: &Pending) -> Result<Value, ClientError> {
        let until = Instant::now() + self.settings.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let token = self.settings.credential.token(&self.settings.terminal)?;
            let wait = match self.attempt(pending, &token).await {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Refused(status, problem) => {
                    return Err(ClientError::Refused { status, problem });
                }
                Attempt::Again(asked) => asked.unwrap_or(pause).min(LONGEST_PAUSE),
            };
            if Instant::now() + wait >= until {
                return Err(ClientError::Unknown);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
    }

    async fn attempt(&self, pending: &Pending, token: &str) -> Attempt {
        let url = format!("{}{}", self.settings.server, pending.path);
        let mut request = self.http.post(url).bearer_auth(token);
        request = request.header("idempotency-key", &pending.key);
        if !pending.body.is_null() {
            request = request.json(&pending.body);
        }
        // Whether it was heard nobody knows; the key makes it harmless to say it again.
        let Ok(response) = request.send().await else { return Attempt::Again(None) };
        let status = response.status();
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let asked = asked.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let Ok(body) = response.json::<Value>().await else { return Attempt::Again(asked) };
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Attempt::Again(asked),
            status if status.is_server_error() => Attempt::Again(asked),
            status if status.is_success() => Attempt::Answered(body),
            status => Attempt::Refused(status.as_u16(), body),
        }
    }

    fn journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a refusal tells what became of a request. One of who asks, with a token that has expired say, tells
/// nothing: an attempt before it may have been heard.
const fn is_about_the_request(status: u16) -> bool {
    !matches!(status, 401 | 403)
}

/// A key that no other request of the terminal has, before or after a restart.
fn key() -> Result<String, ClientError> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ClientError::Random)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
