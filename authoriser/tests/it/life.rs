//! The life of an authorisation, asked as a terminal asks.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use authoriser::{
    authorise::{Authoriser, Settings},
    changes::{self, Acting},
    claims::{Claim, key_of},
    command::{Caller, Refusal, What},
    history::History,
    reply::Reply,
};
use chrono::TimeDelta;
use domain::{authorisation::Status, basket::Mode, refund::RefundError};
use ingest::wire::v1::{AuthorisationLine, Event};
use serde_json::json;

use crate::world::{World, back, basket, body, change, key, milk, noon, terminal, told};

#[tokio::test]
async fn a_reservation_is_captured_and_then_refunded() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let asked = basket(noon(), "r1", Some(1), Mode::Reserve, 3);
    let held = told(handle.authorise(asked, body("r1")).await);
    assert_eq!(
        (held.status(), held.decided.benefit_cents),
        (Status::Reserved, 300),
        "{:?}",
        held.decided
    );
    assert_eq!(held.decided.instructions[0].limits[0].after, 1, "one of four is left");
    let id = held.id();
    let early = handle.change(change("f0", "T1", id, back(1_000))).await;
    assert_eq!(early.expect_err("no"), Refusal::State { status: Status::Reserved });
    let other = handle.change(change("c0", "K1", id, What::Capture { receipt: None })).await;
    assert_eq!(other.expect_err("no"), Refusal::NotFound, "another merchant's terminal");
    let receipt = What::Capture { receipt: Some("17".into()) };
    let captured = told(handle.change(change("c1", "T2", id, receipt)).await);
    assert_eq!(captured.status(), Status::Captured);
    assert_eq!(captured.changes[0].lines_date.as_deref(), Some("2025-06-02"));
    let part = told(handle.change(change("f1", "T1", id, back(1_000))).await);
    assert_eq!(part.status(), Status::PartiallyRefunded);
    assert_eq!(part.changes[1].lines[0].payable_cents, -50);
    assert_eq!(part.changes[1].lines[0].benefits[0].amount_cents, -100);
    let more = handle.change(change("f2", "T1", id, back(2_001))).await;
    let refused = Refusal::Refund(RefundError::MoreThanBought { number: 1 });
    assert_eq!(more.expect_err("no"), refused);
    let all = told(handle.change(change("f3", "T1", id, back(2_000))).await);
    assert_eq!(all.status(), Status::Refunded);
    let again = basket(noon(), "r2", Some(1), Mode::Sale, 5);
    let again = told(handle.authorise(again, body("r2")).await);
    assert_eq!(again.decided.benefit_cents, 400, "the four units are there again");
    assert_eq!(again.decided.lines[0].benefits[0].wanted_cents, Some(500));
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn what_is_not_captured_in_time_expires_by_a_record() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let asked = basket(noon(), "r1", Some(1), Mode::Reserve, 4);
    let held = told(handle.authorise(asked, body("r1")).await);
    world.pass(TimeDelta::minutes(15));
    let late = handle.change(change("c1", "T1", held.id(), What::Capture { receipt: None })).await;
    assert_eq!(late.expect_err("no"), Refusal::State { status: Status::Expired });
    let now = handle.look_up(held.id()).await.expect("found");
    assert_eq!(now.status(), Status::Expired);
    let asked = basket(noon() + TimeDelta::minutes(15), "r2", Some(1), Mode::Sale, 4);
    let given = told(handle.authorise(asked, body("r2")).await);
    assert_eq!(given.decided.benefit_cents, 400, "the limit is free again");
    running.stop().await.expect("stopped");
    let expired = world.records().await.into_iter().filter(|record| {
        matches!(&record.event, Event::AuthorisationChanged(of) if of.transition == "expire")
    });
    assert_eq!(expired.count(), 1);
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_across_a_restart() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let asked = || basket(noon(), "s1", Some(1), Mode::Sale, 2);
    let first = told(handle.authorise(asked(), body("s1")).await);
    let again = told(handle.authorise(asked(), body("s1")).await);
    assert_eq!(first.decided, again.decided);
    let reused = handle.authorise(asked(), body("other")).await;
    assert_eq!(reused.expect_err("no"), Refusal::KeyReused);
    let captured = change("v1", "T1", first.id(), What::Void);
    assert!(matches!(handle.change(captured).await, Err(Refusal::State { .. })));
    running.stop().await.expect("stopped");
    drop(handle);
    for loses_index in [false, true] {
        let (handle, running) = world.start_again(loses_index).await;
        let known = told(handle.authorise(asked(), body("s1")).await);
        assert_eq!(known.decided, first.decided);
        let reused = handle.authorise(asked(), body("other")).await;
        assert_eq!(reused.expect_err("no"), Refusal::KeyReused);
        running.stop().await.expect("stopped");
        drop(handle);
    }
    assert_eq!(world.records().await.len(), 1, "decided once");
}

#[tokio::test]
async fn of_sixty_four_at_once_one_decides() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let ask = |n: u32| {
        let handle = handle.clone();
        let said = if n % 16 == 15 { "other" } else { "s1" };
        async move { handle.authorise(basket(noon(), "s1", Some(1), Mode::Sale, 2), body(said)).await }
    };
    let asked: Vec<_> = (0..64).map(|n| tokio::spawn(ask(n))).collect();
    let mut answers = Vec::new();
    for one in asked {
        answers.push(one.await.expect("ended"));
    }
    let (told, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let said = |reply: Result<Reply, Refusal>| told_of(reply);
    let told: Vec<_> = told.into_iter().map(said).collect();
    assert!(told.windows(2).all(|two| two[0] == two[1]), "all the same");
    assert!(refused.into_iter().all(|of| of.expect_err("refused") == Refusal::KeyReused));
    assert_eq!(world.records().await.len(), 1);
    running.stop().await.expect("stopped");
}

fn told_of(reply: Result<Reply, Refusal>) -> ingest::wire::v1::AuthorisationDecided {
    (*told(reply).decided).clone()
}

#[tokio::test]
async fn a_reversal_undoes_what_a_key_did_or_blocks_it() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let caller = |of: &str, undone: &str| Caller {
        terminal: terminal("T1"),
        key: key(of),
        body: body(undone),
    };
    let asked = basket(noon(), "s1", Some(1), Mode::Sale, 4);
    let sold = told(handle.authorise(asked, body("s1")).await);
    let undone = told(handle.reverse(caller("x1", "s1"), key("s1")).await);
    assert_eq!((undone.id(), undone.status()), (sold.id(), Status::Refunded));
    let again = told(handle.reverse(caller("x1", "s1"), key("s1")).await);
    assert_eq!(again.changes, undone.changes, "the same answer");
    let asked = basket(noon(), "r1", Some(1), Mode::Reserve, 4);
    let held = told(handle.authorise(asked, body("r1")).await);
    assert_eq!(held.decided.benefit_cents, 400, "the refund gave the limit back");
    let undone = told(handle.reverse(caller("x2", "r1"), key("r1")).await);
    assert_eq!(undone.status(), Status::Voided);
    let nothing = handle.reverse(caller("x3", "never"), key("never")).await.expect("an answer");
    assert!(matches!(nothing, Reply::Blocked(_)));
    let late = basket(noon(), "never", Some(1), Mode::Sale, 1);
    let late = handle.authorise(late, body("never")).await;
    assert_eq!(late.expect_err("no"), Refusal::KeyReversed);
    let capture = basket(noon(), "r2", Some(1), Mode::Reserve, 1);
    let held = told(handle.authorise(capture, body("r2")).await);
    let capture = change("c2", "T1", held.id(), What::Capture { receipt: None });
    told(handle.change(capture).await);
    let undone = told(handle.reverse(caller("x4", "c2"), key("c2")).await);
    assert_eq!(undone.status(), Status::Refunded, "a capture is undone by a refund");
    let of_void = handle.reverse(caller("x5", "x2"), key("x2")).await;
    assert_eq!(of_void.expect_err("no"), Refusal::NotReversible { what: "void" });
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn what_changes_in_the_registers_counts_for_the_next_decision() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let ask = |of: &str| basket(noon(), of, Some(3), Mode::Sale, 1);
    let before = told(handle.authorise(ask("s1"), body("s1")).await);
    assert_eq!(before.decided.benefit_cents, 100);
    let mut second = milk();
    second["id"] = "more-milk".into();
    second["priority"] = 20.into();
    second["effect"]["amount_off_cents"] = 25.into();
    world.instruct(&json!([second])).await;
    let after = told(handle.authorise(ask("s2"), body("s2")).await);
    assert_eq!(after.decided.benefit_cents, 125);
    assert!(after.decided.registry_version > before.decided.registry_version);
    world.block(3).await;
    let blocked = told(handle.authorise(ask("s3"), body("s3")).await);
    assert_eq!(blocked.decided.decline_reason.as_deref(), Some("means_blocked"));
    assert_eq!(blocked.status(), Status::Voided, "what was declined holds nothing");
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_so() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let off = noon() + TimeDelta::minutes(10) + TimeDelta::seconds(1);
    let refused = handle.authorise(basket(off, "s1", None, Mode::Sale, 1), body("s1")).await;
    assert_eq!(refused.expect_err("no"), Refusal::Clock { seconds: 601 });
    let at = noon() - TimeDelta::minutes(10);
    told(handle.authorise(basket(at, "s1", None, Mode::Sale, 1), body("s1")).await);
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn nobody_waits_for_ever_and_the_key_tells_what_came_of_it() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let asked = || basket(noon(), "s1", Some(1), Mode::Sale, 2);
    world.log.hold(true);
    let late = handle.authorise(asked(), body("s1")).await;
    assert_eq!(late.expect_err("no"), Refusal::Late);
    world.log.hold(false);
    let told = told(handle.authorise(asked(), body("s1")).await);
    assert_eq!(told.decided.benefit_cents, 200);
    running.stop().await.expect("stopped");
    let decided = world.records().await.into_iter().filter(|record| {
        matches!(&record.event, Event::AuthorisationDecided(of) if of.idempotency_key == "s1")
    });
    assert_eq!(decided.count(), 1);
}

/// Of each instruction: cents given, the grantor's part of them, and the excess.
fn owed<'a>(lines: impl Iterator<Item = &'a AuthorisationLine>) -> BTreeMap<&'a str, [i64; 3]> {
    let mut owed: BTreeMap<&str, [i64; 3]> = BTreeMap::new();
    for benefit in lines.flat_map(|line| &line.benefits) {
        let sums = owed.entry(&benefit.instruction_id).or_default();
        let cents = [benefit.amount_cents, benefit.grantor_cents, benefit.excess_cents];
        sums.iter_mut().zip(cents).for_each(|(sum, cents)| *sum += cents);
    }
    owed
}

#[tokio::test]
async fn what_was_given_offline_beyond_ours_comes_back_with_the_goods() {
    let world = World::with(json!([milk()])).await;
    let (handle, running) = world.start().await;
    let watched = handle.watch(key_of("T1", "u1"));
    let upload = basket(noon(), "u1", Some(1), Mode::Offline, 3);
    world.upload(&upload, &[("milk", 301), ("gone", 100)]).await;
    let sold = told(handle.verdict(watched, key_of("T1", "u1"), body("u1")).await);
    let given = owed(sold.decided.lines.iter());
    assert_eq!(given, BTreeMap::from([("milk", [300, 300, 1]), ("gone", [0, 0, 100])]));
    let part = told(handle.change(change("f1", "T1", sold.id(), back(1_000))).await);
    let taken = owed(part.changes[0].lines.iter());
    assert_eq!(taken, BTreeMap::from([("milk", [-100, -100, 0]), ("gone", [0, 0, -33])]));
    // Of a refund that took none, as it once was, the next takes the excess, too.
    let mut old = (*part.changes[0]).clone();
    old.lines[0].benefits.retain(|of| of.excess_cents == 0);
    let old = History { decided: part.decided.clone(), changes: vec![old.into()] };
    let rules = world.rules().await;
    let index = rules.terminal(&terminal("T1"));
    let acting = Acting { terminal: None, index, now: noon() };
    let next = changes::next(&rules, &old, &back(1_000), acting).expect("taken").expect("a record");
    let taken = owed(next.event.lines.iter());
    assert_eq!(taken, BTreeMap::from([("milk", [-100, -100, -1]), ("gone", [0, 0, -67])]));
    let undo = Caller { terminal: terminal("T1"), key: key("x1"), body: body("u1") };
    let all = told(handle.reverse(undo, key("u1")).await);
    assert_eq!(all.status(), Status::Refunded);
    let rest = &all.changes[1].lines[0];
    let bearers = rest.benefits.iter().map(|of| (&*of.instruction_id, &*of.excess_borne_by));
    assert_eq!(bearers.collect::<Vec<_>>(), [("milk", "grantor"), ("gone", "merchant")]);
    let changed = all.changes.iter().flat_map(|change| &change.lines);
    let left = owed(all.decided.lines.iter().chain(changed));
    assert_eq!(left, BTreeMap::from([("milk", [0; 3]), ("gone", [0; 3])]), "nobody owes anything");
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn an_upload_waits_for_whoever_asks_under_its_key_and_has_it_next() {
    let world = World::with(json!([milk()])).await;
    let parts = world.parts().await;
    let claims = Arc::clone(&parts.claims);
    let mut authoriser = Authoriser::embedded(parts, Settings::default()).await.expect("one");
    let Claim::First(online) = claims.claim(key_of("T1", "u1"), Some(body("online"))) else {
        panic!("nobody has the key");
    };
    for of in ["u1", "u2"] {
        world.upload(&basket(noon(), of, Some(1), Mode::Offline, 1), &[]).await;
    }
    let waits = authoriser.decide_uploads(16).await.expect("read");
    assert_eq!((waits.decided, waits.passed_over), (0, 0), "nor is what came after it decided");
    // Nothing came of it online: the upload is the first that does.
    online.refused(Refusal::Away);
    let again = claims.claim(key_of("T1", "u1"), Some(body("online")));
    assert!(matches!(again, Claim::Wait(_)), "who asks again comes after it");
    let decided = authoriser.decide_uploads(16).await.expect("decided");
    assert_eq!((decided.decided, decided.passed_over), (2, 0));
}

#[tokio::test]
async fn no_upload_waits_for_another_under_its_key() {
    let world = World::with(json!([milk()])).await;
    let parts = world.parts().await;
    let claims = Arc::clone(&parts.claims);
    let mut authoriser = Authoriser::embedded(parts, Settings::default()).await.expect("one");
    let first = claims.claim_upload(key_of("T1", "u1"), body("first"));
    assert!(matches!(first, ControlFlow::Continue(Some(_))), "nobody has the key");
    for of in ["u1", "u2"] {
        world.upload(&basket(noon(), of, Some(1), Mode::Offline, 1), &[]).await;
    }
    let decided = authoriser.decide_uploads(16).await.expect("decided");
    assert_eq!((decided.decided, decided.passed_over), (1, 1));
}

#[tokio::test]
async fn what_a_card_bought_offline_before_it_left_a_list_is_decided_as_of_then() {
    let world = World::with(json!([milk()])).await;
    world.list(9, false).await;
    world.pass(TimeDelta::hours(2));
    world.list(9, true).await;
    let (handle, running) = world.start().await;
    for (of, hours, given) in [("u1", 1, 100), ("u2", 2, 0)] {
        let watched = handle.watch(key_of("T1", of));
        let at = noon() + TimeDelta::hours(hours);
        world.upload(&basket(at, of, Some(9), Mode::Offline, 1), &[]).await;
        let sold = told(handle.verdict(watched, key_of("T1", of), body(of)).await);
        assert_eq!(sold.decided.benefit_cents, given, "after {hours} hours");
    }
    running.stop().await.expect("stopped");
}
