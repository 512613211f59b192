//! The authoriser's steps in the traces of authorisations.

use std::time::Duration;

use domain::basket::Mode;
use ingest::{
    record::{Record, Stored},
    traces::{self, Step},
    wire::v1::{AuthorisationDecided, Event},
};

/// A basket was authorised: asked for, decided, durable. It is told of once, by whoever decided it.
pub(super) fn authorised(decided: &AuthorisationDecided, took: Duration) {
    let Some(trace) = traces::of(&decided.authorisation_id) else { return };
    let step = Step::inside("authorise", took)
        .with("avis.decision", decided.decision.clone())
        .with("avis.mode", decided.mode.clone())
        .with("avis.terminal_id", decided.terminal_id.clone())
        .with("avis.merchant_id", decided.merchant_id.clone());
    trace.tell_first(step);
}

/// A batch was decided.
pub(super) fn decided(records: &[Record], took: Duration) {
    for record in records {
        if let Some(trace) = traces::of_event(&record.event) {
            trace.tell(Step::inside("decide", took).with("avis.batch", count(records.len())));
        }
    }
}

/// Records are durable. Nobody waits for an upload's answer, so it is authorised here.
pub(super) fn appended(stored: &[Stored], took: Duration) {
    for Stored { position, record } in stored {
        let Some(trace) = traces::of_event(&record.event) else { continue };
        if let Event::AuthorisationDecided(decided) = &record.event
            && decided.mode == Mode::Offline.code()
        {
            authorised(decided, took);
        }
        let step = Step::written("append", took)
            .with("messaging.destination.name", "authorisations")
            .with("messaging.destination.partition.id", position.partition.to_string())
            .with("avis.offset", i64::try_from(position.offset).unwrap_or(i64::MAX))
            .with("avis.batch", count(stored.len()));
        trace.tell(step);
    }
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
