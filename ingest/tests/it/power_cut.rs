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

/// Of each cut, what is wrong with what the disk then held, if anything is.
async fn cut(without_sync: bool, cuts: u64) -> Result<Vec<Option<String>>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let disk = Disk::make(folder.path(), DISK_BYTES)?;
    let running = Running::start(&disk.path().join("log"), without_sync);
    let mut faults = Vec::new();
    for number in 0..cuts {
        std::thread::sleep(Duration::from_millis(150 + (number * 7_919) % 350));
        let acknowledged = running.heard();
        let cut = disk.cut(&format!("cut-{number}"))?;
        faults.push(match found(&cut.path().join("log")).await {
            Err(error) => Some(error.to_string()),
            Ok(held) => held
                .iter()
                .zip(&acknowledged)
                .find(|(held, acknowledged)| held < acknowledged)
                .map(|(held, acknowledged)| format!("{held} of {acknowledged} records")),
        });
    }
    let acknowledged = running.kill();
    assert!(acknowledged.iter().sum::<u64>() > 0, "nothing was acknowledged");
    Ok(faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut() {
    let cuts = 6 * scale();
    match cut(false, cuts).await {
        Ok(faults) => {
            let faults: Vec<_> = faults.into_iter().flatten().collect();
            assert!(
                faults.is_empty(),
                "of {cuts} power cuts {} lost records: {faults:?}",
                faults.len()
            );
            println!("{cuts} power cuts, nothing lost");
        }
        Err(reason) => skipped("power_cut", &reason),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_syncs_a_power_cut_loses_what_was_acknowledged() {
    match cut(true, 4).await {
        Ok(faults) => {
            let lost = faults.iter().flatten().count();
            assert!(lost > 0, "this test cannot fail: nothing was lost without syncs");
            println!("without syncs {lost} of 4 power cuts lost records");
        }
        Err(reason) => skipped("power_cut without syncs", &reason),
    }
}
