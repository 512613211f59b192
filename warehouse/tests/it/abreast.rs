//! Tables over one stream, each computed at its own pace: a query sees all of them at one set of offsets.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::Schema};
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use serde_json::json;
use tokio::{net::TcpListener, runtime::Handle, sync::watch};
use tonic::transport::Channel;
use warehouse::{
    endpoint::{Endpoint, Limits, Open, flight},
    metrics::Metrics,
    schema,
    session::{Rows, Session},
    table::{Positions, delta::DeltaTable},
    tail::{Tail, Tails},
};

use crate::{
    follow::Tokens,
    world::{World, batch, cells},
};

/// Tables, and how many rows each has of a record.
const TABLES: [(&str, i64); 3] =
    [("authorisations", 1), ("benefit_lines", 2), ("transaction_lines", 3)];
/// Records of a batch, and batches.
const RECORDS: i64 = 5;
const BATCHES: i64 = 200;

const COUNTS: &str = "SELECT 1 AS place, COUNT(*) AS rows FROM authorisations \
    UNION ALL SELECT 2 AS place, COUNT(*) AS rows FROM benefit_lines \
    UNION ALL SELECT 3 AS place, COUNT(*) AS rows FROM transaction_lines ORDER BY place";
/// Decisions without their lines, and lines without their decision.
const UNEQUAL: &str = "SELECT COUNT(*) AS unequal FROM authorisations AS decisions FULL JOIN (\
    SELECT source_partition, source_offset, COUNT(*) AS n FROM benefit_lines \
    GROUP BY source_partition, source_offset) AS lines \
    ON decisions.source_partition = lines.source_partition \
    AND decisions.source_offset = lines.source_offset \
    WHERE decisions.source_offset IS NULL OR lines.n IS NULL OR lines.n <> 2";

/// Positions in two partitions.
fn at(table: &str, next: [i64; 2]) -> Positions {
    let each = next.into_iter().enumerate();
    each.map(|(partition, next)| (format!("{table}/{partition}"), next)).collect()
}

fn rows(table: &str, records: &[(i64, i64)]) -> RecordBatch {
    let row = |of: &(i64, i64)| json!({"source_partition": of.0, "source_offset": of.1});
    batch(table, &records.iter().map(row).collect::<Vec<_>>())
}

fn tail(tails: &Tails, name: &str) -> Tail {
    let tail = tails.of(schema::table(name).unwrap());
    tail.stands(&at(name, [0, 0]));
    tail
}

/// A table that a tail serves, at the beginning of its stream.
async fn served(world: &World, tails: &Tails, name: &str) -> (DeltaTable, Tail) {
    let table = world.table(name).await.with_tail(&tails.of(schema::table(name).unwrap()));
    (table, tail(tails, name))
}

async fn ask(session: &Session, sql: &str) -> Vec<Vec<String>> {
    cells(&session.rows(sql).await.unwrap())
}

#[tokio::test]
async fn a_table_is_cut_off_where_another_over_its_stream_stands() {
    const LINES: &str =
        "SELECT source_partition, source_offset FROM benefit_lines ORDER BY 1, source_offset";
    const WINDOWS: &str = "SELECT COUNT(*) AS n FROM usage_by_minute";
    let (world, tails) = (World::new(), Tails::default());
    let (table, lines) = served(&world, &tails, "benefit_lines").await;
    let (decisions, windows) = (tail(&tails, "authorisations"), tail(&tails, "usage_by_minute"));
    let line = |records: &[(i64, i64)], next: [i64; 2]| {
        lines.append(&[rows("benefit_lines", records)], &at("benefit_lines", next)).unwrap();
    };
    let decision = |records: &[(i64, i64)], next: [i64; 2]| {
        decisions.append(&[rows("authorisations", records)], &at("authorisations", next)).unwrap();
    };
    line(&[(0, 0), (0, 1)], [2, 0]);
    lines.land(&table).await.unwrap();
    line(&[(0, 2), (1, 0)], [3, 1]);
    decision(&[(0, 0)], [1, 0]);
    let window = [batch("usage_by_minute", &[json!({})])];
    windows.append(&window, &at("usage_by_minute", [1, 0])).unwrap();
    windows.append(&window, &at("usage_by_minute", [2, 0])).unwrap();

    // What has landed is cut off as what has not, and whoever asks how far the table is hears it.
    let first = Session::open_with(&world.url, &tails).unwrap();
    assert_eq!(ask(&first, LINES).await, [["0", "0"]]);
    assert_eq!(ask(&first, WINDOWS).await, [["1"]]);
    let positions = first.positions("benefit_lines", "benefit_lines", 2).await.unwrap();
    assert_eq!(positions, at("benefit_lines", [1, 0]));

    decision(&[(0, 1), (0, 2), (1, 0)], [3, 1]);
    let second = Session::open_with(&world.url, &tails).unwrap();
    assert_eq!(ask(&second, LINES).await, [["0", "0"], ["0", "1"]]);
    assert_eq!(ask(&second, WINDOWS).await, [["2"]]);
    windows.append(&[], &at("usage_by_minute", [3, 1])).unwrap();
    let third = Session::open_with(&world.url, &tails).unwrap();
    assert_eq!(ask(&third, LINES).await, [["0", "0"], ["0", "1"], ["0", "2"], ["1", "0"]]);
    // A session is as of the instant at which it began.
    assert_eq!(ask(&first, LINES).await, [["0", "0"]]);
}

#[tokio::test]
async fn a_table_that_is_far_behind_holds_nobody_back() {
    let (world, tails) = (World::new(), Tails::default());
    let (lines, decisions) = (tail(&tails, "benefit_lines"), tail(&tails, "authorisations"));
    let means = tail(&tails, "means");
    let last = rows("benefit_lines", &[(0, 99_999)]);
    lines.append(&[last], &at("benefit_lines", [100_000, 0])).unwrap();
    let count = async || {
        let session = Session::open_with(&world.url, &tails).unwrap();
        ask(&session, "SELECT COUNT(*) AS n FROM benefit_lines").await
    };
    assert_eq!(count().await, [["1"]]);
    // It comes near: from there on they agree.
    decisions.append(&[], &at("authorisations", [40_000, 0])).unwrap();
    assert_eq!(count().await, [["0"]]);
    // One over another stream says nothing of this one.
    decisions.append(&[], &at("authorisations", [100_000, 0])).unwrap();
    means.append(&[], &at("means", [1, 0])).unwrap();
    assert_eq!(count().await, [["1"]]);
}

/// Appends the same batches as the other tables, lands now and then, and stands still now and then.
async fn write(name: &'static str, each: i64, seed: u64, table: DeltaTable, tail: Tail) {
    let (mut next, mut random) = ([0_i64; 2], seed);
    for step in 0..BATCHES {
        let partition = usize::from(step % 2 == 1);
        let from = next[partition];
        next[partition] += RECORDS;
        let records: Vec<_> = (from..next[partition])
            .flat_map(|offset| (0..each).map(move |_| (step % 2, offset)))
            .collect();
        tail.append(&[rows(name, &records)], &at(name, next)).unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if (random >> 40).is_multiple_of(16) {
            tail.land(&table).await.unwrap();
        }
        for _ in 0..(random >> 50) % 8 {
            tokio::task::yield_now().await;
        }
    }
}

/// What the door of Flight SQL answers.
async fn ask_at_the_door(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> Rows {
    let told = client.execute(sql.to_owned(), None).await.unwrap();
    let ticket = told.endpoint[0].ticket.clone().unwrap();
    let batches = client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    Rows { schema: Arc::new(Schema::empty()), batches }
}

/// A door over tables, and a client of it.
async fn door(world: &World, tails: &Tails) -> FlightSqlServiceClient<Channel> {
    let (url, tails) = (world.url.clone(), tails.clone());
    let open: Open = Arc::new(move || Session::open_with(&url, &tails));
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let (limits, executor) = (Limits::default(), Handle::current());
    let endpoint = Endpoint::new(open, limits, Arc::new(|_| {}), metrics, executor).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (serves, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let _serves = serves;
        flight::serve(endpoint, Arc::new(Tokens), listener, None, stopped).await
    });
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let mut client = FlightSqlServiceClient::new(channel.connect().await.unwrap());
    client.set_token("everything".to_owned());
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn while_rows_flow_every_query_agrees_with_itself() {
    let (world, tails) = (World::new(), Tails::default());
    let mut lines = Vec::new();
    for (name, each) in TABLES {
        lines.push((name, each, served(&world, &tails, name).await));
    }
    let mut client = door(&world, &tails).await;
    let mut writing = Vec::new();
    for (seed, (name, each, (table, tail))) in (1..).zip(lines) {
        writing.push(tokio::spawn(write(name, each, seed, table, tail)));
    }
    let (mut before, mut queries) = (0, 0);
    loop {
        let is_over = writing.iter().all(tokio::task::JoinHandle::is_finished);
        let session = Session::open_with(&world.url, &tails).unwrap();
        let here = ask(&session, COUNTS).await;
        assert_eq!(ask(&session, UNEQUAL).await, [["0"]]);
        let there = cells(&ask_at_the_door(&mut client, COUNTS).await);
        assert_eq!(cells(&ask_at_the_door(&mut client, UNEQUAL).await), [["0"]]);
        for answer in [here, there] {
            let counts: Vec<i64> = answer.iter().map(|row| row[1].parse().unwrap()).collect();
            assert_eq!(counts, TABLES.map(|(_, each)| each * counts[0]));
            assert!(counts[0] >= before, "a record was seen and is not any more");
            before = counts[0];
        }
        queries += 1;
        if is_over {
            break;
        }
    }
    for writing in writing {
        writing.await.unwrap();
    }
    assert_eq!(before, BATCHES * RECORDS);
    println!("{queries} times all tables agreed");
}
