//! Terminals on a network that loses, doubles and delays, and that is cut now and then.

use std::{pin::Pin, sync::Arc};

use authoriser::command::Refusal;
use domain::basket::Mode;
use ingest::{clock::Clock, topic::Topic};

use crate::{
    country::{self, Ask, Asked},
    world::{Node, World, locked},
};

/// Requests of one terminal.
const REQUESTS: u64 = 32;
/// How often it asks again before it gives up, as when it is switched off.
const PATIENCE: u32 = 12;

/// What became of one message and its answer.
#[derive(Clone, Debug)]
enum Heard {
    /// The terminal knows.
    Answer,
    /// It does not, and asks again.
    Nothing,
}

/// All that one terminal does.
pub async fn run(world: Arc<World>, terminal: &'static str) {
    let dice = world.machine.dice.apart();
    for _ in 0..REQUESTS {
        let pause = if dice.once_in(3) { dice.millis(0, 4) } else { dice.millis(20, 700) };
        world.machine.time.sleep(pause).await;
        if world.watching.is_broken() {
            return;
        }
        let ask = {
            let mut asked = locked(&world.asked);
            let ask = country::next(&dice, terminal, world.number(), &asked, world.clock.now());
            asked.push(ask.clone());
            ask
        };
        world.watching.asks(&ask);
        world.watching.tell(format!("{terminal} asks {}: {}", ask.key, ask.said()));
        for _ in 0..PATIENCE {
            if let Heard::Answer = send(&world, &ask).await {
                break;
            }
            world.machine.time.sleep(dice.millis(5, 250)).await;
        }
    }
}

/// One message, and maybe its double.
async fn send(world: &Arc<World>, ask: &Ask) -> Heard {
    let machine = &world.machine;
    machine.time.sleep(machine.dice.millis(0, 8)).await;
    if machine.fails_once_in(14) {
        return Heard::Nothing;
    }
    let Some(node) = world.node() else { return Heard::Nothing };
    let offline = matches!(&ask.what, Asked::Decide { mode: Mode::Offline, .. });
    if offline {
        return upload(world, &node, ask).await;
    }
    if machine.fails_once_in(12) {
        let (world, node, ask) = (Arc::clone(world), Arc::clone(&node), ask.clone());
        tokio::spawn(async move {
            world.machine.time.sleep(world.machine.dice.millis(0, 60)).await;
            serve(&world, &node, &ask).await
        });
    }
    let answering = {
        let (world, ask) = (Arc::clone(world), ask.clone());
        async move { serve(&world, &node, &ask).await }
    };
    let timeout = machine.time.sleep(machine.dice.millis(150, 1_500));
    // Whether the node goes on when its caller is gone is up to who serves it.
    let goes_on = machine.dice.once_in(2);
    let answering: Pin<Box<dyn Future<Output = Heard> + Send>> = if goes_on {
        let going_on = tokio::spawn(answering);
        Box::pin(async move { going_on.await.unwrap_or(Heard::Nothing) })
    } else {
        Box::pin(answering)
    };
    let heard = tokio::select! {
        // The same comes of the same.
        biased;
        heard = answering => heard,
        () = timeout => Heard::Nothing,
    };
    // The way back.
    if machine.fails_once_in(14) { Heard::Nothing } else { heard }
}

/// What a node does with a message.
async fn serve(world: &World, node: &Node, ask: &Ask) -> Heard {
    let answer = ask.ask(&node.handle).await;
    if !node.life.lasts() {
        return Heard::Nothing;
    }
    match answer {
        Ok(reply) => {
            world.watching.answered(ask, &reply);
            Heard::Answer
        }
        Err(Refusal::Away | Refusal::Stopped | Refusal::NoRoom | Refusal::Late) => Heard::Nothing,
        Err(refusal) => {
            world.watching.tell(format!("refused {}/{}: {refusal}", ask.terminal, ask.key));
            Heard::Answer
        }
    }
}

/// A file of one transaction: it is kept when it is on the stream.
async fn upload(world: &World, node: &Node, ask: &Ask) -> Heard {
    let Some(record) = ask.upload(world.clock.now()) else { return Heard::Answer };
    let appended = node.log.append(Topic::TerminalTransactions, &[record]).await;
    if appended.is_ok() && node.life.lasts() { Heard::Answer } else { Heard::Nothing }
}
