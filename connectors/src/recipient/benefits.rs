//! What a recipient can get today and why, and what would be needed for what else there is.

use std::collections::HashMap;

use authoriser::rules::{RuleSet, Standing};
use axum::response::Response;
use chrono::{Datelike, Days, NaiveDate};
use domain::{
    id::{BenefitId, GroupId},
    instruction::Instruction,
    limit::{Limit, Period},
    period::{Month, start_of_week, start_of_year},
    recipient::{Group, Recipient},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    http::{Asking, Door, Person, USUAL, own_page},
    names::{Named, Names, named, told},
    words,
};
use crate::{
    edge::page::{PageAsked, cut},
    problem::Problem,
    terminal::{openapi::Refusals, wire::Text},
};

/// Which instructions, and where in their list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// This instruction alone.
    instruction: Option<String>,
    /// Where the list goes on, as the page before said.
    cursor: Option<String>,
    /// The most entries of the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// An instruction valid today, as it stands to the recipient.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnBenefit {
    instruction: String,
    version: u32,
    /// What receipts call it.
    label: Text,
    /// Whether something of it can be had today: its recipients include the person, it holds at some
    /// hour of the day, and no limit is used up.
    available: bool,
    /// Whether its recipients include the person.
    entitled: bool,
    /// Why it can be had, or why not.
    why: Vec<Text>,
    /// Where the recipients do not include the person: what would be needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<MissingGroups>,
    /// The first local day of this version.
    valid_from: String,
    /// The last one; none where it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<String>,
    grantor: Named,
    benefit: GrantedBenefit,
    /// What it gives, in words.
    effect: Text,
    /// What has to be bought.
    content: Text,
    /// Where.
    scope: Text,
    /// When.
    schedule: Text,
    /// Its limits with what is left of each now; of one that is not for the person none.
    limits: Vec<OwnLimit>,
    /// The person's points under the benefit, where it moves points.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<i64>,
}

/// The benefit that an instruction carries out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GrantedBenefit {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Text>,
    /// `discount`, `compensation`, `subsidy`, `allowance` or `loyalty`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// The law, regulation or contract that grants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    legal_basis: Option<String>,
}

/// Groups that a person would have to be in, or not in. A group that is a list is never told.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct MissingGroups {
    /// In some of these.
    one_of: Vec<Named>,
    /// In all of these.
    all_of: Vec<Named>,
    /// In none of these.
    none_of: Vec<Named>,
}

/// A limit, and what is left of it now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnLimit {
    /// `recipient`, `household` or `instruction`.
    per: &'static str,
    /// `basket`, `day`, `week`, `month`, `year` or `validity`.
    period: &'static str,
    /// `uses`, `units` or `amount_cents`.
    measure: &'static str,
    max: i64,
    left: i64,
    /// The local day on which it starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    renews_on: Option<String>,
    text: Text,
}

/// A page of instructions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnBenefits {
    /// The local day.
    date: String,
    /// Those for the person first, then by instruction.
    benefits: Vec<OwnBenefit>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What the recipient can get today and why, what is left of each limit, and what would be needed for
/// other benefits.
#[utoipa::path(get, path = "/v1/me/benefits", tag = "me",
    operation_id = "own_benefits", security(("token" = [])),
    params(Asked), responses((status = 200, body = OwnBenefits), Refusals))]
pub(super) async fn list(asking: Asking<Asked>) -> Result<Response, Problem> {
    let Asking { door, person, query } = asking;
    let names = door.names().await?;
    let (benefits, next_cursor) = page(&door, &person, &names, &query).await?;
    let page = OwnBenefits { date: person.day.to_string(), benefits, next_cursor };
    own_page(&page, page.next_cursor.as_deref())
}

/// Every page in one.
pub(super) async fn all(
    door: &Door,
    person: &Person,
    names: &Names,
) -> Result<Vec<OwnBenefit>, Problem> {
    let (mut all, mut asked) = (Vec::new(), Asked::default());
    loop {
        let (benefits, next) = page(door, person, names, &asked).await?;
        all.extend(benefits);
        if next.is_none() {
            return Ok(all);
        }
        asked.cursor = next;
    }
}

async fn page(
    door: &Door,
    person: &Person,
    names: &Names,
    asked: &Asked,
) -> Result<(Vec<OwnBenefit>, Option<String>), Problem> {
    let Some(recipient) = &person.recipient else { return Ok((Vec::new(), None)) };
    let rules = door.authoriser.rules();
    let entries = entries(&rules, recipient, person.day, names);
    let wanted = entries.into_iter().filter(|entry| match &asked.instruction {
        Some(id) => entry.standing.instruction().id.as_str() == id,
        None => true,
    });
    let place = PageAsked { cursor: asked.cursor.clone(), limit: asked.limit.clone() };
    let (entries, next) = cut(wanted.collect(), &place, USUAL, Entry::key)?;
    let counters = entries.iter().filter(|entry| entry.standing.is_for);
    let counters: Vec<_> = counters.flat_map(|entry| entry.standing.limits()).collect();
    let mut left = door.authoriser.left(counters).await?.into_iter();
    let points: HashMap<_, _> = door.authoriser.points(person.id).await?.into_iter().collect();
    let told = entries.into_iter().map(|entry| {
        let limits = if entry.standing.is_for { entry.standing.limits().count() } else { 0 };
        let limits: Vec<_> = left.by_ref().take(limits).collect();
        entry.told(recipient, person.day, names, &limits, &points)
    });
    Ok((told.collect(), next))
}

/// An instruction that the person is told of.
struct Entry<'a> {
    standing: Standing<'a, 'a>,
    missing: Option<MissingGroups>,
}

/// The instructions valid on a day that a person is told of.
fn entries<'a>(
    rules: &'a RuleSet,
    recipient: &'a Recipient,
    day: NaiveDate,
    names: &Names,
) -> Vec<Entry<'a>> {
    let entry = |standing: Standing<'a, 'a>| {
        let missing = match standing.is_for {
            true => None,
            false => Some(missing(standing.instruction(), recipient, names)?),
        };
        Some(Entry { standing, missing })
    };
    rules.standings(recipient, day).filter_map(entry).collect()
}

/// What a person lacks of an instruction's recipients; nothing where that is a list, since who is on
/// one is not public.
fn missing(
    instruction: &Instruction,
    recipient: &Recipient,
    names: &Names,
) -> Option<MissingGroups> {
    let recipients = &instruction.recipients;
    let member = |group: &&GroupId| recipient.groups.contains(*group);
    let public =
        |group: &GroupId| names.public_group(group).map(|of| named(of.id.as_str(), Some(&of.name)));
    let mut missing = MissingGroups::default();
    let excluding = recipients.none.iter().filter(member);
    missing.none_of = excluding.map(public).collect::<Option<_>>()?;
    if recipients.everyone {
        return Some(missing);
    }
    let lacking = recipients.all.iter().filter(|group| !member(group));
    missing.all_of = lacking.map(public).collect::<Option<_>>()?;
    if !recipients.any.is_empty() && !recipients.any.iter().any(|group| member(&group)) {
        missing.one_of = recipients.any.iter().filter_map(public).collect();
        if missing.one_of.is_empty() {
            return None;
        }
    }
    Some(missing)
}

impl Entry<'_> {
    /// Where it comes in the list.
    fn key(&self) -> String {
        let after = if self.standing.is_for { 'a' } else { 'b' };
        format!("{after}:{}", self.standing.instruction().id)
    }

    fn told(
        self,
        recipient: &Recipient,
        day: NaiveDate,
        names: &Names,
        left: &[(Limit, i64)],
        points: &HashMap<BenefitId, i64>,
    ) -> OwnBenefit {
        let Self { standing, missing } = self;
        let (instruction, entitled) = (standing.instruction(), standing.is_for);
        let used_up = left.iter().any(|(_, left)| *left <= 0);
        let today = instruction.schedule.as_ref().is_none_or(|of| of.holds_on(day));
        let mut why = match &missing {
            Some(missing) => missing.told(),
            None => reasons(instruction, recipient, names),
        };
        if entitled && used_up {
            why.push(words::text("Limits ir izlietots", "The limit is used up"));
        }
        if entitled && !today {
            why.push(words::text("Šajā dienā nedarbojas", "Not on this day"));
        }
        let moves_points = entitled && instruction.effect.moves_points();
        OwnBenefit {
            instruction: instruction.id.to_string(),
            version: instruction.version,
            label: told(&instruction.label),
            available: entitled && today && !used_up,
            entitled,
            why,
            missing,
            valid_from: instruction.valid.from.to_string(),
            valid_to: instruction.valid.to.map(|to| to.to_string()),
            grantor: names.grantor(standing.grantor().as_str()),
            benefit: GrantedBenefit::of(&instruction.benefit, names),
            effect: words::effect(&instruction.effect),
            content: words::content(&instruction.content, names),
            scope: words::scope(&instruction.scope, names),
            schedule: words::schedule(instruction.schedule.as_ref()),
            limits: left.iter().map(|(limit, left)| OwnLimit::of(limit, *left, day)).collect(),
            points: moves_points.then(|| points.get(&instruction.benefit).copied().unwrap_or(0)),
        }
    }
}

/// Why an instruction's recipients include a person. Of lists only that there is one.
fn reasons(instruction: &Instruction, recipient: &Recipient, names: &Names) -> Vec<Text> {
    let recipients = &instruction.recipients;
    if recipients.everyone {
        return vec![words::text("Pieejams ikvienam", "For everybody")];
    }
    let own = recipients.any.iter().chain(&recipients.all);
    let own = own.filter(|group| recipient.groups.contains(*group));
    let mut why: Vec<Text> = Vec::new();
    for group in own {
        let reason = match names.public_group(group) {
            Some(Group { id, name, .. }) => {
                let or_id = |name: &str| if name.is_empty() { id.to_string() } else { name.into() };
                words::text(
                    format!("Jūs esat grupā: {}", or_id(&name.lv)),
                    format!("You are in: {}", or_id(&name.en)),
                )
            }
            None => words::text("Devējs Jūs ir norādījis", "The grantor has named you"),
        };
        if !why.contains(&reason) {
            why.push(reason);
        }
    }
    why
}

impl MissingGroups {
    fn told(&self) -> Vec<Text> {
        let groups = [
            ("Jābūt kādā no grupām", "Be in one of", &self.one_of),
            ("Jābūt visās grupās", "Be in all of", &self.all_of),
            ("Nedrīkst būt grupās", "Be in none of", &self.none_of),
        ];
        let some = groups.into_iter().filter(|(.., groups)| !groups.is_empty());
        let told = some.map(|(lv, en, groups)| {
            let names: Vec<Text> = groups.iter().cloned().map(Named::text).collect();
            let names = words::list(&names);
            words::text(format!("{lv}: {}", names.lv), format!("{en}: {}", names.en))
        });
        told.collect()
    }
}

impl GrantedBenefit {
    fn of(id: &BenefitId, names: &Names) -> Self {
        let benefit = names.benefit(id);
        Self {
            id: id.to_string(),
            name: benefit.map(|of| told(&of.name)),
            kind: benefit.map(|of| of.kind.code()),
            legal_basis: benefit.and_then(|of| of.legal_basis.clone()),
        }
    }
}

impl OwnLimit {
    fn of(limit: &Limit, left: i64, day: NaiveDate) -> Self {
        Self {
            per: limit.per.code(),
            period: limit.period.code(),
            measure: limit.measure.code(),
            max: limit.max,
            left,
            renews_on: renewal(limit.period, day).map(|day| day.to_string()),
            text: words::limit(limit, left),
        }
    }
}

/// The first day of the period after the one that holds `day`.
fn renewal(period: Period, day: NaiveDate) -> Option<NaiveDate> {
    match period {
        Period::Basket | Period::Validity => None,
        Period::Day => day.succ_opt(),
        Period::Week => start_of_week(day).checked_add_days(Days::new(7)),
        Period::Month => Some(Month::of(day).next().first_day()),
        Period::Year => start_of_year(day).with_year(day.year() + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_starts_anew_the_day_after_its_last() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a day");
        let after = |period| renewal(period, day("2024-12-30")).map(|day| day.to_string());
        assert_eq!(after(Period::Day).as_deref(), Some("2024-12-31"));
        assert_eq!(after(Period::Week).as_deref(), Some("2025-01-06"));
        assert_eq!(after(Period::Month).as_deref(), Some("2025-01-01"));
        assert_eq!(after(Period::Year).as_deref(), Some("2025-01-01"));
        assert_eq!((after(Period::Basket), after(Period::Validity)), (None, None));
    }
}
