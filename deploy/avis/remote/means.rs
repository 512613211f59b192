//! `avis load means` into a running node: lines go some at a time, each with an answer.

use std::path::{Path, PathBuf};

use reqwest::{Method, header};

use super::{
    held::{self, BYTES},
    load::{Account, LineAnswer, NDJSON},
};
use crate::{client::Client, failure::Failure};

/// The lines that are sent at once: fewer than a node takes of one request.
const LINES: u64 = 10_000;

/// Lines that wait to be sent.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lines: u64,
}

/// Sends files of means; what a node refuses it keeps nowhere, and sending all again is harmless.
///
/// # Errors
/// Where a file cannot be read, or the node refuses lines as a whole.
pub async fn load(server: &str, files: &[PathBuf]) -> Result<(), Failure> {
    held::load::<Waiting>(server, "means", files).await
}

impl held::Waiting for Waiting {
    fn take(&mut self, line: &[u8], _: &mut Account) {
        self.lines += 1;
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
    }

    fn is_full(&self) -> bool {
        self.lines >= LINES || self.bytes.len() >= BYTES
    }

    async fn send(
        &mut self,
        client: &Client,
        file: &Path,
        account: &mut Account,
    ) -> Result<(), Failure> {
        let Self { bytes, lines } = std::mem::take(self);
        if lines == 0 {
            return Ok(());
        }
        let of_file = |why: String| Failure::Server(format!("{}: {why}", file.display()));
        let request = client.request(Method::POST, &["means:batch"], &[]);
        let request = request.header(header::CONTENT_TYPE, NDJSON).body(bytes);
        let answers = client.bytes(request).await.map_err(|error| of_file(error.to_string()))?;
        let mut answered = 0;
        for answer in answers.split(|byte| *byte == b'\n').filter(|answer| !answer.is_empty()) {
            let LineAnswer { status, problem } = serde_json::from_slice(answer)
                .map_err(|error| of_file(format!("an answer cannot be read: {error}")))?;
            answered += 1;
            match status {
                200 => account.already_there += 1,
                201 => account.taken += 1,
                _ => account.refuse(problem.map(|of| of.code).unwrap_or_default()),
            }
        }
        if answered != lines {
            return Err(of_file(format!("{lines} lines were sent, and {answered} answered")));
        }
        Ok(())
    }
}
