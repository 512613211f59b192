//! An analyst whose query reads all there is, again and again.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use super::{
    Result,
    installation::{ANALYST, Installation},
};

/// Every line of every sale, counted apart by whose it is, with nothing to leave out.
const WORST: &str = "
SELECT recipient, instruction_id, COUNT(DISTINCT authorisation_id) AS sales, SUM(amount),
    COUNT(DISTINCT terminal_id), MAX(unit_price)
FROM benefit_lines GROUP BY recipient, instruction_id ORDER BY sales DESC, recipient LIMIT 10";

/// One that asks until told to end.
pub struct Analyst {
    is_over: Arc<AtomicBool>,
    asking: JoinHandle<std::result::Result<usize, String>>,
}

impl Analyst {
    /// Begins to ask, by `psql`.
    pub fn begin(at: &Installation) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut psql = Command::new("psql");
        let host = at.postgres();
        psql.arg("--host").arg(host.ip().to_string()).arg("--port").arg(host.port().to_string());
        psql.args(["--username", ANALYST, "--dbname", "avis", "--command", WORST]);
        psql.env("PGPASSWORD", &at.analyst).stdout(Stdio::null());
        let over = Arc::clone(&is_over);
        let asking = std::thread::spawn(move || {
            let mut answers = 0;
            while !over.load(Ordering::Relaxed) {
                let output = psql.output().map_err(|error| format!("psql: {error}"))?;
                if !output.status.success() {
                    return Err(String::from_utf8_lossy(&output.stderr).into_owned());
                }
                answers += 1;
            }
            Ok(answers)
        });
        Ok(Self { is_over, asking })
    }

    /// Ends; how often it was answered.
    pub fn end(self) -> Result<usize> {
        self.is_over.store(true, Ordering::Relaxed);
        let answers = self.asking.join().map_err(|_| "the analyst's thread ended")?;
        Ok(answers?)
    }
}
