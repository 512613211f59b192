//! `kill -9` at random instants: every acknowledged record is there, once, in order, none torn.

use std::time::Duration;

use crate::{
    child::{Running, found},
    scale,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let kills = 10 * scale();
    let mut before = 0;
    for kill in 0..kills {
        let running = Running::start(folder.path(), false);
        // Uneven instants, the same in every run.
        std::thread::sleep(Duration::from_millis(60 + (kill * 7_919) % 240));
        let acknowledged = running.kill();
        let found = found(folder.path()).await.expect("the log opens and no record is torn");
        for (found, acknowledged) in found.iter().zip(&acknowledged) {
            assert!(found >= acknowledged, "acknowledged up to {acknowledged}, found {found}");
        }
        before = found.iter().sum::<u64>();
    }
    println!("{kills} kills, {before} records, none lost");
    assert!(before > 0, "nothing was ever acknowledged");
}
