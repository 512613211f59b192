//! Analysts' questions through our SQL endpoint, beside DuckDB and Polars on the same table's files,
//! which have to answer the same.

use std::{path::Path, sync::Arc};

use chrono::{Days, NaiveDate};
use tokio::{net::TcpListener, sync::watch};
use warehouse::{
    access::{Reader, View},
    endpoint::{Endpoint, Gate, Limits, Stored, flight},
    schema,
    session::{Session, day, folder},
    table::{Positions, Table, delta::DeltaTable},
};

use crate::peers;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Benefit lines of the table; `AVIS_BENCH_ROWS` says another number.
const ROWS: u64 = 10_000_000;
/// Over how many days they are spread, a commit each.
const DAYS: u64 = 365;
const LINES: &str = include_str!("questions/lines.sql");

/// Whoever asks is an administrator: what is measured is the query, not the gate.
#[derive(Debug)]
struct Anybody;

impl Gate for Anybody {
    fn admit(&self, name: &str, _: &str) -> std::result::Result<Reader, String> {
        Ok(Reader { name: name.into(), view: View::Everything })
    }

    fn bearer(&self, _: &str) -> std::result::Result<Reader, String> {
        Ok(Reader { name: "analyst".into(), view: View::Everything })
    }

    fn stored(&self, _: &str) -> Option<(Stored, Reader)> {
        None
    }
}

/// Prints a row for each question and peer.
pub async fn measure() -> Result<()> {
    let rows = std::env::var("AVIS_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let place = tempfile::tempdir()?;
    let root = folder(place.path())?;
    fill(&root, rows.unwrap_or(ROWS)).await?;
    let open = Arc::new({
        let tails = warehouse::tail::Tails::default();
        move || Session::open_with(&root, &tails)
    });
    let endpoint = Endpoint::new(
        open,
        Limits::default(),
        Arc::new(|_| ()),
        warehouse::metrics::Metrics::register(&prometheus::Registry::new())?,
        tokio::runtime::Handle::current(),
    )?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("grpc://{}", listener.local_addr()?);
    let (stop, stopped) = watch::channel(false);
    let served = tokio::spawn(flight::serve(endpoint, Arc::new(Anybody), listener, None, stopped));
    let table = place.path().join("benefit_lines");
    let ask = move || peers::ask("questions", &[Path::new(&address), &table]);
    let told = tokio::task::spawn_blocking(ask).await?;
    for line in told?.lines() {
        let mut words = line.split('\t');
        let (Some(what), Some(ours), Some(peer), Some(theirs)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            crate::say(format!("|   {line} | | | | |"));
            continue;
        };
        crate::row(what, 1.0 / ours.parse::<f64>()?, peer, 1.0 / theirs.parse::<f64>()?);
    }
    // The server may have ended already.
    let _ = stop.send(true);
    Ok(served.await??)
}

async fn fill(root: &url::Url, rows: u64) -> Result<()> {
    let metrics = warehouse::metrics::Metrics::register(&prometheus::Registry::new())?;
    let known = schema::table("benefit_lines").ok_or("a table")?;
    let table = DeltaTable::open(root, known, metrics).await?;
    let session = Session::open(root).await?;
    let first = NaiveDate::from_ymd_opt(2025, 1, 1).ok_or("a day")?;
    let each = i64::try_from(rows / DAYS)?;
    for at in 0..DAYS {
        let of_day = first.checked_add_days(Days::new(at)).ok_or("a day")?;
        let lines = LINES.replace("$rows", &each.to_string());
        let lines = lines.replace("$before", &(i64::try_from(at)? * each).to_string());
        let made = session.query(&lines, vec![("day", day(of_day))]).await?;
        table.commit(made.batches, &Positions::new()).await?;
    }
    table.maintain(chrono::Utc::now()).await?;
    Ok(())
}
