//! How pipelines read and land.

use std::time::Duration;

/// How pipelines read and land.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Records of a stream after which a pipeline commits, whatever the time.
    pub commit_records: u64,
    /// The longest time that a read record waits for its commit.
    pub commit_interval: Duration,
    /// Batches of a stream that may wait for one pipeline; then reading waits.
    pub queued_batches: usize,
    /// Records read and decoded at once.
    pub batch_records: usize,
    /// Bytes that a pipeline may gather in windows, joins and updating aggregates.
    pub state_bytes: usize,
    /// Bytes of a pipeline's kept states, of which each commit has one, from which on its table is
    /// synced, so that the older ones can go; and as long as so many are written within minutes, only
    /// time and the tail's bound say when it lands.
    pub states_bytes: usize,
    /// The pause before a stream's pipelines start again after a failure that may pass.
    pub restart_pause: Duration,
    /// How often in a row they start again before the failure is an operator's.
    pub restarts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Large enough that a table gets few files while it catches up, and that on a busy day the
            // time decides.
            commit_records: 32_768,
            commit_interval: Duration::from_secs(10),
            queued_batches: 2,
            batch_records: ingest::log::READ_BATCH,
            state_bytes: 512 << 20,
            states_bytes: 1 << 30,
            restart_pause: Duration::from_secs(1),
            restarts: 20,
        }
    }
}
