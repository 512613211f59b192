//! A till with the client library, over a line that loses requests and answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use connectors::client::{Client, ClientError, Credential, Settings};
use ingest::{
    topic::Topic,
    wire::v1::{AuthorisationLine, Event},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// A line to the node: of each connection it loses the request, the answer, or nothing.
async fn lossy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let turn = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((till, _)) = listener.accept().await {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(carry(till, to, turn));
        }
    });
    address
}

async fn carry(mut till: TcpStream, to: SocketAddr, turn: u64) {
    // Some fates come in rows, longer than any patience.
    let fate = if turn % 40 >= 28 { 1 } else { turn % 5 };
    if fate == 0 {
        return;
    }
    let mut node = TcpStream::connect(to).await.expect("connected");
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(read) = till.read(&mut buffer).await else { return };
        if read == 0 || node.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        let Ok(read) = node.read(&mut buffer).await else { return };
        // The node has decided; the till hears nothing of it.
        if fate == 1 || read == 0 || till.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

fn total(lines: &[AuthorisationLine]) -> i64 {
    lines.iter().map(|line| line.total_cents).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_twice_or_stays_unknown_over_a_line_that_loses_things() {
    let (folder, node) = node().await;
    let line = lossy(node.http).await;
    let settings = Settings {
        server: format!("http://{line}"),
        terminal: "T1".into(),
        credential: Credential::Token(node.token(Role::Terminal, "shop", "T1")),
        timeout: Duration::from_secs(2),
        patience: Duration::from_millis(400),
    };
    let journal = folder.path().join("till");
    let (mut heard, mut unknown) = (0_i64, 0);
    for at in 0..60 {
        // The till is switched off in between, too.
        let client = Client::open(settings.clone(), &journal).expect("a client");
        let mut basket = basket("sale", "04A1", 1);
        basket["lines"][0]["quantity"] = json!(1 + at % 2);
        match client.authorise(basket).await {
            Ok(told) => heard += told["total_cents"].as_i64().expect("cents"),
            Err(ClientError::Unknown) => unknown += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(unknown > 0, "no request was ever lost for good: the test shows nothing");
    let client = Client::open(settings, &journal).expect("a client");
    let mut turns = 0;
    while client.settle().await.expect("settled") > 0 {
        turns += 1;
        assert!(turns < 100, "some request is never settled");
    }
    // What the node has sold, less what was undone, is what the till has heard of.
    let mut sold = 0_i64;
    for partition in 0..node.log.partitions(Topic::Authorisations) {
        let end = node.log.end(Topic::Authorisations, partition).expect("an end");
        let read = node.log.read(Topic::Authorisations, partition, 0, 10_000).await.expect("read");
        assert_eq!(read.last().map_or(0, |last| last.position.offset + 1), end);
        for stored in read {
            match stored.record.event {
                Event::AuthorisationDecided(decided) => sold += total(&decided.lines),
                // Of what comes back the amounts are negative.
                Event::AuthorisationChanged(changed) => sold += total(&changed.lines),
                _ => {}
            }
        }
    }
    assert_eq!(sold, heard, "{unknown} were unknown");
    node.running.stop().await.expect("stopped");
}
