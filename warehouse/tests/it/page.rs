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
