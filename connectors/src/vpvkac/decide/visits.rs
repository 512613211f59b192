//! Services that a centre gives: they begin and are completed.

use domain::id::{CallId, CentreId, ServiceId, VisitId};
use ingest::wire::v1::DeskNote;

use super::{Decision, Refusal};
use crate::vpvkac::{board::Keyed, call::Visit};

/// A service that begins.
#[derive(Clone, Debug)]
pub struct VisitAsk {
    /// The centre.
    pub centre: CentreId,
    /// Its specialist, as a keyed hash.
    pub specialist: Option<String>,
    /// The service.
    pub service: ServiceId,
    /// By which way the client came.
    pub channel: String,
    /// The number of the written mandate.
    pub mandate: Option<String>,
    /// The hash of caller and idempotency key.
    pub key: u128,
    /// The hash of what is asked.
    pub body: Vec<u8>,
}

impl Decision<'_> {
    /// A service begins; under a key that began one before it is that one.
    ///
    /// # Errors
    /// Where the key was used otherwise.
    pub fn start(&mut self, ask: &VisitAsk) -> Result<VisitId, Refusal> {
        match self.board.keyed(ask.key) {
            Some(Keyed::Visit(id)) => {
                let same = self.board.visit(id).is_some_and(|visit| visit.body == ask.body);
                return if same { Ok(id) } else { Err(Refusal::KeyReused) };
            }
            Some(Keyed::Call(_)) => return Err(Refusal::KeyReused),
            None => {}
        }
        let id = VisitId::from_u128(self.fresh());
        let mut event = self.event("service.started");
        event.centre_id = Some(ask.centre.to_string());
        event.service_id = Some(ask.service.to_string());
        event.channel = Some(ask.channel.clone());
        event.specialist.clone_from(&ask.specialist);
        event.mandate_number.clone_from(&ask.mandate);
        event.started_at = Some(self.now.timestamp_micros());
        event.desk = Some(Box::new(DeskNote {
            visit: Some(id.to_string()),
            key_hash: ask.key.to_be_bytes().into(),
            body_hash: ask.body.clone(),
            ..DeskNote::default()
        }));
        self.tell(event);
        Ok(id)
    }

    /// A service is completed; with the call, if any, in which an official helped.
    ///
    /// # Errors
    /// Where service or call is not this centre's, or it was completed otherwise.
    pub fn complete(
        &mut self,
        centre: &CentreId,
        id: VisitId,
        outcome: &str,
        call: Option<CallId>,
    ) -> Result<(), Refusal> {
        let visit = self.board.visit(id).filter(|visit| visit.centre == *centre);
        let visit: Visit = visit.cloned().ok_or(Refusal::NotFound)?;
        let call = match call {
            None => None,
            Some(call) => {
                let call = self.board.call(call).filter(|call| call.centre == *centre);
                Some(call.cloned().ok_or(Refusal::NotFound)?)
            }
        };
        if let Some((_, before)) = &visit.completed {
            return if before == outcome { Ok(()) } else { Err(Refusal::SaidOtherwise) };
        }
        let mut event = self.event("service.completed");
        event.centre_id = Some(visit.centre.to_string());
        event.service_id = Some(visit.service.to_string());
        event.channel = Some(visit.channel);
        event.outcome = Some(outcome.to_owned());
        event.specialist = visit.specialist;
        event.mandate_number = visit.mandate;
        event.started_at = Some(visit.started_at.timestamp_micros());
        event.completed_at = Some(self.now.timestamp_micros());
        event.institution_id = call.as_ref().map(|call| call.matter.institution.to_string());
        event.official_id = call.and_then(|call| call.official).map(|id| id.to_string());
        let note = DeskNote { visit: Some(id.to_string()), ..DeskNote::default() };
        event.desk = Some(Box::new(note));
        self.tell(event);
        Ok(())
    }
}
