//! A warehouse in a folder with the shipped pipelines over a log: what landing is measured with.

use std::{path::Path, sync::Arc};

use arrow::{array::AsArray, datatypes::Int64Type};
use ingest::{
    clock::{Clock, SystemClock},
    log::Log,
};
use pipelines::{
    catalogue,
    config::Settings,
    metrics::Metrics,
    runner::{Beside, Runner},
    states::States,
};
use prometheus::Registry;
use warehouse::{
    schema,
    session::{Session, folder},
    table::{Table, delta::DeltaTable},
    tail::Tails,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The warehouse.
pub struct Lake {
    root: url::Url,
    states: Arc<States>,
    /// The rows that have not landed.
    pub tails: Tails,
}

impl Lake {
    /// One below a folder.
    pub fn new(below: &Path) -> Result<Self> {
        let root = folder(&below.join("warehouse"))?;
        let states = Arc::new(States::Folder(below.join("pipelines")));
        Ok(Self { root, states, tails: Tails::default() })
    }

    /// Some of the shipped pipelines over a log.
    pub async fn runner(
        &self,
        log: Arc<dyn Log>,
        names: &[&str],
        settings: Settings,
    ) -> Result<Runner> {
        let mut lines = Vec::new();
        let registry = Registry::new();
        let metrics = warehouse::metrics::Metrics::register(&registry)?;
        for pipeline in catalogue::shipped().await? {
            if !names.contains(&pipeline.name.as_str()) {
                continue;
            }
            let schema = schema::table(&pipeline.name).ok_or("a table")?;
            let table = DeltaTable::open(&self.root, schema, metrics.clone()).await?;
            let table = table.with_tail(&self.tails.of(schema));
            lines.push((pipeline, Arc::new(table) as Arc<dyn Table>));
        }
        let beside = Beside { states: Arc::clone(&self.states), tails: &self.tails, late: None };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Runner::new(log, clock, Metrics::register(&registry)?, settings, beside, lines)?)
    }

    /// What queries of the node see at this instant.
    pub fn session(&self) -> Result<Session> {
        Ok(Session::open_with(&self.root, &self.tails)?)
    }

    /// The number that a query answers at this instant.
    pub async fn number(&self, query: &str) -> Result<u64> {
        let rows = self.session()?.rows(query).await?;
        let first = rows.batches.iter().find(|batch| batch.num_rows() > 0).ok_or("a row")?;
        Ok(u64::try_from(first.column(0).as_primitive::<Int64Type>().value(0))?)
    }
}
