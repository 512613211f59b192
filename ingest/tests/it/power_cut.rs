//! Power cuts, which `kill -9` does not show: the log lies on a loop-mounted ext4 whose image is copied
//! at random instants, as a disk that stops there would hold it. Every record acknowledged before the
//! copy began must be in it; without syncs some are not, so this test can fail.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    child::{Running, found},
    scale,
};

const IMAGE_BYTES: u64 = 192 << 20;

/// A mounted image; unmounted when it goes.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn mount(image: &Path, at: &Path) -> Result<Mounted, String> {
    std::fs::create_dir_all(at).map_err(|error| error.to_string())?;
    run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), at.as_ref()])?;
    Ok(Mounted(at.to_path_buf()))
}

fn make(image: &Path) -> Result<(), String> {
    let file = std::fs::File::create(image).map_err(|error| error.to_string())?;
    file.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
    let mkfs = if Path::new("/sbin/mkfs.ext4").exists() { "/sbin/mkfs.ext4" } else { "mkfs.ext4" };
    run(mkfs, &["-q".as_ref(), image.as_ref()])
}

/// Whether each copy of the image held everything acknowledged before it was made.
async fn cut(without_sync: bool, cuts: u64) -> Result<Vec<bool>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (image, mounted) = (folder.path().join("disk"), folder.path().join("mounted"));
    make(&image)?;
    let disk = mount(&image, &mounted)?;
    let running = Running::start(&mounted.join("log"), without_sync);
    let mut whole = Vec::new();
    for number in 0..cuts {
        std::thread::sleep(Duration::from_millis(150 + (number * 7_919) % 350));
        let acknowledged = running.heard();
        let copy = folder.path().join(format!("copy-{number}"));
        run("cp", &["--sparse=always".as_ref(), image.as_ref(), copy.as_ref()])?;
        let at = folder.path().join(format!("cut-{number}"));
        let cut = mount(&copy, &at)?;
        let log = at.join("log");
        // A log that does not open again has lost everything.
        let held = found(&log).await.unwrap_or_else(|_| vec![0; acknowledged.len()]);
        whole.push(held.iter().zip(&acknowledged).all(|(held, acknowledged)| held >= acknowledged));
        drop(cut);
        let _ = std::fs::remove_file(copy);
    }
    let acknowledged = running.kill();
    drop(disk);
    assert!(acknowledged.iter().sum::<u64>() > 0, "nothing was acknowledged");
    Ok(whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut() {
    let cuts = 6 * scale();
    match cut(false, cuts).await {
        Ok(whole) => {
            let lost = whole.iter().filter(|whole| !**whole).count();
            assert_eq!(lost, 0, "{lost} of {cuts} power cuts lost acknowledged records");
            println!("{cuts} power cuts, nothing lost");
        }
        Err(reason) => eprintln!("SKIPPED power cuts: no loop-mounted ext4 here ({reason})"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_syncs_a_power_cut_loses_what_was_acknowledged() {
    match cut(true, 4).await {
        Ok(whole) => assert!(whole.contains(&false), "the test cannot fail: nothing was lost"),
        Err(reason) => eprintln!("SKIPPED power cuts: no loop-mounted ext4 here ({reason})"),
    }
}
