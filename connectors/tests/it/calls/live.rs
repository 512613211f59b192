//! The board, live: a snapshot, then each change, to whoever listens.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use chrono::TimeDelta;
use connectors::vpvkac::{board::Board, desk::Settings, live::Live, roster::Roster};
use futures::{FutureExt, StreamExt};
use ingest::wire::v1::{Event, ServiceEvent};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Node, apply, id, noon, path, settings};

/// A message of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: String,
    pub kind: String,
    pub data: Value,
}

/// Somebody who listens over a connection of their own.
pub struct Listener {
    stream: TcpStream,
    chunked: Vec<u8>,
    text: Vec<u8>,
    /// Officials by id, as the messages have told.
    pub states: BTreeMap<String, String>,
    /// Open calls that wait, by whom they need.
    pub waiting: BTreeMap<String, u64>,
    pub last: String,
}

impl Listener {
    /// Listens; the status where that is refused.
    pub async fn open(to: SocketAddr, token: &str, last: &str) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(to).await.expect("connected");
        let mut head = format!(
            "GET /v1/officials/board HTTP/1.1\r\nhost: avis\r\nauthorization: Bearer {token}\r\n"
        );
        if !last.is_empty() {
            head.push_str(&format!("last-event-id: {last}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let read = stream.read_buf(&mut bytes).await.expect("read");
            assert!(read > 0, "a whole head");
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        if status != 200 {
            return Err(status);
        }
        assert!(head.contains("text/event-stream"), "{head}");
        let chunked = bytes[end + 4..].to_vec();
        let (text, states, waiting) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { stream, chunked, text, states, waiting, last: last.into() })
    }

    /// The next block of the stream, without its empty line; none where the stream has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            while let Some(rest) = take_chunk(&self.chunked, &mut self.text) {
                self.chunked.drain(..rest);
            }
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block = String::from_utf8_lossy(&self.text[..end]).into_owned();
                self.text.drain(..end + 2);
                return Some(block);
            }
            if self.stream.read_buf(&mut self.chunked).await.is_ok_and(|read| read > 0) {
                continue;
            }
            return None;
        }
    }

    /// The next message, which is taken into account; heartbeats are passed over.
    pub async fn message(&mut self) -> Option<Message> {
        loop {
            let block = self.block().await?;
            if block.starts_with(':') {
                continue;
            }
            let field = |name: &str| {
                let found = block.lines().find_map(|line| line.strip_prefix(name));
                found.unwrap_or_else(|| panic!("{name} in {block}")).to_owned()
            };
            let data = serde_json::from_str(&field("data: ")).expect("JSON");
            let message = Message { id: field("id: "), kind: field("event: "), data };
            self.take(&message);
            return Some(message);
        }
    }

    fn take(&mut self, message: &Message) {
        self.last = message.id.clone();
        if message.kind == "snapshot" {
            self.states.clear();
            self.waiting.clear();
        }
        let list = |name: &str| message.data[name].as_array().cloned().expect("a list");
        for official in list("officials") {
            let text = |name: &str| official[name].as_str().expect("a text").to_owned();
            self.states.insert(text("official"), text("state"));
        }
        for calls in list("calls") {
            let of = format!("{}/{}/{}", calls["institution"], calls["service"], calls["language"]);
            self.waiting.insert(of, calls["waiting"].as_u64().expect("a number"));
        }
    }
}

/// Moves one whole chunk of a body; how many bytes it took, with what surrounds it.
fn take_chunk(bytes: &[u8], text: &mut Vec<u8>) -> Option<usize> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let length = std::str::from_utf8(&bytes[..end]).expect("a length");
    let length = usize::from_str_radix(length, 16).expect("a length");
    let whole = end + 2 + length + 2;
    (bytes.len() >= whole).then(|| {
        text.extend_from_slice(&bytes[end + 2..end + 2 + length]);
        whole
    })
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_hears_the_board_and_then_each_change() {
    let node = Node::start().await;
    node.stand("anna", "available").await;
    let mut listener =
        Listener::open(node.http, &node.token_of("centre-1"), "").await.expect("heard");
    let first = soon(listener.message()).await.expect("a message");
    assert_eq!(first.kind, "snapshot");
    assert_eq!(first.data["officials"].as_array().map(Vec::len), Some(5));
    assert_eq!(listener.states["dace"], "offline");
    let call = node.call("centre-1", "k1").await;
    while listener.states["anna"] != "busy" {
        let message = soon(listener.message()).await.expect("a message");
        assert!(message.data["officials"].as_array().is_some_and(|all| all.len() < 5));
    }
    node.call("centre-2", "k1").await;
    let matter = "\"vsaa\"/\"PAK_10\"/\"lv\"";
    while listener.waiting.get(matter) != Some(&1) {
        soon(listener.message()).await.expect("a message");
    }
    node.post("anna", &path(&call, "accept")).await;
    node.post("anna", &path(&call, "end")).await;
    while listener.waiting.get(matter) != Some(&0) {
        soon(listener.message()).await.expect("a message");
    }
    assert_eq!(listener.states["anna"], "busy", "the one who waited has her now");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_hears_what_was_missed_and_no_more() {
    let node = Node::start().await;
    let token = node.token_of("operator");
    let mut listener = Listener::open(node.http, &token, "").await.expect("heard");
    node.stand("anna", "available").await;
    while listener.states.get("anna").is_none_or(|state| state != "available") {
        soon(listener.message()).await.expect("a message");
    }
    let last = listener.last.clone();
    drop(listener);
    let mut witness = Listener::open(node.http, &token, &last).await.expect("heard");
    node.stand("berta", "available").await;
    let missed = soon(witness.message()).await.expect("a message");
    assert_eq!(missed.kind, "changes", "nothing was missed, so no snapshot");
    let mut back = Listener::open(node.http, &token, &last).await.expect("heard");
    assert_eq!(soon(back.message()).await.expect("a message"), missed);
    let mut lost = Listener::open(node.http, &token, "7-of-long-ago").await.expect("heard");
    let all = soon(lost.message()).await.expect("a message");
    assert_eq!((all.kind.as_str(), lost.states["berta"].as_str()), ("snapshot", "available"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_registry_is_a_new_snapshot() {
    let node = Node::start().await;
    let mut listener = Listener::open(node.http, &node.token_of("anna"), "").await.expect("heard");
    soon(listener.message()).await.expect("a message");
    let more = "officials:\n- {id: fane, institution: vid, services: [PAK_10], languages: [lv]}\n";
    apply(&node.log, &super::REGISTRY.replace("officials:\n", more)).await;
    while !listener.states.contains_key("fane") {
        let message = soon(listener.message()).await.expect("a message");
        assert_eq!(message.kind, "snapshot");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_listen_and_nobody_else_and_no_stranger() {
    let few = Settings { listeners: 2, ..settings() };
    let log = std::sync::Arc::new(ingest::log::model::ModelLog::default());
    let node = Node::over(log, few).await;
    let token = node.token_of("centre-1");
    let stranger = Listener::open(node.http, &node.token_of("terminal"), "").await;
    assert_eq!(stranger.err(), Some(403));
    let one = Listener::open(node.http, &token, "").await.expect("heard");
    let _two = Listener::open(node.http, &token, "").await.expect("heard");
    assert_eq!(Listener::open(node.http, &token, "").await.err(), Some(503));
    drop(one);
    // The server learns that somebody left when it next has something to say.
    for number in 0..100 {
        node.stand("anna", if number % 2 == 0 { "available" } else { "away" }).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if Listener::open(node.http, &token, "").await.is_ok() {
            return;
        }
    }
    panic!("a place that was left is not given again");
}

/// Who does not read is dropped after so many messages, and nobody waits for it.
#[test]
fn who_is_too_slow_is_cut_off() {
    let live = Live::new(10);
    let (mut board, roster) = (Board::default(), Roster::default());
    live.publish(&board, &roster);
    let slow = live.listen(None, &board, &roster).expect("a place");
    let mut slow = Box::pin(slow);
    let mut change = |number: u64| {
        let event = ServiceEvent {
            event_type: "lv.vpvkac.official.available".into(),
            official_id: Some("anna".into()),
            desk: Some(Box::default()),
            ..ServiceEvent::default()
        };
        let record = ingest::record::Record {
            id: domain::id::RecordId::from_u128(number.into()),
            key: "anna".into(),
            source: "vpvkac".into(),
            sequence: number,
            event_time: noon(),
            recorded_at: noon(),
            event: Event::ServiceEvent(event),
        };
        board.apply(&record);
        live.changed(&[record], &board);
        live.publish(&board, &roster);
    };
    (1..=10).for_each(&mut change);
    let mut read = || slow.next().now_or_never();
    for _ in 0..11 {
        assert!(matches!(read(), Some(Some(Ok(_)))), "the snapshot, and ten changes");
    }
    assert!(read().is_none(), "there is no more yet");
    (11..=200).for_each(&mut change);
    assert!(matches!(read(), Some(None)), "it is at its end");
    drop(slow);
    assert_eq!(live.listeners(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_officials_is_paged() {
    let mut text = super::REGISTRY.to_owned();
    let more: String = (0..450)
        .map(|number| {
            format!(
                "- {{id: o-{number:03}, institution: vid, services: [PAK_10], languages: [ru]}}\n"
            )
        })
        .collect();
    text = text.replace("officials:\n", &format!("officials:\n{more}"));
    let node = Node::start().await;
    apply(&node.log, &text).await;
    node.pass(TimeDelta::seconds(1));
    while node.desk.roster().official("o-449").is_none() {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    let mut pages = 0;
    loop {
        let path = format!("/v1/officials?language=ru{cursor}");
        let page = node.get("operator", &path).await.json();
        let officials = page["officials"].as_array().cloned().expect("a list");
        found.extend(officials.into_iter().map(|one| one["official"].clone()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((found.len(), pages), (450, 3));
    assert!(found.windows(2).all(|two| two[0].as_str() < two[1].as_str()));
    assert_eq!(found[0], json!("o-000"));
    let call = node.call("centre-1", "k1").await;
    assert_eq!(id(&call).len(), 26);
}
