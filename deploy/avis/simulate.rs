//! `avis simulate`: what other rules would have done to the recorded transactions.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Write,
    path::Path,
    sync::Arc,
    time::Instant,
};

use authoriser::{
    replay::{Compared, Regrouped, play},
    rules::RuleSet,
};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use connectors::{
    problem::Problem,
    registry::http::{Days, Simulated, Simulating, Simulator},
};
use domain::{
    id::{GroupId, RecipientId},
    period::LocalTime,
    recipient::{Group, Membership},
    registry::Registry,
};
use ingest::{
    log::{Log, replay},
    register::{memberships::Memberships, people::People},
    topic::Topic,
};
use pipelines::groups::{Groups, HORIZON_DAYS};
use serde::{Deserialize, Serialize};
use warehouse::report::FEWEST;

use crate::{
    audit,
    background::aside,
    cli::{Data, Format, SimulateArguments},
    commands::{document, land_alone, node},
    failure::Failure,
    node::Node,
    progress::Progress,
    remote::simulate as remote,
};
use beside::{Beside, Named, euro};

mod beside;

/// How many transactions are shown that change most.
const SHOWN: usize = 20;

/// `avis simulate`.
///
/// # Errors
/// Where the registry file has faults or the streams cannot be read.
pub async fn run(arguments: SimulateArguments) -> Result<(), Failure> {
    let SimulateArguments { registry, from, to, format, at } = arguments;
    if !matches!(format, Format::Json | Format::Table) {
        return Err(Failure::Usage("a simulation is shown as table or json".into()));
    }
    let told = match &at.server {
        Some(server) => remote::simulate(server, &registry, (from, to)).await?,
        None => Box::pin(at_rest(&at.data(), &registry, (from, to), format)).await?,
    };
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&told).map_err(std::io::Error::from)?;
            Ok(writeln!(std::io::stdout().lock(), "{text}")?)
        }
        _ => Ok(told.print(&mut std::io::stdout().lock())?),
    }
}

/// Simulates over a stopped node's data; that it did stands in the audit trail.
async fn at_rest(
    data: &Data,
    registry: &Path,
    (from, to): (NaiveDate, NaiveDate),
    format: Format,
) -> Result<Told, Failure> {
    let node = node(data)?;
    let document = document(registry, &node.vault)?;
    land_alone(&node, data).await?;
    let progress = Progress::new(format == Format::Json);
    let mut told = simulate(&node, &document.registry, (from, to), &progress).await?;
    told.name_bands(&bands(&node).await?);
    let object = format!("{from} to {to}");
    audit::note(&node, audit::at_the_machine("registry.simulate", object)).await?;
    Ok(told.told())
}

/// Plays the whole stream, from its first record, and tells of the days asked for.
///
/// # Errors
/// Where a stream cannot be read or a group not be evaluated.
pub async fn simulate(
    node: &Node,
    registry: &Registry,
    (from, to): (NaiveDate, NaiveDate),
    progress: &Progress,
) -> Result<Simulation, Failure> {
    let faulty = |faults: Vec<authoriser::rules::Fault>| {
        let lines = faults.iter().map(ToString::to_string);
        Failure::State(lines.collect::<Vec<_>>().join("\n"))
    };
    let rules = RuleSet::compile(registry).map_err(faulty)?;
    let regrouped = regroup(node, registry).await?;
    let regrouped = regrouped.as_ref().map(|groups| groups as &dyn Regrouped);
    let mut told = Simulation { from, to, ..Simulation::default() };
    let bar = progress.bar("simulating");
    let started = Instant::now();
    let played = play(&node.log, &rules, regrouped, |at| {
        if at.played.is_multiple_of(4_096) {
            bar.inc(4_096);
        }
        if let Some(compared) = at.compared.filter(|of| (from..=to).contains(&of.day)) {
            told.enter(compared);
        }
    });
    told.records = played.await?;
    told.seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(told)
}

/// Simulations that the API asks for, one at a time: each reads the whole stream.
#[derive(Debug)]
pub struct Simulations {
    node: Arc<Node>,
    turn: tokio::sync::Semaphore,
}

impl Simulations {
    /// Those of a node.
    #[must_use]
    pub fn of(node: &Arc<Node>) -> Self {
        Self { node: Arc::clone(node), turn: tokio::sync::Semaphore::new(1) }
    }

    async fn told(&self, asked: Simulating) -> Result<serde_json::Value, Problem> {
        let busy = || Problem::unavailable("another simulation is running: try again later");
        let _turn = self.turn.try_acquire().map_err(|_| busy())?;
        let Simulating { registry, days: Days { from, to }, own } = asked;
        let failed = |error: Failure| match error {
            Failure::State(text) => Problem::invalid(text),
            error => {
                tracing::error!(%error, "a simulation failed");
                Problem::unavailable("the simulation failed: the node's log says why")
            }
        };
        if own.is_some() {
            self.refuse_lists(&registry).await?;
        }
        let node = Arc::clone(&self.node);
        // Baskets are decided meanwhile.
        let told = aside("avis-simulate", move || async move {
            simulate(&node, &registry, (from, to), &Progress::new(true)).await
        });
        let mut told = told.await.map_err(failed)?;
        match own {
            Some(own) => {
                told.instructions.retain(|id| own.iter().any(|of| of.as_str() == id));
                Ok(told.of_instructions())
            }
            None => {
                told.name_bands(&bands(&self.node).await.map_err(failed)?);
                let told = serde_json::to_value(told.told());
                told.map_err(|_| Problem::unavailable("what it tells is no JSON"))
            }
        }
    }
}

impl Simulations {
    /// A list that is new could be of one person, about whom the figures would then tell.
    async fn refuse_lists(&self, registry: &Registry) -> Result<(), Problem> {
        let known = connectors::registry::view(&self.node.log).await;
        let known = known.map_err(|_| Problem::unavailable("the registry cannot be read now"))?;
        let known = known.registry();
        let is_new = |group: &&Group| {
            matches!(group.members, Membership::List(_))
                && !known.groups.iter().any(|of| of.id == group.id && of.members == group.members)
        };
        match registry.groups.iter().find(is_new) {
            Some(group) => {
                let detail = format!("{} lists people: that is not simulated", group.id);
                Err(Problem::invalid(detail))
            }
            None => Ok(()),
        }
    }
}

impl Simulator for Simulations {
    fn simulate(&self, what: Simulating) -> Simulated<'_> {
        Box::pin(self.told(what))
    }
}

/// Groups that mean something else now, evaluated for everybody by what the register says today.
struct Changed {
    changed: HashSet<GroupId>,
    days: HashMap<RecipientId, Vec<(GroupId, NaiveDate, NaiveDate)>>,
}

impl Regrouped for Changed {
    fn groups(
        &self,
        recipient: RecipientId,
        day: NaiveDate,
        recorded: Vec<GroupId>,
    ) -> Vec<GroupId> {
        let mut groups = recorded;
        groups.retain(|group| !self.changed.contains(group));
        let days = self.days.get(&recipient).into_iter().flatten();
        let within = days.filter(|(_, from, until)| (*from..*until).contains(&day));
        groups.extend(within.map(|(group, ..)| group.clone()));
        groups.sort();
        groups
    }
}

/// The groups that are not those of the node's registry; none where all are.
async fn regroup(node: &Node, registry: &Registry) -> Result<Option<Changed>, Failure> {
    let known = connectors::registry::view(&node.log).await?.registry();
    let is_known = |group: &&Group| {
        known.groups.iter().any(|of| of.id == group.id && of.members == group.members)
    };
    let changed: Vec<Group> =
        registry.groups.iter().filter(|group| !is_known(group)).cloned().collect();
    if changed.is_empty() {
        return Ok(None);
    }
    if let Some(group) = changed.iter().find(|group| lists_means(group)) {
        let text = format!(
            "the group {} is not the recorded one, and holds means of nobody known; \
                            such a membership cannot be simulated",
            group.id
        );
        return Err(Failure::State(text));
    }
    let mut people = People::default();
    replay(&node.log, Topic::PersonChanges, |stored| {
        people.apply(&node.vault, &stored)?;
        Ok::<(), Failure>(())
    })
    .await?;
    let mut lists = Memberships::default();
    replay(&node.log, Topic::Memberships, |stored| {
        lists.apply(&stored);
        Ok::<(), Failure>(())
    })
    .await?;
    let groups = Groups::new(&changed, &node.vault);
    // Days before the first transaction tell nothing.
    let (now, horizon) = (node.clock.now(), TimeDelta::days(HORIZON_DAYS.cast_signed()));
    let mut since = first_instant(&node.log).await?.unwrap_or(now);
    let mut days: HashMap<_, Vec<_>> = HashMap::new();
    while since <= now {
        let everybody: Vec<_> = people.iter().map(|(id, _)| (id, since)).collect();
        let evaluated = groups.evaluate(&people, &lists, &everybody, &node.vault);
        let evaluated = evaluated.map_err(warehouse::error::WarehouseError::Query)?;
        since += horizon;
        let end = LocalTime::of(since).date;
        for person in evaluated {
            let Some(id) = RecipientId::parse(&person.person) else { continue };
            let runs = days.entry(id).or_default();
            for run in person.groups {
                let (Ok(group), Ok(from)) = (GroupId::new(&run.group_id), run.from.parse()) else {
                    continue;
                };
                // What comes after is the next round's.
                let until = run.until.and_then(|until| until.parse().ok()).unwrap_or(end);
                runs.push((group, from, until.min(end)));
            }
        }
    }
    let changed = changed.into_iter().map(|group| group.id).collect();
    Ok(Some(Changed { changed, days }))
}

/// Whether a group lists means, whose holders the register does not know.
fn lists_means(group: &Group) -> bool {
    let Membership::List(members) = &group.members else { return false };
    members.iter().any(|member| matches!(member, domain::recipient::Member::Means(_)))
}

async fn first_instant(log: &Arc<dyn Log>) -> Result<Option<DateTime<Utc>>, Failure> {
    let topic = Topic::Authorisations;
    let mut first = None;
    for partition in 0..log.partitions(topic) {
        let start = log.start(topic, partition)?;
        for stored in log.read(topic, partition, start, 1).await? {
            let time = stored.record.event_time;
            first = Some(first.map_or(time, |first: DateTime<Utc>| first.min(time)));
        }
    }
    Ok(first)
}

/// What one person was given, and as whom tables know them.
#[derive(Debug, Default)]
struct Person {
    /// How many came before.
    number: usize,
    pseudonym: Option<String>,
    given: [Beside; 2],
}

/// What a simulation tells.
#[derive(Debug, Default)]
pub struct Simulation {
    from: NaiveDate,
    to: NaiveDate,
    /// Records played.
    pub records: u64,
    /// How long that took.
    pub seconds: f64,
    instructions: Named,
    territories: Named,
    bands: BTreeMap<String, [Beside; 2]>,
    people: HashMap<Option<RecipientId>, Person>,
    /// The first few people whom an instruction gave something, then and now.
    given_to: HashMap<String, [Vec<RecipientId>; 2]>,
    recipients: [HashSet<RecipientId>; 2],
    most: Vec<(i64, i64, String)>,
    differing: u64,
}

impl Simulation {
    fn enter(&mut self, compared: Compared) {
        let mut sums = [0, 0];
        let next = self.people.len();
        let person = self.people.entry(compared.recipient);
        let person = person.or_insert_with(|| Person { number: next, ..Person::default() });
        let number = compared.recipient.map(|_| person.number);
        for (at, parts) in [&compared.then, &compared.now].into_iter().enumerate() {
            for part in parts {
                self.instructions.add(part.instruction.as_str(), at, part, number);
                if let Some(recipient) = compared.recipient {
                    note(&mut self.given_to, part.instruction.as_str(), at, recipient);
                }
                self.territories.add(&compared.territory, at, part, number);
                person.given[at].of_one(part, number.is_some());
                sums[at] += part.cents;
            }
            self.recipients[at].extend(compared.recipient.filter(|_| sums[at] != 0));
        }
        // The newest pseudonym is the one that tables say most of.
        person.pseudonym = compared.pseudonym;
        if compared.then == compared.now {
            return;
        }
        self.differing += 1;
        let [then, now] = sums;
        self.most.push((then, now, compared.authorisation.to_string()));
        if self.most.len() > SHOWN * 64 {
            self.keep_most();
        }
    }

    fn keep_most(&mut self) {
        self.most.sort_by(|one, other| {
            let change = |(then, now, _): &(i64, i64, String)| (now - then).abs();
            change(other).cmp(&change(one)).then_with(|| one.2.cmp(&other.2))
        });
        self.most.truncate(SHOWN);
    }

    /// People by their age band, where enough stand behind one.
    fn name_bands(&mut self, bands: &HashMap<String, String>) {
        let mut people: BTreeMap<String, i64> = BTreeMap::new();
        for Person { pseudonym, given, .. } in std::mem::take(&mut self.people).into_values() {
            let band = pseudonym.and_then(|pseudonym| bands.get(&pseudonym).cloned());
            let band = band.unwrap_or_default();
            *people.entry(band.clone()).or_default() += 1;
            let of_band = self.bands.entry(band).or_default();
            for (sum, more) in of_band.iter_mut().zip(&given) {
                sum.join(more);
            }
        }
        self.bands.retain(|band, _| people.get(band).is_some_and(|count| *count >= FEWEST));
        self.keep_most();
    }

    /// What a grantor is told: of its own instructions alone, and null where a few people stand behind it.
    fn of_instructions(&self) -> serde_json::Value {
        let instructions = self.instructions.sums().map(|(id, sides)| {
            let people = self.given_to.get(id);
            let told = |at: usize| {
                let few = people.map_or(0, |people: &[Vec<RecipientId>; 2]| people[at].len());
                let is_few = few > 0 && i64::try_from(few).is_ok_and(|few| few < FEWEST);
                (!is_few).then_some(sides[at])
            };
            (id.to_owned(), serde_json::json!({"then": told(0), "now": told(1)}))
        });
        serde_json::json!({
            "from": self.from.to_string(),
            "to": self.to.to_string(),
            "instructions": serde_json::Value::Object(instructions.collect()),
        })
    }

    fn bands(&self) -> impl Iterator<Item = (&str, [Beside; 2])> {
        self.bands.iter().map(|(band, sides)| (band.as_str(), *sides))
    }

    fn told(&self) -> Told {
        let most = self.most.iter().map(|(then, now, id)| MostChanged {
            authorisation_id: id.clone(),
            then_cents: *then,
            now_cents: *now,
        });
        let [then, now] = &self.recipients;
        Told {
            from: self.from.to_string(),
            to: self.to.to_string(),
            records: self.records,
            seconds: self.seconds,
            differing: self.differing,
            recipients: Sides { then: then.len(), now: now.len() },
            instructions: sides(self.instructions.sums()),
            territories: sides(self.territories.sums()),
            age_bands: sides(self.bands()),
            most_changed: most.collect(),
        }
    }
}

/// Then and now.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Sides<T> {
    then: T,
    now: T,
}

/// The sums of both sides by name.
type ByName = BTreeMap<String, Sides<Beside>>;

fn sides<'a>(all: impl Iterator<Item = (&'a str, [Beside; 2])>) -> ByName {
    all.map(|(name, [then, now])| (name.to_owned(), Sides { then, now })).collect()
}

/// A transaction of those that change most.
#[derive(Debug, Serialize, Deserialize)]
struct MostChanged {
    authorisation_id: String,
    then_cents: i64,
    now_cents: i64,
}

/// A simulation as it is told, here and by a node that runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    from: String,
    to: String,
    records: u64,
    seconds: f64,
    differing: u64,
    recipients: Sides<usize>,
    instructions: ByName,
    territories: ByName,
    age_bands: ByName,
    most_changed: Vec<MostChanged>,
}

impl Told {
    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let rate = if self.seconds > 0.0 { self.records as f64 / self.seconds } else { 0.0 };
        writeln!(
            out,
            "{} – {}: {} records played in {:.2} s, {rate:.0} a second; {} transactions differ\n",
            self.from, self.to, self.records, self.seconds, self.differing
        )?;
        beside::table(out, "instruction", &self.instructions)?;
        beside::table(out, "territory", &self.territories)?;
        beside::table(out, "age band", &self.age_bands)?;
        let Sides { then, now } = self.recipients;
        writeln!(out, "recipients: {then} then, {now} now")?;
        if !self.most_changed.is_empty() {
            writeln!(out, "\n{:<30} {:>12} {:>12}", "changes most", "then", "now")?;
        }
        for MostChanged { authorisation_id, then_cents, now_cents } in &self.most_changed {
            let (then, now) = (euro(*then_cents), euro(*now_cents));
            writeln!(out, "{authorisation_id:<30} {then:>12} {now:>12}")?;
        }
        Ok(())
    }
}

/// Notes one of the first few people on one side of what stands under a name.
fn note(
    all: &mut HashMap<String, [Vec<RecipientId>; 2]>,
    name: &str,
    at: usize,
    recipient: RecipientId,
) {
    if !all.contains_key(name) {
        all.insert(name.to_owned(), <[Vec<RecipientId>; 2]>::default());
    }
    let Some(few) = all.get_mut(name).map(|sides| &mut sides[at]) else { return };
    let enough = usize::try_from(FEWEST).is_ok_and(|fewest| few.len() >= fewest);
    if !enough && !few.contains(&recipient) {
        few.push(recipient);
    }
}

const BANDS: &str = include_str!("simulate/bands.sql");

/// The age band of every recipient.
async fn bands(node: &Node) -> Result<HashMap<String, String>, Failure> {
    let rows = node.session()?.rows(BANDS).await?;
    let pairs = rows.texts("recipient")?.into_iter().zip(rows.texts("age_band")?);
    Ok(pairs.filter_map(|(recipient, band)| Some((recipient?, band?))).collect())
}
