//! What bounds a statement, all of them, and a door; and how that is told.

use std::time::Duration;

use warehouse::endpoint::Limits;

use super::{
    Doors,
    client::{Client, cancel},
};
use crate::world::World;

/// A statement that nobody waits for.
const WITHOUT_END: &str =
    "SELECT COUNT(*) FROM generate_series(1, 1000000000000) AS a(x) WHERE a.x % 7 > 7";
/// A statement that keeps a million numbers, and cannot put them anywhere else.
const LARGE: &str = "SELECT COUNT(*) FROM generate_series(1, 1000000) AS a(x) \
    JOIN generate_series(1, 1000000) AS b(y) ON a.x = b.y";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_stopped_at_its_time() {
    let world = World::new();
    let limits = Limits { timeout: Duration::from_millis(200), ..Limits::default() };
    let doors = Doors::within(&world, limits).await;
    let mut client = Client::connect(doors.postgres, "analyst").await.unwrap();
    // A client may ask for less time, and not for more.
    for (asked, within) in [("0", 200), ("50ms", 50), ("1h", 200)] {
        client.ask(&format!("SET statement_timeout = '{asked}'")).await.unwrap();
        let refusal = client.ask(WITHOUT_END).await.unwrap_err();
        assert_eq!(refusal.code, "57014", "{refusal:?}");
        assert!(refusal.text.contains(&format!("longer than {within} ms")), "{refusal:?}");
        let refusal = client.bound(WITHOUT_END, &[]).await.unwrap_err();
        assert_eq!(refusal.code, "57014", "{refusal:?}");
    }
    assert_eq!(client.ask("SELECT 1 AS one").await.unwrap().value(), "1");
    let told = doors.told.lock().unwrap();
    assert_eq!(told.iter().filter(|(_, outcome)| *outcome == "timed out").count(), 6, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_memory_that_is_met_is_told() {
    let world = World::new();
    let (little, much) = (1 << 20, 1 << 30);
    for (one, all, told) in
        [(little, much, "a statement may keep 1 MiB"), (much, little, "all statements together")]
    {
        let limits = Limits { memory_bytes: one, all_memory_bytes: all, ..Limits::default() };
        let doors = Doors::within(&world, limits).await;
        let mut client = Client::connect(doors.postgres, "analyst").await.unwrap();
        let refusal = client.ask(LARGE).await.unwrap_err();
        assert_eq!(refusal.code, "53200", "{refusal:?}");
        assert!(refusal.text.contains(told), "{refusal:?}");
        // What a statement kept is free when it has ended.
        assert_eq!(client.ask("SELECT 1 AS one").await.unwrap().value(), "1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_has_no_more_rows_than_a_role_may_take() {
    let world = World::new();
    let doors = Doors::within(&world, Limits { rows: 10, ..Limits::default() }).await;
    let sql = "SELECT x FROM generate_series(1, 11) AS a(x)";
    for (role, refused) in [("analyst", true), ("grantor:riga", true), ("finance", false)] {
        let mut client = Client::connect(doors.postgres, role).await.unwrap();
        let answer = client.ask(sql).await;
        assert_eq!(
            answer.map_err(|refusal| refusal.code).err().as_deref(),
            refused.then_some("54000"),
            "{role}"
        );
        assert_eq!(client.ask(&format!("{sql} LIMIT 10")).await.unwrap().rows.len(), 10, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_no_place_is_told_and_may_still_cancel() {
    let world = World::new();
    let doors = Doors::within(&world, Limits { connections: 1, ..Limits::default() }).await;
    let address = doors.postgres;
    let mut first = Client::connect(address, "analyst").await.unwrap();
    let refusal = Client::connect(address, "analyst").await.err().unwrap();
    assert_eq!(refusal.code, "53300", "{refusal:?}");
    let key = first.key();
    let asked = tokio::spawn(async move {
        let ended = first.ask(WITHOUT_END).await;
        (first, ended)
    });
    let cancelling = async {
        // What comes before its statement cancels nothing.
        while !asked.is_finished() {
            cancel(address, &key).await;
        }
        asked.await.unwrap()
    };
    let (first, ended) = tokio::time::timeout(PATIENCE, cancelling).await.unwrap();
    assert_eq!(ended.unwrap_err().code, "57014");
    drop(first);
    // A place is free once the server has seen that somebody left.
    let again = async {
        loop {
            if let Ok(mut client) = Client::connect(address, "analyst").await {
                break client.ask("SELECT 1 AS one").await.unwrap().value().to_owned();
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, again).await.unwrap(), "1");
}
