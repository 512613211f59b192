//! Power cuts, which `kill -9` does not show: the log lies on a loop-mounted ext4 whose image is copied
//! at random instants, as a disk that stops there would hold it. Every record acknowledged before the
//! copy began must be in it; without syncs some are not, so this test can fail.

use std::time::Duration;

use crate::{
    child::{Running, found},
    disk::{Disk, skipped},
    scale,
};

const DISK_BYTES: u64 = 192 << 20;

/// Cuts the power `cuts` times, or until something is lost, and says what was lost first.
async fn cut(without_sync: bool, cuts: u64) -> Result<Option<String>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let disk = Disk::make(folder.path(), DISK_BYTES)?;
    let running = Running::start(&disk.path().join("log"), without_sync);
    running.until_acknowledged();
    for number in 0..cuts {
        // Uneven instants, the same in every run.
        std::thread::sleep(Duration::from_millis((number * 7_919) % 350));
        let acknowledged = running.heard();
        // A machine that mounts one disk mounts another: no reason to skip any more.
        // A copy takes a while, and a power cut none: nobody writes meanwhile.
        running.signal("STOP");
        std::thread::sleep(Duration::from_millis(30));
        let cut = disk.cut(&format!("cut-{number}")).expect("the disk as it is");
        running.signal("CONT");
        let held = match found(&cut.path().join("log")).await {
            Ok(held) => held,
            Err(error) => return Ok(Some(format!("cut {number}: {error}: {error:?}"))),
        };
        let lost = held.iter().zip(&acknowledged).find(|(held, known)| held < known);
        if let Some((held, known)) = lost {
            return Ok(Some(format!("cut {number}: {held} of {known} records")));
        }
    }
    Ok(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut() {
    let cuts = 6 * scale();
    match cut(false, cuts).await {
        Ok(lost) => {
            assert_eq!(lost, None);
            println!("{cuts} power cuts, nothing lost");
        }
        Err(reason) => skipped("power_cut", &reason),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_syncs_a_power_cut_loses_what_was_acknowledged() {
    match cut(true, 20).await {
        Ok(lost) => {
            let lost = lost.expect("without syncs something is lost, or this test could not fail");
            println!("without syncs, {lost}");
        }
        Err(reason) => skipped("power_cut without syncs", &reason),
    }
}
