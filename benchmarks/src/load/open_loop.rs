//! Terminals that ask when it is time to, whatever became of what was asked before; and how long each
//! answer took from then on, so that what had to wait for a connection is seen as late, too.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::{Result, until};
use crate::sale;

/// Connections that are kept open; more than are ever busy at once while the node keeps up.
const CONNECTIONS: usize = 2_048;
/// Whoever has no answer by then hangs up and counts it as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Terminals with their connections.
pub struct Load {
    to: SocketAddr,
    tokens: Arc<Vec<String>>,
    connections: Vec<Option<TcpStream>>,
    next: Arc<AtomicU64>,
}

/// What became of a phase.
#[derive(Debug, Default)]
pub struct Answers {
    /// How many sales were asked for.
    pub sent: usize,
    /// How long each answer took, in microseconds, in order of their time.
    pub answered: Vec<u32>,
    /// How many were told to come again.
    pub refused: usize,
    /// How many had no answer, or another one.
    pub failed: usize,
    /// From the first to the last.
    pub lasted: Duration,
    refusals: Vec<u32>,
}

impl Answers {
    /// So many of all answers took no longer.
    pub fn at(&self, share: f64) -> Duration {
        quantile(&self.answered, share)
    }

    /// So many of all refusals took no longer.
    pub fn refusals_at(&self, share: f64) -> Duration {
        quantile(&self.refusals, share)
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered.extend(other.answered);
        self.refusals.extend(other.refusals);
        self.refused += other.refused;
        self.failed += other.failed;
    }
}

fn quantile(sorted: &[u32], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share) as usize;
    Duration::from_micros(sorted.get(at).copied().unwrap_or(0).into())
}

impl Load {
    /// Terminals of a node.
    pub async fn new(to: SocketAddr, tokens: Vec<String>) -> Result<Self> {
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            connections.push(Some(connect(to).await?));
        }
        Ok(Self { to, tokens: Arc::new(tokens), connections, next: Arc::default() })
    }

    /// Asks so often a second, for so long.
    pub async fn run(&mut self, rate: u32, time: Duration) -> Result<Answers> {
        let between = Duration::from_secs(1) / rate;
        let most = (time.as_secs_f64() * f64::from(rate)) as u64;
        let begin = Instant::now() + Duration::from_millis(50);
        let turn = Arc::new(AtomicU64::default());
        let mut tasks = JoinSet::new();
        for connection in &mut self.connections {
            let (connection, to, tokens) = (connection.take(), self.to, Arc::clone(&self.tokens));
            let (turn, next) = (Arc::clone(&turn), Arc::clone(&self.next));
            tasks.spawn(async move {
                let mut terminal = Terminal { connection, to, tokens, told: Answers::default() };
                loop {
                    let number = turn.fetch_add(1, Ordering::Relaxed);
                    if number >= most {
                        return terminal;
                    }
                    let due = begin + between * u32::try_from(number).unwrap_or(u32::MAX);
                    tokio::time::sleep(until(due)).await;
                    terminal.sell(next.fetch_add(1, Ordering::Relaxed), due).await;
                }
            });
        }
        let mut all = Answers::default();
        for (place, terminal) in tasks.join_all().await.into_iter().enumerate() {
            self.connections[place] = terminal.connection;
            all.add(terminal.told);
        }
        all.lasted = begin.elapsed();
        all.answered.sort_unstable();
        all.refusals.sort_unstable();
        Ok(all)
    }
}

struct Terminal {
    connection: Option<TcpStream>,
    to: SocketAddr,
    tokens: Arc<Vec<String>>,
    told: Answers,
}

impl Terminal {
    async fn sell(&mut self, number: u64, due: Instant) {
        self.told.sent += 1;
        let status = tokio::time::timeout(PATIENCE, self.ask(number)).await;
        let took = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
        match status {
            Ok(Ok(200)) => self.told.answered.push(took),
            Ok(Ok(429 | 503)) => {
                self.told.refused += 1;
                self.told.refusals.push(took);
            }
            _ => {
                self.told.failed += 1;
                self.connection = None;
            }
        }
    }

    async fn ask(&mut self, number: u64) -> std::io::Result<u16> {
        let at = usize::try_from(number).unwrap_or(0) % self.tokens.len();
        let request = sale::sale(&self.tokens[at], at, number);
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => connect(self.to).await?,
        };
        stream.write_all(&request).await?;
        let (status, stays) = answer(&mut stream).await?;
        self.connection = stays.then_some(stream);
        Ok(status)
    }
}

async fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer; its status, and whether the connection stays.
async fn answer(stream: &mut TcpStream) -> std::io::Result<(u16, bool)> {
    let mut answer = Vec::with_capacity(2_048);
    loop {
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            if answer.len() >= end + 4 + length {
                let status = head.split_whitespace().nth(1).and_then(|of| of.parse().ok());
                return Ok((status.unwrap_or(0), !head.contains("connection: close")));
            }
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
