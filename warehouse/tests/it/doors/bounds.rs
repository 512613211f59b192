//! What bounds a statement, all of them, and a door; and how that is told.

use std::{net::SocketAddr, time::Duration};

use tokio::runtime::{Builder, Handle};
use warehouse::endpoint::Limits;

use super::{
    Doors,
    client::{Client, Refusal, cancel},
};
use crate::world::World;

/// A statement that nobody waits for.
const WITHOUT_END: &str =
    "SELECT COUNT(*) FROM generate_series(1, 1000000000000) AS a(x) WHERE a.x % 7 > 7";
/// A statement that keeps a million numbers, and cannot put them anywhere else.
const LARGE: &str = "SELECT COUNT(*) FROM generate_series(1, 1000000) AS a(x) \
    JOIN generate_series(1, 1000000) AS b(y) ON a.x = b.y";
/// Joins that compare a million rows with a million others; most of them find next to none that fit, and so have
/// nothing to tell for hours.
const JOINS: [&str; 4] = [
    "SELECT COUNT(*) FROM generate_series(1, 1000000) AS a(x), \
        generate_series(1, 1000000) AS b(y) WHERE a.x + b.y = 7",
    "SELECT COUNT(*) FROM generate_series(1, 1000000) AS a(x) \
        JOIN generate_series(1, 1000000) AS b(y) ON a.x < b.y",
    "SELECT COUNT(*) FROM generate_series(1, 1000000) AS a(x) \
        JOIN generate_series(1, 1000000) AS b(y) ON a.x % 2 = b.y % 2 AND a.x + b.y = 8",
    "SELECT COUNT(*) FROM generate_series(1, 1000000) AS a(x) \
        WHERE a.x % 2 IN (SELECT b.y % 2 FROM generate_series(1, 1000000) AS b(y))",
];
/// Statements that put wide rows beside many others, or keep them all, and how they are refused.
const WIDE: [(&str, &str); 7] = [
    ("0A000", "SELECT array_agg(x) OVER () FROM generate_series(1, 100000) AS a(x)"),
    (
        "0A000",
        "SELECT string_agg(CAST(x AS TEXT), ',') OVER (ORDER BY x) \
         FROM generate_series(1, 100000) AS a(x)",
    ),
    (
        "53200",
        "SELECT list, y FROM (SELECT array_agg(x) AS list FROM generate_series(1, 100000) AS a(x)) \
         AS b, generate_series(1, 30000) AS c(y)",
    ),
    (
        "53200",
        "SELECT (SELECT array_agg(x) FROM generate_series(1, 100000) AS a(x)), y \
         FROM generate_series(1, 30000) AS c(y)",
    ),
    (
        "53200",
        "SELECT unnest(list), t FROM (SELECT array_agg(x) AS list, \
             string_agg(CAST(x AS TEXT), ',') AS t FROM generate_series(1, 100000) AS a(x)) AS b",
    ),
    ("53200", "SELECT COUNT(*) OVER () FROM generate_series(1, 1000000000000) AS a(x)"),
    (
        "53200",
        "SELECT MAX(t) OVER () FROM (SELECT CASE x WHEN 1 THEN repeat('x', 1000) END AS t \
         FROM generate_series(1, 1000000) AS a(x)) AS b",
    ),
];
/// Statements of the same kinds that answer, and with what.
const NARROW: [(&str, &str); 6] = [
    (
        "SELECT CAST(MAX(items) AS BIGINT) FROM (SELECT x % 3 AS g, \
             array_length(array_agg(x)) AS items \
         FROM generate_series(1, 30000) AS a(x) GROUP BY x % 3) AS b",
        "10000",
    ),
    (
        "SELECT CAST(SUM(array_length(list)) AS BIGINT) FROM (SELECT array_agg(x) AS list \
         FROM generate_series(1, 1000) AS a(x)) AS b, generate_series(1, 30000) AS c(y)",
        "30000000",
    ),
    (
        "SELECT CAST(SUM(length(t)) AS BIGINT) FROM (SELECT string_agg(CAST(x AS TEXT), '') AS t \
         FROM generate_series(1, 9) AS a(x)) AS b, generate_series(1, 1000000) AS c(y)",
        "9000000",
    ),
    (
        "SELECT CAST(MAX(array_position(range(1, 20001), x)) AS BIGINT) \
         FROM generate_series(1, 2000) AS a(x)",
        "2000",
    ),
    (
        "SELECT COUNT(*) FROM (SELECT x, SUM(x) OVER (ORDER BY x) AS s, MAX(x) OVER () AS m \
         FROM generate_series(1, 100000) AS a(x)) AS b WHERE m = 100000 AND s >= x",
        "100000",
    ),
    (
        "SELECT COUNT(DISTINCT x) FROM (SELECT unnest(list) AS x, low FROM (SELECT \
             array_agg(x) AS list, MIN(x) AS low FROM generate_series(1, 100000) AS a(x)) AS b) \
         AS c WHERE low <= x",
        "100000",
    ),
];
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One thread that computes answers, beside those of the doors, as a node has it; it ends with the process.
fn thread() -> Handle {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    Box::leak(Box::new(runtime)).handle().clone()
}

/// Asks what is not answered in time, or not at all.
async fn refused(client: &mut Client, sql: &str) -> Refusal {
    let answer = tokio::time::timeout(PATIENCE, client.ask(sql)).await;
    answer.unwrap_or_else(|_| panic!("nothing comes of {sql}")).unwrap_err()
}

/// Asks, and cancels until that has ended.
async fn cancelled(to: SocketAddr, mut client: Client, sql: &'static str) -> (Client, Refusal) {
    let key = client.key();
    let asked = tokio::spawn(async move {
        let ended = client.ask(sql).await;
        (client, ended)
    });
    let cancelling = async {
        // What comes before its statement cancels nothing.
        while !asked.is_finished() {
            cancel(to, &key).await;
        }
        asked.await.unwrap()
    };
    let (client, ended) = tokio::time::timeout(PATIENCE, cancelling).await.unwrap();
    (client, ended.unwrap_err())
}

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
async fn a_join_that_finds_nothing_ends_with_its_statement() {
    let world = World::new();
    let doors = Doors::on(&world, Limits::default(), thread()).await;
    let mut client = Client::connect(doors.postgres, "analyst").await.unwrap();
    let mut other = Client::connect(doors.postgres, "analyst").await.unwrap();
    for sql in JOINS {
        client.ask("SET statement_timeout = '500ms'").await.unwrap();
        let refusal = refused(&mut client, sql).await;
        assert_eq!(refusal.code, "57014", "{sql}: {refusal:?}");
        assert!(refusal.text.contains("longer than 500 ms"), "{refusal:?}");
        // The thread is free for others; also where nobody ever asks for what was begun.
        is_answered(&mut other).await;
        client.ask(&format!("DECLARE c CURSOR FOR {sql}")).await.unwrap();
        is_answered(&mut other).await;
        client.ask("CLOSE c").await.unwrap();
        client.ask("SET statement_timeout = '0'").await.unwrap();
        let (again, refusal) = cancelled(doors.postgres, client, sql).await;
        assert_eq!(refusal.code, "57014", "{sql}: {refusal:?}");
        is_answered(&mut other).await;
        client = again;
    }
}

async fn is_answered(client: &mut Client) {
    let answer = tokio::time::timeout(PATIENCE, client.ask("SELECT 1 AS one")).await;
    assert_eq!(answer.expect("others are answered").unwrap().value(), "1");
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
async fn what_stands_beside_many_rows_is_narrow_or_refused() {
    let world = World::new();
    let doors = Doors::open(&world).await;
    let mut client = Client::connect(doors.postgres, "analyst").await.unwrap();
    for (code, sql) in WIDE {
        let refusal = refused(&mut client, sql).await;
        assert_eq!(refusal.code, code, "{sql}: {refusal:?}");
    }
    for (sql, answer) in NARROW {
        assert_eq!(client.ask(sql).await.unwrap().value(), answer, "{sql}");
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
    let first = Client::connect(address, "analyst").await.unwrap();
    let refusal = Client::connect(address, "analyst").await.err().unwrap();
    assert_eq!(refusal.code, "53300", "{refusal:?}");
    let (first, ended) = cancelled(address, first, WITHOUT_END).await;
    assert_eq!(ended.code, "57014");
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
