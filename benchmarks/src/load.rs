//! `avis up` as a process of its own, under terminals in open loop: they sell when people come, not when
//! the answer before has come. Aims: nothing lost, p99 below 10 ms, freshness p99 of 2 s at most, memory
//! flat; and under twice what it carries, answers of those let in within three times the idle ones.
//!
//! `AVIS_BENCH_SECONDS` is how long the long phases last (600 in full).

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    till::{CARDS, TERMINALS, means, registry, terminal},
    times::processor,
};
use open_loop::{Answers, Load};

mod open_loop;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the aims are said at.
const RATE: u32 = 2_000;
const HIGH: u32 = 10_000;
const QUIET: u32 = 100;
const LATE: Duration = Duration::from_millis(10);
/// The search for the highest rate: where it begins, and how long each step lasts.
const FIRST: u32 = 2_000;
const STEP: Duration = Duration::from_secs(10);

/// Prints a row for each phase, and what was lost: nothing.
pub async fn measure() -> Result<()> {
    let long = std::env::var("AVIS_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    let long = Duration::from_secs(long.unwrap_or(30));
    let node = Node::start().await?;
    let (mut sent, mut answered) = (0, 0);
    let mut load = Load::new(node.http, node.tokens.clone()).await?;
    let mut phase = async |name: &str, rate: u32, time: Duration| {
        let before = node.seen().await?;
        let own = processor();
        let told = load.run(rate, time).await?;
        let (own, after) = (processor() - own, node.seen().await?);
        sent += told.sent;
        answered += told.answered.len();
        say(name, rate, &told, (before, after, own.as_secs_f64()));
        Ok::<_, Box<dyn std::error::Error>>(told)
    };
    let idle = phase("idle", QUIET, STEP).await?;
    phase("two thousand a second", RATE, long).await?;
    phase("ten thousand a second", HIGH, long.min(Duration::from_secs(60))).await?;
    let mut holds = 0;
    let mut rate = FIRST;
    loop {
        let told = phase("search", rate, STEP).await?;
        if told.refused > 0 || told.failed > 0 || told.at(0.99) > LATE {
            break;
        }
        holds = rate;
        rate += rate / 4;
    }
    let carried = holds.max(FIRST);
    let twice = phase("twice the highest that holds", 2 * carried, long).await?;
    let again = phase("idle again", QUIET, STEP).await?;
    crate::row("highest rate that holds", f64::from(holds), "aim", f64::from(HIGH));
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (quiet, full) = (millis(idle.at(0.99)), millis(twice.at(0.99)));
    crate::row("p99 of those let in, µs", full * 1e3, "three times the idle", 3e3 * quiet);
    crate::say(format!("|   idle again: p99 {:.2} ms | | | | |", millis(again.at(0.99))));
    let found = node.close()?;
    crate::say(format!("|   sent {sent}, acknowledged {answered}, found {found} | | | | |"));
    if found < answered {
        return Err(format!("{} acknowledged sales are lost", answered - found).into());
    }
    Ok(())
}

/// One row: what became of a phase.
fn say(name: &str, rate: u32, told: &Answers, (before, after, own): (Seen, Seen, f64)) {
    let millis = |share: f64| told.at(share).as_secs_f64() * 1e3;
    let turned = told.refusals_at(0.99).as_secs_f64() * 1e3;
    let used = after.processor - before.processor;
    crate::row(
        &format!("{name}: answered"),
        told.answered.len() as f64 / told.lasted.as_secs_f64(),
        "asked",
        f64::from(rate),
    );
    crate::say(format!(
        "|   p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.1} ms; {} refused (p99 {turned:.2} ms), \
         {} failed; memory {:.0} to {:.0} MiB; freshness p99 {}; generator {:.0} % of the processor time | | | | |",
        millis(0.5),
        millis(0.99),
        millis(0.999),
        millis(1.0),
        told.refused,
        told.failed,
        before.resident / 1_048_576.0,
        after.resident / 1_048_576.0,
        after.fresh_since(&before),
        100.0 * own / (own + used).max(f64::EPSILON),
    ));
}

/// The node's process.
struct Node {
    child: Child,
    http: SocketAddr,
    tokens: Vec<String>,
    avis: PathBuf,
    folder: TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that was stopped has nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// A shop of its own, served by the `avis` that was built beside this.
    async fn start() -> Result<Self> {
        let avis = std::env::current_exe()?.with_file_name("avis");
        if !avis.is_file() {
            return Err("build it first: cargo build --release --workspace".into());
        }
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("log"))?;
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        let rules = file("registry.yaml", registry())?;
        told(&avis, &data, &["registry", "apply", rules.to_str().unwrap_or_default()])?;
        let cards = file("means.ndjson", (0..CARDS).map(means).collect())?;
        told(&avis, &data, &["load", "means", cards.to_str().unwrap_or_default()])?;
        let token = |number| {
            let subject = terminal(number);
            let role = ["token", "issue", "--role", "terminal", "--organisation", "shop"];
            let arguments = [role.as_slice(), &["--subject", &subject]].concat();
            told(&avis, &data, &arguments).map(|text| text.trim().to_owned())
        };
        let tokens = (0..TERMINALS).map(token).collect::<Result<_>>()?;
        let any = "127.0.0.1:0";
        let mut command = Command::new(&avis);
        command.args(["up", "--http", any, "--grpc", any, "--postgres", any, "--flight", any]);
        // As often as they like: what is measured is how fast it goes.
        command.env("AVIS__TERMINALS__REQUESTS_PER_SECOND", "1000000");
        command.env("AVIS__TERMINALS__REQUESTS_AT_ONCE", "1000000");
        command.arg("--data").arg(&data).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut http = None;
        for line in &mut lines {
            let line = line?;
            let address = line.split_once("http://").and_then(|(_, rest)| rest.split('/').next());
            if let Some(address) = address.filter(|_| line.starts_with("http ")) {
                http = Some(address.parse()?);
            }
            if line == "ready" {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        let http = http.ok_or("the node did not come up")?;
        Ok(Self { child, http, tokens, avis, folder })
    }

    /// What the node's metrics say now.
    async fn seen(&self) -> Result<Seen> {
        let mut stream = TcpStream::connect(self.http).await?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: avis\r\nconnection: close\r\n\r\n")
            .await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(Seen::of(&text))
    }

    /// Stops it; answers how many sales its tables hold.
    fn close(mut self) -> Result<usize> {
        let stopped = Command::new("kill").arg(self.child.id().to_string()).status()?;
        if !stopped.success() || !self.child.wait()?.success() {
            return Err("the node did not stop cleanly".into());
        }
        let data = self.folder.path().join("data");
        let checked = told(&self.avis, &data, &["settle", "check"])?;
        if !checked.contains("the books balance") {
            return Err(checked.into());
        }
        let query = ["sql", "SELECT COUNT(*) FROM authorisations", "--format", "csv"];
        let rows = told(&self.avis, &data, &query)?;
        Ok(rows.lines().last().unwrap_or_default().parse()?)
    }
}

fn told(avis: &Path, data: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(avis).args(arguments).arg("--data").arg(data).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What the node says of itself.
#[derive(Debug, Default)]
struct Seen {
    /// Seconds of processors.
    processor: f64,
    /// Bytes of memory.
    resident: f64,
    /// Records by how long they waited until queries saw them: bounds, and how many waited no longer.
    visible: Vec<(f64, f64)>,
}

impl Seen {
    fn of(text: &str) -> Self {
        let mut seen = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse() else { continue };
            match name {
                "avis_process_cpu_seconds_total" => seen.processor = value,
                "avis_process_resident_memory_bytes" => seen.resident = value,
                _ if name.starts_with("avis_pipelines_visible_duration_seconds_bucket") => {
                    let bound = name.split_once("le=\"").and_then(|(_, of)| of.split('"').next());
                    let bound = bound.and_then(|bound| bound.parse().ok()).unwrap_or(f64::INFINITY);
                    match seen.visible.iter_mut().find(|(of, _)| *of == bound) {
                        Some((_, sum)) => *sum += value,
                        None => seen.visible.push((bound, value)),
                    }
                }
                _ => {}
            }
        }
        seen.visible.sort_by(|one, other| one.0.total_cmp(&other.0));
        seen
    }

    /// How long ninety-nine of a hundred records waited at most.
    fn fresh_since(&self, before: &Self) -> String {
        let count = |of: &Self, bound: f64| {
            of.visible.iter().find(|(at, _)| *at == bound).map_or(0.0, |(_, count)| *count)
        };
        let since = |bound: f64| count(self, bound) - count(before, bound);
        let all = since(f64::INFINITY);
        let bound = self.visible.iter().find(|(bound, _)| since(*bound) >= 0.99 * all);
        match bound {
            Some((bound, _)) if bound.is_finite() => format!("≤ {bound} s"),
            _ => "beyond its buckets".into(),
        }
    }
}

/// How long until an instant.
fn until(instant: Instant) -> Duration {
    instant.saturating_duration_since(Instant::now())
}
