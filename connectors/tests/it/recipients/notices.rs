//! Notices: what begins, ends, is used up or unused, each told once and by the same id every day.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{CODES, Country, READS, noon};

/// The notices' kinds and what they are about, by day.
fn told(answer: &Value) -> Vec<(String, String, String)> {
    let notices = answer["notifications"].as_array().expect("a list").iter();
    let text = |of: &Value| of.as_str().unwrap_or("-").to_owned();
    let all = notices.map(|of| (text(&of["date"]), text(&of["kind"]), text(&of["instruction"])));
    all.collect()
}

fn said(date: &str, kind: &str, instruction: &str) -> (String, String, String) {
    (date.into(), kind.into(), instruction.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_of_what_begins_ends_and_is_not_used() {
    let country = Country::new().await;
    let (node, senior) = (country.start().await, country.senior);
    let answer = node.get(senior, READS[3]).await;
    // `far` begins on the thirty-first day from today, and is not told yet.
    let expected = [
        said("2025-05-20", "benefit_began", "ending"),
        said("2025-06-02", "benefit_unused", "senior-milk"),
        said("2025-06-10", "benefit_expires", "ending"),
        said("2025-06-15", "means_expires", "-"),
        said("2025-06-20", "benefit_begins", "soon"),
    ];
    assert_eq!(told(&answer), expected, "{answer:#}");
    let begins = &answer["notifications"][4];
    assert_eq!(
        begins["text"],
        json!({"lv": "No 20.06.2025. varat saņemt atvieglojumu “Ogas”.",
            "en": "From 2025-06-20 you can get the benefit “Berries”."})
    );
    let link = begins["link"].as_str().expect("a link");
    assert_eq!(node.get(senior, link).await["benefits"], json!([]), "not valid today");
    let link = answer["notifications"][1]["link"].as_str().expect("a link");
    assert_eq!(node.get(senior, link).await["benefits"][0]["instruction"], "senior-milk");
    node.sell("s1", CODES[0], 4).await;
    let used = node.get(senior, READS[3]).await;
    assert!(told(&used).contains(&said("2025-06-02", "limit_nearly_used", "senior-milk")));
    assert!(!told(&used).contains(&said("2025-06-02", "benefit_unused", "senior-milk")));
    node.sell("s2", CODES[0], 1).await;
    let used = node.get(senior, READS[3]).await;
    assert!(told(&used).contains(&said("2025-06-02", "limit_used_up", "senior-milk")));
    let student = node.get(country.student, READS[3]).await;
    assert_eq!(told(&student), [said("2025-06-02", "benefit_unused", "student-bread")]);
    country.clock.advance_to(noon() + TimeDelta::days(9));
    let later = node.get(senior, READS[3]).await;
    let id = |answer: &Value, kind: &str| {
        let notices = answer["notifications"].as_array().expect("a list").iter();
        notices.clone().find(|of| of["kind"] == kind).map(|of| of["id"].clone())
    };
    assert!(told(&later).contains(&said("2025-06-10", "benefit_ended", "ending")));
    assert_eq!(id(&later, "means_expires"), id(&answer, "means_expires"), "the same each day");
    assert_eq!(id(&later, "limit_used_up"), id(&used, "limit_used_up"), "the same all month");
    country.clock.advance_to(noon() + TimeDelta::days(92));
    let september = node.get(senior, READS[3]).await;
    let unused = said("2025-09-02", "benefit_unused", "senior-milk");
    assert!(told(&september).contains(&unused), "{september:#}");
    node.stop().await;
}

/// Somebody who becomes a senior on one day and is none from another.
#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_begins_or_ends_is_told_as_the_days_say() {
    let country = Country::new().await;
    let student = country.student;
    country.evaluate(student, "seniors", "2025-05-30", Some("2025-06-06")).await;
    let node = country.start().await;
    let answer = node.get(student, READS[3]).await;
    let own = |kind: &str| {
        let all = told(&answer).into_iter().filter(|(_, of, _)| of == kind);
        all.map(|(date, _, instruction)| (date, instruction)).collect::<Vec<_>>()
    };
    let on = |date: &str, instruction: &str| (date.to_owned(), instruction.to_owned());
    assert_eq!(own("benefit_began"), [on("2025-05-30", "ending"), on("2025-05-30", "senior-milk")]);
    assert_eq!(own("benefit_ended"), [on("2025-05-29", "student-bread")]);
    assert_eq!(
        own("benefit_expires"),
        [on("2025-06-05", "ending"), on("2025-06-05", "senior-milk")]
    );
    assert_eq!(own("benefit_begins"), [], "soon begins after the membership");
    node.stop().await;
}
