//! What reports say, in values that were worked out by hand.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::NaiveDate;
use domain::decision::{DeclineReason, SkipReason};
use serde_json::json;
use warehouse::{access::View, report::Report, session::Session};

use crate::world::{World, cells};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// A report's rows over January.
async fn of_january(name: &str, session: &Session) -> Vec<Vec<String>> {
    let report = Report::named(name).unwrap();
    cells(&report.rows(session, day("2025-01-01"), day("2025-01-31")).await.unwrap())
}

#[tokio::test]
async fn points_that_are_taken_back_or_returned_count_against_what_that_undoes() {
    let world = World::new();
    let moved = |offset: i64, date: &str, points: i64| {
        json!({"benefit_id": "club", "merchant_id": "market", "points": points,
            "source_offset": offset, "date": date})
    };
    let entries = [
        moved(0, "2024-12-31", 100),
        moved(1, "2025-01-07", 30),
        moved(2, "2025-01-07", -20),
        // One refund takes back what was earned and returns what was spent.
        moved(3, "2025-01-08", -10),
        moved(3, "2025-01-08", 5),
        // A reservation that nobody captured.
        moved(4, "2025-01-08", -50),
        moved(5, "2025-01-09", 50),
        moved(6, "2025-02-01", 7),
    ];
    world.land("points_entries", 7, &entries).await;
    let event = |partition: i32, offset: i64, date: &str, transition: &str| {
        json!({"transition": transition, "source_partition": partition,
            "source_offset": offset, "date": date})
    };
    let events = [
        event(0, 3, "2025-01-08", "refund"),
        event(0, 5, "2025-01-09", "expire"),
        // Another partition's record says nothing of ours.
        event(1, 1, "2025-01-07", "refund"),
    ];
    world.land("authorisation_events", 6, &events).await;
    let rows = of_january("points", &world.session().await).await;
    assert_eq!(rows, [["club", "market", "20", "15", "105"]]);
}

#[tokio::test]
async fn a_grantor_is_told_of_points_of_its_own_benefits_alone() {
    let world = World::new();
    let benefit = |id: &str, grantor: &str, offset: i64| json!({"entry_id": id, "grantor_id": grantor, "source_offset": offset});
    let benefits = [benefit("club", "market", 0), benefit("green", "riga", 1)];
    world.land("registry_benefits", 2, &benefits).await;
    let moved = |benefit: &str, offset: i64, points: i64| {
        json!({"benefit_id": benefit, "merchant_id": "market", "points": points,
            "recipient": "P-1", "source_offset": offset, "date": "2025-01-07"})
    };
    // One basket moved points of both, and its refund took both back.
    let entries = [
        moved("club", 0, 10),
        moved("green", 0, 7),
        moved("club", 1, -4),
        moved("green", 1, -2),
        moved("club", 2, -6),
    ];
    world.land("points_entries", 3, &entries).await;
    let refund = |offset: i64| {
        json!({"transition": "refund", "authorisation_id": format!("A-{offset}"),
            "source_offset": offset, "date": "2025-01-07"})
    };
    world.land("authorisation_events", 3, &[refund(1), refund(2)]).await;
    let session = world.session().await;
    let seen_by = |view: View| session.clone().seen_by(&view).unwrap();
    let riga = seen_by(View::Grantor("riga".into()));
    assert_eq!(of_january("points", &riga).await, [["green", "market", "5", "0", "5"]]);
    let everything = of_january("points", &seen_by(View::Everything)).await;
    assert_eq!(everything[0], ["club", "market", "0", "0", "0"]);
    assert_eq!(everything.len(), 2);
    for (sql, expected) in [
        ("SELECT DISTINCT benefit_id FROM points_entries", "green"),
        ("SELECT authorisation_id FROM authorisation_events", "A-1"),
        ("SELECT COUNT(recipient) FROM points_entries", "0"),
    ] {
        assert_eq!(cells(&riga.rows(sql).await.unwrap()), [[expected]], "{sql}");
    }
    let nobody = seen_by(View::Grantor("ogre".into()));
    assert!(of_january("points", &nobody).await.is_empty());
}

/// A world in which two grantors have a budget each, of which something is used and settled.
async fn budgets() -> World {
    let world = World::new();
    let benefit = |id: &str, grantor: &str, offset: i64| json!({"entry_id": id, "grantor_id": grantor, "source_offset": offset});
    let benefits = [benefit("food", "riga", 0), benefit("beach", "jurmala", 1)];
    world.land("registry_benefits", 2, &benefits).await;
    let instruction = |id: &str, benefit: &str, offset: i64| {
        json!({"entry_id": format!("{id}/1"), "instruction_id": id, "benefit_id": benefit,
            "valid_from": "2024-01-01", "source_offset": offset})
    };
    let instructions = [instruction("seniors", "food", 2), instruction("towels", "beach", 3)];
    world.land("registry_instructions", 4, &instructions).await;
    let limit = |id: &str, offset: i64| {
        json!({"entry_id": format!("{id}/1"), "instruction_id": id, "per": "instruction",
            "period": "year", "measure": "amount_cents", "most": 100_000, "source_offset": offset})
    };
    world.land("registry_limits", 4, &[limit("seniors", 2), limit("towels", 3)]).await;
    let used = |grantor: &str, instruction: &str, amount: &str, date: &str| {
        json!({"grantor_id": grantor, "instruction_id": instruction, "amount": amount,
            "kind": "captured", "date": date})
    };
    let lines = [
        used("riga", "seniors", "9.00", "2024-12-30"),
        used("riga", "seniors", "12.00", "2025-01-07"),
        used("riga", "seniors", "5.00", "2025-01-20"),
        used("jurmala", "towels", "7.00", "2025-01-20"),
    ];
    world.land("benefit_lines", 4, &lines).await;
    let settled = |period: &str, benefit: &str| {
        json!({"statement": format!("riga-market-{period}"), "grantor_id": "riga",
            "instruction_id": "seniors", "period": period, "benefit": benefit})
    };
    // A correction says what its month has more.
    let lines =
        [settled("2024-12", "9.00"), settled("2025-01", "12.00"), settled("2025-01", "1.00")];
    world.land("settlement_lines", 3, &lines).await;
    world
}

#[tokio::test]
async fn a_grantor_is_told_of_its_own_budgets_and_finance_of_all() {
    let world = budgets().await;
    let session = world.session().await;
    let seen_by = |view: &View| session.clone().seen_by(view).unwrap();
    let riga = seen_by(&View::Grantor("riga".into()));
    let of_riga = ["riga", "food", "seniors", "year", "2025-01-01"];
    let of_riga = [&of_riga[..], &["1000.00", "17.00", "13.00", "4.00", "983.00"]].concat();
    assert_eq!(of_january("budgets-settled", &riga).await, std::slice::from_ref(&of_riga));
    let budgets = of_january("budgets", &riga).await;
    assert_eq!(budgets.len(), 1, "{budgets:?}");
    assert_eq!(budgets[0][..2], ["food", "seniors"]);
    assert_eq!(budgets[0][6..9], ["1000.00", "17.00", "983.00"]);
    for sql in [
        "SELECT instruction_id FROM registry_limits",
        "SELECT instruction_id FROM registry_limits_current",
        "SELECT instruction_id FROM registry_limits WHERE per = 'instruction' LIMIT 5",
    ] {
        assert_eq!(cells(&riga.rows(sql).await.unwrap()), [["seniors"]], "{sql}");
    }

    let finance = of_january("budgets-settled", &seen_by(&View::Finance)).await;
    assert_eq!(finance.len(), 2, "{finance:?}");
    assert_eq!(finance[0][..3], ["jurmala", "beach", "towels"]);
    assert_eq!(finance[0][5..], ["1000.00", "7.00", "0.00", "7.00", "993.00"]);
    assert_eq!(finance[1], of_riga);
    assert_eq!(of_january("budgets", &seen_by(&View::Finance)).await.len(), 2);

    // Merchants are told of no budgets, and analysts of nothing that was settled.
    let (from, to) = (day("2025-01-01"), day("2025-01-31"));
    for (view, name) in [
        (View::Merchant("x".into()), "budgets"),
        (View::Merchant("x".into()), "budgets-settled"),
        (View::Analyst, "budgets-settled"),
    ] {
        let refused = Report::named(name).unwrap().rows(&seen_by(&view), from, to).await;
        let refused = format!("{:?}", refused.unwrap_err());
        assert!(refused.contains("not found"), "{name} of {}: {refused}", view.code());
    }
    assert_eq!(of_january("budgets", &seen_by(&View::Analyst)).await.len(), 2);
}

#[tokio::test]
async fn a_refund_gives_back_to_the_budget_as_it_does_to_the_limit() {
    let world = World::new();
    let instruction = json!({"entry_id": "seniors/1", "instruction_id": "seniors",
        "benefit_id": "food", "valid_from": "2024-01-01", "source_offset": 0});
    world.land("registry_instructions", 1, &[instruction]).await;
    let limit = |measure: &str| {
        json!({"entry_id": "seniors/1", "instruction_id": "seniors", "per": "instruction",
            "period": "year", "measure": measure, "most": 1_000, "source_offset": 0})
    };
    let limits = ["amount_cents", "units", "uses"].map(limit);
    world.land("registry_limits", 1, &limits).await;
    let line = |of: &str, kind: &str, date: &str, amount: &str, units: i64| {
        json!({"authorisation_id": of, "grantor_id": "riga", "instruction_id": "seniors",
            "kind": kind, "date": date, "amount": amount, "units": units})
    };
    let lines = [
        line("A-0", "captured", "2024-12-30", "4.00", 4),
        // It is given back to the year in which it was sold.
        line("A-0", "refunded", "2025-01-02", "-4.00", -4),
        line("A-1", "captured", "2025-01-07", "2.00", 2),
        line("A-1", "refunded", "2025-01-08", "-0.75", -1),
        line("A-2", "captured", "2025-01-07", "3.00", 3),
        line("A-2", "refunded", "2025-01-08", "-3.00", -3),
    ];
    world.land("benefit_lines", 6, &lines).await;
    let told = of_january("budgets", &world.session().await).await;
    let told: Vec<_> = told.iter().map(|row| [&row[2], &row[6], &row[7], &row[8]]).collect();
    let expected = [
        ["amount_cents", "10.00", "1.25", "8.75"],
        ["units", "1000.00", "1.00", "999.00"],
        // A use is back when all its cents are.
        ["uses", "1000.00", "1.00", "999.00"],
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_centres_means_tell_of_no_few_clients_nor_by_their_difference() {
    let world = World::new();
    let quality = |centre: &str, service: serde_json::Value, clients: [i64; 2], rating: &str| {
        let [answered, ratings] = clients;
        json!({"month": "2025-01-01", "centre_id": centre, "service_id": service,
            "requested": answered, "answered": answered, "mean_wait_seconds": 30,
            "mean_rating": rating, "subsidy": "2.00", "ratings": ratings})
    };
    let rows = [
        // One of many clients rated the one service: the whole's less the other's would be theirs.
        quality("cesis", json!(null), [20, 6], "4.333"),
        quality("cesis", json!("PAK_01"), [10, 1], "1.000"),
        quality("cesis", json!("PAK_03"), [10, 5], "5.000"),
        // One client of the one service: the whole's rating less the other's would be theirs.
        quality("ogre", json!(null), [10, 10], "4.500"),
        quality("ogre", json!("PAK_01"), [1, 1], "1.000"),
        quality("ogre", json!("PAK_03"), [9, 9], "4.888"),
        // Four of one and four of another are eight, of whom the whole tells no one's.
        quality("saldus", json!(null), [13, 13], "4.000"),
        quality("saldus", json!("PAK_01"), [4, 4], "3.000"),
        quality("saldus", json!("PAK_02"), [4, 4], "3.000"),
        quality("saldus", json!("PAK_03"), [5, 5], "5.000"),
        quality("talsi", json!(null), [5, 5], "4.000"),
        quality("talsi", json!("PAK_03"), [5, 5], "4.000"),
    ];
    world.land("centre_quality", 1, &rows).await;
    let told = of_january("centre-quality", &world.session().await).await;
    let told: Vec<_> = told.iter().map(|row| (&*row[1], &*row[4], &*row[8], &*row[9])).collect();
    let expected = [
        ("cesis", "", "30", ""),
        ("cesis", "PAK_01", "30", ""),
        ("cesis", "PAK_03", "30", "5.000"),
        ("ogre", "", "", ""),
        ("ogre", "PAK_01", "", ""),
        ("ogre", "PAK_03", "30", "4.888"),
        ("saldus", "", "30", "4.000"),
        ("saldus", "PAK_01", "", ""),
        ("saldus", "PAK_02", "", ""),
        ("saldus", "PAK_03", "30", "5.000"),
        ("talsi", "", "30", "4.000"),
        ("talsi", "PAK_03", "30", "4.000"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn cashiers_are_told_why_nothing_was_given_and_of_how_many_baskets() {
    let world = World::new();
    let decided = |at: i64, decision: &str, means: &str, more: serde_json::Value| {
        let mut row = json!({"authorisation_id": format!("A-{at}"), "merchant_id": "market",
            "decision": decision, "means_status": means, "source_offset": at,
            "date": "2025-01-07"});
        let columns = row.as_object_mut().unwrap();
        columns.extend(more.as_object().unwrap().clone());
        row
    };
    let nearest = |reason: &str| json!({"no_benefit_reason": reason});
    let rows = [
        decided(0, "approved", "valid", json!({})),
        decided(1, "approved", "valid", json!({})),
        decided(2, "no_benefit", "valid", nearest("limit")),
        decided(3, "no_benefit", "valid", nearest("limit")),
        decided(4, "no_benefit", "valid", nearest("content")),
        // Of before reasons were kept, or of somebody whom no instruction is for.
        decided(5, "no_benefit", "valid", json!({})),
        // To have no means is the reason, whatever stands in the way of what everybody gets.
        decided(6, "no_benefit", "none", nearest("limit")),
        decided(7, "declined", "blocked", json!({"decline_reason": "means_blocked"})),
        // A later version's.
        decided(8, "no_benefit", "valid", nearest("weather")),
        decided(
            9,
            "no_benefit",
            "valid",
            json!({"no_benefit_reason": "limit", "date": "2025-02-01"}),
        ),
    ];
    world.land("authorisations", 10, &rows).await;
    let told = of_january("refusals", &world.session().await).await;
    let told: Vec<_> =
        told.iter().map(|row| [&row[1], &row[2], &row[4], &row[5], &row[7]]).collect();
    let expected = [
        ["no_benefit", "limit", "2", "22.22", "a limit is used up"],
        ["declined", "means_blocked", "1", "11.11", "the means is blocked"],
        ["no_benefit", "content", "1", "11.11", "nothing in the basket is what the benefit is for"],
        ["no_benefit", "no valid means", "1", "11.11", "no valid means was shown"],
        ["no_benefit", "nothing applies", "1", "11.11", "no benefit is for the recipient"],
        ["no_benefit", "weather", "1", "11.11", "weather"],
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_basket_is_one_use_and_whoever_has_several_is_one_recipient() {
    let world = World::new();
    let line = |merchant: &str, basket: u32, of: Option<u32>, kind: &str, amount: &str| {
        json!({"merchant_id": merchant, "authorisation_id": format!("A-{basket}"),
            "recipient": of.map(|of| format!("P-{of}")), "kind": kind, "amount": amount,
            "date": "2025-01-07"})
    };
    let lines = [
        line("market", 0, Some(0), "captured", "1.00"),
        line("market", 0, Some(0), "captured", "1.00"),
        line("market", 0, Some(0), "refunded", "-1.00"),
        line("market", 1, Some(1), "captured", "1.00"),
        line("market", 2, Some(2), "captured", "1.00"),
        line("market", 3, Some(3), "captured", "1.00"),
        line("market", 4, Some(4), "captured", "1.00"),
        // Nobody known, and nothing given.
        line("market", 5, None, "captured", "1.00"),
        line("market", 6, Some(4), "captured", "0.00"),
        // What was given in another month.
        line("ogre", 7, None, "refunded", "-2.00"),
    ];
    world.land("benefit_lines", 10, &lines).await;
    let person = |offset: i64, of: i64, band: &str| {
        json!({"recipient": format!("P-{of}"), "age_band": band, "municipality": "riga",
            "source_offset": offset})
    };
    let mut persons = vec![person(0, 0, "18-59")];
    persons.extend((0..5).map(|of| person(1 + of, of, "60+")));
    world.land("persons", 6, &persons).await;
    let session = world.session().await;
    let row = |cells: [&'static str; 6]| [&cells[..], &["0.00"; 3]].concat();
    let merchants =
        [row(["market", "", "", "6", "5", "6.00"]), row(["ogre", "", "", "0", "", "-2.00"])];
    assert_eq!(of_january("use-per-merchant", &session).await, merchants);
    let bands = [["60+", "riga", "5", "5", "5.00"], ["", "", "", "", ""]];
    assert_eq!(of_january("use-per-age-band", &session).await, bands);
}

/// What a set counts stays in memory, all of it, and a report of many sales or people found no room;
/// groups go to the disk where memory ends. A set counts what a country has few of.
#[test]
fn sales_and_people_are_counted_by_groups() {
    const FEW: [&str; 2] = ["merchant_id)", "place_id)"];
    let within = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let folders = within(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql"));
    for file in folders.iter().flat_map(|folder| within(folder)) {
        let query = fs::read_to_string(&file).unwrap();
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
        for counted in query.split("(DISTINCT ").skip(1) {
            let is_few = FEW.iter().any(|few| counted.starts_with(few));
            assert!(is_few, "{} counts by a set: {counted}", file.display());
        }
    }
}

/// Every reason that the rules and the authoriser give has its words in both languages.
#[test]
fn every_reason_has_its_words() {
    let query = include_str!("../../sql/reports/refusals.sql");
    let declines = [DeclineReason::MeansBlocked, DeclineReason::RecipientDead];
    let skips = SkipReason::ALL.map(SkipReason::code);
    for code in declines.map(DeclineReason::code).into_iter().chain(skips) {
        assert_eq!(query.matches(&format!("WHEN '{code}' THEN ")).count(), 2, "{code}");
    }
}
