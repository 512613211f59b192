//! What an author does beside its decision loop: says that it lives, gives back slices that are
//! recalled, and looks for authors that are silent.

use std::sync::Arc;

use chrono::Utc;

use super::{
    Asking, RedisShared, Trouble,
    budgets::{Ask, Leases},
    integers, names,
    nodes::{Call, Nodes},
};

/// Runs until its author ends. It is on the loop's runtime, so that a loop whose machine stands
/// still is silent here too.
pub(super) async fn run(shared: Arc<RedisShared>, mut nodes: Nodes, leases: Arc<Leases>) {
    let mut tick = tokio::time::interval(shared.settings.tick);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let stamp = leases.held().stamp;
        shared.fence.renew(stamp.author);
        for silent in shared.fence.overdue(shared.settings.silence) {
            let generation = shared.fence.revoke(silent).await;
            tracing::warn!(author = silent.number(), generation, "an authoriser is silent");
        }
        let (generation, author) = (stamp.generation, stamp.author.number());
        let mut asking = Asking { shared: &shared, nodes: &mut nodes, generation, author };
        match asking.give_back(&leases).await {
            Ok(()) => {}
            Err(Trouble::Lost(what)) => {
                let generation = shared.fence.advance(stamp.generation).await;
                tracing::warn!(what, generation, "counters in redis are rebuilt");
            }
            // The next tick asks again; what is held stays known here.
            Err(Trouble::Cache(error)) => tracing::debug!(%error, "a slice is not given back"),
        }
    }
}

impl Asking<'_> {
    /// Gives back what is recalled, and says what is no longer under way.
    async fn give_back(&mut self, leases: &Leases) -> Result<(), Trouble> {
        if self.shared.fence.generation() != self.generation {
            return Ok(());
        }
        let kept = leases.kept();
        if kept.is_empty() {
            return Ok(());
        }
        let Ok(_turn) = leases.turn.try_lock() else { return Ok(()) };
        let fields = || ["g", "recall"].map(str::to_owned).to_vec();
        let read = |key| Call { key: names::budget(key), script: None, arguments: fields() };
        let calls: Vec<Call> = kept.iter().map(read).collect();
        let answers = self.nodes.ask("watch", &calls, false).await?;
        let now = Utc::now().timestamp_millis();
        let generation = i64::try_from(self.generation).ok();
        let mut asks = Vec::new();
        for (key, answer) in kept.into_iter().zip(answers) {
            let fields = integers(answer)?;
            if fields.first().copied().flatten() != generation {
                return Err(Trouble::Lost("a budget"));
            }
            let recalled = fields.get(1).copied().flatten().is_some_and(|until| until > now);
            if recalled || leases.over_told(&key) {
                asks.push(Ask { key, max: None, wants: false, recalls: false });
            }
        }
        self.lease(leases, &asks).await
    }
}
