//! What a page must have, whoever reads it and however.

use domain::period::Month;
use serde_json::{Value, json};
use warehouse::{
    page::{Figures, KeyFigures, render},
    report::{REPORTS, Report},
    settlement::{Closing, statements},
};

use crate::world::World;

async fn world() -> World {
    let world = World::new();
    let decided = |offset: i64, date: &str, decision: &str, benefit: &str| -> Value {
        json!({"authorisation_id": format!("A-{offset}"), "merchant_id": "market", "territory": "LV0001000",
               "decision": decision, "total": "10.00", "benefit": benefit, "payable": "8.00",
               "points_earned": 3, "date": date, "recipient": "R", "source_offset": offset})
    };
    let rows = [
        decided(0, "2025-01-06", "approved", "2.00"),
        decided(1, "2025-01-07", "approved", "1.50"),
        decided(2, "2025-01-07", "no_benefit", "0.00"),
        decided(3, "2025-03-01", "approved", "9.00"),
    ];
    world.land("authorisations", 4, &rows).await;
    let given = json!({"authorisation_id": "A-0", "grantor_id": "riga", "merchant_id": "market",
        "instruction_id": "bread", "amount": "3.50", "grantor_amount": "3.50", "kind": "captured",
        "units": 2, "date": "2025-01-06"});
    world.land("benefit_lines", 4, &[given]).await;
    let label = json!({"entry_id": "bread/1", "instruction_id": "bread", "version": 0,
        "label_en": "Bread <cheaper>", "label_lv": "Maize"});
    world.land("registry_instructions", 1, &[label]).await;
    world
}

#[tokio::test]
async fn the_page_tells_its_figures_to_everybody() {
    let world = world().await;
    let session = world.session().await;
    let (from, to) = ("2025-01-01".parse().unwrap(), "2025-01-31".parse().unwrap());
    let mut figures = Figures::read(&session, from, to).await.unwrap();
    let key = KeyFigures {
        authorisations: 3,
        approved: 2,
        recipients: 1,
        merchants: 1,
        places: 1,
        points: 9,
        total_cents: 3_000,
        benefit_cents: 350,
    };
    assert_eq!(figures.key, key);
    assert_eq!(figures.days.iter().map(|day| day.cents).collect::<Vec<_>>(), [200, 150]);
    assert_eq!(figures.instructions[0].name, "Bread <cheaper>");

    let period = Month::parse("2025-01").unwrap();
    let closing =
        Closing { period, correction: 0, from_offsets: vec![], end_offsets: vec![4], closed: None };
    figures.add_statements(&statements(&session, &closing).await.unwrap());
    figures.add_file("statements/statements-2025-01.csv", "the month's statements");
    let page = render(&figures);
    for wanted in [
        "<!DOCTYPE html>",
        "<html lang=\"en\">",
        "<title>Benefits in use",
        "lang=\"lv\"",
        "<main id=\"main\"",
        "prefers-color-scheme: dark",
        "€3.50",
        "riga-market-2025-01",
        "<span class=\"state open\">open",
        "href=\"statements/statements-2025-01.csv\"",
        "Bread &lt;cheaper&gt;",
        "2025-01-07",
        // One recipient is not told of as one.
        "Saņēmēji</span></dt><dd>fewer than 5</dd>",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing");
    }
    // Every picture has its title, its description and its numbers.
    let count = |text: &str| page.matches(text).count();
    assert_eq!(count("<svg "), 4);
    assert_eq!((count("role=\"img\""), count("<desc "), count("<details>")), (4, 4, 4));
    assert_eq!(count("<h1>"), 1);
    assert_eq!(count("<table"), count("<caption>"));
    // Nothing comes from elsewhere, and nothing runs.
    for unwanted in ["<script", "http://", "https://", "url(", "@import"] {
        assert!(!page.contains(unwanted), "{unwanted} is there");
    }
}

#[tokio::test]
async fn a_page_without_figures_is_a_page() {
    let world = World::new();
    let (from, to) = ("2025-01-01".parse().unwrap(), "2025-01-31".parse().unwrap());
    let figures = Figures::read(&world.session().await, from, to).await.unwrap();
    assert!(render(&figures).contains("€0.00"));
}

#[tokio::test]
async fn every_report_is_a_table_and_a_page() {
    let world = world().await;
    let session = world.session().await;
    let (from, to) = ("2025-01-07".parse().unwrap(), "2025-01-31".parse().unwrap());
    for report in REPORTS {
        let rows = Report::named(report.name).unwrap().rows(&session, from, to).await.unwrap();
        let html = report.html(&rows, from, to).unwrap();
        assert!(html.contains("<table>") && html.contains(report.title_lv), "{}", report.name);
    }
    let of_days = Report::named("use-per-merchant-and-day").unwrap();
    let rows = of_days.rows(&session, from, to).await.unwrap();
    let expected = [["market", "2025-01-07", "2", "1", "1", "0", "20.00", "1.50", "16.00"]];
    assert_eq!(crate::world::cells(&rows), expected);
    assert!(Report::named("none").is_err());
}

#[tokio::test]
async fn a_picture_of_days_is_no_larger_than_what_there_is_to_show() {
    let world = world().await;
    let of_days = Report::named("use-per-merchant-and-day").unwrap();
    let (from, to) = ("2025-01-01".parse().unwrap(), "2025-03-31".parse().unwrap());
    let rows = of_days.rows(&world.session().await, from, to).await.unwrap();
    // Whoever asks for all days there are is shown those on which there was anything.
    let page = of_days.html(&rows, chrono::NaiveDate::MIN, chrono::NaiveDate::MAX).unwrap();
    assert!(page.contains("Tue 2025-01-07: €1.50</title>"));
    assert!(page.contains("Sat 2025-03-01: €9.00</title>"));
    assert!(page.len() < 100_000, "{} bytes", page.len());
}

/// The picture on a report's page.
async fn picture(world: &World, name: &str) -> String {
    let session = world.session().await;
    let (from, to) = ("2024-10-01".parse().unwrap(), "2025-01-31".parse().unwrap());
    let report = Report::named(name).unwrap();
    let page = report.html(&report.rows(&session, from, to).await.unwrap(), from, to).unwrap();
    let (_, rest) = page.split_once("<svg ").expect(name);
    let (picture, _) = rest.split_once("</svg>").expect("its end");
    for wanted in ["role=\"img\"", "<title id=\"picture-title\">", "<desc id=\"picture-desc\">"] {
        assert!(picture.contains(wanted), "{name}: {wanted} is missing");
    }
    picture.to_owned()
}

#[tokio::test]
async fn reports_show_what_their_rows_say() {
    let world = world().await;
    let days = picture(&world, "use-per-merchant-and-day").await;
    assert!(days.contains("Tue 2025-01-07: €1.50</title>"), "{days}");
    let refusals = picture(&world, "refusals").await;
    assert!(refusals.contains("1 bars; the longest is no valid means: 1."), "{refusals}");

    let name = |person: i64| format!("person {person}");
    let person = |of: i64| json!({"recipient": name(of), "age_band": "65-74", "source_offset": of});
    let given = |to: i64| {
        let (amount, kind) = ("3.50", "captured");
        json!({"recipient": name(to), "amount": amount, "kind": kind, "date": "2025-01-06"})
    };
    world.land("persons", 5, &(0..5).map(person).collect::<Vec<_>>()).await;
    world.land("benefit_lines", 9, &(0..5).map(given).collect::<Vec<_>>()).await;
    let ages = picture(&world, "use-per-age-band").await;
    assert!(ages.contains("the longest is 65-74: €17.50."), "{ages}");

    let quality = |service: Value, subsidy: &str| {
        json!({"month": "2025-01-01", "centre_id": "library", "service_id": service,
            "subsidy": subsidy})
    };
    // What a centre gets has what its services get in it.
    let rows = [quality(Value::Null, "302.00"), quality(json!("PAK_03"), "2.00")];
    world.land("centre_quality", 1, &rows).await;
    let centres = picture(&world, "centre-quality").await;
    assert!(centres.contains("1 bars; the longest is library: €302.00."), "{centres}");

    let indicator = |quarter: &str, to_date: &str| {
        json!({"indicator": "RR3", "quarter": quarter, "to_date": to_date,
            "target_2_years": "20.00", "target_3_years": "50.00"})
    };
    let rows = [indicator("2024-10-01", "2.00"), indicator("2025-01-01", "5.00")];
    world.land("indicators", 1, &rows).await;
    let indicators = picture(&world, "indicators").await;
    assert!(indicators.contains("the longest is RR3: 25."), "{indicators}");

    let refused = json!({"connector": "terminal", "reason": "malformed", "date": "2025-01-07"});
    world.land("dead_letters", 1, &[refused]).await;
    let quality = picture(&world, "data-quality").await;
    assert!(quality.contains("the longest is terminal: malformed: 1."), "{quality}");
}
