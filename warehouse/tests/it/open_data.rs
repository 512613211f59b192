//! The sets that anybody may have.

use chrono::NaiveDate;
use serde_json::json;
use warehouse::open_data::{Publisher, SETS, publish};

use crate::world::World;

async fn world() -> World {
    let world = World::new();
    let means = |index: i64, kind: &str, recipient: &str| {
        json!({"token": format!("T-{index}"), "issuer_id": "riga-card", "kind": kind,
               "recipient": recipient, "source_offset": index})
    };
    let mut rows: Vec<_> =
        (0..5).map(|index| means(index, "card_uid", &format!("P-{index}"))).collect();
    // Nine means of two people tell about two people.
    rows.extend(
        (5..14).map(|index| means(index, "qr", ["P-1", "P-2"][usize::from(index % 2 == 0)])),
    );
    world.land("means", 14, &rows).await;
    let service = |index: i64, centre: &str, channel: &str| {
        json!({"record_id": format!("R-{index}"), "centre_id": centre, "service_id": "PAK_03",
               "channel": channel, "source_offset": index})
    };
    let mut rows: Vec<_> = (0..6).map(|index| service(index, "ogre", "remote")).collect();
    rows.extend((6..10).map(|index| service(index, "saldus", "remote")));
    rows.extend((10..20).map(|index| service(index, "ogre", "onsite")));
    world.land("services", 20, &rows).await;
    let centre =
        json!({"entry_id": "ogre", "name_lv": "Ogre, centrs", "lat": 56.8162, "lon": 24.6053});
    world.land("registry_centres", 1, &[centre]).await;
    world
}

#[tokio::test]
async fn counts_about_few_people_are_suppressed() {
    let world = world().await;
    let card = |index: i64, from: &str, to: Option<&str>| {
        json!({"token": format!("T-{index}"), "issuer_id": "riga-card", "kind": "card_uid",
               "recipient": format!("P-{index}"), "valid_from": from, "valid_to": to,
               "source_offset": index})
    };
    // Two are not in use: one is over since yesterday, one begins tomorrow.
    let rows = [
        card(14, "2025-01-10", Some("2025-01-31")),
        card(15, "2025-01-10", Some("2025-02-01")),
        card(16, "2025-02-01", None),
        card(17, "2025-02-02", None),
    ];
    world.land("means", 18, &rows).await;
    let folder = tempfile::tempdir().unwrap();
    let today = NaiveDate::from_ymd_opt(2025, 2, 1).unwrap();
    let publisher = Publisher::default();
    let session = world.session().await;
    let published = publish(&session, &publisher, today, folder.path()).await.unwrap();
    assert_eq!(published.len(), 7 * 4);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(
        read("identification-means.csv"),
        "issuer_uri,issuer_id,kind,means,suppressed\r\n\
         https://latvija.lv/avis/id/issuer/riga-card,riga-card,card_uid,7,false\r\n\
         https://latvija.lv/avis/id/issuer/riga-card,riga-card,qr,,true\r\n"
    );
    assert_eq!(
        read("remote-official-usage.csv"),
        "month,centre_uri,centre_id,centre_name_lv,centre_name_en,service_id,consultations,suppressed\r\n\
         2025-01,https://latvija.lv/avis/id/centre/ogre,ogre,\"Ogre, centrs\",,PAK_03,6,false\r\n\
         2025-01,https://latvija.lv/avis/id/centre/saldus,saldus,,,PAK_03,,true\r\n"
    );
    let points = read("contact-points.csv");
    assert!(points.contains(",56.8162,24.6053\r\n"), "{points}");
}

#[tokio::test]
async fn what_has_not_changed_stays_and_a_small_difference_is_not_told() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let publisher = Publisher::default();
    let day = |day| NaiveDate::from_ymd_opt(2025, 2, day).unwrap();
    let path = |name: &str| folder.path().join(name);
    publish(&world.session().await, &publisher, day(1), folder.path()).await.unwrap();
    let touched = |name: &str| std::fs::metadata(path(name)).unwrap().modified().unwrap();
    let before = touched("contact-points.ttl");
    let again = publish(&world.session().await, &publisher, day(2), folder.path()).await.unwrap();
    assert!(again.iter().all(|file| !file.is_new && file.modified == day(1)));
    assert_eq!(touched("contact-points.ttl"), before);
    // Three people more: the count stays as it was, or the difference would tell of them.
    let card = |index: i64| {
        json!({"token": format!("T-{index}"), "issuer_id": "riga-card", "kind": "card_uid",
               "recipient": format!("P-{index}"), "source_offset": index})
    };
    world.land("means", 17, &(14..17).map(card).collect::<Vec<_>>()).await;
    publish(&world.session().await, &publisher, day(3), folder.path()).await.unwrap();
    let counts = || std::fs::read_to_string(path("identification-means.csv")).unwrap();
    assert!(counts().contains(",card_uid,5,false"), "{}", counts());
    world.land("means", 19, &(17..19).map(card).collect::<Vec<_>>()).await;
    publish(&world.session().await, &publisher, day(4), folder.path()).await.unwrap();
    assert!(counts().contains(",card_uid,10,false"), "{}", counts());
}

#[tokio::test]
async fn what_one_person_changes_is_not_told_nor_what_came_while_nothing_was_shown() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let publisher = Publisher::default();
    let publish = async |day: u32| {
        let today = NaiveDate::from_ymd_opt(2025, 2, day).unwrap();
        let session = world.session().await;
        publish(&session, &publisher, today, folder.path()).await.unwrap();
        std::fs::read_to_string(folder.path().join("identification-means.csv")).unwrap()
    };
    let card = |offset: i64, token: i64, person: i64, blocked: bool| {
        json!({"token": format!("T-{token}"), "issuer_id": "riga-card", "kind": "card_uid",
               "recipient": format!("P-{person}"), "blocked": blocked, "source_offset": offset})
    };
    let shown = publish(1).await;
    assert!(shown.contains(",card_uid,5,false"), "{shown}");
    // One of five people: with it nobody is told of, and without it nothing but that they are few.
    world.land("means", 15, &[card(14, 0, 0, true)]).await;
    let shown = publish(2).await;
    assert!(shown.contains(",card_uid,,true"), "{shown}");
    // That one and another: six, of whom the difference to what was shown before would tell.
    world.land("means", 17, &[card(15, 0, 0, false), card(16, 30, 30, false)]).await;
    let shown = publish(3).await;
    assert!(shown.contains(",card_uid,5,false"), "{shown}");
    // Seven more means, all of them one person's.
    let rows: Vec<_> = (0..7).map(|of| card(17 + of, 40 + of, 1, false)).collect();
    world.land("means", 24, &rows).await;
    let shown = publish(4).await;
    assert!(shown.contains(",card_uid,5,false"), "{shown}");
    // Five times as many as anybody has: at least five people are behind that.
    let rows: Vec<_> = (0..32).map(|of| card(24 + of, 100 + of, 100 + of, false)).collect();
    world.land("means", 56, &rows).await;
    let shown = publish(5).await;
    assert!(shown.contains(",card_uid,45,false"), "{shown}");
}

#[tokio::test]
async fn the_catalogue_says_since_when_and_about_which_time() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let publisher = Publisher::default();
    let day = |day| NaiveDate::from_ymd_opt(2025, 2, day).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    publish(&world.session().await, &publisher, day(1), folder.path()).await.unwrap();
    let first = read("catalogue.ttl");
    publish(&world.session().await, &publisher, day(2), folder.path()).await.unwrap();
    assert_eq!(read("catalogue.ttl"), first, "nothing has changed");
    let lists = "http://publications.europa.eu/resource/authority";
    for wanted in [
        format!("<{lists}/data-theme>"),
        format!("<{lists}/data-theme/GOVE>"),
        format!("<{lists}/country/LVA>"),
    ] {
        assert!(first.contains(&wanted), "{wanted} is missing: {first}");
    }
    // A sixth to a tenth card change one set alone.
    let card = |index: i64| {
        json!({"token": format!("T-{index}"), "issuer_id": "riga-card", "kind": "card_uid",
               "recipient": format!("P-{index}"), "source_offset": index})
    };
    world.land("means", 19, &(14..19).map(card).collect::<Vec<_>>()).await;
    let files = publish(&world.session().await, &publisher, day(3), folder.path()).await.unwrap();
    assert!(files.iter().all(|file| file.issued == day(1)));
    let of = |name: &str| files.iter().find(|file| file.file == name).unwrap();
    assert_eq!(of("identification-means.csv").modified, day(3));
    assert_eq!(of("contact-points.csv").modified, day(1));
    let january = [NaiveDate::from_ymd_opt(2025, 1, 1), NaiveDate::from_ymd_opt(2025, 1, 31)];
    assert_eq!(of("remote-official-usage.csv").covers, Some(january.map(Option::unwrap)));
    assert_eq!(of("contact-points.csv").covers, None);
    assert!(read("contact-points.ttl").contains("\"ATVK\""), "what codes of territories are of");
}

#[tokio::test]
async fn a_set_describes_its_columns_as_they_are() {
    let world = World::new();
    let (session, today) = (world.session().await, NaiveDate::default());
    for set in SETS {
        let rows = set.rows(&session, &Publisher::default(), today).await.unwrap();
        let names: Vec<_> = rows.schema.fields().iter().map(|field| field.name().clone()).collect();
        let described: Vec<_> = set.columns.iter().map(|column| column.name).collect();
        assert_eq!(names, described, "{}", set.name);
    }
}

#[tokio::test]
async fn a_set_without_rows_is_a_header() {
    let world = World::new();
    let (session, today) = (world.session().await, NaiveDate::default());
    for set in SETS {
        assert_eq!(
            set.rows(&session, &Publisher::default(), today).await.unwrap().count(),
            0,
            "{}",
            set.name
        );
    }
}
