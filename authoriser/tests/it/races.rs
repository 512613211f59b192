//! Who comes last: many terminals for what is left of one budget, and everything that can end an
//! authorisation at the same instant.

use std::time::{Duration, Instant};

use authoriser::{
    command::{Refusal, What},
    history::History,
    service::Handle,
};
use chrono::TimeDelta;
use domain::{authorisation::Status, basket::Mode};
use ingest::wire::v1::Event;
use serde_json::{Value, json};

use crate::world::{Engine, TILLS, World, back, basket, body, change, milk, noon, terminal, told};

/// A euro off, once per basket, for everybody together so many times.
fn budget(max: u64) -> Value {
    json!({"id": "budget", "benefit": "B-state", "label": "Budget", "version": 1,
        "valid": {"from": "2025-01-01", "to": "2025-12-31"}, "priority": 10,
        "recipients": {"everyone": true}, "effect": {"amount_off_cents": 100, "per": "basket"},
        "funding": {"grantor_bp": 10000},
        "limits": [{"per": "instruction", "period": "validity", "measure": "uses", "max": max}]})
}

/// A hundred terminals with so many requests each race for what is left; how many were approved.
async fn race(handles: Vec<Handle>, each: u32) -> u64 {
    let started = Instant::now();
    let races = (1..=TILLS).map(|till| {
        let handle = handles[till as usize % handles.len()].clone();
        tokio::spawn(async move {
            let mut approved = 0_u64;
            for n in 0..each {
                let mut asked = basket(noon(), &format!("k{n}"), None, Mode::Sale, 1);
                asked.terminal = terminal(&format!("T{till}"));
                let answer = loop {
                    match handle.authorise(asked.clone(), body("sale")).await {
                        Err(Refusal::Away) => tokio::time::sleep(Duration::from_millis(5)).await,
                        answer => break told(answer),
                    }
                };
                approved += u64::from(answer.decided.benefit_cents == 100);
            }
            approved
        })
    });
    let mut approved = 0;
    for race in races.collect::<Vec<_>>() {
        approved += race.await.expect("ended");
    }
    let rate = f64::from(TILLS * each) / started.elapsed().as_secs_f64();
    println!("{} requests, {rate:.0} a second, {approved} approved", TILLS * each);
    approved
}

/// Exactly the affordable number is approved, and the stream says so after every record.
async fn last_unit(engine: Engine, authorisers: usize, each: u32, seeds: u64) {
    for seed in 0..seeds {
        let left = 777 + seed * 13;
        let world = World::over(engine.clone(), noon(), json!([budget(left)])).await;
        let running = match authorisers {
            1 => vec![world.start().await],
            several => world.start_several(several).await,
        };
        let (handles, running): (Vec<_>, Vec<_>) = running.into_iter().unzip();
        let approved = race(handles, each).await;
        for one in running {
            one.stop().await.expect("stopped");
        }
        assert_eq!(approved, left, "seed {seed}: exactly the affordable number");
        let given = world.records().await.into_iter().filter(|record| {
            matches!(&record.event, Event::AuthorisationDecided(of) if of.benefit_cents > 0)
        });
        assert_eq!(given.count() as u64, left, "on the stream as in the answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_terminals_race_for_the_last_unit_embedded() {
    last_unit(Engine::Embedded, 1, 1_000 * crate::scale(), crate::scale().into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_terminals_race_for_the_last_unit_over_redis() {
    last_unit(Engine::redis(), 1, 100 * crate::scale(), crate::scale().into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_authorisers_race_for_the_last_unit_over_redis() {
    last_unit(Engine::redis(), 3, 100 * crate::scale(), crate::scale().into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_authorisers_race_for_the_last_unit_over_a_cluster() {
    last_unit(Engine::cluster(), 3, 50 * crate::scale(), crate::scale().into()).await;
}

/// What can come at the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Capture,
    Void,
    Expire,
    Refund,
}

const ENDS: [End; 4] = [End::Capture, End::Void, End::Expire, End::Refund];

impl End {
    fn what(self) -> What {
        match self {
            Self::Capture => What::Capture { receipt: None },
            Self::Void | Self::Expire => What::Void,
            Self::Refund => back(4_000),
        }
    }

    /// The status after it, where it may come.
    fn after(self, status: Status) -> Option<Status> {
        match (self, status) {
            (Self::Capture, Status::Reserved) => Some(Status::Captured),
            (Self::Void, Status::Reserved) => Some(Status::Voided),
            (Self::Expire, Status::Reserved) => Some(Status::Expired),
            (Self::Refund, Status::Captured) => Some(Status::Refunded),
            _ => None,
        }
    }
}

/// Every pair and triple, in every order.
fn orders() -> Vec<Vec<End>> {
    let mut orders = Vec::new();
    for a in ENDS {
        for b in ENDS.into_iter().filter(|b| *b != a) {
            orders.push(vec![a, b]);
            for c in ENDS.into_iter().filter(|c| *c != a && *c != b) {
                orders.push(vec![a, b, c]);
            }
        }
    }
    orders
}

#[tokio::test]
async fn of_everything_that_ends_an_authorisation_the_first_wins() {
    let orders = orders();
    assert_eq!(orders.len(), 12 + 24);
    for order in orders {
        let world = World::with(json!([milk()])).await;
        let (handle, running) = world.start().await;
        let asked = basket(noon(), "r", Some(1), Mode::Reserve, 4);
        let held = told(handle.authorise(asked, body("r")).await);
        let mut expected = Status::Reserved;
        let mut asked = Vec::new();
        for (at, end) in order.iter().enumerate() {
            let next = end.after(expected);
            if *end == End::Expire {
                // Whatever came before is decided; then time is up.
                settle(&handle, &held, &mut asked, &order).await;
                world.pass(TimeDelta::minutes(20));
            } else {
                let handle = handle.clone();
                let change = change(&format!("e{at}"), "T1", held.id(), end.what());
                let refused = next.is_none().then_some(Refusal::State { status: expected });
                let ask = tokio::spawn(async move { handle.change(change).await });
                asked.push((*end, ask, refused));
                // Sent, not yet answered: the next comes while this one is under way.
                tokio::task::yield_now().await;
            }
            expected = next.unwrap_or(expected);
        }
        settle(&handle, &held, &mut asked, &order).await;
        let now = handle.look_up(held.id()).await.expect("found");
        assert_eq!(now.status(), expected, "{order:?}");
        running.stop().await.expect("stopped");
        entries(&world, expected, &order).await;
    }
}

type Asked =
    Vec<(End, tokio::task::JoinHandle<Result<authoriser::reply::Reply, Refusal>>, Option<Refusal>)>;

async fn settle(
    handle: &authoriser::service::Handle,
    held: &History,
    asked: &mut Asked,
    order: &[End],
) {
    for (end, ask, refused) in asked.drain(..) {
        let answer = ask.await.expect("ended");
        match refused {
            Some(refused) => assert_eq!(answer.err(), Some(refused), "{end:?} of {order:?}"),
            None => assert!(answer.is_ok(), "{end:?} of {order:?}: {answer:?}"),
        }
    }
    handle.look_up(held.id()).await.expect("found");
}

/// What was moved is all back, unless it was captured and stays so.
async fn entries(world: &World, ended: Status, order: &[End]) {
    let mut units = 0;
    for record in world.records().await {
        let movements = match &record.event {
            Event::AuthorisationDecided(event) => authoriser::publish::movements_of(event),
            Event::AuthorisationChanged(event) => authoriser::publish::movements_of_change(event),
            _ => continue,
        };
        let counters = movements.expect("a record of ours").counters;
        units += counters.iter().map(|moved| moved.change).sum::<i64>();
    }
    let held = match ended {
        Status::Reserved | Status::Captured => 4,
        _ => 0,
    };
    assert_eq!(units, held, "{order:?}");
}
