//! What centres, officials and operators ask of the desk, from JSON as the desk takes it.

use domain::{
    call_event::Availability,
    id::{CallId, CentreId, IdempotencyKey, InstitutionId, OfficialId, ServiceId, VisitId},
};
use ingest::{
    dead_letter::Reason,
    document::{Cursor, Fields},
    record::outside_id,
};

use super::{
    call::{Call, Matter, ON_BEHALF},
    decide::{Ask, VisitAsk},
    roster::{Roster, consults},
};
use crate::{json::read, problem::Problem};

/// The largest body of one request, in bytes.
pub const LARGEST_BODY: usize = 16 << 10;
/// The longest number of a mandate, in bytes.
const LONGEST: usize = 128;
/// By which way a client comes.
const CHANNELS: [(&str, &str); 4] =
    [("in_person", "in_person"), ("phone", "phone"), ("e_mail", "e_mail"), ("remote", "remote")];
/// What became of a service.
const OUTCOMES: [(&str, &str); 3] =
    [("resolved", "resolved"), ("forwarded", "forwarded"), ("unresolved", "unresolved")];

/// Who asks under which key.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The centre.
    pub centre: CentreId,
    /// Its specialist, as a keyed hash.
    pub specialist: Option<String>,
    /// The key.
    pub key: IdempotencyKey,
}

impl Asking {
    /// The hash of centre and key.
    fn hash(&self) -> u128 {
        let source = format!("vpvkac/{}", self.centre);
        outside_id(&source, self.key.as_str()).as_u128()
    }
}

/// To whom a call is handed over; what is not said stays as it is.
#[derive(Clone, Debug)]
pub struct HandOver {
    institution: Option<InstitutionId>,
    service: Option<ServiceId>,
    language: Option<String>,
    official: Option<OfficialId>,
    /// The number of the written mandate.
    pub mandate: Option<String>,
}

impl HandOver {
    /// Whom the call then needs.
    #[must_use]
    pub fn of(self, call: &Call) -> (Matter, Option<OfficialId>) {
        let matter = Matter {
            institution: self.institution.unwrap_or_else(|| call.matter.institution.clone()),
            service: self.service.unwrap_or_else(|| call.matter.service.clone()),
            language: self.language.unwrap_or_else(|| call.matter.language.clone()),
        };
        (matter, self.official)
    }
}

/// `POST /v1/calls`.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn call(bytes: &[u8], asking: &Asking, roster: &Roster) -> Result<Ask, Problem> {
    read(bytes, |fields| {
        let institution = fields.required("institution").and_then(|at| institution(&at, roster));
        let service = fields.required("service").and_then(|at| service(&at, roster));
        let language = fields.required("language").and_then(|at| language(&at));
        let wanted = fields.optional("official").and_then(|at| official(&at, roster));
        if let Some(at) = fields.required("client_identified")
            && at.boolean() == Some(false)
        {
            at.fault("must be true: the specialist identifies the client and lets them in");
        }
        let mandate = mandate(fields, service.as_ref());
        let matter = Matter { institution: institution?, service: service?, language: language? };
        if !roster.is_served(&matter) {
            let none = "nobody of the institution consults on this service in this language";
            fields.at().fault(none);
        } else if let Some(id) = &wanted
            && roster.official(id.as_str()).is_some_and(|one| !consults(one, &matter))
        {
            fields.at().fault("the official does not consult on this");
        }
        let body = body_hash([
            matter.institution.as_str(),
            matter.service.as_str(),
            &matter.language,
            wanted.as_ref().map_or("", OfficialId::as_str),
            mandate.as_deref().unwrap_or_default(),
        ]);
        Some(Ask {
            centre: asking.centre.clone(),
            specialist: asking.specialist.clone(),
            matter,
            wanted,
            mandate,
            key: asking.hash(),
            body,
        })
    })
}

/// `POST /v1/calls/{id}/hand-over`.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn hand_over(bytes: &[u8], roster: &Roster) -> Result<HandOver, Problem> {
    read(bytes, |fields| {
        let over = HandOver {
            institution: fields.optional("institution").and_then(|at| institution(&at, roster)),
            service: fields.optional("service").and_then(|at| service(&at, roster)),
            language: fields.optional("language").and_then(|at| language(&at)),
            official: fields.optional("official").and_then(|at| official(&at, roster)),
            mandate: fields.short_text("mandate", LONGEST),
        };
        Some(over)
    })
}

/// `POST /v1/calls/{id}/end`: whether the client was helped; the body may be missing.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn end(bytes: &[u8]) -> Result<Option<bool>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    read(bytes, |fields| Some(fields.optional("resolved").and_then(|at| at.boolean())))
}

/// `POST /v1/calls/{id}/rating`: the client's rating, and whether they say that they were helped.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn rating(bytes: &[u8]) -> Result<(u32, Option<bool>), Problem> {
    read(bytes, |fields| {
        let rating = fields.required("rating").and_then(|at| at.integer(1, 5));
        let resolved = fields.optional("resolved").and_then(|at| at.boolean());
        Some((u32::try_from(rating?).ok()?, resolved))
    })
}

/// `PUT /v1/officials/{id}/availability`. In a call is who has one, and nobody says so.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn availability(bytes: &[u8]) -> Result<Availability, Problem> {
    let words = [Availability::Available, Availability::Away, Availability::Offline];
    let words = words.map(|word| (word.code(), word));
    read(bytes, |fields| fields.required("state").and_then(|at| at.word(&words)))
}

/// `POST /v1/services:start`.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn start(bytes: &[u8], asking: &Asking, roster: &Roster) -> Result<VisitAsk, Problem> {
    read(bytes, |fields| {
        let service = fields.required("service").and_then(|at| service(&at, roster));
        let channel = fields.required("channel").and_then(|at| at.word(&CHANNELS));
        let mandate = mandate(fields, service.as_ref());
        let (service, channel) = (service?, channel?);
        let said = [service.as_str(), channel, mandate.as_deref().unwrap_or_default()];
        let body = body_hash(said);
        Some(VisitAsk {
            centre: asking.centre.clone(),
            specialist: asking.specialist.clone(),
            service,
            channel: channel.into(),
            mandate,
            key: asking.hash(),
            body,
        })
    })
}

/// `POST /v1/services:complete`: which service, its outcome, and the call in which an official
/// helped.
///
/// # Errors
/// Every fault of the body, with its pointer.
pub fn complete(bytes: &[u8]) -> Result<(VisitId, &'static str, Option<CallId>), Problem> {
    read(bytes, |fields| {
        let visit = fields.required("visit");
        let visit = visit.and_then(|at| at.parsed("the id of a service", VisitId::parse));
        let outcome = fields.required("outcome").and_then(|at| at.word(&OUTCOMES));
        let call = fields.optional("call");
        let call = call.and_then(|at| at.parsed("the id of a call", CallId::parse));
        Some((visit?, outcome?, call))
    })
}

fn institution(at: &Cursor<'_>, roster: &Roster) -> Option<InstitutionId> {
    let id = at.id(InstitutionId::new)?;
    if !roster.has_institution(id.as_str()) {
        at.fault_of(Reason::UnknownReference, "no such institution in the registry");
    }
    Some(id)
}

fn service(at: &Cursor<'_>, roster: &Roster) -> Option<ServiceId> {
    let id = at.id(ServiceId::new)?;
    if !roster.has_service(id.as_str()) {
        at.fault_of(Reason::UnknownReference, "no such service in the registry");
    }
    Some(id)
}

fn official(at: &Cursor<'_>, roster: &Roster) -> Option<OfficialId> {
    let id = at.id(OfficialId::new)?;
    if roster.official(id.as_str()).is_none() {
        at.fault_of(Reason::UnknownReference, "no such official in the registry");
    }
    Some(id)
}

/// A language (ISO 639-1).
fn language(at: &Cursor<'_>) -> Option<String> {
    at.parsed("a language of two letters (ISO 639-1)", |text| {
        let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase());
        fits.then(|| text.to_owned())
    })
}

/// The number of the written mandate, which applying on a client's behalf needs.
fn mandate(fields: &Fields<'_>, service: Option<&ServiceId>) -> Option<String> {
    let needed = service.is_some_and(|service| service.as_str() == ON_BEHALF);
    let at = if needed { fields.required("mandate") } else { fields.optional("mandate") };
    let at = at?;
    let text = at.short_text(LONGEST)?;
    if text.trim().is_empty() {
        at.fault("must have characters");
    }
    Some(text.to_owned())
}

/// The hash of what is asked, part by part.
fn body_hash<const N: usize>(parts: [&str; N]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().as_bytes().to_vec()
}
