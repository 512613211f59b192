//! Groups: who is a member on which day, by condition and by list.

use chrono::{DateTime, Utc};
use domain::{
    id::GroupId,
    period::start_of_day,
    recipient::{Group, Member, Membership},
    text::Text,
};
use ingest::{
    register::{memberships::Memberships, people::People},
    topic::Topic,
    vault::Vault,
};
use pipelines::groups::Groups;
use serde_json::{Value, json};

use crate::people::{Register, code, day};

fn group(id: &str, members: Membership) -> Group {
    Group { id: GroupId::new(id).expect("an id"), name: Text::default(), grantor: None, members }
}

/// The runs of days that each of some people has in the group of a condition, from a day on.
async fn runs(condition: &str, from: &str, attributes: &[Value]) -> Vec<Vec<String>> {
    let group = group("g", Membership::Where(condition.into()));
    runs_of(|_| group, from, attributes).await
}

async fn runs_of(
    group: impl FnOnce(&Vault) -> Group,
    from: &str,
    attributes: &[Value],
) -> Vec<Vec<String>> {
    let register = Register::new();
    let mut whom = Vec::new();
    for (number, attributes) in (0_u32..).zip(attributes) {
        register.change(number, 1, DateTime::<Utc>::UNIX_EPOCH, attributes.clone()).await;
        whom.push(register.id(number));
    }
    let mut people = People::default();
    for stored in register.log.read(Topic::PersonChanges, 0, 0, 1_000).await.expect("records") {
        people.apply(&register.vault, &stored).expect("applied");
    }
    let groups = Groups::new(&[group(&register.vault)], &register.vault);
    let from = start_of_day(day(from));
    let whom: Vec<_> = whom.into_iter().map(|id| (id, from)).collect();
    let evaluated = groups.evaluate(&people, &Memberships::default(), &whom, &register.vault);
    let run = |days: &ingest::wire::v1::GroupDays| {
        format!("{} to {}", days.from, days.until.as_deref().unwrap_or("open"))
    };
    let evaluated = evaluated.expect("evaluated");
    evaluated.iter().map(|person| person.groups.iter().map(run).collect()).collect()
}

/// Who is a member on the first day.
async fn members(condition: &str, attributes: &[Value]) -> Vec<bool> {
    let runs = runs(condition, "2025-06-01", attributes).await;
    runs.iter().map(|runs| runs.iter().any(|run| run.starts_with("2025-06-01"))).collect()
}

#[tokio::test]
async fn ages_change_on_birthdays_and_a_leapling_s_on_the_first_of_march() {
    let people = [json!({"birth_date": "2004-02-29"}), json!({"birth_date": "2004-03-15"})];
    let grown = runs("age(birth_date) >= 18", "2022-02-01", &people).await;
    assert_eq!(grown, [["2022-03-01 to open"], ["2022-03-15 to open"]]);
    let young = runs("age(birth_date) < 18", "2022-02-01", &people).await;
    assert_eq!(young, [["2022-02-01 to 2022-03-01"], ["2022-02-01 to 2022-03-15"]]);
    let seventeen = runs("age(birth_date) = 17", "2021-02-27", &people).await;
    assert_eq!(seventeen, [["2021-03-01 to 2022-03-01"], ["2021-03-15 to 2022-03-15"]]);
}

#[tokio::test]
async fn on_the_birthday_itself_the_year_is_full() {
    let person = [json!({"birth_date": "1960-06-01"})];
    assert_eq!(members("age(birth_date) >= 65", &person).await, [true]);
    let next_day = [json!({"birth_date": "1960-06-02"})];
    assert_eq!(members("age(birth_date) >= 65", &next_day).await, [false]);
}

#[tokio::test]
async fn ages_of_other_dates_change_on_their_own_days() {
    let person = [json!({"birth_date": "1990-01-01", "resident_since_date": "2022-09-10"})];
    let settled = runs("age(resident_since_date) >= 3", "2025-06-01", &person).await;
    assert_eq!(settled, [["2025-09-10 to open"]]);
}

#[tokio::test]
async fn a_family_counts_the_living_and_oneself() {
    let family = [
        json!({"birth_date": "1980-05-05", "family_id": "F", "status": "alive"}),
        json!({"birth_date": "2007-07-07", "family_id": "F", "status": "alive"}),
        json!({"birth_date": "2023-01-31", "family_id": "F"}),
        json!({"birth_date": "2024-01-01", "family_id": "F", "status": "dead"}),
        json!({"birth_date": "2020-01-01"}),
    ];
    assert_eq!(
        members("family_size = 3", &family).await,
        [true, true, true, true, false],
        "the dead are not counted"
    );
    assert!(members("family_size = 1", &family).await[4], "alone a family of one");
    assert!(members("family_children = 1", &family).await[4], "oneself included");
    let children = runs("family_children = 2", "2025-06-01", &family[..1]).await;
    assert_eq!(children, [[""; 0]; 1], "who is not told of is in no family");
    let children = runs("family_children = 2", "2025-06-01", &family).await;
    assert_eq!(children[0], ["2025-06-01 to 2025-07-07"], "a child turns 18");
    let infant = runs("age(family_youngest_birth_date) < 3", "2025-06-01", &family).await;
    assert_eq!(infant[1], ["2025-06-01 to 2026-01-31"]);
}

#[tokio::test]
async fn what_is_missing_is_null_and_null_is_no_member() {
    let people = [
        json!({}),
        json!({"student": null, "territory": null, "disability_group": null}),
        json!({"student": false, "territory": "LV0001000", "disability_group": 2}),
        Value::Null,
    ];
    for condition in [
        "NOT student",
        "student = false",
        "territory LIKE 'LV0001%'",
        "territory <> 'LV0002000'",
        "disability_group IN (1, 2, 3)",
        "disability_group > 1 AND NOT student",
    ] {
        for (at, wanted) in [false, false, true, false].into_iter().enumerate() {
            let alone = members(condition, &people[at..=at]).await;
            assert_eq!(alone, [wanted], "{condition}: {} alone", people[at]);
        }
        let together = members(condition, &people).await;
        assert_eq!(together, [false, false, true, false], "{condition}: together");
    }
    assert_eq!(members("student IS NULL", &people).await, [true, true, false, true]);
}

#[tokio::test]
async fn one_odd_value_takes_nobody_else_along() {
    let people = [
        json!({"disability_group": 1}),
        json!({"disability_group": "unknown"}),
        json!({"disability_group": 2, "birth_date": "no date"}),
        json!({"disability_group": [1]}),
        json!({"disability_group": 1.5}),
    ];
    let members_of = members("disability_group = 1", &people).await;
    assert_eq!(members_of, [true, false, false, false, false]);
    let dated = members("age(birth_date) > 3 OR disability_group = 2", &people).await;
    assert_eq!(dated, [false, false, true, false, false]);
}

#[tokio::test]
async fn a_condition_that_fails_for_one_person_holds_for_the_others() {
    let people = [json!({"a": 0}), json!({"a": 4}), json!({"a": 3}), json!({"a": 0})];
    assert_eq!(members("12 / a = 3", &people).await, [false, true, false, false]);
}

#[tokio::test]
async fn a_term_is_not_asked_of_those_whom_another_leaves_out() {
    let attributes = [json!({"rooms": 4}), json!({"rooms": 0}), json!({"rooms": 3})];
    for condition in [
        "rooms <> 0 AND 12 / rooms = 3",
        "(rooms <> 0 AND 12 / rooms = 3)",
        "12 / rooms = 3",
        "rooms > 1 AND (rooms <> 0 AND 12 / rooms = 3)",
    ] {
        assert_eq!(members(condition, &attributes).await, [true, false, false], "{condition}");
    }
    // What is no boolean makes no condition, be it a term or the whole.
    assert_eq!(members("rooms AND rooms > 3", &attributes).await, [false; 3]);
}

#[tokio::test]
async fn a_list_names_its_members() {
    let staff = |vault: &Vault| {
        let listed = [1, 77].map(|number| Member::Person(vault.person_token(&code(number))));
        group("staff", Membership::List(listed.into()))
    };
    let people = [json!({}), json!({"birth_date": "1990-01-01"})];
    let runs = runs_of(staff, "2025-06-01", &people).await;
    assert_eq!(runs, [vec![], vec!["2025-06-01 to open".to_owned()]]);
}

#[test]
fn conditions_are_checked_when_the_registry_is() {
    use pipelines::groups::check;
    for right in [
        "true",
        "large_family AND status = 'alive'",
        "age(birth_date) BETWEEN 18 AND 25 OR family_children >= 3",
        "territory LIKE 'LV0001%' AND coalesce(disability_group, 0) = 0",
        "\"Attribute with spaces\" IS NOT NULL",
    ] {
        assert_eq!(check(right), None, "{right}");
    }
    for wrong in [
        "",
        "age(birth_date) >=",
        "SELECT 1",
        "EXISTS (SELECT 1)",
        "count(*) > 1",
        "row_number() OVER () = 1",
        "now() > birth_date",
        "birth_date > current_date",
    ] {
        assert!(check(wrong).is_some(), "{wrong}");
    }
}
