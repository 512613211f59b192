//! `avis load memberships` into a running node: lines go to the groups that they name, some of each at a
//! time.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use reqwest::{Method, header};
use serde::Deserialize;

use super::{
    held::{self, BYTES},
    load::{Account, NDJSON, Refused},
};
use crate::{client::Client, failure::Failure};

/// What a line says of where it goes.
#[derive(Debug, Deserialize)]
struct Member {
    group: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Told {
    taken: u64,
    already_there: u64,
    refused: Vec<Refused>,
}

/// Lines that wait to be sent, by their group.
#[derive(Debug, Default)]
struct Waiting {
    groups: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

/// Sends files of members; what a node refuses it keeps nowhere, and sending all again is harmless.
///
/// # Errors
/// Where a file cannot be read, or the node refuses a group's lines as a whole.
pub async fn load(server: &str, files: &[PathBuf]) -> Result<(), Failure> {
    held::load::<Waiting>(server, "memberships", files).await
}

impl held::Waiting for Waiting {
    /// Takes a line; one that names no group has nowhere to go.
    fn take(&mut self, line: &[u8], account: &mut Account) {
        match serde_json::from_slice(line) {
            Ok(Member { group: Some(group) }) if !group.is_empty() => {
                let lines = self.groups.entry(group).or_default();
                lines.extend_from_slice(line);
                lines.push(b'\n');
                self.bytes += line.len() + 1;
            }
            Ok(_) => account.refuse("missing_field".into()),
            Err(error) if error.is_data() => account.refuse("invalid_value".into()),
            Err(_) => account.refuse("malformed_json".into()),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= BYTES
    }

    async fn send(
        &mut self,
        client: &Client,
        file: &Path,
        account: &mut Account,
    ) -> Result<(), Failure> {
        self.bytes = 0;
        for (group, lines) in std::mem::take(&mut self.groups) {
            let request = client.request(Method::POST, &["groups", &group, "members"], &[]);
            let request = request.header(header::CONTENT_TYPE, NDJSON).body(lines);
            let told = client.told::<Told>(request).await;
            let told = told.map_err(|error| {
                let file = file.display();
                Failure::Server(format!("{file}, the group {group}: {error}"))
            })?;
            account.taken += told.taken;
            account.already_there += told.already_there;
            told.refused.into_iter().for_each(|of| account.refuse(of.problem.code));
        }
        Ok(())
    }
}
