//! What comes through doors beside streams and files: SQL, bodies, tokens, settings, paths.

use std::{
    fs,
    sync::{Arc, LazyLock},
};

use chrono::TimeDelta;
use connectors::{
    access::{Identity, Role, Tokens},
    issuer, portal,
    problem::Problem,
    registry,
    terminal::request,
    vpvkac::{self, request::Asking, roster::Roster},
};
use domain::id::{AuthorisationId, CentreId, IdempotencyKey, TerminalId};
use ingest::clock::{Clock, ManualClock};
use pipelines::functions::json;
use toml::Table;
use warehouse::endpoint;

use super::{names_nobody, now, vault};
use crate::{kept, layers};

/// Texts whose trees are looked through: a tree may be as deep as its text is long, and more of it would
/// take more stack than a thread of tests has.
const LONGEST_TREE: usize = 1_000;
/// What a statement may be that is planned.
const PLANNED: [&str; 4] = ["Query(", "Explain", "ShowTables", "ShowColumns"];
/// What in a statement's tree writes, as it is called there.
const WRITING: [&str; 5] = ["SelectInto", "Insert(", "Update(", "Delete(", "Merge("];

/// Nothing is planned but what reads. The list of what may be asked does not judge itself: the tree is
/// looked through as it is printed, every part of it.
pub(super) fn read_sql(input: &[u8]) -> Result<bool, String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    let Ok(planned) = endpoint::planned(text) else { return Ok(false) };
    if text.len() > LONGEST_TREE {
        return Ok(!planned.is_empty());
    }
    for statement in &planned {
        let tree = format!("{statement:?}");
        // Without its texts, which stand between quotes and may say anything.
        let tree = tree.replace("'\"'", "").replace("\\\\", "").replace("\\\"", "");
        let parts: Vec<_> = tree.split('"').step_by(2).collect();
        let mut writing = WRITING.into_iter();
        if let Some(word) = writing.find(|word| parts.iter().any(|part| part.contains(*word))) {
            return Err(format!("{statement} is let through with its {word}"));
        }
        if !PLANNED.into_iter().any(|kind| tree.starts_with(kind)) {
            return Err(format!("{statement} is let through"));
        }
    }
    Ok(!planned.is_empty())
}

/// Whether any of some readings took a body; what the others say of it names nobody.
fn any_took(problems: impl IntoIterator<Item = Option<Problem>>) -> Result<bool, String> {
    let mut taken = false;
    for problem in problems {
        match problem {
            Some(problem) => taken |= names_nobody(&format!("{problem:?}"))?,
            None => taken = true,
        }
    }
    Ok(taken)
}

fn key() -> IdempotencyKey {
    IdempotencyKey::new("k-1").expect("a key")
}

/// What is read quickly is read alike carefully.
pub(super) fn read_basket(input: &[u8]) -> Result<bool, String> {
    let read = request::authorise(input, key(), vault());
    match (read, request::carefully(input, key(), vault())) {
        (Ok(quickly), Ok(carefully)) if quickly.request == carefully => Ok(true),
        (Err(problem), Err(_)) => names_nobody(&format!("{problem:?}")),
        (read, carefully) => Err(format!("read as {read:?}, and carefully as {carefully:?}")),
    }
}

pub(super) fn read_change(input: &[u8]) -> Result<bool, String> {
    let id = AuthorisationId::from_u128(7);
    let terminal = || TerminalId::new("T-1").expect("a terminal");
    any_took([
        request::capture(input, id, terminal(), key()).err(),
        request::void(input, id, terminal(), key()).err(),
        request::refund(input, id, terminal(), key()).err(),
        request::reversal(input, key()).err(),
    ])
}

pub(super) fn read_call(input: &[u8]) -> Result<bool, String> {
    static ROSTER: LazyLock<Roster> = LazyLock::new(|| {
        let path = kept::tree("connectors/tests/it/calls/registry.yaml");
        let text = fs::read_to_string(path).expect("the registry of the calls' tests");
        let read = registry::read(&text, "registry", &|_| None, &|_| None).expect("a registry");
        Roster::of(&read.registry, 1)
    });
    let centre = CentreId::new("centre-1").expect("a centre");
    let asking = Asking { centre, specialist: None, key: key() };
    any_took([
        vpvkac::request::call(input, &asking, &ROSTER).err(),
        vpvkac::request::hand_over(input, &ROSTER).err(),
        vpvkac::request::end(input).err(),
        vpvkac::request::rating(input).err(),
        vpvkac::request::availability(input).err(),
        vpvkac::request::start(input, &asking, &ROSTER).err(),
        vpvkac::request::complete(input).err(),
    ])
}

pub(super) fn read_registration(input: &[u8]) -> Result<bool, String> {
    any_took([true, false].map(|is_new| issuer::check(input, is_new, vault()).err()))
}

pub(super) fn read_panel(input: &[u8]) -> Result<bool, String> {
    any_took([portal::panels::check(input, vault(), now().date_naive()).err()])
}

/// Those who have tokens.
fn bearers() -> [Identity; 2] {
    [(Role::Terminal, "corner", "T-1"), (Role::Finance, "", "f")].map(
        |(role, organisation, subject)| Identity {
            role,
            organisation: organisation.into(),
            subject: subject.into(),
        },
    )
}

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now()));
    Tokens::of(vault(), clock)
});

/// Tokens that hold, and one that has expired.
pub(super) fn tokens() -> Vec<Vec<u8>> {
    let issue = |identity: &Identity, hours: i64| {
        let issued = TOKENS.issue(identity, now() + TimeDelta::hours(hours));
        issued.expect("a token").into_bytes()
    };
    let mut all: Vec<_> = bearers().iter().map(|identity| issue(identity, 1)).collect();
    all.extend(bearers().iter().take(1).map(|identity| issue(identity, -1)));
    all.extend(kept::of("tokens"));
    all
}

/// Nobody is let in by what is made of a token as somebody who has none.
pub(super) fn read_token(input: &[u8]) -> Result<bool, String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    match TOKENS.verify(text) {
        Some(identity) if !bearers().contains(&identity) => {
            Err(format!("{identity:?} is let in, who has no token"))
        }
        identity => Ok(identity.is_some()),
    }
}

/// A file of settings, or variables of the environment, one in a line: `AVIS__HTTP__ADDRESS=…`.
pub(super) fn read_settings(input: &[u8]) -> Result<bool, String> {
    static DEFAULT: LazyLock<Table> = LazyLock::new(|| {
        let text = fs::read_to_string(kept::tree("deploy/avis/config/default.toml"));
        text.expect("the defaults").parse().expect("TOML")
    });
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    let mut table = DEFAULT.clone();
    if text.starts_with(layers::PREFIX) {
        let variables = text.lines().filter_map(|line| line.split_once('='));
        // Files that one names are not read here.
        let variables = variables.filter(|(name, _)| !name.ends_with(layers::FROM_FILE));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        return Ok(layers::environment(&mut table, variables).is_ok());
    }
    let Ok(over) = text.parse::<Table>() else { return Ok(false) };
    if layers::merge(&mut table, over, &mut Vec::new()).is_err() {
        return Ok(false);
    }
    let mut again = DEFAULT.clone();
    layers::merge(&mut again, table.clone(), &mut Vec::new())?;
    // As text, for which `nan` is `nan`.
    match (format!("{table:?}"), format!("{again:?}")) {
        (table, again) if table == again => Ok(true),
        (table, again) => Err(format!("{table} over the defaults is {again}")),
    }
}

pub(super) fn settings() -> Vec<Vec<u8>> {
    let mut all = kept::files(&kept::tree("deploy/avis/config"), ".toml");
    all.extend(kept::of("settings"));
    all
}

/// Paths into JSON, in the SQL of pipelines.
pub(super) fn read_path(input: &[u8]) -> Result<bool, String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    Ok(json::parse_path(text).is_ok())
}
