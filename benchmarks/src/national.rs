//! A nation at once: a snapshot of its people and a file of their means loaded, and everybody's
//! groups evaluated, beside reading and writing as many bytes.
//!
//! All of it is done in this one process, as `avis load` and `avis up` do it, so that the most
//! memory it ever held is an upper bound of each of them.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{Days, NaiveDate, TimeDelta};
use connectors::{
    connector::Connector,
    dagr::{PersonChanges, snapshot::Snapshot},
    issuer::MeansFiles,
    load::{self, Context},
};
use ingest::{
    clock::SystemClock,
    log::{Log, READ_BATCH, embedded::EmbeddedLog, replay},
    record::{Record, outside_id},
    register::{entitlements::Entitlements, means::MeansRegister},
    topic::Topic,
    vault::Vault,
    wire::v1::{Event, RegistryChanged},
};
use pipelines::entitlements::Evaluator;
use prometheus::Registry;
use serde_json::json;

use crate::{
    nation::{self, Random},
    registers::memory,
};

const PEOPLE: u64 = 2_030_000;
const MEANS: u64 = 5_000_000;
const MUNICIPALITIES: u64 = 43;
const ISSUER: &str = "national";
const CHANGES_A_SECOND: u64 = 1_000;
const TURNS_A_SECOND: u64 = 50;
const SECONDS_OF_CHANGES: u64 = 30;
const SECONDS_AFTER: u64 = 3;

/// Prints what the nation took, and a line of JSON.
pub async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    // A part of the nation, while something is being mended.
    let share = std::env::var("AVIS_BENCH_SHARE").ok().and_then(|text| text.parse().ok());
    let part = |all: u64| (all as f64 * share.unwrap_or(1.0)) as u64;
    let folder = tempfile::tempdir()?;
    let (persons, means) =
        (folder.path().join("persons.ndjson"), folder.path().join("means.ndjson"));
    let people = write_people(&persons, part(PEOPLE))?;
    write_means(&means, part(MEANS), people)?;
    let bytes = std::fs::metadata(&persons)?.len() + std::fs::metadata(&means)?.len();
    let copied = timed(|| copy(&[&persons, &means], &folder.path().join("copy")))?;

    let before = memory("VmRSS:");
    let context = context(&folder.path().join("node"))?;
    let started = Instant::now();
    describe(&context).await?;
    let loaded_people = load_people(&context, &persons).await?;
    say(&format!("{people} people loaded"), loaded_people);
    let loaded_means = load_means(&context, &means).await?;
    say(&format!("{} means loaded", part(MEANS)), loaded_means);
    let evaluating = Instant::now();
    let (log, clock) = (Arc::clone(&context.log), Arc::clone(&context.clock));
    let mut evaluator = Evaluator::open(log, context.vault.clone(), clock).await?;
    let told = evaluator.catch_up().await?;
    let evaluated = evaluating.elapsed();
    say(&format!("{told} people evaluated"), evaluated);
    let whole = started.elapsed();
    let peak = memory("VmHWM:");
    // What a till looks people up in, beside.
    let following = Instant::now();
    let registers = registers(&context.log).await?;
    let followed = following.elapsed();
    let mut reached = changes(&context, evaluator, people).await?;
    reached.sort_unstable();
    let at = |share: f64| reached.get((reached.len() as f64 * share) as usize).copied();
    let milliseconds = |share| at(share).unwrap_or_default().as_secs_f64() * 1e3;
    let rate = |time: Duration| bytes as f64 / time.as_secs_f64();
    crate::row(
        "bytes of a nation's registers taken",
        rate(whole),
        "copied and synced",
        rate(copied),
    );
    crate::say(format!(
        "\n    {{\"bench\":\"national\",\"people\":{people},\"means\":{},\"groups\":{},\
         \"bytes\":{bytes},\"people_s\":{:.1},\"means_s\":{:.1},\"evaluated_s\":{:.1},\
         \"seconds\":{:.1},\"lists\":{},\"peak_mib\":{},\"before_mib\":{},\"followed_s\":{:.1},\
         \"serving_mib\":{},\"changes_a_second\":{CHANGES_A_SECOND},\"reached\":{},\
         \"reached_p50_ms\":{:.0},\"reached_p99_ms\":{:.0}}}\n",
        part(MEANS),
        groups().len(),
        loaded_people.as_secs_f64(),
        loaded_means.as_secs_f64(),
        evaluated.as_secs_f64(),
        whole.as_secs_f64(),
        registers.0.lists(),
        peak >> 20,
        before >> 20,
        followed.as_secs_f64(),
        memory("VmHWM:") >> 20,
        reached.len(),
        milliseconds(0.5),
        milliseconds(0.99),
    ));
    Ok(())
}

fn say(what: &str, took: Duration) {
    eprintln!("{what} in {:.1} s, {} MiB", took.as_secs_f64(), memory("VmRSS:") >> 20);
}

fn timed<T>(once: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<Duration> {
    let started = Instant::now();
    once()?;
    Ok(started.elapsed())
}

fn copy(files: &[&Path], to: &Path) -> std::io::Result<()> {
    let mut target = File::create(to)?;
    for file in files {
        std::io::copy(&mut File::open(file)?, &mut target)?;
    }
    target.sync_all()
}

fn context(folder: &Path) -> Result<Context, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    let registry = Registry::new();
    let streams = ingest::metrics::Metrics::register(&registry)?;
    let log = EmbeddedLog::open(&folder.join("log"), &Default::default(), streams.clone())?;
    Ok(Context {
        log: Arc::new(log),
        vault: Vault::open(&folder.join("keys"))?,
        clock: Arc::new(SystemClock),
        metrics: connectors::metrics::Metrics::register(&registry)?,
        streams,
    })
}

/// Groups as instructions need them: by age, municipality, family and what else the register says.
fn groups() -> Vec<(String, String)> {
    let mut groups = Vec::new();
    let mut group = |id: String, condition: String| groups.push((id, condition));
    for municipality in 0..MUNICIPALITIES {
        let lives = format!("territory LIKE '{}%' AND status = 'alive'", territory(municipality));
        group(format!("residents-{municipality}"), lives.clone());
        for (name, from, to) in
            [("pupils", 7, 19), ("youth", 13, 26), ("voters", 16, 200), ("seniors", 65, 200)]
        {
            let ages = format!("age(birth_date) >= {from} AND age(birth_date) < {to}");
            group(format!("{name}-{municipality}"), format!("{ages} AND {lives}"));
        }
        group(format!("families-{municipality}"), format!("family_children >= 1 AND {lives}"));
    }
    for age in [3, 7, 13, 16, 18, 19, 21, 26, 62, 65, 70, 75] {
        group(format!("from-{age}"), format!("age(birth_date) >= {age} AND status = 'alive'"));
    }
    for degree in 1..=3 {
        group(format!("disability-{degree}"), format!("disability_group = {degree}"));
    }
    for (id, condition) in [
        ("students", "student AND age(birth_date) < 26"),
        ("pensioners", "pensioner AND status = 'alive'"),
        ("large-families", "large_family AND family_children >= 3"),
        ("infants", "age(family_youngest_birth_date) < 3 AND family_size > 1"),
        ("single-parents", "family_children >= 1 AND family_size - family_children = 1"),
    ] {
        group(id.into(), condition.into());
    }
    let mut age = 20;
    while groups.len() < 300 {
        groups.push((format!("aged-{age}"), format!("age(birth_date) = {age}")));
        age += 1;
    }
    groups
}

async fn describe(context: &Context) -> Result<(), Box<dyn std::error::Error>> {
    let now = context.clock.now();
    let entry = |kind: &str, id: &str, document: serde_json::Value| Record {
        id: outside_id(kind, id),
        key: id.into(),
        source: "bench".into(),
        sequence: 0,
        event_time: now,
        recorded_at: now,
        event: Event::RegistryChanged(RegistryChanged {
            kind: kind.into(),
            id: id.into(),
            document: document.to_string(),
            changed_by: String::new(),
        }),
    };
    let records: Vec<_> = groups()
        .into_iter()
        .map(|(id, condition)| {
            let document = json!({ "id": id, "name": { "lv": id, "en": id }, "where": condition });
            entry("groups", &id, document)
        })
        .collect();
    context.log.append(Topic::RegistryChanges, &records).await?;
    Ok(())
}

async fn load_people(
    context: &Context,
    file: &Path,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let started = Instant::now();
    let snapshot: Arc<std::sync::Mutex<Snapshot>> = Arc::default();
    let connector = PersonChanges {
        vault: context.vault.clone(),
        clock: Arc::clone(&context.clock),
        snapshot: Arc::clone(&snapshot),
    };
    let account = load::load(context, connector, File::open(file)?, "persons", |_| {}).await?;
    if account.refused_in_all() > 0 || account.taken != account.lines {
        return Err(format!("{account:?}").into());
    }
    let snapshot = std::mem::take(&mut *snapshot.lock().map_err(|_| "a thread panicked")?);
    snapshot.finish(&context.log, &*context.clock, &account, false).await?;
    Ok(started.elapsed())
}

async fn load_means(
    context: &Context,
    file: &Path,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let started = Instant::now();
    let connector = MeansFiles {
        issuers: std::iter::once(domain::id::IssuerId::new(ISSUER)?).collect(),
        vault: context.vault.clone(),
        clock: Arc::clone(&context.clock),
    };
    let account = load::load(context, connector, File::open(file)?, "means", |_| {}).await?;
    if account.refused_in_all() > 0 || account.taken != account.lines {
        return Err(format!("{account:?}").into());
    }
    Ok(started.elapsed())
}

/// Changes of people, so many a second, while the evaluation goes on beside: how long each takes
/// from the connector until whoever decides next sees it.
async fn changes(
    context: &Context,
    mut evaluator: Evaluator,
    people: u64,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let log = Arc::clone(&context.log);
    let mut grown = log.subscribe(Topic::PersonChanges);
    let evaluating = tokio::spawn(async move {
        while grown.changed().await.is_ok() {
            evaluator.catch_up().await?;
        }
        Ok::<(), pipelines::error::PipelineError>(())
    });
    let mut connector = PersonChanges {
        vault: context.vault.clone(),
        clock: Arc::clone(&context.clock),
        snapshot: Arc::default(),
    };
    let (mut sent, mut reached) = (HashMap::new(), Vec::new());
    let mut next = context.log.end(Topic::Entitlements, 0)?;
    let mut random = Random::new(3);
    let mut pace = tokio::time::interval(Duration::from_millis(1_000 / TURNS_A_SECOND));
    for turn in 0..SECONDS_OF_CHANGES * TURNS_A_SECOND + SECONDS_AFTER * TURNS_A_SECOND {
        pace.tick().await;
        if turn < SECONDS_OF_CHANGES * TURNS_A_SECOND {
            let now = Instant::now();
            let lines = (0..CHANGES_A_SECOND / TURNS_A_SECOND)
                .map(|at| change(random.below(people), 2 + turn, &format!("{turn}/{at}")));
            let lines: Vec<String> = lines.collect();
            let messages: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let translated = connector.translate(&messages).into_iter();
            let records: Vec<Record> = translated.filter_map(Result::ok).collect();
            for record in &records {
                sent.insert((record.key.clone(), record.sequence), now);
            }
            context.log.append(Topic::PersonChanges, &records).await?;
        }
        loop {
            let batch = context.log.read(Topic::Entitlements, 0, next, READ_BATCH).await?;
            let Some(last) = batch.last() else { break };
            next = last.position.offset + 1;
            for stored in batch {
                let Event::EntitlementEvaluated(event) = stored.record.event else { continue };
                let of = sent.remove(&(event.person, event.person_sequence));
                reached.extend(of.map(|sent| sent.elapsed()));
            }
        }
    }
    evaluating.abort();
    if !sent.is_empty() {
        eprintln!("{} changes were overtaken by later ones of the same people", sent.len());
    }
    Ok(reached)
}

/// A person who has become a student.
fn change(number: u64, sequence: u64, id: &str) -> String {
    let attributes = json!({
        "birth_date": "2004-05-06", "territory": "LV0001000", "family_id": format!("F-{number}"),
        "student": true, "status": "alive",
    });
    json!({
        "specversion": "1.0", "id": format!("C-{id}"), "source": "/dagr/persons",
        "type": "lv.dagr.person.changed", "time": chrono::Utc::now().to_rfc3339(),
        "data": { "person": code(number), "sequence": sequence, "attributes": attributes },
    })
    .to_string()
}

async fn registers(
    log: &Arc<dyn Log>,
) -> Result<(Entitlements, MeansRegister), ingest::error::LogError> {
    let mut entitlements = Entitlements::reaching_back(TimeDelta::days(40));
    replay(log, Topic::Entitlements, |stored| {
        entitlements.apply(&stored);
        Ok::<_, ingest::error::LogError>(())
    })
    .await?;
    let mut means = MeansRegister::default();
    replay(log, Topic::MeansChanges, |stored| {
        means.apply(&stored);
        Ok::<_, ingest::error::LogError>(())
    })
    .await?;
    Ok((entitlements, means))
}

fn territory(municipality: u64) -> String {
    format!("LV{:04}", municipality + 1)
}

/// The n-th person's code, of the form that carries no date.
fn code(number: u64) -> String {
    format!("32{:04}-{:05}", number / 100_000, number % 100_000)
}

/// A snapshot of so many people in families. How many there are.
fn write_people(file: &Path, people: u64) -> std::io::Result<u64> {
    let mut out = BufWriter::new(File::create(file)?);
    let mut random = Random::new(1);
    let (mut number, mut family) = (0, 0);
    while number < people {
        let children = [0, 0, 0, 0, 0, 0, 1, 1, 2, 3][random.below(10) as usize];
        let adults = 1 + random.below(2);
        let municipality = if random.below(3) == 0 { 0 } else { random.below(MUNICIPALITIES) };
        let parish = random.below(10);
        for member in 0..(adults + children).min(people - number) {
            let years = match member < adults {
                true if children > 0 => 20 + random.below(30),
                true => 18 + random.below(77),
                false => random.below(18),
            };
            let attributes = json!({
                "birth_date": born(years * 365 + random.below(365)),
                "territory": format!("{}{parish:03}", territory(municipality)),
                "family_id": format!("F-{family}"),
                "disability_group": (random.below(12) == 0).then(|| 1 + random.below(3)),
                "large_family": children > 2,
                "student": years > 17 && years < 26 && random.below(3) == 0,
                "pensioner": years > 64,
                "status": "alive",
            });
            let mut line = json!({
                "specversion": "1.0", "id": format!("P-{number}"), "source": "/dagr/persons",
                "type": "lv.dagr.person.changed", "time": "2026-03-01T03:00:00Z",
                "data": { "person": code(number), "sequence": 1, "attributes": attributes },
            });
            if number == 0 {
                line["snapshot"] = json!(true);
                line["snapshotcount"] = json!(people);
            }
            writeln!(out, "{line}")?;
            number += 1;
        }
        family += 1;
    }
    out.flush()?;
    Ok(number)
}

fn born(days_ago: u64) -> NaiveDate {
    nation::today().checked_sub_days(Days::new(days_ago)).unwrap_or_default()
}

fn write_means(file: &Path, means: u64, people: u64) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    let mut random = Random::new(2);
    for number in 0..means {
        // Each person has some; who has how many is not even.
        let person = if number < people { number } else { random.below(people) };
        let line = json!({
            "person": code(person), "issuer": ISSUER, "kind": "card_uid",
            "value": format!("04{number:012X}"), "valid_from": "2024-01-01", "valid_to": null,
        });
        writeln!(out, "{line}")?;
    }
    out.flush()
}
