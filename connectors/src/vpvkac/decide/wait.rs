//! How long a call may have to wait.

use domain::{call_event::Availability, service_centre::Official};

use super::Rules;
use crate::vpvkac::{
    board::Board,
    call::{Call, Matter},
    roster::{Roster, consults},
};

/// Where a call waits, and about how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// How many wait for the same officials, up to this call.
    pub position: u32,
    /// The expected wait in seconds: so many talks of the usual length, shared by those on duty;
    /// none where nobody is on duty.
    pub seconds: Option<i64>,
}

impl Wait {
    /// The wait of a call that waits.
    #[must_use]
    pub fn of(call: &Call, board: &Board, roster: &Roster, rules: Rules) -> Self {
        Self::at(&call.matter, call.place, board, roster, rules)
    }

    /// The wait at a place.
    #[must_use]
    pub fn at(matter: &Matter, place: u64, board: &Board, roster: &Roster, rules: Rules) -> Self {
        let officials: Vec<&Official> = roster
            .of_institution(&matter.institution)
            .filter(|official| consults(official, matter))
            .collect();
        let competes =
            |other: &Call| officials.iter().any(|official| consults(official, &other.matter));
        let ahead = board.waiting(&matter.institution).take_while(|other| other.place < place);
        let ahead = ahead.filter(|other| competes(other)).count();
        let on_duty = officials.iter().filter(|official| {
            matches!(board.availability(&official.id), Availability::Available | Availability::Busy)
        });
        let on_duty = i64::try_from(on_duty.count()).unwrap_or(i64::MAX);
        let position = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1);
        let talk = board.mean_talk_seconds(matter).unwrap_or(rules.usual_talk_seconds);
        let all = i64::from(position).saturating_mul(talk.max(1));
        let seconds = (on_duty > 0).then(|| all.saturating_add(on_duty - 1) / on_duty);
        Self { position, seconds }
    }
}
