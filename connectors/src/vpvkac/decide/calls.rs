//! The life of a call, step by step. A step that is asked for again, after it was done, is done.

use chrono::TimeDelta;
use domain::{
    call_event::{Availability, CallStep},
    id::{CallId, CentreId, InstitutionId, OfficialId},
    service_centre::Official,
};
use ingest::wire::v1::DeskNote;

use super::{Decision, Refusal, Wait};
use crate::vpvkac::{
    board::{Board, Keyed},
    call::{Call, HANDED_OVER, Matter, ON_BEHALF, Stage},
    roster::consults,
};

/// How long after its end a call can be rated: within the time for which the table of calls waits.
const RATED_WITHIN: TimeDelta = TimeDelta::minutes(90);

/// What a centre asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The centre.
    pub centre: CentreId,
    /// Its specialist, as a keyed hash.
    pub specialist: Option<String>,
    /// Whom it needs.
    pub matter: Matter,
    /// The official asked for by name.
    pub wanted: Option<OfficialId>,
    /// The number of the written mandate.
    pub mandate: Option<String>,
    /// The hash of caller and idempotency key.
    pub key: u128,
    /// The hash of what is asked.
    pub body: Vec<u8>,
}

/// Whose call it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// The centre that asked for it.
    Centre(CentreId),
    /// The official whom it is offered to, or who took it.
    Official(OfficialId),
}

impl Party {
    /// Whether a call is this party's.
    #[must_use]
    pub fn has(&self, call: &Call) -> bool {
        match self {
            Self::Centre(centre) => call.centre == *centre,
            Self::Official(official) => call.official.as_ref() == Some(official),
        }
    }
}

impl Decision<'_> {
    fn of(&self, party: &Party, id: CallId) -> Result<Call, Refusal> {
        let call = self.board.call(id).filter(|call| party.has(call));
        call.cloned().ok_or(Refusal::NotFound)
    }

    /// A call is asked for: offered, or put among those who wait. Under a key that asked before it
    /// is that call.
    ///
    /// # Errors
    /// Where the key was used otherwise, or too many wait.
    pub fn request(&mut self, ask: &Ask) -> Result<CallId, Refusal> {
        match self.board.keyed(ask.key) {
            Some(Keyed::Call(id)) => {
                let same = self.board.call(id).is_some_and(|call| call.body == ask.body);
                return if same { Ok(id) } else { Err(Refusal::KeyReused) };
            }
            Some(Keyed::Visit(_)) => return Err(Refusal::KeyReused),
            None => {}
        }
        if self.board.waiting_count() >= self.rules.most_waiting {
            return Err(Refusal::Crowded);
        }
        let note = DeskNote {
            place: self.board.number() + 1,
            key_hash: ask.key.to_be_bytes().into(),
            body_hash: ask.body.clone(),
            ..DeskNote::default()
        };
        Ok(self.begin(ask, note))
    }

    /// Tells of a new call, with what will be said of it, and offers it where somebody is free.
    fn begin(&mut self, ask: &Ask, mut note: DeskNote) -> CallId {
        let id = CallId::from_u128(self.fresh());
        note.wanted = ask.wanted.as_ref().map(ToString::to_string);
        let mut event = self.event("call.requested");
        event.call_id = Some(id.to_string());
        event.centre_id = Some(ask.centre.to_string());
        event.service_id = Some(ask.matter.service.to_string());
        event.institution_id = Some(ask.matter.institution.to_string());
        event.language = Some(ask.matter.language.clone());
        event.specialist.clone_from(&ask.specialist);
        event.mandate_number.clone_from(&ask.mandate);
        let official = self.free_for(ask, note.handed_by.as_deref());
        match &official {
            Some(official) => note.offered_to = Some(official.to_string()),
            None => {
                let wait = Wait::at(&ask.matter, note.place, self.board, self.roster, self.rules);
                (note.position, note.expected_wait_seconds) = (wait.position, wait.seconds);
            }
        }
        event.desk = Some(Box::new(note));
        self.tell(event);
        if let Some(official) = official {
            self.offer(id, &official);
        }
        id
    }

    /// The free official for a call that is not there yet. Nobody who waits could be given to them:
    /// else they would have been before.
    fn free_for(&self, ask: &Ask, handed_by: Option<&str>) -> Option<OfficialId> {
        let suits = |official: &&Official| {
            self.suits(official, &ask.matter, ask.wanted.as_ref(), handed_by)
        };
        self.free(&ask.matter.institution).into_iter().find(suits).map(|one| one.id.clone())
    }

    /// The official takes what is offered.
    ///
    /// # Errors
    /// Where it is not offered to this official.
    pub fn accept(&mut self, official: &OfficialId, id: CallId) -> Result<(), Refusal> {
        let mut call = self.of(&Party::Official(official.clone()), id)?;
        match call.stage {
            Stage::Offered => {
                // From here on it is this official's, in tables, too.
                call.stage = Stage::Accepted;
                self.tell_step(&call, CallStep::Accepted);
                Ok(())
            }
            Stage::Accepted | Stage::Connected => Ok(()),
            stage => Err(Refusal::Stage(stage)),
        }
    }

    /// The official does not take it, and is away until saying otherwise.
    ///
    /// # Errors
    /// Where it is not offered to this official.
    pub fn decline(&mut self, official: &OfficialId, id: CallId) -> Result<(), Refusal> {
        let call = self.of(&Party::Official(official.clone()), id)?;
        if call.stage != Stage::Offered {
            return Err(Refusal::Stage(call.stage));
        }
        self.tell_standing(official, Availability::Away, Some(id), Some("declined"));
        self.distribute(&call.matter.institution);
        Ok(())
    }

    /// They see each other.
    ///
    /// # Errors
    /// Where it is not this party's, or nobody has taken it.
    pub fn connect(&mut self, party: &Party, id: CallId) -> Result<(), Refusal> {
        let call = self.of(party, id)?;
        match call.stage {
            Stage::Accepted => {
                self.tell_step(&call, CallStep::Connected);
                Ok(())
            }
            Stage::Connected => Ok(()),
            stage => Err(Refusal::Stage(stage)),
        }
    }

    /// It is over.
    ///
    /// # Errors
    /// Where it is not this party's, nobody has taken it, or it ended otherwise.
    pub fn end(
        &mut self,
        party: &Party,
        id: CallId,
        resolved: Option<bool>,
    ) -> Result<(), Refusal> {
        let call = self.of(party, id)?;
        match call.stage {
            Stage::Accepted | Stage::Connected => {
                let mut event = self.event_of(&call, "call.ended");
                event.resolved = resolved;
                self.tell(event);
                self.release(&call);
                Ok(())
            }
            Stage::Ended if !Board::was_handed_over(&call) => Ok(()),
            stage => Err(Refusal::Stage(stage)),
        }
    }

    /// The client leaves before the talk.
    ///
    /// # Errors
    /// Where it is not this centre's, or they talk or have talked.
    pub fn abandon(&mut self, centre: &CentreId, id: CallId) -> Result<(), Refusal> {
        let call = self.of(&Party::Centre(centre.clone()), id)?;
        match call.stage {
            Stage::Waiting | Stage::Offered | Stage::Accepted => {
                self.tell_step(&call, CallStep::Abandoned);
                self.release(&call);
                Ok(())
            }
            Stage::Abandoned => Ok(()),
            stage => Err(Refusal::Stage(stage)),
        }
    }

    /// The official of a call that is over is free, and gets whoever waits.
    fn release(&mut self, call: &Call) {
        let Some(official) = &call.official else { return };
        self.tell_standing(official, Availability::Available, Some(call.id), None);
        self.distribute(&call.matter.institution);
    }

    /// The call goes on with somebody else: this one ends, and another begins in the same room and
    /// at the same place among those who wait.
    ///
    /// # Errors
    /// Where it is not this party's, nobody has taken it, it was handed over otherwise, or nobody
    /// could take it.
    pub fn hand_over(
        &mut self,
        party: &Party,
        id: CallId,
        to: impl FnOnce(&Call) -> (Matter, Option<OfficialId>),
        mandate: Option<String>,
    ) -> Result<CallId, Refusal> {
        let call = self.of(party, id)?;
        let (matter, wanted) = to(&call);
        if let Some(next) = call.continued_by.and_then(|next| self.board.call(next)) {
            let same = next.matter == matter && next.wanted == wanted;
            return if same { Ok(next.id) } else { Err(Refusal::SaidOtherwise) };
        }
        if !call.stage.is_taken() {
            return Err(Refusal::Stage(call.stage));
        }
        let mandate = mandate.or_else(|| call.mandate.clone());
        if matter.service.as_str() == ON_BEHALF && mandate.is_none() {
            return Err(Refusal::NoMandate);
        }
        if !self.others_consult(&call, &matter, wanted.as_ref()) {
            return Err(Refusal::Nobody);
        }
        let ask = Ask {
            centre: call.centre.clone(),
            specialist: call.specialist.clone(),
            matter,
            wanted,
            mandate,
            key: 0,
            body: Vec::new(),
        };
        let mut event = self.event_of(&call, "call.ended");
        event.outcome = Some(HANDED_OVER.into());
        self.tell(event);
        let note = DeskNote {
            continues: Some(id.to_string()),
            handed_by: call.official.as_ref().map(ToString::to_string),
            place: call.place,
            ..DeskNote::default()
        };
        let next = self.begin(&ask, note);
        self.release(&call);
        Ok(next)
    }

    /// Whether anybody but who hands over could take it; the one asked for by name, if any.
    fn others_consult(&self, call: &Call, matter: &Matter, wanted: Option<&OfficialId>) -> bool {
        self.roster.of_institution(&matter.institution).any(|official| {
            consults(official, matter)
                && call.official.as_ref() != Some(&official.id)
                && wanted.is_none_or(|wanted| *wanted == official.id)
        })
    }

    /// The client's rating.
    ///
    /// # Errors
    /// Where it is not this centre's, is not over, was rated otherwise, or ended long ago.
    pub fn rate(
        &mut self,
        centre: &CentreId,
        id: CallId,
        rating: u32,
        resolved: Option<bool>,
    ) -> Result<(), Refusal> {
        let call = self.of(&Party::Centre(centre.clone()), id)?;
        if call.stage != Stage::Ended || Board::was_handed_over(&call) {
            return Err(Refusal::Stage(call.stage));
        }
        if let Some(before) = call.rating {
            let same = before == rating && resolved.is_none_or(|it| call.resolved == Some(it));
            return if same { Ok(()) } else { Err(Refusal::SaidOtherwise) };
        }
        if call.ended_at.is_none_or(|ended| self.now - ended > RATED_WITHIN) {
            return Err(Refusal::TooLate);
        }
        let mut event = self.event_of(&call, "call.rated");
        (event.rating, event.resolved) = (Some(rating), resolved);
        self.tell(event);
        Ok(())
    }

    /// An official is available, away or offline. Who goes while a call is offered gives it back.
    ///
    /// # Errors
    /// Where the registry has no such official, or they have a call.
    pub fn stand(
        &mut self,
        official: &OfficialId,
        availability: Availability,
    ) -> Result<(), Refusal> {
        let institution = self.institution(official)?;
        let standing = self.board.standing_of(official);
        let call = standing.and_then(|standing| standing.call);
        let offered = call.and_then(|id| self.board.call(id)).map(|call| call.stage);
        match offered {
            None if standing.is_some_and(|one| one.availability == availability) => return Ok(()),
            None => self.tell_standing(official, availability, None, None),
            Some(Stage::Offered) if availability != Availability::Available => {
                self.tell_standing(official, availability, call, Some("withdrawn"));
            }
            Some(_) => return Err(Refusal::InCall),
        }
        self.distribute(&institution);
        Ok(())
    }

    fn institution(&self, official: &OfficialId) -> Result<InstitutionId, Refusal> {
        let found = self.roster.official(official.as_str());
        found.map(|official| official.institution.clone()).ok_or(Refusal::NoOfficial)
    }
}
