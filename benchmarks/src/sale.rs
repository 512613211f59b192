//! Durable sales over HTTP with 64 connections, beside an `axum` echo of the same bytes; and over
//! gRPC with many in flight. Clients and server share the machine in both.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, routing::post};
use chrono::Utc;
use connectors::terminal::wire::{
    self, request::What, response::Outcome, terminal_client::TerminalClient,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    till::{CARDS, TERMINALS, Till, serve, terminal},
    times::processor,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const WARM: Duration = Duration::from_secs(2);
const FOR: Duration = Duration::from_secs(8);
/// Requests in flight on each gRPC stream.
const IN_FLIGHT: usize = 512;
const STREAMS: usize = 4;

/// Prints a row for HTTP and one for gRPC.
pub async fn measure() -> Result<()> {
    let till = Till::open().await?;
    let echo = serve(Router::new().route("/echo", post(|body: Bytes| async { body }))).await?;
    let tokens = till.tokens.clone();
    let sales = drive(till.http, move |at, n| sale(&tokens[at], at, n)).await?;
    let tokens = till.tokens.clone();
    let echoed = drive(echo, move |at, n| {
        let mut request = sale(&tokens[at], at, n);
        let path = b"/v1/authorisations";
        request.splice(5..5 + path.len(), *b"/echo");
        request
    })
    .await?;
    crate::row("durable sale, HTTP, 64 connections", sales.rate, "axum echo", echoed.rate);
    crate::say(format!(
        "|   p50 {:.2} ms, p99 {:.2} ms, {:.1} µs of processor \
         | | echo p50 {:.2} ms, p99 {:.2} ms, {:.1} µs | | |",
        sales.p50_ms, sales.p99_ms, sales.used_us, echoed.p50_ms, echoed.p99_ms, echoed.used_us
    ));
    let used = tokio::spawn(used());
    let streamed = stream(&till).await?;
    crate::row("durable sale, gRPC stream", streamed, "aim", 100_000.0);
    let used_us = used.await?.as_secs_f64() * 1e6 / (streamed * FOR.as_secs_f64());
    crate::say(format!("|   {used_us:.1} µs of processor | | | | |"));
    till.close().await
}

struct Driven {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Processor time of one, client included.
    used_us: f64,
}

/// The processor time that is used between warming up and the end.
async fn used() -> Duration {
    tokio::time::sleep(WARM).await;
    let before = processor();
    tokio::time::sleep(FOR).await;
    processor() - before
}

/// One request after the other on each of 64 connections.
async fn drive(
    to: SocketAddr,
    request: impl Fn(usize, u64) -> Vec<u8> + Send + Sync + 'static,
) -> Result<Driven> {
    let request = Arc::new(request);
    let used = tokio::spawn(used());
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for at in 0..TERMINALS {
        let request = Arc::clone(&request);
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let (mut times, mut answer) = (Vec::new(), Vec::new());
            for n in 0.. {
                let bytes = request(at, n);
                let before = Instant::now();
                stream.write_all(&bytes).await?;
                read(&mut stream, &mut answer).await?;
                let now = started.elapsed();
                if now > WARM + FOR {
                    break;
                }
                if now > WARM {
                    times.push(before.elapsed());
                }
            }
            Ok::<_, std::io::Error>(times)
        });
    }
    let mut times = Vec::new();
    for of in tasks.join_all().await {
        times.extend(of?);
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
    let used_us = used.await?.as_secs_f64() * 1e6 / times.len() as f64;
    let rate = times.len() as f64 / FOR.as_secs_f64();
    Ok(Driven { rate, p50_ms: at(50), p99_ms: at(99), used_us })
}

/// Reads one answer with a length; anything but 200 is an error.
async fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> std::io::Result<()> {
    answer.clear();
    loop {
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            if !head.starts_with("http/1.1 200") {
                return Err(std::io::Error::other(String::from_utf8_lossy(answer).into_owned()));
            }
            if answer.len() >= end + 4 + length {
                return Ok(());
            }
        }
        if stream.read_buf(answer).await? == 0 {
            return Err(std::io::Error::other("the server closed the connection"));
        }
    }
}

/// A request of a terminal, by HTTP: the n-th one, of a card among many.
pub fn sale(token: &str, at: usize, n: u64) -> Vec<u8> {
    let card = (at * 7_919 + usize::try_from(n).unwrap_or(0) * 104_729) % CARDS;
    let body = format!(
        "{{\"terminal_id\":\"{}\",\"occurred_at\":\"{}\",\"mode\":\"sale\",\
         \"means\":{{\"kind\":\"card_uid\",\"value\":\"{card}\"}},\"lines\":[\
         {{\"line\":1,\"item\":\"milk\",\"category\":\"food.milk\",\"quantity\":2,\"unit_price_cents\":129}},\
         {{\"line\":2,\"item\":\"rye\",\"category\":\"food.bread\",\"quantity\":1,\"unit_price_cents\":185}},\
         {{\"line\":3,\"item\":\"soap\",\"category\":\"home.soap\",\"quantity\":1,\"unit_price_cents\":249}}]}}",
        terminal(at),
        Utc::now().to_rfc3339(),
    );
    format!(
        "POST /v1/authorisations HTTP/1.1\r\nhost: avis\r\nauthorization: Bearer {token}\r\n\
         idempotency-key: {n}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Answers a second of some streams, each with many requests in flight.
async fn stream(till: &Till) -> Result<f64> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for at in 0..STREAMS {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", till.grpc))?;
        let channel = channel.connect().await?;
        let bearer =
            format!("Bearer {}", till.tokens[at]).parse::<tonic::metadata::MetadataValue<_>>()?;
        tasks.spawn(async move {
            let with_token = move |mut request: tonic::Request<()>| {
                request.metadata_mut().insert("authorization", bearer.clone());
                Ok(request)
            };
            let mut client = TerminalClient::with_interceptor(channel, with_token);
            let room = Arc::new(Semaphore::new(IN_FLIGHT));
            let (ask, asked) = tokio::sync::mpsc::channel(IN_FLIGHT);
            let asking = Arc::clone(&room);
            tokio::spawn(async move {
                for n in 0.. {
                    let Ok(permit) = asking.acquire().await else { return };
                    permit.forget();
                    if started.elapsed() > WARM + FOR || ask.send(request(at, n)).await.is_err() {
                        return;
                    }
                }
            });
            let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
            let mut answers = client.authorise(asked).await?.into_inner();
            let mut counted = 0_u64;
            while let Some(answer) = answers.message().await? {
                room.add_permits(1);
                let now = started.elapsed();
                match answer.outcome {
                    Some(Outcome::Authorisation(_)) if now > WARM && now < WARM + FOR => {
                        counted += 1;
                    }
                    Some(Outcome::Authorisation(_)) => {}
                    other => return Err(tonic::Status::internal(format!("{other:?}"))),
                }
            }
            Ok::<_, tonic::Status>(counted)
        });
    }
    let mut answered = 0;
    for of in tasks.join_all().await {
        answered += of?;
    }
    Ok(answered as f64 / FOR.as_secs_f64())
}

fn request(at: usize, n: u64) -> wire::Request {
    let card = (at * 7_919 + usize::try_from(n).unwrap_or(0) * 104_729) % CARDS;
    let line = |line: u32, item: &str, category: &str, cents: i64| wire::BasketLine {
        line,
        item: item.into(),
        category: category.into(),
        quantity_thousandths: 1_000,
        unit_price_cents: cents,
        ..wire::BasketLine::default()
    };
    wire::Request {
        id: n.to_string(),
        idempotency_key: format!("g{n}"),
        what: Some(What::Authorise(wire::Basket {
            terminal_id: terminal(at),
            occurred_at: Utc::now().to_rfc3339(),
            means: Some(wire::Means { kind: "card_uid".into(), value: card.to_string() }),
            mode: "sale".into(),
            lines: vec![
                line(1, "milk", "food.milk", 129),
                line(2, "rye", "food.bread", 185),
                line(3, "soap", "home.soap", 249),
            ],
            ..wire::Basket::default()
        })),
    }
}
