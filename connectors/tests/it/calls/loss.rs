//! What becomes of calls when the machine dies, the disk takes nothing, or a node starts again.

use std::sync::Arc;

use chrono::TimeDelta;
use ingest::log::{
    Log,
    model::{Fault, ModelLog},
};
use serde_json::json;

use super::{Node, apply, id, path, settings, wanted};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_answered_is_there_after_a_restart() {
    let log: Arc<dyn Log> = Arc::new(ModelLog::default());
    let node = Node::over(Arc::clone(&log), settings()).await;
    node.stand("anna", "available").await;
    let offered = node.call("centre-1", "k1").await;
    let waiting = node.call("centre-2", "k1").await;
    node.post("anna", &path(&offered, "accept")).await;
    let before = node.desk.board().clone();

    let again = Node::over(Arc::clone(&log), settings()).await;
    assert_eq!(*again.desk.board(), before);
    let told = again.keyed("centre-2", "POST", "/v1/calls", "k1", &wanted()).await.json();
    assert_eq!(told["call"], waiting["call"], "a key is known after a restart, too");
    assert_eq!((&told["state"], &told["position"]), (&waiting["state"], &waiting["position"]));
    again.post("anna", &path(&offered, "end")).await;
    let served = again.until(id(&waiting), "offered").await;
    assert_eq!(served["official"], "anna");
}

/// The board is read back from the last two days; what is older can matter no more.
#[tokio::test(flavor = "multi_thread")]
async fn days_later_only_the_last_ones_are_read() {
    let log: Arc<dyn Log> = Arc::new(ModelLog::default());
    let node = Node::over(Arc::clone(&log), settings()).await;
    for day in 0..6 {
        node.stand("anna", "available").await;
        let call = node.call("centre-1", &format!("k{day}")).await;
        node.post("anna", &path(&call, "accept")).await;
        node.post("anna", &path(&call, "end")).await;
        node.stand("anna", "offline").await;
        node.pass(TimeDelta::hours(20));
    }
    let call = node.call("centre-1", "last").await;
    let (live, number) = (node.desk.board().clone(), node.desk.board().number());
    assert_eq!(live.calls_before(None).count(), 2, "the last call, and one of the last day");
    let again = Node::over(Arc::clone(&log), settings()).await;
    assert_eq!(again.desk.board().number(), number);
    assert_eq!(*again.desk.board(), live);
    assert_eq!(again.get("centre-1", &format!("/v1/calls/{}", id(&call))).await.status, 200);
}

/// Whether an append that failed is on the stream nobody knows: the desk looks before it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_around_an_append_loses_and_doubles_nothing() {
    for fault in [Fault::Before, Fault::After] {
        let model = Arc::new(ModelLog::default());
        let log: Arc<dyn Log> = Arc::<ModelLog>::clone(&model);
        let node = Node::over(log, settings()).await;
        node.stand("anna", "available").await;
        node.stand("berta", "available").await;
        model.die_at(0, fault);
        let answer = node.keyed("centre-1", "POST", "/v1/calls", "k1", &wanted()).await;
        assert_eq!(answer.status, 503, "{fault:?}");
        assert!(answer.headers.contains_key("retry-after"));
        let all = node.get("operator", "/v1/calls").await.json();
        assert_eq!(all["calls"], json!([]), "what is not acknowledged is not shown");
        let still = node.keyed("centre-1", "POST", "/v1/calls", "k1", &wanted()).await;
        assert_eq!(still.status, 503, "as long as the log is stopped");
        model.revive();
        let call = node.call("centre-1", "k1").await;
        assert_eq!(call["official"], "anna");
        let other = node.call("centre-2", "k1").await;
        assert_eq!(other["official"], "berta", "{fault:?}: nobody is offered two");
        let all = node.get("operator", "/v1/calls").await.json();
        assert_eq!(all["calls"].as_array().map(Vec::len), Some(2), "{fault:?}: once each");
        let numbers: Vec<u64> = node.told().await.iter().map(|(it, _)| it.sequence).collect();
        assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "{numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_official_of_the_registry_gets_who_waits() {
    let node = Node::start().await;
    let call = node.call("centre-1", "k1").await;
    node.stand("clara", "available").await;
    assert_eq!(node.until(id(&call), "waiting").await["position"], 1, "clara speaks English");
    let changed = super::REGISTRY.replace("languages: [en]}", "languages: [en, lv]}");
    apply(&node.log, &changed).await;
    assert_eq!(node.until(id(&call), "offered").await["official"], "clara");
}

/// A file can say anything of calls and officials: it is landed, and the board does not move.
#[tokio::test(flavor = "multi_thread")]
async fn events_from_outside_move_nothing() {
    use connectors::{connector::Connector, vpvkac::CentreEvents};
    let node = Node::start().await;
    node.stand("anna", "available").await;
    let call = node.call("centre-1", "k1").await;
    let before = node.desk.board().clone();
    let event = |id: &str, kind: &str, data: serde_json::Value| {
        json!({"specversion": "1.0", "id": id, "source": "vpvkac",
            "type": format!("lv.vpvkac.{kind}"), "time": "2025-06-02T09:00:01Z", "data": data})
        .to_string()
    };
    let lines = [
        event("1", "official.available", json!({"official": "berta", "institution": "vsaa"})),
        event("2", "call.ended", json!({"call": call["call"], "official": "anna"})),
        event("3", "official.available", json!({"official": "anna", "desk": null})),
    ];
    let mut connector = CentreEvents {
        centres: Default::default(),
        vault: ingest::vault::Vault::open(tempfile::tempdir().expect("a folder").path())
            .expect("a vault"),
        clock: Arc::<ingest::clock::ManualClock>::clone(&node.clock),
    };
    let messages: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    let records = connector.translate(&messages);
    let records: Vec<_> = records.into_iter().flatten().collect();
    assert_eq!(records.len(), 2, "and desk is a field that nobody outside has");
    node.log.append(ingest::topic::Topic::ServiceEvents, &records).await.expect("appended");
    let again = Node::over(Arc::clone(&node.log), settings()).await;
    assert_eq!(*again.desk.board(), before);
}
