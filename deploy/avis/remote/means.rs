//! `avis load means` into a running node: lines go some at a time, each with an answer.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use connectors::lines;
use reqwest::{Method, header};
use serde::Deserialize;

use super::load::{Account, NDJSON};
use crate::{client::Client, failure::Failure, progress::Progress};

/// The lines that are sent at once, and their bytes: fewer than a node takes of one request.
const LINES: u64 = 10_000;
const BYTES: usize = 8 << 20;

/// What became of a line.
#[derive(Debug, Deserialize)]
struct Told {
    status: u16,
    problem: Option<Problem>,
}

#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
}

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
    let (client, progress) = (Client::patient(server)?, Progress::new(false));
    for file in files {
        let bar = progress.bar("means");
        let (mut account, mut waiting) = (Account::default(), Waiting::default());
        let failed = |source| Failure::Read { path: file.clone(), source };
        let mut reader = BufReader::new(lines::open(file)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            let said = line.trim_ascii();
            if !said.is_empty() {
                bar.inc(1);
                account.lines += 1;
                waiting.lines += 1;
                waiting.bytes.extend_from_slice(said);
                waiting.bytes.push(b'\n');
            }
            line.clear();
            if waiting.lines >= LINES || waiting.bytes.len() >= BYTES {
                waiting.send(&client, file, &mut account).await?;
            }
        }
        waiting.send(&client, file, &mut account).await?;
        bar.finish_and_clear();
        account.tell(file);
    }
    Ok(())
}

impl Waiting {
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
            let told: Told = serde_json::from_slice(answer)
                .map_err(|error| of_file(format!("an answer cannot be read: {error}")))?;
            answered += 1;
            match told.status {
                200 => account.already_there += 1,
                201 => account.taken += 1,
                _ => account.refuse(told.problem.map(|of| of.code).unwrap_or_default()),
            }
        }
        if answered != lines {
            return Err(of_file(format!("{lines} lines were sent, and {answered} answered")));
        }
        Ok(())
    }
}
