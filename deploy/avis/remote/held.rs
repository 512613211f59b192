//! Files whose lines are held until they are worth a request, and then sent.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use connectors::lines;

use super::load::Account;
use crate::{client::Client, failure::Failure, progress::Progress};

/// The bytes of lines that are held before they are sent: fewer than a node takes of one request.
pub(super) const BYTES: usize = 8 << 20;

/// Lines of a file that wait to be sent.
pub(super) trait Waiting: Default {
    /// Takes a line, or tells the account why it goes nowhere.
    fn take(&mut self, line: &[u8], account: &mut Account);

    /// Whether as many wait as are sent at once.
    fn is_full(&self) -> bool;

    /// Sends what waits, and tells the account what became of it; nothing waits any more.
    ///
    /// # Errors
    /// Where the node refuses lines as a whole.
    async fn send(
        &mut self,
        client: &Client,
        file: &Path,
        account: &mut Account,
    ) -> Result<(), Failure>;
}

/// Sends files; what a node refuses it keeps nowhere, and sending all again is harmless.
///
/// # Errors
/// Where a file cannot be read, or the node refuses lines as a whole.
pub(super) async fn load<W: Waiting>(
    server: &str,
    what: &str,
    files: &[PathBuf],
) -> Result<(), Failure> {
    let (client, progress) = (Client::patient(server)?, Progress::new(false));
    for file in files {
        let bar = progress.bar(what);
        let (mut account, mut waiting) = (Account::default(), W::default());
        let failed = |source| Failure::Read { path: file.clone(), source };
        let mut reader = BufReader::new(lines::open(file)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            let said = line.trim_ascii();
            if !said.is_empty() {
                bar.inc(1);
                account.lines += 1;
                waiting.take(said, &mut account);
            }
            line.clear();
            if waiting.is_full() {
                waiting.send(&client, file, &mut account).await?;
            }
        }
        waiting.send(&client, file, &mut account).await?;
        bar.finish_and_clear();
        account.tell(file);
    }
    Ok(())
}
