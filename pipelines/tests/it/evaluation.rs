//! Evaluation as people and registry change: what a restart changes (nothing), and whether one
//! change at a time and all at once agree.

use chrono::{DateTime, Days, TimeDelta, Utc};
use domain::period::LocalTime;
use ingest::{
    log::model::Fault,
    register::{memberships::Memberships, people::People},
    topic::Topic,
};
use pipelines::groups::Groups;
use serde_json::{Value, json};

use crate::{
    history::at,
    people::{Register, day},
};

#[tokio::test]
async fn a_change_tells_of_the_person_and_both_families() {
    let register = Register::new();
    register.group("pairs", "family_size = 2", at("2025-01-01T00:00:00Z")).await;
    let member = |family: &str| json!({"birth_date": "1990-01-01", "family_id": family});
    for number in 0..2 {
        register.change(number, 1, at("2025-01-02T00:00:00Z"), member("F")).await;
    }
    register.change(2, 1, at("2025-01-02T00:00:00Z"), member("G")).await;
    assert_eq!(register.evaluate().await, 3);
    assert_eq!(register.groups(0, day("2025-02-01")).await, ["pairs"]);
    // Person 1 moves from the one family to the other: all three are told of.
    register.change(1, 2, at("2025-02-02T10:00:00Z"), member("G")).await;
    assert_eq!(register.evaluate().await, 3);
    assert_eq!(register.evaluate().await, 0, "nothing is new");
    let groups = |number| register.groups(number, day("2025-02-03"));
    assert_eq!(groups(0).await, [""; 0]);
    assert_eq!((groups(1).await, groups(2).await), (vec!["pairs".into()], vec!["pairs".into()]));
    // What was known before the move is still what was known then.
    assert_eq!(register.groups(0, day("2025-02-01")).await, ["pairs"]);
    register.change(2, 2, at("2025-02-05T10:00:00Z"), Value::Null).await;
    assert_eq!(register.evaluate().await, 2);
    assert_eq!(register.groups(1, day("2025-02-06")).await, [""; 0]);
    let entitlements = register.entitlements().await;
    let gone = entitlements.at(register.id(2), at("2025-02-06T00:00:00Z")).expect("known");
    assert!(!gone.alive);
}

#[tokio::test]
async fn a_new_condition_holds_whatever_its_instant() {
    let register = Register::new();
    register.change(0, 1, at("2025-01-05T00:00:00Z"), json!({"student": true})).await;
    register.group("students", "NOT student", at("2025-01-01T00:00:00Z")).await;
    register.evaluate().await;
    assert_eq!(register.groups(0, day("2025-01-06")).await, [""; 0]);
    // The registry's change is older than what is known of the person, and holds all the same.
    register.group("students", "student", at("2025-01-03T00:00:00Z")).await;
    assert_eq!(register.evaluate().await, 1);
    assert_eq!(register.groups(0, day("2025-01-06")).await, ["students"]);
    assert_eq!(register.evaluate().await, 0, "nothing is new");
}

/// Numbers that look random and are the same for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn attributes(&mut self) -> Value {
        if self.below(8) == 0 {
            return Value::Null;
        }
        let (year, month, day) = (1_940 + self.below(85), 1 + self.below(12), 1 + self.below(28));
        let mut attributes = json!({
            "birth_date": format!("{year}-{month:02}-{day:02}"),
            "territory": if self.below(2) == 0 { "LV0001000" } else { "LV0002000" },
            "status": if self.below(6) == 0 { "dead" } else { "alive" },
        });
        if self.below(4) > 0 {
            attributes["family_id"] = json!(format!("F-{}", self.below(4)));
        }
        if self.below(3) > 0 {
            attributes["student"] = json!(self.below(2) == 0);
        }
        attributes
    }
}

const CONDITIONS: [(&str, &str); 4] = [
    ("seniors", "age(birth_date) >= 65 AND status = 'alive'"),
    ("pupils", "family_children >= 1 AND NOT student"),
    ("infants", "age(family_youngest_birth_date) < 3 AND family_size > 1"),
    ("riga", "territory LIKE 'LV0001%'"),
];

/// Every person's groups on a few days ahead, evaluated over the newest state all at once.
async fn at_once(register: &Register, now: DateTime<Utc>) -> Vec<(u32, u64, Vec<String>)> {
    let mut people = People::default();
    for stored in register.log.read(Topic::PersonChanges, 0, 0, 10_000).await.expect("records") {
        people.apply(&register.vault, &stored).expect("applied");
    }
    let registry = register.log.read(Topic::RegistryChanges, 0, 0, 100).await.expect("records");
    let mut view = ingest::register::registry::RegistryView::default();
    view.apply(&registry);
    let mut lists = Memberships::default();
    for stored in register.log.read(Topic::Memberships, 0, 0, 10_000).await.expect("records") {
        lists.apply(&stored);
    }
    let groups = Groups::new(&view.registry().groups, &register.vault);
    let mut found = Vec::new();
    for number in 0..12 {
        let id = register.id(number);
        if people.get(id).is_none() {
            continue;
        }
        let evaluated = groups.evaluate(&people, &lists, &[(id, now)], &register.vault);
        let evaluated = evaluated.expect("evaluated").remove(0);
        for ahead in [0, 30, 200] {
            let day = LocalTime::of(now).date + Days::new(ahead);
            let holds = |days: &&ingest::wire::v1::GroupDays| {
                let text = day.to_string();
                days.from <= text && days.until.as_ref().is_none_or(|until| text < *until)
            };
            let mut of_day: Vec<_> =
                evaluated.groups.iter().filter(holds).map(|days| days.group_id.clone()).collect();
            of_day.sort();
            found.push((number, ahead, of_day));
        }
    }
    found
}

/// The same, as the stream of entitlements has it.
async fn as_told(register: &Register, now: DateTime<Utc>) -> Vec<(u32, u64, Vec<String>)> {
    let entitlements = register.entitlements().await;
    let mut found = Vec::new();
    for number in 0..12 {
        let Some(known) = entitlements.at(register.id(number), now) else { continue };
        for ahead in [0, 30, 200] {
            let day = LocalTime::of(now).date + Days::new(ahead);
            let groups = known.groups.iter().filter(|days| days.contains(day));
            let mut of_day: Vec<_> = groups.map(|days| days.group.to_string()).collect();
            of_day.sort();
            found.push((number, ahead, of_day));
        }
    }
    found
}

#[tokio::test]
async fn one_change_at_a_time_and_all_at_once_agree() {
    let scale: u64 =
        std::env::var("AVIS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    for seed in 0..34 * scale {
        let mut random = Random(seed);
        let register = Register::new();
        let start = at("2025-01-01T00:00:00Z");
        for (id, condition) in &CONDITIONS[..3] {
            register.group(id, condition, start).await;
        }
        register.list("staff", start).await;
        let mut evaluator = register.evaluator().await.expect("opened");
        let mut now = start;
        for sequence in 1..60 {
            // Now and then something is told of late, or together with the one before.
            let late = if random.below(5) == 0 { TimeDelta::hours(40) } else { TimeDelta::zero() };
            let number = u32::try_from(random.below(12)).expect("small");
            register.change(number, sequence, now - late, random.attributes()).await;
            if random.below(3) == 0 {
                let (number, days) = (random.below(12), random.below(90));
                let number = u32::try_from(number).expect("small");
                let from = LocalTime::of(now).date + Days::new(random.below(60));
                let until = (random.below(2) == 0).then(|| from + Days::new(days));
                register.member("staff", number, from, until, random.below(4) == 0, now).await;
            }
            now += TimeDelta::hours(i64::try_from(random.below(3)).expect("small") * 17);
            if sequence == 40 {
                let (id, condition) = CONDITIONS[3];
                register.group(id, condition, start).await;
            }
            match random.below(5) {
                0 => evaluator = register.evaluator().await.expect("opened"),
                1 => {}
                // The log fails, before or after what was told was written, and goes on.
                2 => {
                    let fault = if random.below(2) == 0 { Fault::Before } else { Fault::After };
                    register.model.die_at(u32::from(random.below(2) == 0), fault);
                    let _ = evaluator.catch_up().await;
                    register.model.revive();
                }
                _ => _ = evaluator.catch_up().await.expect("evaluated"),
            }
        }
        evaluator.catch_up().await.expect("evaluated");
        assert_eq!(as_told(&register, now).await, at_once(&register, now).await, "seed {seed}");
    }
}

#[tokio::test]
async fn whoever_is_on_a_list_is_a_member_on_its_days() {
    let register = Register::new();
    let start = at("2025-01-01T00:00:00Z");
    register.list("staff", start).await;
    register.change(0, 1, start, json!({})).await;
    register.change(1, 1, start, json!({})).await;
    assert_eq!(register.evaluate().await, 2);
    let told = at("2025-01-10T09:00:00Z");
    register.member("staff", 0, day("2025-01-15"), Some(day("2025-02-01")), false, told).await;
    // Of whom the register has not told, nothing follows.
    register.member("staff", 7, day("2025-01-15"), None, false, told).await;
    assert_eq!(register.evaluate().await, 1);
    assert_eq!(register.evaluate().await, 0, "nothing is new");
    let groups = |number, on| register.groups(number, day(on));
    assert_eq!(groups(0, "2025-01-14").await, [""; 0]);
    assert_eq!(groups(0, "2025-01-15").await, ["staff"]);
    assert_eq!(groups(0, "2025-01-31").await, ["staff"]);
    assert_eq!(groups(0, "2025-02-01").await, [""; 0]);
    assert_eq!(groups(1, "2025-01-20").await, [""; 0]);
    let gone = at("2025-01-20T12:00:00Z");
    register.member("staff", 0, day("2025-01-15"), None, true, gone).await;
    assert_eq!(register.evaluate().await, 1);
    assert_eq!(groups(0, "2025-01-21").await, [""; 0]);
    // What was known then is still what was known then.
    assert_eq!(groups(0, "2025-01-19").await, ["staff"]);
}

#[tokio::test]
async fn who_has_not_changed_for_long_is_told_of_again() {
    let register = Register::new();
    let start = at("2025-01-01T00:00:00Z");
    register.group("grown", "age(birth_date) >= 18", start).await;
    register.change(0, 1, start, json!({"birth_date": "2009-06-01"})).await;
    let mut evaluator = register.evaluator_at(start).await.expect("opened");
    assert_eq!(evaluator.catch_up().await.expect("evaluated"), 1);
    assert_eq!(register.groups(0, day("2027-06-01")).await, [""; 0], "beyond what is told ahead");
    let mut later = register.evaluator_at(at("2026-12-01T00:00:00Z")).await.expect("opened");
    assert_eq!(later.catch_up().await.expect("evaluated"), 0);
    assert_eq!(later.renew().await.expect("evaluated"), 1);
    assert_eq!(later.renew().await.expect("evaluated"), 0, "once a day at most");
    assert_eq!(register.groups(0, day("2027-05-31")).await, [""; 0]);
    assert_eq!(register.groups(0, day("2027-06-01")).await, ["grown"]);
}

#[tokio::test]
async fn a_snapshot_of_a_town_is_evaluated_at_once() {
    let register = Register::new();
    let start = at("2025-01-01T00:00:00Z");
    for (id, condition) in CONDITIONS {
        register.group(id, condition, start).await;
    }
    let mut random = Random(7);
    let codes: Vec<_> = (0..2_000).map(crate::people::code).collect();
    register.vault.enrol(&codes).expect("enrolled");
    for number in 0..2_000 {
        let attributes = match random.attributes() {
            Value::Null => json!({}),
            attributes => attributes,
        };
        register.change(number, 1, start, attributes).await;
    }
    let mut evaluator = register.evaluator().await.expect("opened");
    let began = std::time::Instant::now();
    assert!(evaluator.catch_up().await.expect("evaluated") >= 2_000);
    assert!(began.elapsed().as_secs() < 5, "took {:?}", began.elapsed());
}
