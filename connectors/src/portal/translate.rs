//! An event of the portal as a record of the stream.

use chrono::{DateTime, Utc};
use domain::{
    id::{EServiceId, MerchantId},
    period::LocalTime,
};
use ingest::{
    document::Fields,
    record::{Record, outside_id},
    vault::{Purpose, Vault},
    wire::v1::{Event, PortalEvent},
};

use crate::{connector::Refusal, event::Source};

const PORTAL: Source = Source {
    prefix: "lv.portal.",
    names: &[
        "e-service.published",
        "e-service.updated",
        "e-service.withdrawn",
        "e-service.used",
        LOGIN,
    ],
    anothers: "/type: is no event of the portal",
};
const LOGIN: &str = "login";
/// The longest free text, in bytes.
const LONGEST: usize = 128;

/// Translates one event. Whether the registry already knows the e-service does not matter: the
/// portal is where it is published first.
///
/// # Errors
/// Every fault of the message, with the JSON pointer of each.
pub fn event(message: &[u8], vault: &Vault, now: DateTime<Utc>) -> Result<Record, Refusal> {
    let (headers, event) =
        PORTAL.read(message, |fields, name| portal_event(fields, name, vault))?;
    Ok(Record {
        id: outside_id(&headers.source, &headers.id),
        key: event.e_service_id.clone().unwrap_or_else(|| headers.source.clone()),
        source: headers.source,
        sequence: 0,
        event_time: headers.time,
        recorded_at: now,
        event: Event::PortalEvent(PortalEvent {
            event_type: headers.kind,
            date: LocalTime::of(headers.time).date.to_string(),
            ..event
        }),
    })
}

/// All but what the headers say.
fn portal_event(fields: &Fields<'_>, name: Option<&str>, vault: &Vault) -> PortalEvent {
    let needed: &[&str] = match name {
        None => &[],
        Some(LOGIN) => &["basket", "means"],
        Some(_) => &["e_service"],
    };
    for name in needed {
        fields.required(name);
    }
    let basket = fields
        .optional("basket")
        .and_then(|at| at.word(&[("public", "public"), ("merchant", "merchant")]));
    let user = fields.optional("user").and_then(|at| at.short_text(LONGEST)).map(|user| {
        vault.pseudonym(Purpose::PortalUser, vault.hash("portal user", user)).to_string()
    });
    let e_service = fields.optional("e_service").and_then(|at| at.id(EServiceId::new));
    let merchant = fields.optional("merchant").and_then(|at| at.id(MerchantId::new));
    PortalEvent {
        e_service_id: e_service.map(|id| id.to_string()),
        merchant_id: merchant.map(|id| id.to_string()),
        login_basket: basket.map(str::to_owned),
        identity_means: fields.short_text("means", LONGEST),
        user,
        ..PortalEvent::default()
    }
}
