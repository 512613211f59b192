//! Sending the sets to a portal that runs CKAN, such as data.gov.lv: one dataset per set, one resource
//! per file, by its API version 3.

use std::{path::Path, time::Duration};

use reqwest::{
    Client,
    multipart::{Form as Parts, Part},
};
use serde_json::{Value, json};

use super::{Form, Published, Publisher, SETS, Set};
use crate::error::WarehouseError;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A portal.
#[derive(Debug)]
pub struct Portal {
    client: Client,
    address: String,
    token: String,
    /// The organisation there that owns the sets.
    owner: String,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datasets made.
    pub made: usize,
    /// Files sent.
    pub files: usize,
    /// Files that the portal had already, with the same content.
    pub unchanged: usize,
}

impl Portal {
    /// A portal at an address, for an organisation's sets.
    ///
    /// # Errors
    /// Where no client can be made.
    pub fn new(address: &str, token: &str, owner: &str) -> Result<Self, WarehouseError> {
        let client = Client::builder().timeout(PATIENCE).build();
        let client = client.map_err(|error| failed("connect to", &error))?;
        let address = address.trim_end_matches('/').to_owned();
        Ok(Self { client, address, token: token.to_owned(), owner: owner.to_owned() })
    }

    /// Sends what was published; a file that is there with the same content is left alone.
    ///
    /// # Errors
    /// Where the portal refuses or cannot be reached; what was sent before stays sent, and sending
    /// again goes on.
    pub async fn send(
        &self,
        publisher: &Publisher,
        published: &[Published],
        folder: &Path,
    ) -> Result<Sent, WarehouseError> {
        let mut sent = Sent::default();
        for set in SETS {
            let known = self.dataset(publisher, set, &mut sent).await?;
            let resources = known["resources"].as_array().cloned().unwrap_or_default();
            let files = published.iter().filter(|file| file.set == set.name);
            for file in files.filter(|file| file.form != Form::Csvw) {
                let there = resources.iter().find(|there| there["name"] == file.file.as_str());
                if there.is_some_and(|there| there["hash"] == file.checksum.as_str()) {
                    sent.unchanged += 1;
                    continue;
                }
                self.file(set, file, there, folder).await?;
                sent.files += 1;
            }
        }
        Ok(sent)
    }

    /// The dataset of a set, made or brought up to date.
    async fn dataset(
        &self,
        publisher: &Publisher,
        set: &Set,
        sent: &mut Sent,
    ) -> Result<Value, WarehouseError> {
        let name = name(set);
        let [lv, en] = set.title;
        let [about_lv, about_en] = set.about;
        let tags = set.keywords.iter().flat_map(|words| words.iter());
        let wanted = json!({
            "name": name,
            "title": lv,
            "title_translated": {"lv": lv, "en": en},
            "notes": about_lv,
            "notes_translated": {"lv": about_lv, "en": about_en},
            "owner_org": self.owner,
            "license_id": "cc-by",
            "url": format!("{}/dataset/{}", publisher.base, set.name),
            "tags": tags.map(|tag| json!({"name": tag})).collect::<Vec<_>>(),
        });
        let known = self.call("package_show", &json!({"id": name}), true).await?;
        match known {
            None => {
                sent.made += 1;
                self.must("package_create", &wanted).await
            }
            // Only what is ours is set: what the portal added, and the files, stay.
            Some(_) => {
                let mut changed = wanted;
                changed["id"] = json!(name);
                self.must("package_patch", &changed).await
            }
        }
    }

    async fn file(
        &self,
        set: &Set,
        file: &Published,
        there: Option<&Value>,
        folder: &Path,
    ) -> Result<(), WarehouseError> {
        let path = folder.join(&file.file);
        let bytes = std::fs::read(&path);
        let bytes = bytes.map_err(|source| WarehouseError::Write { path, source })?;
        let format = match file.form {
            Form::Csv | Form::Csvw => "CSV",
            Form::Turtle => "TTL",
            Form::JsonLd => "JSON-LD",
        };
        let part = Part::bytes(bytes).file_name(file.file.clone());
        let mut parts = Parts::new()
            .text("package_id", name(set))
            .text("name", file.file.clone())
            .text("format", format)
            .text("hash", file.checksum.clone())
            .part("upload", part);
        let action = match there.and_then(|there| there["id"].as_str()) {
            Some(id) => {
                parts = parts.text("id", id.to_owned());
                "resource_update"
            }
            None => "resource_create",
        };
        let sent = self.request(action).multipart(parts).send().await;
        answer(action, sent, false).await.map(|_| ())
    }

    fn request(&self, action: &str) -> reqwest::RequestBuilder {
        let address = format!("{}/api/3/action/{action}", self.address);
        self.client.post(address).header("Authorization", &self.token)
    }

    async fn call(
        &self,
        action: &str,
        body: &Value,
        may_be_missing: bool,
    ) -> Result<Option<Value>, WarehouseError> {
        let sent = self.request(action).json(body).send().await;
        answer(action, sent, may_be_missing).await
    }

    async fn must(&self, action: &str, body: &Value) -> Result<Value, WarehouseError> {
        let answer = self.call(action, body, false).await?;
        answer.ok_or_else(|| failed(action, &"the portal has no answer"))
    }
}

/// What a set is called on a portal.
fn name(set: &Set) -> String {
    format!("avis-{}", set.name)
}

/// The result of a call; none where what was asked for is not there, and may not be.
async fn answer(
    action: &str,
    sent: reqwest::Result<reqwest::Response>,
    may_be_missing: bool,
) -> Result<Option<Value>, WarehouseError> {
    let response = sent.map_err(|error| failed(action, &error.without_url()))?;
    let status = response.status();
    if may_be_missing && status.as_u16() == 404 {
        return Ok(None);
    }
    let body: Value =
        response.json().await.map_err(|error| failed(action, &error.without_url()))?;
    if !status.is_success() || body["success"] != true {
        let told = body["error"]["message"]
            .as_str()
            .map_or_else(|| body["error"].to_string(), str::to_owned);
        return Err(failed(action, &format!("{status}: {told}")));
    }
    Ok(Some(body["result"].clone()))
}

fn failed(action: &str, reason: &dyn std::fmt::Display) -> WarehouseError {
    WarehouseError::Portal { action: action.to_owned(), reason: reason.to_string() }
}
