//! Proactive notices: what begins, ends, is nearly used up or not used at all. They are worked out for
//! today from the registers and the rules in force, and kept nowhere.

use std::collections::{BTreeMap, BTreeSet};

use authoriser::{history::History, refresh::read, rules::RuleSet};
use axum::response::Response;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{
    authorisation::Status,
    id::InstructionId,
    identification_means::Means,
    instruction::Instruction,
    limit::{Limit, Per, Period},
    period::start_of_day,
    recipient::Recipient,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    http::{Asking, Door, Person, USUAL, own_page},
    names::Names,
    transactions::PAGE,
    words,
};
use crate::{
    edge::page::{PageAsked, cut},
    problem::Problem,
    terminal::{openapi::Refusals, wire::Text},
};

/// How many days before and after something happens it is told.
const NEAR_DAYS: i64 = 30;
/// After how many days without use that is told.
const UNUSED_DAYS: i64 = 90;
/// A limit is nearly used when at most this share of it is left.
const NEARLY: i64 = 5;
/// The most pages of transactions that are looked through for uses; with more, nothing is said of
/// what is not used.
const MOST_PAGES: usize = 10;

/// A notice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Notice {
    /// The same each day for the same happening.
    id: String,
    /// `benefit_begins`, `benefit_began`, `benefit_expires`, `benefit_ended`, `limit_nearly_used`,
    /// `limit_used_up`, `benefit_unused` or `means_expires`.
    kind: &'static str,
    /// The local day that it is about: the first or the last one, or today.
    date: String,
    text: Text,
    /// The instruction, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    instruction: Option<String>,
    /// Where to read on.
    link: String,
}

/// A page of notices.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Notices {
    /// By day.
    notifications: Vec<Notice>,
    /// Where the next page begins; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What the recipient should know today, without having asked.
#[utoipa::path(get, path = "/v1/me/notifications", tag = "me",
    operation_id = "own_notifications", security(("token" = [])),
    params(PageAsked), responses((status = 200, body = Notices), Refusals))]
pub(super) async fn list(asking: Asking<PageAsked>) -> Result<Response, Problem> {
    let Asking { door, person, query } = asking;
    let names = door.names().await?;
    let all = all(&door, &person, &names).await?;
    let key = |notice: &Notice| format!("{} {}", notice.date, notice.id);
    let (notifications, next_cursor) = cut(all, &query, USUAL, key)?;
    let page = Notices { notifications, next_cursor };
    own_page(&page, page.next_cursor.as_deref())
}

/// Every notice of a person's, in no order.
pub(super) async fn all(
    door: &Door,
    person: &Person,
    names: &Names,
) -> Result<Vec<Notice>, Problem> {
    let rules = door.authoriser.rules();
    let days = Days::of(door, &rules, person);
    let mut notices = Vec::new();
    days.turns(&mut notices);
    limits(door, &rules, person, &mut notices).await?;
    unused(door, person, &days, &mut notices).await?;
    let people = read(door.authoriser.people());
    let means = people.means_of(person.id);
    notices.extend(means.filter_map(|means| expiring(&means, person.day, names)));
    Ok(notices)
}

/// The instructions whose recipients include the person, on each day about today.
struct Days<'a> {
    today: NaiveDate,
    /// From the day before the first that is told of to the day after the last.
    near: Vec<(NaiveDate, Held<'a>)>,
    /// When a use would have to be for today's not to be unused.
    long_ago: (NaiveDate, Held<'a>),
}

type Held<'a> = BTreeMap<&'a InstructionId, &'a Instruction>;

impl<'a> Days<'a> {
    fn of(door: &Door, rules: &'a RuleSet, person: &Person) -> Self {
        let asked = (-NEAR_DAYS - 1..=NEAR_DAYS + 1).chain([-UNUSED_DAYS]);
        let days = asked.map(|after| after_days(person.day, after));
        // First who the person was on each day, then what that means: decisions look people up, too.
        let recipients = {
            let people = read(door.authoriser.people());
            let on = |day| {
                // What was known that day; of days to come what is known now.
                let its_end = start_of_day(after_days(day, 1)) - TimeDelta::microseconds(1);
                let known = people.person(person.id, its_end.min(person.now), day);
                (day, known.recipient)
            };
            days.map(on).collect::<Vec<_>>()
        };
        let on = |(day, of): (NaiveDate, Option<Recipient>)| {
            (day, of.map(|of| held(rules, &of, day)).unwrap_or_default())
        };
        let mut near: Vec<_> = recipients.into_iter().map(on).collect();
        let long_ago = near.pop().unwrap_or_default();
        Self { today: person.day, near, long_ago }
    }

    fn now(&self) -> Option<&Held<'a>> {
        self.near.iter().find(|(day, _)| *day == self.today).map(|(_, held)| held)
    }

    /// Notes what begins and what ends.
    fn turns(&self, notices: &mut Vec<Notice>) {
        for days in self.near.windows(2) {
            let [(day, before), (next, after)] = days else { continue };
            for (id, instruction) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
                // Of the last day in the window only the end could be told, and that is not near.
                if *next <= after_days(self.today, NEAR_DAYS) {
                    notices.push(begins(id, instruction, *next, self.today));
                }
            }
            for (id, instruction) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
                if *day >= after_days(self.today, -NEAR_DAYS) {
                    notices.push(ends(id, instruction, *day, self.today));
                }
            }
        }
    }
}

fn held<'a>(rules: &'a RuleSet, recipient: &Recipient, day: NaiveDate) -> Held<'a> {
    let standings = rules.standings(recipient, day).filter(|standing| standing.is_for);
    standings.map(|of| of.instruction()).map(|of| (&of.id, of)).collect()
}

fn after_days(day: NaiveDate, days: i64) -> NaiveDate {
    day.checked_add_signed(TimeDelta::days(days)).unwrap_or(day)
}

fn begins(
    id: &InstructionId,
    instruction: &Instruction,
    day: NaiveDate,
    today: NaiveDate,
) -> Notice {
    let (label, on) = (&instruction.label, words::day(day));
    let (kind, since, from) = match day > today {
        true => ("benefit_begins", "No", "From"),
        false => ("benefit_began", "Kopš", "Since"),
    };
    let text = words::text(
        format!("{since} {} varat saņemt atvieglojumu “{}”.", on.lv, label.lv),
        format!("{from} {} you can get the benefit “{}”.", on.en, label.en),
    );
    Notice::of_instruction(kind, id, day, text, &day.to_string())
}

fn ends(id: &InstructionId, instruction: &Instruction, day: NaiveDate, today: NaiveDate) -> Notice {
    let (label, on) = (&instruction.label, words::day(day));
    if day < today {
        let text = words::text(
            format!("Atvieglojuma “{}” pēdējā diena bija {}", label.lv, on.lv),
            format!("The last day of the benefit “{}” was {}.", label.en, on.en),
        );
        return Notice::of_instruction("benefit_ended", id, day, text, &day.to_string());
    }
    let text = words::text(
        format!("Atvieglojuma “{}” pēdējā diena ir {}", label.lv, on.lv),
        format!("The last day of the benefit “{}” is {}.", label.en, on.en),
    );
    Notice::of_instruction("benefit_expires", id, day, text, &day.to_string())
}

/// Notes the limits of today's instructions of which little or nothing is left. Those that start anew
/// within a day or belong to all recipients together are nobody's notice.
async fn limits(
    door: &Door,
    rules: &RuleSet,
    person: &Person,
    notices: &mut Vec<Notice>,
) -> Result<(), Problem> {
    let Some(recipient) = &person.recipient else { return Ok(()) };
    let told = |limit: &Limit| {
        limit.per != Per::Instruction && !matches!(limit.period, Period::Basket | Period::Day)
    };
    let standings = rules.standings(recipient, person.day).filter(|standing| standing.is_for);
    let (mut of, mut asked) = (Vec::new(), Vec::new());
    for standing in standings {
        for (limit, counter) in standing.limits().filter(|(limit, _)| told(limit)) {
            of.push(standing.instruction());
            asked.push((limit, counter));
        }
    }
    let left = door.authoriser.left(asked).await?;
    for (instruction, (limit, left)) in of.into_iter().zip(left) {
        notices.extend(nearly_used(instruction, &limit, left, person.day));
    }
    Ok(())
}

fn nearly_used(
    instruction: &Instruction,
    limit: &Limit,
    left: i64,
    today: NaiveDate,
) -> Option<Notice> {
    let kind = match left {
        ..=0 => "limit_used_up",
        _ if left.saturating_mul(NEARLY) <= limit.max => "limit_nearly_used",
        _ => return None,
    };
    let (label, told) = (&instruction.label, words::limit(limit, left));
    let text = words::text(
        format!("Atvieglojums “{}”: {}.", label.lv, told.lv),
        format!("The benefit “{}”: {}.", label.en, told.en),
    );
    let Limit { per, period, measure, .. } = limit;
    let since = period.start(today, instruction.valid.from);
    let which = format!("{}:{}:{}:{since}", per.code(), period.code(), measure.code());
    Some(Notice::of_instruction(kind, &instruction.id, today, text, &which))
}

/// Notes what the person could have used for long and has not; nothing of what everybody can get.
async fn unused(
    door: &Door,
    person: &Person,
    days: &Days<'_>,
    notices: &mut Vec<Notice>,
) -> Result<(), Problem> {
    let (since, long_ago) = &days.long_ago;
    let own =
        days.now().into_iter().flatten().filter(|(id, instruction)| {
            !instruction.recipients.everyone && long_ago.contains_key(*id)
        });
    let own: Vec<_> = own.collect();
    if own.is_empty() {
        return Ok(());
    }
    let Some(used) = used_since(door, person, start_of_day(*since)).await? else { return Ok(()) };
    for (id, instruction) in own.into_iter().filter(|(id, _)| !used.contains(id.as_str())) {
        let label = &instruction.label;
        let text = words::text(
            format!("Atvieglojums “{}” nav izmantots vismaz {UNUSED_DAYS} dienas.", label.lv),
            format!("The benefit “{}” was not used for {UNUSED_DAYS} days at least.", label.en),
        );
        notices.push(Notice::of_instruction("benefit_unused", id, days.today, text, ""));
    }
    Ok(())
}

/// The instructions that gave something to the person since an instant; none where there is too much
/// to look through.
async fn used_since(
    door: &Door,
    person: &Person,
    since: DateTime<Utc>,
) -> Result<Option<BTreeSet<String>>, Problem> {
    let since = since.timestamp_micros();
    let (mut used, mut before) = (BTreeSet::new(), None);
    for _ in 0..MOST_PAGES {
        let page = door.authoriser.authorisations(person.id, before, PAGE).await?;
        let is_use = |history: &&History| {
            let ended = matches!(history.status(), Status::Voided | Status::Expired);
            history.decided.occurred_at >= since && !ended
        };
        for history in page.authorisations.iter().filter(is_use) {
            let applied = history.decided.instructions.iter().filter(|of| of.reason.is_none());
            used.extend(applied.map(|of| of.instruction_id.clone()));
        }
        // Decisions are numbered by the microsecond, and nothing is decided before it happens.
        match page.next {
            Some(next) if i64::try_from(next.order).is_ok_and(|order| order >= since) => {
                before = Some(next);
            }
            _ => return Ok(Some(used)),
        }
    }
    Ok(None)
}

fn expiring(means: &Means, today: NaiveDate, names: &Names) -> Option<Notice> {
    let last = means.valid.to?;
    let is_near = last >= today && last <= after_days(today, NEAR_DAYS);
    if means.blocked || !is_near {
        return None;
    }
    let (issuer, on) = (names.issuer(means.issuer.as_str()).text(), words::day(last));
    Some(Notice {
        id: format!("means_expires:{}:{last}", means.token),
        kind: "means_expires",
        date: last.to_string(),
        text: words::text(
            format!("Identifikācijas līdzekļa ({}) pēdējā diena ir {}", issuer.lv, on.lv),
            format!("The last day of your means of identification ({}) is {}.", issuer.en, on.en),
        ),
        instruction: None,
        link: "/v1/me/means".into(),
    })
}

impl Notice {
    /// A notice about an instruction; `which` tells it from others of its kind.
    fn of_instruction(
        kind: &'static str,
        id: &InstructionId,
        day: NaiveDate,
        text: Text,
        which: &str,
    ) -> Self {
        Self {
            id: format!("{kind}:{id}:{which}").trim_end_matches(':').to_owned(),
            kind,
            date: day.to_string(),
            text,
            instruction: Some(id.to_string()),
            link: format!("/v1/me/benefits?instruction={id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::limit::Measure;

    use super::*;
    use ingest::register::registry::decode_all;
    use serde_json::json;

    #[test]
    fn a_limit_is_told_from_a_fifth_on_and_by_one_id_within_its_period() {
        let document = json!({"instructions": [{
            "id": "i", "benefit": "b", "label": "I", "version": 1, "priority": 1,
            "valid": {"from": "2025-01-01", "to": null}, "recipients": {"everyone": true},
            "funding": {"grantor_bp": 10_000}, "effect": {"percent_off_bp": 100},
        }]});
        let registry = decode_all(&document).registry;
        let instruction = registry.instructions.first().expect("one");
        let limit =
            Limit { per: Per::Recipient, period: Period::Month, measure: Measure::Uses, max: 10 };
        let told = |left, day: &str| {
            let notice = nearly_used(instruction, &limit, left, day.parse().expect("a day"))?;
            Some((notice.kind, notice.id))
        };
        assert_eq!(told(3, "2025-06-02"), None);
        let (kind, first) = told(2, "2025-06-02").expect("told");
        assert_eq!(kind, "limit_nearly_used");
        assert_eq!(told(1, "2025-06-30").expect("told").1, first, "the same month");
        assert_ne!(told(1, "2025-07-01").expect("told").1, first, "the next one");
        assert_eq!(told(0, "2025-06-02").expect("told").0, "limit_used_up");
        assert_eq!(told(-1, "2025-06-02").expect("told").0, "limit_used_up");
    }
}
