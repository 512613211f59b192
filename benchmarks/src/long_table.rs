//! What a table costs while it grows for years: narrow rows in many commits, looked after as a node does.
//! Each tenth says what a row and a commit cost, how long opening takes and what is in memory, and at
//! last whether that stayed flat.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type},
    error::ArrowError,
};
use warehouse::{
    schema,
    session::{Session, folder},
    table::{Positions, Table, delta::DeltaTable, upkeep::Upkeep},
    tail::Tails,
};

use crate::{registers, times::processor};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rows and commits; `AVIS_BENCH_ROWS` and `AVIS_BENCH_COMMITS` say others, up to 100 million in 10 000.
const ROWS: u64 = 1_000_000;
const COMMITS: u64 = 1_000;
const TABLE: &str = "points_entries";
/// How many days the rows are spread over.
const DAYS: u64 = 30;
/// Commits between two turns of upkeep: five minutes' worth.
const TURN: u64 = 30;
/// How long the log and merged files are kept; commits come faster here than ever in a node.
const KEPT: Duration = Duration::from_secs(10);
const COUNT: &str = include_str!("long_table/count.sql");
/// A tenth by which the last is measured: the first opens files, and fills caches.
const MEASURED_BY: usize = 1;
/// What is still flat: so many times as much, and for times and memory something on top.
const FLAT: f64 = 1.5;
const FLAT_TIME: Duration = Duration::from_millis(20);
const FLAT_MIB: u64 = 128;

/// What a tenth of the rows cost.
#[derive(Clone, Copy, Debug)]
struct Tenth {
    rate: f64,
    /// Microseconds of processor for a row.
    each: f64,
    p50: Duration,
    p99: Duration,
    opened: Duration,
    /// MiB in memory.
    resident: u64,
}

/// Prints a row for each tenth, and the verdict.
pub async fn measure() -> Result<()> {
    let (rows, commits) = (number("AVIS_BENCH_ROWS", ROWS), number("AVIS_BENCH_COMMITS", COMMITS));
    let (each, commits) = ((rows / commits).max(1), commits.max(10));
    let place = tempfile::tempdir()?;
    let long = Long::new(folder(place.path())?, each, commits).await?;
    let mut tenths: Vec<Tenth> = Vec::new();
    for tenth in 0..10 {
        let told = long.tenth(tenth).await?;
        let first = tenths.first().map_or(told.rate, |first| first.rate);
        let landed = (tenth + 1) * (commits / 10);
        let what = format!("{} rows kept in {landed} commits", landed * each);
        crate::row(&what, told.rate, "with the fewest", first);
        crate::say(format!(
            "|   {:.2} µs of processor a row, a commit {:?} (p50), {:?} (p99), opened in {:?}, \
             {} MiB | | | | |",
            told.each, told.p50, told.p99, told.opened, told.resident
        ));
        tenths.push(told);
    }
    if let (Some(before), Some(last)) = (tenths.get(MEASURED_BY), tenths.last()) {
        let grown = grown(before, last);
        let verdict = if grown.is_empty() { "flat".into() } else { grown.join(", ") };
        crate::say(format!("|   the last tenth beside the second: {verdict} | | | | |"));
    }
    Ok(())
}

/// A table that grows, and its tail.
struct Long {
    root: url::Url,
    known: &'static schema::Table,
    table: DeltaTable,
    tails: Tails,
    /// Rows of a commit.
    each: u64,
    commits: u64,
}

impl Long {
    async fn new(root: url::Url, each: u64, commits: u64) -> Result<Self> {
        let known = schema::table(TABLE).ok_or("a table")?;
        let (table, tails) = (open(&root, known).await?, Tails::default());
        let table = table.with_tail(&tails.of(known));
        Ok(Self { root, known, table, tails, each, commits })
    }

    /// Lands a tenth of the rows after those before.
    async fn tenth(&self, tenth: u64) -> Result<Tenth> {
        let (tail, commits) = (self.tails.of(self.known), self.commits / 10);
        let mut took = Vec::new();
        let (started, busy) = (Instant::now(), processor());
        for commit in tenth * commits..(tenth + 1) * commits {
            let next = i64::try_from((commit + 1) * self.each)?;
            let rows = self.rows(commit)?;
            tail.append(&[rows], &Positions::from([(format!("{TABLE}/0"), next)]))?;
            let began = Instant::now();
            tail.land(&self.table).await?;
            took.push(began.elapsed());
            if commit % TURN == TURN - 1 {
                self.table.maintain(chrono::Utc::now()).await?;
            }
        }
        let landed = commits * self.each;
        let each = (processor() - busy).as_secs_f64() * 1e6 / landed as f64;
        let rate = landed as f64 / started.elapsed().as_secs_f64();
        took.sort_unstable();
        let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        let opens = Instant::now();
        drop(open(&self.root, self.known).await?);
        let opened = opens.elapsed();
        self.check((tenth + 1) * landed).await?;
        Ok(Tenth { rate, each, p50, p99, opened, resident: registers::memory("VmRSS:") >> 20 })
    }

    /// The rows of a commit.
    fn rows(&self, commit: u64) -> Result<RecordBatch> {
        let (from, count) = (i64::try_from(commit * self.each)?, i64::try_from(self.each)?);
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
        let names: ArrayRef =
            Arc::new(Int64Array::from_iter_values((from..from + count).map(|of| of % 1_000)));
        let day = 20_000 + i32::try_from(commit * DAYS / self.commits)?;
        let days: ArrayRef = Arc::new(Date32Array::from(vec![day; numbers.len()]));
        let nothing: ArrayRef = Arc::new(Int64Array::from(vec![0_i64; numbers.len()]));
        let schema = self.known.arrow();
        let columns = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Date32 => Ok(Arc::clone(&days)),
            // One partition.
            DataType::Int32 => cast(&nothing, &DataType::Int32),
            DataType::Utf8 => cast(&names, &DataType::Utf8),
            other => cast(&numbers, other),
        });
        let columns = columns.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    /// What was landed is there, as whoever asks for the first time sees it.
    async fn check(&self, landed: u64) -> Result<()> {
        let counted = Session::open_with(&self.root, &Tails::default())?.rows(COUNT).await?;
        let first = counted.batches.iter().find(|batch| batch.num_rows() > 0).ok_or("a row")?;
        let counted = first.column(0).as_primitive::<Int64Type>().value(0);
        if u64::try_from(counted)? != landed {
            return Err(format!("{landed} rows were landed, {counted} are there").into());
        }
        Ok(())
    }
}

async fn open(root: &url::Url, known: &'static schema::Table) -> Result<DeltaTable> {
    let metrics = warehouse::metrics::Metrics::register(&prometheus::Registry::new())?;
    let upkeep = Upkeep {
        every: Duration::ZERO,
        keep_log: KEPT,
        keep_removed: KEPT,
        keep_orphans: KEPT,
        vacuum_every: KEPT,
        ..Upkeep::default()
    };
    Ok(DeltaTable::open_with(root, known, metrics, upkeep).await?)
}

fn number(name: &str, plain: u64) -> u64 {
    let said = std::env::var(name).ok().and_then(|said| said.parse().ok());
    said.filter(|said| *said > 0).unwrap_or(plain)
}

/// What became more than may be called flat, and how many times as much.
fn grown(before: &Tenth, last: &Tenth) -> Vec<String> {
    let time = |what: &str, before: Duration, last: Duration| {
        let is_more = last > before.mul_f64(FLAT) + FLAT_TIME;
        let times = last.as_secs_f64() / before.as_secs_f64().max(1e-9);
        is_more.then(|| format!("not flat: {what} {times:.1} times"))
    };
    let more = |what: &str, before: f64, last: f64, beyond: f64| {
        let is_more = last > before * FLAT + beyond;
        is_more.then(|| format!("not flat: {what} {:.1} times", last / before.max(1e-9)))
    };
    let told = [
        more("the cost of a row", before.each, last.each, 0.0),
        time("a commit (p50)", before.p50, last.p50),
        time("a commit (p99)", before.p99, last.p99),
        time("opening", before.opened, last.opened),
        more("memory", before.resident as f64, last.resident as f64, FLAT_MIB as f64),
    ];
    told.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Tenth = Tenth {
        rate: 1.0,
        each: 2.0,
        p50: Duration::from_millis(20),
        p99: Duration::from_millis(60),
        opened: Duration::from_millis(100),
        resident: 200,
    };

    #[test]
    fn what_grows_with_the_table_is_named() {
        assert_eq!(grown(&BEFORE, &BEFORE), [""; 0]);
        let still = Tenth { each: 3.0, opened: Duration::from_millis(170), ..BEFORE };
        assert_eq!(grown(&BEFORE, &Tenth { resident: 428, ..still }), [""; 0]);
        let opened = Duration::from_millis(400);
        let told = grown(&BEFORE, &Tenth { opened, each: 6.0, ..BEFORE });
        assert_eq!(told, ["not flat: the cost of a row 3.0 times", "not flat: opening 4.0 times"]);
        let told = grown(&BEFORE, &Tenth { resident: 800, ..BEFORE });
        assert_eq!(told, ["not flat: memory 4.0 times"]);
    }

    #[tokio::test]
    async fn what_is_landed_is_there() {
        let place = tempfile::tempdir().expect("a folder");
        let root = folder(place.path()).expect("an address");
        let long = Long::new(root, 3, 20).await.expect("a table");
        long.tenth(0).await.expect("landed");
        let told = long.tenth(1).await.expect("landed");
        assert!(told.p50 <= told.p99);
        assert!(long.check(13).await.is_err());
    }
}
