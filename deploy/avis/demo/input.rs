//! What the demo runs on: the packaged real data, files, or generated baskets.

use std::{
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use connectors::lines;
use serde_json::Value;

use super::{centres::Centres, generate::Plan};
use crate::{cli::DemoArguments, failure::Failure};

const REGISTRY: &[u8] = include_bytes!("data/registry.yaml.gz");
const PERSONS: &[u8] = include_bytes!("data/persons.ndjson.gz");
const MEANS: &[u8] = include_bytes!("data/means.ndjson.gz");
const BASKETS: &[u8] = include_bytes!("data/baskets.ndjson.gz");
const CENTRE_EVENTS: &[u8] = include_bytes!("data/service-events.ndjson.gz");
const PORTAL_EVENTS: &[u8] = include_bytes!("data/portal-events.ndjson.gz");

/// A reader, and what to call it.
pub type Source = (Box<dyn Read + Send>, String);

/// What the demo runs on.
#[derive(Debug)]
pub struct Input {
    registry: Option<PathBuf>,
    persons: Option<PathBuf>,
    means: Option<PathBuf>,
    baskets: Vec<PathBuf>,
    plan: Option<Plan>,
    real: Vec<Value>,
    span: (DateTime<Utc>, DateTime<Utc>),
}

impl Input {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// Where a file cannot be opened.
    pub fn of(arguments: &DemoArguments) -> Result<Self, Failure> {
        let plan = arguments.generate.map(|transactions| Plan {
            transactions,
            people: arguments.people.unwrap_or_else(|| (transactions / 10).max(100)),
            seed: arguments.seed,
        });
        let real = if plan.is_some() { values(&mut packaged(BASKETS))? } else { Vec::new() };
        let instants = real
            .iter()
            .filter_map(|basket| basket["occurred_at"].as_str()?.parse::<DateTime<Utc>>().ok());
        let span = (instants.clone().min(), instants.max());
        Ok(Self {
            registry: arguments.registry.clone(),
            persons: arguments.persons.clone(),
            means: arguments.means.clone(),
            baskets: arguments.baskets.clone(),
            plan,
            real,
            span: (span.0.unwrap_or_default(), span.1.unwrap_or_default()),
        })
    }

    /// The instant at which the demo's clock begins: before anything packaged.
    #[must_use]
    pub fn begins(&self) -> DateTime<Utc> {
        // 1 December 2024 in Riga: the packaged people's snapshot, and the first day of validity.
        DateTime::from_timestamp(1_733_004_000, 0).unwrap_or_default()
    }

    /// The registry's text.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn registry(&self) -> Result<(String, String), Failure> {
        let (mut reader, origin) = match &self.registry {
            Some(path) => (lines::open(path)?, path.display().to_string()),
            None => (packaged(REGISTRY), "registry.yaml".into()),
        };
        let mut text = String::new();
        let read = reader.read_to_string(&mut text);
        read.map_err(|source| Failure::Read { path: origin.clone().into(), source })?;
        let centres = self.centres().filter(|_| self.registry.is_none());
        Ok((centres.map_or(text.clone(), |centres| centres.registry(&text)), origin))
    }

    /// The people.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn persons(&self) -> Result<Vec<Source>, Failure> {
        let generated = self.plan.map(|plan| (plan.persons(), "generated people".to_owned()));
        one(self.persons.as_deref(), generated, PERSONS, "persons.ndjson.gz")
    }

    /// Their means.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn means(&self) -> Result<Vec<Source>, Failure> {
        let generated = self.plan.map(|plan| (plan.means(), "generated means".to_owned()));
        one(self.means.as_deref(), generated, MEANS, "means.ndjson.gz")
    }

    /// The baskets.
    ///
    /// # Errors
    /// Where a file cannot be opened.
    pub fn baskets(&self) -> Result<Vec<Source>, Failure> {
        if let Some(plan) = self.plan {
            let (from, to) = self.span;
            let baskets = plan.baskets(self.real.clone(), from, to);
            return Ok(vec![(baskets, "generated baskets".into())]);
        }
        if self.baskets.is_empty() {
            return Ok(vec![(packaged(BASKETS), "baskets.ndjson.gz".into())]);
        }
        let open = |path: &PathBuf| Ok((lines::open(path)?, path.display().to_string()));
        self.baskets.iter().map(open).collect()
    }

    /// The generated service centres, where anything is generated.
    fn centres(&self) -> Option<Centres> {
        self.plan.map(|plan| Centres::of(plan, self.span.0, self.span.1))
    }

    /// The events of service centres and of the portal, only beside the packaged registry: of the
    /// centres as many as fit generated baskets, else the packaged ones.
    ///
    /// # Errors
    /// Never: they are in the binary.
    pub fn events(&self) -> Result<Vec<Source>, Failure> {
        if self.registry.is_some() {
            return Ok(Vec::new());
        }
        let of_centres = match self.centres() {
            Some(centres) => (centres.events(), "generated events of centres".into()),
            None => (packaged(CENTRE_EVENTS), "service-events.ndjson.gz".into()),
        };
        Ok(vec![of_centres, (packaged(PORTAL_EVENTS), "portal-events.ndjson.gz".into())])
    }
}

fn one(
    file: Option<&Path>,
    generated: Option<Source>,
    real: &'static [u8],
    name: &str,
) -> Result<Vec<Source>, Failure> {
    Ok(vec![match (file, generated) {
        (Some(path), _) => (lines::open(path)?, path.display().to_string()),
        (None, Some(generated)) => generated,
        (None, None) => (packaged(real), name.to_owned()),
    }])
}

fn packaged(bytes: &'static [u8]) -> Box<dyn Read + Send> {
    Box::new(lines::gunzip(Cursor::new(bytes)))
}

fn values(reader: &mut dyn Read) -> Result<Vec<Value>, Failure> {
    let broken = |source| Failure::Read { path: "the packaged baskets".into(), source };
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(broken)?;
    let parsed = text.lines().map(|line| serde_json::from_str(line).map_err(std::io::Error::from));
    parsed.collect::<Result<_, _>>().map_err(broken)
}
