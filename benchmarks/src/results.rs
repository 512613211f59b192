//! What is told: the table of ratios as it grows, and the file that keeps it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// What was said so far.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Says a line, and keeps it for the results file.
pub fn say(line: String) {
    println!("{line}");
    SAID.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

/// One row of the table of ratios.
pub fn row(measured: &str, rate: f64, beside: &str, limit: f64) {
    say(format!("| {measured} | {rate:.0} | {beside} | {limit:.0} | {:.2} |", rate / limit));
}

/// The results file of a run: `results/<day>-<what>.md`, with commit, machine and command.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    head: String,
}

impl Results {
    /// Those of some measures, or of all where none is named.
    pub fn of(only: &[String]) -> Self {
        let git = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
        let commit = git.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
        let all = ["all".to_owned()];
        let only = if only.is_empty() { &all[..] } else { only };
        let what = only.join("-");
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // The day of the beginning: a run past midnight has one file, too.
        let day = chrono::Utc::now().date_naive();
        let head = format!(
            "# Benchmarks of {day}: {what}\n\nCommit {}, {cores} cores, release profile; \
             `cargo run --release -p benchmarks -- {}`. Clients and servers share the machine, \
             which is noisy: the ratios count.\n\n",
            commit.unwrap_or_default(),
            only.join(" "),
        );
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        Self { path: folder.join(format!("{day}-{what}.md")), head }
    }

    /// Writes what was said so far.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn keep(&self) -> std::io::Result<()> {
        let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&self.path, format!("{}{said}\n", self.head))
    }
}
