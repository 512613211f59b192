//! Durable sales with counters in Redis, beside what the same Redis reaches with a script of that
//! kind alone, pipelined. Clients, authoriser and Redis share the machine in both.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use authoriser::{cache::redis::RedisSettings, claims::body_hash};
use chrono::Utc;
use domain::{
    amount::{Amount, Quantity},
    basket::{Line, Lines, Mode, PointsWanted, Request},
    id::{IdempotencyKey, ItemId, TerminalId},
    identification_means::MeansKind,
    merchant::Category,
};
use tokio::task::JoinSet;

use crate::till::{CARDS, TERMINALS, Till, terminal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const WARM: Duration = Duration::from_secs(1);
const FOR: Duration = Duration::from_secs(6);
/// Scripts in one pipeline, as many as baskets share a batch at this load.
const PIPELINED: usize = 256;
const ASKING: usize = 512;

/// Reads version and generation, moves two counters, notes the operation: as a reservation does.
const SCRIPT: &str = "
local g, v, o = unpack(redis.call('HMGET', KEYS[1], 'g', 'v', 'o' .. ARGV[1]))
if o then return {1, v} end
redis.call('HSET', KEYS[1], 'g', '1', 'o' .. ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'c1', 1)
redis.call('HINCRBY', KEYS[1], 'c2', 129)
return {0, redis.call('HINCRBY', KEYS[1], 'v', 1)}";

/// A Redis with its file.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    /// Where it is.
    pub url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    /// Starts one, on a free port of this machine.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--appendonly", "yes"])
            .args(["--save", "", "--maxmemory-policy", "noeviction", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}"))?;
        Ok(Self { child, url: format!("redis://127.0.0.1:{port}"), _folder: folder })
    }

    async fn connect(&self) -> Result<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.url.as_str())?;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match client.get_multiplexed_async_connection().await {
                Ok(connection) => return Ok(connection),
                Err(error) if Instant::now() > until => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Prints a row.
pub async fn measure() -> Result<()> {
    let redis = Redis::start()?;
    let raw = scripts(&redis).await?;
    let settings = RedisSettings { urls: vec![redis.url.clone()], ..RedisSettings::default() };
    let till = Till::over_redis(settings).await?;
    let sales = sales(&till).await?;
    crate::row("durable sale, counters in Redis", sales, "EVALSHA alone, pipelined", raw);
    till.close().await
}

async fn scripts(redis: &Redis) -> Result<f64> {
    let mut connection = redis.connect().await?;
    let digest: String =
        redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
    let (started, mut done, mut n) = (Instant::now(), 0_u64, 0_usize);
    while started.elapsed() < WARM + FOR {
        let mut pipe = redis::pipe();
        for _ in 0..PIPELINED {
            n += 1;
            let key = format!("raw:{{{}}}", n % CARDS);
            pipe.cmd("EVALSHA").arg(&digest).arg(1).arg(key).arg(n).arg("1700000000");
        }
        let _: Vec<(i64, i64)> = pipe.query_async(&mut connection).await?;
        if started.elapsed() > WARM {
            done += PIPELINED as u64;
        }
    }
    Ok(done as f64 / FOR.as_secs_f64())
}

/// Sales a second, asked in process. A till is asked once: the keys are the same each time.
pub async fn sales(till: &Till) -> Result<f64> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let vault = Arc::new(till.handle.parts().vault.clone());
    for at in 0..ASKING {
        let (handle, vault) = (till.handle.clone(), Arc::clone(&vault));
        tasks.spawn(async move {
            let mut done = 0_u64;
            for n in 0_usize.. {
                let card = ((at * 7_919 + n * 104_729) % CARDS).to_string();
                let mut request = basket(at, n).ok()?;
                request.means = Some(vault.means_token(MeansKind::CardUid, &card));
                handle.authorise(request, body_hash(&n.to_be_bytes())).await.ok()?;
                let now = started.elapsed();
                if now > WARM + FOR {
                    break;
                }
                done += u64::from(now > WARM);
            }
            Some(done)
        });
    }
    let mut all = 0;
    for done in tasks.join_all().await {
        all += done.ok_or("a sale was refused")?;
    }
    Ok(all as f64 / FOR.as_secs_f64())
}

fn basket(at: usize, n: usize) -> Result<Request> {
    let line = |number, item: &str, category: &str, cents| -> Result<Line> {
        Ok(Line {
            number,
            item: ItemId::new(item)?,
            category: Category::parse(category),
            quantity: Quantity::from_thousandths(1_000),
            unit_price: Amount::from_cents(cents),
            attributes: std::collections::BTreeMap::new(),
        })
    };
    let lines = vec![
        line(1, "milk", "food.milk", 129)?,
        line(2, "rye", "food.bread", 185)?,
        line(3, "soap", "home.soap", 249)?,
    ];
    Ok(Request {
        terminal: TerminalId::new(&terminal(at % TERMINALS))?,
        key: IdempotencyKey::new(&format!("r{at}-{n}"))?,
        occurred_at: Utc::now(),
        means: None,
        mode: Mode::Sale,
        lines: Lines::new(lines)?,
        receipt: None,
        spend_points: PointsWanted::UpTo(0),
        applied: None,
    })
}
