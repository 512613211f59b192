//! Another process's copy of tails: the same rows as there, each once, whatever happens between.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use warehouse::{
    access::{Reader, View},
    endpoint::{Gate, Stored, flight::tails},
    metrics::Metrics,
    schema,
    session::Session,
    table::{
        Positions,
        delta::{DeltaTable, remove},
    },
    tail::{Follower, Source, Tail, Tails},
};

use crate::world::{World, batch, cells};

/// Time enough for what comes at once on a machine that does something else, too.
const SOON: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Tokens;

impl Gate for Tokens {
    fn admit(&self, _: &str, _: &str) -> Result<Reader, String> {
        Err("by token only".into())
    }

    fn bearer(&self, token: &str) -> Result<Reader, String> {
        let view = match token {
            "everything" => View::Everything,
            _ => View::Analyst,
        };
        Ok(Reader { name: token.into(), view })
    }

    fn stored(&self, _: &str) -> Option<(Stored, Reader)> {
        None
    }
}

/// The process that writes, while it lives.
struct Writer {
    tails: Tails,
    table: DeltaTable,
    tail: Tail,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Writer {
    async fn at(world: &World, address: SocketAddr) -> Self {
        let tails = Tails::default();
        let tail = tails.of(schema::table("means").unwrap());
        let table = world.table("means").await.with_tail(&tail);
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let (all, gate) = (tails.clone(), Arc::new(Tokens));
        let serving = tokio::spawn(tails::serve(all, gate, metrics, listener, None, stopped));
        Self { tails, table, tail, stop, serving }
    }

    fn append(&self, from: i64, to: i64) {
        let rows: Vec<_> =
            (from..to).map(|of| json!({"token": format!("{of}"), "source_offset": of})).collect();
        let positions = Positions::from([("means/0".to_owned(), to)]);
        self.tail.append(&[batch("means", &rows)], &positions).unwrap();
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}

/// A process that reads.
fn follow(address: SocketAddr, token: &'static str) -> (Tails, JoinHandle<()>) {
    let tails = Tails::default();
    let trust = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let source = Source {
        address: format!("http://{address}").parse().unwrap(),
        token: Box::new(move || token.into()),
        trust: Arc::new(trust),
    };
    let follower = Follower::new(&tails, source, &prometheus::Registry::new()).unwrap();
    (tails, tokio::spawn(follower.run()))
}

/// Rows and different rows, as a reader sees them.
async fn seen(world: &World, tails: &Tails) -> (i64, i64) {
    let session = Session::open_with(&world.url, tails).unwrap();
    let sql = "SELECT COUNT(*), COUNT(DISTINCT token) FROM means";
    let rows = cells(&session.rows(sql).await.unwrap());
    (rows[0][0].parse().unwrap(), rows[0][1].parse().unwrap())
}

async fn wait_for(world: &World, tails: &Tails, rows: i64) {
    let last = Instant::now() + SOON;
    while seen(world, tails).await != (rows, rows) {
        assert!(Instant::now() < last, "{:?} and not {rows}", seen(world, tails).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_seen_elsewhere_before_they_land_and_once_after() {
    let (world, address) = (World::new(), free().await);
    let writer = Writer::at(&world, address).await;
    writer.append(0, 3);
    let (tails, _following) = follow(address, "everything");
    wait_for(&world, &tails, 3).await;
    writer.append(3, 5);
    wait_for(&world, &tails, 5).await;
    assert_eq!(writer.tail.land(&writer.table).await.unwrap(), 5);
    writer.append(5, 6);
    wait_for(&world, &tails, 6).await;
    let session = Session::open_with(&world.url, &tails).unwrap();
    let positions = session.positions("means", "means", 1).await.unwrap();
    assert_eq!(positions, Positions::from([("means/0".to_owned(), 6)]));
    // Rows that are taken back go elsewhere, too.
    writer.tail.clear();
    wait_for(&world, &tails, 5).await;
    writer.append(5, 8);
    wait_for(&world, &tails, 8).await;
    let fills = |tails: &Tails| tails.fills().into_iter().map(|(_, fill)| fill.rows).sum::<usize>();
    assert_eq!(fills(&tails), fills(&writer.tails));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_rows_land_a_reader_elsewhere_sees_each_once() {
    let (world, address) = (World::new(), free().await);
    let writer = Arc::new(Writer::at(&world, address).await);
    let (tails, _following) = follow(address, "everything");
    let appended = Arc::new(AtomicI64::new(0));
    let (writes, told) = (Arc::clone(&writer), Arc::clone(&appended));
    let writing = tokio::spawn(async move {
        for step in 0..200 {
            writes.append(step * 50, (step + 1) * 50);
            told.store((step + 1) * 50, Ordering::SeqCst);
            if step % 10 == 9 {
                writes.tail.land(&writes.table).await.unwrap();
            }
        }
    });
    let mut before = 0;
    while !writing.is_finished() {
        let (rows, different) = seen(&world, &tails).await;
        assert_eq!(rows, different, "a row is seen twice");
        assert!(rows >= before && rows <= appended.load(Ordering::SeqCst), "{rows} after {before}");
        before = rows;
    }
    writing.await.unwrap();
    wait_for(&world, &tails, 10_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_writer_is_away_only_what_has_landed_is_seen() {
    let (world, address) = (World::new(), free().await);
    let writer = Writer::at(&world, address).await;
    writer.append(0, 4);
    writer.tail.land(&writer.table).await.unwrap();
    writer.append(4, 9);
    let (tails, _following) = follow(address, "everything");
    wait_for(&world, &tails, 9).await;
    writer.end().await;
    wait_for(&world, &tails, 4).await;
    // Another one begins at the table's positions, and has the rows again.
    let writer = Writer::at(&world, address).await;
    writer.append(4, 9);
    wait_for(&world, &tails, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_made_anew_is_read_anew() {
    let (world, address) = (World::new(), free().await);
    let writer = Writer::at(&world, address).await;
    writer.append(0, 4);
    writer.tail.land(&writer.table).await.unwrap();
    let (tails, _following) = follow(address, "everything");
    wait_for(&world, &tails, 4).await;
    writer.end().await;
    remove(&world.url, "means").await.unwrap();
    // It comes to the version that the reader has open, before the reader looks again.
    let writer = Writer::at(&world, address).await;
    writer.append(4, 7);
    writer.tail.land(&writer.table).await.unwrap();
    writer.append(7, 8);
    let last = Instant::now() + SOON;
    while tails.fills().iter().all(|(_, fill)| fill.rows != 1) {
        assert!(Instant::now() < last, "{:?}", tails.fills());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen(&world, &tails).await, (4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_see_everything_is_told_nothing() {
    let (world, address) = (World::new(), free().await);
    let writer = Writer::at(&world, address).await;
    writer.append(0, 4);
    let (refused, _refused) = follow(address, "analyst");
    let (tails, _following) = follow(address, "everything");
    wait_for(&world, &tails, 4).await;
    assert_eq!(seen(&world, &refused).await, (0, 0));
    assert_eq!(refused.fills(), []);
}
