//! Somebody who knows of a running node its address, the API, and a token.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::Utc;
use domain::period::LocalTime;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{avis, succeeded, up::Server};

/// A token as somebody at the machine makes it, beside a node that runs or for one that will.
pub fn token(folder: &Path, role: &str, organisation: &str, subject: &str) -> String {
    let mut command = avis();
    command.args(["token", "issue", "--role", role, "--subject", subject]);
    command.args(["--organisation", organisation, "--data"]).arg(folder);
    succeeded(&command.output().expect("run")).trim().to_owned()
}

/// A recipient's, by their personal code.
pub fn own_token(folder: &Path, person: &str) -> String {
    let mut command = avis();
    command.args(["token", "issue", "--role", "recipient", "--person", person, "--data"]);
    succeeded(&command.arg(folder).output().expect("run")).trim().to_owned()
}

/// Today, where the benefits are.
pub fn today() -> String {
    LocalTime::of(Utc::now()).date.to_string()
}

/// Asks until an answer is the wanted one: what is told at one door is seen behind another in a moment.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A node that is ready, over a folder of its own that goes when it does.
pub struct Node {
    pub server: Server,
    pub folder: PathBuf,
    _place: TempDir,
}

impl Node {
    /// One with settings from the environment.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("data");
        let server = Server::start_with(&folder, settings);
        server.wait_until_ready();
        Self { server, folder, _place: place }
    }

    /// One that has been started, over a folder in a place that goes when it does.
    pub fn of(server: Server, folder: PathBuf, place: TempDir) -> Self {
        Self { server, folder, _place: place }
    }

    /// Somebody whose token is made beside the node that runs.
    pub fn talk(&self, role: &str, organisation: &str, subject: &str) -> Talk<'_> {
        Talk::new(&self.server, &token(&self.folder, role, organisation, subject))
    }
}

/// Somebody with a token.
pub struct Talk<'a> {
    pub server: &'a Server,
    pub token: String,
}

impl<'a> Talk<'a> {
    pub fn new(server: &'a Server, token: &str) -> Self {
        Self { server, token: token.to_owned() }
    }

    /// What is answered, and how.
    pub fn try_get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.server.ask(&self.token, "GET", path, "", &Value::Null);
        (status, body)
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.try_get(path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The tag of what stands at a path; none where nothing does.
    fn seen(&self, path: &str) -> String {
        let (_, tag, _) = self.server.ask(&self.token, "GET", path, "", &Value::Null);
        if tag.is_empty() { String::new() } else { format!("If-Match: {tag}\r\n") }
    }

    /// Puts what is new, or what was seen a moment ago.
    pub fn try_put(&self, path: &str, body: &Value) -> (u16, Value) {
        let seen = self.seen(path.trim_end_matches("/state"));
        let (status, _, answer) = self.server.ask(&self.token, "PUT", path, &seen, body);
        (status, answer)
    }

    pub fn put(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_put(path, body);
        assert!(matches!(status, 200 | 201), "{path}: {status} {answer}");
        answer
    }

    pub fn try_post(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let header = format!("Idempotency-Key: {key}\r\nContent-Type: application/json\r\n");
        let (status, _, answer) = self.server.ask(&self.token, "POST", path, &header, body);
        (status, answer)
    }

    pub fn post(&self, path: &str, key: &str, body: &Value) -> Value {
        let (status, answer) = self.try_post(path, key, body);
        assert!(matches!(status, 200 | 201 | 204), "{path}: {status} {answer}");
        answer
    }

    pub fn delete(&self, path: &str) -> u16 {
        let seen = self.seen(path);
        self.server.ask(&self.token, "DELETE", path, &seen, &Value::Null).0
    }

    /// Tells events, a batch of them.
    pub fn events(&self, events: &[Value]) -> Value {
        let header = "Content-Type: application/cloudevents-batch+json\r\n";
        let (status, _, told) =
            self.server.ask(&self.token, "POST", "/v1/events", header, &json!(events));
        assert_eq!(status, 200, "{told}");
        told
    }

    /// Sells one line at a terminal.
    pub fn sell(&self, terminal: &str, key: &str, means: Option<&str>, line: &Value) -> Value {
        let mut basket = json!({"terminal_id": terminal, "occurred_at": Utc::now().to_rfc3339(),
            "mode": "sale", "lines": [line]});
        if let Some(card) = means {
            basket["means"] = json!({"kind": "card_uid", "value": card});
        }
        self.post("/v1/authorisations", key, &basket)
    }
}

/// The rows of a query over PostgreSQL's protocol, each value as text, with a token as password.
pub fn sql(server: &Server, user: &str, token: &str, query: &str) -> Result<Vec<String>, String> {
    let mut stream = TcpStream::connect(server.postgres()).expect("connected");
    let parameters = format!("user\0{user}\0database\0avis\0\0");
    let mut start = 196_608_u32.to_be_bytes().to_vec();
    start.extend(parameters.as_bytes());
    let length = u32::try_from(start.len() + 4).expect("short").to_be_bytes();
    stream.write_all(&[&length[..], &start].concat()).expect("sent");
    let send = |stream: &mut TcpStream, kind: u8, text: &str| {
        let length = u32::try_from(text.len() + 5).expect("short").to_be_bytes();
        let message = [&[kind][..], &length, text.as_bytes(), &[0]].concat();
        stream.write_all(&message).expect("sent");
    };
    let (mut rows, mut asked) = (Vec::new(), false);
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).expect("a message");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).expect("its body");
        match head[0] {
            // It asks for the password in the clear, or says that we are in.
            b'R' if body == 3_u32.to_be_bytes() => send(&mut stream, b'p', token),
            b'R' => assert_eq!(body, 0_u32.to_be_bytes(), "another way to log in"),
            b'Z' if asked => return Ok(rows),
            b'Z' => {
                send(&mut stream, b'Q', query);
                asked = true;
            }
            b'D' => rows.push(row(&body)),
            b'E' => return Err(String::from_utf8_lossy(&body).replace('\0', " ")),
            _ => {}
        }
    }
}

/// A row's values, joined by commas.
fn row(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut values = Vec::new();
    while let [a, b, c, d, more @ ..] = rest {
        let length = i32::from_be_bytes([*a, *b, *c, *d]);
        let length = usize::try_from(length).unwrap_or(0);
        values.push(String::from_utf8_lossy(&more[..length]).into_owned());
        rest = &more[length..];
    }
    values.join(",")
}
