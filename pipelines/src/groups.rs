//! Groups: a SQL boolean over people's attributes, evaluated for everybody at once and for one
//! change alike.
//!
//! A membership is a run of days. The condition is evaluated on the first day and on every day on
//! which somebody in the family has a birthday, for all people together as rows of one batch; equal
//! neighbours are one run. What is missing is NULL, and NULL is no member.

use std::collections::HashSet;

use arrow::buffer::BooleanBuffer;
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::error::DataFusionError;
use domain::{
    id::{GroupId, PersonToken, RecipientId},
    period::LocalTime,
    recipient::{Group, Member, Membership},
};
use ingest::{
    register::{
        memberships::Memberships,
        people::{People, Person},
    },
    spread,
    vault::{Purpose, Vault},
    wire::v1::{EntitlementEvaluated, GroupDays},
};

mod columns;
mod condition;
mod family;
mod terms;

pub use condition::check;

use condition::Conditions;
use family::Family;

/// For how many days memberships are told ahead.
pub const HORIZON_DAYS: u64 = 400;
/// Rows evaluated at once, so that memory stays bounded whatever the number of people.
const CHUNK_ROWS: usize = 65_536;

/// A person on a day: one row of the evaluation.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// The place among the people who are evaluated together.
    person: usize,
    family: Family,
    day: NaiveDate,
}

/// A person whose memberships are told, and from when on.
type Known<'a> = (RecipientId, Person<'a>, DateTime<Utc>);

/// People and their days, which stand together, in the same order.
#[derive(Clone, Copy, Debug)]
struct Rows<'a> {
    people: &'a [Person<'a>],
    rows: &'a [Row],
}

/// What is evaluated: all groups of the registry.
#[derive(Debug)]
pub struct Groups {
    conditions: Conditions,
    /// Groups that list people.
    lists: Vec<(GroupId, HashSet<RecipientId>)>,
    /// Whom the register had not told of when they were looked up, with the places of their lists.
    unknown: Vec<(usize, PersonToken)>,
}

impl Default for Groups {
    fn default() -> Self {
        Self { conditions: Conditions::new(Vec::new()), lists: Vec::new(), unknown: Vec::new() }
    }
}

impl Groups {
    /// The groups of a registry. Who is listed is looked up; somebody whom the register has not told
    /// of is in no group.
    #[must_use]
    pub fn new(groups: &[Group], vault: &Vault) -> Self {
        let mut conditions = Vec::new();
        let (mut lists, mut unknown) = (Vec::new(), Vec::new());
        for group in groups {
            match &group.members {
                Membership::Where(text) => conditions.push((group.id.clone(), text.clone())),
                Membership::List(members) => {
                    let people = members.iter().filter_map(|member| match member {
                        Member::Person(token) => Some((lists.len(), *token)),
                        Member::Means(_) => None,
                    });
                    unknown.extend(people);
                    lists.push((group.id.clone(), HashSet::new()));
                }
            }
        }
        let mut groups = Self { conditions: Conditions::new(conditions), lists, unknown };
        groups.find_listed(vault);
        groups
    }

    /// Looks up those on lists whom the register had not told of.
    pub fn find_listed(&mut self, vault: &Vault) {
        let Self { lists, unknown, .. } = self;
        unknown.retain(|(list, token)| match vault.find_listed(*token) {
            Some(id) => {
                lists[*list].1.insert(id);
                false
            }
            None => true,
        });
    }

    /// The memberships of some people, each from an instant on.
    ///
    /// # Errors
    /// Where a condition fails over these attributes.
    pub fn evaluate(
        &self,
        people: &People,
        lists: &Memberships,
        whom: &[(RecipientId, DateTime<Utc>)],
        vault: &Vault,
    ) -> Result<Vec<EntitlementEvaluated>, DataFusionError> {
        let of = |(id, at): &(RecipientId, DateTime<Utc>)| Some((*id, people.get(*id)?, *at));
        let known: Vec<Known<'_>> = whom.iter().filter_map(of).collect();
        let parts = spread::parts(&known, |some| self.evaluate_some(people, lists, some, vault));
        let mut evaluated = Vec::with_capacity(known.len());
        for part in parts {
            evaluated.extend(part?);
        }
        Ok(evaluated)
    }

    fn evaluate_some(
        &self,
        people: &People,
        lists: &Memberships,
        known: &[Known<'_>],
        vault: &Vault,
    ) -> Result<Vec<EntitlementEvaluated>, DataFusionError> {
        let mut evaluated = Vec::with_capacity(known.len());
        let mut rest = known;
        while !rest.is_empty() {
            let (mut rows, mut together, mut ends) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(((id, person, known_from), tail)) = rest.split_first()
                && rows.len() < CHUNK_ROWS
            {
                let place = together.len();
                let days = family::days(people, vault, *id, *person, day_of(*known_from));
                rows.extend(days.map(|(day, family)| Row { person: place, family, day }));
                together.push(*person);
                ends.push(rows.len());
                rest = tail;
            }
            let days: Vec<_> = rows.iter().map(|row| row.day.to_string()).collect();
            let mut groups = vec![Vec::new(); together.len()];
            for (group, holds) in
                self.conditions.evaluate(Rows { people: &together, rows: &rows })?
            {
                runs(&group, &holds, &rows, &days, &ends, &mut groups);
            }
            let done = known.len() - rest.len() - together.len();
            for ((id, person, known_from), mut groups) in known[done..].iter().zip(groups) {
                for (group, listed) in &self.lists {
                    let told = lists.of_person(*id).iter().find(|days| days.group == *group);
                    groups.extend(match (told, listed.contains(id)) {
                        (_, true) => Some(whole(group, day_of(*known_from).to_string())),
                        (Some(days), false) => Some(GroupDays {
                            until: days.until.map(|until| until.to_string()),
                            ..whole(group, days.from.to_string())
                        }),
                        (None, false) => None,
                    });
                }
                evaluated.push(entitlement(*id, *person, groups, *known_from, vault));
            }
        }
        Ok(evaluated)
    }
}

/// Adds the runs of days on which a group holds to those of each person; the last one has no end, as
/// none is known. `days` are those of the rows, as text.
fn runs(
    group: &GroupId,
    holds: &BooleanBuffer,
    rows: &[Row],
    days: &[String],
    ends: &[usize],
    of_person: &mut [Vec<GroupDays>],
) {
    for (mut start, end) in holds.set_slices() {
        // What holds for neighbours in a row stands together.
        while start < end {
            let person = rows[start].person;
            let stop = end.min(ends[person]);
            let until = (stop < ends[person]).then(|| days[stop].clone());
            of_person[person].push(GroupDays { until, ..whole(group, days[start].clone()) });
            start = stop;
        }
    }
}

fn day_of(instant: DateTime<Utc>) -> NaiveDate {
    LocalTime::of(instant).date
}

fn whole(group: &GroupId, from: String) -> GroupDays {
    GroupDays { group_id: group.as_str().to_owned(), from, until: None }
}

fn entitlement(
    id: RecipientId,
    person: Person<'_>,
    groups: Vec<GroupDays>,
    known_from: DateTime<Utc>,
    vault: &Vault,
) -> EntitlementEvaluated {
    let day = day_of(known_from);
    let born = person.birth_date();
    let household = match person.family_id() {
        Some(family) => vault.household(&family).to_string(),
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
        removed: !person.is_present(),
        changes_next: None,
        memberships_next: None,
        registry_version: 0,
        person_sequence: person.sequence(),
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
