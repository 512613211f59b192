//! Peers in Python, each in the environment that `peers/prepare.sh` makes for it; `AVIS_BENCH_PYTHON`
//! names another interpreter for all.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// The one peer that cannot share an environment with the others.
const FLINK: &str = "nexmark";
const PREPARE: &str = "benchmarks/peers/prepare.sh prepares the peers: run it first";

/// Runs a peer's script; the seconds that it says it took.
pub fn seconds(what: &str, arguments: &[&Path]) -> io::Result<f64> {
    let told = ask(what, arguments)?;
    told.trim().parse().map_err(|_| io::Error::other(format!("{what}: {told} are no seconds")))
}

/// Runs a peer's script; what it says.
pub fn ask(what: &str, arguments: &[&Path]) -> io::Result<String> {
    let python = python(what);
    let script = folder().join("python").join(what).with_extension("py");
    let failed = |text: &str| io::Error::other(format!("{what} by {}: {text}", python.display()));
    let ran = Command::new(&python).arg(script).args(arguments).output();
    let ran = ran.map_err(|error| failed(&format!("{error}; {PREPARE}")))?;
    if !ran.status.success() {
        let text = String::from_utf8_lossy(&ran.stderr);
        let prepare = if text.contains("ModuleNotFoundError") { PREPARE } else { "" };
        return Err(failed(&format!("{text} {prepare}")));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// The interpreter of a peer.
fn python(what: &str) -> PathBuf {
    if let Some(python) = std::env::var_os("AVIS_BENCH_PYTHON") {
        return python.into();
    }
    let environment = if what == FLINK { "flink" } else { "tables" };
    folder().join(".venv").join(environment).join("bin/python")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}
