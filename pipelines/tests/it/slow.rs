//! A commit that takes long holds up no rows: queries see what comes meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use ingest::{
    clock::ManualClock,
    log::{Log, model::ModelLog},
    topic::Topic,
    wire::v1::Event,
};
use pipelines::{
    catalogue,
    config::Settings,
    metrics::Metrics,
    runner::{Beside, Runner},
};
use prometheus::Registry;
use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use warehouse::{
    schema,
    table::{Pending, Positions, Table, model::ModelTable},
    tail::Tails,
};

use crate::{
    history::{decided, household, record},
    landing,
};

const TABLE: &str = "authorisations";
/// More than wait in queues.
const SALES: usize = 8;
/// Longer than a pipeline waits before it commits.
const A_WHILE: Duration = Duration::from_millis(5);

/// A table whose commits wait until they are let through.
#[derive(Debug)]
struct Slow {
    table: ModelTable,
    asked: AtomicUsize,
    through: Semaphore,
}

impl Table for Slow {
    fn schema(&self) -> &'static schema::Table {
        self.table.schema()
    }

    fn positions<'a>(&'a self, applications: &'a [String]) -> Pending<'a, Positions> {
        self.table.positions(applications)
    }

    fn commit<'a>(&'a self, rows: Vec<RecordBatch>, positions: &'a Positions) -> Pending<'a, ()> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _through = self.through.acquire().await.expect("it is never closed");
            self.table.commit(rows, positions).await
        })
    }
}

#[tokio::test]
async fn rows_are_seen_while_a_commit_takes_long() {
    let (log, tails) = (Arc::new(ModelLog::default()), Tails::default());
    let schema = schema::table(TABLE).expect("a table");
    let table = Arc::new(Slow {
        table: ModelTable::new(schema),
        asked: AtomicUsize::new(0),
        through: Semaphore::new(0),
    });
    let planned = catalogue::shipped().await.expect("shipped files plan");
    let lines = planned.into_iter().filter(|pipeline| pipeline.name == TABLE);
    let lines = lines.map(|pipeline| (pipeline, Arc::clone(&table) as Arc<dyn Table>)).collect();
    let metrics = Metrics::register(&Registry::new()).expect("fresh metrics");
    let clock = Arc::new(ManualClock::at(DateTime::<Utc>::UNIX_EPOCH));
    let beside = Beside { states: Arc::default(), tails: &tails, late: None };
    let read: Arc<dyn Log> = Arc::clone(&log) as _;
    let settings = Settings { commit_interval: Duration::from_millis(1), ..Settings::default() };
    let runner = Runner::new(read, clock, metrics, settings, beside, lines).expect("tables fit");

    let (stop, stopped) = watch::channel(false);
    let selling = async {
        let at = "2025-03-03T09:00:00Z";
        for sold in 1..=SALES {
            let name = format!("sale {sold}");
            let event = Event::AuthorisationDecided(decided(&name, at, "captured").into());
            let sale = record(&name, household(0), at, event);
            log.append(Topic::Authorisations, &[sale]).await.expect("appended");
            while tails.of(schema).fill().rows < sold || table.asked.load(Ordering::SeqCst) == 0 {
                sleep(A_WHILE).await;
            }
            // It is time for the next commit.
            sleep(A_WHILE).await;
        }
        assert!(landing::rows(&table.table).is_empty());
        table.through.add_permits(1);
        stop.send(true).expect("it runs");
    };
    let running = async { tokio::join!(runner.run(stopped), selling) };
    let ended = timeout(Duration::from_secs(60), running).await;
    let (ran, ()) = ended.expect("rows are seen");
    ran.expect("landed");
    assert_eq!(landing::rows(&table.table).len(), SALES);
}
