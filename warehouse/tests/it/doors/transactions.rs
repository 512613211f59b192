//! Transactions, as clients hold them.

use serde_json::json;

use super::{Doors, client::Client};
use crate::world::World;

#[tokio::test]
async fn a_transaction_goes_on_from_a_savepoint() {
    let world = World::new();
    let line = json!({"merchant_id": "corner"});
    world.land("benefit_lines", 1, std::slice::from_ref(&line)).await;
    let doors = Doors::open(&world).await;
    let mut client = Client::connect(doors.postgres, "analyst").await.unwrap();
    let (count, back) = ("SELECT COUNT(*) AS n FROM benefit_lines", "ROLLBACK TO SAVEPOINT here");
    let refusal = client.ask(back).await.unwrap_err();
    assert_eq!(refusal.code, "25P01", "there is no transaction: {refusal:?}");
    for sql in ["BEGIN", "SAVEPOINT here"] {
        client.ask(sql).await.unwrap();
    }
    assert_eq!(client.ask(count).await.unwrap().value(), "1");
    world.land("benefit_lines", 2, &[line]).await;
    for is_bound in [false, true] {
        assert!(client.ask("SELECT nothing").await.is_err());
        let refusal = client.ask(count).await.unwrap_err();
        assert_eq!(refusal.code, "25P02", "it has failed: {refusal:?}");
        match is_bound {
            true => client.bound(back, &[]).await.unwrap(),
            false => client.ask(back).await.unwrap(),
        };
        let answer = client.ask(count).await.unwrap();
        assert_eq!(answer.value(), "1", "it sees the tables as before");
    }
    client.ask("COMMIT").await.unwrap();
    assert_eq!(client.ask(count).await.unwrap().value(), "2");
}
