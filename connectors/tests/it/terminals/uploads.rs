//! What is refused of what terminals did offline: kept, told of, and dealt with.

use ingest::dead_letter::{self, Outcome};

use super::*;

impl Node {
    fn tells(&self, of: &str) -> bool {
        let encoder = prometheus::TextEncoder::new();
        let told = encoder.encode_to_string(&self.prometheus.gather()).expect("a text");
        told.lines().any(|line| line == of)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_line_costs_is_kept_as_it_came_and_its_key_stays_free() {
    let (_folder, node) = node().await;
    let mut much = offline("u1", 2, Some(200));
    let more = json!({"instruction": "gone", "line": 1, "amount_cents": 101});
    much["applied"].as_array_mut().expect("a list").push(more);
    for _ in 0..2 {
        let told = node.upload(&[much.clone(), offline("u2", 1, None)]).await;
        assert_eq!((&told[0]["status"], &told[1]["status"]), (&json!(422), &json!(200)));
        let problem = &told[0]["problem"];
        let wrong = "/applied/1: makes it more than the line costs";
        assert_eq!(
            (&problem["code"], &problem["detail"]),
            (&json!("invalid_value"), &json!(wrong))
        );
    }
    let uploads = node.log.end(Topic::TerminalTransactions, 0).expect("an end");
    assert_eq!(uploads, 1, "nothing of it is on the stream");
    let letters = dead_letter::open(&node.log).await.expect("readable");
    let told: Vec<_> = letters.iter().map(|of| (&*of.letter.reason, of.letter.line)).collect();
    assert_eq!(told, [("invalid_value", 1)], "twice the same is one letter");
    let dropped = letters[0].settled(Outcome::Dropped, "", noon());
    node.log.append(Topic::DeadLetters, &[dropped]).await.expect("appended");
    assert!(dead_letter::open(&node.log).await.expect("readable").is_empty());
    much["applied"][1]["amount_cents"] = json!(100);
    let told = node.upload(&[much]).await;
    let given = &told[0]["authorisation"]["lines"][0]["benefits"];
    assert_eq!((&told[0]["status"], &given[1]["excess_cents"]), (&json!(200), &json!(100)));
    node.running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_what_becomes_of_uploads() {
    let (_folder, node) = node().await;
    let lines = [offline("u1", 1, None), json!({"terminal_id": "T1"}), offline("u2", 1, None)];
    for _ in 0..2 {
        node.upload(&lines).await;
    }
    let other = node.upload(&[offline("u1", 2, None)]).await;
    assert_eq!(other[0]["problem"]["code"], "key_reused");
    for (what, count) in [
        (r#"avis_ingest_dead_letters_total{reason="missing_field",source="terminal"}"#, 2),
        (r#"avis_ingest_dead_letters_total{reason="duplicate_key",source="terminal"}"#, 1),
        (r#"avis_connectors_requests_total{connector="terminal",status="refused"}"#, 3),
        (r#"avis_connectors_requests_total{connector="terminal",status="taken"}"#, 2),
        (r#"avis_connectors_requests_total{connector="terminal",status="already_there"}"#, 2),
    ] {
        assert!(node.tells(&format!("{what} {count}")), "{what}");
    }
    node.running.stop().await.expect("stopped");
}
