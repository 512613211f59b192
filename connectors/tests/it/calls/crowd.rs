//! Many listen while calls flow, as fast as a nation's: nothing is lost, and everybody hears the
//! same.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use ingest::log::{
    Log,
    embedded::{self, EmbeddedLog},
};
use serde_json::{Value, json};

use super::{Node, id, live::Listener, path, settings};

const LISTEN_TO: &str = "AVIS_TEST_LISTEN_TO";
const TOKEN: &str = "AVIS_TEST_LISTEN_TOKEN";
const COUNT: &str = "AVIS_TEST_LISTENERS";
/// Five hundred calls a minute.
const BETWEEN_CALLS: Duration = Duration::from_millis(120);

/// The other process: nothing, unless this one was started as it.
#[tokio::test(flavor = "multi_thread")]
async fn listens_until_the_last_is_offline() {
    let Ok(to) = std::env::var(LISTEN_TO) else { return };
    let to: SocketAddr = to.parse().expect("an address");
    let token = std::env::var(TOKEN).expect("a token");
    let count: usize = std::env::var(COUNT).ok().and_then(|it| it.parse().ok()).expect("how many");
    let mut listening = tokio::task::JoinSet::new();
    for number in 0..count {
        let mut listener = Listener::open(to, &token, "").await.expect("heard");
        listener.message().await.expect("the snapshot");
        if number + 1 == count {
            println!("\nlistening");
        }
        listening.spawn(async move {
            // The end is told by dace, who does not take part.
            while listener.states.get("dace").is_none_or(|state| state != "away") {
                listener.message().await?;
            }
            Some(listener.states)
        });
    }
    let all = listening.join_all().await;
    let cut_off = all.iter().filter(|states| states.is_none()).count();
    let mut heard: BTreeMap<_, usize> = BTreeMap::new();
    all.into_iter().flatten().for_each(|states| *heard.entry(states).or_default() += 1);
    let heard: Vec<Value> =
        heard.into_iter().map(|(states, count)| json!({"states": states, "by": count})).collect();
    println!("\nheard {}", json!({"cut_off": cut_off, "boards": heard}));
}

struct Crowd {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Crowd {
    fn gather(node: &Node, count: usize) -> Self {
        let program = std::env::current_exe().expect("this test");
        let mut child = Command::new(program)
            .args(["--exact", "calls::crowd::listens_until_the_last_is_offline", "--nocapture"])
            .env(LISTEN_TO, node.http.to_string())
            .env(TOKEN, node.token_of("operator"))
            .env(COUNT, count.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let lines = BufReader::new(child.stdout.take().expect("its words"));
        Self { child, lines }
    }

    /// What follows a word at the beginning of a line.
    fn says(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("heard");
            assert!(read > 0, "it went without {word}");
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }
}

/// `AVIS_TEST_SCALE=50` makes it ten thousand listeners.
#[tokio::test(flavor = "multi_thread")]
async fn many_listen_in_another_process_while_calls_flow() {
    let (listeners, calls) = (200 * crate::scale() as usize, 25 + 10 * crate::scale());
    let folder = tempfile::tempdir().expect("a folder");
    let prometheus = prometheus::Registry::new();
    let metrics = ingest::metrics::Metrics::register(&prometheus).expect("metrics");
    let log = EmbeddedLog::open(folder.path(), &embedded::Settings::default(), metrics);
    let log: Arc<dyn Log> = Arc::new(log.expect("a log"));
    let node = Arc::new(Node::over(log, settings()).await);
    let gathering = Arc::clone(&node);
    let gathered = tokio::task::spawn_blocking(move || {
        let mut crowd = Crowd::gather(&gathering, listeners);
        crowd.says("listening");
        crowd
    });
    let mut crowd = gathered.await.expect("gathered");
    assert_eq!(node.desk.live().listeners(), listeners);
    for official in ["anna", "berta"] {
        node.stand(official, "available").await;
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut flowing = tokio::task::JoinSet::new();
    for number in 0..calls {
        let next = began + BETWEEN_CALLS * number;
        tokio::time::sleep_until(next.into()).await;
        let asked = Instant::now();
        let call = node.call("centre-1", &format!("k{number}")).await;
        slowest = slowest.max(asked.elapsed());
        let node = Arc::clone(&node);
        flowing.spawn(async move { flow(&node, call).await });
    }
    let by = flowing.join_all().await;
    let took = began.elapsed();
    let of = |official: &str| by.iter().filter(|one| *one == official).count();
    assert_eq!(of("anna") + of("berta"), calls as usize, "each by one of the two");
    node.stand("dace", "away").await;
    let heard = tokio::task::spawn_blocking(move || crowd.says("heard")).await.expect("heard");
    let heard: Value = serde_json::from_str(&heard).expect("JSON");
    assert_eq!(heard["cut_off"], 0, "{heard}");
    let states = json!({"anna": "available", "berta": "available", "clara": "offline",
        "dace": "away", "elza": "offline"});
    assert_eq!(heard["boards"], json!([{"states": states, "by": listeners}]));
    let told = node.told().await;
    let count =
        |kind: &str| told.iter().filter(|(_, event)| event.event_type.ends_with(kind)).count();
    assert_eq!([count("call.requested"), count("call.ended")], [calls as usize; 2]);
    assert_eq!(count("call.offered"), calls as usize, "none is offered twice");
    eprintln!(
        "{listeners} listened, {calls} calls in {took:?}, the slowest asked for in {slowest:?}"
    );
}

/// One call, taken as soon as it is offered; by whom.
async fn flow(node: &Node, call: Value) -> String {
    let official = loop {
        let now = node.get("centre-1", &format!("/v1/calls/{}", id(&call))).await.json();
        if let Some(official) = now["official"].as_str() {
            break official.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for (who, step) in [(official.as_str(), "accept"), ("centre-1", "connect"), ("centre-1", "end")]
    {
        let answer = node.post(who, &path(&call, step)).await;
        assert_eq!(answer.status, 200, "{who} {step}: {}", String::from_utf8_lossy(&answer.body));
    }
    official
}
