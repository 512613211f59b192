//! The sets that anybody may have.

use serde_json::json;
use warehouse::open_data::{SETS, publish};

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
    let folder = tempfile::tempdir().unwrap();
    let published = publish(&world.session().await, folder.path()).await.unwrap();
    assert_eq!(published.len(), 7);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(
        read("identification-means.csv"),
        "issuer_uri,issuer_id,kind,means,suppressed\r\n\
         https://latvija.lv/avis/id/issuer/riga-card,riga-card,card_uid,5,false\r\n\
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
async fn a_set_without_rows_is_a_header() {
    let world = World::new();
    let session = world.session().await;
    for set in SETS {
        assert_eq!(set.rows(&session).await.unwrap().count(), 0, "{}", set.name);
    }
}
