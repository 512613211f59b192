//! What a record that the desk told says of a call or a service.

use chrono::{DateTime, Utc};
use domain::id::{CallId, CentreId, InstitutionId, OfficialId, ServiceId, VisitId};
use ingest::wire::v1::{DeskNote, ServiceEvent};

use crate::vpvkac::call::{Call, Matter, Stage, Told, Visit};

pub(super) fn official(text: Option<&str>) -> Option<OfficialId> {
    text.and_then(|text| OfficialId::new(text).ok())
}

fn hash(bytes: &[u8]) -> u128 {
    bytes.try_into().map_or(0, u128::from_be_bytes)
}

/// A call that is asked for: it waits until it is offered.
pub(super) fn call(event: &ServiceEvent, note: &DeskNote, at: DateTime<Utc>) -> Option<Call> {
    let id = event.call_id.as_deref().and_then(CallId::parse)?;
    Some(Call {
        id,
        first: id,
        continues: note.continues.as_deref().and_then(CallId::parse),
        continued_by: None,
        handed_by: official(note.handed_by.as_deref()),
        place: note.place,
        centre: event.centre_id.as_deref().and_then(|text| CentreId::new(text).ok())?,
        specialist: event.specialist.clone(),
        matter: Matter {
            institution: InstitutionId::new(event.institution_id.as_deref()?).ok()?,
            service: ServiceId::new(event.service_id.as_deref()?).ok()?,
            language: event.language.clone()?,
        },
        wanted: official(note.wanted.as_deref()),
        mandate: event.mandate_number.clone(),
        stage: Stage::Waiting,
        since: at,
        official: None,
        requested_at: at,
        connected_at: None,
        ended_at: None,
        touched_at: at,
        outcome: None,
        resolved: None,
        rating: None,
        told: Told {
            offered_to: official(note.offered_to.as_deref()),
            position: note.position,
            expected_wait_seconds: note.expected_wait_seconds,
        },
        key: hash(&note.key_hash),
        body: note.body_hash.clone(),
    })
}

/// A service that begins.
pub(super) fn visit(event: &ServiceEvent, note: &DeskNote, at: DateTime<Utc>) -> Option<Visit> {
    Some(Visit {
        id: note.visit.as_deref().and_then(VisitId::parse)?,
        centre: event.centre_id.as_deref().and_then(|text| CentreId::new(text).ok())?,
        specialist: event.specialist.clone(),
        service: ServiceId::new(event.service_id.as_deref()?).ok()?,
        channel: event.channel.clone()?,
        mandate: event.mandate_number.clone(),
        started_at: at,
        completed: None,
        key: hash(&note.key_hash),
        body: note.body_hash.clone(),
    })
}
