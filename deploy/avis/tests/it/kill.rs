//! `kill -9` at random instants, and again on the same folder: the same numbers, nothing lost,
//! nothing twice.

use std::{path::Path, process::Stdio, time::Duration};

use crate::{avis, check_lines, check_summary, scale, succeeded};

/// Kills per folder, before a run is let through.
const KILLS: u64 = 5;

#[test]
fn a_killed_demo_ends_with_the_same_numbers() {
    let folders = 4 * scale();
    for number in 0..folders {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("demo");
        for kill in 0..KILLS {
            // Uneven instants, the same in every run: from the first file to the last commit.
            let after = (number * KILLS + kill) * 7_919 % 1_900;
            killed(&out, Duration::from_millis(100 + after));
        }
        let output = avis().args(["demo", "--json", "--out"]).arg(&out).output().expect("run");
        check_summary(&succeeded(&output));
        check_lines(&out);
    }
    println!("{} kills, nothing lost and nothing twice", folders * KILLS);
}

fn killed(out: &Path, after: Duration) {
    let mut command = avis();
    command.args(["demo", "--json", "--out"]).arg(out);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("run");
    std::thread::sleep(after);
    // One that has ended by itself has nothing to kill.
    let _ = child.kill();
    child.wait().expect("ended");
}
