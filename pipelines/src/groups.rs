//! Groups: a SQL boolean over people's attributes, evaluated for everybody at once and for one
//! change alike.
//!
//! A membership is a run of days. The condition is evaluated on the first day and on every day on
//! which somebody in the family has a birthday, for all people together as rows of one batch; equal
//! neighbours are one run. What is missing is NULL, and NULL is no member.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use datafusion::error::DataFusionError;
use domain::{
    id::{GroupId, RecipientId},
    period::LocalTime,
    recipient::{Group, Member, Membership},
};
use ingest::{
    register::people::{People, Person},
    vault::{Purpose, Vault},
    wire::v1::{EntitlementEvaluated, GroupDays},
};

mod columns;
mod condition;
mod family;

pub use condition::check;

use condition::Conditions;
use family::Family;

/// For how many days memberships are told ahead.
pub const HORIZON_DAYS: u64 = 400;
/// Rows evaluated at once, so that memory stays bounded whatever the number of people.
const CHUNK_ROWS: usize = 65_536;

/// A person on a day: one row of the evaluation.
#[derive(Clone, Copy, Debug)]
struct Row<'a> {
    person: &'a Person,
    family: Family,
    day: NaiveDate,
}

/// What is evaluated: all groups of the registry.
#[derive(Debug)]
pub struct Groups {
    conditions: Conditions,
    /// Groups that list people.
    lists: Vec<(GroupId, HashSet<RecipientId>)>,
}

impl Groups {
    /// The groups of a registry. Who is listed is looked up; somebody whom the register has not told
    /// of is in no group.
    #[must_use]
    pub fn new(groups: &[Group], vault: &Vault) -> Self {
        let mut conditions = Vec::new();
        let mut lists = Vec::new();
        for group in groups {
            match &group.members {
                Membership::Where(text) => conditions.push((group.id.clone(), text.clone())),
                Membership::List(members) => {
                    let people = members.iter().filter_map(|member| match member {
                        Member::Person(code) => vault.find(code.expose()).ok().flatten(),
                        Member::Means(_) => None,
                    });
                    lists.push((group.id.clone(), people.collect()));
                }
            }
        }
        Self { conditions: Conditions::new(conditions), lists }
    }

    /// The memberships of some people from an instant on.
    ///
    /// # Errors
    /// Where a condition fails over these attributes.
    pub async fn evaluate(
        &self,
        people: &People,
        whom: &[RecipientId],
        known_from: DateTime<Utc>,
        vault: &Vault,
    ) -> Result<Vec<EntitlementEvaluated>, DataFusionError> {
        let first = LocalTime::of(known_from).date;
        let last = first.checked_add_days(Days::new(HORIZON_DAYS)).unwrap_or(first);
        let known: Vec<(RecipientId, &Person)> =
            whom.iter().filter_map(|id| Some((*id, people.get(*id)?))).collect();
        let mut evaluated = Vec::with_capacity(known.len());
        let mut rest = known.as_slice();
        while !rest.is_empty() {
            let (mut rows, mut of_person) = (Vec::new(), Vec::new());
            while let Some(((id, person), tail)) = rest.split_first() {
                let days = family::days(people, person, first, last);
                if !rows.is_empty() && rows.len() + days.len() > CHUNK_ROWS {
                    break;
                }
                let start = rows.len();
                rows.extend(days.into_iter().map(|(day, family)| Row { person, family, day }));
                of_person.push((*id, *person, start..rows.len()));
                rest = tail;
            }
            let members = self.conditions.evaluate(&rows).await?;
            for (id, person, range) in of_person {
                let mut groups = Vec::new();
                for (group, is_member) in &members {
                    groups.extend(runs(group, &rows[range.clone()], &is_member[range.clone()]));
                }
                let listed = self.lists.iter().filter(|(_, listed)| listed.contains(&id));
                groups.extend(listed.map(|(group, _)| whole(group, first)));
                evaluated.push(entitlement(id, person, groups, known_from, vault));
            }
        }
        Ok(evaluated)
    }
}

/// The runs of days on which a group holds; the last one has no end, as none is known.
fn runs(group: &GroupId, rows: &[Row<'_>], is_member: &[bool]) -> Vec<GroupDays> {
    let mut runs: Vec<GroupDays> = Vec::new();
    let mut before = false;
    for (row, is_member) in rows.iter().zip(is_member) {
        match (before, is_member) {
            (false, true) => runs.push(whole(group, row.day)),
            (true, false) => {
                if let Some(run) = runs.last_mut() {
                    run.until = Some(row.day.to_string());
                }
            }
            _ => {}
        }
        before = *is_member;
    }
    runs
}

fn whole(group: &GroupId, from: NaiveDate) -> GroupDays {
    GroupDays { group_id: group.to_string(), from: from.to_string(), until: None }
}

fn entitlement(
    id: RecipientId,
    person: &Person,
    groups: Vec<GroupDays>,
    known_from: DateTime<Utc>,
    vault: &Vault,
) -> EntitlementEvaluated {
    let day = LocalTime::of(known_from).date;
    let born = person.text("birth_date").and_then(|text| text.parse().ok());
    let household = match person.family_id() {
        Some(family) => vault.household(family).to_string(),
        None => id.to_string(),
    };
    EntitlementEvaluated {
        person: id.to_string(),
        household,
        known_from: known_from.timestamp_micros(),
        alive: person.alive(),
        groups,
        recipient: vault.pseudonym(Purpose::Recipient, id.as_u128()).to_string(),
        age_band: born.map_or("", |born| age_band(domain::period::age(born, day))).into(),
        municipality: person.text("territory").unwrap_or_default().into(),
        removed: person.attributes.is_none(),
        changes_next: None,
        registry_version: 0,
        person_sequence: person.sequence,
    }
}

/// The band of an age in full years.
#[must_use]
pub const fn age_band(age: i32) -> &'static str {
    match age {
        ..18 => "0-17",
        18..25 => "18-24",
        25..35 => "25-34",
        35..45 => "35-44",
        45..55 => "45-54",
        55..65 => "55-64",
        65..75 => "65-74",
        75.. => "75+",
    }
}

/// Every attribute that somebody has, and those of the family.
fn attribute_names<'a>(rows: &[Row<'a>]) -> BTreeMap<&'a str, Vec<&'a serde_json::Value>> {
    let mut names: BTreeMap<&str, Vec<&serde_json::Value>> = BTreeMap::new();
    for row in rows {
        let attributes = row.person.attributes.as_ref().map(domain::masked::Masked::expose);
        for (name, value) in attributes.into_iter().flatten() {
            names.entry(name).or_default().push(value);
        }
    }
    names
}
