//! A server over what the demo left.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{avis, sql, succeeded};

pub struct Server {
    child: Child,
    address: String,
    /// Where SQL is asked by PostgreSQL's protocol.
    postgres: String,
    /// Where terminals stream.
    grpc: String,
    /// Where SQL is asked by Arrow Flight.
    flight: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that was stopped has nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn start(folder: &std::path::Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// As [`start`](Self::start), with settings from the environment.
    pub fn start_with(folder: &std::path::Path, settings: &[(&str, &str)]) -> Self {
        let mut command = avis();
        command.envs(settings.iter().copied());
        Self::spawn(folder, command)
    }

    /// As [`start_with`](Self::start_with); what it logs goes to a file.
    pub fn start_logged(
        folder: &std::path::Path,
        settings: &[(&str, &str)],
        log: std::fs::File,
    ) -> Self {
        let mut command = avis();
        command.envs(settings.iter().copied()).stderr(log);
        Self::spawn(folder, command)
    }

    fn spawn(folder: &std::path::Path, mut command: std::process::Command) -> Self {
        let any = "127.0.0.1:0";
        command.args(["up", "--http", any, "--grpc", any, "--postgres", any, "--flight", any]);
        command.arg("--data").arg(folder);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("run");
        let mut lines = BufReader::new(child.stdout.take().expect("output")).lines();
        let mut told = |scheme: &str| loop {
            let line = lines.next().expect("its address").expect("text");
            if let Some((_, rest)) = line.split_once(scheme) {
                break rest.split('/').next().expect("an address").to_owned();
            }
        };
        // In the order in which it tells them.
        let [address, grpc, postgres, flight] =
            ["http://", "grpc     ", "postgres://", "grpc://"].map(&mut told);
        // What it prints later has somewhere to go.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, postgres, grpc, flight }
    }

    /// A process that says where it listens; at its other doors nobody asks.
    pub fn of(child: Child, address: String, postgres: String) -> Self {
        let (grpc, flight) = (String::new(), String::new());
        Self { child, address, postgres, grpc, flight }
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: avis\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let status = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        (status.expect("a status"), text)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn postgres(&self) -> &str {
        &self.postgres
    }

    pub fn grpc(&self) -> &str {
        &self.grpc
    }

    pub fn flight(&self) -> &str {
        &self.flight
    }

    /// Asks with a token; answers the status, the tag and the body.
    pub fn ask(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: &Value,
    ) -> (u16, String, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (head, body) = self.ask_text(token, method, path, headers, &body);
        let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap_or_default();
        (status.expect("a status"), tag.to_owned(), serde_json::from_str(&body).unwrap_or_default())
    }

    /// As [`ask`](Self::ask), whatever the bodies are; answers the head and the body.
    pub fn ask_text(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: avis\r\nConnection: close\r\n{headers}\
             Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { unchunked(body) } else { body.to_owned() };
        (head.to_owned(), body)
    }

    pub fn stop(mut self) {
        let told = std::process::Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(told.expect("told to stop").success());
        assert!(self.child.wait().expect("ended").success(), "it stops cleanly");
    }

    pub fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.get("/readyz").0 != 200 {
            assert!(Instant::now() < deadline, "not ready after a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A body that came in pieces, each after its length.
fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, more)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        body.push_str(&more[..length]);
        if length == 0 {
            break;
        }
        rest = &more[length + 2..];
    }
    body
}

#[test]
fn up_serves_what_the_demo_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("demo");
    let arguments = ["demo", "--generate", "500", "--people", "100", "--json", "--out"];
    succeeded(&avis().args(arguments).arg(&out).output().expect("run"));
    let server = Server::start(&out);
    assert_eq!(server.get("/healthz").0, 200);
    server.wait_until_ready();
    assert_eq!(sql(&out, "SELECT COUNT(*) FROM authorisations"), ["500"], "beside the server");
    let metrics = server.get("/metrics").1;
    for name in [
        "avis_ingest_sync_duration_seconds",
        "avis_pipelines_lag_records",
        "avis_warehouse_commit_duration_seconds",
        "avis_books_difference_cents 0",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    let second = avis().args(["up", "--http", "127.0.0.1:0", "--data"]).arg(&out).output();
    let second = second.expect("run");
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"));
    let asked = |address: &str| avis().args(["health", "--http", address]).output().expect("run");
    let address = server.address().to_owned();
    assert_eq!(succeeded(&asked(&address)), "ready\n");
    server.stop();
    let gone = asked(&address);
    let told = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert_eq!(gone.status.code(), Some(1), "{told}");
    assert!(told.starts_with(&format!("avis: http://{address}/readyz: ")), "{told}");
}
