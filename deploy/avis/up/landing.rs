//! The pipelines of a process that serves, from their start to the last row.

use std::{future::pending, sync::Arc, time::Duration};

use pipelines::{error::PipelineError, runner::Runner};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use super::tasks::patiently;
use crate::{config::Config, failure::Failure, lineage::Lineage, node::Node};

/// How long landing may take after the doors are closed.
const LANDING: Duration = Duration::from_secs(30);

/// Pipelines at work.
pub struct Landing {
    runner: Arc<Runner>,
    lineage: Option<Lineage>,
    last: watch::Sender<bool>,
    running: JoinHandle<Result<(), PipelineError>>,
}

impl Landing {
    /// Lands what is on the streams, and then what comes, and beside it what an operator's new table is
    /// made of.
    ///
    /// # Errors
    /// Where a stream cannot be read or a table not be written.
    pub async fn begin(
        node: &Node,
        config: &Config,
        behind: &Handle,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let runner = Arc::new(patiently(node, stop, || node.pipelines()).await?);
        let caught_up = patiently(node, stop, || async {
            let first = Arc::clone(&runner);
            behind.spawn(async move { first.catch_up_abreast().await }).await??;
            Ok::<(), Failure>(())
        });
        caught_up.await?;
        let lineage = Lineage::of(node, config, &runner)?;
        let (last, landed) = watch::channel(false);
        let lands = Arc::clone(&runner);
        let running = behind.spawn(async move { lands.run(landed).await });
        Ok(Self { runner, lineage, last, running })
    }

    /// Tells whoever keeps a catalogue of data how far the pipelines are, until these end by themselves,
    /// which they do only by failing.
    ///
    /// # Errors
    /// What ended them.
    pub async fn ended(&mut self, node: &Node) -> Result<(), Failure> {
        let ended = tokio::select! {
            ended = &mut self.running => ended?.map_err(Failure::from),
            () = follow(&mut self.lineage, node) => Ok(()),
        };
        self.tell_end(node, ended.as_ref().err()).await;
        ended
    }

    /// Lands what was answered, and ends. They have not ended by themselves.
    ///
    /// # Errors
    /// Where something cannot be landed.
    pub async fn end(mut self, node: &Node) -> Result<(), Failure> {
        // It is still there: it was not the one that ended.
        let _ = self.last.send(true);
        let ended = (&mut self.running).await?.map_err(Failure::from);
        if ended.is_ok() {
            self.land_the_rest().await?;
        }
        self.tell_end(node, ended.as_ref().err()).await;
        ended
    }

    /// Lands what was answered and not read by then: a reader stops where it is. What takes longer is landed
    /// by the next start.
    async fn land_the_rest(&self) -> Result<(), Failure> {
        match tokio::time::timeout(LANDING, self.runner.catch_up_abreast()).await {
            Ok(landed) => Ok(landed?),
            Err(_) => {
                tracing::warn!("what was answered last is landed at the next start");
                Ok(())
            }
        }
    }

    async fn tell_end(&mut self, node: &Node, failed: Option<&Failure>) {
        if let Some(lineage) = self.lineage.take() {
            lineage.end(node, failed).await;
        }
    }
}

/// Where nobody keeps a catalogue, it never ends.
async fn follow(lineage: &mut Option<Lineage>, node: &Node) {
    match lineage {
        Some(lineage) => lineage.follow(node).await,
        None => pending().await,
    }
}
