//! What reports say, in values that were worked out by hand.

use chrono::NaiveDate;
use serde_json::json;
use warehouse::{report::Report, session::Session};

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
