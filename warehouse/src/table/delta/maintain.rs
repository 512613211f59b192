//! The writer's own turn: merging, checkpoints, a shorter log, vacuum.
//!
//! Every step leaves the table whole: a merge is one commit, and a file is removed only when no
//! version that a reader can still hold names it. After a failure the writer reads the log again.

use chrono::{DateTime, TimeDelta, Utc};
use deltalake::{
    DeltaTableError,
    checkpoints::{cleanup_expired_logs_for, create_checkpoint},
    kernel::{Action, LogicalFileView},
    protocol::DeltaOperation,
};
use domain::period::LocalTime;
use tokio::sync::MutexGuard;

use super::{DeltaTable, Held, State, compact, load_at, vacuum::vacuum};
use crate::{
    error::WarehouseError,
    table::{
        Positions,
        upkeep::{Maintained, before},
    },
};

/// A log that nobody looks after gets a checkpoint at a commit, once so many intervals have passed.
const NEGLECTED: u64 = 10;

impl DeltaTable {
    pub(super) async fn look_after(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Maintained, WarehouseError> {
        let mut state = self.state.lock().await;
        if now < state.due {
            return Ok(Maintained::default());
        }
        state.due = later(now, self.upkeep.every);
        let mut held = self.take(&mut state, None).await?;
        // What upkeep writes is found by looking.
        let unsynced = state.unsynced.take();
        let mut done = Maintained::default();
        let tended = self.tend(&mut state, &mut held, now, &mut done).await;
        tended.map_err(|source| WarehouseError::Upkeep { table: self.schema.name, source })?;
        self.metrics.stands(self.schema.name, held.log.version(), held.live_files);
        self.metrics.maintained(&done);
        state.held = Some(held);
        if done == Maintained::default() {
            state.unsynced = unsynced;
        } else {
            tracing::debug!(table = self.schema.name, ?done, "looked after");
        }
        Ok(done)
    }

    async fn tend(
        &self,
        state: &mut MutexGuard<'_, State>,
        held: &mut Held,
        now: DateTime<Utc>,
        done: &mut Maintained,
    ) -> Result<(), DeltaTableError> {
        let table = load_at(&self.address, Some(held.log.version())).await?;
        let table = self.expire(held, table, now, done).await?;
        self.merge(held, &table, now, done).await?;
        if held.log.version() >= held.checkpoint + self.upkeep.checkpoint_commits.max(1) {
            done.log_entries = self.shorten_log(held, now).await?;
            done.checkpoint = true;
        }
        if now >= state.vacuum_due {
            let table = load_at(&self.address, Some(held.log.version())).await?;
            done.removed = vacuum(&table, &self.upkeep, now).await?;
            state.vacuum_due = later(now, self.upkeep.vacuum_every);
        }
        Ok(())
    }

    /// Drops whole days that are not kept any longer: no row is read for it.
    async fn expire(
        &self,
        held: &mut Held,
        table: deltalake::DeltaTable,
        now: DateTime<Utc>,
        done: &mut Maintained,
    ) -> Result<deltalake::DeltaTable, DeltaTableError> {
        let live: Vec<LogicalFileView> = table.snapshot()?.log_data().iter().collect();
        let seen: Vec<_> = live.iter().map(compact::seen).collect();
        let Some((first, expired)) = self.upkeep.expired(&seen, LocalTime::of(now).date) else {
            return Ok(table);
        };
        let remove = |place: &usize| Action::Remove(live[*place].remove_action(true));
        let actions = expired.iter().map(remove).collect();
        let operation = DeltaOperation::Delete { predicate: Some(format!("date < '{first}'")) };
        self.enter(held, actions, operation, &Positions::new()).await?;
        held.live_files = held.live_files.saturating_sub(expired.len());
        if let Some(tail) = &self.tail {
            tail.moved(held.log.version());
        }
        done.expired = expired.len();
        load_at(&self.address, Some(held.log.version())).await
    }

    async fn merge(
        &self,
        held: &mut Held,
        table: &deltalake::DeltaTable,
        now: DateTime<Utc>,
        done: &mut Maintained,
    ) -> Result<(), DeltaTableError> {
        let live: Vec<LogicalFileView> = table.snapshot()?.log_data().iter().collect();
        let seen: Vec<_> = live.iter().map(compact::seen).collect();
        let merges = self.upkeep.merges(&seen, now, LocalTime::of(now).date);
        for merge in merges.iter().take(self.upkeep.merges) {
            let files: Vec<_> = merge.iter().map(|place| &live[*place]).collect();
            let actions = compact::merge(table, self.schema, &held.files, &files).await?;
            let written = actions.len() - files.len();
            let target_size = i64::try_from(self.upkeep.file_bytes).unwrap_or(i64::MAX);
            let operation = DeltaOperation::Optimize { predicate: None, target_size };
            self.enter(held, actions, operation, &Positions::new()).await?;
            held.live_files = (held.live_files + written).saturating_sub(files.len());
            if let Some(tail) = &self.tail {
                tail.moved(held.log.version());
            }
            done.merged += files.len();
            done.written += written;
        }
        Ok(())
    }

    /// Puts a checkpoint at the log's end and removes entries that it covers and that are old.
    async fn shorten_log(
        &self,
        held: &mut Held,
        now: DateTime<Utc>,
    ) -> Result<usize, DeltaTableError> {
        let version = held.log.version();
        let table = load_at(&self.address, Some(version)).await?;
        create_checkpoint(&table, None).await?;
        // Before entries go that only it tells of then.
        self.harden().await?;
        held.checkpoint = version;
        let old = before(now, self.upkeep.keep_log).timestamp_millis();
        cleanup_expired_logs_for(version, table.log_store().as_ref(), old, None).await
    }

    /// Without upkeep the log would grow until opening the table takes minutes.
    pub(super) async fn shorten_neglected_log(&self, held: &mut Held) {
        let most = self.upkeep.checkpoint_commits.max(1).saturating_mul(NEGLECTED);
        if held.log.version() < held.checkpoint.saturating_add(most) {
            return;
        }
        if let Err(error) = self.shorten_log(held, Utc::now()).await {
            // The commit is done; the next one tries again.
            tracing::warn!(table = self.schema.name, %error, "the log got no checkpoint");
        }
    }
}

fn later(now: DateTime<Utc>, long: std::time::Duration) -> DateTime<Utc> {
    let long = TimeDelta::from_std(long).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(long).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
