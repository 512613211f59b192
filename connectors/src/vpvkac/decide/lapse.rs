//! What time does by itself: offers that nobody takes, calls and shifts that nobody ends.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    call_event::{Availability, CallStep},
    id::{CallId, InstitutionId, OfficialId},
};

use super::{Decision, Rules};
use crate::vpvkac::{
    board::{Board, Standing},
    call::{Call, Stage},
};

/// A call that is still open then was forgotten by everybody.
pub const LONGEST_CALL: TimeDelta = TimeDelta::hours(8);
/// An official who says nothing for so long is not at work any more.
pub const LONGEST_SHIFT: TimeDelta = TimeDelta::hours(12);
/// Of an open call something is told at least so often: the table of calls takes what is told
/// within two hours of each other for one call.
const TOLD_EVERY: TimeDelta = TimeDelta::hours(1);

/// Whether anything has lapsed by an instant.
#[must_use]
pub fn is_due(board: &Board, rules: Rules, now: DateTime<Utc>) -> bool {
    board.open_calls().any(|call| call_is_due(call, rules, now))
        || board.standings().any(|(_, standing)| shift_is_over(standing, now))
}

fn call_is_due(call: &Call, rules: Rules, now: DateTime<Utc>) -> bool {
    (call.stage == Stage::Offered && now - call.since >= rules.offer)
        || now - call.touched_at >= TOLD_EVERY
        || now - call.requested_at >= LONGEST_CALL
}

fn shift_is_over(standing: &Standing, now: DateTime<Utc>) -> bool {
    standing.availability != Availability::Offline
        && standing.call.is_none()
        && now - standing.since >= LONGEST_SHIFT
}

impl Decision<'_> {
    pub(super) fn lapse(&mut self) {
        let (now, rules) = (self.now, self.rules);
        let due = self.board.open_calls().filter(|call| call_is_due(call, rules, now));
        let mut due: Vec<(DateTime<Utc>, CallId)> = due.map(|call| (call.since, call.id)).collect();
        let over = self.board.standings().filter(|(_, standing)| shift_is_over(standing, now));
        let over: Vec<OfficialId> = over.map(|(official, _)| official.clone()).collect();
        due.sort_unstable();
        let mut moved: Vec<InstitutionId> = Vec::new();
        for (_, id) in due {
            let Some(call) = self.board.call(id).cloned() else { continue };
            self.lapse_call(&call);
            moved.push(call.matter.institution);
        }
        for official in over {
            self.tell_standing(&official, Availability::Offline, None, Some("shift_over"));
            // Who waits for this official by name may be given to others now.
            let of = self.roster.official(official.as_str());
            moved.extend(of.map(|official| official.institution.clone()));
        }
        moved.sort();
        moved.dedup();
        moved.iter().for_each(|institution| self.distribute(institution));
    }

    fn lapse_call(&mut self, call: &Call) {
        let over = self.now - call.requested_at >= LONGEST_CALL;
        match (call.stage, &call.official) {
            (Stage::Offered, Some(official)) if self.now - call.since >= self.rules.offer => {
                self.tell_standing(official, Availability::Away, Some(call.id), Some("not_taken"));
            }
            (Stage::Waiting, _) if over => self.tell_over(call, CallStep::Abandoned),
            (Stage::Accepted | Stage::Connected, Some(official)) if over => {
                self.tell_over(call, CallStep::Ended);
                self.tell_standing(official, Availability::Away, Some(call.id), Some("expired"));
            }
            _ if self.now - call.touched_at >= TOLD_EVERY => {
                let event = self.event_of(call, "call.continued");
                self.tell(event);
            }
            _ => {}
        }
    }

    fn tell_over(&mut self, call: &Call, step: CallStep) {
        let mut event = self.event_of(call, &format!("call.{}", step.code()));
        event.outcome = Some("expired".into());
        self.tell(event);
    }
}
